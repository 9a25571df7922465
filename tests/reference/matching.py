"""Matching and voting as one would write them down: one pixel after the other, every patch compared."""

import numpy as np


def describe(photo, row, column, sigma, step, weight):
    """A patch of (H, W, C) around a pixel: without its mean, under a Gaussian; the photo mirrored at its borders."""
    reach = int(2.25 * sigma) // step * step
    padded = np.pad(photo.astype(float), [(reach, reach), (reach, reach), (0, 0)], mode="symmetric")
    values, shares = [], []
    for dy in range(-reach, reach + 1, step):
        for dx in range(-reach, reach + 1, step):
            values.append(padded[row + reach + dy, column + reach + dx])
            shares.append(np.exp(-(dy**2 + dx**2) / (2 * sigma**2)))
    values, shares = np.array(values), np.array(shares)[:, np.newaxis] / np.sum(shares)
    return (weight * np.sqrt(shares) * (values - (shares * values).sum(axis=0))).ravel()


def vote(pixels, matched, weights, values, half, shape):
    """Mean and variance of what overlapping patches say; `matched` holds (photo, row, column) for each query."""
    said = {}
    for (row, column), patches, shares in zip(pixels, matched, weights, strict=True):
        for (photo, y, x), share in zip(patches, shares, strict=True):
            for dy in range(-half, half + 1):
                for dx in range(-half, half + 1):
                    said.setdefault((row + dy, column + dx), []).append((share, values[photo, y + dy, x + dx]))
    means, variances = np.zeros((*shape, values.shape[-1])), np.zeros((*shape, values.shape[-1]))
    for (row, column), votes in said.items():
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            shares = np.array([share for share, _ in votes])[:, np.newaxis] / sum(share for share, _ in votes)
            opinions = np.array([opinion for _, opinion in votes])
            means[row, column] = (shares * opinions).sum(axis=0)
            variances[row, column] = (shares * (opinions - means[row, column]) ** 2).sum(axis=0)
    return means, variances
