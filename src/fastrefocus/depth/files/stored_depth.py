"""What a depth file holds, and what is said about it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.depth.files.coding import fractions
from fastrefocus.errors import DepthFileError

#: Metres of a step of depth in whole numbers, where nothing else is said: millimetres, as RGB-D cameras have it.
_STEP_M = 0.001


@dataclass(frozen=True, eq=False)
class StoredDepth:
    """What a depth file holds.

    Parameters
    ----------
    samples : ndarray
        (H, W): float32 in the unit of `kind`, or uint8, uint16 or float32 as stored.
    kind : {"relative", "inverse", "metric"} or None
        What the file says that they are; None where it says nothing.
    name : str
        The file, for error messages.
    """

    samples: npt.NDArray[Any]
    kind: Kind | None
    name: str

    def as_map(self, kind: Kind | None, unit_m: float | None, zero_unknown: bool) -> DepthMap:
        """Return the depth; see `read_depth`."""
        if self.kind is not None:
            if kind not in (None, self.kind):
                raise DepthFileError(f"{self.name} says that its depth is {self.kind}, and kind is {kind!r}")
            if unit_m is not None or zero_unknown:
                raise DepthFileError(f"{self.name} says itself what its values mean: no unit_m or zero_unknown")
            return self._checked(self.samples, self.kind)
        if kind is None:
            raise DepthFileError(f"{self.name} does not say what its values mean: give its kind")
        if unit_m is not None and kind != "metric":
            raise ValueError(f"unit_m is for kind 'metric', and kind is {kind!r}")
        if self.samples.dtype == np.uint8 and kind == "metric":
            raise DepthFileError(f"{self.name} must have 16 bits to hold metric depth, got 8")
        return self._checked(self._meant(kind, unit_m, zero_unknown), kind)

    def _meant(self, kind: Kind, unit_m: float | None, zero_unknown: bool) -> npt.NDArray[np.float64]:
        """Return the depth, of a kind that the file does not say itself; NaN where unknown."""
        integers = self.samples.dtype.kind == "u"
        with np.errstate(invalid="ignore"):  # signalling NaN
            values = fractions(self.samples) if integers and kind != "metric" else self.samples.astype(np.float64)
        if kind == "metric":
            values *= (_STEP_M if integers else 1.0) if unit_m is None else unit_m
        unknown = np.isposinf(values) if kind == "inverse" else np.zeros(values.shape, np.bool_)
        if zero_unknown or kind == "metric":
            unknown |= values == 0
        return np.where(unknown, np.nan, values)

    def _checked(self, values: npt.NDArray[Any], kind: Kind) -> DepthMap:
        try:
            return DepthMap(values, kind)
        except ValueError as error:
            raise DepthFileError(f"{self.name}: {error}") from None
