"""Numba kernels of one ADMM iteration for total-variation deconvolution.

Symbols, as in Boyd et al. 2011 with the scaled dual variable u:

=========  ==================================================================================
x          the image, (H, W)
D          forward differences with periodic borders, down the rows (y) and along the columns (x)
z, u       split variable of D x, and scaled dual variable
v          D x + u, the only state kept: z = shrink(v, t), u = v - z = clip(v, t)
t          threshold lam / rho
alpha      over-relaxation
c, b       PSF and observed image; upper case: their spectra
=========  ==================================================================================

Keeping v alone (Moreau's decomposition) saves two arrays of the usual four, and makes a change of rho or lam exact.
The kernels release the GIL and do not start threads. They are compiled at their first call and kept on disk.
"""

import math

import numpy as np
import numpy.typing as npt

from fastrefocus.native.jit import kernel

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]


@kernel
def _relax_row(
    x: FloatArray, below: FloatArray, vy: FloatArray, vx: FloatArray, t: np.float32, alpha: np.float32, isotropic: bool
) -> tuple[np.float32, np.float32, np.float32]:
    """Move v by alpha (D x - z); return the row's TV(x) and sums of (D x - z)^2 and (D x)^2; x has one value more."""
    variation, difference, gradient = np.float32(0), np.float32(0), np.float32(0)
    for j in range(vy.size):
        dy, dx = below[j] - x[j], x[j + 1] - x[j]
        py, px = vy[j], vx[j]
        squared = dy * dy + dx * dx
        if isotropic:
            variation += math.sqrt(squared)
            scale = t / math.sqrt(max(py * py + px * px, t * t))
            uy, ux = py * scale, px * scale
        else:
            variation += abs(dy) + abs(dx)
            uy, ux = min(max(py, -t), t), min(max(px, -t), t)
        ry, rx = dy - py + uy, dx - px + ux
        vy[j] = py + alpha * ry
        vx[j] = px + alpha * rx
        difference += ry * ry + rx * rx
        gradient += squared
    return variation, difference, gradient


@kernel
def _split_row(vy: FloatArray, vx: FloatArray, wy: FloatArray, wx: FloatArray, t: np.float32, isotropic: bool) -> None:
    """Write w = z - u = v - 2 clip(v, t); wx gets one value more in front, to wrap."""
    width = vy.size
    for j in range(width):
        py, px = vy[j], vx[j]
        if isotropic:
            scale = np.float32(1) - (t + t) / math.sqrt(max(py * py + px * px, t * t))
            wy[j], wx[j + 1] = py * scale, px * scale
        else:
            uy, ux = min(max(py, -t), t), min(max(px, -t), t)
            wy[j], wx[j + 1] = py - uy - uy, px - ux - ux
    wx[0] = wx[width]


@kernel
def _divergence_row(above: FloatArray, wy: FloatArray, wx: FloatArray, out: FloatArray) -> None:
    """Write a row of D' w."""
    for j in range(wy.size):
        out[j] = above[j] - wy[j] + wx[j] - wx[j + 1]


@kernel
def dual_update(
    x: FloatArray, vy: FloatArray, vx: FloatArray, out: FloatArray, t: np.float32, alpha: np.float32, isotropic: bool
) -> tuple[float, float, float]:
    """Update z and u (as v) for a new x, and write D'(z - u) for the next x-update, in one pass.

    Over-relaxed (Eckstein and Bertsekas 1992): v <- v + alpha (D x - z), which for alpha = 1 is v <- D x + u.

    Parameters
    ----------
    x : ndarray
        float32 (H, W).
    vy, vx : ndarray
        float32 (H, W), changed in place.
    out : ndarray
        float32 (H, W), overwritten.
    t, alpha : float32
        Threshold and over-relaxation.
    isotropic : bool
        Whether the two differences at a pixel are shrunk together.

    Returns
    -------
    tuple of float
        TV(x), the sum of (D x - z)^2 with the z that x was made with, and the sum of (D x)^2.
    """
    height, width = x.shape
    row = np.empty(width + 1, np.float32)
    wx = np.empty(width + 1, np.float32)
    wy = np.empty(width, np.float32)
    above = np.zeros(width, np.float32)
    variation, difference, gradient = 0.0, 0.0, 0.0
    for i in range(height):
        row[:width] = x[i]
        row[width] = x[i, 0]
        sums = _relax_row(row, x[(i + 1) % height], vy[i], vx[i], t, alpha, isotropic)
        variation += float(sums[0])
        difference += float(sums[1])
        gradient += float(sums[2])
        _split_row(vy[i], vx[i], wy, wx, t, isotropic)
        _divergence_row(above, wy, wx, out[i])
        above, wy = wy, above
    for j in range(width):  # the first row's upper neighbour is the last row
        out[0, j] += above[j]
    return variation, difference, gradient


@kernel
def x_update(
    block: ComplexArray,
    otf: ComplexArray,
    observed: ComplexArray,
    ly: FloatArray,
    lx: FloatArray,
    rho: np.float32,
    scale: np.float32,
) -> npt.NDArray[np.float64]:
    """Solve (|C|^2 + rho |D|^2) X = conj(C) B + rho F{D'(z - u)} on a block of the spectrum.

    Parameters
    ----------
    block : ndarray
        complex64 (columns, H): F{D'(z - u)}; overwritten by `scale` X.
    otf, observed : ndarray
        complex64 (columns, H): C and B.
    ly, lx : ndarray
        float32 (H,) and (columns,): |D|^2 = ly + lx.
    rho, scale : float32
        Penalty, and the factor of the inverse transform.

    Returns
    -------
    ndarray
        float64 (columns,): the sum of |C X - B|^2 down each column.
    """
    errors = np.empty(block.shape[0])
    for k in range(block.shape[0]):
        error = np.float32(0)
        for i in range(block.shape[1]):
            c, b, r = otf[k, i], observed[k, i], block[k, i]
            inverse = np.float32(1) / (c.real * c.real + c.imag * c.imag + rho * (ly[i] + lx[k]))
            real = (c.real * b.real + c.imag * b.imag + rho * r.real) * inverse
            imag = (c.real * b.imag - c.imag * b.real + rho * r.imag) * inverse
            miss_real = c.real * real - c.imag * imag - b.real
            miss_imag = c.real * imag + c.imag * real - b.imag
            error += miss_real * miss_real + miss_imag * miss_imag
            block[k, i] = complex(scale * real, scale * imag)
        errors[k] = error
    return errors
