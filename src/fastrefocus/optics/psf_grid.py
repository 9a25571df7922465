"""PSFs measured at a grid of places in the picture: of a lens whose blur varies over it."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, as_psf, as_real
from fastrefocus.optics.psf import MAX_RADIUS
from fastrefocus.optics.psf_fit import fit_psf

_LEAST_RADIUS = 0.01  # pixels
_LEAST_SCALE = 1e-6  # what is scaled to less is a single pixel in float32


@dataclass(frozen=True, eq=False)
class PsfGrid:
    """The PSF of each cell of an even grid over the picture.

    Attributes
    ----------
    psfs : array_like
        (rows, columns, h, w), the cells from top left to bottom right; h and w odd. Each should sum to 1. PSFs may be
        off-centre and asymmetric.
    radius : float, optional
        The radius of the blur that they were measured at, at least 0.01 pixels; other radii have the same shape,
        scaled. None: they hold as they are.

    Raises
    ------
    TypeError, ValueError
        If `psfs` is not a grid of PSFs or `radius` is too small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrefocus import PsfGrid, disk_psf
    >>> grid = PsfGrid(np.tile(disk_psf(9), (2, 3, 1, 1)), radius=4.5)
    >>> grid.shape, grid.at(1, 2, radius=9).shape
    ((2, 3), (19, 19))
    """

    psfs: FloatArray
    radius: float | None = None

    def __post_init__(self) -> None:
        array = as_real(self.psfs, "psfs")
        if array.ndim != 4 or 0 in array.shape:
            raise ValueError(f"psfs must have shape (rows, columns, h, w), got {array.shape}")
        cells = [[as_psf(psf, None, f"psfs[{i}, {j}]") for j, psf in enumerate(row)] for i, row in enumerate(array)]
        object.__setattr__(self, "psfs", np.array(cells))
        self.psfs.flags.writeable = False
        if self.radius is not None:
            object.__setattr__(self, "radius", checks.number(self.radius, "radius", least=_LEAST_RADIUS))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.psfs.shape[0], self.psfs.shape[1]

    def at(self, row: int, column: int, *, radius: float | None = None) -> FloatArray:
        """Return the PSF of a cell, scaled to another radius of the blur.

        Parameters
        ----------
        row, column : int
            The cell.
        radius : float, optional
            Pixels, > 0; the PSF may become 2047 pixels wide to either side. None: as it was measured.

        Returns
        -------
        ndarray
            float32, odd height and width; what a scaled pixel of the PSF covers of a pixel it gives its share to.

        Raises
        ------
        TypeError, ValueError
            If there is no such cell, or the grid has no radius to scale from.
        """
        for index, name, count in zip((row, column), ("row", "column"), self.shape, strict=True):
            if checks.integer(index, name, least=0) >= count:
                raise ValueError(f"{name} must be < {count}, got {index}")
        psf: FloatArray = self.psfs[row, column]
        if radius is None:
            return psf
        if self.radius is None:
            raise ValueError("this PsfGrid has no radius, so that its PSFs cannot be scaled; give it one")
        scale = max(checks.number(radius, "radius", above=0) / self.radius, _LEAST_SCALE)
        if scale * max(psf.shape) > 2 * MAX_RADIUS:
            raise ValueError(
                f"radius must be at most {2 * MAX_RADIUS / max(psf.shape) * self.radius:g} for PSFs of {psf.shape} "
                f"measured at {self.radius:g}, got {radius!r}"
            )
        rows, columns = (_shares(n, scale) for n in psf.shape)
        scaled: FloatArray = (rows @ psf @ columns.T).astype(np.float32)
        return scaled


def fit_psf_grid(
    focused: npt.ArrayLike,
    defocused: npt.ArrayLike,
    *,
    shape: tuple[int, int],
    size: int,
    radius: float | None = None,
    linearize: bool = True,
) -> PsfGrid:
    """Fit the PSF of each cell of a grid to a sharp and a blurred photo of the same scene.

    Parameters
    ----------
    focused, defocused : array_like
        (H, W) or (H, W, 3), as `fastrefocus.read_photo` gives them; the same view and shape, for example of a flat
        target full of detail.
    shape : tuple of int
        (rows, columns) of the grid.
    size : int
        Width and height of the PSFs, pixels: odd, smaller than a cell.
    radius : float, optional
        The radius of the blur, where it is the same all over, for `PsfGrid.radius`.
    linearize : bool
        Compare in linear light; False: the values as they are.

    Returns
    -------
    PsfGrid
        The PSFs.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or a cell has no texture.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from fastrefocus import disk_psf, fit_psf_grid
    >>> focused = np.random.default_rng(0).random((80, 120), np.float32)
    >>> blurred = convolve(focused, disk_psf(5))
    >>> fit_psf_grid(focused, blurred, shape=(2, 3), size=7, linearize=False).psfs.shape
    (2, 3, 7, 7)
    """
    sharp = as_image(focused, "focused")
    blurred = as_image(defocused, "defocused", shape=sharp.shape)
    if np.shape(shape) != (2,):
        raise ValueError(f"shape must be (rows, columns), got {shape!r}")
    counts = [checks.integer(n, f"shape[{i}]", least=1) for i, n in enumerate(shape)]
    cell = sharp.shape[0] // counts[0], sharp.shape[1] // counts[1]
    if checks.integer(size, "size", least=1) >= min(cell):
        raise ValueError(f"size must be smaller than the grid's cells {cell}, got {size}")
    rows, columns = (np.arange(n + 1) * length // n for length, n in zip(sharp.shape, counts, strict=False))
    psfs = [
        [
            fit_psf(sharp[top:bottom, left:right], blurred[top:bottom, left:right], size=size, linearize=linearize).psf
            for left, right in itertools.pairwise(columns)
        ]
        for top, bottom in itertools.pairwise(rows)
    ]
    return PsfGrid(np.array(psfs), radius)


def _shares(length: int, scale: float) -> npt.NDArray[np.float64]:
    """Return what share of each of `length` pixels falls on each of the pixels after scaling about the middle one."""
    count = 2 * int(np.ceil(length * scale / 2 - 0.5)) + 1
    edges = (np.arange(length + 1) - length / 2) * scale
    pixels = np.arange(count + 1) - count / 2
    low = np.maximum(edges[np.newaxis, :-1], pixels[:-1, np.newaxis])
    high = np.minimum(edges[np.newaxis, 1:], pixels[1:, np.newaxis])
    shares: npt.NDArray[np.float64] = np.maximum(high - low, 0) / scale
    return shares
