"""The priors of a deconvolution, each with its part of ADMM: the split and what it adds to the normal equations."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.deconvolution.canvas import Canvas

# Beyond these the squares leave float32; on pixel values, less makes no difference.
_SMALLEST_RHO = 1e-30
_LARGEST_THRESHOLD = 1e18

#: Penalty of the split that keeps the values in their range.
_RANGE_PENALTY = 0.03


class Sums(NamedTuple):
    """What an iteration adds up over some channels, for the histories."""

    penalty: float  # lam TV(x)
    violation: float  # |D x - z|^2
    gradient: float  # |D x|^2
    change: float  # |x - x before|^2
    energy: float  # |x|^2


class TotalVariation:
    """lam TV(x): isotropic (vector TV where there are several channels) or anisotropic.

    All here works on stacks (channels, planes, H, W) of which plane 0 is meant.
    """

    def __init__(
        self, channels: int, canvas: Canvas, *, lam: float, rho: float, relaxation: float, isotropic: bool
    ) -> None:
        self._lam = lam
        self._set_penalty(rho)
        self._relaxation = np.float32(relaxation)
        self._isotropic = isotropic
        self._v = np.zeros((channels, 2, *canvas.shape), np.float32)
        self._scale = np.ones(canvas.shape, np.float32)
        self._previous = np.zeros((channels, *canvas.image_shape), np.float32)
        self._rows, self._columns = canvas.counted(0), canvas.counted(1)

    def _set_penalty(self, rho: float) -> None:
        self._rho = np.float32(max(rho, _SMALLEST_RHO))
        self._threshold = np.float32(min(max(self._lam / rho, 1 / _LARGEST_THRESHOLD), _LARGEST_THRESHOLD))

    def double_penalty(self) -> None:
        """Double rho before the next update of the split, which keeps its value."""
        from fastrefocus.native import proximal

        proximal.halve_dual(self._v, self._scale, self._rows, self._columns, self._threshold, self._isotropic)
        self._set_penalty(2 * float(self._rho))

    def quadratic(self) -> FloatArray:
        """Return the factors on the left side of the normal equations, of the transposed half spectrum's shape."""
        return self._rho * gradient_power((self._v.shape[2], self._v.shape[3]))

    def update(self, images: FloatArray, right_side: FloatArray) -> Sums:
        """Update the split for new images, and write its part of the right side, which for z = u = 0 is 0."""
        from fastrefocus.native import proximal

        variation, violation, gradient, change, energy = proximal.variation_update(
            images, self._previous, self._v, self._scale, right_side, self._rows, self._columns,
            self._threshold, self._rho, self._relaxation, self._isotropic,
        )  # fmt: skip
        return Sums(self._lam * variation, violation, gradient, change, energy)


class ValueRange:
    """Keeps the values between two bounds. It adds to the right side of the prior that went before it."""

    def __init__(self, start: FloatArray, low: float, high: float, *, relaxation: float) -> None:
        self._q = np.clip(start, low, high)  # (channels, H, W)
        self._low, self._high = np.float32(low), np.float32(high)
        self._relaxation = np.float32(relaxation)

    def quadratic(self) -> np.float32:
        """Return what it adds to every factor on the left side."""
        return np.float32(_RANGE_PENALTY)

    def begin(self, right_side: FloatArray) -> None:
        """Add to the right side before the first iteration."""
        right_side[:, 0] += np.float32(_RANGE_PENALTY) * self._q

    def update(self, images: FloatArray, right_side: FloatArray) -> None:
        """Update the split for new images, and add to the right side."""
        from fastrefocus.native import proximal

        proximal.range_update(
            images, self._q, right_side, self._low, self._high, np.float32(_RANGE_PENALTY), self._relaxation
        )


def gradient_power(shape: tuple[int, int]) -> FloatArray:
    r"""Return \|D\|^2, the squared transfer function of the periodic differences, on the transposed half spectrum."""
    height, width = shape
    ly = _difference_power(np.arange(height), height)
    lx = _difference_power(np.arange(width // 2 + 1), width)
    return ly + lx[:, np.newaxis]


def _difference_power(k: npt.NDArray[np.int_], size: int) -> FloatArray:
    """Squared transfer function of the periodic forward difference, 4 sin^2(pi k / n)."""
    return (4 * np.sin(np.pi * k / size) ** 2).astype(np.float32)
