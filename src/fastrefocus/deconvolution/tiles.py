"""Large photos in tiles: windows that overlap by so much that what lies outside a window makes no difference inside."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.deconvolution.result import DeconvolutionResult

#: Photos up to this size are one tile, and windows of one image and one blurred version of it are as wide, pixels.
WINDOW_SIDE = 1024

#: How far around a core its window goes, in half widths of the PSF and in pixels.
_MARGIN_PSF_RADII, _MARGIN = 3, 32

#: Over so many pixels on either side of a core's border one tile fades into the next.
_FADE = 12

_NO_IMAGE = np.empty((0, 0), np.float32)


class Window(NamedTuple):
    """A rectangle of a photo."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


class Tile(NamedTuple):
    """A part of a photo, with as much around it as has an influence on it."""

    window: Window  # what is deconvolved
    core: Window  # the tile's own part, in the photo's pixels


def tiles(
    shape: tuple[int, int], psf_shape: tuple[int, int], *, side: int, cells: tuple[int, int] = (1, 1)
) -> list[Tile]:
    """Divide a photo into the cells of a grid, and these into tiles whose windows are at most `side` wide.

    A PSF that is too large for that gets larger windows. A photo that needs no division is one tile.
    """
    rows, columns = (
        [
            part
            for start, stop in _parts(0, length, count)
            for part in _divide(start, stop, length, _MARGIN + _MARGIN_PSF_RADII * (psf // 2), side)
        ]
        for length, psf, count in zip(shape, psf_shape, cells, strict=True)
    )
    return [
        Tile(Window(row, column), Window(core_row, core_column))
        for (row, core_row), (column, core_column) in itertools.product(rows, columns)
    ]


def _divide(start: int, stop: int, length: int, margin: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Yield windows and cores of a part of one axis, cores of nearly equal lengths."""
    before, after = min(margin, start), min(margin, length - stop)
    count = 1
    if stop - start + before + after > side:
        count = -(-(stop - start) // max(side - 2 * margin, margin))
    for first, last in _parts(start, stop, count):
        yield slice(max(first - margin, 0), min(last + margin, length)), slice(first, last)


def _parts(start: int, stop: int, count: int) -> list[tuple[int, int]]:
    """Divide a range into parts of nearly equal lengths."""
    cuts = [start + (stop - start) * i // count for i in range(count + 1)]
    return list(itertools.pairwise(cuts))


class Mosaic:
    """Results of tiles, put together to that of the whole; across the borders of the cores one fades into the next.

    The objective is the sum over the windows, so that what they share counts more than once.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._image = np.zeros(shape, np.float32)
        self._residual = np.zeros(shape, np.float32)
        self._results: list[DeconvolutionResult] = []

    def add(self, tile: Tile, result: DeconvolutionResult) -> None:
        """Take a tile's part, and its histories."""
        ramps = [
            _ramp(window, core, length)
            for window, core, length in zip(tile.window, tile.core, self._image.shape, strict=False)
        ]
        weight = np.outer(*ramps)
        if self._image.ndim == 3:
            weight = weight[..., np.newaxis]
        assert result.reblur_residual is not None
        self._image[tile.window] += weight * result.image
        self._residual[tile.window] += weight * result.reblur_residual
        self._results.append(replace(result, image=_NO_IMAGE, reblur_residual=None))

    def result(self) -> DeconvolutionResult:
        """Return the whole."""
        return combined([replace(r, image=self._image, reblur_residual=self._residual) for r in self._results])


def combined(results: list[DeconvolutionResult]) -> DeconvolutionResult:
    """Return the result of all parts, whose image is the first's, with histories of all.

    The objective is the sum, the others are those of the slowest part at each iteration.
    """
    if len(results) == 1:
        return results[0]
    return replace(
        results[0],
        num_iter=max(result.num_iter for result in results),
        objective=_stack([result.objective for result in results]).sum(axis=0),
        residual=_stack([result.residual for result in results]).max(axis=0),
        change=_stack([result.change for result in results]).max(axis=0),
        psnr=None,
    )


def _ramp(window: slice, core: slice, length: int) -> FloatArray:
    """Return a window's weights along one axis: 1 in the core, falling to 0 across borders that are not the photo's.

    The ramps of neighbouring tiles add up to 1.
    """
    position = np.arange(window.start, window.stop, dtype=np.float32) + np.float32(0.5)
    half = np.float32(2 * _FADE)
    rising = (position - core.start) / half + np.float32(0.5) if core.start > 0 else np.ones_like(position)
    falling = (core.stop - position) / half + np.float32(0.5) if core.stop < length else np.ones_like(position)
    return np.clip(rising, 0, 1) + np.clip(falling, 0, 1) - np.float32(1)


def _stack(histories: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Stack histories, each of which keeps its last value to the end of the longest."""
    length = max(len(history) for history in histories)
    if length == 0:
        return np.empty((len(histories), 0))
    return np.stack([np.pad(history, (0, length - len(history)), mode="edge") for history in histories])
