"""The thin lens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray
from fastrefocus.exif import read_lens

#: What a 35-mm equivalent refers to (CIPA DCG-001).
FILM_DIAGONAL_MM = math.hypot(36, 24)

_CROP_FACTORS = (0.3, 30.0)  # from sheet film to the smallest phones; another one is a mistake


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

    @classmethod
    def from_exif(
        cls,
        block: bytes | None,
        image_shape: Sequence[int],
        *,
        focal_length_mm: float | None = None,
        f_number: float | None = None,
        focus_distance_m: float | None = None,
        sensor_width_mm: float | None = None,
    ) -> "ThinLens":
        """Return the lens that a photo was taken with, as its EXIF has it.

        Parameters
        ----------
        block : bytes or None
            The photo's EXIF block: `fastrefocus.Photo.exif`. None: it has none.
        image_shape : sequence of int
            (H, W) or (H, W, 3): the photo's shape.
        focal_length_mm, f_number, focus_distance_m, sensor_width_mm : float, optional
            Taken in the place of what the EXIF says. Any focus distance will do in a lens for
            `fastrefocus.coc_from_depth`, which focuses it anew.

        Returns
        -------
        ThinLens
            The width of the sensor follows from the focal length, its 35-mm equivalent, which stands for the same
            diagonal angle of view, and the photo's proportions, as if the photo were not cropped.

        Raises
        ------
        TypeError, ValueError
            If a fact is neither in the EXIF nor given, or is not in its range.

        Examples
        --------
        >>> ThinLens.from_exif(None, (400, 600), focal_length_mm=35, f_number=2, focus_distance_m=3, sensor_width_mm=24)
        ThinLens(focal_length_mm=35, f_number=2, focus_distance_m=3, sensor_width_mm=24)
        """
        if not isinstance(block, bytes | None):
            raise TypeError(f"block must be bytes or None, got {type(block).__name__}")
        facts = read_lens(block or b"")
        share = _width_of_diagonal(image_shape)
        focal_length_mm = facts.focal_length_mm if focal_length_mm is None else focal_length_mm
        if sensor_width_mm is None and focal_length_mm is not None and facts.focal_length_35mm is not None:
            crop_factor = facts.focal_length_35mm / checks.number(focal_length_mm, "focal_length_mm", above=0)
            if _CROP_FACTORS[0] <= crop_factor <= _CROP_FACTORS[1]:
                sensor_width_mm = share * FILM_DIAGONAL_MM / crop_factor
        known = {
            "focal_length_mm": focal_length_mm,
            "f_number": facts.f_number if f_number is None else f_number,
            "focus_distance_m": facts.subject_distance_m if focus_distance_m is None else focus_distance_m,
            "sensor_width_mm": sensor_width_mm,
        }
        missing = [name for name, value in known.items() if value is None]
        if missing:
            raise ValueError(f"the photo's EXIF does not give {', '.join(missing)}; give {'=, '.join(missing)}=")
        return cls(**{name: value for name, value in known.items() if value is not None})

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
        gain = self.disparity_gain(image_width)
        return np.asarray(gain * (1 / self.focus_distance_m - 1 / depth.astype(np.float64)), np.float32)

    def disparity_gain(self, image_width: int) -> float:
        """Return K, the change of the radius with 1 / z.

        Parameters
        ----------
        image_width : int
            Pixels across the sensor's width.

        Returns
        -------
        float
            Pixels times metres, > 0.

        Raises
        ------
        TypeError, ValueError
            If `image_width` is not >= 1.
        """
        checks.integer(image_width, "image_width", least=1)
        f, w = self.focal_length_mm / 1000, self.sensor_width_mm / 1000
        magnification = 1 / (1 - f / self.focus_distance_m)  # z_f / (z_f - f), also for z_f = infinity
        return f**2 * magnification * image_width / (2 * self.f_number * w)


def _width_of_diagonal(image_shape: Sequence[int]) -> float:
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) not in (2, 3):
        raise ValueError(f"image_shape must be (H, W) or (H, W, 3), got {image_shape!r}")
    height, width = (checks.integer(size, "image_shape", least=1) for size in image_shape[:2])
    return width / math.hypot(height, width)
