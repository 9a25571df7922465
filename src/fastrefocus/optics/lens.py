"""The thin lens."""

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray


@dataclass(frozen=True)
class ThinLens:
    """An ideal thin lens, focused at a distance, in front of a sensor.

    A point at depth z is drawn as a disk. With the focal length f, the f-number N, the focus distance z_f and the
    sensor's width w (all in metres) and W pixels across it, its radius in pixels is ::

        r = K (1 / z_f - 1 / z),    K = f^2 z_f W / (2 N (z_f - f) w)

    positive behind the focal plane and negative in front of it.

    Parameters
    ----------
    focal_length_mm : float
        f, millimetres.
    f_number : float
        N.
    focus_distance_m : float
        z_f from the lens, metres; larger than the focal length, or infinity.
    sensor_width_mm : float
        w, millimetres; 36 is full frame.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number in its range.

    Examples
    --------
    >>> lens = ThinLens(50, 1.8, 2.0)
    >>> lens.coc_radius([1.0, 2.0, 8.0], image_width=3000).round(2)
    array([-29.68,   0.  ,  22.26], dtype=float32)
    """

    focal_length_mm: float
    f_number: float
    focus_distance_m: float
    sensor_width_mm: float = 36.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (field.name == "focus_distance_m" and isinstance(value, float) and value == math.inf):
                checks.number(value, field.name, above=0)
        if self.focus_distance_m <= self.focal_length_mm / 1000:
            raise ValueError(
                "focus_distance_m must be larger than the focal length "
                f"({self.focal_length_mm / 1000} m), got {self.focus_distance_m}"
            )

    def coc_radius(self, depth_m: npt.ArrayLike, image_width: int) -> FloatArray:
        """Return the signed radius of the circle of confusion.

        Parameters
        ----------
        depth_m : array_like
            Distance from the lens in metres, > 0, any shape; infinity is allowed, NaN (unknown) stays NaN.
        image_width : int
            Pixels across the sensor's width.

        Returns
        -------
        ndarray
            float32, the shape of `depth_m`, pixels; > 0 behind the focal plane.

        Raises
        ------
        TypeError, ValueError
            If a depth is not a number > 0, or `image_width` is not >= 1.
        """
        depth = np.asarray(depth_m)
        if depth.dtype.kind not in "uif":
            raise TypeError(f"depth_m must hold real numbers, got dtype {depth.dtype}")
        if (depth <= 0).any():
            raise ValueError(f"depth_m must be > 0 (metres), got {np.nanmin(depth)}")
        checks.integer(image_width, "image_width", least=1)
        f, w = self.focal_length_mm / 1000, self.sensor_width_mm / 1000
        magnification = 1 / (1 - f / self.focus_distance_m)  # z_f / (z_f - f), also for z_f = infinity
        k = f**2 * magnification * image_width / (2 * self.f_number * w)
        return np.asarray(k * (1 / self.focus_distance_m - 1 / depth.astype(np.float64)), np.float32)
