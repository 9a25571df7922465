"""What blurs each pixel of a photo: one PSF, or several with a weight for each at every pixel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.deconvolution.tiles import Tile
from fastrefocus.optics.psf_grid import PsfGrid

_USUAL_LAYERS = 4  # that occur in one tile


class Layers(NamedTuple):
    """The photo is sum_k w_k (c_k * x)."""

    psfs: list[FloatArray]  # (h, w), odd: c_k
    weights: FloatArray  # float32 (K, H, W): w_k, whose sum is 1 at every pixel

    @property
    def psf_shape(self) -> tuple[int, int]:
        """Height and width that hold every PSF."""
        return _largest(self.psfs)


class Blur(Protocol):
    """The blur of a whole photo, of which a tile can be had."""

    @property
    def psf_shape(self) -> tuple[int, int]:
        """Height and width that hold every PSF."""

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the grid of cells that tiles must not cross."""

    @property
    def layers(self) -> int:
        """About how many PSFs occur in a tile."""

    def within(self, tile: Tile) -> Layers:
        """Return the PSFs that occur within a tile's window, and their weights there."""


@dataclass(frozen=True, eq=False)
class UniformBlur:
    """One PSF everywhere."""

    psf: FloatArray

    @property
    def psf_shape(self) -> tuple[int, int]:
        """Height and width of the PSF."""
        return self.psf.shape[0], self.psf.shape[1]

    @property
    def cells(self) -> tuple[int, int]:
        """A single cell."""
        return 1, 1

    @property
    def layers(self) -> int:
        """One PSF."""
        return 1

    def within(self, tile: Tile) -> Layers:
        """Return the PSF with a weight of 1."""
        return Layers([self.psf], np.ones((1, *tile.window.shape), np.float32))


@dataclass(frozen=True, eq=False)
class GridBlur:
    """The PSF of the cell that a tile lies in."""

    grid: PsfGrid
    shape: tuple[int, int]  # of the photo

    @property
    def psf_shape(self) -> tuple[int, int]:
        """Height and width of the PSFs."""
        return self.grid.psfs.shape[2], self.grid.psfs.shape[3]

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.grid.shape

    @property
    def layers(self) -> int:
        """One PSF."""
        return 1

    def within(self, tile: Tile) -> Layers:
        """Return the cell's PSF with a weight of 1."""
        psf = self.grid.at(*cell_of(tile, self.cells, self.shape))
        return Layers([psf], np.ones((1, *tile.window.shape), np.float32))


class LayeredBlur:
    """A radius at every pixel: the PSFs of the two nearest levels, in proportion.

    Parameters
    ----------
    radius : ndarray
        float32 (H, W), finite, >= 0, pixels.
    levels : sequence of float
        Radii, increasing; those of pixels outside count as the first or the last.
    psf_of : callable
        Returns the PSF of a radius in a cell (row, column).
    cells : tuple of int
        Rows and columns of the grid of cells.
    """

    def __init__(
        self,
        radius: FloatArray,
        levels: Sequence[float],
        psf_of: Callable[[float, tuple[int, int]], FloatArray],
        cells: tuple[int, int] = (1, 1),
    ) -> None:
        self._position = np.interp(radius, levels, np.arange(len(levels))).astype(np.float32)
        self._levels = levels
        self.psf_of = psf_of
        self.cells = cells
        self.layers = min(len(levels), _USUAL_LAYERS)
        self.psf_shape = _largest([psf_of(levels[-1], cell) for cell in np.ndindex(cells)])

    def within(self, tile: Tile) -> Layers:
        """Return the PSFs of the levels that occur, and each pixel's share in them."""
        position = self._position[tile.window]
        cell = cell_of(tile, self.cells, self._position.shape)
        psfs, weights = [], []
        for level in range(int(position.min()), int(np.ceil(position.max())) + 1):
            share = np.maximum(0, 1 - np.abs(position - np.float32(level)))
            if share.any():
                psfs.append(self.psf_of(self._levels[level], cell))
                weights.append(share)
        return Layers(psfs, np.stack(weights))

    def interpolate(self, value_of: Callable[[FloatArray], float]) -> FloatArray:
        """Return a map (H, W) of a value of the PSF, that of the grid's middle cell."""
        middle = self.cells[0] // 2, self.cells[1] // 2
        values = [value_of(self.psf_of(level, middle)) for level in self._levels]
        return np.interp(self._position, np.arange(len(values)), values).astype(np.float32)


def cell_of(tile: Tile, cells: tuple[int, int], shape: Sequence[int]) -> tuple[int, int]:
    """Return the row and column of the cell that a tile's core is in."""
    row, column = (
        (core.start + core.stop) * count // (2 * length)
        for core, count, length in zip(tile.core, cells, shape, strict=True)
    )
    return row, column


def _largest(psfs: Sequence[FloatArray]) -> tuple[int, int]:
    heights, widths = zip(*(psf.shape for psf in psfs), strict=True)
    return max(heights), max(widths)
