"""What a lens sees from one point of its aperture: the slow, exact way to render defocus, in Numba.

From the point u of the aperture a pixel x with the signed circle of confusion r is seen at x - r u, behind all that is
nearer, of smaller r.
"""

import math

import numpy as np
import numpy.typing as npt

from fastrefocus.native.jit import kernel, part

FloatArray = npt.NDArray[np.float32]


@part
def _stretch(radius: FloatArray, row: int, column: int, u_x: float, u_y: float) -> float:
    """Return by how much the gap to the neighbours is opened, in pixels, where they are of one surface."""
    own = radius[row, column]
    below = radius[min(row + 1, radius.shape[0] - 1), column] - own
    beside = radius[row, min(column + 1, radius.shape[1] - 1)] - own
    opened = 0.0
    if abs(below) < 1:
        opened = abs(below * u_y)
    if abs(beside) < 1:
        opened = max(opened, abs(beside * u_x))
    return opened


@part
def _find_nearest(
    radius: FloatArray,
    cover: npt.NDArray[np.uint8],
    offset: float,
    u_x: float,
    u_y: float,
    nearest: FloatArray,
    source: npt.NDArray[np.int32],
) -> None:
    """Write for each place the smallest radius of the pixels seen there, and the pixel's raster index; -1: none."""
    height, width = radius.shape
    nearest[:] = np.inf
    source[:] = -1
    for row in range(height):
        for column in range(width):
            if cover[row, column] <= 1:
                continue
            r = radius[row, column] + np.float32(offset)
            half = 0.5 + _stretch(radius, row, column, u_x, u_y) / 2
            y, x = row - r * u_y, column - r * u_x
            for i in range(max(math.ceil(y - half), 0), min(math.ceil(y + half), height)):
                for j in range(max(math.ceil(x - half), 0), min(math.ceil(x + half), width)):
                    if r < nearest[i, j]:
                        nearest[i, j] = r
                        source[i, j] = row * width + column


@kernel
def draw_layer(
    values: FloatArray,
    cover: npt.NDArray[np.uint8],
    offset: float,
    u_x: float,
    u_y: float,
    nearest: FloatArray,
    source: npt.NDArray[np.int32],
    canvas: FloatArray,
) -> None:
    """Draw a layer, as seen from (u_x, u_y), over what is behind it.

    Parameters
    ----------
    values : ndarray
        (H, W, C + 1) float32: light times the part covered, and the signed radius, pixels.
    cover : ndarray
        (H, W) uint8: 0 and 1 nothing, to 255 covered.
    offset : float
        Added to all radii, pixels.
    u_x, u_y : float
        The point of the aperture, whose radius is 1.
    nearest, source : ndarray
        (H, W) float32 and int32, room to work in.
    canvas : ndarray
        (H, W, C + 1) float32: light, and in the last channel how much of it has been drawn; changed.
    """
    height, width, channels = canvas.shape
    _find_nearest(values[:, :, channels - 1], cover, offset, u_x, u_y, nearest, source)
    for i in range(height):
        for j in range(width):
            if source[i, j] >= 0:
                row, column = source[i, j] // width, source[i, j] % width
                alpha = (cover[row, column] - np.float32(1)) / np.float32(254)
                for c in range(channels - 1):
                    canvas[i, j, c] = (1 - alpha) * canvas[i, j, c] + values[row, column, c]
                canvas[i, j, channels - 1] = (1 - alpha) * canvas[i, j, channels - 1] + alpha
