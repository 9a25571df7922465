"""The shape of the aperture, which out-of-focus points of light take.

An outline is a convex polygon: an array of complex numbers x + i y, in picture coordinates (y down) and in units of the
aperture's radius.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, as_plane

#: An aperture's spans are given on so many scanlines.
SCANLINES = 256

_PARTS = 4  # of a scanline, for outlines with corners and level sides: the area is right to 1e-3
_BLADE_POINTS = 64  # of the outline, on each blade: the area is right to 1e-4
_NOTCHES = 0.01  # share of a mask that may be missing to its hull: noise, a scaled picture's ringing

_Outline = npt.NDArray[np.complex128]
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Aperture:
    """The shape of a lens's aperture: a disk, an iris of blades, or any convex mask.

    It is given as it shows in points in front of the focal plane; behind it they are turned by 180 degrees. For a
    circle of confusion of radius r it is scaled so that the disk, the circle through the corners of the blades, or the
    circle inscribed in the mask's array has the radius |r|.

    Parameters
    ----------
    blades : int, optional
        Blades of the iris, 5 to 9. None: a disk, or the mask.
    rotation : float
        Radians, counter-clockwise as seen in the picture; of the blades (at 0 one corner points to the right, as in
        `fastrefocus.polygon_psf`) or of the mask.
    roundness : float
        0 (straight blades) to 1 (a circle): each blade is the arc through its two corners whose curvature is this share
        of that of the circle through all corners.
    mask : array_like, optional
        (n, n), n >= 3, bool or real: inside the aperture where it is more than half its maximum, which must be a convex
        shape. The array spans the diameter. Kept as a read-only bool copy.
    cat_eye : float
        0 (none) to 1: mechanical vignetting. The aperture is cut by a disk of radius 1 whose centre moves outwards, in
        proportion to the distance from the picture's centre, by `cat_eye` radii at the corners. So the rim of a lens's
        front cuts the outer side of points behind the focal plane, and the inner side of points in front of it.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not in its range, the mask is not convex or, turned, leaves its array, `blades` and `mask` are
        both given, or a parameter is given that has no effect.

    Notes
    -----
    Two apertures are equal only if they are the same object.

    Examples
    --------
    >>> import math
    >>> Aperture().second_moment
    0.25
    >>> hexagon = Aperture(blades=6, rotation=math.pi / 6)
    >>> left, right = hexagon.spans()[SCANLINES // 2]
    >>> print(f"{left:.3f} {right:.3f}")
    -0.866 0.866
    """

    blades: int | None = None
    rotation: float = 0.0
    roundness: float = 0.0
    mask: npt.ArrayLike | None = None
    cat_eye: float = 0.0

    def __post_init__(self) -> None:
        if self.blades is not None and checks.integer(self.blades, "blades", least=5) > 9:
            raise ValueError(f"blades must be 5 to 9, got {self.blades}")
        if checks.number(self.roundness, "roundness", least=0) > 1:
            raise ValueError(f"roundness must be 0 (straight blades) to 1 (a circle), got {self.roundness}")
        if checks.number(self.cat_eye, "cat_eye", least=0) > 1:
            raise ValueError(f"cat_eye must be 0 to 1, got {self.cat_eye}")
        checks.number(self.rotation, "rotation")
        self._check_together()
        if self.mask is not None:
            inside = _as_inside(self.mask)
            object.__setattr__(self, "mask", inside)
            _check_turned_mask(np.asarray(self._outline), len(inside), self.cat_eye)

    def _check_together(self) -> None:
        if self.blades is not None and self.mask is not None:
            raise ValueError("blades and mask both give the aperture's shape; give one of them")
        if self.blades is None and self.roundness != 0:
            raise ValueError(f"roundness is that of blades, and needs them; got {self.roundness} without blades")
        if self.blades is None and self.mask is None and self.rotation != 0:
            raise ValueError(f"rotation turns blades or a mask, and a disk has none; got {self.rotation}")

    def spans(self, field: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
        """Return the aperture's left and right edge on 256 scanlines.

        Parameters
        ----------
        field : (float, float)
            The place in the picture, (x, y) from its centre in units of half its diagonal: at most 1 away. Only
            `cat_eye` makes a difference by place.

        Returns
        -------
        ndarray
            float32 (256, 2), -1 to 1: left and right edge on the scanlines y = -1 + (2 j + 1) / 256, y down; both 0
            where the scanline does not meet the aperture. Where the edges of the blades or the mask turn within the
            scanline's height, 1 / 128, the span has the area and the middle of what lies there.

        Raises
        ------
        TypeError, ValueError
            If `field` is not as above.
        """
        rim = self.cat_eye * _checked_field(field)
        y, share, left, right = self._lines
        if self.cat_eye > 0:
            rim_left, rim_right = _disk_spans(y, rim)
            left, right = np.maximum(left, rim_left), np.minimum(right, rim_right)
        share = share * (left < right)
        inside = share.sum(axis=1)
        width, middle = ((right - left) * share).sum(axis=1), ((left + right) / 2 * share).sum(axis=1)
        middle /= np.where(inside > 0, inside, 1)
        return np.stack([middle - width / 2, middle + width / 2], axis=1).astype(np.float32)

    @cached_property
    def second_moment(self) -> float:
        """Mean of the variances along x and y for radius 1, without `cat_eye`; that of a disk is 0.25."""
        return 0.25 if self._outline is None else _variance(self._outline)

    @cached_property
    def _lines(self) -> tuple[_Numbers, _Numbers, _Numbers, _Numbers]:
        """The scanlines in parts, (256, parts): their y, share of the scanline's height, left and right edge; uncut."""
        outline = self._outline
        if outline is None:
            y = (np.arange(SCANLINES)[:, np.newaxis] * 2 + 1) / SCANLINES - 1
            return y, np.ones_like(y), *_disk_spans(y, 0j)
        parts = np.clip(np.linspace(-1, 1, SCANLINES * _PARTS + 1), outline.imag.min(), outline.imag.max())
        y = (parts[:-1] + parts[1:]) / 2
        left, right = np.clip(_polygon_spans(y, outline), -1, 1)
        y, share, left, right = (a.reshape(SCANLINES, _PARTS) for a in (y, np.diff(parts) * SCANLINES / 2, left, right))
        return y, share, left, right

    @cached_property
    def _outline(self) -> _Outline | None:
        turn = cmath.exp(-1j * (float(self.rotation) % math.tau))  # y grows downwards
        if self.mask is not None:
            return _mask_outline(np.asarray(self.mask)) * turn
        if self.blades is not None:
            return _blades_outline(int(self.blades), float(self.roundness)) * turn
        return None


def as_aperture(aperture: str | Aperture | npt.ArrayLike) -> Aperture:
    """Check an aperture and return it as an `Aperture`.

    Parameters
    ----------
    aperture : "disk", Aperture or array_like
        An array is the `mask` of an `Aperture`.

    Returns
    -------
    Aperture
        The input itself where it already is one.

    Raises
    ------
    TypeError, ValueError
        If it is none of those above.
    """
    if isinstance(aperture, Aperture):
        return aperture
    accepted = 'aperture must be "disk", an Aperture or a square mask array'
    if isinstance(aperture, str):
        if aperture != "disk":
            raise ValueError(f"{accepted}, got {aperture!r}")
        return Aperture()
    if not isinstance(aperture, Sequence) and np.ndim(aperture) == 0:
        raise TypeError(f"{accepted}, got {aperture!r}")
    return Aperture(mask=aperture)


def _checked_field(field: Any) -> complex:  # noqa: ANN401 - whatever the caller passed
    if not isinstance(field, (tuple, list, np.ndarray)) or len(field) != 2:
        raise TypeError(f"field must be a place (x, y), got {field!r}")
    place = complex(checks.number(field[0], "field[0] (x)"), checks.number(field[1], "field[1] (y)"))
    if abs(place) > 1 + 1e-6:  # room for rounding
        raise ValueError(f"field must be at most 1 (the picture's corners) from the centre, got {field!r}")
    return place


def _disk_spans(y: _Numbers, centre: complex) -> tuple[_Numbers, _Numbers]:
    half = np.sqrt(np.maximum(1 - (y - centre.imag) ** 2, 0))
    return centre.real - half, centre.real + half


def _polygon_spans(y: _Numbers, outline: _Outline) -> tuple[_Numbers, _Numbers]:
    """Return the left and right edge of a convex polygon at each y between its top and its bottom."""
    start, end = outline, np.roll(outline, -1)
    sloping = start.imag != end.imag
    start, end = start[sloping], end[sloping]
    y = y[:, np.newaxis]
    meets = (np.minimum(start.imag, end.imag) <= y) & (y <= np.maximum(start.imag, end.imag))
    x = start.real + (y - start.imag) * ((end.real - start.real) / (end.imag - start.imag))
    return np.where(meets, x, np.inf).min(axis=1), np.where(meets, x, -np.inf).max(axis=1)


def _blades_outline(blades: int, roundness: float) -> _Outline:
    """Return the outline of an iris, one corner to the right."""
    half_chord, apothem = math.sin(math.pi / blades), math.cos(math.pi / blades)
    t = np.linspace(-half_chord, half_chord, _BLADE_POINTS, endpoint=False)
    # An arc of curvature k rises (sqrt(1 - k^2 t^2) - sqrt(1 - k^2 s^2)) / k over its chord; written so that k may be 0
    roots = np.sqrt(1 - (roundness * t) ** 2) + math.sqrt(1 - (roundness * half_chord) ** 2)
    blade = apothem + roundness * (half_chord**2 - t**2) / roots + 1j * t
    middles = math.pi / blades * (2 * np.arange(blades) + 1)
    return np.asarray(np.exp(1j * middles)[:, np.newaxis] * blade).ravel()


def _as_inside(mask: npt.ArrayLike) -> BoolArray:
    try:
        array = np.asarray(mask)
    except ValueError as error:  # ragged nested sequences
        raise TypeError(f"mask must be an array of numbers: {error}") from None
    values = as_plane(array.astype(np.uint8) if array.dtype == np.bool_ else array, "mask")
    if values.shape[0] != values.shape[1] or len(values) < 3:
        raise ValueError(f"mask must be square, (n, n) with n >= 3, got shape {values.shape}")
    if values.max() <= 0:
        raise ValueError(f"mask must hold values > 0 inside the aperture, got at most {values.max():g}")
    inside: BoolArray = values > values.max() / 2
    inside.setflags(write=False)
    return inside


def _mask_outline(inside: BoolArray) -> _Outline:
    """Return the hull of a mask's pixels, shrunk to their area: the corners of their stairs stick out."""
    rows = np.flatnonzero(inside.any(axis=1))
    first, last = inside[rows].argmax(axis=1), len(inside) - 1 - inside[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([first, last]) + 1j * np.concatenate([rows, rows])
    _check_convex(inside, ends)
    hull = _hull(ends, reach=0.5)
    centroid, area = _centroid_and_area(hull)
    shrunk = centroid + (hull - centroid) * math.sqrt(inside.sum() / area)
    return np.asarray((shrunk - (1 + 1j) * (len(inside) - 1) / 2) / (len(inside) / 2))


def _check_convex(inside: BoolArray, ends: _Outline) -> None:
    """Refuse a mask that lacks pixels whose centres lie in the hull of its pixels' centres.

    A convex shape drawn by its pixels' centres lacks none. Nor does one drawn by the area that it covers of each pixel:
    the root of that area is a concave function of the pixel's place (Brunn and Minkowski).
    """
    size = len(inside)
    # A little larger, for the rounding; the next pixel centre is at least 1 / (sqrt(2) n) away from an edge.
    hull = _hull(ends, reach=1 / (8 * size))
    left, right = _polygon_spans(np.arange(ends.imag.min(), ends.imag.max() + 1), hull)
    missing = int((np.floor(right) - np.ceil(left) + 1).sum() - inside.sum())
    if missing > _NOTCHES * inside.sum():
        raise ValueError(
            f"mask must be a convex shape: {missing} pixels between those inside (more than half the maximum, "
            f"{inside.sum()} pixels) are outside"
        )


def _check_turned_mask(outline: _Outline, size: int, cat_eye: float) -> None:
    farthest = max(np.abs(outline.real).max(), np.abs(outline.imag).max())
    if farthest > 1 + math.sqrt(2) / size:  # by more than half the diagonal of a pixel
        raise ValueError("mask must stay in its array when it is turned by rotation; put zeros around it")
    if cat_eye > 0 and _cross(outline).min() <= 0:
        raise ValueError("mask must hold its array's centre where cat_eye is given: it might be cut away altogether")


def _hull(centres: _Outline, reach: float) -> _Outline:
    """Return the convex hull of squares of half width `reach`, in the order of growing angle."""
    from scipy.spatial import ConvexHull

    points = (centres[:, np.newaxis] + reach * np.array([-1 - 1j, -1 + 1j, 1 - 1j, 1 + 1j])).ravel()
    vertices = ConvexHull(np.column_stack([points.real, points.imag])).vertices
    return np.asarray(points[vertices])


def _cross(outline: _Outline) -> _Numbers:
    """Return twice the signed area of the triangles between the origin and each edge."""
    return np.asarray((np.conj(outline) * np.roll(outline, -1)).imag)


def _centroid_and_area(outline: _Outline) -> tuple[complex, float]:
    cross = _cross(outline)
    return complex((cross * (outline + np.roll(outline, -1))).sum() / (3 * cross.sum())), float(cross.sum() / 2)


def _variance(outline: _Outline) -> float:
    """Return the mean of the variances along x and y of a polygon (sums over the triangles from its centroid)."""
    start = outline - _centroid_and_area(outline)[0]
    end, cross = np.roll(start, -1), _cross(start)
    moments = np.abs(start) ** 2 + (np.conj(start) * end).real + np.abs(end) ** 2
    return float((cross * moments).sum() / (12 * (cross.sum() / 2))) / 2
