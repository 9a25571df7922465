"""Depth maps whose meaning is declared."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray, as_plane, fill_unknown
from fastrefocus.checks import choice

Kind = Literal["relative", "inverse", "metric"]


@dataclass(frozen=True, eq=False)
class DepthMap:
    """How far each pixel is, and in which sense.

    Parameters
    ----------
    values : array_like
        (H, W), real; NaN, or masked in a NumPy masked array, where the depth is unknown. Kept as a read-only float32
        copy with NaN.
    kind : {"relative", "inverse", "metric"}
        "relative": 0 (nearest) to 1 (farthest), with no known relation to metres.
        "inverse": proportional to 1 / z up to an unknown gain (> 0) and shift; larger is nearer.
        "metric": metres, > 0.

    Raises
    ------
    TypeError
        If `values` does not hold real numbers.
    ValueError
        If `kind` is not one of those above, the shape is not (H, W), or a value is infinite or outside the
        kind's range.

    Notes
    -----
    The kind is declared by whoever makes the map and never guessed from its values. Two maps are equal only if
    they are the same object; compare their ``values``.

    Examples
    --------
    >>> depth = DepthMap([[4.0, 2.0], [1.0, float("nan")]], "metric")
    >>> depth.relative().values
    array([[1.        , 0.33333334],
           [0.        ,        nan]], dtype=float32)
    >>> depth.disparity()
    array([[0.25, 0.5 ],
           [1.  ,  nan]], dtype=float32)
    """

    values: FloatArray
    kind: Kind

    def __post_init__(self) -> None:
        choice(self.kind, "kind", get_args(Kind))
        values = np.array(as_depth(self.values, self.kind, "values"))
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    def __reduce__(self) -> "tuple[type[DepthMap], tuple[FloatArray, Kind]]":
        return type(self), (self.values, self.kind)  # so that a copy's values are read-only, too

    def relative(self) -> "DepthMap":
        """Return the depth scaled to 0 (nearest known pixel) .. 1 (farthest), as paper A uses it.

        Metric depth is scaled linearly in metres. Inverse depth, whose gain and shift are unknown, is scaled
        linearly as it is and turned round. The order of the pixels is kept for every kind.

        Returns
        -------
        DepthMap
            Of kind "relative"; NaN stays NaN. Constant depth becomes 0 everywhere.

        Raises
        ------
        ValueError
            If no pixel is known.
        """
        return DepthMap(scale_to_unit(-self.values if self.kind == "inverse" else self.values), "relative")

    def filled(self) -> "DepthMap":
        """Return the depth with every unknown pixel given the value of the nearest known one.

        Returns
        -------
        DepthMap
            Of the same kind, without NaN; itself where nothing is unknown.

        Raises
        ------
        ValueError
            If no pixel is known.
        """
        filled = fill_unknown(self.values, "depth")
        return self if filled is self.values else DepthMap(filled, self.kind)

    def disparity(self) -> FloatArray:
        """Return an array that grows linearly with 1 / z, so that blur can be computed from it; larger is nearer.

        Returns
        -------
        ndarray
            (H, W) float32; NaN stays NaN. Inverse: the values. Metric: 1 / z, in 1/m. Relative: 1 - value;
            relative depth has no known relation to metres, so it is taken as linear in 1 / z.
        """
        if self.kind == "metric":
            return np.float32(1) / self.values
        if self.kind == "relative":
            return np.float32(1) - self.values
        return self.values.copy()


def as_depth(values: npt.ArrayLike, kind: Kind, name: str) -> FloatArray:
    """Check depths and return them as C-contiguous float32.

    Parameters
    ----------
    values : array_like
        (H, W), real; NaN where the depth is unknown.
    kind : {"relative", "inverse", "metric"}
        See `DepthMap`.
    name : str
        The argument's name, for the error message.

    Returns
    -------
    ndarray
        (H, W) float32.

    Raises
    ------
    TypeError, ValueError
        As `DepthMap` does.
    """
    depth = as_plane(values, name, nan_ok=True)
    if kind == "relative":
        rule = "relative depth must be in 0 (nearest) .. 1 (farthest)"
        _check_range(depth, (depth < 0) | (depth > 1), f"{name}: {rule}")
    elif kind == "metric":
        # The smallest normal number: 1 / z is finite above it.
        _check_range(depth, depth < np.finfo(np.float32).tiny, f"{name}: metric depth must be in metres and > 0")
    return depth


def scale_to_unit(values: FloatArray) -> FloatArray:
    """Scale the known values so that their minimum is 0 and their maximum 1.

    Parameters
    ----------
    values : ndarray
        float32 of any shape; NaN where unknown.

    Returns
    -------
    ndarray
        float32, 0..1; NaN stays NaN. Constant values become 0.

    Raises
    ------
    ValueError
        If every value is NaN.
    """
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("depth is unknown (NaN) everywhere, so that it cannot be scaled")
    # float64, because the span of float32 numbers may exceed float32.
    exact = values.astype(np.float64)
    low, high = exact[known].min(), exact[known].max()
    span = high - low if high > low else 1.0
    return np.asarray((exact - low) / span, dtype=np.float32)


def _check_range(values: FloatArray, bad: npt.NDArray[np.bool_], rule: str) -> None:
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{rule}, got {values[where]!s} at index {where}")  # with all of its digits
