"""EXIF blocks: reset the orientation, read the lens, put a block into a file, take it out of a TIFF file.

libvips rewrites a block that it writes into a JPEG or PNG file, which destroys maker notes, and neither
reads nor writes one in a TIFF file; here JPEG and PNG keep theirs byte for byte.

An EXIF block is laid out like a TIFF file (TIFF 6.0, section 2): the byte order, "II" or "MM", 42, and the
offset of directory 0. A directory is a count, entries of 12 bytes (tag, type, number of values, and the
values or, where they take more than 4 bytes, their offset) and the offset of the next directory: in a
block, that of the thumbnail. Some entries point to a directory of their own.
"""

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_NEW_SUBFILE_TYPE, _ORIENTATION, _DNG_VERSION = 254, 274, 50706
_EXIF_DIRECTORY = 34665
_F_NUMBER, _SUBJECT_DISTANCE, _FOCAL_LENGTH, _FOCAL_LENGTH_35MM = 33437, 37382, 37386, 41989
_SHORT, _LONG = 3, 4
#: Types of a number that is not negative: short, long, rational, and the float and double of some programs.
_LAYOUTS = {_SHORT: "<H", _LONG: "<I", 5: "<II", 11: "<f", 12: "<d"}
_INFINITY = 0xFFFFFFFF  # the numerator of an unbounded distance

_RESOLUTION = {282, 283, 296}  # XResolution, YResolution, ResolutionUnit
#: Tags of directory 0 that TIFF files have whether they hold EXIF or not.
_COMMON_TAGS = _RESOLUTION | {_ORIENTATION}
#: Tags of directory 0 that describe the photo and not how its pixels are stored (EXIF 2.32, section 4.6.4,
#: and Windows' rating, title, comment, author, keywords and subject).
_PHOTO_TAGS = _COMMON_TAGS | {270, 271, 272, 305, 306, 315, 316, 33432, 18246, *range(40091, 40096)}
#: Tags that point to a directory: Exif, which itself points to Interoperability, and GPS.
_POINTERS: dict[int, dict[int, Any]] = {_EXIF_DIRECTORY: {40965: {}}, 34853: {}}

#: Type -> bytes of one number, numbers in one value (a rational has two).
_TYPES = {
    1: (1, 1), 2: (1, 1), 3: (2, 1), 4: (4, 1), 5: (4, 2), 6: (1, 1),
    7: (1, 1), 8: (2, 1), 9: (4, 1), 10: (4, 2), 11: (4, 1), 12: (8, 1),
}  # fmt: skip

#: Tag -> type and little-endian bytes of the values, or the directory pointed to.
_Directory = dict[int, "tuple[int, bytes] | _Directory"]


def upright(block: bytes) -> tuple[int, bytes]:
    """Read a block's orientation and reset it to 1.

    The thumbnail is left out of the result: it would show the photo unrotated and before it was edited.

    Parameters
    ----------
    block : bytes
        The block, from its byte order on.

    Returns
    -------
    orientation : int
        1 to 8 (EXIF 2.32, section 4.6.4); 1 where the block has none.
    block : bytes
        The block with nothing else changed.

    Raises
    ------
    ValueError
        If directory 0 is damaged.
    """
    order, offset = _header(block)
    entries = _entries(block, order, offset)
    result = bytearray(block)
    orientation = 1
    for tag, kind, count, at in entries:
        if tag == _ORIENTATION:
            number = {1: "B", _SHORT: "H", _LONG: "I"}.get(kind)
            if number is not None and count == 1:
                (orientation,) = struct.unpack_from(order + number, block, at)
            struct.pack_into(order + "HHIHH", result, at - 8, tag, _SHORT, 1, 1, 0)
    thumbnail = offset + 2 + 12 * len(entries)
    if thumbnail + 4 <= len(block):
        struct.pack_into("I", result, thumbnail, 0)
    return orientation if 1 <= orientation <= 8 else 1, bytes(result)


@dataclass(frozen=True)
class LensFacts:
    """What a photo's EXIF says about the lens; None where it says nothing, or nothing that can be true.

    Attributes
    ----------
    focal_length_mm : float or None
        Focal length, millimetres.
    f_number : float or None
        F-number.
    focal_length_35mm : float or None
        Focal length of a lens that sees as much on 35-mm film, millimetres.
    subject_distance_m : float or None
        Distance in focus, metres; may be infinity.
    """

    focal_length_mm: float | None = None
    f_number: float | None = None
    focal_length_35mm: float | None = None
    subject_distance_m: float | None = None


def read_lens(block: bytes) -> LensFacts:
    """Read what a block says about the lens (EXIF 2.32, section 4.6.5).

    Parameters
    ----------
    block : bytes
        The block, from its byte order on, or with the "Exif" mark that it has in a JPEG file before it.

    Returns
    -------
    LensFacts
        Without any fact where the block is damaged.

    Examples
    --------
    >>> read_lens(b"")
    LensFacts(focal_length_mm=None, f_number=None, focal_length_35mm=None, subject_distance_m=None)
    """
    try:
        directory = _parse(block.removeprefix(b"Exif\0\0")).get(_EXIF_DIRECTORY)
    except ValueError:  # damaged
        directory = None
    if not isinstance(directory, dict):
        return LensFacts()
    return LensFacts(
        focal_length_mm=_positive(directory.get(_FOCAL_LENGTH)),
        f_number=_positive(directory.get(_F_NUMBER)),
        focal_length_35mm=_positive(directory.get(_FOCAL_LENGTH_35MM)),
        subject_distance_m=_positive(directory.get(_SUBJECT_DISTANCE), unbounded=True),
    )


def from_tiff(tiff: bytes) -> tuple[int, bytes | None]:
    """Read a TIFF file's orientation, and copy its EXIF into a block of its own.

    Entries of a type that TIFF 6.0 does not have, or whose values lie outside the file, are left out. A
    maker note is copied, but offsets inside it, which some cameras write, are no longer true.

    Parameters
    ----------
    tiff : bytes
        The file.

    Returns
    -------
    orientation : int
        1 to 8.
    block : bytes or None
        Little-endian, orientation 1. None where the file holds no EXIF.

    Raises
    ------
    ValueError
        If directory 0 is damaged.
    """
    directory = _photo_tags(_parse(tiff))
    orientation, block = upright(b"II*\0" + struct.pack("<I", 8) + _serialise(directory, 8))
    return orientation, block if directory.keys() - _COMMON_TAGS else None


def into_tiff(tiff: bytes, block: bytes) -> bytes:
    """Return the little-endian file `tiff` with the block's tags, in a new directory 0 at its end."""
    pixel_tags = {tag: value for tag, value in _parse(tiff).items() if tag not in _RESOLUTION}
    photo_tags = _photo_tags(_parse(block))
    base = len(tiff) + len(tiff) % 2
    directory = _serialise(photo_tags | pixel_tags, base)
    return b"".join((tiff[:4], struct.pack("<I", base), tiff[8:], bytes(base - len(tiff)), directory))


def into_jpeg(jpeg: bytes, block: bytes) -> bytes:
    """Return the file `jpeg`, which has no EXIF, with the block.

    Raises
    ------
    ValueError
        If the block is larger than a JPEG file can hold.
    """
    payload = b"Exif\0\0" + block
    if len(payload) > 65533:
        raise ValueError(f"its EXIF of {len(block)} bytes is larger than the 65527 bytes that a JPEG file can hold")
    return b"".join((jpeg[:2], b"\xff\xe1", struct.pack(">H", len(payload) + 2), payload, jpeg[2:]))


def into_png(png: bytes, block: bytes) -> bytes:
    """Return the file `png`, which has no EXIF, with the block."""
    header_end = 8 + 25  # signature, IHDR chunk
    chunk = b"eXIf" + block
    framed = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"".join((png[:header_end], framed, png[header_end:]))


def is_camera_raw(tiff: bytes) -> bool:
    """Say whether a TIFF file's first picture is only a preview, as in DNG, NEF, ARW and CR2 files."""
    try:
        directory = _parse(tiff)
    except ValueError:  # damaged
        return False
    kind = directory.get(_NEW_SUBFILE_TYPE)
    reduced_resolution = isinstance(kind, tuple) and bool(kind[1][0] & 1)
    return reduced_resolution or _DNG_VERSION in directory or tiff[8:10] == b"CR"


def _header(block: bytes) -> tuple[str, int]:
    """Return the byte order, as in struct, and the offset of directory 0."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        raise ValueError("not an EXIF block: it does not begin as a TIFF file does")
    return order, struct.unpack_from(order + "I", block, 4)[0]


def _entries(block: bytes, order: str, offset: int) -> list[tuple[int, int, int, int]]:
    """Return each entry's tag, type, number of values, and the offset of the values or of their offset."""
    try:
        (number,) = struct.unpack_from(order + "H", block, offset)
        starts = range(offset + 2, offset + 2 + 12 * number, 12)
        return [(*struct.unpack_from(order + "HHI4x", block, at), at + 8) for at in starts]
    except struct.error:
        raise ValueError(f"a directory at {offset} reaches beyond the end of {len(block)} bytes") from None


def _parse(block: bytes) -> _Directory:
    return _read_directory(block, *_header(block), _POINTERS)


def _read_directory(block: bytes, order: str, offset: int, pointers: Mapping[int, Any]) -> _Directory:
    directory: _Directory = {}
    room = len(block)  # entries that share their bytes must not add up to more than there are
    for tag, kind, count, at in _entries(block, order, offset):
        width, parts = _TYPES.get(kind, (0, 0))
        size = count * width * parts
        if size > 4:
            (at,) = struct.unpack_from(order + "I", block, at)
        room -= size
        if size == 0 or at + size > len(block) or room < 0:
            continue
        if tag in pointers:
            (target,) = struct.unpack_from(order + "I", block, at)
            try:
                directory[tag] = _read_directory(block, order, target, pointers[tag])
            except ValueError:
                continue
        else:
            values = np.frombuffer(block, f"{order}u{width}", count * parts, at)
            directory[tag] = kind, values.astype(f"<u{width}").tobytes()
    return directory


def _positive(value: "tuple[int, bytes] | _Directory | None", *, unbounded: bool = False) -> float | None:
    """Return a single number > 0; None where there is none. 0 stands for unknown."""
    kind, data = value if isinstance(value, tuple) else (0, b"")
    layout = _LAYOUTS.get(kind, "")
    if not data or struct.calcsize(layout) != len(data):
        return None
    numerator, *denominator = struct.unpack(layout, data)
    if numerator in (_INFINITY, math.inf):
        return math.inf if unbounded else None
    return float(numerator / (denominator or [1])[0]) if numerator > 0 and denominator != [0] else None


def _photo_tags(directory: _Directory) -> _Directory:
    return {tag: value for tag, value in directory.items() if tag in _PHOTO_TAGS or tag in _POINTERS}


def _serialise(directory: _Directory, base: int) -> bytes:
    """Return the bytes of a directory that will lie at offset `base`, with everything that it points to."""
    entries = []
    values_at = base + 2 + 12 * len(directory) + 4
    values = b""
    for tag, value in sorted(directory.items()):
        here = values_at + len(values)
        if isinstance(value, dict):
            kind, count, field = _LONG, 1, struct.pack("<I", here)
            values += _serialise(value, here)
        else:
            kind, data = value
            width, parts = _TYPES[kind]
            count = len(data) // (width * parts)
            field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", here)
            values += data if len(data) > 4 else b""
        values += bytes(len(values) % 2)
        entries.append(struct.pack("<HHI", tag, kind, count) + field)
    return struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + values
