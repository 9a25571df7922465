"""Where a focused photo is sharper than the photo it is to help, and how sharp it is."""

import numpy as np
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter, label

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.depth.blur_estimate import estimate_blur
from fastrefocus.light import encode
from fastrefocus.parallel import bands, thread_map
from fastrefocus.synthesis.comparison import Blur, Comparison, Pair
from fastrefocus.synthesis.view import CoarseMap, View, is_inside, reduced

_MOST_PIXELS = 500_000  # at which sharpness is compared
_SMOOTHING = 3.0  # pixels, standard deviation, of the energy of slopes
_AROUND = ((6.0, 1.0), (25.0, 0.3))  # pixels, standard deviation: surroundings that have a say, and how much
_NOISE = 0.004  # of encoded slopes, after some smoothing
_SHARPER = 1.5  # times as large slopes, in energy
_TILES, _TILE_SIDE = 4, 256  # places at which a focused photo's own blur is looked at, pixels
_CONTEXT = 32  # pixels around them
_BAND, _HALO = 32, 4  # rows that are looked at at a time, of the reduced copy, and around them
_LEAST_PART, _LEAST_HOLE = 0.003, 0.02  # of the photo: smaller ones are not believed


def find_out_of_focus(pair: Pair, view: View, threads: int | None) -> BoolArray:
    """Return where the focused photo, seen from the defocused one, has the steeper slopes, (H, W) bool.

    The photos are grey, (H, W, 1), and the pair's mask says where to look. Places without texture follow their
    surroundings.
    """
    factor = pair.scale_for(_MOST_PIXELS)
    small, view = pair.at_scale(factor), view.at_scale(factor)
    comparison = Comparison(small, view, 2)
    explained = comparison.explain(view, Blur(0.25))
    vote = _vote(*(_energy(encode(photo[..., 0])) for photo in (explained.image(), comparison.defocused)))
    if factor > 1:  # little blur is seen in the photos themselves only
        fine = _fine_vote(pair, small.mask, view, float(explained.coefficients[0, 0, 0]), factor, threads)
        vote = np.where(np.abs(fine) > np.abs(vote), fine, vote)
    vote *= explained.pixels
    sharper = sum(share * gaussian_filter(vote, sigma) for sigma, share in _AROUND) > 0
    sharper = binary_closing(binary_opening(sharper, iterations=3), iterations=3)
    sharper = ~_without_small(~_without_small(sharper, _LEAST_PART), _LEAST_HOLE)
    enlarged = CoarseMap(sharper.astype(np.float32), comparison.box[:2], factor)
    height, width = pair.mask.shape
    rows = [enlarged.at((band.start, 0, band.stop - band.start, width)) > 0.5 for band in bands(height)]
    return np.concatenate(rows) & pair.mask


def _vote(theirs: FloatArray, ours: FloatArray) -> FloatArray:
    """Return whether the focused photo is the sharper one, > 0, by the energies of slopes, and how much that counts."""
    theirs, ours = (np.maximum(gaussian_filter(energy, _SMOOTHING), 0) for energy in (theirs, ours))
    ratio = np.log((theirs + _NOISE**2) / (ours + _NOISE**2))
    vote: FloatArray = np.sqrt(theirs + ours) * (ratio - np.float32(np.log(_SHARPER)))
    return vote


def _fine_vote(pair: Pair, mask: BoolArray, view: View, gain: float, factor: int, threads: int | None) -> FloatArray:
    """Return the vote by slopes of the photos as they are, reduced; view and mask are of the reduced copies."""
    ours = _reduced_energy(pair.defocused, 1, factor, threads)
    theirs = _reduced_energy(pair.focused, gain, factor, threads)
    comparison = Comparison(Pair(ours, theirs, mask), view, 2)
    return _vote(comparison.focused(view)[0][..., 0], comparison.defocused[..., 0])


def _reduced_energy(photo: FloatArray, gain: float, factor: int, threads: int | None) -> FloatArray:
    """Return means of the energy of slopes over squares, (h, w, 1)."""
    rows = _BAND * factor
    tops = range(0, len(photo) // factor * factor, rows)

    def energy(top: int) -> FloatArray:
        start = max(top - _HALO, 0)
        part = photo[start : top + rows + _HALO, :, 0]
        inside = _energy(encode(np.maximum(np.float32(gain) * part, 0)))[top - start :][:rows]
        return reduced(inside[..., np.newaxis], factor)

    with thread_map(threads, len(tops)) as map_:
        return np.concatenate(map_(energy, tops))


def _energy(image: FloatArray) -> FloatArray:
    """Return the squared slopes at each pixel."""
    down, right = np.gradient(gaussian_filter(image, 0.7))
    energy: FloatArray = np.square(down) + np.square(right)
    return energy


def own_blur(pair: Pair, view: View, threads: int | None) -> float:
    """Return the median radius of the focused photo's own blur where it is seen from the mask, pixels; NaN: nowhere.

    It is looked at in a few places, evenly chosen: a network needs much memory for a large photo.
    """
    inside = np.flatnonzero(pair.mask)
    middles = inside[(2 * np.arange(_TILES) + 1) * len(inside) // (2 * _TILES)]
    radii = [_blur_around(pair, view, divmod(int(middle), pair.mask.shape[1]), threads) for middle in middles]
    radius, confidence = np.concatenate(radii, axis=1)
    return float(np.median(radius[confidence >= np.median(confidence)])) if len(radius) else float("nan")


def _blur_around(pair: Pair, view: View, middle: tuple[int, int], threads: int | None) -> FloatArray:
    """Return radius and confidence, (2, n), for what is seen from the mask's pixels in a square."""
    top, left = (max(place - _TILE_SIDE // 2, 0) for place in middle)
    square = pair.mask[top : top + _TILE_SIDE, left : left + _TILE_SIDE]
    seen = view.seen_from((top, left, *square.shape))
    places = np.rint(seen[:, square & is_inside(pair.focused.shape, seen)]).astype(np.intp)
    if not places.size:
        return np.empty((2, 0), np.float32)
    (top, left), (bottom, right) = np.maximum(places.min(axis=1) - _CONTEXT, 0), places.max(axis=1) + _CONTEXT
    part = encode(np.ascontiguousarray(pair.focused[top:bottom, left:right]))
    estimate = estimate_blur(part if part.shape[2] == 3 else part[..., 0], threads=threads)
    y, x = places[0] - top, places[1] - left
    return np.stack([estimate.radius[y, x], estimate.confidence[y, x]])


def _without_small(mask: BoolArray, share: float) -> BoolArray:
    """Return the mask without parts of less than that share of the photo."""
    parts, _ = label(mask)
    large = np.bincount(parts.ravel()) >= share * mask.size
    large[0] = False
    kept: BoolArray = large[parts]
    return kept
