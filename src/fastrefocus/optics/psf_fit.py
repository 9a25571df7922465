"""Fit a PSF of any shape to a sharp and a blurred photo of the same scene."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, split_channels
from fastrefocus.light import decode

#: Weight of the PSF's squared differences, as a share of the photo's power: what the photo does not tell is smooth.
_SMOOTHNESS = 1e-3

_FLAT = 1e-9  # a variance of either photo, of values 0..1, that says nothing about a PSF

_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PsfFit:
    """The PSF that best maps a focused photo to a defocused one: defocused = gain (psf * focused) + offset.

    Attributes
    ----------
    psf : ndarray
        float32 (size, size), >= 0, sums to 1; its centroid need not be its centre.
    gain : float
        Ratio of the exposures.
    offset : float
        What is added, in the values compared (linear light unless `linearize` was False); of a colour photo, whose
        channels have an offset each, their mean.
    residual : float
        Root mean square of what the fit leaves, in the same values.
    """

    psf: FloatArray
    gain: float
    offset: float
    residual: float


def fit_psf(focused: npt.ArrayLike, defocused: npt.ArrayLike, *, size: int, linearize: bool = True) -> PsfFit:
    """Fit the PSF that maps a focused photo to a defocused one.

    Non-negative least squares over all pixels that the PSF does not reach from outside, with a little smoothness for
    the frequencies that the photo does not have. The blur should be the same all over: give the part of the photos
    where it is. A shift between the photos goes into the PSF.

    Parameters
    ----------
    focused, defocused : array_like
        (H, W) or (H, W, 3), as `fastrefocus.read_photo` gives them; the same view and shape.
    size : int
        Width and height of the PSF, pixels: odd, smaller than the photos. Some 3000 pixels or more are needed for a
        size of 21. The time grows with the sixth power: a second for 21, a minute for 61.
    linearize : bool
        Compare in linear light (the values are sRGB-encoded); False: the values as they are.

    Returns
    -------
    PsfFit
        The PSF, the gain and offset fitted with it, and the residual.

    Raises
    ------
    TypeError, ValueError
        If the images are not valid, differ in shape or have no texture, or `size` is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from fastrefocus import disk_psf, fit_psf
    >>> focused = np.random.default_rng(0).random((60, 80), np.float32)
    >>> fit = fit_psf(focused, convolve(focused, disk_psf(5)), size=7, linearize=False)
    >>> bool(np.abs(fit.psf[1:6, 1:6] - disk_psf(5)).max() < 0.01)
    True
    """
    sharp = as_image(focused, "focused")
    blurred = as_image(defocused, "defocused", shape=sharp.shape)
    size = checks.integer(size, "size", least=1)
    if size % 2 == 0 or size >= min(sharp.shape[:2]):
        raise ValueError(f"size must be odd and smaller than the photos {sharp.shape[:2]}, got {size}")
    inner = (sharp.shape[0] - size + 1) * (sharp.shape[1] - size + 1)
    if inner < size**2:
        raise ValueError(
            f"size must leave as many pixels that the PSF does not reach from outside as it has itself, got {size} for "
            f"photos of {sharp.shape[:2]}, which leaves {inner} for {size**2}"
        )
    if checks.flag(linearize, "linearize"):
        sharp, blurred = decode(sharp), decode(blurred)
    equations = sum(
        (_Equations.of(f, d, size) for f, d in zip(split_channels(sharp), split_channels(blurred), strict=True)),
        start=_Equations.none(size),
    )
    return equations.solve(size)


@dataclass(frozen=True, eq=False)
class _Equations:
    """Normal equations of |F p - d|^2, means taken out, and what the residual and the offset need."""

    matrix: _Matrix  # F'F
    right_side: npt.NDArray[np.float64]  # F'd
    power: float  # d'd
    count: int
    means: npt.NDArray[np.float64]  # of F's columns, weighted by the count
    mean: float  # of d, weighted by the count

    @staticmethod
    def none(size: int) -> "_Equations":
        return _Equations(np.zeros((size**2, size**2)), np.zeros(size**2), 0.0, 0, np.zeros(size**2), 0.0)

    @staticmethod
    def of(focused: FloatArray, defocused: FloatArray, size: int) -> "_Equations":
        f, h = focused.astype(np.float64), size // 2
        d = defocused[h : len(defocused) - h, h : defocused.shape[1] - h].astype(np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(f, d.shape)[::-1, ::-1]  # f(p - i) for every i
        means = windows.mean(axis=(2, 3)).ravel()
        right_side = np.einsum("ijkl,kl->ij", windows, d).ravel() - d.size * means * d.mean()
        matrix = _gram(f, size) - d.size * np.outer(means, means)
        power = float(np.square(d - d.mean()).sum())
        return _Equations(matrix, right_side, power, d.size, d.size * means, d.size * float(d.mean()))

    def __add__(self, other: "_Equations") -> "_Equations":
        return _Equations(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def solve(self, size: int) -> PsfFit:
        from scipy.linalg import cholesky, solve_triangular
        from scipy.optimize import nnls

        mean_power = np.trace(self.matrix) / size**2
        for name, power in (("focused", mean_power), ("defocused", self.power)):
            if power <= _FLAT * self.count:
                raise ValueError(f"{name} must have some texture to fit a PSF to, got a constant photo")
        triangle = cholesky(self.matrix + _SMOOTHNESS * mean_power * _squared_differences(size), lower=True)
        p, _ = nnls(triangle.T, solve_triangular(triangle, self.right_side, lower=True))
        gain = float(p.sum())
        if gain <= 0:
            raise ValueError("defocused must be a blurred version of focused, but no PSF >= 0 maps one to the other")
        squares = self.power - 2 * p @ self.right_side + p @ self.matrix @ p
        psf = (p / gain).astype(np.float32).reshape(size, size)
        offset = (self.mean - float(self.means @ p)) / self.count
        return PsfFit(psf, gain, offset, float(np.sqrt(max(squares, 0.0) / self.count)))


def _gram(f: _Matrix, size: int) -> _Matrix:
    """Return sum_p f(p - i) f(p - j) for all i and j of the PSF, p being all pixels that it reaches from within.

    For a displacement i - j these are sums over boxes of one product image, and so differences of its running sums.
    """
    height, width = f.shape
    inner = height - size + 1, width - size + 1
    gram = np.empty((size, size, size, size))  # i_y, i_x, j_y, j_x
    for dy in range(size):
        for dx in range(-size + 1, size):
            left, right = max(0, -dx), max(0, dx)
            product = np.zeros((height + 1, width + 1))
            product[1 : height - dy + 1, left + 1 : width - right + 1] = (
                f[: height - dy, left : width - right] * f[dy:, right : width - left]
            )
            sums = product.cumsum(axis=0).cumsum(axis=1)
            boxes = sums[inner[0] :, inner[1] :] - sums[:size, inner[1] :] - sums[inner[0] :, :size]
            boxes = (boxes + sums[:size, :size])[::-1, ::-1]  # of q = p - i; the other is f(q + d), i - d = j
            rows, columns = np.arange(dy, size)[:, np.newaxis], np.arange(right, size - left)
            values = boxes[dy:, right : size - left]
            gram[rows, columns, rows - dy, columns - dx] = values
            gram[rows - dy, columns - dx, rows, columns] = values
    return gram.reshape(size**2, size**2)


def _squared_differences(size: int) -> _Matrix:
    """Return the matrix of the sum of squared differences between neighbours, and from the border to 0 outside."""
    line = 2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1)
    return np.kron(line, np.eye(size)) + np.kron(np.eye(size), line)
