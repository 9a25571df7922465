"""Depth in metres, from distances that are known at some points, or from the blur that a known lens has made.

1 / z = gain * disparity + shift, where the disparity is `DepthMap.disparity`: for inverse depth the values, for
relative depth 1 - value, and for depth already in metres, to be corrected, 1 / z.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import as_plane, as_real
from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.optics.focus import at_point
from fastrefocus.optics.lens import ThinLens

_Numbers = npt.NDArray[np.float64]

#: Metres that stand for infinity, and for what the fit puts behind it; no lens tells them apart. The nearest, likewise.
FARTHEST_M, _NEAREST_M = 1e6, 1e-6

#: The least standard deviation of 1 / z at a point, in parts of the median over the points. It is the same for all
#: points: weights by the distance would give most to one that is wrongly far.
_POINT_ERROR = 0.02

#: A point that is off by more standard deviations is wrong; one is this many medians of absolute normal errors.
_NEAR_DEVIATIONS, _DEVIATION_OF_MEDIAN = 2.5, 1.4826

#: Points that lines are laid through, at most: more tell nothing new.
_LINE_POINTS = 50

#: The percentiles of disparity between which the map's range lies; single pixels may have any depth.
_RANGE_PERCENTILES = (1.0, 99.0)

#: Points whose disparities differ by less than this part of the map's range are equally far.
_LEAST_SPREAD = 1e-3

#: A gain that makes less than this part of the nearest point's 1 / z between the points is none.
_LEAST_CHANGE = 1e-6

#: How well a radius of blur is known, pixels.
_RADIUS_ERROR = 1.0

#: Radii that differ by less, pixels, between these percentiles, are noise, or what reads sharp places as blurred.
_LEAST_BLUR, _BLUR_PERCENTILES = 0.5, (5.0, 95.0)

#: The largest loss of a fit, in parts of that of one radius for all pixels, with which depth explains the blur.
_LARGEST_LOSS = 0.75

#: What is said of blur that has no spread, and of blur that depth does not explain.
_NO_BLUR = f"blur_radius does not vary with depth, or by less than {_LEAST_BLUR:g} pixels, so that it gives no gain"

#: Pixels that the blur is compared at, about, and the places of the focus from which the fit starts.
_BLUR_SAMPLES, _FOCUS_STARTS = 20_000, 33


@dataclass(frozen=True, eq=False)
class DepthCalibration:
    """Depth in metres, and how well it fits what was known.

    Attributes
    ----------
    depth : DepthMap
        (H, W), "metric"; NaN where it was. What the fit puts at or behind infinity is 1e6 m away, and nothing is nearer
        than 1e-6 m.
    gain : float
        1 / z in 1 / m for 1 of disparity, > 0.
    shift : float
        1 / z in 1 / m where the disparity is 0.
    residuals_m : ndarray or None
        float64 (n,): for each point the distance fitted less the distance given, metres; infinity counts as 1e6 m. None
        where the blur gave the distances.
    residuals_px : ndarray or None
        float64 (m,): for each pixel compared the radius fitted less the radius given, pixels. None where points did.
    """

    depth: DepthMap
    gain: float
    shift: float
    residuals_m: _Numbers | None = None
    residuals_px: _Numbers | None = None


def calibrate_depth(
    depth: DepthMap,
    points: Sequence[tuple[float, float]],
    distances_m: Sequence[float],
    *,
    shift: float | None = None,
) -> DepthCalibration:
    """Turn depth into metres by points whose distance is known.

    1 / z = gain * disparity + shift is fitted by robust least squares: among four or five points one may be quite
    wrong, if it is not the only one at its depth. Two points, one near and one far, give gain and shift, but nothing to
    check them by; with three the residuals tell that one is wrong, but not which.

    Parameters
    ----------
    depth : DepthMap
        (H, W); relative, inverse, or metric depth to be corrected. Relative depth is taken as linear in 1 / z.
    points : sequence of (float, float)
        (x, y) as fractions of the width and height, 0..1 from the top left. The depth at a point is the median over a
        square as wide as 1 % of the longer side.
    distances_m : sequence of float
        The distance from the camera at each point, metres, at least 1e-6; infinity for the sky. A photo's EXIF may have
        that of the subject in focus: ``ThinLens.from_exif(...).focus_distance_m``.
    shift : float, optional
        1 / z in 1 / m where the disparity is 0, if that is known: then one point is enough. 0 says that disparity 0 is
        infinitely far away, as for depth that is known but for its unit. None: it is fitted.

    Returns
    -------
    DepthCalibration
        Metres, gain, shift and ``residuals_m``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, there are too few points, they are equally far in the map, the depth is unknown
        around one, or the distances contradict the map's order of near and far.

    Notes
    -----
    Of the lines through any two of the points that one is kept to which the points are nearest, where those that are
    far off count alike; least squares over the points near it gives the result (least median of squares, reweighted:
    Rousseeuw and Leroy 1987). Near is within 2.5 standard deviations of what most points keep to, at least 5 % of the
    points' median of 1 / z. The fit is made in 1 / z because blur is linear in it: near distances count most, and far
    ones are less certain in metres. A wrong distance shows in its residual. docs/depth_files.md has measurements.

    Examples
    --------
    >>> depth = DepthMap([[0.0, 0.5, 1.0]], "relative")
    >>> found = calibrate_depth(depth, [(0.0, 0.5), (1.0, 0.5)], [1.0, 3.0])
    >>> found.depth.values
    array([[1. , 1.5, 3. ]], dtype=float32)
    >>> calibrate_depth(depth, [(0.5, 0.5)], [2.0], shift=0).depth.values[0, :2]
    array([1., 2.], dtype=float32)
    """
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, got {type(depth).__name__}")
    places = _checked_points(points)
    wanted = 1 / _checked_distances(distances_m, len(places))
    if shift is not None:
        shift = checks.number(shift, "shift")
    elif len(places) < 2:
        raise ValueError(
            "one distance gives no shift: give the distance at a second point, nearer or farther, or shift, the 1 / z "
            "at which the disparity is 0 (0 if that is infinitely far)"
        )
    disparity = depth.disparity().astype(np.float64)
    at_points = _disparity_at(depth, places)
    span = float(np.ptp(at_points) if shift is None else np.abs(at_points).max())
    low, high = np.nanpercentile(disparity, _RANGE_PERCENTILES)
    if shift is None and span <= _LEAST_SPREAD * (high - low):
        raise ValueError("the points are equally far in the depth map, which gives no gain: choose one that is nearer")
    gain, shift = _fit_line(at_points, wanted, shift)
    if gain * span <= _LEAST_CHANGE * wanted.max():
        raise ValueError(
            f"the distances contradict the depth map (gain {gain:.3g}): points farther away have to be farther in it"
        )
    metric = DepthMap(_metres(gain * disparity + shift).astype(np.float32), "metric")
    residuals = _metres(gain * at_points + shift) - _metres(wanted)
    return DepthCalibration(metric, gain, shift, residuals_m=residuals)


def calibrate_depth_by_blur(depth: DepthMap, blur_radius: npt.ArrayLike, lens: ThinLens) -> DepthCalibration:
    """Turn depth into metres by the blur that the photo has, where its lens and focus are known, as from its EXIF.

    What is at the focus distance is sharp, and the radius grows with the difference of 1 / z to it (see `ThinLens`):
    focal length, f-number, sensor and focus distance make a difference in metres of a radius in pixels. Gain and the
    place of the focus in the map are fitted by robust least squares: a radius is taken as known to 1 pixel, and the
    loss is soft_l1.

    Parameters
    ----------
    depth : DepthMap
        (H, W), as for `calibrate_depth`.
    blur_radius : array_like
        (H, W): radius of the disk of blur, pixels of this picture; NaN where unknown. The sign is not looked at. The
        radii of `fastrefocus.estimate_blur` fit better than those of `fastrefocus.deblur` (docs/depth_files.md).
    lens : ThinLens
        The lens with which the photo was taken, such as ``ThinLens.from_exif(photo.exif, photo.pixels.shape)``.

    Returns
    -------
    DepthCalibration
        Metres, gain, shift and ``residuals_px``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, no pixel has both a depth and a radius, or the blur does not vary with depth.

    Notes
    -----
    Blur that varies by less than half a pixel (5th to 95th percentile of the radii) is refused: estimates of it have a
    floor, and noise, of that order. So is blur of which depth explains too little: the loss has to be at most three
    quarters of that of one radius for all pixels. Depth that was itself made from the blur, as by
    `fastrefocus.depth_from_blur` and the built-in model, agrees with it whether it is right or wrong.

    Examples
    --------
    >>> import numpy as np
    >>> disparity = np.linspace(0, 1, 200).reshape(10, 20)
    >>> lens = ThinLens(50, 1.8, 2.0)
    >>> radius = abs(lens.coc_radius(1 / (0.8 * disparity + 0.1), image_width=20))
    >>> found = calibrate_depth_by_blur(DepthMap(disparity, "inverse"), radius * 100, ThinLens(50, 0.018, 2.0))
    >>> round(found.gain, 3), round(found.shift, 3)
    (0.8, 0.1)
    """
    if not isinstance(depth, DepthMap):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, got {type(depth).__name__}")
    if not isinstance(lens, ThinLens):
        raise TypeError(f"lens must be a ThinLens, got {lens!r}")
    if blur_radius is None:
        raise TypeError("blur_radius must be (H, W), got None: deblur found one blur for the whole photo, or none")
    radius = as_plane(blur_radius, "blur_radius", shape=depth.values.shape, nan_ok=True).astype(np.float64)
    disparity = depth.disparity().astype(np.float64)
    known = np.flatnonzero(~np.isnan(radius) & ~np.isnan(disparity))
    if known.size == 0:
        raise ValueError("no pixel has both a known depth and a known blur_radius")
    known = known[:: -(-known.size // _BLUR_SAMPLES)]
    per_disparity, focus, residuals = _fit_vee(disparity.flat[known], np.abs(radius.flat[known]))
    gain = per_disparity / lens.disparity_gain(depth.values.shape[1])
    shift = 1 / lens.focus_distance_m - gain * focus
    metric = DepthMap(_metres(gain * disparity + shift).astype(np.float32), "metric")
    return DepthCalibration(metric, gain, shift, residuals_px=residuals)


def _checked_points(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    places = as_real(points, "points").astype(np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or len(places) == 0:
        raise ValueError(f"points must be pairs (x, y), at least one, got {points!r}")
    if not ((places >= 0) & (places <= 1)).all():
        raise ValueError(f"points must be fractions of width and height, 0 to 1, got {points!r}")
    return [(x, y) for x, y in places.tolist()]


def _checked_distances(distances_m: Sequence[float], count: int) -> _Numbers:
    distances = as_real(distances_m, "distances_m").astype(np.float64)
    if distances.shape != (count,):
        raise ValueError(f"distances_m must have one distance for each of {count} points, got {distances_m!r}")
    if not (distances >= _NEAREST_M).all() or np.isinf(distances).all():
        raise ValueError(
            f"distances_m must be metres > 0 (at least {_NEAREST_M:g}), not all of them infinite, got {distances_m!r}"
        )
    return distances


def _disparity_at(depth: DepthMap, places: list[tuple[float, float]]) -> _Numbers:
    """Return the median disparity around each point; single unknown pixels take that of the nearest known one."""
    unknown = np.isnan(depth.values).astype(np.float64)
    for place in places:
        if at_point(unknown, *place) > 0:  # half of the pixels or more
            raise ValueError(f"the depth is unknown (NaN) around the point {place}")
    known = depth.filled().disparity().astype(np.float64)
    return np.array([at_point(known, *place) for place in places])


def _fit_line(disparity: _Numbers, wanted: _Numbers, shift: float | None) -> tuple[float, float]:
    """Return gain and shift of wanted = gain * disparity + shift, in which a shift that is given is kept."""
    origin = float(disparity.min()) if shift is None else 0.0
    unit = float(np.abs(disparity - origin).max()) or 1.0  # so that the map's unit does not matter
    scaled = (disparity - origin) / unit
    columns = [scaled, np.ones_like(scaled)] if shift is None else [scaled]
    error = _POINT_ERROR * float(np.median(wanted[wanted > 0]))
    fit = _fit_to_most(np.stack(columns, axis=1), wanted - (shift or 0.0), error)
    gain = float(fit[0]) / unit
    return gain, float(fit[1]) - gain * origin if shift is None else shift


def _fit_to_most(design: _Numbers, aim: _Numbers, error: float) -> _Numbers:
    """Fit aim = design @ x by least squares over what agrees; `error` is the least standard deviation of `aim`."""
    count, unknowns = design.shape
    chosen = np.argsort(design[:, 0], kind="stable")[:: -(-count // _LINE_POINTS)]
    through = np.array(list(combinations(chosen, min(unknowns, len(chosen)))))
    lines = (np.linalg.pinv(design[through]) @ aim[through][..., np.newaxis])[..., 0]
    off = np.abs(lines @ design.T - aim)
    majority = (count + unknowns + 1) // 2
    typical = float(np.partition(off, majority - 1, axis=1)[:, majority - 1].min())
    near = _NEAR_DEVIATIONS * max(error, _DEVIATION_OF_MEDIAN * typical)
    best = int(np.argmin((np.minimum(off, near) ** 2).sum(axis=1)))
    agrees = off[best] <= near
    fit: _Numbers = np.linalg.lstsq(design[agrees], aim[agrees], rcond=None)[0]
    return fit


def _fit_vee(disparity: _Numbers, radius: _Numbers) -> tuple[float, float, _Numbers]:
    """Fit radius = slope * |disparity - focus|, slope > 0; return both and the residuals."""
    from scipy.optimize import least_squares

    spread = float(np.ptp(disparity))
    if spread == 0 or np.ptp(np.percentile(radius, _BLUR_PERCENTILES)) < _LEAST_BLUR:
        raise ValueError(_NO_BLUR)

    def residuals(x: _Numbers) -> _Numbers:
        return np.asarray((x[0] * np.abs(disparity - x[1]) / spread - radius) / _RADIUS_ERROR)

    def start_at(focus: float) -> tuple[float, float]:
        away = np.abs(disparity - focus) / spread
        return max(float(away @ radius / (away @ away)), 1e-3), focus  # well above the bound

    def cost(x: tuple[float, float]) -> float:
        return _soft_l1(residuals(np.array(x)))

    starts = np.quantile(disparity, np.linspace(0, 1, _FOCUS_STARTS)).tolist()
    best = min((start_at(focus) for focus in starts), key=cost)
    bounds = ([1e-6, -np.inf], [np.inf, np.inf])  # of the slope, pixels over the map's range, so that the gain is > 0
    fit = least_squares(residuals, best, loss="soft_l1", bounds=bounds, x_scale=(1.0, spread))
    flat = min(
        _soft_l1((radius - one) / _RADIUS_ERROR) for one in np.quantile(radius, np.linspace(0, 1, _FOCUS_STARTS))
    )
    if fit.cost > _LARGEST_LOSS * flat:
        raise ValueError(_NO_BLUR)
    slope, focus = fit.x.tolist()
    return slope / spread, focus, residuals(fit.x) * _RADIUS_ERROR


def _soft_l1(errors: _Numbers) -> float:
    """Return the loss that scipy.optimize.least_squares calls soft_l1: quadratic below 1, linear above."""
    return float((np.sqrt(1 + errors**2) - 1).sum())


def _metres(reciprocal: _Numbers) -> _Numbers:
    """Return the distances of values of 1 / z; what is at or behind infinity is `FARTHEST_M` away."""
    return 1 / np.clip(reciprocal, 1 / FARTHEST_M, 1 / _NEAREST_M)
