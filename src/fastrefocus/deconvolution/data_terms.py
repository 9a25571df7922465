"""The data term of a deconvolution: how well an image explains the photo, and the x-update of ADMM that belongs to it.

`fastrefocus.native.least_squares` has the table of symbols and the kernels.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.deconvolution.canvas import Canvas, filter_canvas
from fastrefocus.fft import ComplexArray, RealFFT2

#: mu, the penalty of c_k * x = y_k. Between 0.01 and 0.1 the objective falls fastest for lam of 1e-4 to 1e-2.
SPLIT_PENALTY = 0.06

_OUTLIER = 8.0  # k: a residual of so many standard deviations counts half
_OUTLIER_SIGMA = 2.0  # of the Gaussian that residuals are looked at with, pixels
_MAD_TO_SIGMA = 1.4826

_SMALLEST_QUADRATIC = 1e-30  # the sum on the left side of the normal equations must not be 0


class DataTerm(Protocol):
    """Works on stacks (channels, 1 + splits, H, W): the prior's right side, then what the splits add to it."""

    splits: int

    def penalise(self, quadratic: FloatArray) -> None:
        """Set the prior's factors on the left side, float32 of the transposed half spectrum's shape."""

    def begin(self, right_side: FloatArray) -> None:
        """Write what the splits add to the right side before the first iteration."""

    def solve(self, block: ComplexArray, columns: slice) -> None:
        """Solve the normal equations on a block (channels, 1 + splits, columns, H) of the stack's spectrum."""

    def update(self, images: FloatArray, right_side: FloatArray) -> float:
        """Update the splits for new images, and write what they add to the right side; return 1/2 |A x - b|^2."""

    def residuals(self, images: FloatArray) -> list[FloatArray]:
        """Return the part of A x - b that counts, a plane of the photo's size for each channel."""


class CircularData:
    """1/2 |c*x - b|^2 on a canvas that is known everywhere and periodic; solved in the Fourier domain.

    Parameters
    ----------
    planes : sequence of ndarray
        float32 (H, W), the channels of b.
    psf : ndarray
        float32 (h, w), odd: c.
    canvas : Canvas
        What to lay both on.
    """

    splits = 0

    def __init__(self, planes: Sequence[FloatArray], psf: FloatArray, canvas: Canvas) -> None:
        transform = RealFFT2(canvas.shape)
        self._observed = np.stack([transform.forward(canvas.extend(plane)) for plane in planes])
        self._planes, self._canvas = planes, canvas
        self._otf = canvas.otf(psf)
        self._size = canvas.shape[0] * canvas.shape[1]
        self._multiplicity = _multiplicity(canvas.shape[1])
        self._misfit = 0.0

    def penalise(self, quadratic: FloatArray) -> None:
        """Set the prior's factors on the left side."""
        self._quadratic = np.maximum(quadratic, np.float32(_SMALLEST_QUADRATIC))

    def begin(self, right_side: FloatArray) -> None:
        """Do nothing: there is no split."""

    def solve(self, block: ComplexArray, columns: slice) -> None:
        """Solve the normal equations on a block of the spectrum."""
        from fastrefocus.native import least_squares

        errors = least_squares.circular_update(
            block, self._otf[columns], self._observed[:, columns], self._quadratic[columns], np.float32(1 / self._size)
        )
        self._misfit += float(errors @ self._multiplicity[columns])

    def update(self, images: FloatArray, right_side: FloatArray) -> float:
        """Return 1/2 |c*x - b|^2."""
        misfit, self._misfit = self._misfit, 0.0
        return 0.5 * misfit / self._size

    def residuals(self, images: FloatArray) -> list[FloatArray]:
        """Return c*x - b within the photo."""
        return [
            self._canvas.crop(filter_canvas(x, self._otf)) - plane
            for x, plane in zip(images[:, 0], self._planes, strict=True)
        ]


class JointData:
    """1/2 sum of v (sum_k w_k (c_k * x) - b)^2: several PSFs, and pixels that are trusted more or less, or not known.

    Where b is clipped, only what is less than b counts. The splits y_k = c_k * x leave a least-squares problem at each
    pixel and one at each frequency (Almeida and Figueiredo 2013 for one PSF and unknown borders).

    Parameters
    ----------
    planes : sequence of ndarray
        float32 (H, W), the channels of b.
    psfs : sequence of ndarray
        float32 (h, w), odd: the K c_k.
    weights : ndarray
        float32 (K, H, W): w_k.
    trust : ndarray or None
        float32 (H, W), >= 0: v, 0 where b is not known; None: 1.
    canvas : Canvas
        What to lay all on.
    clipped : sequence of ndarray or None
        bool (H, W) for each channel, where b is clipped.
    relaxation : float
        Over-relaxation.
    """

    def __init__(
        self,
        planes: Sequence[FloatArray],
        psfs: Sequence[FloatArray],
        weights: FloatArray,
        trust: FloatArray | None,
        canvas: Canvas,
        *,
        clipped: Sequence[BoolArray] | None,
        relaxation: float,
    ) -> None:
        height, width = canvas.image_shape
        self._canvas = canvas
        self.splits = len(psfs)
        self._relaxation = np.float32(relaxation)
        self._weights = np.zeros((len(psfs), *canvas.shape), np.float32)
        root = self._root = np.ones((height, width), np.float32) if trust is None else np.sqrt(trust)
        self._weights[:, :height, :width] = weights * root  # sqrt(v) goes to both w and b
        self._observed = np.zeros((len(planes), *canvas.shape), np.float32)
        self._q = np.empty((len(planes), len(psfs), *canvas.shape), np.float32)
        for plane, observed, q in zip(planes, self._observed, self._q, strict=True):
            observed[:height, :width] = plane * root
            q[...] = canvas.extend(plane)
        self._most = np.empty((len(planes), 0, 0), np.float32)
        if clipped is not None and any(mask.any() for mask in clipped):
            self._most = np.full(self._observed.shape, np.inf, np.float32)
            for mask, most in zip(clipped, self._most, strict=True):
                most[:height, :width][mask] = 0
        self._otfs = np.stack([canvas.otf(psf) for psf in psfs])
        self._scale = np.float32(1 / (canvas.shape[0] * canvas.shape[1]))

    def penalise(self, quadratic: FloatArray) -> None:
        """Set the prior's factors on the left side, float32 of the transposed half spectrum's shape."""
        total = quadratic.copy()
        for otf in self._otfs:
            total += np.float32(SPLIT_PENALTY) * (otf.real**2 + otf.imag**2)
        self._inverse = np.reciprocal(np.maximum(total, np.float32(_SMALLEST_QUADRATIC)))

    def begin(self, right_side: FloatArray) -> None:
        """Write y = q, d = 0."""
        right_side[:, 1:] = self._q

    def solve(self, block: ComplexArray, columns: slice) -> None:
        """Solve the normal equations on a block of the spectrum."""
        from fastrefocus.native import least_squares

        least_squares.joint_update(
            block, self._otfs[:, columns], self._inverse[columns], np.float32(SPLIT_PENALTY), self._scale
        )

    def update(self, images: FloatArray, right_side: FloatArray) -> float:
        """Update y and d; return the data term."""
        from fastrefocus.native import least_squares

        misfit: float = least_squares.split_update(
            images, self._q, right_side, self._weights, self._observed, self._most,
            np.float32(SPLIT_PENALTY), self._relaxation,
        )  # fmt: skip
        return 0.5 * misfit

    def residuals(self, images: FloatArray) -> list[FloatArray]:
        """Return sum_k w_k (c_k * x) - b, 0 where b is not known or is clipped and less."""
        root = np.maximum(self._root, np.float32(_SMALLEST_QUADRATIC))
        planes = []
        for c, stack in enumerate(images[:, 1:]):
            residual = np.einsum("kij,kij->ij", self._weights, stack) - self._observed[c]
            if self._most[c].size:
                np.minimum(residual, self._most[c], out=residual)
            planes.append(np.divide(self._canvas.crop(residual), root, dtype=np.float32))
        return planes

    def distrust_outliers(self, images: FloatArray) -> None:
        """Lessen the trust in pixels that are explained badly: v <- v / (1 + r^2 / (k s)^2), Cauchy's weights.

        r^2 is the residual's square around the pixel, s the residual's robust standard deviation.
        """
        from scipy.ndimage import gaussian_filter

        residuals = np.stack(self.residuals(images))
        scale = _OUTLIER * _MAD_TO_SIGMA * float(np.median(np.abs(residuals[:, self._root > 0])))
        if scale == 0:
            return
        squares = gaussian_filter(np.square(residuals).mean(axis=0), _OUTLIER_SIGMA)
        factor = 1 / np.sqrt(1 + squares / np.float32(scale) ** 2)
        height, width = self._canvas.image_shape
        self._root = self._root * factor
        self._weights[:, :height, :width] *= factor
        self._observed[:, :height, :width] *= factor


def _multiplicity(width: int) -> FloatArray:
    """Return how often each column of half a spectrum counts (Parseval): twice, but for frequency 0 and Nyquist."""
    multiplicity = np.full(width // 2 + 1, 2.0)
    multiplicity[0] = 1
    if width % 2 == 0:
        multiplicity[-1] = 1
    return multiplicity
