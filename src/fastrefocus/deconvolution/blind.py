"""Deblurring of photos of which nothing is known, or only how far things are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.deconvolution.acceptance import accepted
from fastrefocus.deconvolution.blur_map import LEAST_RADIUS, estimate_blur_map
from fastrefocus.deconvolution.diagnostics import warn_if_not_white
from fastrefocus.deconvolution.layered import estimated_map
from fastrefocus.deconvolution.mapped import Mapped
from fastrefocus.deconvolution.result import Candidate, DeconvolutionResult
from fastrefocus.deconvolution.search import Search
from fastrefocus.deconvolution.selection import Choice, Psf, choose_lam, choose_psf
from fastrefocus.light import encode
from fastrefocus.optics.psf import psf_of_sigma
from fastrefocus.parallel import thread_map
from fastrefocus.progress import Progress

#: To see whether all of a photo is blurred alike, it is divided into parts of so many pixels, at most so many a side.
_PART_SIDE, _MOST_PARTS = 160, 3

#: So much less plausible, in nats for each part, may one PSF for all be than one for each.
_ALIKE = 1.5

#: Layers of depth have at least so many pixels, and there are at most so many.
_LAYER_PIXELS, _MOST_LAYERS = 20_000, 12

#: The network is followed where it is so sure to be right within half an octave.
_SURE = 0.8


def deblur_with_one_psf(search: Search, candidates: Sequence[Psf], lams: Sequence[float] | None) -> DeconvolutionResult:
    """Deblur with the most plausible of some PSFs, or not at all where that is; where they are of one size, with it."""
    plane = search.channels.luminance()
    choice = choose_psf(plane, candidates)
    if choice.psf is None and choice.scores and len({psf.sigma for psf in candidates}) == 1:
        psf = max(candidates, key=lambda psf: choice.scores[psf])
        choice = replace(choice, psf=psf, lam=choose_lam(plane, psf_of_sigma(psf.sigma, psf.shape)))
    return _with_choice(search, choice, lams)


def deblur_blindly(
    search: Search, mapped: Mapped, candidates: Sequence[Psf], lams: Sequence[float] | None
) -> DeconvolutionResult:
    """Deblur with one PSF where that explains all of the photo, else with an estimated map of the blur."""
    choice = choose_psf(mapped.plane, candidates)
    if choice.psf is not None and _blurred_alike(mapped.plane, candidates):
        return _with_choice(search, choice, lams)
    return _by_estimated_map(mapped, _scores(choice), lams)


def _blurred_alike(plane: FloatArray, candidates: Sequence[Psf]) -> bool:
    """Return whether one PSF explains all parts of a plane about as well as one for each part."""
    counts = [min(max(length // _PART_SIDE, 1), _MOST_PARTS) for length in plane.shape]
    parts = [part for band in np.array_split(plane, counts[0]) for part in np.array_split(band, counts[1], axis=1)]
    scores = [choose_psf(np.ascontiguousarray(part), candidates).scores for part in parts]
    table = np.array([list(score.values()) for score in scores if score])
    return len(table) < 2 or bool(table.max(axis=1).sum() - table.sum(axis=0).max() < _ALIKE * len(table))


def _by_estimated_map(
    mapped: Mapped, scores: dict[Candidate, float], lams: Sequence[float] | None
) -> DeconvolutionResult:
    """Deblur with a map of the blur that is estimated from the photo, and keep of the result what is credible."""
    progress = Progress(mapped.callback, "estimate blur", 100)
    with thread_map(mapped.threads, 64) as run:
        radius = estimate_blur_map(mapped.plane, run=run, progress=lambda share: progress(round(100 * share))).radius
    if radius.any():
        radius = _less_where_sharper(radius, mapped)
    if not radius.any():
        return _unchanged(mapped, scores)
    prepared = estimated_map(radius)
    blur = mapped.blur(prepared)
    lam = mapped.lam(prepared, blur) if lams is None else lams[0]
    result = mapped.solve(prepared, blur, lam, Progress(mapped.callback, "deblur", mapped.solver.steps))
    unreliable = mapped.unreliability(result, prepared)
    result = replace(result, image=accepted(mapped.channels.observed, result.image, radius, unreliable))
    return replace(mapped.finish(result, prepared, blur), scores=scores)


def _less_where_sharper(radius: FloatArray, mapped: Mapped) -> FloatArray:
    """Return a map of the blur, lowered to the network's radius where that is smaller and the network sure of it.

    The windows of `estimate_blur_map` are wider than thin things in focus; the network sees those. Where it finds the
    photo less sharp it is not followed, for it reads smooth surfaces as blurred, and too large a radius costs most.
    """
    from fastrefocus.depth.blur_estimate import estimate_blur  # loads onnxruntime

    seen = estimate_blur(encode(np.clip(mapped.plane, 0, 1)), threads=mapped.threads)
    radius = np.where(seen.confidence >= _SURE, np.minimum(radius, seen.radius), radius)
    radius[radius < LEAST_RADIUS] = 0
    return radius


def _with_choice(search: Search, choice: Choice, lams: Sequence[float] | None) -> DeconvolutionResult:
    scores = _scores(choice)
    if choice.psf is None:
        return _unchanged(search, scores)
    result = search.with_psf(choice.psf, choice.lam if lams is None else lams[0])
    return replace(result, scores=scores)


def _unchanged(mapped: Mapped | Search, scores: dict[Candidate, float]) -> DeconvolutionResult:
    """Return the photo as it came, with sigma 0."""
    Progress(mapped.callback, "deblur", 1)(1)
    none = np.empty(0)
    return DeconvolutionResult(mapped.channels.photo.copy(), 0.0, 0, none, none, none, None, sigma=0.0, scores=scores)


def _scores(choice: Choice) -> dict[Candidate, float]:
    """Return the plausibility of every PSF weighed; no blur has sigma 0."""
    return {
        Candidate(0.0, 0.0) if psf is None else Candidate(psf.sigma, choice.lam, None, psf.shape): score
        for psf, score in choice.scores.items()
    }


def deblur_by_depth(
    mapped: Mapped, depth: FloatArray, candidates: Sequence[Psf], lams: Sequence[float] | None,
    truth: FloatArray | None,
) -> DeconvolutionResult:  # fmt: skip
    """Deblur by layers of depth, (H, W) with NaN where it is not known, each with its most plausible PSF.

    Between the middles of the layers the radius is interpolated, also where a layer says nothing.
    """
    known = np.isfinite(depth)
    centres, radii = [], []
    for layer in _layers(depth, known):
        choice = choose_psf(mapped.plane, candidates, mask=layer)
        if choice.scores:
            centres.append(float(np.median(depth[layer])))
            radii.append(0.0 if choice.psf is None else 2 * choice.psf.sigma)
    if not any(radii):
        return _unchanged(mapped, {})
    radius = np.interp(depth, centres, radii).astype(np.float32)
    radius[~known] = np.nan
    return mapped.run(radius, lams, truth)


def _layers(depth: FloatArray, known: BoolArray) -> list[BoolArray]:
    """Divide depth into layers, in its order: its values where they are few, else parts of nearly equal sizes."""
    values = np.unique(depth[known])
    if len(values) <= _MOST_LAYERS:
        return [depth == value for value in values]
    count = int(np.clip(known.sum() // _LAYER_PIXELS, 1, _MOST_LAYERS))
    borders = np.unique(np.quantile(depth[known], np.arange(1, count) / count))
    index = np.where(known, np.searchsorted(borders, depth, side="right"), -1)
    return [index == i for i in np.unique(index[known])]


def diagnosed(result: DeconvolutionResult, mapped: Mapped) -> DeconvolutionResult:
    """Add what the blur has destroyed, and warn where the blur found does not explain the photo."""
    if result.destroyed is None:
        share = 0.0
        if result.sigma is not None and result.psf_shape is not None:
            share = mapped.destroyed_by(psf_of_sigma(result.sigma, result.psf_shape))
        result = replace(result, destroyed=np.full(mapped.plane.shape, share, np.float32))
    if result.reblur_residual is not None:
        warn_if_not_white(result.reblur_residual, mapped.noise)
    return result
