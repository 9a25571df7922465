"""Portable float maps, as the Middlebury and other benchmarks have their depth.

A header of three lines, "Pf", width and height, and a scale whose sign is the byte order (< 0: little-endian), then
float32 samples row by row, the lowest row first (Debevec, https://www.pauldebevec.com/Research/HDR/PFM/).
"""

import re

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import MAX_PIXELS

MAGIC = b"Pf"

_HEADER = re.compile(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,30})[ \t\r]*\n")
_LONGEST_HEADER = 200


def read_pfm(data: bytes, name: str) -> tuple[FloatArray, None]:
    """Read a PFM file, which does not say what its samples mean.

    The absolute value of the scale is a unit for light and is not applied.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is, for the error message.

    Returns
    -------
    samples : ndarray
        (H, W) float32.
    kind : None

    Raises
    ------
    DepthFileError
        If it has colour ("PF"), no header, or too many or too few bytes.
    """
    header = _HEADER.match(data[:_LONGEST_HEADER])
    if header is None:
        raise DepthFileError(f"{name} has no PFM header: Pf, width and height, scale")
    width, height = int(header[1]), int(header[2])
    try:
        scale = float(header[3])
    except ValueError:
        scale = 0.0
    if scale == 0 or not np.isfinite(scale):
        raise DepthFileError(f"{name} has the PFM scale {header[3].decode()}, whose sign should give the byte order")
    if not 0 < width * height <= MAX_PIXELS:
        raise DepthFileError(f"{name} claims {width} x {height} pixels; 1 to {MAX_PIXELS} are read")
    missing = header.end() + 4 * width * height - len(data)
    if missing:
        raise DepthFileError(
            f"{name} has {abs(missing)} {'byte' if abs(missing) == 1 else 'bytes'} {'less' if missing > 0 else 'more'} "
            f"than its {width} x {height} pixels take"
        )
    samples = np.frombuffer(data, "<f4" if scale < 0 else ">f4", offset=header.end())
    return np.ascontiguousarray(samples.reshape(height, width)[::-1], np.float32), None


def encode_pfm(values: FloatArray) -> bytes:
    """Return the bytes of a PFM file of (H, W) float32 values."""
    height, width = values.shape
    return b"Pf\n%d %d\n-1.0\n" % (width, height) + values[::-1].astype("<f4").tobytes()
