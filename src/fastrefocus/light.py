"""Encoded (sRGB) values and linear light.

Optics adds light, and so is true in linear values only; photos are stored encoded. The curves are those of IEC
61966-2-1, continued oddly below 0 so that noise around black survives, and as they are above 1.
"""

import numpy as np

from fastrefocus.arrays import FloatArray


def decode(encoded: FloatArray) -> FloatArray:
    """Return the linear light of sRGB-encoded values, float32 of any shape."""
    magnitude = np.abs(encoded)
    curve = ((magnitude + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    linear = np.where(magnitude <= np.float32(0.04045), magnitude / np.float32(12.92), curve)
    return np.copysign(linear, encoded)


def encode(linear: FloatArray) -> FloatArray:
    """Return the sRGB encoding of linear light, float32 of any shape; the inverse of `decode`."""
    magnitude = np.abs(linear)
    curve = np.float32(1.055) * magnitude ** np.float32(1 / 2.4) - np.float32(0.055)
    encoded = np.where(magnitude <= np.float32(0.0031308), magnitude * np.float32(12.92), curve)
    return np.copysign(encoded, linear)
