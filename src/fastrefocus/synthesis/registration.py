"""The view, the exposure and the blur that turn a focused photo into a defocused one.

The defocused photo is compared with the focused one blurred, so that like is compared with like. In steps, each kept
only if it lowers the residual: keypoints and phase correlation on reduced copies guess a view; Gauss-Newton on the
blurred comparison refines a similarity, then a homography, from coarse to fine, with the PSF fitted again at each
scale; a dense flow takes what no homography describes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.depth.blur_estimate import estimate_blur
from fastrefocus.light import encode, luminance
from fastrefocus.synthesis.comparison import Blur, Comparison, Explanation, Exposure, Pair
from fastrefocus.synthesis.flow import add_flow
from fastrefocus.synthesis.focus_mask import find_out_of_focus
from fastrefocus.synthesis.gauss_newton import HOMOGRAPHY, SIMILARITY, improve
from fastrefocus.synthesis.keypoints import guess_views
from fastrefocus.synthesis.view import Box, CoarseMap, Sampler, View, bounding_box, crop, is_inside

_COARSE_SIDE = 560  # pixels: keypoints are looked for on copies reduced to this
_FIRST_SIDE = 96  # of the window at the coarsest scale at which a view is refined
_FIRST_REACH = 16  # pixels of that scale around the mask
_MOST_PIXELS = 1_500_000  # of the mask at the finest: a larger one is blurred enough to be reduced

#: What of the residual a stage with more parameters may leave at most.
_LEFT_BY_HOMOGRAPHY, _LEFT_BY_VARIATION, _LEFT_BY_FLOW = 0.99, 0.98, 0.95

#: Of what a smooth picture leaves, the homography explains 0.53 to 0.95 in pairs of the same scene, the stereo pair
#: being the least, and at most 0.37 in pairs of different ones. A flow could make anything of anything.
_SAME_SCENE = 0.45

_AGREEING = 0.97  # mean agreement from which on a flow has nothing to add
_FEWEST_COVERED = 0.25  # of the mask's pixels
_LEAST_BLUR = 0.5  # pixels, standard deviation: less than this is no defocus
_CONTEXT = 32  # pixels around the mask from which its blur is estimated
_SURROUNDINGS = (3.0, 8.0)  # pixels, standard deviation: where agreement is looked for
_SPLINE_REACH = 16  # pixels; what is farther away changes nothing between pixels
_NOISE = 0.01  # standard deviation of encoded values; variations below it neither agree nor disagree


#: Rows and columns of the defocused photo.
Window = tuple[slice, slice]

_EVERYWHERE: Window = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class Registration:
    """How a focused photo explains a defocused one: defocused(p) = gain(p) (psf * focused(coordinates(p))) + offset(p).

    What there is of each pixel is made when it is asked for, in a window: slices of the defocused photo's rows and
    columns, which take the same out of its pixels and of `mask`. The whole of a large photo's takes much memory.

    Attributes
    ----------
    mask : ndarray
        (H, W) bool: where the photos were compared; as given, or found.
    psf : ndarray
        float32 (n, n): as given, or the disk or Gaussian that leaves less.
    blur : Blur
        Its shape and standard deviation.
    residual, residual_before : float
        Mean absolute difference inside the mask, linear light; before: as the photos are, but for a constant gain and
        offset and the best blur.
    score : float
        Share that the focused photo, without a flow, explains of what is not smooth in the defocused one, up to 1.
    focused_blur : float
        Radius in pixels of the focused photo's own blur, where it is seen from the mask.
    problem : str
        Why the registration is not to be believed; empty if it is.
    view : View
        From the defocused photo to the focused one.
    light : Exposure
        Gain and offset. They have one channel if either photo is grey: the luminances are compared then.
    """

    mask: BoolArray
    psf: FloatArray
    blur: Blur
    residual: float
    residual_before: float
    score: float
    focused_blur: float
    problem: str
    view: View
    light: Exposure
    _agreement: CoarseMap
    _focused_shape: tuple[int, ...]

    @property
    def is_believable(self) -> bool:
        """Whether something may be copied."""
        return not self.problem

    def coordinates(self, window: Window = _EVERYWHERE) -> FloatArray:
        """Return where the window's pixels are seen in the focused photo, (h, w, 2) float32, (y, x).

        Beyond the mask that goes on as it is inside.
        """
        return np.moveaxis(self.view.seen_from(self._box(window)), 0, -1)

    def covered(self, window: Window = _EVERYWHERE) -> BoolArray:
        """Return which of the window's pixels the focused photo shows, (h, w)."""
        return is_inside(self._focused_shape, self.view.seen_from(self._box(window)))

    def agreement(self, window: Window = _EVERYWHERE) -> FloatArray:
        """Return the local correlation of the defocused photo and what the focused one says of it, (h, w), 0..1.

        It is 1 where neither has texture, and 0 outside the mask.
        """
        return self._agreement.at(self._box(window)) * self.mask[window]

    def exposure(self, window: Window = _EVERYWHERE) -> tuple[FloatArray, FloatArray]:
        """Return gain and offset of each channel, float32 (h, w, C), or (1, 1, C) where they do not vary."""
        return self.light.at(self._box(window))

    def warp(self, focused: FloatArray, window: Window = _EVERYWHERE) -> FloatArray:
        """Return the focused photo as the defocused one would show it in focus, (h, w, C) linear light.

        It is seen from the same place and has the same brightness. What is not covered is as at the photo's border.
        """
        seen = self.view.seen_from(self._box(window))
        gain, offset = self.exposure(window)
        if gain.shape[2] == 1:
            focused = luminance(focused)[..., np.newaxis]
        return gain * Sampler(focused, seen, _SPLINE_REACH).at(seen) + offset

    def _box(self, window: Window) -> Box:
        (top, bottom), (left, right) = (
            slice_.indices(size)[:2] for slice_, size in zip(window, self.mask.shape, strict=True)
        )
        return top, left, bottom - top, right - left


def register(
    defocused: FloatArray, focused: FloatArray, mask: BoolArray | None = None, psf: FloatArray | None = None
) -> Registration:
    """Register a focused photo with a defocused one.

    Parameters
    ----------
    defocused, focused : ndarray
        (H, W) or (H, W, 3) float32, linear light; of a size each.
    mask : ndarray, optional
        (H, W) bool: what is out of focus in `defocused`, and in focus in `focused`. Default: found.
    psf : ndarray, optional
        (n, n) float32, the blur of the one against the other. Default: fitted.
    """
    if mask is not None and not mask.any():
        raise ValueError("mask must have pixels inside, got none")
    where = np.ones(defocused.shape[:2], bool) if mask is None else mask
    grey = Pair(luminance(defocused)[..., np.newaxis], luminance(focused)[..., np.newaxis], where)
    if mask is None:
        found = find_out_of_focus(grey, _guess(grey)[0])
        if found.any():  # else all of it is compared, and tells why
            grey = grey._replace(mask=found)
    scale = grey.scale_for(_MOST_PIXELS)
    small = grey.at_scale(scale)
    view, blur = _refine(small, *_guess(small))
    score = _explained(small, view, blur)
    if score > _SAME_SCENE and not _agrees(small, view, blur):
        view = _with_flow(small, view, blur)
    blur = Comparison(small, view, blur.reach).fit_blur(view, around=blur, shapes=("disk", "gaussian"))
    colour = Pair(defocused, focused, grey.mask) if defocused.ndim == focused.ndim == 3 else grey
    return _report(colour, small, scale, view, blur, psf, score)


def _guess(grey: Pair) -> tuple[View, Blur]:
    """Return the best of the views that keypoints suggest, refined as similarities at a small scale, and the blur."""
    first = -(-max(grey.mask.shape) // _COARSE_SIDE)
    small = grey.at_scale(first)
    guesses = guess_views(small.defocused[..., 0], small.focused[..., 0], small.mask)
    second = max(small.side() // _FIRST_SIDE, 1)
    small = small.at_scale(second)
    best, least = (View(), Blur(1)), np.inf
    for guess in guesses:
        view = View(guess).at_scale(second)
        comparison = Comparison(small, view, _FIRST_REACH)
        if view.is_credible(comparison.box):
            blur = comparison.fit_blur(view, degree=0)
            view, residual = improve(comparison, view, blur, SIMILARITY)
            if residual < least:
                best, least = (view, blur), residual
    return best[0].at_scale(1 / (first * second)), best[1].at_scale(1 / (first * second))


def _refine(grey: Pair, view: View, blur: Blur) -> tuple[View, Blur]:
    """Refine view and blur from coarse to fine."""
    factor = max(grey.side() // (2 * _FIRST_SIDE), 1)
    while factor:
        view, blur = view.at_scale(factor), blur.at_scale(factor)
        comparison = Comparison(grey.at_scale(factor), view, blur.reach)
        view, _ = improve(comparison, view, blur, SIMILARITY)
        blur = comparison.fit_blur(view, around=blur)
        general, residual = improve(comparison, view, blur, HOMOGRAPHY)
        if residual < _LEFT_BY_HOMOGRAPHY * comparison.explain(view, blur).residual:
            view = general
        view, blur = view.at_scale(1 / factor), blur.at_scale(1 / factor)
        factor //= 2
    return view, blur


def _with_flow(grey: Pair, view: View, blur: Blur) -> View:
    """Return the view with a flow if that lowers the residual."""
    flowing = add_flow(grey, view, blur)
    with_flow, without = (Comparison(grey, each, blur.reach).explain(each, blur).residual for each in (flowing, view))
    return flowing if with_flow < _LEFT_BY_FLOW * without else view


def _explained(grey: Pair, view: View, blur: Blur) -> float:
    """Return the share that the focused photo explains of what is not smooth in the defocused one."""
    comparison = Comparison(grey, view, blur.reach)
    explained = comparison.explain(view, blur)
    flat = comparison.flat_residual(explained.pixels)
    return float(1 - explained.residual / flat) if np.isfinite(flat) and flat > 0 else 0.0


def _agrees(grey: Pair, view: View, blur: Blur) -> bool:
    """Return whether photo and model agree so well that a flow has nothing to add."""
    box = bounding_box(grey.mask)
    agreement = _agreement(grey, view, blur).at(box)[crop(grey.mask, box)]
    return bool(agreement.mean() >= _AGREEING)


def _agreement(grey: Pair, view: View, blur: Blur) -> CoarseMap:
    """Return the correlation of photo and model around each pixel."""
    comparison = Comparison(grey, view, blur.reach)
    explained = comparison.explain(view, blur)
    pixels = explained.pixels.astype(np.float32)
    sigma = float(np.clip(2 * blur.sigma, *_SURROUNDINGS))
    weight = gaussian_filter(pixels, sigma) + np.float32(1e-6)

    def mean(values: FloatArray) -> FloatArray:
        around: FloatArray = gaussian_filter(values * pixels, sigma) / weight
        return around

    ours, theirs = (encode(image[..., 0]) for image in (comparison.defocused, explained.image()))
    common = mean(ours * theirs) - mean(ours) * mean(theirs)
    our_power, their_power = (np.maximum(mean(v * v) - mean(v) ** 2, 0) for v in (ours, theirs))
    local = (common + _NOISE**2) / np.sqrt((our_power + _NOISE**2) * (their_power + _NOISE**2))
    return CoarseMap(np.clip(local, 0, 1) * pixels, comparison.box[:2])


def _report(
    colour: Pair, small: Pair, scale: int, view: View, blur: Blur, psf: FloatArray | None, score: float
) -> Registration:
    """Fit the exposure of each channel, and judge what has come of it."""
    reduced = colour.at_scale(scale)
    comparison = Comparison(reduced, view, blur.reach)
    explained = _exposed(comparison, view, blur, psf if scale == 1 else None)
    before = Comparison(reduced, View(), blur.reach)
    whole, whole_view = blur.at_scale(1 / scale), view.at_scale(1 / scale)
    return Registration(
        mask=colour.mask,
        psf=whole.psf if psf is None else psf,
        blur=whole,
        residual=explained.residual,
        residual_before=before.explain(View(), before.fit_blur(View(), degree=0), degree=0).residual,
        score=score,
        focused_blur=_own_blur(colour, whole_view),
        problem=_problem(comparison, explained, score, whole),
        view=whole_view,
        light=comparison.exposure(explained, scale),
        _agreement=_agreement(small, view, blur).at_scale(1 / scale),
        _focused_shape=colour.focused.shape,
    )


def _exposed(comparison: Comparison, view: View, blur: Blur, psf: FloatArray | None) -> Explanation:
    """Let gain and offset vary over the photo if that explains more."""
    constant, varying = (comparison.explain(view, blur, degree=degree, psf=psf) for degree in (0, 2))
    return varying if varying.residual < _LEFT_BY_VARIATION * constant.residual else constant


def _own_blur(pair: Pair, view: View) -> float:
    """Return the median radius of the focused photo's own blur where it is seen from the mask; NaN: nowhere."""
    box = bounding_box(pair.mask)
    places = view.seen_from(box)
    seen = np.rint(places[:, crop(pair.mask, box) & is_inside(pair.focused.shape, places)]).astype(np.intp).T
    if not len(seen):
        return float("nan")
    top, left = np.maximum(seen.min(axis=0) - _CONTEXT, 0)
    bottom, right = seen.max(axis=0) + _CONTEXT
    part = encode(np.ascontiguousarray(pair.focused[top:bottom, left:right]))
    estimate = estimate_blur(part if part.shape[2] == 3 else part[..., 0], threads=1)
    there = tuple((seen - (top, left)).T)
    radius, confidence = estimate.radius[there], estimate.confidence[there]
    return float(np.median(radius[confidence >= np.median(confidence)]))


def _problem(comparison: Comparison, explained: Explanation, score: float, blur: Blur) -> str:
    """Say why a registration is not to be believed."""
    if np.count_nonzero(explained.pixels) < _FEWEST_COVERED * np.count_nonzero(comparison.inside):
        return "the focused photo does not show what the mask is on"
    if score < _SAME_SCENE:
        return "the photos do not show the same scene"
    if blur.sigma < _LEAST_BLUR:
        return "the focused photo is no sharper there"
    return ""
