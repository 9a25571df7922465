"""How blurred each pixel is to be, from depth and the focus wanted.

For a thin lens the signed radius of the circle of confusion is linear in disparity, which is linear in 1 / z:
r = gain (focus - disparity). A lens, a gain, or the largest radius wanted gives the gain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_plane
from fastrefocus.optics.aperture import Aperture, as_aperture
from fastrefocus.optics.focus import Focus, FocusBand, at_point, checked_focus, is_infinity
from fastrefocus.optics.lens import ThinLens

_Numbers = npt.NDArray[np.float64]


@runtime_checkable
class DepthLike(Protocol):
    """What is needed of a `fastrefocus.DepthMap`."""

    @property
    def values(self) -> FloatArray: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    def filled(self) -> "DepthLike": ...  # noqa: D102


@dataclass(frozen=True)
class DepthRange:
    """The metres that relative depth stands for; between them it is taken as linear in 1 / z.

    Parameters
    ----------
    nearest_m, farthest_m : float
        Metres where the relative depth is 0 and where it is 1; 0 < nearest_m < farthest_m, which may be infinity.

    Raises
    ------
    TypeError, ValueError
        If they are not as above.

    Examples
    --------
    >>> DepthRange(0.8, math.inf)
    DepthRange(nearest_m=0.8, farthest_m=inf)
    """

    nearest_m: float
    farthest_m: float

    def __post_init__(self) -> None:
        checks.number(self.nearest_m, "nearest_m", above=0)
        if not is_infinity(self.farthest_m):
            checks.number(self.farthest_m, "farthest_m", above=self.nearest_m)


def coc_from_depth(
    depth: DepthLike,
    focus: Focus,
    *,
    lens: ThinLens | None = None,
    gain: float | None = None,
    max_radius: float | None = None,
    mapping: Literal["disparity"] | DepthRange | None = None,
) -> FloatArray:
    """Return the signed radius of the circle of confusion of each pixel, for the focus wanted.

    Exactly one of `lens`, `gain` and `max_radius` says how strong the blur is.

    Parameters
    ----------
    depth : DepthMap
        (H, W), of any kind. Unknown depth (NaN) is taken from the nearest known pixel.
    focus : (float, float), float, sequence of (float, float), or FocusBand
        What is in focus: a point (x, y) as fractions of the width and height, 0..1 from the top left; a depth in the
        unit of `depth` (in metres also infinity); points, with all between the nearest and the farthest of them; or a
        band of depths. Outside a band the radius grows from 0 at its edge. The depth at a point is the median over a
        square as wide as 1 % of the longer side.
    lens : ThinLens, optional
        The lens, focused anew: on the focus, or on the middle (in 1 / z) of a band. It needs depth in metres. The
        picture is as wide as its sensor.
    gain : float, optional
        Pixels of radius per unit of disparity, > 0. Disparity is 1 / z in 1 / m for metric depth and for relative depth
        with a `DepthRange`, the value itself for inverse depth, and 1 - value for relative depth with ``"disparity"``.
    max_radius : float, optional
        The largest absolute radius in the picture, pixels, >= 0. Where all is in focus every radius is 0.
    mapping : "disparity" or DepthRange, optional
        What relative depth stands for; to be given for relative depth and for no other kind. "disparity": it is linear
        in 1 / z. A `DepthRange`: so it is, and has these metres at 0 and 1, so that a lens may be used. A depth given
        as `focus` stays in the map's unit.

    Returns
    -------
    ndarray
        float32 (H, W), pixels; > 0 behind the focal plane, 0 in focus.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, they do not fit together, the depth is unknown everywhere, or a radius is too
        large for float32.

    Examples
    --------
    >>> from fastrefocus import DepthMap, ThinLens
    >>> depth = DepthMap([[1.0, 2.0, 8.0]], "metric")
    >>> coc_from_depth(depth, 2.0, max_radius=4)
    array([[-4.,  0.,  3.]], dtype=float32)
    >>> coc_from_depth(depth, (0.9, 0.5), lens=ThinLens(50, 1.8, 1, sensor_width_mm=0.036)).round(1)
    array([[-51. , -21.8,   0. ]], dtype=float32)
    >>> coc_from_depth(depth, FocusBand(1.5, 4.0), gain=12)
    array([[-4. ,  0. ,  1.5]], dtype=float32)
    """
    _check_depth(depth, mapping)
    _check_strength(lens, gain, max_radius, in_metres=depth.kind == "metric" or isinstance(mapping, DepthRange))
    wanted = checked_focus(focus, depth.kind)
    disparity = _disparity(depth.filled().values.astype(np.float64), depth.kind, mapping)
    near, far = _focus_disparities(wanted, disparity, depth.kind, mapping)
    beyond = np.clip(disparity, far, near) - disparity  # 0 in focus
    if max_radius is not None:
        farthest = float(np.abs(beyond).max())
        return (beyond / (farthest or 1.0) * max_radius).astype(np.float32)
    if lens is not None:
        gain = _refocused(lens, (near + far) / 2).disparity_gain(disparity.shape[1])
    assert gain is not None
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        radius = (gain * beyond).astype(np.float32)
    if not np.isfinite(radius).all():
        raise ValueError(f"the blur is too large for float32: gain {gain:g} on disparities {np.abs(beyond).max():g}")
    return radius


def missing_blur(
    radius: npt.ArrayLike, existing: npt.ArrayLike, *, aperture: str | Aperture | npt.ArrayLike = "disk"
) -> FloatArray:
    """Return the blur still to be added to a photo that is already blurred.

    The variances of blurs that follow one another add up, so a radius of sqrt(r1^2 - r0^2) is missing where r1 is
    wanted and r0 is there.

    Parameters
    ----------
    radius : array_like
        (H, W) or a number: the signed radius wanted, pixels; NaN (unknown) stays NaN.
    existing : array_like
        (H, W) or a number: the radius there is, pixels, >= 0, as that of the disk with the same variance (a Gaussian
        counts as 2 sigma). NaN (unknown) counts as none.
    aperture : "disk", Aperture or array_like
        The shape wanted; see `fastrefocus.Aperture`. Where its variance for radius 1 is m instead of the disk's 1/4,
        r0^2 / (4 m) is subtracted.

    Returns
    -------
    ndarray
        float32, (H, W) or, of two numbers, (): pixels, with the sign of `radius`; 0 where the photo is already blurred
        as much as wanted or more.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above or the shapes differ.

    Examples
    --------
    >>> missing_blur([[-5.0, 3.0, 5.0]], 4.0)
    array([[-3.,  0.,  3.]], dtype=float32)
    """
    shape = as_aperture(aperture)
    wanted = _plane_or_number(radius, "radius")
    there = as_existing(existing, "existing", wanted.shape)
    same = np.nan_to_num(there) * math.sqrt(0.25 / shape.second_moment)  # the aperture's radius with that variance
    size = np.abs(wanted)
    missing = np.sqrt(np.maximum(size - same, 0) * (size + same))
    return np.asarray(np.copysign(missing, wanted) + 0.0, np.float32)


def as_existing(existing: npt.ArrayLike, name: str, shape: Sequence[int]) -> _Numbers:
    """Check the radius of a blur there is: a number, or a map of the shape (H, W) where that is not ().

    Returns
    -------
    ndarray
        float64, (H, W) or (): pixels; NaN where unknown.
    """
    there = _plane_or_number(existing, name)
    if there.ndim == 2 and len(shape) > 0 and there.shape != tuple(shape[:2]):
        raise ValueError(f"{name} must be a number or have the height and width {tuple(shape[:2])}, got {there.shape}")
    if (there < 0).any():
        raise ValueError(f"{name} must be >= 0 (pixels), got {np.nanmin(there):g}")
    return there


def _check_depth(depth: Any, mapping: Any) -> None:  # noqa: ANN401 - whatever the caller passed
    if not isinstance(depth, DepthLike):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, got {type(depth).__name__}")
    checks.choice(depth.kind, "depth.kind", ("relative", "inverse", "metric"))
    if depth.kind != "relative":
        if mapping is not None:
            raise ValueError(f"mapping is for relative depth; depth is {depth.kind} and needs none, got {mapping!r}")
    elif not isinstance(mapping, DepthRange) and not (isinstance(mapping, str) and mapping == "disparity"):
        raise ValueError(
            'mapping must say what relative depth stands for: "disparity" (it is linear in 1 / z) or '
            f"DepthRange(nearest_m, farthest_m), got {mapping!r}"
        )


def _check_strength(lens: Any, gain: Any, max_radius: Any, *, in_metres: bool) -> None:  # noqa: ANN401
    given = [name for name, value in (("lens", lens), ("gain", gain), ("max_radius", max_radius)) if value is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of lens, gain and max_radius must be given, got {' and '.join(given) or 'none'}")
    if gain is not None:
        checks.number(gain, "gain", above=0)
    if max_radius is not None:
        checks.number(max_radius, "max_radius", least=0, below=float(np.finfo(np.float32).max))
    if lens is None:
        return
    if not isinstance(lens, ThinLens):
        raise TypeError(f"lens must be a ThinLens, got {lens!r}")
    if not in_metres:
        raise ValueError(
            "lens needs depth in metres; the gain (and shift) of inverse and relative depth are unknown: give gain or "
            "max_radius, or for relative depth mapping=DepthRange(nearest_m, farthest_m)"
        )


def _disparity(values: _Numbers, kind: str, mapping: str | DepthRange | None) -> _Numbers:
    """Return what grows linearly with 1 / z, larger nearer; in 1 / m where metres are known."""
    if kind == "metric":
        return 1 / values
    if kind == "inverse":
        return values
    if isinstance(mapping, DepthRange):
        return (1 - values) / mapping.nearest_m + values / mapping.farthest_m
    return 1 - values


def _focus_disparities(
    focus: FocusBand | list[tuple[float, float]], disparity: _Numbers, kind: str, mapping: str | DepthRange | None
) -> tuple[float, float]:
    """Return the largest and the smallest disparity in focus."""
    if isinstance(focus, FocusBand):
        near, far = _disparity(np.array([focus.nearest, focus.farthest]), kind, mapping).tolist()
        return near, far
    found = [at_point(disparity, x, y) for x, y in focus]
    return max(found), min(found)


def _refocused(lens: ThinLens, disparity: float) -> ThinLens:
    distance = 1 / disparity if disparity > 0 else math.inf
    if distance <= lens.focal_length_mm / 1000:
        raise ValueError(
            f"focus must be farther away than the focal length of lens, {lens.focal_length_mm:g} mm, got {distance:g} m"
        )
    return replace(lens, focus_distance_m=distance)


def _plane_or_number(values: Any, name: str) -> _Numbers:  # noqa: ANN401
    is_number = not isinstance(values, Sequence) and np.ndim(values) == 0
    plane = as_plane([[values]] if is_number else values, name, nan_ok=True).astype(np.float64)
    return np.asarray(plane[0, 0]) if is_number else plane
