"""Which parts of a misfocused photo are restored alike: those where the same focused photo is the sharpest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import encode, luminance
from fastrefocus.synthesis.comparison import Comparison, Pair
from fastrefocus.synthesis.example import Example
from fastrefocus.synthesis.focus_mask import find_out_of_focus
from fastrefocus.synthesis.fusion import blur
from fastrefocus.synthesis.view import EVERYWHERE, View, bounding_window

_MOST_PIXELS = 1_500_000  # at which a PSF is fitted
_AROUND = 4.0  # pixels, standard deviation, over which differences are averaged
_IN_FOCUS = 0.7  # of the difference to the blurred photo: what that to the sharp one is at most


class Region(NamedTuple):
    """Pixels of the misfocused photo, (H, W) bool, the PSF that blurs them, and the mean difference that it leaves."""

    mask: BoolArray
    psf: FloatArray
    difference: float


def find_regions(
    defocused: FloatArray,
    examples: Sequence[Example],
    mask: BoolArray | None,
    psf: FloatArray | None,
    *,
    threads: int | None,
) -> list[Region]:
    """Divide the mask, or where some example is sharper; `defocused` is (H, W) or (H, W, 3) linear light.

    With a PSF that is given it is one region.
    """
    wanted = np.logical_or.reduce([example.registration.mask for example in examples]) if mask is None else mask
    if psf is None:
        sharpest = _sharpest(examples, wanted, threads)
        parts = ((example, wanted & (sharpest == number)) for number, example in enumerate(examples))
        regions = [Region(part, *_psf(defocused, example, part)) for example, part in parts if part.any()]
    else:
        regions = [Region(wanted, psf, min(example.registration.difference for example in examples))]
    if mask is None:
        regions = [region._replace(mask=region.mask & ~_in_focus(defocused, examples, region)) for region in regions]
    return [region for region in regions if region.mask.any()]


def _in_focus(defocused: FloatArray, examples: Sequence[Example], region: Region) -> BoolArray:
    """Return where in a region the photo is more like a focused one as that is than like it blurred, (H, W).

    A mask that was found reaches over the borders of what is out of focus.
    """
    from scipy.ndimage import gaussian_filter

    result = np.zeros(region.mask.shape, np.bool_)
    window = bounding_window(region.mask, 2 * max(region.psf.shape))
    photo = encode(luminance(defocused[window]))
    for example in examples:
        shown = example.shown(window, grey=True)
        as_it_is, blurred = (encode(np.maximum(light[..., 0], 0)) for light in (shown, blur(shown, region.psf)))
        differences = (gaussian_filter(np.abs(photo - other), _AROUND) for other in (as_it_is, blurred))
        result[window] |= example.covered(window) & (next(differences) < _IN_FOCUS * next(differences))
    return result


def _sharpest(examples: Sequence[Example], mask: BoolArray, threads: int | None) -> npt.NDArray[np.intp]:
    """Return which example is the sharpest at each pixel of the mask, (H, W); the first where none shows it."""
    best = np.zeros(mask.shape, np.intp)
    if len(examples) == 1:
        return best
    sharp, known = examples[0].shown(EVERYWHERE, grey=True), examples[0].covered(EVERYWHERE)
    for number, example in enumerate(examples[1:], 1):
        shown, covered = example.shown(EVERYWHERE, grey=True), example.covered(EVERYWHERE)
        better = find_out_of_focus(Pair(sharp, shown, mask & covered), View(), threads) | (covered & ~known)
        best[better] = number
        sharp[better] = shown[better]
        known |= covered
    return best


def _psf(defocused: FloatArray, example: Example, part: BoolArray) -> tuple[FloatArray, float]:
    """Return the PSF of a part of the mask, and the mean absolute difference that it leaves."""
    registration = example.registration
    if np.array_equal(part, registration.mask):
        return registration.psf, registration.difference
    pair = Pair(luminance(defocused)[..., np.newaxis], luminance(example.light)[..., np.newaxis], part)
    scale = pair.scale_for(_MOST_PIXELS)
    view, around = registration.view.at_scale(scale), registration.blur.at_scale(scale)
    comparison = Comparison(pair.at_scale(scale), view, around.reach)
    fitted = comparison.fit_blur(view, around=around, shapes=("disk", "gaussian"))
    return fitted.at_scale(1 / scale).psf, comparison.explain(view, fitted).difference
