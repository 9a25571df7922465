"""Paper A's depth post-processing in plain NumPy, pixel by pixel."""

import numpy as np


def nearest_known(values, y, x):
    """The values of the known pixels nearest to (y, x); several where they are equally near."""
    rows, columns = np.nonzero(~np.isnan(values))
    distance = (rows - y) ** 2 + (columns - x) ** 2
    nearest = distance == distance.min()
    return values[rows[nearest], columns[nearest]]


def median_3x3(values):
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    return np.array([[np.median(padded[y : y + 3, x : x + 3]) for x in range(width)] for y in range(height)])


def gaussian(values, sigma):
    """Sampled, cut at 4 sigma, borders repeated."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    line = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = np.outer(line, line) / line.sum() ** 2
    padded = np.pad(values, radius, mode="edge")
    size = 2 * radius + 1
    height, width = values.shape
    return np.array(
        [[(padded[y : y + size, x : x + size] * kernel).sum() for x in range(width)] for y in range(height)]
    )


def scale(values):
    """1st percentile to 0, 99th to 1."""
    low, high = np.percentile(values, [1, 99])
    return np.clip((values - low) / (high - low), 0, 1)
