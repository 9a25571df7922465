"""What is wanted in focus: a point, points, a depth, or a band of depths."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus import checks

#: The depth at a point is the median over a square of this share of the picture's longer side.
FOCUS_WINDOW = 0.01

_LARGEST, _LEAST_METRES = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)  # 1 / z must be finite


@dataclass(frozen=True)
class FocusBand:
    """Depths that are all in focus.

    Parameters
    ----------
    nearest, farthest : float
        Its edges, in the unit of the depth map: metres, relative depth from 0 (nearest) to 1 (farthest), or inverse
        depth, in which the nearest is the larger number. In metres either may be infinity.

    Raises
    ------
    TypeError, ValueError
        If one is not a number. Whether they fit the depth map is checked where they are used.

    Examples
    --------
    >>> FocusBand(1.5, 4)
    FocusBand(nearest=1.5, farthest=4)
    """

    nearest: float
    farthest: float

    def __post_init__(self) -> None:
        for name, value in (("nearest", self.nearest), ("farthest", self.farthest)):
            if not is_infinity(value):
                checks.number(value, name)


Focus = tuple[float, float] | float | Sequence[tuple[float, float]] | FocusBand


def checked_focus(focus: Any, kind: str) -> FocusBand | list[tuple[float, float]]:  # noqa: ANN401 - as the caller passed it
    """Check a focus for depth of a kind, which needs no depth map yet.

    Parameters
    ----------
    focus : (float, float), float, sequence of (float, float), or FocusBand
        A point (x, y) as fractions of the picture's width and height, a depth, points, or a band of depths.
    kind : {"relative", "inverse", "metric"}
        The kind of the depth map.

    Returns
    -------
    FocusBand or list of (float, float)
        A band of depths (for a single depth of no width), rounded to float32 as a map's are, so that a pixel with that
        very depth is exactly in focus; or the points.

    Raises
    ------
    TypeError, ValueError
        If the focus is not as above.
    """
    if isinstance(focus, np.ndarray):
        focus = focus.tolist()
    if isinstance(focus, (tuple, list)):
        several = len(focus) > 0 and all(isinstance(point, (tuple, list)) for point in focus)
        return [_checked_point(point) for point in (focus if several else [focus])]
    if not isinstance(focus, FocusBand):
        depth = _checked_depth(focus, "focus", kind)
        return FocusBand(depth, depth)
    nearest = _checked_depth(focus.nearest, "focus.nearest", kind)
    farthest = _checked_depth(focus.farthest, "focus.farthest", kind)
    if (nearest < farthest) if kind == "inverse" else (nearest > farthest):
        raise ValueError(f"focus.nearest must not lie behind focus.farthest in {kind} depth, got {focus}")
    return FocusBand(nearest, farthest)


def at_point(values: npt.NDArray[np.float64], x: float, y: float) -> float:
    """Return the median around a point, fractions of the size: one wrong pixel does not move the focal plane."""
    height, width = values.shape
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    reach = int(FOCUS_WINDOW * max(height, width) / 2)
    window = values[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return float(np.median(window))


def _checked_point(point: Sequence[Any]) -> tuple[float, float]:
    if len(point) != 2:
        raise ValueError(f"focus must be a point (x, y), points, a depth or a FocusBand, got {point!r}")
    for value, name in zip(point, ("focus[0] (x)", "focus[1] (y)"), strict=True):
        if checks.number(value, name, least=0) > 1:
            raise ValueError(f"{name} must be a fraction of the photo, 0 to 1, got {value!r}")
    return float(point[0]), float(point[1])


def _checked_depth(depth: Any, name: str, kind: str) -> float:  # noqa: ANN401
    if kind == "metric" and is_infinity(depth):
        return math.inf
    if kind == "metric":
        value = checks.number(depth, name, above=0)
    else:
        value = checks.number(depth, name, least=0.0 if kind == "relative" else -_LARGEST)
    value = max(value, _LEAST_METRES) if kind == "metric" else value
    if value > (1 if kind == "relative" else _LARGEST):
        rule = "0 (nearest) to 1 (farthest)" if kind == "relative" else f"at most {_LARGEST:g}"
        raise ValueError(f"{name} must be a {kind} depth, {rule}, got {depth!r}")
    return float(np.float32(value))


def is_infinity(value: Any) -> bool:  # noqa: ANN401
    """Say whether a value, whatever it is, is the number +infinity."""
    return isinstance(value, (float, np.floating)) and value == math.inf
