"""Grey pictures that hold depth: PNG, TIFF and JPEG in memory, through libvips."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastrefocus.errors import DepthFileError
from fastrefocus.photo import MAX_PIXELS, interruptible, read_exif, reason_of

if TYPE_CHECKING:
    import pyvips

Samples = npt.NDArray[Any]  # uint8, uint16 or float32

#: The first bytes of a file -> its format, as in the names of libvips' operations.
_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"II*\0": "tiff", b"MM\0*": "tiff", b"\xff\xd8\xff": "jpeg"}

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"filter": "sub"},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
}

#: libvips' names for a text that describes the picture: TIFF's ImageDescription, and PNG's keyword Description.
_DESCRIPTION = re.compile(r"image-description|png-comment-\d+-Description")

#: What libvips says of them, and what we do.
_TOO_MANY_BITS, _READ_TYPES = "samples out of range", "one of uint8, uint16 or float32 is read"

#: Bits of float16, whose NaN libvips makes infinite.
_HALF = 16

#: Channels of a grey picture that was saved as RGB differ by no more than this part of white; JPEG rounds.
_GREY_TOLERANCE = 2 / 255


def picture_format(data: bytes) -> str | None:
    """Return "png", "tiff" or "jpeg" by the first bytes of a file; None for another one."""
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)


def decode_picture(data: bytes, name: str) -> tuple[Samples, str | None, int]:
    """Decode a grey picture.

    Parameters
    ----------
    data : bytes
        A PNG, TIFF or JPEG file.
    name : str
        What it is, for the error message.

    Returns
    -------
    samples : ndarray
        (H, W) uint8, uint16 or float32, as stored: no orientation is applied.
    description : str or None
        The text that describes the picture.
    orientation : int
        1 to 8, as for `fastrefocus.photo.turn`.

    Raises
    ------
    DepthFileError
        If it is no such picture, is damaged or cut short, has colour, transparency, other types of samples, or more
        than `MAX_PIXELS` pixels.
    """
    import pyvips

    file_format = picture_format(data)
    if file_format is None:
        raise DepthFileError(f"{name} is not a PNG, TIFF or JPEG picture")
    try:
        image = getattr(pyvips.Image, f"{file_format}load_buffer")(data, fail_on="error")
        dtype = _check_header(image, name)
        memory = interruptible(image, image.write_to_memory)
        description = _description_of(image)
    except pyvips.Error as error:
        if _TOO_MANY_BITS in error.detail:
            raise DepthFileError(f"{name} has samples of more than 32 bits, as float64 has; {_READ_TYPES}") from None
        raise DepthFileError(f"{name} cannot be decoded; it may be damaged or cut short{reason_of(error)}") from None
    samples = np.frombuffer(memory, dtype).reshape(image.height, image.width, image.bands)
    if dtype == np.float32 and image.get("bits-per-sample") == _HALF:
        samples = np.where(np.isinf(samples), np.float32(np.nan), samples)
    orientation, _ = read_exif(data, image, is_tiff=file_format == "tiff")
    return _grey(samples, name), description, orientation


def encode_picture(samples: npt.NDArray[np.uint16], file_format: str, description: str | None = None) -> bytes:
    """Return the bytes of a PNG or TIFF file of (H, W) samples of 16 bits, with a text that describes the picture."""
    import pyvips

    height, width = samples.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(samples).data, width, height, 1, "ushort")
    image = image.copy(interpretation="grey16")
    if description is not None:
        field = {"png": "png-comment-0-Description", "tiff": "image-description"}[file_format]
        image.set_type(pyvips.GValue.gstr_type, field, description)
    save = getattr(image, f"{file_format}save_buffer")
    data: bytes = interruptible(image, lambda: save(keep="other", **_SAVE_OPTIONS[file_format]))
    return data


def _check_header(image: "pyvips.Image", name: str) -> npt.DTypeLike:
    """Refuse what is no picture of depth, before a pixel is decoded; return the type of the samples."""
    if image.width * image.height > MAX_PIXELS:
        raise DepthFileError(f"{name} claims {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    dtype = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}.get(image.format)
    if dtype is None or image.bands > 4:
        raise DepthFileError(f"{name} has {image.bands} channels of type {image.format}; {_READ_TYPES}")
    return dtype


def _description_of(image: "pyvips.Image") -> str | None:
    try:
        return next((str(image.get(name)) for name in image.get_fields() if _DESCRIPTION.fullmatch(name)), None)
    except UnicodeDecodeError:  # a text, or the name of one, that somebody else has written
        return None


def _grey(samples: Samples, name: str) -> Samples:
    """Return the one channel of (H, W, C) samples; grey may be saved as RGB, with an alpha that says nothing."""
    white = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    bands = samples.shape[2]
    if bands in (2, 4) and (samples[..., -1] != white).any():
        raise DepthFileError(f"{name} has transparent pixels, which say nothing about depth: save it without alpha")
    if bands >= 3:
        spread = np.ptp(np.nan_to_num(samples[..., :3].astype(np.float64)), axis=2)  # unknown is a grey, too
        if not (spread <= _GREY_TOLERANCE * white).all():
            raise DepthFileError(f"{name} must be a grey picture, got colour")
    return np.ascontiguousarray(samples[..., 0])
