"""The view, the exposure and the blur that turn a focused photo into a defocused one.

The defocused photo is compared with the focused one blurred, so that like is compared with like. In steps, each kept
only if it lowers the residual: keypoints and phase correlation on reduced copies guess a view; Gauss-Newton on the
blurred comparison refines a similarity, then a homography, from coarse to fine, with the PSF fitted again at each
scale; a dense flow takes what no homography describes.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import luminance
from fastrefocus.synthesis.comparison import (
    Blur,
    Comparison,
    Explanation,
    Matrix,
    View,
    huber_weights,
    least_squares,
    places,
    polynomials,
    samples,
)
from fastrefocus.synthesis.keypoints import guess_views

_COARSE_SIDE = 560  # pixels: keypoints are looked for on copies reduced to this
_FIRST_SIDE = 96  # of the window at the coarsest scale at which the view is refined
_MOST_PIXELS = 1_500_000  # of the window at the finest: a larger one is blurred enough to be reduced
_STEPS = 12
_CONVERGED = 0.005  # pixels
_GAIN_OF_HOMOGRAPHY = 0.995  # of the residual: what more parameters have to leave at most
_GAIN_OF_VARIATION = 0.98

#: A similarity's small changes as changes of a homography's eight: (x, y) shift, scale, rotation.
_SIMILARITY = np.zeros((8, 4))
_SIMILARITY[[0, 3, 1, 5, 2, 4], [0, 1, 2, 2, 3, 3]] = 1, 1, 1, 1, -1, 1
_HOMOGRAPHY = np.eye(8)


@dataclass(frozen=True, eq=False)
class Registration:
    """How a focused photo explains a defocused one."""

    view: View
    coordinates: FloatArray
    gain: FloatArray
    offset: FloatArray
    blur: Blur
    residual: float
    residual_before: float
    agreement: float


def register(defocused: FloatArray, focused: FloatArray, mask: BoolArray) -> Registration:
    grey, other = (luminance(photo)[..., np.newaxis] for photo in (defocused, focused))
    before = _first(grey, other, mask)
    view, blur = _coarse(grey, other, mask)
    view, blur = _refine(grey, other, mask, view, blur)
    comparison = _comparison(grey, other, mask, view, blur)
    explained = comparison.fit(view, blur)
    return Registration(
        view, view.seen_from(0, 0, *mask.shape), *explained.exposure(), blur, explained.residual, before,
        agreement(comparison.defocused, explained, blur),
    )


def _first(grey, other, mask):
    view = View()
    c = _comparison(grey, other, mask, view, Blur(3))
    return c.fit(view, c.fit_blur(view), degree=0).residual


def reduced(image: FloatArray, factor: int) -> FloatArray:
    """Return the means of squares of `factor` pixels a side."""
    if factor == 1:
        return image
    height, width = (size // factor for size in image.shape[:2])
    squares = image[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return squares.mean(axis=(1, 3), dtype=np.float32).reshape(height, width, *image.shape[2:])


def _comparison(grey: FloatArray, other: FloatArray, mask: BoolArray, view: View, blur: Blur) -> Comparison:
    return Comparison(grey, other, mask, view, reach=int(np.ceil(4 * blur.sigma * 1.6)) + 2)


def _at_scale(grey, other, mask, factor):
    return reduced(grey, factor), reduced(other, factor), reduced(mask.astype(np.float32), factor) > 0.99


def _window_side(mask: BoolArray) -> int:
    return max(int(np.ptp(np.flatnonzero(mask.any(axis=axis)))) + 1 for axis in (0, 1))


def _coarse(grey, other, mask):
    factor = -(-max(grey.shape) // _COARSE_SIDE)
    d, f, m = _at_scale(grey, other, mask, factor)
    guesses = guess_views(d[..., 0], f[..., 0], m)
    again = max(_window_side(m) // _FIRST_SIDE, 1)
    d, f, m = _at_scale(d, f, m, again)
    best = (np.inf, View(), Blur(1))
    for guess in guesses:
        view = View(guess).at_scale(again)
        start = Comparison(d, f, m, view, reach=16)
        blur = start.fit_blur(view)
        view, residual = _gauss_newton(start, view, blur, _SIMILARITY)
        if residual < best[0]:
            best = residual, view, blur
    whole = factor * again
    return best[1].from_scale(again).from_scale(factor), best[2].at_scale(1 / whole)


def _refine(grey, other, mask, view, blur):
    side = _window_side(mask)
    finest = 1
    while mask.sum() / finest**2 > _MOST_PIXELS:
        finest += 1
    factor = max(side // _FIRST_SIDE // 2, finest)
    while True:
        d, f, m = _at_scale(grey, other, mask, factor)
        here, b = view.at_scale(factor), blur.at_scale(factor)
        comparison = _comparison(d, f, m, here, b)
        start = comparison.fit(here, b).residual
        similar, residual = _gauss_newton(comparison, here, b, _SIMILARITY)
        if residual < start:
            here, start = similar, residual
        b = comparison.fit_blur(here, around=b)
        start = comparison.fit(here, b).residual
        general, residual = _gauss_newton(comparison, here, b, _HOMOGRAPHY)
        if residual < _GAIN_OF_HOMOGRAPHY * start:
            here = general
        view, blur = here.from_scale(factor), b.at_scale(1 / factor)
        if factor == finest:
            return view, comparison.fit_blur(here, around=b).at_scale(1 / factor)
        factor = max(factor // 2, finest)


def _gauss_newton(comparison: Comparison, view: View, blur: Blur, freedom: Matrix) -> tuple[View, float]:
    """Reduce the residual by changes of the view, and return the best one with its residual."""
    explained = comparison.fit(view, blur)
    best = view, explained.residual
    for _ in range(_STEPS):
        if not np.isfinite(explained.residual):
            break
        change, size = _step(comparison, explained, freedom)
        view = replace(view, homography=view.homography @ change)
        explained = comparison.fit(view, blur)
        if explained.residual < best[1]:
            best = view, explained.residual
        if size < _CONVERGED or explained.residual > 1.5 * best[1]:
            break
    return best


def _step(comparison: Comparison, explained: Explanation, freedom: Matrix) -> tuple[Matrix, float]:
    """Return the small homography, before the view, that explains the differences to first order, and its size."""
    image = explained.image()
    chosen = samples(explained.pixels)
    x, y = places(chosen, explained.pixels.shape)
    one, none = np.ones_like(x), np.zeros_like(x)
    along_x = np.stack([one, x, y, none, none, none, x * x, x * y], axis=1)
    along_y = np.stack([none, none, none, one, x, y, x * y, y * y], axis=1)
    slope_y, slope_x = (slope.ravel()[chosen, np.newaxis] for slope in np.gradient(image[..., 0]))
    motion = np.einsum("ij,jk->ik", slope_x * along_x + slope_y * along_y, freedom)
    shape = polynomials(chosen, explained.pixels.shape, 2)
    blurred = explained.blurred[..., 0].ravel()[chosen, np.newaxis]
    columns = np.concatenate([motion, shape * blurred, shape], axis=1)
    left = (comparison.defocused[..., 0] - image[..., 0]).ravel()[chosen].astype(np.float64)
    found = least_squares(columns, left, huber_weights(left))[: freedom.shape[1]]
    a = freedom @ found
    height, width = explained.pixels.shape
    scale = max(height, width) / 2
    top, left_ = comparison.box[:2]
    to_places = np.array(
        [[1 / scale, 0, -(left_ + (width - 1) / 2) / scale], [0, 1 / scale, -(top + (height - 1) / 2) / scale], [0, 0, 1]]
    )
    small = np.array([[1 + a[1] / scale, a[2] / scale, a[0] / scale], [a[4] / scale, 1 + a[5] / scale, a[3] / scale], [-a[6] / scale, -a[7] / scale, 1]])
    return np.linalg.solve(to_places, small @ to_places), float(np.abs(a).max())


def agreement(defocused: FloatArray, explained: Explanation, blur: Blur) -> float:
    """Correlation"""
    sigma = max(4 * blur.sigma, 4)
    w = explained.pixels.astype(np.float32)
    total = gaussian_filter(w, sigma) + 1e-6
    mean = lambda v: gaussian_filter(v * w, sigma) / total
    d, m = defocused[..., 0], explained.image()[..., 0]
    dd, mm, dm = mean(d * d) - mean(d) ** 2, mean(m * m) - mean(m) ** 2, mean(d * m) - mean(d) * mean(m)
    return float((dm * w).sum() / np.sqrt((dd * w).sum() * (mm * w).sum()))
