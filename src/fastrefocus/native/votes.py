"""Numba kernel of the vote of overlapping patches."""

import numpy as np
import numpy.typing as npt

from fastrefocus.native.jit import kernel

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]


@kernel
def gather_votes(
    queries: Indices,
    matches: Indices,
    weights: FloatArray,
    positions: Indices,
    values: FloatArray,
    half: int,
    means: FloatArray,
    variances: FloatArray,
    first: int,
    last: int,
) -> None:
    """Write into rows `first` to `last` the weighted mean and variance of what overlapping patches say of each pixel.

    Parameters
    ----------
    queries : ndarray
        (H, W) int32: the number of the query at each pixel, or -1.
    matches, weights : ndarray
        (M, K) int32 and float32: each query's patches, and what their votes count.
    positions : ndarray
        (N, 3) int32: photo, row and column of each patch's centre, `half` or more from the photo's borders.
    values : ndarray
        (P, h, w, C) float32: what is voted on, in each photo.
    half : int
        A patch is 2 `half` + 1 pixels wide.
    means, variances : ndarray
        (H, W, C) float32; left as they are where nobody votes.
    """
    height, width = queries.shape
    channels = means.shape[2]
    sums = np.empty(channels, np.float32)
    squares = np.empty(channels, np.float32)
    for y in range(first, last):
        for x in range(width):
            total = np.float32(0)
            sums[:] = 0
            squares[:] = 0
            for qy in range(max(y - half, 0), min(y + half + 1, height)):
                for qx in range(max(x - half, 0), min(x + half + 1, width)):
                    query = queries[qy, qx]
                    if query < 0:
                        continue
                    for k in range(matches.shape[1]):
                        weight = weights[query, k]
                        photo, row, column = positions[matches[query, k]]
                        total += weight
                        for c in range(channels):
                            value = values[photo, row + y - qy, column + x - qx, c]
                            sums[c] += weight * value
                            squares[c] += weight * value * value
            if total > 0:
                for c in range(channels):
                    mean = sums[c] / total
                    means[y, x, c] = mean
                    variances[y, x, c] = max(squares[c] / total - mean * mean, np.float32(0))
