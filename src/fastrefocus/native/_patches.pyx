# cython: boundscheck=False, wraparound=False, initializedcheck=False, autotestdict=False
"""Loops over the patches (square windows) of an image."""

import operator

import numpy as np

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy


def gather_patches(image, mask=None, size=5):
    """Gather every patch of an image, or every patch inside a mask, as the rows of a matrix.

    Parameters
    ----------
    image : ndarray
        (H, W) or (H, W, C) of uint8 or float32, H and W at least `size`. Strided and read-only arrays are fine.
    mask : ndarray, optional
        (H, W) bool: only patches that lie wholly where it is True. None: all.
    size : int
        Height and width of a patch in pixels; odd.

    Returns
    -------
    patches : ndarray
        (N, size * size * C), the image's dtype: each patch row by row, the channels of a pixel side by side.
        N = (H - size + 1) * (W - size + 1) without a mask, in raster order.
    positions : ndarray
        (N, 2) int32: row and column of each patch's centre pixel.

    Raises
    ------
    TypeError
        If a dtype is not one of those above, or `size` is not an integer.
    ValueError
        If a shape is not one of those above, or `size` is not odd and positive.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrefocus.native._patches import gather_patches
    >>> patches, positions = gather_patches(np.arange(12, dtype=np.uint8).reshape(3, 4), size=3)
    >>> patches
    array([[ 0,  1,  2,  4,  5,  6,  8,  9, 10],
           [ 1,  2,  3,  5,  6,  7,  9, 10, 11]], dtype=uint8)
    >>> positions
    array([[1, 1],
           [1, 2]], dtype=int32)
    """
    size = _check_size(size)
    image = _check_image(image, size)
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    centres = _mark_centres(_check_mask(mask, (height, width)).view(np.uint8), size)
    positions = np.ascontiguousarray(np.argwhere(centres), dtype=np.int32)
    patches = np.empty((len(positions), size * size * channels), image.dtype)
    if len(positions):
        # A copy need not know the type: both are taken as bytes.
        pixel_bytes = channels * image.itemsize
        _copy_patches(image.reshape(height, -1).view(np.uint8), positions, size, pixel_bytes, patches.view(np.uint8))
    return patches, positions


def _check_size(size):
    try:
        number = operator.index(size)
    except TypeError:
        raise TypeError(f"size must be an odd int >= 1, got {size!r}") from None
    if number < 1 or number % 2 == 0:
        raise ValueError(f"size must be an odd int >= 1 (a patch has a centre pixel), got {number}")
    return number


def _check_image(image, size):
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.float32):
        raise TypeError(f"image must have dtype uint8 or float32, got {image.dtype}")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"image must have shape (H, W) or (H, W, C), no axis empty, got {image.shape}")
    if min(image.shape[:2]) < size:
        raise ValueError(f"image of shape {image.shape} is smaller than a patch of {size} x {size} pixels")
    return np.ascontiguousarray(image)


def _check_mask(mask, shape):
    if mask is None:
        return np.ones(shape, np.bool_)
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must have dtype bool, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"mask must have the image's height and width {shape}, got {mask.shape}")
    return np.ascontiguousarray(mask)


cdef _mark_centres(const uint8_t[:, ::1] mask, Py_ssize_t size):
    """Mark the centre of every window inside the mask, with a few operations a pixel whatever the size."""
    cdef Py_ssize_t height = mask.shape[0], width = mask.shape[1], radius = size // 2
    cdef Py_ssize_t row, column, run
    centres = np.zeros((height, width), np.uint8)
    cdef uint8_t[:, ::1] marked = centres
    # Of each column, how many pixels of the mask stand above one another, ending in this row.
    cdef Py_ssize_t[::1] depth = np.zeros(width, np.intp)
    with nogil:
        for row in range(height):
            run = 0  # how many columns of at least `size` such pixels stand side by side, ending here
            for column in range(width):
                depth[column] = depth[column] + 1 if mask[row, column] else 0
                run = run + 1 if depth[column] >= size else 0
                if run >= size:
                    marked[row - radius, column - radius] = 1
    return centres


cdef _copy_patches(
    const uint8_t[:, ::1] image,
    const int32_t[:, ::1] positions,
    Py_ssize_t size,
    Py_ssize_t pixel_bytes,
    uint8_t[:, ::1] patches,
):
    """Copy the rows of each window into one row of `patches`."""
    cdef Py_ssize_t radius = size // 2, row_bytes = size * pixel_bytes
    cdef Py_ssize_t patch, row, top, left
    with nogil:
        for patch in range(positions.shape[0]):
            top = positions[patch, 0] - radius
            left = (positions[patch, 1] - radius) * pixel_bytes
            for row in range(size):
                memcpy(&patches[patch, row * row_bytes], &image[top + row, left], row_bytes)
