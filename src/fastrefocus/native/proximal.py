"""Numba kernels of the prior's half of an ADMM iteration.

Symbols, as in Boyd et al. 2011 with the scaled dual variable u:

=========  ==================================================================================
x          the image, one (H, W) plane for each channel
D          forward differences with periodic borders, down the rows (y) and along the columns (x)
z, u       split variable of D x, and scaled dual variable
v          D x + u, the only state kept: z = shrink(v, t), u = v - z = clip(v, t)
m          weight of each difference in TV, 1 or 0: `rows[0, i] columns[1, j]` of that down from pixel (i, j),
           `rows[1, i] columns[0, j]` of that along
s          what isotropic TV scales v by to make u at each pixel, min(1, t / |m v|)
t          threshold lam / rho
alpha      over-relaxation
=========  ==================================================================================

Keeping v alone (Moreau's decomposition) saves two arrays of the usual four; s spares a root and a division.
The differences of all channels given are shrunk together where TV is isotropic: with one channel that is isotropic TV,
with several vector TV (Blomgren and Chan 1998). Planes lie in stacks (channels, planes, H, W) of which the first plane
of each channel is meant, so that the stack of a joint transform can be given as it is.
The kernels release the GIL and do not start threads. They are compiled at their first call and kept on disk.
"""

import math

import numpy as np
import numpy.typing as npt

from fastrefocus.native.jit import kernel, part

FloatArray = npt.NDArray[np.float32]


@part
def _isotropic_scale(power: FloatArray, t: np.float32, scale: FloatArray) -> None:
    """Write the factors that clip v of the squared length `power` to length t."""
    for j in range(power.size):
        scale[j] = t / math.sqrt(max(power[j], t * t))


@part
def _relax_row(
    x: FloatArray, below: FloatArray, vy: FloatArray, vx: FloatArray, row: FloatArray, columns: FloatArray,
    scale: FloatArray, power: FloatArray, squared: FloatArray, t: np.float32, alpha: np.float32, isotropic: bool,
) -> tuple[np.float32, np.float32]:  # fmt: skip
    """Move v by alpha (D x - z), add |m v|^2 to `power` and |m D x|^2 to `squared`.

    Return the row's anisotropic TV and |D x - z|^2. `x` has one value more, to wrap.
    """
    variation, difference = np.float32(0), np.float32(0)
    for j in range(vy.size):
        my, mx = row[0] * columns[1, j], row[1] * columns[0, j]
        dy, dx = below[j] - x[j], x[j + 1] - x[j]
        py, px = vy[j], vx[j]
        if isotropic:
            uy, ux = py * scale[j] * my, px * scale[j] * mx
        else:
            uy, ux = min(max(py, -t), t) * my, min(max(px, -t), t) * mx
        ry, rx = dy - py + uy, dx - px + ux
        py += alpha * ry
        px += alpha * rx
        vy[j], vx[j] = py, px
        py *= my
        px *= mx
        power[j] += py * py + px * px
        difference += ry * ry + rx * rx
        dy *= my
        dx *= mx
        squared[j] += dy * dy + dx * dx
        variation += abs(dy) + abs(dx)
    return variation, difference


@part
def _split_row(
    vy: FloatArray, vx: FloatArray, row: FloatArray, columns: FloatArray, wy: FloatArray, wx: FloatArray,
    scale: FloatArray, t: np.float32, isotropic: bool,
) -> None:  # fmt: skip
    """Write w = z - u = v - 2 clip(v, t); wx gets one value more in front, to wrap."""
    width = vy.size
    for j in range(width):
        py, px = vy[j], vx[j]
        if isotropic:
            uy, ux = py * scale[j], px * scale[j]
        else:
            uy, ux = min(max(py, -t), t), min(max(px, -t), t)
        my, mx = row[0] * columns[1, j], row[1] * columns[0, j]
        wy[j], wx[j + 1] = py - (my + my) * uy, px - (mx + mx) * ux
    wx[0] = wx[width]


@part
def _divergence_row(above: FloatArray, wy: FloatArray, wx: FloatArray, rho: np.float32, out: FloatArray) -> None:
    """Write a row of rho D' w."""
    for j in range(wy.size):
        out[j] = rho * (above[j] - wy[j] + wx[j] - wx[j + 1])


@part
def _row_sums(squared: FloatArray) -> tuple[np.float32, np.float32]:
    """Return the row's isotropic TV and |D x|^2."""
    variation, gradient = np.float32(0), np.float32(0)
    for j in range(squared.size):
        variation += math.sqrt(squared[j])
        gradient += squared[j]
    return variation, gradient


@part
def _replace_row(x: FloatArray, previous: FloatArray) -> tuple[np.float32, np.float32]:
    """Copy the beginning of x to `previous`; return |x - previous|^2 and |x|^2 there."""
    change, energy = np.float32(0), np.float32(0)
    for j in range(previous.size):
        step = x[j] - previous[j]
        change += step * step
        energy += x[j] * x[j]
        previous[j] = x[j]
    return change, energy


@kernel
def variation_update(
    x: FloatArray, previous: FloatArray, v: FloatArray, scale: FloatArray, out: FloatArray, rows: FloatArray,
    columns: FloatArray, t: np.float32, rho: np.float32, alpha: np.float32, isotropic: bool,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Update z and u (as v) for a new x, and write rho D'(z - u) for the next x-update, in one pass.

    Over-relaxed (Eckstein and Bertsekas 1992): v <- v + alpha (D x - z), which for alpha = 1 is v <- D x + u.

    Parameters
    ----------
    x : ndarray
        float32 (channels, planes, H, W), of which plane 0 is read.
    previous : ndarray
        float32 (channels, h, w), not larger: the x before in the image's part of the canvas; overwritten by x.
    v : ndarray
        float32 (channels, 2, H, W): down, along; changed in place.
    scale : ndarray
        float32 (H, W): s, changed in place; 1 where v is 0. Of no account where TV is anisotropic.
    out : ndarray
        float32 (channels, planes, H, W), of which plane 0 is overwritten.
    rows, columns : ndarray
        float32 (2, H) and (2, W), 1 or 0, which make m: of the differences to the next row or column, of the pixels.
    t, rho, alpha : float32
        Threshold, penalty and over-relaxation.
    isotropic : bool
        Whether all differences at a pixel are shrunk together.

    Returns
    -------
    ndarray
        float64 (5,): TV(x), the sum of (D x - z)^2 with the z that x was made with, the sum of (m D x)^2, and in the
        image's part the sums of (x - previous)^2 and x^2.
    """
    channels, _, height, width = v.shape
    line = np.empty(width + 1, np.float32)
    wx = np.empty(width + 1, np.float32)
    wy = np.empty(width, np.float32)
    above = np.zeros((channels, width), np.float32)
    power = np.empty(width, np.float32)
    squared = np.empty(width, np.float32)
    sums = np.zeros(5)
    for i in range(height):
        power[:] = 0
        squared[:] = 0
        for c in range(channels):
            line[:width] = x[c, 0, i]
            line[width] = x[c, 0, i, 0]
            variation, difference = _relax_row(
                line, x[c, 0, (i + 1) % height], v[c, 0, i], v[c, 1, i], rows[:, i], columns, scale[i], power, squared,
                t, alpha, isotropic,
            )  # fmt: skip
            sums[0] += 0.0 if isotropic else float(variation)
            sums[1] += float(difference)
            if i < previous.shape[1]:
                change, energy = _replace_row(x[c, 0, i], previous[c, i])
                sums[3] += float(change)
                sums[4] += float(energy)
        variation, gradient = _row_sums(squared)
        sums[0] += float(variation) if isotropic else 0.0
        sums[2] += float(gradient)
        _isotropic_scale(power, t, scale[i])
        for c in range(channels):
            _split_row(v[c, 0, i], v[c, 1, i], rows[:, i], columns, wy, wx, scale[i], t, isotropic)
            _divergence_row(above[c], wy, wx, rho, out[c, 0, i])
            above[c] = wy
    for c in range(channels):
        for j in range(width):  # the first row's upper neighbour is the last row
            out[c, 0, 0, j] += rho * above[c, j]
    return sums


@kernel
def halve_dual(
    v: FloatArray, scale: FloatArray, rows: FloatArray, columns: FloatArray, t: np.float32, isotropic: bool
) -> None:
    """Halve u and keep z, as goes with twice the penalty: v <- v - u / 2.

    Parameters
    ----------
    v : ndarray
        float32 (channels, 2, H, W): down, along; changed in place.
    scale : ndarray
        float32 (H, W): s, changed in place.
    rows, columns : ndarray
        float32 (2, H) and (2, W), 1 or 0, which make m: of the differences to the next row or column, of the pixels.
    t : float32
        Threshold of the penalty until now.
    isotropic : bool
        Whether all differences at a pixel are shrunk together.
    """
    channels, _, height, width = v.shape
    half = np.float32(0.5)
    for i in range(height):
        for c in range(channels):
            vy, vx = v[c, 0, i], v[c, 1, i]
            for j in range(width):
                if isotropic:
                    uy, ux = vy[j] * scale[i, j], vx[j] * scale[i, j]
                else:
                    uy, ux = min(max(vy[j], -t), t), min(max(vx[j], -t), t)
                vy[j] -= half * rows[0, i] * columns[1, j] * uy
                vx[j] -= half * rows[1, i] * columns[0, j] * ux
        for j in range(width):  # half of u = s v, of a v that is shorter by as much
            scale[i, j] = half * scale[i, j] / (np.float32(1) - half * scale[i, j])


@kernel
def range_update(
    x: FloatArray, q: FloatArray, out: FloatArray, low: np.float32, high: np.float32, mu: np.float32, alpha: np.float32
) -> None:
    """Update the split s = clip(x, low, high), kept as q = x + dual, and add mu (s - dual) to `out`.

    Parameters
    ----------
    x, out : ndarray
        float32 (channels, planes, H, W), of which plane 0 is meant.
    q : ndarray
        float32 (channels, H, W), changed in place.
    low, high, mu, alpha : float32
        Bounds, penalty and over-relaxation.
    """
    for c in range(q.shape[0]):
        for i in range(q.shape[1]):
            for j in range(q.shape[2]):
                old = q[c, i, j]
                new = old + alpha * (x[c, 0, i, j] - min(max(old, low), high))
                q[c, i, j] = new
                out[c, 0, i, j] += mu * (np.float32(2) * min(max(new, low), high) - new)


@part
def _hyper_laplacian(v: np.float32, k: np.float32) -> np.float32:
    """Return the w that is best for |w|^(2/3) + beta / 2 (w - v)^2, with k = 2 / (3 beta).

    With w = s^3 the derivative is 0 where s^4 - |v| s + k is; from s^3 = |v| Newton's method falls to the largest s.
    """
    length = abs(v)
    s = np.float32(math.pow(length, np.float32(1 / 3)))
    for _ in range(5):
        slope = np.float32(4) * s * s * s - length
        if slope <= 0:
            return np.float32(0)
        s -= (s * s * s * s - length * s + k) / slope
    w = s * s * s
    if not 0 < w <= length or np.float32(3) * k * s * s + (w - length) * (w - length) >= length * length:
        return np.float32(0)  # there is no such zero, or 0 is better
    return w if v > 0 else -w


@kernel
def hyper_laplacian_update(x: FloatArray, out: FloatArray, beta: np.float32, weight: np.float32) -> None:
    """Write weight D'w, w being the best for sum |w|^(2/3) + beta / 2 |w - D x|^2.

    Parameters
    ----------
    x, out : ndarray
        float32 (H, W).
    beta, weight : float32
        Penalty, and factor of the result.
    """
    height, width = x.shape
    k = np.float32(2) / (np.float32(3) * beta)
    wx = np.empty(width + 1, np.float32)
    wy = np.empty(width, np.float32)
    above = np.zeros(width, np.float32)
    for i in range(height):
        below = x[(i + 1) % height]
        for j in range(width):
            wy[j] = _hyper_laplacian(below[j] - x[i, j], k)
            wx[j + 1] = _hyper_laplacian(x[i, (j + 1) % width] - x[i, j], k)
        wx[0] = wx[width]
        _divergence_row(above, wy, wx, weight, out[i])
        above[:] = wy
    for j in range(width):
        out[0, j] += weight * above[j]
