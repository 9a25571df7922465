"""Point spread functions: float32, odd square, centred, summing to 1."""

import math

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray

#: Gaussians are cut at this many standard deviations.
GAUSSIAN_TRUNCATE = 4.0

MAX_RADIUS = 2047  # pixels; a larger PSF is a mistake in the units
LARGEST_SIGMA = MAX_RADIUS / GAUSSIAN_TRUNCATE


def gaussian_psf(sigma: float, *, radius: int | None = None) -> FloatArray:
    """Return a Gaussian, sampled at the pixel centres.

    Parameters
    ----------
    sigma : float
        Standard deviation along each axis, pixels, > 0.
    radius : int, optional
        The array is 2 * radius + 1 wide. Default: 4 sigma, rounded.

    Returns
    -------
    ndarray
        float32 (2 * radius + 1, 2 * radius + 1), sums to 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> gaussian_psf(0.5, radius=1).round(3)
    array([[0.011, 0.084, 0.011],
           [0.084, 0.619, 0.084],
           [0.011, 0.084, 0.011]], dtype=float32)
    """
    sigma = checks.number(sigma, "sigma", above=0, below=LARGEST_SIGMA)
    radius = int(GAUSSIAN_TRUNCATE * sigma + 0.5) if radius is None else checks.integer(radius, "radius", least=0)
    if radius > MAX_RADIUS:
        raise ValueError(f"radius must be <= {MAX_RADIUS}, got {radius}")
    with np.errstate(over="ignore"):  # a sigma next to 0 leaves the centre alone
        profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return _normalised(np.outer(profile, profile))


def disk_psf(diameter: float) -> FloatArray:
    """Return a disk: each pixel holds the exact share of its area that the disk covers.

    Parameters
    ----------
    diameter : float
        Pixels, > 0; need not be an integer. Up to 1 it is a single pixel.

    Returns
    -------
    ndarray
        float32, odd square just large enough, sums to 1.

    Raises
    ------
    TypeError, ValueError
        If `diameter` is not a number > 0.

    Notes
    -----
    The standard deviation of a disk along one axis is a quarter of its diameter.

    Examples
    --------
    >>> disk_psf(2).round(3)
    array([[0.025, 0.145, 0.025],
           [0.145, 0.318, 0.145],
           [0.025, 0.145, 0.025]], dtype=float32)
    """
    radius = _radius(diameter)
    edges = _pixel_edges(radius)
    corner = _disk_area_from_centre(edges[:, np.newaxis], edges[np.newaxis, :], radius)
    areas = np.diff(np.diff(corner, axis=0), axis=1)
    return _normalised(np.maximum(areas, 0))  # rounding leaves some at -1e-15


def polygon_psf(diameter: float, *, blades: int, rotation: float = 0.0) -> FloatArray:
    """Return a regular polygon, the aperture of an iris with straight blades, with exact pixel areas.

    Parameters
    ----------
    diameter : float
        Diameter of the circle through the corners, pixels, > 0.
    blades : int
        Number of corners, at least 3.
    rotation : float
        Radians, counter-clockwise as seen in the picture; at 0 one corner points to the right.

    Returns
    -------
    ndarray
        float32, odd square just large enough for the circle, sums to 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range.

    Examples
    --------
    >>> polygon_psf(9, blades=6).shape
    (9, 9)
    """
    radius = _radius(diameter)
    blades = checks.integer(blades, "blades", least=3)
    rotation = checks.number(rotation, "rotation") % (2 * np.pi)
    angles = rotation + 2 * np.pi * np.arange(blades) / blades
    corners = radius * np.stack([np.cos(angles), -np.sin(angles)], axis=1)  # rows grow downwards
    edges = _pixel_edges(radius)
    normals = np.stack([np.cos(angles + np.pi / blades), -np.sin(angles + np.pi / blades)], axis=1)
    y, x = np.meshgrid(edges[:-1] + 0.5, edges[:-1] + 0.5, indexing="ij")
    beyond = np.stack([x, y], axis=-1) @ normals.T - radius * np.cos(np.pi / blades)  # of each side, by pixel centres
    reach = np.abs(normals).sum(axis=1) / 2  # how far a pixel extends along each normal
    areas = (beyond <= -reach).all(axis=-1).astype(np.float64)
    for row, column in np.argwhere((areas == 0) & (beyond < reach).all(axis=-1)):
        left, top = edges[column], edges[row]
        areas[row, column] = _area(_clip_to_box(corners, left, left + 1, top, top + 1))
    return _normalised(areas)


def psf_of_sigma(sigma: float, shape: str) -> FloatArray:
    """Return the "gaussian" or "disk" PSF whose standard deviation along one axis is `sigma` pixels."""
    return gaussian_psf(sigma) if shape == "gaussian" else disk_psf(4 * sigma)


def _radius(diameter: float) -> float:
    """Check a diameter and halve it; all up to 1 are the same single pixel, whose area must not underflow."""
    return max(checks.number(diameter, "diameter", above=0, below=2 * MAX_RADIUS + 1), 1.0) / 2


def _pixel_edges(radius: float) -> npt.NDArray[np.float64]:
    """Return the borders of the pixels that a centred disk of this radius touches."""
    half = math.ceil(radius - 0.5)
    return np.arange(-half, half + 2, dtype=np.float64) - 0.5


def _normalised(values: npt.NDArray[np.float64]) -> FloatArray:
    psf: FloatArray = (values / values.sum()).astype(np.float32)
    return psf


def _disk_area_from_centre(
    y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """Signed area that the disk shares with the box from its centre to (x, y).

    The integral over 0..|x| of min(|y|, sqrt(r^2 - t^2)) dt, in closed form.
    """
    width, height = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    # r^2 - h^2 as a product, which rounding cannot make negative
    flat = np.minimum(width, np.sqrt((radius - height) * (radius + height)))  # up to here the box ends below the circle

    def under_circle(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 0.5 * (t * np.sqrt((radius - t) * (radius + t)) + radius**2 * np.arcsin(t / radius))

    return np.sign(x) * np.sign(y) * (height * flat + under_circle(width) - under_circle(flat))


def _clip_to_box(
    corners: npt.NDArray[np.float64], left: float, right: float, top: float, bottom: float
) -> npt.NDArray[np.float64]:
    """Clip a convex polygon, (n, 2) of (x, y), to a box (Sutherland and Hodgman 1974)."""
    for axis, bound, sign in ((0, left, 1), (0, right, -1), (1, top, 1), (1, bottom, -1)):
        inside = sign * (corners[:, axis] - bound)
        kept = []
        for i in range(len(corners)):
            before, here = inside[i - 1], inside[i]
            if (before < 0) != (here < 0):
                kept.append(corners[i - 1] + (corners[i] - corners[i - 1]) * before / (before - here))
            if here >= 0:
                kept.append(corners[i])
        corners = np.array(kept).reshape(-1, 2)
    return corners


def _area(corners: npt.NDArray[np.float64]) -> float:
    """Area of a polygon, (n, 2) (the shoelace formula)."""
    following = np.roll(corners, -1, axis=0)
    return abs(float((corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum())) / 2
