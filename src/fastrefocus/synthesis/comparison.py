"""A defocused photo compared with a focused one: seen from the same place, blurred, and exposed alike.

    defocused(p) = gain(p) (psf * focused(view(p))) + offset(p)

in linear light. `Comparison` holds the two photos at one scale and evaluates this model inside a mask. A view is a
homography, 3x3, of (x, y, 1) from the defocused photo to the focused one, and a flow (y, x) in pixels of the defocused
photo that is added to p before. Gain and offset are polynomials of the place: of degree 0, or 2 where they vary.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import map_coordinates, maximum_filter, spline_filter
from scipy.optimize import minimize_scalar

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.optics.psf import psf_of_sigma

Matrix = npt.NDArray[np.float64]

CLIPPED = 0.98  # linear light from which on a pixel may have been brighter than it says

_MOST_SAMPLES = 60_000  # pixels that fits look at; more change nothing
_SLACK = 24  # pixels of the focused photo kept around those seen, for views that are still to change
_SMALLEST_SIGMA = 0.25  # pixels: a disk of a single pixel


@dataclass(frozen=True)
class Blur:
    """A PSF of the standard deviation `sigma`, pixels; `shape` is "disk" or "gaussian"."""

    sigma: float
    shape: str = "gaussian"

    @property
    def psf(self) -> FloatArray:
        """As float32 (n, n)."""
        return psf_of_sigma(self.sigma, self.shape)

    def at_scale(self, factor: float) -> "Blur":
        """Return the same blur in pixels that are `factor` times as wide."""
        return replace(self, sigma=max(self.sigma / factor, _SMALLEST_SIGMA))


@dataclass(frozen=True, eq=False)
class View:
    """Where the pixels of the defocused photo are seen in the focused one."""

    homography: Matrix = field(default_factory=lambda: np.eye(3))
    flow: FloatArray | None = None  # (H, W, 2) of the whole defocused photo

    def at_scale(self, factor: int) -> "View":
        """Return the homography between copies whose pixels are `factor` times as wide; there is no flow on these."""
        middle = (factor - 1) / 2  # the first large pixel's centre
        scale = np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1]])
        return View(np.linalg.solve(scale, self.homography @ scale), self.flow if factor == 1 else None)

    def from_scale(self, factor: int) -> "View":
        """Undo `at_scale`."""
        middle = (factor - 1) / 2
        scale = np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1]])
        return View(scale @ np.linalg.solve(scale.T, self.homography.T).T)

    def seen_from(self, top: int, left: int, height: int, width: int) -> FloatArray:
        """Return the (y, x) seen from each pixel of a box, which may reach beyond the photo, (2, height, width)."""
        y, x = np.mgrid[top : top + height, left : left + width].astype(np.float64)
        if self.flow is not None:
            flow = crop(self.flow, top, left, height, width)
            y, x = y + flow[..., 0], x + flow[..., 1]
        h = self.homography
        depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        seen = [h[1, 0] * x + h[1, 1] * y + h[1, 2], h[0, 0] * x + h[0, 1] * y + h[0, 2]]
        return np.stack([plane / depth for plane in seen]).astype(np.float32)


class Comparison:
    """Two photos at one scale, (H, W, C) linear light, and the window around the mask in which they are compared.

    The window reaches beyond the mask by `reach` pixels, so that the PSF finds its light there.
    """

    def __init__(
        self, defocused: FloatArray, focused: FloatArray, mask: BoolArray, view: View, *, reach: int
    ) -> None:
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        self.box = (
            int(rows[0]) - reach,
            int(columns[0]) - reach,
            next_fast_len(int(rows[-1] - rows[0]) + 1 + 2 * reach, real=True),
            next_fast_len(int(columns[-1] - columns[0]) + 1 + 2 * reach, real=True),
        )
        self.defocused = crop(defocused, *self.box)
        inside = np.zeros(self.box[2:], bool)
        inside[self._in_photo(mask.shape)] = mask[self._of_photo(mask.shape)]
        self.inside = inside & (self.defocused < CLIPPED).all(axis=-1)
        self._focused_shape = focused.shape[:2]
        seen = view.seen_from(*self.box)
        low = np.maximum(np.floor(seen.min(axis=(1, 2))).astype(int) - _SLACK, 0)
        high = np.maximum(np.ceil(seen.max(axis=(1, 2))).astype(int) + _SLACK, low + 4)
        self._corner = np.minimum(low, np.array(self._focused_shape) - 4)
        part = focused[self._corner[0] : high[0], self._corner[1] : high[1]]
        self._splines = [spline_filter(part[..., i], 3, np.float32, mode="mirror") for i in range(part.shape[2])]

    def _of_photo(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        top, left, height, width = self.box
        return np.s_[max(top, 0) : min(top + height, shape[0]), max(left, 0) : min(left + width, shape[1])]

    def _in_photo(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        rows, columns = self._of_photo(shape)
        top, left = self.box[:2]
        return np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def focused(self, view: View) -> tuple[FloatArray, BoolArray]:
        """Return the focused photo as seen from the window's pixels, (h, w, C), and which of them it covers."""
        seen = view.seen_from(*self.box)
        covered = np.ones(self.box[2:], bool)
        for axis, size in enumerate(self._focused_shape):
            covered &= (seen[axis] >= 0) & (seen[axis] <= size - 1)
        seen -= self._corner[:, np.newaxis, np.newaxis].astype(np.float32)
        planes = [map_coordinates(c, seen, order=3, prefilter=False, mode="nearest") for c in self._splines]
        return np.stack(planes, axis=-1), covered

    def fit(self, view: View, blur: Blur, *, degree: int = 2) -> "Explanation":
        """Fit gain and offset for a view and a blur."""
        sharp, covered = self.focused(view)
        return self._explain(_blurred(_spectrum(sharp), self.box[2:], blur), self._compared(covered, blur), degree)

    def fit_blur(self, view: View, *, around: Blur | None = None, degree: int = 2) -> Blur:
        """Return the disk or Gaussian that leaves the least; `around`: near this one only."""
        sharp, covered = self.focused(view)
        spectrum = _spectrum(sharp)
        largest = min(self.box[2:]) / 8
        low, high = (_SMALLEST_SIGMA, largest) if around is None else (around.sigma / 1.6, around.sigma * 1.6)
        pixels = self._compared(covered, Blur(min(high, largest)))

        def residual(sigma: float, shape: str) -> float:
            blurred = _blurred(spectrum, self.box[2:], Blur(sigma, shape))
            return self._explain(blurred, pixels, degree).residual

        if around is None:
            tried = np.geomspace(low, max(high, 2 * low), 9)
            best = tried[int(np.argmin([residual(sigma, "gaussian") for sigma in tried]))]
            low, high = best / 1.7, best * 1.7
        bounds = np.log([max(low, _SMALLEST_SIGMA), max(min(high, largest), 2 * _SMALLEST_SIGMA)])
        found = {}
        for shape in ("gaussian", "disk"):
            least = minimize_scalar(
                lambda log_sigma, shape=shape: residual(float(np.exp(log_sigma)), shape),
                bounds=bounds, method="bounded", options={"xatol": 0.02},
            )  # fmt: skip
            found[least.fun] = Blur(float(np.exp(least.x)), shape)
        return found[min(found)]

    def _compared(self, covered: BoolArray, blur: Blur) -> BoolArray:
        """Return the pixels inside the mask whose light comes from what the focused photo covers."""
        if covered.all():
            return self.inside
        reach = int(np.ceil(2 * blur.sigma))
        return self.inside & ~maximum_filter(~covered, 2 * reach + 1)

    def _explain(self, blurred: FloatArray, pixels: BoolArray, degree: int) -> "Explanation":
        return Explanation.fit(self.defocused, blurred, pixels, degree)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the model makes of the defocused photo in a window."""

    blurred: FloatArray  # (h, w, C), before gain and offset
    pixels: BoolArray  # (h, w), those compared
    coefficients: Matrix  # (C, 2, n): of gain and offset
    residual: float  # mean absolute difference over the pixels

    @staticmethod
    def fit(defocused: FloatArray, blurred: FloatArray, pixels: BoolArray, degree: int) -> "Explanation":
        """Fit gain and offset to the pixels, by least squares that count large differences less (Huber)."""
        chosen = samples(pixels)
        channels = blurred.shape[2]
        if len(chosen) < 50:
            return Explanation(blurred, pixels, np.zeros((channels, 2, terms(degree))), np.inf)
        shape = polynomials(chosen, pixels.shape, degree)
        coefficients, residuals = [], []
        for i in range(channels):
            b, d = (image[..., i].ravel()[chosen].astype(np.float64) for image in (blurred, defocused))
            columns = np.concatenate([shape * b[:, np.newaxis], shape], axis=1)
            found = least_squares(columns, d, np.ones(len(d)))
            left = d - np.einsum("ij,j->i", columns, found)
            found = least_squares(columns, d, huber_weights(left))
            coefficients.append(found.reshape(2, -1))
            residuals.append(float(np.abs(d - np.einsum("ij,j->i", columns, found)).mean()))
        return Explanation(blurred, pixels, np.array(coefficients), float(np.mean(residuals)))

    def exposure(self) -> tuple[FloatArray, FloatArray]:
        """Return gain and offset in the window, (h, w, C), or (1, 1, C) where they do not vary."""
        height, width = self.pixels.shape
        if self.coefficients.shape[2] == 1:
            gain, offset = (self.coefficients[np.newaxis, :, i].transpose(0, 2, 1) for i in range(2))
        else:
            shape = polynomials(np.arange(height * width), self.pixels.shape, 2)
            gain, offset = (
                np.einsum("pn,cn->pc", shape, self.coefficients[:, i]).reshape(height, width, -1) for i in range(2)
            )
        return gain.astype(np.float32), offset.astype(np.float32)

    def image(self) -> FloatArray:
        """Return what the model says of the defocused photo, (h, w, C)."""
        gain, offset = self.exposure()
        return gain * self.blurred + offset


def polynomials(pixels: npt.NDArray[np.intp], shape: tuple[int, ...], degree: int) -> Matrix:
    """Return the polynomials of degree 0, or of up to 2, of the place in a window, (n, 1) or (n, 6)."""
    u, v = places(pixels, shape)
    ones = np.ones_like(u)
    return np.stack([ones] if degree == 0 else [ones, u, v, u * u, u * v, v * v], axis=1)


def terms(degree: int) -> int:
    """Return how many polynomials there are."""
    return 1 if degree == 0 else 6


def places(pixels: npt.NDArray[np.intp], shape: tuple[int, ...]) -> tuple[Matrix, Matrix]:
    """Return (x, y) of pixels of a window, its longer side being from -1 to 1."""
    scale = max(shape) / 2
    y, x = np.divmod(pixels, shape[1])
    return (x - (shape[1] - 1) / 2) / scale, (y - (shape[0] - 1) / 2) / scale


def samples(pixels: BoolArray) -> npt.NDArray[np.intp]:
    """Return the flat indices of at most so many of the pixels."""
    chosen = np.flatnonzero(pixels)
    step = -(-len(chosen) // _MOST_SAMPLES)
    return chosen[:: max(step, 1)]


def least_squares(columns: Matrix, values: Matrix, weights: Matrix) -> Matrix:
    """Solve weighted least squares; sums without BLAS, whose bits depend on its threads."""
    weighted = columns * weights[:, np.newaxis]
    gram = np.einsum("ij,ik->jk", weighted, columns)
    gram[np.diag_indices(len(gram))] *= 1 + 1e-9
    gram[np.diag_indices(len(gram))] += 1e-12
    return np.linalg.solve(gram, np.einsum("ij,i->j", weighted, values))


def huber_weights(differences: Matrix) -> Matrix:
    """Return the weights of Huber's M-estimator: large differences count by their absolute value."""
    limit = 2 * float(np.median(np.abs(differences))) + 1e-6  # 1.35 standard deviations of normal noise
    return limit / np.maximum(np.abs(differences), limit)


def crop(image: FloatArray, top: int, left: int, height: int, width: int) -> FloatArray:
    """Return a box of an image, whose border goes on beyond it."""
    rows = np.clip(np.arange(top, top + height), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + width), 0, image.shape[1] - 1)
    return image[rows[:, np.newaxis], columns]


def _spectrum(image: FloatArray) -> npt.NDArray[np.complex64]:
    return np.asarray(rfft2(image, axes=(0, 1), workers=1))


def _blurred(spectrum: npt.NDArray[np.complex64], shape: tuple[int, ...], blur: Blur) -> FloatArray:
    psf = blur.psf
    radius = psf.shape[0] // 2
    kernel = np.zeros(shape, np.float32)
    rows, columns = (np.arange(-radius, radius + 1) % size for size in shape)
    np.add.at(kernel, (rows[:, np.newaxis], columns), psf)
    transfer = rfft2(kernel, workers=1)[..., np.newaxis]
    return np.asarray(irfft2(spectrum * transfer, s=shape, axes=(0, 1), workers=1))
