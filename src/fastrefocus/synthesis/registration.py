"""The view, the exposure and the blur that turn a focused photo into a defocused one.

The defocused photo is compared with the focused one blurred, so that like is compared with like. In steps, each kept
only if it lowers the residual: keypoints and phase correlation on reduced copies guess a view; Gauss-Newton on the
blurred comparison refines a similarity, then a homography, from coarse to fine, with the PSF fitted again at each
scale; a dense flow takes what no homography describes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import encode, luminance
from fastrefocus.progress import Callback, Progress
from fastrefocus.synthesis.comparison import LEAST_SIDE, Blur, Comparison, Explanation, Exposure, Pair
from fastrefocus.synthesis.flow import add_flow, find_strays
from fastrefocus.synthesis.focus_mask import find_out_of_focus, own_blur
from fastrefocus.synthesis.gauss_newton import HOMOGRAPHY, SIMILARITY, improve
from fastrefocus.synthesis.keypoints import guess
from fastrefocus.synthesis.view import EVERYWHERE, Box, CoarseMap, Sampler, View, Window, bounding_box, crop

_FIRST_SIDE = 192  # pixels of the mask at the coarsest scale at which a view is refined

#: Pixels of the mask: one of more than the first is reduced if it is so blurred that nothing is lost, of more than the
#: second in any case.
_ENOUGH_PIXELS, _MOST_PIXELS = 250_000, 1_500_000
_FINEST_SIGMA = 2.0  # pixels: a blur that is reduced is still as large as this

#: What of the residual a stage with more parameters may leave at most.
_LEFT_BY_HOMOGRAPHY, _LEFT_BY_EXPOSURE, _LEFT_BY_FLOW = 0.99, 0.85, 0.95

#: Of what a smooth picture leaves, the homography explains 0.56 to 0.95 in pairs of the same scene but one, and at most
#: 0.53 in pairs of different ones (the next 0.43); where the mask is a corner of the photo, 0.52. A flow could make
#: anything of anything.
_SAME_SCENE = 0.5

_AGREEING = 0.97  # mean agreement from which on a flow has nothing to add
_FEWEST_PIXELS = 400  # of the mask
_FEWEST_COVERED = 0.25  # of the mask's pixels
_LEAST_BLUR = 0.5  # pixels, standard deviation: less than this is no defocus
_SMOOTHING = 4  # pixels a side of the squares whose means differ where there is texture
_FLAT = 0.004  # standard deviation of encoded values: less than this is noise
_NO_BLUR = 0.25  # pixels, standard deviation: what a pixel has
_SPLINE_REACH = 16  # pixels; what is farther away changes nothing between pixels

#: Hundredths of the way that are done after the first view, the view refined, the mask, the flow, and the blur.
_GUESSED, _REFINED, _MASKED, _FLOWED, _FITTED = 25, 45, 50, 80, 90


@dataclass(frozen=True, eq=False)
class Registration:
    """How a focused photo explains a defocused one: defocused(p) = gain(p) (psf * focused(coordinates(p))) + offset(p).

    What there is of each pixel is made when it is asked for, in a window: slices of the defocused photo's rows and
    columns, which take the same out of its pixels and of `mask`. The whole of a large photo's takes much memory.

    Attributes
    ----------
    mask : ndarray
        (H, W) bool: where the photos were compared; as given, or found.
    sharper : ndarray
        (H, W) bool: where, of the whole photo, the focused one shows more detail.
    psf : ndarray
        float32 (n, n): as given, or the disk or Gaussian that leaves less.
    blur : Blur
        Its shape and standard deviation.
    residual, residual_before : float
        Mean absolute difference inside the mask, linear light; before: as the photos are, but for a constant gain and
        offset and the best blur.
    difference : float
        As `residual`, where the focused photo shows the place; what it does not show counts there as if it were flat.
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
    sharper: BoolArray
    psf: FloatArray
    blur: Blur
    residual: float
    residual_before: float
    difference: float
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

    def coordinates(self, window: Window = EVERYWHERE) -> FloatArray:
        """Return where the window's pixels are seen in the focused photo, (h, w, 2) float32, (y, x).

        Beyond the mask that goes on as it is inside.
        """
        return np.moveaxis(self.view.seen_from(self._box(window)), 0, -1)

    def covered(self, window: Window = EVERYWHERE) -> BoolArray:
        """Return which of the window's pixels the focused photo shows, (h, w): in the frame, and not hidden there."""
        return self.view.shows(self._box(window), self._focused_shape)

    def agreement(self, window: Window = EVERYWHERE) -> FloatArray:
        """Return the local correlation of the defocused photo and what the focused one says of it, (h, w), 0..1.

        It is 1 where neither has texture, and 0 outside the mask.
        """
        return self._agreement.at(self._box(window)) * self.mask[window]

    def exposure(self, window: Window = EVERYWHERE) -> tuple[FloatArray, FloatArray]:
        """Return gain and offset of each channel, float32 (h, w, C), or (1, 1, C) where they do not vary."""
        return self.light.at(self._box(window))

    def warp(self, focused: FloatArray, window: Window = EVERYWHERE) -> FloatArray:
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
    defocused: FloatArray,
    focused: FloatArray,
    mask: BoolArray | None = None,
    psf: FloatArray | None = None,
    *,
    threads: int | None = None,
    callback: Callback | None = None,
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
    threads : int, optional
        1 to 1024; None for all CPUs. The result does not depend on it.
    callback : callable, optional
        ``callback("register", done, total)``; returning False cancels.
    """
    if mask is not None and not mask.any():
        raise ValueError("mask must have pixels inside, got none")
    progress = Progress(callback, "register", 100)
    progress(0)
    everywhere = np.ones(defocused.shape[:2], bool)
    whole = Pair(luminance(defocused)[..., np.newaxis], luminance(focused)[..., np.newaxis], everywhere)
    colour = Pair(defocused, focused, everywhere) if defocused.ndim == focused.ndim == 3 else whole
    given = whole if mask is None else whole._replace(mask=mask)
    if problem := _obstacle(given):
        progress(100)
        return _unregistered(colour._replace(mask=given.mask), psf, problem)
    fit = _refined(
        _located(given, mask is None, threads, _part(progress, 0, _GUESSED)), _part(progress, _GUESSED, _REFINED)
    )
    if mask is None:
        fit = _masked_again(fit, whole, threads)
    progress(_MASKED)
    score = fit.score()
    if score > _SAME_SCENE and not _agrees(fit):
        fit = _with_flow(fit, _part(progress, _MASKED, _FLOWED))
    progress(_FLOWED)
    fit = fit._replace(blur=fit.comparison().fit_blur(fit.view, around=fit.blur, shapes=("disk", "gaussian")))
    progress(_FITTED)
    sharper = find_out_of_focus(whole, fit.whole_view(), threads)
    registration = _report(colour._replace(mask=fit.grey.mask), fit, psf, sharper, score, threads)
    progress(100)
    if mask is None and fit.grey.mask is everywhere:
        problem = registration.problem or "the focused photo is nowhere sharper than the other"
        return replace(registration, mask=np.zeros_like(everywhere), problem=problem)
    return registration


class _Fit(NamedTuple):
    """A grey pair, and the view and the blur of its copies at a scale."""

    grey: Pair
    scale: int
    view: View
    blur: Blur

    def small(self) -> Pair:
        return self.grey.at_scale(self.scale)

    def comparison(self) -> Comparison:
        return Comparison(self.small(), self.view, self.blur.reach)

    def score(self) -> float:
        return self.comparison().share_explained(self.view, self.blur)

    def whole_view(self) -> View:
        return self.view.at_scale(1 / self.scale)


def _part(progress: Progress, start: int, end: int) -> Callable[[float], None]:
    """Return what reports the share that is done of a part of the way."""
    return lambda share: progress(round(start + share * (end - start)))


def _obstacle(pair: Pair) -> str:
    """Say why the photos cannot be compared at all; empty if they can."""
    if min(*pair.defocused.shape[:2], *pair.focused.shape[:2]) < LEAST_SIDE:
        return f"a photo of less than {LEAST_SIDE} pixels a side is too small to be registered"
    if np.count_nonzero(pair.mask) < _FEWEST_PIXELS:
        return "the mask is too small for the photos to be compared there"
    if pair.usable_pixels() < _FEWEST_PIXELS:
        return "the photo is overexposed where the photos are compared"
    small = pair.at_scale(min(_SMOOTHING, pair.coarsest()))
    if encode(small.defocused[small.mask]).std() < _FLAT:
        return "the photo has no texture where the photos are compared"
    return "the focused photo has no texture" if encode(small.focused).std() < _FLAT else ""


def _unregistered(pair: Pair, psf: FloatArray | None, problem: str) -> Registration:
    """Return what is known of photos that cannot be compared."""
    return Registration(
        mask=pair.mask,
        sharper=np.zeros_like(pair.mask),
        psf=Blur(_NO_BLUR).psf if psf is None else psf,
        blur=Blur(_NO_BLUR),
        residual=math.nan,
        difference=math.nan,
        residual_before=math.nan,
        score=0.0,
        focused_blur=math.nan,
        problem=problem,
        view=View(),
        light=Exposure.unchanged(pair.defocused.shape[2]),
        _agreement=CoarseMap(np.zeros((1, 1), np.float32), (0, 0)),
        _focused_shape=pair.focused.shape,
    )


def _located(pair: Pair, mask_is_wanted: bool, threads: int | None, progress: Callable[[float], None]) -> _Fit:
    """Guess view and blur, and find the mask that is wanted."""
    view, blur = guess(pair, threads, lambda share: progress(share / 2))
    if mask_is_wanted:
        found = _found(pair, view, threads)
        if found.mask is not pair.mask:
            pair = found
            view, blur = guess(pair, threads, lambda share: progress((1 + share) / 2), view)
    scale = _scale(pair, blur)
    return _Fit(pair, scale, view.at_scale(scale), blur.at_scale(scale))


def _found(whole: Pair, view: View, threads: int | None) -> Pair:
    """Return the pair with a mask on what is out of focus; if nothing is, all of it is compared, and tells why."""
    mask = find_out_of_focus(whole, view, threads)
    return whole._replace(mask=mask) if mask.any() else whole


def _masked_again(fit: _Fit, whole: Pair, threads: int | None) -> _Fit:
    """Find the mask with the refined view; that is the better one if more of it is explained."""
    again = fit._replace(grey=_found(whole, fit.whole_view(), threads))
    if again.grey.mask is whole.mask:
        return fit
    return again if fit.grey.mask is whole.mask or again.score() > fit.score() else fit


def _scale(grey: Pair, blur: Blur) -> int:
    """Return the factor by which to reduce photos so that no more is compared than the blur has left."""
    needless = min(int(blur.sigma / _FINEST_SIGMA), grey.scale_for(_ENOUGH_PIXELS))
    return max(needless, grey.scale_for(_MOST_PIXELS), 1)


def _refined(fit: _Fit, progress: Callable[[float], None]) -> _Fit:
    """Refine view and blur from coarse to fine."""
    grey, view, blur = fit.small(), fit.view, fit.blur
    factor = min(max(grey.side() // _FIRST_SIDE, 1), grey.coarsest())
    while factor:
        view, blur = view.at_scale(factor), blur.at_scale(factor)
        comparison = Comparison(grey.at_scale(factor), view, blur.reach)
        view, _ = improve(comparison, view, blur, SIMILARITY)
        blur = comparison.fit_blur(view, around=blur)
        general, residual = improve(comparison, view, blur, HOMOGRAPHY)
        if residual < _LEFT_BY_HOMOGRAPHY * comparison.explain(view, blur).residual:
            view = general
        view, blur = view.at_scale(1 / factor), blur.at_scale(1 / factor)
        progress(1 / factor)
        factor //= 2
    return fit._replace(view=view, blur=blur)


def _agrees(fit: _Fit) -> bool:
    """Return whether photo and model agree so well that a flow has nothing to add."""
    mask = fit.small().mask
    box = bounding_box(mask)
    return bool(fit.comparison().agreement(fit.view, fit.blur).at(box)[crop(mask, box)].mean() >= _AGREEING)


def _with_flow(fit: _Fit, progress: Callable[[float], None]) -> _Fit:
    """Add a flow to the view if that lowers the residual."""
    flowing = fit._replace(view=add_flow(fit.small(), fit.view, fit.blur, lambda share: progress(share / 2)))
    with_flow, without = (each.comparison().explain(each.view, each.blur).residual for each in (flowing, fit))
    if with_flow > _LEFT_BY_FLOW * without:
        return fit
    strays = find_strays(fit.small(), flowing.view, fit.blur, lambda share: progress((1 + share) / 2))
    return fit._replace(view=strays)


def _report(
    colour: Pair, fit: _Fit, psf: FloatArray | None, sharper: BoolArray, score: float, threads: int | None
) -> Registration:
    """Fit the exposure of each channel, and judge what has come of it."""
    _, scale, view, blur = fit
    small = fit.small()
    reduced = small if colour.defocused.shape[2] == 1 else colour.at_scale(scale)
    comparison = Comparison(reduced, view, blur.reach)
    explained = _exposed(comparison, view, blur, psf if scale == 1 else None)
    first = Comparison(small, View(), blur.reach).fit_blur(View(), degree=0)
    before = Comparison(reduced, View(), first.reach).explain(View(), first, degree=0)
    whole = blur.at_scale(1 / scale)
    return Registration(
        mask=colour.mask,
        sharper=sharper,
        psf=whole.psf if psf is None else psf,
        blur=whole,
        residual=explained.residual,
        difference=explained.difference,
        residual_before=before.residual,
        score=score,
        focused_blur=own_blur(colour, fit.whole_view(), threads),
        problem=_problem(comparison, explained, score, whole),
        view=fit.whole_view(),
        light=comparison.exposure(explained, scale),
        _agreement=fit.comparison().agreement(view, blur).at_scale(1 / scale),
        _focused_shape=colour.focused.shape,
    )


def _exposed(comparison: Comparison, view: View, blur: Blur, psf: FloatArray | None) -> Explanation:
    """Fit a gain, and an offset, and let both vary over the photo, if that explains much more.

    Else an offset, and a larger gain, make up for what is wrong with the PSF, and are wrong for the sharp photo.
    """
    best = comparison.explain(view, blur, degree=0, offset=False, psf=psf)
    for degree in (0, 2):
        richer = comparison.explain(view, blur, degree=degree, psf=psf)
        if richer.residual < _LEFT_BY_EXPOSURE * best.residual:
            best = richer
    return best


def _problem(comparison: Comparison, explained: Explanation, score: float, blur: Blur) -> str:
    """Say why a registration is not to be believed."""
    if np.count_nonzero(explained.pixels) < _FEWEST_COVERED * np.count_nonzero(comparison.inside):
        return "the focused photo does not show what is out of focus"
    negative = (explained.coefficients[:, 0, 0] <= 0).any()  # gains, in the middle
    if score < _SAME_SCENE or negative:
        return "the photos do not show the same scene where they are compared"
    if blur.sigma < _LEAST_BLUR:
        return "the focused photo is no sharper where the photos are compared"
    return ""
