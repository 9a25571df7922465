r"""Direct filters: inverse and Wiener.

With C the PSF's transfer function and B the image's spectrum:

- inverse: X = B / C where \|C\| > 0.001, else 0;
- Wiener: X = conj(C) B / (\|C\|^2 + lam), lam being the ratio of the noise's power to the image's.
"""

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.deconvolution.canvas import Canvas, apply_filter
from fastrefocus.fft import ComplexArray

#: Where the transfer function is smaller, the inverse filter would amplify rounding by more than 60 dB.
SMALLEST_TRANSFER = 1e-3


def wiener(otf: ComplexArray, lam: float) -> ComplexArray:
    r"""Return conj(C) / (\|C\|^2 + lam)."""
    return otf.conj() / (np.abs(otf) ** 2 + np.float32(max(lam, 1e-30)))  # the sum must not be 0


def inverse(otf: ComplexArray) -> ComplexArray:
    r"""Return 1 / C where \|C\| > `SMALLEST_TRANSFER`, else 0."""
    magnitude = np.abs(otf)
    kept = magnitude > SMALLEST_TRANSFER
    return np.where(kept, otf.conj() / np.maximum(magnitude, np.float32(SMALLEST_TRANSFER)) ** 2, 0)


def restore(plane: FloatArray, response: ComplexArray, canvas: Canvas) -> FloatArray:
    """Apply a direct filter to one (H, W) plane."""
    scale = np.float32(1 / (canvas.shape[0] * canvas.shape[1]))

    def change(block: ComplexArray, columns: slice) -> None:
        block *= response[columns] * scale

    return apply_filter(canvas, plane, change)
