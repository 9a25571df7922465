"""Depth in a JPEG photo's XMP: Google's GDepth.

A grey picture in base64, of which 0 stands for the distance Near and white for Far. Between them the distance is linear
(RangeLinear) or its reciprocal (RangeInverse); see https://developers.google.com/depthmap-metadata/reference.
"""

import base64
import binascii
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fastrefocus import exif
from fastrefocus.arrays import FloatArray
from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.depth.files.coding import WHITE, Coding, coding_of, fractions, reciprocal
from fastrefocus.depth.files.pictures import decode_picture, encode_picture
from fastrefocus.depth.files.xmp import APP1, JpegFile, read_xmp, with_xmp
from fastrefocus.depth.resize import check_proportions
from fastrefocus.errors import DepthFileError
from fastrefocus.photo import turn

_GDEPTH = "http://ns.google.com/photos/1.0/depthmap/"
#: Our own properties: the kind and the range of depth that is not in metres, for which GDepth has no words.
_OWN = "http://fastrefocus.invalid/depth/1.0/"
_METRES = {"m": 1.0, "mm": 0.001}
_NO_UNIT = "arbitrary"
#: The kinds of depth that are noted in our own properties.
_KINDS: dict[str, Kind] = {"relative": "relative", "inverse": "inverse"}
#: Stand in depth that is not in metres for Near and Far, which GDepth demands.
_NO_NEAR, _NO_FAR = 1.0, 10.0

#: The smallest distance that has a reciprocal.
_SMALLEST = float(np.finfo(np.float32).tiny)

#: Orientations from here on swap height and width.
_TURNED = 5

#: The orientation that takes back another one; the others take back themselves.
_BACK = {6: 8, 8: 6}


def read_gdepth(jpeg: bytes, name: str) -> tuple[FloatArray, Kind]:
    """Read the depth of a JPEG photo.

    Parameters
    ----------
    jpeg : bytes
        The file.
    name : str
        What it is, for the error message.

    Returns
    -------
    values : ndarray
        (H, W) float32, upright as the photo's EXIF orientation says; NaN where a distance is 0.
    kind : {"relative", "inverse", "metric"}
        "metric" for the units m, which is GDepth's default, and mm; "inverse" for other units, of which the gain is
        unknown; or what `with_gdepth` has noted.

    Raises
    ------
    DepthFileError
        If it carries no GDepth, or none that makes sense.
    """
    file = JpegFile.split(jpeg, name)
    standard, extended = read_xmp(file, name)
    found = {**extended.properties(_GDEPTH), **standard.properties(_GDEPTH)}
    if "Data" not in found:
        raise DepthFileError(f"{name} carries no depth: its XMP has no GDepth:Data")
    samples = turn(_decode_data(found["Data"], name), _orientation(file))
    own = standard.properties(_OWN)
    if own and _ours(found):
        kind = _KINDS.get(own.get("Kind", ""))
        if kind is None:
            raise DepthFileError(f"{name} has a note about its depth that does not make sense: {own!r:.200}")
        coding = Coding(kind=kind, start=_number(own, "RangeStart", name), end=_number(own, "RangeEnd", name))
        return coding.decode(fractions(samples)), kind
    distances = _distance_coding(found, name).decode(fractions(samples))
    distances[distances <= 0] = np.nan
    metres = _METRES.get(found.get("Units", "m"))
    if metres is None:
        return reciprocal(distances), "inverse"
    return distances * np.float32(metres), "metric"


def with_gdepth(jpeg: bytes, depth: DepthMap, name: str) -> bytes:
    """Return a JPEG photo with depth; its pixels and metadata stay as they are, other GDepth and what is in it goes.

    Depth in metres is RangeLinear, or RangeInverse where the farthest is more than 1000 times the nearest. Depth of
    other kinds is RangeInverse with units that are no metres, and its kind and range are noted beside it.

    Parameters
    ----------
    jpeg : bytes
        The file.
    depth : DepthMap
        Upright, as `fastrefocus.read_photo` reads the photo; of any size and of the photo's proportions.
    name : str
        The photo, for the error message.

    Raises
    ------
    DepthFileError
        If depth is unknown somewhere, has other proportions than the photo, or the file is damaged.
    """
    if np.isnan(depth.values).any():
        raise DepthFileError("GDepth has no sign for unknown depth (NaN): fill it first (DepthMap.filled() in Python)")
    file = JpegFile.split(jpeg, name)
    standard, extended = read_xmp(file, name)
    for document in (standard, extended):
        document.remove(_GDEPTH)
        document.remove(_OWN)
    orientation = _orientation(file)
    if not file.is_whole():
        raise DepthFileError(f"{name} is not a whole JPEG file: its pixels are cut short")
    _check_proportions(depth, file, orientation, name)
    coding = coding_of(depth)
    stored = turn(coding.encode(depth.values), _BACK.get(orientation, orientation))
    samples = np.rint(stored * WHITE).astype(np.uint16)
    if depth.kind == "metric":
        far = max(coding.end, coding.start * (1 + float(np.finfo(np.float32).eps)))  # Near < Far
        terms = _terms("RangeInverse" if coding.reciprocal else "RangeLinear", coding.start, far, "m")
    else:
        if depth.kind == "inverse":  # white is farthest
            samples, coding = WHITE - samples, Coding(kind="inverse", start=coding.end, end=coding.start)
        terms = _terms("RangeInverse", _NO_NEAR, _NO_FAR, _NO_UNIT)
        own = {"Kind": depth.kind, "RangeStart": repr(coding.start), "RangeEnd": repr(coding.end)}
        standard.add("fastrefocus", _OWN, own)
    standard.add("GDepth", _GDEPTH, terms)
    extended.add("GDepth", _GDEPTH, {"Data": base64.b64encode(encode_picture(samples, "png")).decode()})
    return with_xmp(file, standard, extended, name).join()


def _ours(found: Mapping[str, str]) -> bool:
    """Say whether GDepth is as we write it where it is not in metres; other programs may have replaced it since."""
    return {**found, **_terms("RangeInverse", _NO_NEAR, _NO_FAR, _NO_UNIT)} == dict(found)


def _check_proportions(depth: DepthMap, file: JpegFile, orientation: int, name: str) -> None:
    size = file.size()
    if size is None:
        raise DepthFileError(f"{name} is not a whole JPEG file: it has no frame header")
    try:
        check_proportions(depth.values.shape, size[::-1] if orientation >= _TURNED else size)
    except ValueError as error:
        raise DepthFileError(f"{name}: {error}") from None


def _terms(form: str, near: float, far: float, units: str) -> dict[str, str]:
    return {
        "Format": form,
        "Near": repr(near),
        "Far": repr(far),
        "Mime": "image/png",
        "Units": units,
        "MeasureType": "OpticalAxis",
    }


def _distance_coding(found: Mapping[str, str], name: str) -> Coding:
    form = found.get("Format")
    if form not in ("RangeInverse", "RangeLinear"):
        raise DepthFileError(f"{name} has GDepth:Format {form!r}; RangeInverse and RangeLinear are read")
    if found.get("MeasureType", "OpticalAxis") != "OpticalAxis":
        raise DepthFileError(
            f"{name} has GDepth:MeasureType {found['MeasureType']!r}; distances along the optical axis are read"
        )
    near, far = _number(found, "Near", name), _number(found, "Far", name)
    least = "0 <" if form == "RangeInverse" else "0 <="
    if not (0 <= near < far) or (form == "RangeInverse" and near < _SMALLEST):
        raise DepthFileError(f"{name} has GDepth:Near {near:g} and Far {far:g}; {form} needs {least} Near < Far")
    return Coding(kind="metric", start=near, end=far, reciprocal=form == "RangeInverse")


def _number(properties: Mapping[str, str], local_name: str, name: str) -> float:
    text = properties.get(local_name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DepthFileError(f"{name} should have a finite number for {local_name} of its depth, got {text!r}")
    return value


def _decode_data(text: str, name: str) -> npt.NDArray[np.uint8 | np.uint16]:
    packed = "".join(text.split())
    try:  # some programs leave the padding out
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise DepthFileError(f"{name} has GDepth:Data that is not base64") from None
    samples, _, _ = decode_picture(data, f"the depth in {name}")
    if samples.dtype.kind != "u":
        raise DepthFileError(f"{name} has GDepth:Data with samples of {samples.dtype}; 8 and 16 bits are read")
    return samples


def _orientation(file: JpegFile) -> int:
    for marker, payload in file.segments:
        if marker == APP1 and payload.startswith(b"Exif\0\0"):
            try:
                return exif.upright(payload[6:])[0]
            except ValueError:  # damaged, as for the photo itself
                break
    return 1
