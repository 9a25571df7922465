"""The index of a JPEG file that holds several pictures, kept right while the file changes.

It is a TIFF structure in an APP2 segment, and counts the places of the further pictures from its own beginning
(CIPA DC-007, Multi-Picture Format, 2009, section 5.2.3).
"""

import struct

APP2 = 0xE2
SIGNATURE = b"MPF\0"

_ENTRIES = 0xB002  # the tag of the list of pictures
_ENTRY_SIZE, _SIZE_AT, _PLACE_AT = 16, 4, 8  # bytes of a picture's entry; where its size and its place are in it


def adjusted(payload: bytes, behind: int, size: int) -> bytes:
    """Return an index for a file in which `behind` bytes more stand behind it, and `size` more in the first picture.

    One that makes no sense comes back as it is.
    """
    index = bytearray(payload)
    at = len(SIGNATURE)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(index[at : at + 4]))
    if order is None:
        return payload
    try:
        for entry in _entries(index, at, order):
            (place,) = struct.unpack_from(f"{order}I", index, entry + _PLACE_AT)
            changed, change = (entry + _PLACE_AT, behind) if place else (entry + _SIZE_AT, size)  # the first is at 0
            (value,) = struct.unpack_from(f"{order}I", index, changed)
            struct.pack_into(f"{order}I", index, changed, value + change)
    except struct.error:
        return payload
    return bytes(index)


def _entries(index: bytearray, at: int, order: str) -> range:
    (directory,) = struct.unpack_from(f"{order}I", index, at + 4)
    (count,) = struct.unpack_from(f"{order}H", index, at + directory)
    for field in range(at + directory + 2, at + directory + 2 + 12 * count, 12):
        tag, _, length, place = struct.unpack_from(f"{order}HHII", index, field)
        if tag == _ENTRIES:
            return range(at + place, at + place + length - _ENTRY_SIZE + 1, _ENTRY_SIZE)
    return range(0)
