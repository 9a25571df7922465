"""PNG and TIFF files of depth that say what their samples mean, in JSON where such files have their description."""

import json
from typing import Any

import numpy as np

from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.depth.files.coding import WHITE, Coding, coding_of
from fastrefocus.depth.files.pictures import Samples, decode_picture, encode_picture
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import turn

#: The name of the note in the JSON.
_NOTE = "fastrefocus_depth"


def encode_noted(depth: DepthMap, file_format: str) -> bytes:
    """Return the bytes of a "png" or "tiff" file of 16 bits that says what they mean.

    Raises
    ------
    ValueError
        If no pixel is known.
    """
    coding = coding_of(depth)
    unknown = np.isnan(depth.values)
    first = int(unknown.any())  # the sample of coding.start
    samples = np.rint(first + coding.encode(depth.values) * (WHITE - first))
    note = {
        "kind": coding.kind,
        "start": coding.start,
        "end": coding.end,
        "reciprocal": coding.reciprocal,
        "zero_unknown": bool(first),
    }
    return encode_picture(np.where(unknown, 0, samples).astype(np.uint16), file_format, json.dumps({_NOTE: note}))


def read_noted(data: bytes, name: str) -> tuple[Samples, Kind | None]:
    """Return a picture's depth, float32, and its kind; or its samples and None where it does not say what they mean.

    They are upright, as the picture's EXIF orientation says.

    Raises
    ------
    DepthFileError
        If the picture is damaged or not grey, or what it says makes no sense.
    """
    samples, description, orientation = decode_picture(data, name)
    samples = turn(samples, orientation)
    note = _note_of(description)
    if note is None:
        return samples, None
    try:
        coding = Coding(kind=note["kind"], start=note["start"], end=note["end"], reciprocal=note["reciprocal"])
        zero_unknown = note["zero_unknown"]
        valid = coding.is_valid() and isinstance(zero_unknown, bool) and samples.dtype == np.uint16
    except (KeyError, TypeError, ValueError):
        valid = False
    if not valid:
        raise DepthFileError(f"{name} has a note about its depth that does not make sense: {note!r:.200}")
    first = int(zero_unknown)
    values = coding.decode((samples.astype(np.float64) - first) / (WHITE - first))
    return np.where(samples < first, np.float32(np.nan), values), coding.kind


def _note_of(description: str | None) -> Any:  # noqa: ANN401 - JSON that anybody may have written
    try:
        content = json.loads(description or "null")
    except (ValueError, RecursionError):
        return None
    return content.get(_NOTE) if isinstance(content, dict) else None
