"""Whose the outlines between the sharp and the blurred parts of a photo are.

An outline belongs to the nearer of two surfaces. Where it is sharp, the nearer one is in focus, and what is blurred
lies behind it; where it is blurred, so is the nearer one (Marshall, Burbeck, Ariely, Rolland and Martin, "Occlusion
edge blur: a cue to relative visual depth", JOSA A 13, 1996; Mather, "Image blur as a pictorial depth cue", Proc. R.
Soc. B 263, 1996).
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from fastrefocus.arrays import FloatArray

#: The photo is looked at in squares, of which the longer side of a large one has this many; pixels on their side.
_LONGEST_SIDE, _LEAST_CELL = 512, 4

#: In parts of a square's side: radius below which a place is sharp, and above which it is blurred.
_SHARP, _BLURRED = 0.35, 0.8

#: Share of the photo that each of the two kinds must have, and the number of places between them.
_LEAST_SHARE, _LEAST_PLACES = 0.01, 20

# In squares.
_REACH = 4.0  # from the middle between sharp and blurred parts, where an outline is looked for
_MIDDLE = 1.1  # a place this much nearer to one of them still counts as the middle
_SCALE = 0.75  # of the Gaussian that gradients are taken behind

#: Change of luminance from square to square that is not noise.
_LEAST_STEP = 0.032


def outline_blur(plane: FloatArray, radius: FloatArray, confidence: FloatArray) -> float | None:
    """Return how blurred the outlines are between sharp and blurred parts.

    Parameters
    ----------
    plane : ndarray
        (H, W) luminance of the photo, encoded.
    radius, confidence : ndarray
        (H, W), as `BlurEstimate` has them.

    Returns
    -------
    float or None
        0 where the outlines are as sharp as the sharp parts, 1 where they are as blurred as the blurred ones; None
        without both kinds of parts, or without outlines between them.
    """
    cell = max(_LEAST_CELL, -(-max(plane.shape) // _LONGEST_SIDE))
    if min(plane.shape) < 2 * cell:
        return None
    grey, octaves, certainty = (_reduced(values, cell) for values in (plane, radius, confidence))
    octaves = np.log2(np.maximum(octaves, np.float32(1e-3)) / np.float32(cell))
    sharp, blurred = octaves < np.log2(_SHARP), octaves > np.log2(_BLURRED)
    if min(sharp.mean(), blurred.mean()) < _LEAST_SHARE:
        return None
    to_sharp, to_blurred = distance_transform_edt(~sharp), distance_transform_edt(~blurred)
    y, x = np.nonzero((np.abs(to_sharp - to_blurred) < _MIDDLE) & (to_sharp < _REACH))
    if y.size < _LEAST_PLACES:
        return None
    across = _gradient(to_sharp - to_blurred)[:, y, x]
    across /= np.maximum(np.hypot(*across), 1e-6)
    way = np.arange(0.5 - _REACH, _REACH)  # from the sharp part to the blurred one
    positions = np.stack([y, x]).astype(np.float64)[..., np.newaxis] + across[..., np.newaxis] * way
    slope = _gradient(grey)
    step = np.abs(sum(_at(part, positions) * along[:, np.newaxis] for part, along in zip(slope, across, strict=True)))
    outline = np.arange(len(step)), step.argmax(axis=1)
    weight = np.where(step[outline] > _LEAST_STEP, step[outline] * _at(certainty, positions)[outline], 0)
    profile = _at(octaves, positions)
    least, largest = profile.min(axis=1), profile.max(axis=1)
    share = (profile[outline] - least) / np.maximum(largest - least, 1e-6)
    return float(weight @ share / weight.sum()) if weight.any() else None


def _reduced(values: FloatArray, cell: int) -> FloatArray:
    """Return the means of squares of `cell` pixels; what is left over at the lower and right border is left out."""
    height, width = (side // cell for side in values.shape)
    squares = values[: height * cell, : width * cell].reshape(height, cell, width, cell)
    reduced: FloatArray = squares.mean(axis=(1, 3), dtype=np.float32)
    return reduced


def _gradient(values: npt.NDArray[np.floating]) -> FloatArray:
    """Return the change down and to the right, (2, H, W)."""
    return np.stack(np.gradient(gaussian_filter(values, _SCALE))).astype(np.float32)


def _at(values: FloatArray, positions: npt.NDArray[np.float64]) -> FloatArray:
    return np.asarray(map_coordinates(values, positions, order=1, mode="nearest"), np.float32)
