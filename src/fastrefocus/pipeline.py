"""The whole way in one call: depth, deblurring, and blur for the focus wanted."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FLOAT_RANGE, FloatArray, as_image
from fastrefocus.deconvolution.deblur import deblur as deblur_photo
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.depth.postprocess import postprocess_depth
from fastrefocus.depth.refine import refine_depth as refine
from fastrefocus.light import decode, encode
from fastrefocus.optics.aperture import Aperture, as_aperture
from fastrefocus.optics.coc import as_existing, coc_from_depth, missing_blur
from fastrefocus.optics.focus import Focus, checked_focus
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress, part_of
from fastrefocus.rendering.defocus import Quality, render_defocus
from fastrefocus.rendering.thresholds import blur_by_depth

Rendering = Literal["defocus", "paper"]

#: The largest blur radius where neither the caller nor the photo says it, as a share of the photo's longer side.
DEFAULT_MAX_BLUR = 0.015

#: The share of blurred pixels from which on a photo has shallow depth of field, and which percentile of their radii is
#: the largest.
_SHALLOW_SHARE, _LARGEST_PERCENTILE = 0.1, 95

#: From which share of the blur a photo has it is blurred no more as it is but deblurred: from 1 to 1 less this.
_TRANSITION = 0.25

_MOST_LEVELS = 16  # blurred copies on either side of the focal plane; finer steps cannot be seen
_LARGEST_BLUR = 1000.0  # pixels; more is a mistake in the units, and half of it near the largest sigma of blur_by_depth


@dataclass(frozen=True, eq=False)
class RefocusResult:
    """A refocused photo and what it was made from.

    Attributes
    ----------
    image : ndarray
        float32, the input's shape, as encoded, not clipped: the refocused photo.
    sharp : ndarray
        float32, the input's shape: the deblurred photo, or the input where `deblur` was False.
    depth : DepthMap
        The depth used, refined where it was.
    coc : ndarray
        float32 (H, W): signed radius of the blur added, pixels; > 0 behind the focal plane.
    timings : mapping
        Seconds spent in each stage.
    """

    image: FloatArray
    sharp: FloatArray
    depth: DepthMap
    coc: FloatArray
    timings: Mapping[str, float]


def refocus(
    image: npt.ArrayLike,
    *,
    depth: DepthMap | None = None,
    focus: Focus,
    max_blur_px: float | None = None,
    deblur: bool = True,
    aperture: str | Aperture | npt.ArrayLike = "disk",
    quality: Quality = "default",
    rendering: Rendering = "defocus",
    refine_depth: bool | None = None,
    existing_radius: npt.ArrayLike | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
) -> RefocusResult:
    """Change the focus of a photo.

    The depth of the photo is estimated, unless it is given; the photo is deblurred; and it is blurred again as a lens
    focused on the depth wanted would do it, in linear light.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), 0..1, sRGB-encoded.
    depth : DepthMap, optional
        None: `fastrefocus.estimate_depth` with the built-in model, then `fastrefocus.postprocess_depth`. Unknown depth
        (NaN) is taken from the nearest known pixel. Relative depth is taken as linear in 1 / z.
    focus : (float, float), float, sequence of (float, float), or FocusBand
        What to focus on: a point (x, y) as fractions of the width and height, 0..1 from the top left; several points,
        with all between the nearest and the farthest; a depth in the unit of `depth` (of the relative depth, 0 nearest
        to 1 farthest, where it is estimated); or a band of depths. See `fastrefocus.coc_from_depth`.
    max_blur_px : float, optional
        The largest radius of the blur, >= 0 and < 1000 pixels. None: the largest (95th percentile) of the photo's own
        blur, as given or found by `deblur`, where more than a tenth of it is blurred; else 1.5 % of the longer side.
    deblur : bool
        Deblur the photo first, with `fastrefocus.deblur`, which finds what is blurred. Leave it out where the photo is
        known to be sharp.
    aperture : "disk", Aperture or array_like
        The shape of the blur; see `fastrefocus.render_defocus`.
    quality : {"fast", "default", "reference"}
        Of the rendering; see `fastrefocus.render_defocus`.
    rendering : {"defocus", "paper"}
        "paper": paper A's blur, from blurred copies of the whole photo. Light leaks across depth edges; `aperture` and
        `quality` have no effect.
    refine_depth : bool, optional
        Make depth steep where surfaces end, with `fastrefocus.refine_depth`. None: only depth that is estimated here,
        and not for paper A's blur.
    existing_radius : array_like, optional
        (H, W) or a number: radius of the blur that the photo already has, pixels; NaN where unknown. Where more is
        wanted, only what is missing is added to the photo as it is, and it is not deblurred there. None: what
        `fastrefocus.deblur` finds, or none at all where `deblur` is False.
    threads : int, optional
        None: all CPUs. The result does not depend on it.
    callback : callable, optional
        Called as ``callback(stage, done, total)``; returning False cancels.

    Returns
    -------
    RefocusResult
        The photo and the intermediate results.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the depth is unknown everywhere.
    Cancelled
        If the callback returned False.

    References
    ----------
    Paper A, figure 1. For its own blur, with steps at given depths and on encoded values, see
    `fastrefocus.blur_by_depth`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrefocus import DepthMap, refocus
    >>> image = np.random.default_rng(0).random((40, 60), np.float32)
    >>> depth = DepthMap(np.repeat([np.linspace(0, 1, 60)], 40, axis=0), kind="relative")
    >>> result = refocus(image, depth=depth, focus=(0.1, 0.5), max_blur_px=4, deblur=False)
    >>> near, far = result.image[:, :12], result.image[:, -12:]
    >>> bool(near.std() > 2 * far.std())
    True
    """
    photo = as_image(image)
    if depth is not None:
        _check_depth(depth, photo)
    checked_focus(focus, "relative" if depth is None else depth.kind)
    if max_blur_px is not None:
        max_blur_px = checks.number(max_blur_px, "max_blur_px", least=0, below=_LARGEST_BLUR)
    deblur = checks.flag(deblur, "deblur")
    shape = as_aperture(aperture)
    checks.choice(quality, "quality", get_args(Quality))
    checks.choice(rendering, "rendering", get_args(Rendering))
    by_default = depth is None and rendering == "defocus"
    to_refine = by_default if refine_depth is None else checks.flag(refine_depth, "refine_depth")
    existing = None if existing_radius is None else as_existing(existing_radius, "existing_radius", photo.shape)
    thread_count(threads)
    watch = _Stopwatch()
    if depth is None or to_refine:
        with watch.stage("depth"):
            progress = Progress(callback, "depth", 1)
            progress(0)
            if depth is None:
                from fastrefocus.depth.estimate import estimate_depth  # loads onnxruntime

                depth = postprocess_depth(estimate_depth(photo, threads=threads))
            if to_refine:
                depth = refine(depth, photo, threads=threads)
            progress(1)
    sharp = photo.copy()  # it is handed out
    if deblur:
        with watch.stage("deblur"):
            deblurred = deblur_photo(photo, threads=threads, callback=callback)
        sharp = deblurred.image
        if existing is None:
            existing = _blur_found(deblurred)
    if max_blur_px is None:
        max_blur_px = _usual_blur(photo, existing)
    with watch.stage("blur"):
        mapping: Literal["disparity"] | None = "disparity" if depth.kind == "relative" else None
        coc = coc_from_depth(depth, focus, max_radius=max_blur_px, mapping=mapping)

        def blur(source: FloatArray, radius: FloatArray, told: Callback | None) -> FloatArray:
            if rendering == "paper":
                return _threshold_blur(source, radius, told)
            return render_defocus(source, radius, aperture=shape, quality=quality, threads=threads, callback=told)

        missing = coc if existing is None else missing_blur(coc, existing, aperture=shape)
        share = _share_of_photo(coc, existing) if deblur and existing is not None else np.ones_like(coc)
        blurred = _blended(share, (photo, missing), (sharp, coc), blur, callback)
    return RefocusResult(blurred, sharp, depth, coc, MappingProxyType(watch.seconds))


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _check_depth(depth: Any, photo: FloatArray) -> None:  # noqa: ANN401
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, or None, got {type(depth).__name__}")
    if depth.values.shape != photo.shape[:2]:
        raise ValueError(f"depth must have the image's height and width {photo.shape[:2]}, got {depth.values.shape}")


def _usual_blur(photo: FloatArray, existing: npt.NDArray[np.float64] | None) -> float:
    """Return the largest radius of a photo with shallow depth of field; of another what is usual for its size."""
    if existing is not None and existing.ndim == 2:
        blurred = existing[existing >= 1]
        if blurred.size > _SHALLOW_SHARE * existing.size:
            largest: np.float64 = np.percentile(blurred, _LARGEST_PERCENTILE)
            return float(largest)
    return float(DEFAULT_MAX_BLUR * max(photo.shape[:2]))


def _blur_found(result: DeconvolutionResult) -> npt.NDArray[np.float64]:
    """Return the radius of the blur that was found in a photo: (H, W), or () where it is one for all of it."""
    if result.blur_radius is not None:
        return result.blur_radius.astype(np.float64)
    assert result.sigma is not None
    return np.asarray(2 * result.sigma)


def _share_of_photo(coc: FloatArray, existing: npt.NDArray[np.float64]) -> FloatArray:
    """Return how far the photo itself is to be blurred, 1, and not the deblurred one, 0.

    All where it is not yet blurred enough. The transition is wide, for the two are never quite the same.
    """
    there = np.nan_to_num(existing)
    lacking = np.abs(coc) - there
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lacking >= 0, 1, np.maximum(1 + lacking / (_TRANSITION * there), 0)).astype(np.float32)


def _blended(
    share: FloatArray,
    one: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    blur: Callable[[FloatArray, FloatArray, Callback | None], FloatArray],
    callback: Callback | None,
) -> FloatArray:
    """Blur two photos, each by its own radius, and take as much of the first as `share` says.

    Blurred one by one, for the radius changes from the one to the other by jumps, and nothing in the scene does.
    """
    if (share == 1).all():
        return blur(*one, callback)
    if (share == 0).all():
        return blur(*other, callback)
    first, second = blur(*one, part_of(callback, 0, 2)), blur(*other, part_of(callback, 1, 2))
    weight = share if first.ndim == 2 else share[..., np.newaxis]
    return weight * first + (1 - weight) * second


def _threshold_blur(sharp: FloatArray, coc: FloatArray, callback: Callback | None) -> FloatArray:
    """Blur by signed radius, each side from the sharp photo (paper A, section 4.4), in linear light."""
    largest = float(np.abs(coc).max())
    if largest == 0:
        return sharp.copy()
    levels = min(_MOST_LEVELS, math.ceil(2 * largest))
    radii = largest * np.arange(1, levels + 1) / levels
    limits = radii - largest / (2 * levels)  # half-way between a radius and the one before
    sigmas = (radii / 2).tolist()  # a disk of radius r has the standard deviation r / 2 along one axis
    linear = np.clip(decode(sharp), 0, FLOAT_RANGE[1])  # light is not negative, but ringing may be
    progress = Progress(callback, "blur", 2)
    far = blur_by_depth(linear, coc, sigmas=sigmas, thresholds=limits.tolist(), side="far")
    progress(1)
    near = blur_by_depth(linear, coc, sigmas=sigmas, thresholds=(-limits).tolist(), side="near")
    progress(2)
    in_front = (coc < 0) if sharp.ndim == 2 else (coc < 0)[..., np.newaxis]
    blurred = encode(np.where(in_front, near, far))
    in_focus = np.abs(coc) <= limits[0]
    blurred[in_focus] = sharp[in_focus]  # bit for bit
    return blurred
