"""How sure each pixel is, and in what order pixels are assigned (paper B, section 2.3)."""

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.native import _core
from fastrefocus.synthesis.library import Indices

#: Ways to say how sure a pixel is before any is assigned.
CONFIDENCES = ("probability", "contrast")

#: Orders of assignment.
ORDERS = ("confidence", "scanline", "random", "dynamic")


def average_confidence(confidence: FloatArray, mask: BoolArray, size: int) -> FloatArray:
    """Return the mean confidence over the size x size neighbourhood of each pixel, of those inside the mask."""
    from scipy.ndimage import convolve

    window = np.ones((size, size))
    total = convolve(np.where(mask, confidence, 0).astype(np.float64), window, mode="constant")
    count = convolve(mask.astype(np.float64), window, mode="constant")
    return np.where(mask, total / np.maximum(count, 1), np.nan).astype(np.float32)


def assignment_order(
    order: str, confidence: FloatArray, neighbourhood: FloatArray, mask: BoolArray, size: int, seed: int
) -> Indices:
    """Return the pixels of the mask, raster indices, in the order of assignment.

    Parameters
    ----------
    order : str
        One of `ORDERS`.
    confidence, neighbourhood : ndarray
        (H, W) float32: each pixel's confidence, NaN where it is not known, and its mean around each pixel.
    mask : ndarray
        (H, W) bool.
    size : int
        Width of the neighbourhood.
    seed : int
        For "random".
    """
    if order == "confidence":
        return _core.confidence_order(neighbourhood, mask)
    if order == "dynamic":
        own = np.where(np.isnan(confidence), neighbourhood, confidence)  # a map given stands for both
        return _core.dynamic_order(neighbourhood, own, size // 2, mask)
    pixels = np.flatnonzero(mask).astype(np.int32)
    if order == "random":  # RandomState, whose numbers do not change with NumPy's versions
        pixels = np.random.RandomState(seed).permutation(pixels)
    return pixels


def as_priorities(order: Indices, shape: tuple[int, int]) -> FloatArray:
    """Return a map that a scheduler puts into this order.

    Positive floats sort as their bits do: the ranks are the bits of normal float32 numbers, of which there are
    enough for any photo.
    """
    bits = np.zeros(shape, np.int32)
    smallest_normal = np.float32(np.finfo(np.float32).tiny).view(np.int32)
    bits.ravel()[order] = smallest_normal + np.arange(len(order), 0, -1, dtype=np.int32)
    priorities: npt.NDArray[np.float32] = bits.view(np.float32)
    return priorities
