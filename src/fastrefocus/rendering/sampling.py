"""Layers rendered by aperture sampling: slow, and exact but for what the photo does not show.

The lens is divided into points, each of which sees the scene as a pinhole does, with what is near in front of what is
far; their pictures are averaged.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.optics.aperture import SCANLINES, Aperture
from fastrefocus.parallel import Map
from fastrefocus.rendering.layers import Layer

_POINTS = 512
_POINTS_AT_ONCE = 32  # by one thread, which adds up their pictures


def composite(
    layers: Iterable[Layer],
    offset: float,
    canvas: FloatArray,
    margin: int,
    aperture: Aperture,
    map_: Map,
    report: Callable[[float], None],
) -> None:
    """Render layers onto a canvas, as `fastrefocus.rendering.scatter.composite` does; each as large as the photo."""
    from fastrefocus.native.aperture_sampling import draw_layer  # loads Numba

    shape = canvas.shape[0] + 2 * margin, canvas.shape[1] + 2 * margin
    layers = list(layers)
    inside = np.s_[margin : shape[0] - margin, margin : shape[1] - margin]
    total = np.zeros((*canvas.shape[:2], canvas.shape[2] + 1), np.float64)

    def expose(points: FloatArray) -> npt.NDArray[np.float64]:
        nearest, source = np.empty(shape, np.float32), np.empty(shape, np.int32)
        exposure = np.zeros_like(total)
        for u_x, u_y in points.tolist():
            picture = np.zeros((*shape, total.shape[2]), np.float32)
            for layer in layers:
                draw_layer(layer.values, layer.cover, offset, u_x, u_y, nearest, source, picture)
            if aperture.cat_eye > 0:
                picture[inside] *= _passes(aperture, u_x, u_y, *canvas.shape[:2])
            exposure += picture[inside]
        return exposure

    parts = np.split(aperture_points(aperture, _POINTS), _POINTS // _POINTS_AT_ONCE)
    for i, part in enumerate(parts):
        for exposure in map_(expose, np.array_split(part, 4)):
            total += exposure
        report((i + 1) / len(parts))
    np.divide(total[..., :-1], np.maximum(total[..., -1:], np.finfo(np.float32).tiny), out=canvas, casting="same_kind")


def aperture_points(aperture: Aperture, count: int) -> FloatArray:
    """Return points (x, y) spread evenly over the aperture in the picture's centre, (count, 2) float32.

    They are a rank-1 lattice of the unit square, laid on the aperture so that areas are kept.
    """
    left, right = aperture.spans().astype(np.float64).T
    area = np.concatenate([[0], np.cumsum(right - left)])
    line = np.interp((np.arange(count) + 0.5) / count, area / area[-1], np.arange(SCANLINES + 1))
    across = (np.arange(count) * (math.sqrt(5) - 1) / 2) % 1
    row = np.minimum(line.astype(int), SCANLINES - 1)
    x = left[row] + across * (right - left)[row]
    return np.stack([x, line * (2 / SCANLINES) - 1], axis=1).astype(np.float32)


def _passes(aperture: Aperture, u_x: float, u_y: float, height: int, width: int) -> FloatArray:
    """Return 1 where light from a point of the aperture passes the rim that makes cat's eyes, else 0: (H, W, 1)."""
    scale = 2 * aperture.cat_eye / math.hypot(height, width)
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) * scale - u_y
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * scale - u_x
    passes = np.square(y)[:, np.newaxis, np.newaxis] + np.square(x)[:, np.newaxis] <= 1
    return np.asarray(passes, np.float32)
