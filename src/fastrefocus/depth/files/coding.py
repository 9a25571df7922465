"""Depth as the samples of a picture: what 0 and the largest sample stand for, and what lies between."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.depth_map import DepthMap, Kind

#: The largest sample of 16 bits.
WHITE = 65535

#: The ratio of the farthest to the nearest metres above which 1 / z is divided evenly, in the place of z, of which each
#: step would be more than 1.5 % of the nearest distance (1000 / 65535).
_LARGEST_RATIO = 1000.0


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What the samples of a picture stand for.

    Parameters
    ----------
    kind : {"relative", "inverse", "metric"}
        See `DepthMap`.
    start, end : float
        The depth of the smallest sample and of the largest, in the kind's unit; either may be the larger one.
    reciprocal : bool
        Whether 1 / depth is linear between them, or depth. For metric depth.
    """

    kind: Kind
    start: float
    end: float
    reciprocal: bool = False

    def is_valid(self) -> bool:
        """Say whether the ends are finite and, for depth in metres, > 0."""
        metric = self.kind == "metric"
        known = self.kind in get_args(Kind) and (metric or self.reciprocal is False)
        return known and all(np.isfinite(end) and (end > 0 or not metric) for end in (self.start, self.end))

    def decode(self, fraction: npt.NDArray[np.float64]) -> FloatArray:
        """Return the depth of samples as fractions, 0..1, of the largest; infinite where float32 cannot hold it."""
        start, end = (1 / self.start, 1 / self.end) if self.reciprocal else (self.start, self.end)
        values = start * (1 - fraction) + end * fraction  # at 1 exactly the end, however far apart they are
        with np.errstate(over="ignore"):
            return np.asarray(1 / values if self.reciprocal else values, np.float32)

    def encode(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Return the samples as fractions, 0..1; the inverse of `decode`."""
        exact = values.astype(np.float64)
        start, end = self.start, self.end
        if self.reciprocal:
            exact, start, end = 1 / exact, 1 / start, 1 / end
        return np.asarray((exact - start) / ((end - start) or 1.0))


def coding_of(depth: DepthMap) -> Coding:
    """Return how to code a map so that 16 bits lose least.

    Relative depth keeps 0 and 1 as the ends; other kinds have the map's own smallest and largest value.

    Raises
    ------
    ValueError
        If no pixel is known.
    """
    known = depth.values[~np.isnan(depth.values)]
    if known.size == 0:
        raise ValueError("the depth is unknown (NaN) everywhere")
    if depth.kind == "relative":
        return Coding(kind="relative", start=0.0, end=1.0)
    low, high = float(known.min()), float(known.max())
    return Coding(
        kind=depth.kind,
        start=low,
        end=high,
        reciprocal=depth.kind == "metric" and high > _LARGEST_RATIO * low,
    )


def fractions(samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return uint8 or uint16 samples as fractions of their type's maximum."""
    return samples / float(np.iinfo(samples.dtype).max)


def reciprocal(distances: FloatArray) -> FloatArray:
    """Return 1 / distance, infinite where float32 cannot hold it."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.reciprocal(distances)
