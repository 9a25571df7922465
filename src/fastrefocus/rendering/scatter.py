"""Layers rendered by scattering every pixel's light over its circle of confusion."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _core
from fastrefocus.optics.aperture import Aperture
from fastrefocus.parallel import Map, bands
from fastrefocus.rendering.layers import Layer

_STEPS = 16  # radii for which kernels are made, for each pixel of radius
_CAT_EYE_STEPS = 4  # there are many more shapes then
_CAT_EYE_CELLS = 9  # along each axis of the photo; the shape is the same throughout a cell


def make_kernels(
    aperture: Aperture, threshold: float, photo_shape: tuple[int, ...], margin: int
) -> _core.ApertureKernels:
    """Return the aperture's kernels for all radii up to a threshold.

    Parameters
    ----------
    aperture : Aperture
        The shape.
    threshold : float
        Pixels; larger circles are scattered in smaller pictures.
    photo_shape : tuple of int
        Height and width first; without the margin.
    margin : int
        Pixels.
    """
    height, width = photo_shape[0] + 2 * margin, photo_shape[1] + 2 * margin
    cells = _cells(aperture)
    middles = (2 * np.arange(cells) + 1) / cells - 1  # -1..1 over the photo with its margin
    places = [complex(x * width, y * height) / math.hypot(*photo_shape[:2]) for y in middles for x in middles]
    places = [place / max(abs(place), 1.0) for place in places]  # in the margin as in the corners
    spans = [aperture.spans((place.real, place.imag)) for place in places]
    turned = [-shape[::-1, ::-1] for shape in spans]  # by 180 degrees
    both = np.stack([shape for pair in zip(spans, turned, strict=True) for shape in pair])
    return _core.ApertureKernels(both, threshold, _STEPS if cells == 1 else _CAT_EYE_STEPS, width)


def composite(
    layers: Iterable[Layer],
    offset: float,
    canvas: FloatArray,
    margin: int,
    aperture: Aperture,
    threshold: float,
    map_: Map,
    report: Callable[[float], None],
) -> None:
    """Render layers onto a canvas.

    Parameters
    ----------
    layers : iterable of Layer
        The farthest first.
    offset : float
        Added to all radii, pixels.
    canvas : ndarray
        (H, W, C) float32, the photo without its margin: linear light is written to it.
    margin : int
        Pixels.
    aperture : Aperture
        The shape of the circles.
    threshold : float
        The largest radius scattered at full size, pixels; twice as large ones at half size, and so on.
    map_ : callable
        See `fastrefocus.parallel.thread_map`.
    report : callable
        Called with the share, 0..1, of the layers that is done.
    """
    height, width = canvas.shape[0] + 2 * margin, canvas.shape[1] + 2 * margin
    kernels = make_kernels(aperture, threshold, canvas.shape, margin)
    for done, layer in enumerate(layers):
        scatter = _core.LayerScatter(
            layer.values, layer.cover, offset, kernels, layer.top, layer.left, height, width, _cells(aperture),
            threshold, aperture.second_moment,
        )  # fmt: skip
        coarse = _coarse_sums(scatter, layer, threshold, map_)
        top, left = max(margin - layer.top, 0), max(margin - layer.left, 0)
        onto = canvas[
            max(layer.top - margin, 0) : max(layer.top + layer.cover.shape[0] - margin, 0),
            max(layer.left - margin, 0) : max(layer.left + layer.cover.shape[1] - margin, 0),
        ]
        if onto.size == 0:  # all of it lies in the margin
            continue

        def put(rows: slice) -> None:
            scatter.composite(coarse, rows.start, rows.stop, onto, top, left)  # noqa: B023 - used at once

        parts = bands(onto.shape[0])
        group = 16  # bands between reports
        for start in range(0, len(parts), group):
            map_(put, parts[start : start + group])
            share = min((start + group) / len(parts), 1.0)
            report((done + share) / (done + 1 + layer.nearer))


def _cells(aperture: Aperture) -> int:
    return 1 if aperture.cat_eye == 0 else _CAT_EYE_CELLS


def _coarse_sums(
    scatter: _core.LayerScatter, layer: Layer, threshold: float, map_: Map
) -> list[tuple[int, FloatArray, FloatArray]]:
    """Scatter the levels above 0 that any radius falls into."""
    ranges = map_(lambda rows: scatter.radii(rows.start, rows.stop), bands(layer.cover.shape[0]))
    least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
    sums = []
    for level in range(max(_level(least, threshold), 1), _level(most, threshold) + 1):
        height, width = (_core.level_size(length, level) for length in layer.cover.shape)
        members = np.empty((height, width, layer.values.shape[2]), np.float32)
        outside = np.empty((height, width), np.float32)

        def spread(rows: slice) -> None:
            scatter.scatter(level, rows.start, rows.stop, members, outside)  # noqa: B023 - used at once

        map_(spread, bands(height))
        sums.append((level, members, outside))
    return sums


def _level(radius: float, threshold: float) -> int:
    return max(math.ceil(math.log2(radius / threshold)), 0) if radius > 0 else 0
