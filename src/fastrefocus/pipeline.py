"""The whole way in one call: depth, deblurring, and blur for the focus wanted."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FLOAT_RANGE, FloatArray, as_image
from fastrefocus.deconvolution.channels import deblur as deblur_photo
from fastrefocus.depth.depth_map import DepthMap, Kind, as_depth
from fastrefocus.depth.postprocess import postprocess_depth
from fastrefocus.light import decode, encode
from fastrefocus.optics.coc import coc_from_disparity
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress
from fastrefocus.rendering.thresholds import blur_by_depth

#: The largest blur radius where none is given, as a share of the photo's longer side.
DEFAULT_MAX_BLUR = 0.015

_MOST_LEVELS = 16  # blurred copies on either side of the focal plane; finer steps cannot be seen
_LARGEST_BLUR = 1000.0  # pixels; more is a mistake in the units, and half of it near the largest sigma of blur_by_depth
_FOCUS_WINDOW = 0.01  # the depth at a point is the median over a square of this share of the longer side


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
        The depth used.
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
    focus: tuple[float, float] | float,
    max_blur_px: float | None = None,
    deblur: bool = True,
    threads: int | None = None,
    callback: Callback | None = None,
) -> RefocusResult:
    """Change the focus of a photo.

    The depth of the photo is estimated, unless it is given; the photo is deblurred; and it is blurred again with
    Gaussians of growing width on either side of the depth wanted in focus, in linear light.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), 0..1, sRGB-encoded.
    depth : DepthMap, optional
        None: `fastrefocus.estimate_depth` with the built-in model, then `fastrefocus.postprocess_depth`. Unknown depth
        (NaN) is taken from the nearest known pixel.
    focus : (float, float) or float
        What to focus on: a point (x, y) as fractions of the width and height, 0..1 from the top left, or a depth in the
        unit of `depth` (of the relative depth, 0 nearest to 1 farthest, where it is estimated).
    max_blur_px : float, optional
        The largest radius of the blur, >= 0 and < 1000 pixels. None: 1.5 % of the longer side.
    deblur : bool
        Deblur the photo first, with `fastrefocus.deblur`. That knows one blur for the whole photo: leave it out where
        the photo is sharp already.
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
    _check_focus(focus, "relative" if depth is None else depth.kind)
    if max_blur_px is None:
        max_blur_px = DEFAULT_MAX_BLUR * max(photo.shape[:2])
    max_blur_px = checks.number(max_blur_px, "max_blur_px", least=0, below=_LARGEST_BLUR)
    thread_count(threads)
    watch = _Stopwatch()
    if depth is None:
        with watch.stage("depth"):
            progress = Progress(callback, "depth", 1)
            progress(0)
            from fastrefocus.depth.onnx_model import estimate_depth  # loads onnxruntime

            depth = postprocess_depth(estimate_depth(photo, threads=threads))
            progress(1)
    coc = _coc(depth.filled(), focus, max_blur_px)
    sharp = photo
    if deblur:
        with watch.stage("deblur"):
            sharp = deblur_photo(photo, threads=threads, callback=callback).image
    with watch.stage("blur"):
        blurred = _blur(sharp, coc, callback)
    return RefocusResult(blurred, sharp, depth, coc, MappingProxyType(watch.seconds))


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _check_focus(focus: Any, kind: Kind) -> None:  # noqa: ANN401 - whatever the caller passed
    if not isinstance(focus, (tuple, list)):
        as_depth([[checks.number(focus, "focus")]], kind, "focus")
        return
    if len(focus) != 2:
        raise ValueError(f"focus must be a point (x, y) or a depth, got {focus!r}")
    for value, name in zip(focus, ("focus[0] (x)", "focus[1] (y)"), strict=True):
        if checks.number(value, name, least=0) > 1:
            raise ValueError(f"{name} must be a fraction of the photo, 0 to 1, got {value!r}")


def _check_depth(depth: Any, photo: FloatArray) -> None:  # noqa: ANN401
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, or None, got {type(depth).__name__}")
    if depth.values.shape != photo.shape[:2]:
        raise ValueError(f"depth must have the image's height and width {photo.shape[:2]}, got {depth.values.shape}")


def _coc(depth: DepthMap, focus: tuple[float, float] | float, max_blur_px: float) -> FloatArray:
    disparity = depth.disparity()
    if isinstance(focus, (tuple, list)):
        return coc_from_disparity(disparity, _at_point(disparity, *focus), max_blur_px)
    in_focus = DepthMap(np.full((1, 1), focus), depth.kind).disparity()
    return coc_from_disparity(disparity, float(in_focus[0, 0]), max_blur_px)


def _at_point(disparity: FloatArray, x: float, y: float) -> float:
    """Return the median around a point, so that one wrong pixel does not move the focal plane."""
    height, width = disparity.shape
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    reach = int(_FOCUS_WINDOW * max(height, width) / 2)
    window = disparity[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return float(np.median(window))


def _blur(sharp: FloatArray, coc: FloatArray, callback: Callback | None) -> FloatArray:
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
