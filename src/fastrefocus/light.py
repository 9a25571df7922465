"""Encoded (sRGB) values, linear light, and luminance.

Optics adds light, and so is true in linear values only; photos are stored encoded. The curves are those of IEC
61966-2-1, continued oddly below 0 so that noise around black survives, and as they are above 1.
"""

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _core

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, of red, green and blue


def decode(encoded: FloatArray) -> FloatArray:
    """Return the linear light of sRGB-encoded values, float32 of any shape, to 1e-6 of the value."""
    return _core.decode_srgb(encoded)


def encode(linear: FloatArray) -> FloatArray:
    """Return the sRGB encoding of linear light, float32 of any shape; the inverse of `decode`."""
    return _core.encode_srgb(linear)


def luminance(values: FloatArray) -> FloatArray:
    """Return the luminance (H, W) of a grey or colour photo, float32; of encoded values, as video has it, the luma."""
    return values if values.ndim == 2 else values @ _LUMINANCE
