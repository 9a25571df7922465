"""Blur that varies over the photo: from a map of its radius to layers, and how far each pixel is to be trusted.

A measured map is right to a pixel or two only, so that it is smoothed. Pixels near a jump of the map mix two surfaces,
and where the map is not known the blur may be any: both count less. docs/restoration.md has what was measured.
"""

from typing import Literal, NamedTuple

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray, fill_unknown
from fastrefocus.deconvolution.blur import LayeredBlur
from fastrefocus.optics.psf import disk_psf, gaussian_psf
from fastrefocus.optics.psf_grid import PsfGrid

Source = Literal["exact", "measured", "estimated"]

#: A map of at most so many different radii is exact: layers with hard borders.
MOST_EXACT_RADII = 16

#: Pixels of a smaller radius are in focus.
SHARP_RADIUS = 1.0

_IMPULSE = np.ones((1, 1), np.float32)

_SMOOTHING = 3.0  # standard deviation of the Gaussian that a measured map is smoothed with, pixels
_LEVEL_STEP = 1.5  # between the radii of neighbouring layers, pixels
_STRAY_PERCENT = 0.2  # of the pixels whose radii count as the smallest or the largest of the others
_JUMP = 1.0  # of the radius between neighbours, pixels: the border of a surface
_TRUST_AT_JUMP = 0.2
_TRUST_UNKNOWN = 0.5


class BlurMap(NamedTuple):
    """A map of the blur's radius, made ready for deconvolution."""

    radius: FloatArray  # (H, W), pixels, known everywhere
    levels: list[float]  # radii of the layers, increasing
    known: BoolArray  # (H, W): where the radius was given
    trust: FloatArray | None  # (H, W), 0..1: how far the map explains each pixel; None: 1
    source: Source


def given_map(radius: FloatArray, *, may_be_exact: bool) -> BlurMap:
    """Make a map from a caller ready: (H, W) with NaN where it is not known.

    One of few radii is taken as exact where it may be, which needs a PSF that is known too: weights of the prior that
    follow the noise ruin a photo whose PSF is only about right.
    """
    known = np.isfinite(radius)
    filled = fill_unknown(radius, "blur_radius")
    trust = np.where(known, np.float32(1), np.float32(_TRUST_UNKNOWN))
    distinct = np.unique(radius[known])
    if may_be_exact and len(distinct) <= MOST_EXACT_RADII:
        return BlurMap(filled, distinct.tolist(), known, trust, "exact")
    return _smoothed(filled, known, trust * _trust_near_jumps(filled), "measured")


def estimated_map(radius: FloatArray) -> BlurMap:
    """Make a map that was estimated from the photo ready; its jumps are not where the surfaces end."""
    return _smoothed(radius, np.ones(radius.shape, bool), None, "estimated")


def _smoothed(radius: FloatArray, known: BoolArray, trust: FloatArray | None, source: Source) -> BlurMap:
    from scipy.ndimage import gaussian_filter

    smooth: FloatArray = gaussian_filter(radius, _SMOOTHING, mode="nearest")
    low, high = np.percentile(smooth, (_STRAY_PERCENT, 100 - _STRAY_PERCENT)).tolist()
    levels = np.linspace(low, high, int(np.ceil((high - low) / _LEVEL_STEP)) + 1).tolist()
    return BlurMap(smooth, levels, known, trust, source)


def layered_blur(blur_map: BlurMap, shape: "str | PsfGrid", *, protect_sharp: bool) -> LayeredBlur:
    """Return the blur of a map: disks, Gaussians of half the radius, or a grid's PSFs scaled to the radius.

    With `protect_sharp` the PSF of what is in focus is the single pixel.
    """

    def psf_of(radius: float, cell: tuple[int, int]) -> FloatArray:
        if radius == 0 or (protect_sharp and radius < SHARP_RADIUS):
            return _IMPULSE
        if isinstance(shape, PsfGrid):
            return shape.at(*cell, radius=radius)
        return disk_psf(2 * radius) if shape == "disk" else gaussian_psf(radius / 2)

    cells = shape.shape if isinstance(shape, PsfGrid) else (1, 1)
    return LayeredBlur(blur_map.radius, blur_map.levels, psf_of, cells)


def _trust_near_jumps(radius: FloatArray) -> FloatArray:
    """Return weights that fall towards the jumps of a map, over as many pixels as its radius."""
    from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

    jumps = maximum_filter(radius, 3) - minimum_filter(radius, 3) > _JUMP
    if not jumps.any():
        return np.ones_like(radius)
    nearness = distance_transform_edt(~jumps) / np.maximum(radius, 1)
    trust: FloatArray = np.clip(_TRUST_AT_JUMP + (1 - _TRUST_AT_JUMP) * nearness, 0, 1).astype(np.float32)
    return trust
