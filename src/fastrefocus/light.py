"""Encoded (sRGB) values and linear light.

Optics adds light, and so is true in linear values only; photos are stored encoded. The curves are those of IEC
61966-2-1, continued oddly below 0 so that noise around black survives, and as they are above 1.
"""

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _core


def decode(encoded: FloatArray) -> FloatArray:
    """Return the linear light of sRGB-encoded values, float32 of any shape, to 1e-6 of the value."""
    return _core.decode_srgb(encoded)


def encode(linear: FloatArray) -> FloatArray:
    """Return the sRGB encoding of linear light, float32 of any shape; the inverse of `decode`."""
    return _core.encode_srgb(linear)
