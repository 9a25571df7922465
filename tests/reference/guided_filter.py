"""The guided filter with a colour guide (He, Sun and Tang 2013), window by window."""

import numpy as np


def window(y, x, radius, shape):
    """The part of a square window that lies inside the image."""
    rows = slice(max(0, y - radius), min(shape[0], y + radius + 1))
    columns = slice(max(0, x - radius), min(shape[1], x + radius + 1))
    return rows, columns


def mean(values, radius):
    """Mean over the window of every pixel, channel by channel."""
    height, width = values.shape[:2]
    return np.array(
        [[values[window(y, x, radius, values.shape)].mean(axis=(0, 1)) for x in range(width)] for y in range(height)]
    )


def lines(guide, values, radius, epsilon):
    """Slope (H, W, 3) and offset (H, W) of values = slope . guide + offset, averaged over the windows."""
    height, width = values.shape
    slope, offset = np.empty((height, width, 3)), np.empty((height, width))
    for y in range(height):
        for x in range(width):
            inside = window(y, x, radius, values.shape)
            colour, level = guide[inside].reshape(-1, 3), values[inside].ravel()
            spread = np.cov(colour.T, bias=True) + epsilon * np.eye(3)
            joint = ((colour - colour.mean(0)) * (level - level.mean())[:, None]).mean(0)
            slope[y, x] = np.linalg.solve(spread, joint)
            offset[y, x] = level.mean() - slope[y, x] @ colour.mean(0)
    return mean(slope, radius), mean(offset[..., None], radius)[..., 0]
