"""Depth beside the photo in HEIC files, as phones have it; the only module that imports pillow-heif."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.depth_map import Kind
from fastrefocus.depth.files.coding import Coding, fractions, reciprocal
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import MAX_PIXELS

#: Depth representation types of H.265, section F.14.2.3.
_INVERSE_Z, _DISPARITY, _Z = 0, 1, 2


def is_heic(data: bytes) -> bool:
    """Say whether a file is a HEIF container, by its first bytes (ISO/IEC 23008-12, section 10.2)."""
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")


def read_heic(data: bytes, name: str) -> tuple[npt.NDArray[Any], Kind | None]:
    """Read the depth image of a HEIC file's primary photo.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is, for the error message.

    Returns
    -------
    samples : ndarray
        (H, W): uint8 or uint16 as stored where `kind` is None, else float32 depth.
    kind : {"relative", "inverse"} or None
        None where the file does not say what its samples mean.

    Raises
    ------
    ImportError
        If pillow-heif is not installed.
    DepthFileError
        If the file is damaged or carries no depth that can be read.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError(f"{name}: to read HEIC install pillow-heif: pip install 'fastrefocus[heic]'") from error
    try:
        pictures = pillow_heif.open_heif(data).info["depth_images"]
        if not pictures:
            raise DepthFileError(f"{name} carries no depth image")
        width, height = pictures[0].size
        if not 0 < width * height <= MAX_PIXELS:
            raise DepthFileError(f"{name} claims {width} x {height} pixels of depth; 1 to {MAX_PIXELS} are read")
        samples = np.array(pictures[0])
    except DepthFileError:
        raise
    except (ValueError, RuntimeError, OSError, EOFError, SyntaxError, LookupError) as error:
        raise DepthFileError(f"{name} cannot be decoded; it may be damaged or cut short ({error})") from None
    if samples.ndim != 2 or samples.dtype not in (np.uint8, np.uint16):
        raise DepthFileError(f"{name} has a depth image of shape {samples.shape}, which should have one channel")
    facts = pictures[0].info["metadata"]
    return _in_kind(samples, facts, name) if facts else (samples, None)


def _in_kind(samples: npt.NDArray[Any], facts: Mapping[str, Any], name: str) -> tuple[FloatArray, Kind]:
    """Return the depth that the samples stand for; distances have a unit nobody knows, so that 1 / z has a gain."""
    form = facts.get("representation_type")
    if form == _DISPARITY:
        low, high = _range(facts, "d_min", "d_max", name) or (0.0, 1.0)
        coding = Coding(kind="inverse", start=low, end=high)
    elif form in (_INVERSE_Z, _Z):
        span = _range(facts, "z_near", "z_far", name)
        if span is not None and span[0] <= 0:
            raise DepthFileError(f"{name} has depth from {span[0]:g} on, which should be > 0")
        if span is None:
            coding = Coding(kind="inverse" if form == _INVERSE_Z else "relative", start=0.0, end=1.0)
        elif form == _INVERSE_Z:
            coding = Coding(kind="inverse", start=1 / span[1], end=1 / span[0])
        else:
            distances = Coding(kind="metric", start=span[0], end=span[1]).decode(fractions(samples))
            return reciprocal(distances), "inverse"
    else:
        raise DepthFileError(f"{name} has depth of the representation type {form!r}; 0, 1 and 2 are read")
    return coding.decode(fractions(samples)), coding.kind


def _range(facts: Mapping[str, Any], low: str, high: str, name: str) -> tuple[float, float] | None:
    """Return the two ends where the file gives both."""
    if facts.get(low) is None or facts.get(high) is None:
        return None
    ends = float(facts[low]), float(facts[high])
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1]):
        raise DepthFileError(f"{name} has depth with {low} {ends[0]:g} and {high} {ends[1]:g}, not in this order")
    return ends
