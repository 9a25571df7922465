"""Read and write photos: pixels with their bit depth, alpha channel, EXIF and ICC profile.

libvips does the coding, since it keeps 16 bits in colour. It gets the bytes of a file whose kind is already
known from its first bytes: it never sees a file's name, in which it would read "[...]" as options, and
never picks the loader, so that no file reaches its SVG, PDF or ImageMagick loaders.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastrefocus import exif, parallel
from fastrefocus.arrays import FloatArray, as_image, as_plane
from fastrefocus.errors import PhotoError
from fastrefocus.files import replace_file, resolve_target

if TYPE_CHECKING:
    import pyvips

#: The most pixels that `read_photo` decodes; a file of a few kilobytes can claim billions.
MAX_PIXELS = 2**28

_Samples = npt.NDArray[Any]  # uint8 or uint16
_Result = TypeVar("_Result")


class _FileFormat(NamedTuple):
    name: str  # also, in lower case, in the names of libvips' operations
    magic: tuple[bytes, ...]  # a file begins with one of these
    suffixes: tuple[str, ...]
    most_bits: int  # a sample
    holds_alpha: bool
    save_options: dict[str, Any]
    insert_exif: Callable[[bytes, bytes], bytes]


_FORMATS = (
    _FileFormat("PNG", (b"\x89PNG\r\n\x1a\n",), (".png",), 16, True, {}, exif.into_png),
    _FileFormat(
        "JPEG", (b"\xff\xd8\xff",), (".jpg", ".jpeg"), 8, False,
        {"Q": 95, "subsample_mode": "off"}, exif.into_jpeg,
    ),
    _FileFormat(
        "TIFF", (b"II*\0", b"MM\0*"), (".tif", ".tiff"), 16, True,
        {"compression": "deflate", "predictor": "horizontal"}, exif.into_tiff,
    ),
)  # fmt: skip

#: (colour channels, bit depth) -> libvips' name for the meaning of the numbers.
_INTERPRETATIONS = {(1, 8): "b-w", (1, 16): "grey16", (3, 8): "srgb", (3, 16): "rgb16"}


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo's pixels, upright, and what its file held besides.

    Attributes
    ----------
    pixels : ndarray
        (H, W) or (H, W, 3) float32, RGB, 0..1, as encoded in the file: no colour is converted, no light
        linearised. Sample values are divided by 255 or 65535.
    alpha : ndarray or None
        (H, W) float32, 0..1.
    bit_depth : int
        8 or 16 bits a sample in the file. Fewer than 8 count as 8.
    exif : bytes or None
        The EXIF block from its byte order ("II" or "MM") on, with orientation 1 and without the thumbnail,
        which would show the photo before it was edited. A block that is damaged at its beginning is left out.
    icc_profile : bytes or None
        The ICC profile that `pixels` are encoded for.
    """

    pixels: FloatArray
    alpha: FloatArray | None = None
    bit_depth: int = 8
    exif: bytes | None = None
    icc_profile: bytes | None = None

    def __post_init__(self) -> None:
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, got {self.bit_depth!r}")


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read a PNG, JPEG or TIFF file.

    The format is told from the file's first bytes, not from its name. Palettes are expanded to RGB; 1, 2 and
    4 bits to 8; of a TIFF file with several pages the first is read. Refused are CMYK and Lab, samples
    other than unsigned integers of up to 16 bits, camera raw files (DNG and the like, in which the first
    page is a preview), BigTIFF, and more than `MAX_PIXELS` pixels.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Photo
        The photo, turned and mirrored as its EXIF orientation says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PhotoError
        If it is not a photo that can be read: the message has the path and the reason.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastrefocus.photo import read_photo, write_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_photo(f"{folder}/grey.png", np.full((2, 3), 0.2))
    ...     photo = read_photo(f"{folder}/grey.png")
    >>> photo.pixels
    array([[0.2, 0.2, 0.2],
           [0.2, 0.2, 0.2]], dtype=float32)
    """
    file = Path(path)
    samples, bit_depth, block, icc_profile = _decode(file)
    colours = samples.shape[2] - 1 if samples.shape[2] in (2, 4) else samples.shape[2]
    return Photo(
        pixels=_as_float(samples[..., 0] if colours == 1 else samples[..., :3]),
        alpha=None if colours == samples.shape[2] else _as_float(samples[..., -1]),
        bit_depth=bit_depth,
        exif=block,
        icc_profile=icc_profile,
    )


def check_target(path: str | os.PathLike[str]) -> Path:
    """Refuse a file that `write_photo` could not write, before any work is done for it.

    Parameters
    ----------
    path : str or os.PathLike
        The file to be written; it need not exist.

    Returns
    -------
    Path
        The file itself, where `path` is a symbolic link to it.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the suffix is not one of a photo.
    PhotoError
        If `path` is a directory.

    Examples
    --------
    >>> check_target("photo.gif")
    Traceback (most recent call last):
    ValueError: path must end in one of .png, .jpg, .jpeg, .tif, .tiff, got 'photo.gif'
    """
    target = Path(path)
    _format_by_suffix(target)
    return resolve_target(target, PhotoError)


def write_photo(path: str | os.PathLike[str], pixels: npt.ArrayLike, *, like: Photo | None = None) -> None:
    """Write a PNG, JPEG or TIFF file.

    Values are clipped to 0..1 and rounded to the nearest that the file can hold. The file is written beside
    the target and then takes its place, with its permissions, so that a failed or interrupted write leaves an
    older file as it was. JPEG is written with quality 95 and colour at full resolution, TIFF with deflate compression.

    Parameters
    ----------
    path : str or os.PathLike
        The file; its suffix chooses the format: .png, .jpg, .jpeg, .tif or .tiff, in upper or lower case.
    pixels : array_like
        (H, W) or (H, W, 3), RGB: uint8, uint16, or float, nominally 0..1.
    like : Photo, optional
        Where bit depth, EXIF, ICC profile and alpha come from. Without it the file has 8 bits a sample and
        none of the others. JPEG holds 8 bits and no alpha. A profile for RGB is not put into a grey file,
        nor one for grey into an RGB file.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    TypeError, ValueError
        If `pixels` is not an image, `like` is not a photo of the same height and width, or the suffix is not
        one of those above.
    PhotoError
        If the format cannot hold the photo, or `path` is a directory.

    Examples
    --------
    >>> import tempfile
    >>> from fastrefocus.photo import read_photo, write_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_photo(f"{folder}/step.png", [[-0.5, 0.25, 1.5]])
    ...     read_photo(f"{folder}/step.png").pixels * 255
    array([[  0.,  64., 255.]], dtype=float32)
    """
    target = Path(path)
    real = check_target(target)  # a symbolic link stays one
    image = as_image(pixels, "pixels", least=-math.inf)  # what is below 0 is clipped
    if not isinstance(like, Photo | None):
        raise TypeError(f"like must be a Photo or None, got {type(like).__name__}")
    if like is None:
        like = Photo(pixels=image)
    elif like.pixels.shape[:2] != image.shape[:2]:
        raise ValueError(
            f"like must have the height and width of pixels {image.shape[:2]}, got {like.pixels.shape[:2]}"
        )
    try:
        data = _encode(image, like, _format_by_suffix(target))
    except ValueError as error:
        raise PhotoError(f"{target} cannot be written: {error}") from None
    replace_file(real, data)


def as_jpeg(photo: Photo) -> bytes:
    """Return the JPEG file that `write_photo` writes of a photo.

    Raises
    ------
    ValueError
        If a JPEG file cannot hold it.
    """
    return _encode(as_image(photo.pixels, "photo.pixels", least=-math.inf), photo, _format_by_suffix(Path("photo.jpg")))


def _decode(file: Path) -> tuple[_Samples, int, bytes | None, bytes | None]:
    """Return (H, W, C) samples, upright, the bit depth, the EXIF block and the ICC profile."""
    import pyvips

    data, file_format = _read_bytes(file)
    if file_format.name == "TIFF" and exif.is_camera_raw(data):
        raise PhotoError(f"{file} is a camera raw file, of which only the preview could be read")
    try:
        image = getattr(pyvips.Image, f"{file_format.name.lower()}load_buffer")(data, fail_on="error")
        bit_depth = _check_header(file, image)
        memory = interruptible(image, image.write_to_memory)
    except pyvips.Error as error:
        raise PhotoError(f"{file} cannot be decoded; it may be damaged or cut short{reason_of(error)}") from None
    samples = np.frombuffer(memory, f"u{bit_depth // 8}").reshape(image.height, image.width, image.bands)
    orientation, block = read_exif(data, image, is_tiff=file_format.name == "TIFF")
    icc_profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    return turn(samples, orientation), bit_depth, block, icc_profile


def _read_bytes(file: Path) -> tuple[bytes, _FileFormat]:
    if file.is_dir():  # opening one fails in another way on each system
        raise PhotoError(f"{file} is a directory, not a photo")
    with file.open("rb") as stream:
        head = stream.read(8)
        if not head:
            raise PhotoError(f"{file} is empty")
        for file_format in _FORMATS:
            if head.startswith(file_format.magic):
                stream.seek(0)
                return stream.read(), file_format
    raise PhotoError(f"{file} is not a PNG, JPEG or TIFF photo")


def _check_header(file: Path, image: "pyvips.Image") -> int:
    """Refuse what is not a photo, before a pixel is decoded; return the bit depth."""
    if image.width * image.height > MAX_PIXELS:
        raise PhotoError(f"{file} claims {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
    bit_depth = {"uchar": 8, "ushort": 16}.get(image.format)
    if bit_depth is None:
        raise PhotoError(f"{file} has samples of type {image.format}; unsigned ones of 8 or 16 bits are read")
    grey, rgb = _INTERPRETATIONS[1, bit_depth], _INTERPRETATIONS[3, bit_depth]
    if (image.interpretation, image.bands) not in {(grey, 1), (grey, 2), (rgb, 3), (rgb, 4)}:
        raise PhotoError(
            f"{file} has {image.bands} channels of kind {image.interpretation!r}; grey and RGB, each with or "
            "without alpha, are read"
        )
    return bit_depth


def read_exif(data: bytes, image: "pyvips.Image", *, is_tiff: bool) -> tuple[int, bytes | None]:
    """Return the orientation of a picture, 1 to 8, and its EXIF block, upright; 1 and None where it is damaged."""
    try:
        if is_tiff:
            return exif.from_tiff(data)
        if image.get_typeof("exif-data"):  # get_fields() fails on names that are not UTF-8
            return exif.upright(image.get("exif-data").removeprefix(b"Exif\0\0"))
    except ValueError:  # a photo is worth having without it; its orientation is then unknown
        pass
    return 1, None


def turn(samples: _Samples, orientation: int) -> _Samples:
    """Return a view for which row 0 is the top and column 0 the left (EXIF 2.32, section 4.6.4).

    Parameters
    ----------
    samples : ndarray
        (H, W) or (H, W, C), as stored in the file.
    orientation : int
        1 to 8.
    """
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return samples[::down, ::right]


def _as_float(samples: _Samples) -> FloatArray:
    maximum = np.float32(np.iinfo(samples.dtype).max)
    return np.divide(samples, maximum, dtype=np.float32, order="C")


def _format_by_suffix(target: Path) -> _FileFormat:
    for file_format in _FORMATS:
        if target.suffix.lower() in file_format.suffixes:
            return file_format
    accepted = ", ".join(suffix for file_format in _FORMATS for suffix in file_format.suffixes)
    raise ValueError(f"path must end in one of {accepted}, got {str(target)!r}")


def _encode(image: FloatArray, like: Photo, file_format: _FileFormat) -> bytes:
    """Return the bytes of the file."""
    import pyvips

    bit_depth = min(like.bit_depth, file_format.most_bits)
    colours = 1 if image.ndim == 2 else 3
    samples = _quantise(image, bit_depth).reshape(*image.shape[:2], colours)
    if like.alpha is not None and file_format.holds_alpha:
        alpha = as_plane(like.alpha, "like.alpha", shape=image.shape)
        samples = np.dstack((samples, _quantise(alpha, bit_depth)))
    height, width, bands = samples.shape
    vips_type = {8: "uchar", 16: "ushort"}[bit_depth]
    picture = pyvips.Image.new_from_memory(samples.data, width, height, bands, vips_type)
    picture = picture.copy(interpretation=_INTERPRETATIONS[colours, bit_depth])
    profile = like.icc_profile
    if profile is not None and profile[16:20] == {1: b"GRAY", 3: b"RGB "}[colours]:  # its colour space
        picture.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    save = getattr(picture, f"{file_format.name.lower()}save_buffer")
    try:  # keep: left alone, libvips would write an EXIF block of its own
        data: bytes = interruptible(picture, lambda: save(keep="icc", **file_format.save_options))
    except pyvips.Error as error:
        raise ValueError(f"{file_format.name} cannot hold it{reason_of(error)}") from None
    return data if like.exif is None else file_format.insert_exif(data, like.exif)


def _quantise(values: FloatArray, bit_depth: int) -> _Samples:
    maximum = 2**bit_depth - 1
    scaled = np.multiply(values, np.float32(maximum))
    np.clip(np.rint(scaled, out=scaled), 0, maximum, out=scaled)
    return scaled.astype(np.uint8 if bit_depth == 8 else np.uint16)


def interruptible(image: "pyvips.Image", work: Callable[[], _Result]) -> _Result:
    """Let libvips work on `image` so that Ctrl-C stops it."""
    return parallel.interruptible(work, lambda: image.set_kill(True))


def reason_of(error: "pyvips.Error") -> str:
    """Return libvips' first line about an error, as " (...)"."""
    lines = [line.strip() for line in error.detail.splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""
