"""Where a focused photo is sharper than the photo it is to help."""

import numpy as np
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter, label

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import encode
from fastrefocus.parallel import bands
from fastrefocus.synthesis.comparison import Blur, Comparison, Pair
from fastrefocus.synthesis.view import CoarseMap, View

_MOST_PIXELS = 500_000  # at which sharpness is compared
_SMOOTHING = 3.0  # pixels, standard deviation, of the energy of slopes
_AROUND = ((6.0, 1.0), (25.0, 0.3))  # pixels, standard deviation: surroundings that have a say, and how much
_NOISE = 0.004  # of encoded slopes, after some smoothing
_SHARPER = 1.5  # times as large slopes, in energy
_LEAST_PART, _LEAST_HOLE = 0.003, 0.02  # of the photo: smaller ones are not believed


def find_out_of_focus(pair: Pair, view: View) -> BoolArray:
    """Return where the focused photo, seen from the defocused one, has the steeper slopes, (H, W) bool.

    The photos are grey, (H, W, 1), and the pair's mask says where to look. Places without texture follow their
    surroundings.
    """
    factor = pair.scale_for(_MOST_PIXELS)
    small, view = pair.at_scale(factor), view.at_scale(factor)
    comparison = Comparison(small, view, 2)
    explained = comparison.explain(view, Blur(0.25))
    photos = explained.image()[..., 0], comparison.defocused[..., 0]
    theirs, ours = (_slopes(encode(photo)) for photo in photos)
    weight = np.sqrt(theirs + ours) * explained.pixels
    vote = weight * (np.log((theirs + _NOISE**2) / (ours + _NOISE**2)) - np.log(_SHARPER))
    sharper = sum(share * gaussian_filter(vote, sigma) for sigma, share in _AROUND) > 0
    sharper = binary_closing(binary_opening(sharper, iterations=3), iterations=3)
    sharper = ~_without_small(~_without_small(sharper, _LEAST_PART), _LEAST_HOLE)
    enlarged = CoarseMap(sharper.astype(np.float32), comparison.box[:2], factor)
    height, width = pair.mask.shape
    rows = [enlarged.at((band.start, 0, band.stop - band.start, width)) > 0.5 for band in bands(height)]
    return np.concatenate(rows) & pair.mask


def _without_small(mask: BoolArray, share: float) -> BoolArray:
    """Return the mask without parts of less than that share of the photo."""
    parts, _ = label(mask)
    large = np.bincount(parts.ravel()) >= share * mask.size
    large[0] = False
    kept: BoolArray = large[parts]
    return kept


def _slopes(image: FloatArray) -> FloatArray:
    energy = sum(np.square(slope) for slope in np.gradient(gaussian_filter(image, 0.7)))
    return np.asarray(gaussian_filter(energy, _SMOOTHING))
