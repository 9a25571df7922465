"""The verbs: each hands its options to the public functions."""

import re
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import fastrefocus as fr
from fastrefocus.cli import inputs
from fastrefocus.cli.inputs import Task
from fastrefocus.cli.optics import Strength, checked_radius, focus_of, radius_of, strength_of
from fastrefocus.deconvolution.diagnostics import SEE_RESIDUAL
from fastrefocus.depth.depth_map import Kind
from fastrefocus.progress import Progress

MAPS = ("radius", "destroyed", "residual")  #: That ``deblur --maps`` writes.

_SWEPT_PERCENTILES = (98, 2)  # of disparity, from which to which a stack is focused
_SHARP_RADIUS = 1.0  # pixels: below is in focus
_WHITE_RADIUS = 20.0  # pixels, in the picture of the blur's radius
_RESIDUAL_GAIN = np.float32(10)


@dataclass(frozen=True)
class DepthFile:
    """Depth to be written, and the photo or its file that goes into a JPEG file with it."""

    depth: fr.DepthMap
    photo: fr.Photo | str


@dataclass(frozen=True)
class Outcome:
    """What a verb made: the photos to write, and what ``--json`` reports once they are all made."""

    photos: Iterable[fr.Photo | DepthFile]
    report: dict[str, Any]


def refocus(task: Task) -> Outcome:
    """Refocus: depth, deblurring, and blur for the focus wanted."""
    photo, args = task.photo, task.args
    strength, lens_sources = strength_of(task)
    focus, focus_sources = focus_of(task)
    started = time.perf_counter()
    depth = inputs.depth_of(task, refine=args.method != "paper")
    max_blur_px: float | None = args.max_blur
    if isinstance(strength, fr.ThinLens):  # that of its largest radius gives the others
        max_blur_px = float(np.abs(radius_of(depth, focus, strength)).max())
    seconds = {"depth": time.perf_counter() - started}
    with warnings_said(task):
        result = fr.refocus(
            photo.pixels,
            depth=depth,
            focus=focus,
            max_blur_px=max_blur_px,
            deblur=args.deblur,
            aperture=args.aperture,
            quality=args.quality or "default",
            rendering=args.method,
            refine_depth=False,  # it is, where it is to be
            existing_radius=args.existing,
            threads=args.threads,
            callback=task.callback,
        )
    report = {**_lens_report(lens_sources | focus_sources), "seconds": rounded({**seconds, **result.timings})}
    return Outcome([replace(photo, pixels=result.image)], report)


def depth(task: Task) -> Outcome:
    """Estimate depth or take that of a file; in metres, if distances are given."""
    photo, args = task.photo, task.args
    progress = Progress(task.callback, "depth", 1)
    progress(0)
    started = time.perf_counter()
    if args.depth is not None:
        found = args.depth
    else:
        found = inputs.estimate_depth(photo, args)
        if args.distance is None and found.kind == "relative":
            found = fr.postprocess_depth(found)
    report: dict[str, Any] = {}
    if args.distance is not None:
        calibration = inputs.calibrate(task, found)
        found = calibration.depth
        assert calibration.residuals_m is not None
        residuals = calibration.residuals_m.tolist()
        task.say(f"in metres; off at the points by {', '.join(f'{residual:+.3g} m' for residual in residuals)}")
        report["calibration"] = {"gain": calibration.gain, "shift": calibration.shift, "residuals_m": residuals}
    report["seconds"] = rounded({"depth": time.perf_counter() - started})
    progress(1)
    source = photo if task.source.startswith(inputs.SAMPLE_PREFIX) else task.source
    return Outcome([DepthFile(found, source)], {"kind": found.kind, **report})


def blur(task: Task) -> Outcome:
    """Blur for the focus wanted."""
    if task.args.method == "paper":
        return _paper_blur(task)
    photo, args = task.photo, task.args
    strength, lens_sources = strength_of(task)
    focus, focus_sources = focus_of(task)
    started = time.perf_counter()
    depth = inputs.depth_of(task)
    known = time.perf_counter()
    image = fr.render_defocus(
        photo.pixels,
        radius_of(depth, focus, strength),
        aperture=args.aperture,
        quality=args.quality or "default",
        existing_radius=args.existing,
        highlight_gain=args.highlights or 1.0,
        threads=args.threads,
        callback=task.callback,
    )
    seconds = {"depth": known - started, "blur": time.perf_counter() - known}
    report = {**_lens_report(lens_sources | focus_sources), "seconds": rounded(seconds)}
    return Outcome([replace(photo, pixels=image)], report)


def stack(task: Task) -> Outcome:
    """Render a focus sweep from the nearest to the farthest, each frame when it is asked for."""
    photo, args = task.photo, task.args
    strength, lens_sources = strength_of(task)
    started = time.perf_counter()
    depth = inputs.depth_of(task).filled()
    disparity = depth.disparity().astype(np.float64)
    near, far = np.percentile(disparity, _SWEPT_PERCENTILES).tolist()
    planes = np.linspace(near, far, args.steps)
    gain = _gain(strength, disparity, planes)
    seconds = {"depth": time.perf_counter() - started}
    started = time.perf_counter()
    frames = fr.render_focus_sweep(
        photo.pixels,
        checked_radius((gain * (planes[0] - disparity)).astype(np.float32)),
        (gain * (planes - planes[0])).tolist(),
        aperture=args.aperture,
        quality=args.quality or "default",
        threads=args.threads,
        callback=task.callback,
    )
    focus = [float(f"{value:.5g}") for value in _as_depths(planes, depth.kind)]
    report = {**_lens_report(lens_sources), "focus": focus}

    def photos() -> Iterator[fr.Photo]:
        for frame in frames:
            yield replace(photo, pixels=frame)
        report["seconds"] = rounded({**seconds, "blur": time.perf_counter() - started})

    return Outcome(photos(), report)


def deblur(task: Task) -> Outcome:
    """Deblur a photo."""
    photo, args = task.photo, task.args
    options: dict[str, Any] = {}
    if args.blur_map is not None:
        radius = inputs.read_map(args.blur_map, "--blur-map", photo, zero_unknown=bool(args.zero_unknown))
        options["blur_radius"] = np.float32(args.blur_max) * radius
    if args.depth is not None:
        options["depth"] = inputs.given_depth(photo, args.depth)
    started = time.perf_counter()
    with warnings_said(task):
        result = fr.deblur(
            photo.pixels,
            channels=args.channels,
            sigmas=args.sigmas,
            lams=None if args.lam is None else [args.lam],
            psf_shape=args.psf_shape,
            linearize=args.linearize,
            threads=args.threads,
            callback=task.callback,
            **options,
        )
        seconds = {"deblur": time.perf_counter() - started}
        task.say(_chosen(result))
    photos = [replace(photo, pixels=result.image)]
    if args.maps is not None:
        photos += _maps(result)
    report = {"sigma": result.sigma, "psf_shape": result.psf_shape, "lam": result.lam, "seconds": rounded(seconds)}
    return Outcome(photos, report)


@contextmanager
def warnings_said(task: Task, focused: Sequence[str] = ()) -> Iterator[None]:
    """Say what a public function warns of, in a sentence without the source line; focused photos by their files."""
    with warnings.catch_warnings(record=True) as caught:
        for category in (fr.ResidualWarning, fr.RegistrationWarning):
            warnings.simplefilter("always", category)
        yield
    for warning in caught:
        message = str(warning.message).removesuffix(SEE_RESIDUAL)
        task.say(re.sub(r"focused\[(\d+)\]", lambda found: focused[int(found[1])], message))


def _chosen(result: fr.DeconvolutionResult) -> str:
    """Say what was found and done."""
    if result.sigma == 0 or result.destroyed is None:
        return "no blur found that could be undone; the photo is as it was"
    destroyed = f"{np.mean(result.destroyed):.0%} of the spatial frequencies are lost in the noise"
    if result.blur_radius is not None:
        blurred = result.blur_radius[result.blur_radius >= _SHARP_RADIUS]
        if not blurred.size:
            return "by the map nothing is blurred"
        low, high = np.percentile(blurred, (2, 98))
        share = blurred.size / result.blur_radius.size
        return f"{share:.0%} blurred, by a radius of {low:.1f} to {high:.1f} pixels; lam {result.lam:.2g}; {destroyed}"
    sigma = result.sigma or 0.0
    size = f"disk of radius {2 * sigma:.2f}" if result.psf_shape == "disk" else f"Gaussian of {sigma:.2f}"
    return f"{size} pixels, lam {result.lam:.2g}; {destroyed}"


def _maps(result: fr.DeconvolutionResult) -> list[fr.Photo]:
    """Return pictures of the radius, of what is lost, and of the residual, which is enlarged about grey."""
    assert result.destroyed is not None
    shape = result.destroyed.shape
    radius = result.blur_radius
    if radius is None:
        radius = np.full(shape, 2 * (result.sigma or 0), np.float32)
    residual = np.zeros(shape, np.float32) if result.reblur_residual is None else result.reblur_residual
    pictures = (radius / np.float32(_WHITE_RADIUS), result.destroyed, 0.5 + _RESIDUAL_GAIN * residual)
    return [fr.Photo(np.clip(picture, 0, 1).astype(np.float32)) for picture in pictures]


def _paper_blur(task: Task) -> Outcome:
    """Blur by depth as paper A does."""
    photo, args = task.photo, task.args
    side, thresholds = args.side or "far", args.thresholds
    if thresholds is None:
        far = fr.PAPER_A_FIGURE_5.thresholds
        thresholds = far if side == "far" else tuple(1 - threshold for threshold in far)
    sigmas = args.sigmas or fr.PAPER_A_FIGURE_5.sigmas
    started = time.perf_counter()
    depth = inputs.depth_of(task, refine=False, relative=True).relative()
    known = time.perf_counter()
    progress = Progress(task.callback, "blur", 1)
    progress(0)
    image = fr.blur_by_depth(photo.pixels, depth, sigmas=sigmas, thresholds=thresholds, side=side)
    progress(1)
    seconds = {"depth": known - started, "blur": time.perf_counter() - known}
    return Outcome([replace(photo, pixels=image)], {"seconds": rounded(seconds)})


def _gain(strength: Strength, disparity: npt.NDArray[np.float64], planes: npt.NDArray[np.float64]) -> float:
    """Return the pixels of radius per unit of disparity, the same for every frame."""
    if isinstance(strength, fr.ThinLens):  # it hardly depends on the focus; the one in the middle is taken
        middle = replace(strength, focus_distance_m=2 / float(planes[0] + planes[-1]))
        return middle.disparity_gain(disparity.shape[1])
    farthest = max(planes[0] - disparity.min(), disparity.max() - planes[-1])
    return strength / float(farthest or 1)


def _as_depths(disparity: npt.NDArray[np.float64], kind: Kind) -> npt.NDArray[np.float64]:
    if kind == "metric":
        return 1 / disparity
    return 1 - disparity if kind == "relative" else disparity


def _lens_report(sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"lens": sources} if sources else {}


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Return seconds as ``--json`` reports them."""
    return {stage: round(value, 3) for stage, value in seconds.items()}
