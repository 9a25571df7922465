"""What is seen from one point of the aperture, place by place."""

import numpy as np


def stretched(radius, y, x, u_x, u_y):
    """How far apart neighbours of one surface move, in pixels."""
    opened = [0.0]
    for v, u, point in ((y + 1, x, u_y), (y, x + 1, u_x)):
        if v < len(radius) and u < radius.shape[1] and abs(radius[v, u] - radius[y, x]) < 1:
            opened.append(abs((radius[v, u] - radius[y, x]) * point))
    return max(opened)


def draw_layer(values, cover, offset, u_x, u_y, canvas):
    """The layer over the canvas (H, W, C + 1), whose last channel is how much has been drawn."""
    radius = values[..., -1]
    boxes = []  # (radius, y, x, half their width, pixel)
    for y, x in np.argwhere(cover > 1):
        r = radius[y, x] + np.float32(offset)
        half = 0.5 + stretched(radius, y, x, u_x, u_y) / 2
        boxes.append((r, y - r * u_y, x - r * u_x, half, (y, x)))
    boxes.sort(key=lambda box: box[0])  # the nearest first, stable
    drawn = canvas.copy()
    for i, j in np.ndindex(cover.shape):
        for _, y, x, half, pixel in boxes:
            if y - half <= i < y + half and x - half <= j < x + half:
                alpha = (float(cover[pixel]) - 1) / 254
                drawn[i, j] = (1 - alpha) * canvas[i, j] + np.append(values[pixel][:-1], alpha)
                break
    return drawn
