"""Depth as a NumPy array in a file."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import MAX_PIXELS

MAGIC = b"\x93NUMPY"


def read_npy(file: Path) -> npt.NDArray[Any]:
    """Return the (H, W) samples of an NPY file: float32, uint8 or uint16.

    Raises
    ------
    DepthFileError
        If the file is damaged, or holds another shape or type.
    """
    try:  # mapped: a file that claims more than it has is refused before memory is taken
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of a damaged header NumPy raises whatever its parser does
        raise DepthFileError(f"{file} cannot be read; it may be damaged or cut short ({error})") from None
    if array.ndim != 2 or not 0 < array.size <= MAX_PIXELS:
        raise DepthFileError(f"{file} must have shape (H, W) with 1 to {MAX_PIXELS} pixels, got {array.shape}")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: refused with the other values; signalling NaN
            return np.array(array, np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return np.array(array)
    raise DepthFileError(f"{file} must hold float, uint8 or uint16, got {array.dtype}")


def encode_npy(values: FloatArray) -> bytes:
    """Return the bytes of an NPY file."""
    stream = BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
