"""From a depth network's output to a depth map."""

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.depth_map import DepthMap, scale_to_unit
from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.resampling import resize_map
from fastrefocus.errors import ModelError

#: Less variation, as a part of the largest value, is rounding: the output is constant.
_LEAST_VARIATION = 1e-6


def read_output(
    values: FloatArray, card: ModelCard, size: tuple[int, int], seen_height: int, focal_px: float | None
) -> DepthMap:
    """Turn what a network says about a photo into a depth map of the photo's size.

    Parameters
    ----------
    values : ndarray
        (h, w) float32, without padding.
    card : ModelCard
        What they mean.
    size : (int, int)
        The photo's height and width.
    seen_height : int
        The photo's height in the network's input.
    focal_px : float or None
        The focal length in pixels of the photo, where the card needs it.

    Returns
    -------
    DepthMap

    Raises
    ------
    ModelError
        If the values cannot be what the card says, or are the same everywhere.
    """
    if card.output == "distance":
        if values.min() < np.finfo(np.float32).tiny:  # the reciprocal is finite above it
            raise ModelError(f"the output holds {values.min():g}, but by its card it is a distance, > 0")
        values = np.reciprocal(values)
    elif card.output == "canonical-inverse":
        assert focal_px is not None
        values = _times(values, size[1] / focal_px)
    elif card.kind == "metric":
        values = _times(values, _metres(card, focal_px, seen_height / size[0]))
    if card.range is not None:
        low, high = card.range
        values = np.clip(values, *((1 / high, 1 / low) if card.output == "canonical-inverse" else (low, high)))
    absolute = card.output == "relative" and card.limits is not None  # a constant is an answer on that scale
    least, most = float(values.min()), float(values.max())
    if not absolute and most - least <= _LEAST_VARIATION * max(abs(least), abs(most)):
        raise ModelError(f"the output says the same depth everywhere ({values.flat[0]:g}, by the card {card.name!r})")
    depth = resize_map(values, size)
    if card.output == "canonical-inverse":  # not before: blur, and so depth at outlines, is linear in 1 / z
        depth = np.reciprocal(depth)
    elif card.kind == "relative" and card.limits is None:
        depth = scale_to_unit(depth)
    return DepthMap(depth, card.kind)


def _times(values: FloatArray, factor: float) -> FloatArray:
    """Multiply; what is beyond float32 is clipped with the rest later."""
    with np.errstate(over="ignore"):
        result: FloatArray = values * np.float32(factor)
    return result


def _metres(card: ModelCard, focal_px: float | None, scale: float) -> float:
    """Return the metres in one unit of the output; a photo seen smaller has a smaller focal length in pixels."""
    if card.output != "canonical-metric":
        return card.unit_m
    assert focal_px is not None
    return card.unit_m * focal_px * scale / card.canonical_focal_px
