"""Depth files: PNG, TIFF, NPY, PFM, and the depth that JPEG and HEIC photos carry."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from fastrefocus import checks
from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.depth.files import npy, pfm
from fastrefocus.depth.files.gdepth import read_gdepth, with_gdepth
from fastrefocus.depth.files.heic import is_heic, read_heic
from fastrefocus.depth.files.noted_picture import encode_noted, read_noted
from fastrefocus.depth.files.pictures import Samples, picture_format
from fastrefocus.depth.files.stored_depth import StoredDepth
from fastrefocus.errors import DepthFileError
from fastrefocus.files import replace_file, resolve_target
from fastrefocus.photo import Photo, as_jpeg, read_photo

_FORMATS = {
    ".png": "png", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy", ".pfm": "pfm", ".jpg": "jpeg", ".jpeg": "jpeg",
}  # fmt: skip

#: What reads a file of each format: its bytes and its name -> the samples, and the kind that it says.
_READERS: dict[str, Callable[[bytes, str], tuple[Samples, Kind | None]]] = {
    "png": read_noted, "tiff": read_noted, "npy": npy.read_npy, "pfm": pfm.read_pfm,
    "jpeg": read_gdepth, "heic": read_heic,
}  # fmt: skip

#: The bytes that tell the format.
_HEAD = 12


def read_depth(
    path: str | os.PathLike[str], *, kind: Kind | None = None, unit_m: float | None = None, zero_unknown: bool = False
) -> DepthMap:
    """Read depth from a file: PNG, TIFF, NPY, PFM, or the depth in a JPEG (GDepth) or HEIC photo.

    The format is told from the file's first bytes. What the values mean is never guessed: `write_depth` notes it in
    PNG, TIFF and JPEG files, GDepth says it, and HEIC files of most phones do; for all others `kind` has to be given.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Grey, 8 or 16 bits, or float32 (TIFF, NPY, PFM; NPY also float16 and float64).
    kind : {"relative", "inverse", "metric"}, optional
        What the values are (see `DepthMap`), where the file does not say it. Whole numbers of relative and inverse
        depth are divided by their type's maximum.
    unit_m : float, optional
        For kind "metric": metres of 1 in the file, > 0. None: 0.001 for 16-bit numbers, 1 for floats.
    zero_unknown : bool
        Whether 0 is unknown, too, in relative and inverse depth that the file says nothing about. In metric depth it
        always is. So are NaN, and in inverse depth infinity.

    Returns
    -------
    DepthMap
        (H, W) of the file, which may be smaller than the photo (see `resize_depth`), turned as the EXIF orientation of
        a JPEG, PNG or TIFF file says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If it is a HEIC file and the extra ``heic`` is not installed.
    DepthFileError
        If it holds no depth that can be read, is damaged, claims more than 2^28 pixels, or does not say its kind and
        none is given, or says another one.
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    GDepth without units is in metres, as its specification has it; with units other than m and mm it is inverse depth.
    Depth in HEIC has no unit and is inverse depth.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_depth(f"{folder}/depth.png", DepthMap([[1.0, 2.0, float("nan")]], "metric"))
    ...     depth = read_depth(f"{folder}/depth.png")
    >>> depth.kind, depth.values
    ('metric', array([[ 1.,  2., nan]], dtype=float32))
    """
    if kind is not None:
        checks.choice(kind, "kind", get_args(Kind))
    if unit_m is not None:
        checks.number(unit_m, "unit_m", above=0)
    checks.flag(zero_unknown, "zero_unknown")
    return load_depth_file(path).as_map(kind, unit_m, zero_unknown)


def write_depth(
    path: str | os.PathLike[str], depth: DepthMap, *, photo: Photo | str | os.PathLike[str] | None = None
) -> None:
    """Write depth to a PNG, TIFF, NPY or PFM file, or into a JPEG copy of the photo as GDepth.

    PNG, TIFF and GDepth have 16 bits and lose at most 1/131068 of the range that is stored (see Notes); NPY and PFM
    lose nothing. The file is written beside the target and then takes its place.

    Parameters
    ----------
    path : str or os.PathLike
        The file; its suffix chooses the format: .png, .tif, .tiff, .npy, .pfm, .jpg or .jpeg.
    depth : DepthMap
        (H, W). Unknown pixels (NaN) stay unknown; GDepth cannot hold them.
    photo : Photo, str or os.PathLike, optional
        For JPEG: the photo that the depth belongs to. A JPEG file is copied byte for byte, with the depth added and
        other GDepth removed; other files, and a `Photo`, are written as `fastrefocus.write_photo` does. Not looked at
        for other formats.

    Raises
    ------
    FileNotFoundError
        If a folder or the photo does not exist.
    TypeError, ValueError
        If an argument is not as above, or the suffix is not one of those above.
    DepthFileError
        If the format cannot hold the map or the photo, the photo's file is cut short, or damaged before its pixels, or
        `path` is a directory.

    Notes
    -----
    PNG and TIFF: the range of relative depth is 0..1, also of a map that fills less of it; of inverse and metric depth
    it is the map's own, or that of 1 / z in metric depth whose farthest is more than 1000 times its nearest. It is
    divided evenly. Black is unknown where there are unknown pixels. This stands, in JSON, in PNG's text "Description"
    and TIFF's ImageDescription, from which `read_depth` takes it. GDepth: see docs/depth_files.md.

    NPY and PFM hold the numbers themselves and have no place for their kind, which `read_depth` has to be told.

    Examples
    --------
    >>> import tempfile
    >>> from fastrefocus import Photo
    >>> photo = Photo(DepthMap([[0.0, 0.5], [0.75, 1.0]], "relative").values)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_depth(f"{folder}/photo.jpg", DepthMap([[0.5, 1.0], [2.0, 4.0]], "inverse"), photo=photo)
    ...     read_depth(f"{folder}/photo.jpg").kind
    'inverse'
    """
    real = check_depth_target(path)
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, got {type(depth).__name__}")
    target = Path(path)
    try:
        data = _encode(depth, _FORMATS[target.suffix.lower()], photo)
    except ValueError as error:
        raise DepthFileError(f"{target} cannot be written: {error}") from None
    replace_file(real, data)


def check_depth_target(path: str | os.PathLike[str]) -> Path:
    """Refuse a file that `write_depth` could not write, before any work is done for it.

    Returns
    -------
    Path
        The file itself, where `path` is a symbolic link to it.

    Raises
    ------
    FileNotFoundError, ValueError, DepthFileError
        As `write_depth` does.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(f"path must end in one of {', '.join(_FORMATS)}, got {str(target)!r}")
    return resolve_target(target, DepthFileError)


def load_depth_file(path: str | os.PathLike[str]) -> StoredDepth:
    """Read what a depth file holds, and what it says about it; raises as `read_depth` does."""
    file = Path(path)
    if file.is_dir():  # opening one fails in another way on each system
        raise DepthFileError(f"{file} is a directory, not a depth file")
    with file.open("rb") as stream:  # once: it may be a pipe
        head = stream.read(_HEAD)
        file_format = _format_of(head)
        if file_format is None:
            raise DepthFileError(
                f"{file} is no depth file: PNG, TIFF, NPY, grey PFM, JPEG with GDepth and HEIC are read"
            )
        data = head + stream.read()
    return StoredDepth(*_READERS[file_format](data, str(file)), str(file))


def _format_of(head: bytes) -> str | None:
    """Return the name of a format in `_READERS` by the first bytes of a file; None for another one."""
    if head.startswith(npy.MAGIC):
        return "npy"
    if head.startswith(pfm.MAGIC):
        return "pfm"
    return "heic" if is_heic(head) else picture_format(head)


def _encode(depth: DepthMap, file_format: str, photo: Photo | str | os.PathLike[str] | None) -> bytes:
    if file_format == "jpeg":
        if isinstance(photo, Photo):
            return with_gdepth(as_jpeg(photo), depth, "the photo")
        if photo is None:
            raise DepthFileError("a JPEG file has depth beside a photo: give photo")
        data = Path(photo).read_bytes()
        jpeg = data if picture_format(data) == "jpeg" else as_jpeg(read_photo(photo))
        return with_gdepth(jpeg, depth, str(photo))
    if file_format == "npy":
        return npy.encode_npy(depth.values)
    if file_format == "pfm":
        return pfm.encode_pfm(depth.values)
    return encode_noted(depth, file_format)
