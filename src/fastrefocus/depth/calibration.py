"""Depth in metres, from distances that are known at some points, or from the blur that a known lens has made.

1 / z = gain * disparity + shift, where the disparity is `DepthMap.disparity`: for inverse depth the values, for
relative depth 1 - value, and for depth already in metres, to be corrected, 1 / z.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import as_plane, as_real
from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.optics.focus import at_point
from fastrefocus.optics.lens import ThinLens

_Numbers = npt.NDArray[np.float64]

#: Metres that stand for infinity, and for what the fit puts behind it; no lens tells them apart.
FARTHEST_M = 1e6

#: Up to which error of 1 / z, in parts of the median over the points, the loss is quadratic. It is the same for all
#: points: weights by the distance would give most to one that is wrongly far.
_POINT_ERROR = 0.01

#: Points whose disparities differ by less than this part of the map's range are equally far.
_LEAST_SPREAD = 1e-3

#: A gain that makes less than this part of the nearest point's 1 / z is none.
_LEAST_CHANGE = 1e-6

#: How well a radius of blur is known, pixels.
_RADIUS_ERROR = 1.0

#: Pixels that the blur is compared at, about, and the places of the focus from which the fit starts.
_BLUR_SAMPLES, _FOCUS_STARTS = 20_000, 33


@dataclass(frozen=True, eq=False)
class DepthCalibration:
    """Depth in metres, and how well it fits what was known.

    Attributes
    ----------
    depth : DepthMap
        (H, W), "metric"; NaN where it was. What the fit puts at or behind infinity is 1e6 m away.
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

    1 / z = gain * disparity + shift is fitted by robust least squares: among five points one may be quite wrong. Two
    points, one near and one far, give gain and shift, but nothing to check them by.

    Parameters
    ----------
    depth : DepthMap
        (H, W); relative, inverse, or metric depth to be corrected. Relative depth is taken as linear in 1 / z.
    points : sequence of (float, float)
        (x, y) as fractions of the width and height, 0..1 from the top left. The depth at a point is the median over a
        square as wide as 1 % of the longer side.
    distances_m : sequence of float
        The distance from the camera at each point, metres, > 0; infinity for the sky. A photo's EXIF may have that of
        the subject in focus: ``ThinLens.from_exif(...).focus_distance_m``.
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
    The loss is soft_l1 (scipy.optimize.least_squares): quadratic up to an error of 1 / z of 1 % of the points' median,
    and linear beyond. The fit is made in 1 / z because blur is linear in it: near distances count most, and far ones
    are less certain in metres. A wrong distance shows in its residual if there are right ones on both sides of it.

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
    if shift is None and np.ptp(at_points) <= _LEAST_SPREAD * (np.nanmax(disparity) - np.nanmin(disparity)):
        raise ValueError("the points are equally far in the depth map, which gives no gain: choose one that is nearer")
    gain, shift = _fit_line(at_points, wanted, shift)
    if gain * np.abs(at_points).max() <= _LEAST_CHANGE * wanted.max():
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
        (H, W): radius of the disk of blur, pixels of this picture; NaN where unknown. The sign is not looked at.
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
    if not (distances > 0).all() or np.isinf(distances).all():
        raise ValueError(f"distances_m must be metres > 0, not all of them infinite, got {distances_m!r}")
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
    from scipy.optimize import least_squares

    error = _POINT_ERROR * np.median(wanted[wanted > 0])
    columns = [disparity] if shift is not None else [disparity, np.ones_like(disparity)]
    design = np.stack(columns, axis=1) / error
    aim = (wanted - (shift or 0.0)) / error
    start = np.linalg.lstsq(design, aim, rcond=None)[0]
    fit = least_squares(
        lambda x: design @ x - aim, start, jac=lambda x: design, loss="soft_l1", x_scale="jac", xtol=1e-12, ftol=1e-12
    )
    return float(fit.x[0]), float(fit.x[1]) if shift is None else shift


def _fit_vee(disparity: _Numbers, radius: _Numbers) -> tuple[float, float, _Numbers]:
    """Fit radius = slope * |disparity - focus|, slope > 0; return both and the residuals."""
    from scipy.optimize import least_squares

    spread = float(np.ptp(disparity))
    if spread == 0 or np.ptp(radius) == 0:
        raise ValueError("blur_radius does not vary with depth, so that it gives no gain")

    def residuals(x: _Numbers) -> _Numbers:
        return np.asarray((x[0] * np.abs(disparity - x[1]) / spread - radius) / _RADIUS_ERROR)

    def start_at(focus: float) -> tuple[float, float]:
        away = np.abs(disparity - focus) / spread
        return max(float(away @ radius / (away @ away)), 1e-3), focus  # well above the bound

    def cost(x: tuple[float, float]) -> float:
        return float(np.sqrt(1 + residuals(np.array(x)) ** 2).sum())

    starts = np.quantile(disparity, np.linspace(0, 1, _FOCUS_STARTS)).tolist()
    best = min((start_at(focus) for focus in starts), key=cost)
    bounds = ([1e-6, -np.inf], [np.inf, np.inf])  # of the slope, pixels over the map's range, so that the gain is > 0
    fit = least_squares(residuals, best, loss="soft_l1", bounds=bounds, x_scale=(1.0, spread))
    slope, focus = fit.x.tolist()
    return slope / spread, focus, residuals(fit.x) * _RADIUS_ERROR


def _metres(reciprocal: _Numbers) -> _Numbers:
    """Return the distances of values of 1 / z; what is at or behind infinity is `FARTHEST_M` away."""
    return 1 / np.maximum(reciprocal, 1 / FARTHEST_M)
