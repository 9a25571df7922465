"""A defocused photo compared with a focused one: seen from the same place, blurred, and exposed alike.

    defocused(p) = gain(p) (psf * focused(view(p))) + offset(p)

in linear light, p being the pixels inside a mask. Gain and offset, of a channel each, are polynomials of the place: of
degree 0, or 2 where they vary, as vignetting and flare do.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.optimize import minimize_scalar

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import encode
from fastrefocus.optics.psf import psf_of_sigma
from fastrefocus.synthesis.view import (
    Box,
    CoarseMap,
    Matrix,
    Sampler,
    View,
    bounding_box,
    crop,
    is_inside,
    places_in,
    reduced,
)

#: Pixels: photos of which one side is smaller cannot be compared.
LEAST_SIDE = 24

#: Weight of the squares of a varying gain's terms and of offsets, of each sample: where the photos have little texture
#: gain and offset could otherwise make up for one another without end.
_VARIATION_PRIOR, _OFFSET_PRIOR = 1e-4, 2e-3
_NO_OFFSET = 1e6

CLIPPED = 0.98  # linear light from which on a pixel may have been brighter than it says
_MOST_SAMPLES = 40_000  # pixels that fits look at
_FEWEST_SAMPLES = 50
_SLACK = 24  # pixels of the focused photo kept around those seen, for views that are still to change
_SMALLEST_SIGMA = 0.25  # pixels: a disk of a single pixel
_NEAR = 1.6  # how many times larger or smaller a blur may turn out to be than one that is about right
_SURROUNDINGS = (3.0, 8.0)  # pixels, standard deviation: where agreement is looked for
_NOISE = 0.01  # standard deviation of encoded values; variations below it neither agree nor disagree
_TERMS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # powers of x and y


@dataclass(frozen=True)
class Blur:
    """A PSF of the standard deviation `sigma`, pixels; `shape` is "disk" or "gaussian"."""

    sigma: float
    shape: str = "gaussian"

    @property
    def psf(self) -> FloatArray:
        """As float32 (n, n)."""
        return psf_of_sigma(self.sigma, self.shape)

    @property
    def reach(self) -> int:
        """Pixels from which the PSF, or one near it, takes its light."""
        return int(np.ceil(4 * _NEAR * self.sigma)) + 2

    def at_scale(self, factor: float) -> "Blur":
        """Return the same blur in pixels that are `factor` times as wide."""
        return replace(self, sigma=max(self.sigma / factor, _SMALLEST_SIGMA))


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the focused photo says of the defocused one in a window."""

    blurred: FloatArray  # (h, w, C), before gain and offset
    pixels: BoolArray  # (h, w), those compared
    coefficients: Matrix  # (C, 2, n): of gain and offset
    residual: float  # mean absolute difference inside the mask; what is not compared counts as if it were flat
    difference: float  # the same, of what is compared

    def image(self) -> FloatArray:
        """Return the model's values, (h, w, C)."""
        height, width = self.pixels.shape
        gain, offset = surfaces(self.coefficients, *places(height, width))
        return gain * self.blurred + offset


class Pair(NamedTuple):
    """A defocused and a focused photo, (H, W, C) linear light, of a size each, and the former's mask, (H, W) bool."""

    defocused: FloatArray
    focused: FloatArray
    mask: BoolArray

    def at_scale(self, factor: int) -> "Pair":
        """Return copies whose pixels are `factor` times as wide."""
        if factor == 1:
            return self
        share = reduced(self.mask.astype(np.float32), factor)
        mask = share >= min(0.5, share.max())  # so that something is left of a thin mask
        return Pair(reduced(self.defocused, factor), reduced(self.focused, factor), mask)

    def usable_pixels(self) -> int:
        """Return how many of the mask's pixels are not overexposed."""
        return len(np.flatnonzero(self.mask & np.all(self.defocused < CLIPPED, axis=-1)))

    def coarsest(self) -> int:
        """Return the largest factor that leaves enough of both photos to compare them."""
        shortest: int = min(*self.defocused.shape[:2], *self.focused.shape[:2])
        return max(shortest // LEAST_SIDE, 1)

    def side(self) -> int:
        """Return the longer side of the mask's bounding box, pixels."""
        return max(bounding_box(self.mask)[2:])

    def scale_for(self, pixels: int) -> int:
        """Return the factor by which to reduce the photos so that the mask has no more pixels than that."""
        return min(math.ceil(math.sqrt(np.count_nonzero(self.mask) / pixels)), self.coarsest())


class Comparison:
    """The window of a pair of photos around the mask in which they are compared.

    The window reaches beyond the mask, so that the PSF finds its light there.
    """

    def __init__(self, pair: Pair, view: View, reach: int) -> None:
        defocused, focused, mask = pair
        self.box = _box(mask, reach)
        self.defocused = crop(defocused, self.box)
        self.inside = crop(mask, self.box)
        for axis in (0, 1):  # `crop` continues a mask that touches the border
            outside = np.arange(self.box[axis], self.box[axis] + self.box[axis + 2])
            outside = (outside < 0) | (outside >= mask.shape[axis])
            self.inside[outside if axis == 0 else np.s_[:, outside]] = False
        self.inside = self.inside & np.all(self.defocused < CLIPPED, axis=-1)
        self._deviation = _deviation(self.defocused, self.inside)
        self._sampler = Sampler(focused, view.seen_from(self.box), _SLACK)

    def focused(self, view: View) -> tuple[FloatArray, BoolArray]:
        """Return the focused photo as seen from the window's pixels, (h, w, C), and which of them it covers."""
        seen = view.seen_from(self.box)
        return self._sampler.at(seen), is_inside(self._sampler.shape, seen)

    def explain(
        self, view: View, blur: Blur, *, degree: int = 2, offset: bool = True, psf: FloatArray | None = None
    ) -> Explanation:
        """Fit gain and offset for a view and a blur; `psf`: this one instead of the blur's."""
        sharp, covered = self.focused(view)
        blurred = _convolved(_spectrum(sharp), blur.psf if psf is None else psf, self.box[2:])
        return self._fit(blurred, self._compared(covered, blur), degree, offset)

    def share_explained(self, view: View, blur: Blur) -> float:
        """Return the share that the focused photo explains of what is not smooth in the defocused one, up to 1."""
        explained = self.explain(view, blur)
        flat = self._fit(np.zeros_like(self.defocused), explained.pixels, 2).residual
        return float(1 - explained.residual / flat) if np.isfinite(flat) and flat > 0 else 0.0

    def agreement(self, view: View, blur: Blur) -> CoarseMap:
        """Return the correlation, 0..1, of both photos around each pixel; 0 where they are not compared."""
        explained = self.explain(view, blur)
        pixels = explained.pixels.astype(np.float32)
        sigma = float(np.clip(2 * blur.sigma, *_SURROUNDINGS))
        weight = gaussian_filter(pixels, sigma) + np.float32(1e-6)

        def mean(values: FloatArray) -> FloatArray:
            around: FloatArray = gaussian_filter(values * pixels, sigma) / weight
            return around

        ours, theirs = (encode(image[..., 0]) for image in (self.defocused, explained.image()))
        common = mean(ours * theirs) - mean(ours) * mean(theirs)
        our_power, their_power = (np.maximum(mean(v * v) - mean(v) ** 2, 0) for v in (ours, theirs))
        local = (common + _NOISE**2) / np.sqrt((our_power + _NOISE**2) * (their_power + _NOISE**2))
        return CoarseMap(np.clip(local, 0, 1) * pixels, self.box[:2])

    def fit_blur(
        self, view: View, *, around: Blur | None = None, shapes: tuple[str, ...] = ("gaussian",), degree: int = 2
    ) -> Blur:
        """Return the blur that leaves the least; `around`: near this one only."""
        sharp, covered = self.focused(view)
        spectrum = _spectrum(sharp)
        largest = max(min(self.box[2:]) / 12, 4 * _SMALLEST_SIGMA)
        pixels = self._compared(covered, around or Blur(1))

        def residual(log_sigma: float, shape: str) -> float:
            psf = psf_of_sigma(float(np.exp(log_sigma)), shape)
            return self._fit(_convolved(spectrum, psf, self.box[2:]), pixels, degree).residual

        if around is None:
            tried = np.geomspace(_SMALLEST_SIGMA, largest, 9)
            around = Blur(tried[int(np.argmin([residual(np.log(sigma), "gaussian") for sigma in tried]))])
        bounds = np.log([max(around.sigma / _NEAR, _SMALLEST_SIGMA), min(max(around.sigma, 0.5) * _NEAR, largest)])
        found = []
        for shape in shapes:
            least = minimize_scalar(residual, args=(shape,), bounds=bounds, method="bounded", options={"xatol": 0.02})
            found.append((least.fun, Blur(float(np.exp(least.x)), shape)))
        return min(found, key=lambda pair: pair[0])[1]

    def exposure(self, explained: Explanation, width: float) -> "Exposure":
        """Return the exposure all over a photo in which this comparison's pixels are `width` wide."""
        planes = surfaces(explained.coefficients, *places(*self.box[2:]))
        limits = [
            (values.min(axis=0), values.max(axis=0))
            for values in (plane[0] if plane.shape[:2] == (1, 1) else plane[explained.pixels] for plane in planes)
        ]
        return Exposure(explained.coefficients, self.box, width, np.array(limits))

    def _compared(self, covered: BoolArray, blur: Blur) -> BoolArray:
        """Return the pixels inside the mask whose light comes from what the focused photo covers."""
        if covered.all():
            return self.inside
        shown: BoolArray = self.inside & ~maximum_filter(~covered, 2 * int(np.ceil(2 * blur.sigma)) + 1)
        return shown

    def _fit(self, blurred: FloatArray, pixels: BoolArray, degree: int, offset: bool = True) -> Explanation:
        """Fit gain, and offset if there is one, by least squares that count large differences less (Huber's)."""
        chosen = samples(pixels)
        channels = blurred.shape[2]
        if len(chosen) < _FEWEST_SAMPLES:
            return Explanation(blurred, pixels, np.zeros((channels, 2, 1)), np.inf, np.inf)
        shape = polynomials(chosen, pixels.shape, degree)
        coefficients, left = [], 0.0
        for i in range(channels):
            b, d = (image[..., i].ravel()[chosen].astype(np.float64) for image in (blurred, self.defocused))
            columns = np.concatenate([shape * b, shape])
            prior = len(chosen) * np.repeat([_VARIATION_PRIOR, _OFFSET_PRIOR if offset else _NO_OFFSET], len(shape))
            prior[0] = 0
            first = least_squares(columns, d, prior=prior)
            weights = huber_weights(d - np.einsum("ij,i->j", columns, first))
            found = least_squares(columns, d, weights, prior)
            coefficients.append(found.reshape(2, -1))
            left += float(np.abs(d - np.einsum("ij,i->j", columns, found)).mean()) / channels
        missing = self.inside & ~pixels
        total = left * np.count_nonzero(pixels) + float(self._deviation[missing].sum(dtype=np.float64))
        return Explanation(blurred, pixels, np.array(coefficients), total / np.count_nonzero(self.inside), left)


@dataclass(frozen=True, eq=False)
class Exposure:
    """Gain and offset of each channel all over a photo, kept within those of the pixels compared.

    They are polynomials over a window of a copy whose pixels are `width` as wide; beyond it, those of its border.
    """

    coefficients: Matrix  # (C, 2, n): of gain and offset
    window: Box
    width: float
    limits: Matrix  # (2, 2, C): of gain and offset, the least and the largest

    @staticmethod
    def unchanged(channels: int) -> "Exposure":
        """Return a gain of 1 and an offset of 0."""
        coefficients = np.tile([[1.0], [0.0]], (channels, 1, 1))
        return Exposure(coefficients, (0, 0, 1, 1), 1, np.tile([[[1.0]], [[0.0]]], (1, 2, channels)))

    def at(self, box: Box) -> tuple[FloatArray, FloatArray]:
        """Return gain and offset in a window of the photo, (h, w, C), or (1, 1, C) where they do not vary; float32."""
        shape = self.window[2:]
        y, x = places_in(self.window[:2], shape, self.width, box)
        y, x = ((line - (size - 1) / 2) / (max(shape) / 2) for line, size in zip((y, x), shape, strict=True))
        planes = surfaces(self.coefficients, x[np.newaxis], y[:, np.newaxis])
        gain, offset = (np.clip(plane, *limits) for plane, limits in zip(planes, self.limits, strict=True))
        return gain, offset


def places(height: int, width: int) -> tuple[Matrix, Matrix]:
    """Return the (x, y) of a window's pixels, (1, w) and (h, 1), its longer side being from -1 to 1."""
    scale = float(max(height, width) / 2)
    y, x = ((np.arange(size, dtype=np.float64) - (size - 1) / 2) / scale for size in (height, width))
    return x[np.newaxis], y[:, np.newaxis]


def polynomials(pixels: npt.NDArray[np.intp], shape: tuple[int, ...], degree: int) -> Matrix:
    """Return the polynomials of the place, of degree 0, or of up to 2, for pixels of a window, (1 or 6, n)."""
    x, y = places(*shape[:2])
    rows, columns = np.divmod(pixels, shape[1])
    x, y = x[0, columns], y[rows, 0]
    return np.stack([x**i * y**j for i, j in (_TERMS if degree else _TERMS[:1])])


def surfaces(coefficients: Matrix, x: Matrix, y: Matrix) -> tuple[FloatArray, FloatArray]:
    """Return gain and offset at some places, (h, w, C), or (1, 1, C) where they do not vary; float32."""
    if coefficients.shape[2] == 1:
        x = y = np.zeros((1, 1))
    planes = np.zeros((2, y.shape[0], x.shape[1], len(coefficients)), np.float32)
    for channel, pair in enumerate(coefficients):
        for plane, values in zip(planes, pair, strict=True):
            for value, (i, j) in zip(values, _TERMS, strict=False):
                plane[..., channel] += value * x**i * y**j
    return planes[0], planes[1]


def samples(pixels: BoolArray) -> npt.NDArray[np.intp]:
    """Return the flat indices of the pixels, or of evenly chosen ones if there are many."""
    chosen = np.flatnonzero(pixels)
    return chosen[:: max(-(-len(chosen) // _MOST_SAMPLES), 1)]


def least_squares(
    columns: Matrix, values: Matrix, weights: Matrix | None = None, prior: Matrix | None = None
) -> Matrix:
    """Solve weighted least squares, columns (n, N); `prior` is the weight of each solution's square.

    Sums without BLAS, whose bits depend on its threads.
    """
    weighted = columns if weights is None else columns * weights
    gram = np.einsum("ik,jk->ij", weighted, columns)
    gram[np.diag_indices(len(gram))] *= 1 + 1e-9
    gram[np.diag_indices(len(gram))] += 1e-9 if prior is None else 1e-9 + prior
    solution: Matrix = np.linalg.solve(gram, np.einsum("ik,k->i", weighted, values))
    return solution


def huber_weights(differences: Matrix) -> Matrix:
    """Return the weights of Huber's M-estimator: large differences count by their absolute value."""
    limit = 2 * float(np.median(np.abs(differences))) + 1e-6  # 1.35 standard deviations of normal noise
    weights: Matrix = limit / np.maximum(np.abs(differences), limit)
    return weights


def _box(mask: BoolArray, reach: int) -> Box:
    """Return the mask's bounding box, widened by the reach, and by what transforms fast."""
    top, left, *sizes = bounding_box(mask)
    height, width = (next_fast_len(size + 2 * reach, real=True) for size in sizes)
    return top - reach, left - reach, height, width


def _deviation(image: FloatArray, pixels: BoolArray) -> FloatArray:
    """Return each pixel's mean absolute difference to the median colour, (h, w)."""
    if not pixels.any():
        return np.zeros(pixels.shape, np.float32)
    deviation: FloatArray = np.abs(image - np.median(image[pixels], axis=0)).mean(axis=-1)
    return deviation


def _spectrum(image: FloatArray) -> npt.NDArray[np.complex64]:
    return np.asarray(rfft2(image, axes=(0, 1), workers=1))


def _convolved(spectrum: npt.NDArray[np.complex64], psf: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    kernel = np.zeros(shape, np.float32)
    reaches = zip(psf.shape, shape, strict=True)
    rows, columns = ((np.arange(length) - length // 2) % size for length, size in reaches)
    np.add.at(kernel, (rows[:, np.newaxis], columns), psf)
    transfer = rfft2(kernel, workers=1)[..., np.newaxis]
    return np.asarray(irfft2(spectrum * transfer, s=shape, axes=(0, 1), workers=1))
