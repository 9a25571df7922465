"""The patch gather as NumPy has it."""

import numpy as np


def gather_patches(image, mask=None, size=5):
    """Every size x size window (inside the mask) as a row, and its centre's row and column."""
    height, width = image.shape[:2]
    pixels = image.reshape(height, width, -1)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(0, 1))
    rows = np.moveaxis(windows, 2, -1).reshape(-1, size * size * pixels.shape[2])
    inside = np.ones((height, width), bool) if mask is None else mask
    whole = np.lib.stride_tricks.sliding_window_view(inside, (size, size)).all(axis=(2, 3))
    return rows[whole.ravel()], np.argwhere(whole) + size // 2
