"""Which parts of a misfocused photo are restored alike: those where the same focused photo is the sharpest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.light import luminance
from fastrefocus.synthesis.comparison import Comparison, Pair
from fastrefocus.synthesis.example import Example
from fastrefocus.synthesis.focus_mask import find_out_of_focus
from fastrefocus.synthesis.registration import Window
from fastrefocus.synthesis.view import View

_EVERYWHERE: Window = (slice(None), slice(None))
_MOST_PIXELS = 1_500_000  # at which a PSF is fitted


class Region(NamedTuple):
    """Pixels of the misfocused photo, (H, W) bool, the PSF that blurs them, and what that leaves unexplained."""

    mask: BoolArray
    psf: FloatArray
    residual: float


def find_regions(
    defocused: FloatArray, examples: Sequence[Example], mask: BoolArray, *, threads: int | None
) -> list[Region]:
    """Divide the mask; `defocused` is (H, W) or (H, W, 3) linear light."""
    sharpest = _sharpest(examples, mask, threads)
    parts = ((example, mask & (sharpest == number)) for number, example in enumerate(examples))
    return [Region(part, *_psf(defocused, example, part)) for example, part in parts if part.any()]


def _sharpest(examples: Sequence[Example], mask: BoolArray, threads: int | None) -> npt.NDArray[np.intp]:
    """Return which example is the sharpest at each pixel of the mask, (H, W); the first where none shows it."""
    best = np.zeros(mask.shape, np.intp)
    if len(examples) == 1:
        return best
    sharp, known = examples[0].shown(_EVERYWHERE, grey=True), examples[0].covered(_EVERYWHERE)
    for number, example in enumerate(examples[1:], 1):
        shown, covered = example.shown(_EVERYWHERE, grey=True), example.covered(_EVERYWHERE)
        better = find_out_of_focus(Pair(sharp, shown, mask & covered), View(), threads) | (covered & ~known)
        best[better] = number
        sharp[better] = shown[better]
        known |= covered
    return best


def _psf(defocused: FloatArray, example: Example, part: BoolArray) -> tuple[FloatArray, float]:
    """Return the PSF of a part of the mask, and the mean absolute difference that it leaves."""
    registration = example.registration
    if np.array_equal(part, registration.mask):
        return registration.psf, registration.residual
    pair = Pair(luminance(defocused)[..., np.newaxis], luminance(example.light)[..., np.newaxis], part)
    scale = pair.scale_for(_MOST_PIXELS)
    view, blur = registration.view.at_scale(scale), registration.blur.at_scale(scale)
    comparison = Comparison(pair.at_scale(scale), view, blur.reach)
    blur = comparison.fit_blur(view, around=blur, shapes=("disk", "gaussian"))
    return blur.at_scale(1 / scale).psf, comparison.explain(view, blur).residual
