"""Depth as a NumPy array in a file."""

import math
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import MAX_PIXELS

MAGIC = b"\x93NUMPY"


#: What reads the header of each version of the format; the third is for names of fields.
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(data: bytes, name: str) -> tuple[npt.NDArray[Any], None]:
    """Read an NPY file, which does not say what its samples mean.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is, for the error message.

    Returns
    -------
    samples : ndarray
        (H, W): float32, uint8 or uint16.
    kind : None

    Raises
    ------
    DepthFileError
        If the file is damaged, or holds another shape or type.
    """
    stream = BytesIO(data)
    try:  # a view of the bytes: a file that claims more than it has is refused, and takes no memory
        shape, columns_first, dtype = _READ_HEADER[np.lib.format.read_magic(stream)](stream)
        array = np.frombuffer(data, dtype, math.prod(shape), stream.tell())
        array = array.reshape(shape, order="F" if columns_first else "C")
    except Exception as error:  # of a damaged header NumPy raises whatever its parser does
        raise DepthFileError(f"{name} cannot be read; it may be damaged or cut short ({error})") from None
    if array.ndim != 2 or not 0 < array.size <= MAX_PIXELS:
        raise DepthFileError(f"{name} must have shape (H, W) with 1 to {MAX_PIXELS} pixels, got {array.shape}")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: refused with the other values; signalling NaN
            return np.array(array, np.float32), None
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return np.array(array), None
    raise DepthFileError(f"{name} must hold float, uint8 or uint16, got {array.dtype}")


def encode_npy(values: FloatArray) -> bytes:
    """Return the bytes of an NPY file."""
    stream = BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
