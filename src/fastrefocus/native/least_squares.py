"""Numba kernels of the data term's half of an ADMM iteration: least squares with known PSFs.

=========  ==================================================================================
x          the image
c, b       PSF and observed image; upper case: their spectra
K, w       several PSFs c_k, with a weight w_k(p) at every pixel p: b = sum over k of w_k (c_k * x)
y, d       split variables of c_k * x, and their scaled dual variables
q          y + d before the proximal step, the only state kept: y = q - w (sum w q - b) / (mu + sum w^2), d = q - y
r          what the prior adds to the right side of the normal equations, in the image domain
l          the prior's and other quadratic terms on the left side, a factor for every frequency
mu, alpha  penalty of the splits, and over-relaxation
=========  ==================================================================================

Where every weight is 0 the pixel is not observed. Where b is clipped, the photo says only that the sum is not less, and
what it is more does not count. A stack (channels, 1 + K, H, W) holds for each channel x and all c_k * x, or r and all
2 y_k - q_k; a block of its spectrum is (channels, 1 + K, columns, H).
"""

import numpy as np
import numpy.typing as npt

from fastrefocus.native.jit import kernel, part

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]


@kernel
def circular_update(
    block: ComplexArray, otf: ComplexArray, observed: ComplexArray, quadratic: FloatArray, scale: np.float32
) -> npt.NDArray[np.float64]:
    r"""Solve (\|C\|^2 + l) X = conj(C) B + R on a block of the spectrum: one PSF, periodic borders.

    Parameters
    ----------
    block : ndarray
        complex64 (channels, 1, columns, H): R; overwritten by `scale` X.
    otf, quadratic : ndarray
        complex64 and float32 (columns, H): C and l.
    observed : ndarray
        complex64 (channels, columns, H): B.
    scale : float32
        Factor of the inverse transform.

    Returns
    -------
    ndarray
        float64 (columns,): the sum of \|C X - B\|^2 down each column, over the channels.
    """
    errors = np.zeros(block.shape[2])
    for a in range(block.shape[0]):
        for k in range(block.shape[2]):
            error = np.float32(0)
            for i in range(block.shape[3]):
                c, b, r = otf[k, i], observed[a, k, i], block[a, 0, k, i]
                inverse = np.float32(1) / (c.real * c.real + c.imag * c.imag + quadratic[k, i])
                real = (c.real * b.real + c.imag * b.imag + r.real) * inverse
                imag = (c.real * b.imag - c.imag * b.real + r.imag) * inverse
                miss_real = c.real * real - c.imag * imag - b.real
                miss_imag = c.real * imag + c.imag * real - b.imag
                error += miss_real * miss_real + miss_imag * miss_imag
                block[a, 0, k, i] = complex(scale * real, scale * imag)
            errors[k] += error
    return errors


@part
def _add_correlated(total: ComplexArray, otf: ComplexArray, data: ComplexArray, mu: np.float32) -> None:
    """Add mu conj(C) Y down a column."""
    for i in range(total.size):
        c, y, t = otf[i], data[i], total[i]
        total[i] = complex(
            t.real + mu * (c.real * y.real + c.imag * y.imag), t.imag + mu * (c.real * y.imag - c.imag * y.real)
        )


@part
def _convolve(x: ComplexArray, otf: ComplexArray, out: ComplexArray) -> None:
    """Write C X down a column."""
    for i in range(x.size):
        c, s = otf[i], x[i]
        out[i] = complex(c.real * s.real - c.imag * s.imag, c.real * s.imag + c.imag * s.real)


@part
def _weigh(x: ComplexArray, factor: FloatArray, scale: np.float32) -> None:
    for i in range(x.size):
        f = scale * factor[i]
        x[i] = complex(x[i].real * f, x[i].imag * f)


@kernel
def joint_update(
    block: ComplexArray, otfs: ComplexArray, inverse: FloatArray, mu: np.float32, scale: np.float32
) -> None:
    r"""Solve (mu sum \|C_k\|^2 + l) X = mu sum conj(C_k) Y_k + R on a block of the spectrum, and make all C_k X.

    Parameters
    ----------
    block : ndarray
        complex64 (channels, 1 + K, columns, H): R and Y_k, the spectra of 2 y_k - q_k; overwritten by `scale` X and
        `scale` C_k X.
    otfs : ndarray
        complex64 (K, columns, H): C_k.
    inverse : ndarray
        float32 (columns, H): 1 / (mu sum \|C_k\|^2 + l).
    mu, scale : float32
        Penalty, and the factor of the inverse transform.
    """
    for a in range(block.shape[0]):
        for k in range(block.shape[2]):
            x = block[a, 0, k]
            for n in range(otfs.shape[0]):
                _add_correlated(x, otfs[n, k], block[a, 1 + n, k], mu)
            _weigh(x, inverse[k], scale)
            for n in range(otfs.shape[0]):
                _convolve(x, otfs[n, k], block[a, 1 + n, k])


@part
def _residual_row(
    stack: FloatArray, weights: FloatArray, observed: FloatArray, most: FloatArray, i: int, out: FloatArray
) -> None:
    """Write sum w_k stack_k - b of row i, at most `most`; `stack` may have planes in front that do not count."""
    skipped = stack.shape[0] - weights.shape[0]
    out[:] = -observed[i]
    for n in range(weights.shape[0]):
        plane, weight = stack[skipped + n, i], weights[n, i]
        for j in range(out.size):
            out[j] += weight[j] * plane[j]
    if most.size > 0:
        for j in range(out.size):
            out[j] = min(out[j], most[i, j])


@kernel
def split_update(
    stack: FloatArray, q: FloatArray, out: FloatArray, weights: FloatArray, observed: FloatArray, most: FloatArray,
    mu: np.float32, alpha: np.float32,
) -> float:  # fmt: skip
    """Update y and d (as q) for new c_k * x, and write 2 y - q = y - d for the next x-update, in one pass.

    Over-relaxed: q <- q + alpha (c * x - y), which for alpha = 1 is q <- c * x + d.

    Parameters
    ----------
    stack, out : ndarray
        float32 (channels, 1 + K, H, W): c_k * x in planes 1 to K, and 2 y_k - q_k, overwritten; plane 0 is left alone.
    q : ndarray
        float32 (channels, K, H, W), changed in place.
    weights : ndarray
        float32 (K, H, W): w_k.
    observed : ndarray
        float32 (channels, H, W): b; 0 where all weights are 0.
    most : ndarray
        float32 (channels, H, W): how much more than b counts as such: 0 where b is clipped, else infinite; or
        (channels, 0, 0), where nothing is clipped.
    mu, alpha : float32
        Penalty and over-relaxation.

    Returns
    -------
    float
        The sum of (sum w_k (c_k * x) - b)^2, without what is more than a clipped b.
    """
    planes, height, width = weights.shape
    norm = np.empty(width, np.float32)
    error = np.empty(width, np.float32)
    misfit = 0.0
    for i in range(height):
        norm[:] = mu
        for n in range(planes):
            weight = weights[n, i]
            for j in range(width):
                norm[j] += weight[j] * weight[j]
        for a in range(q.shape[0]):
            _residual_row(stack[a], weights, observed[a], most[a], i, error)
            squares = np.float32(0)
            for j in range(width):
                squares += error[j] * error[j]
            misfit += float(squares)
            _residual_row(q[a], weights, observed[a], most[a], i, error)
            for n in range(planes):
                row, convolved, weight = q[a, n, i], stack[a, 1 + n, i], weights[n, i]
                for j in range(width):
                    row[j] += alpha * (convolved[j] - row[j] + weight[j] * error[j] / norm[j])
            _residual_row(q[a], weights, observed[a], most[a], i, error)
            for n in range(planes):
                row, weight, target = q[a, n, i], weights[n, i], out[a, 1 + n, i]
                for j in range(width):
                    target[j] = row[j] - np.float32(2) * weight[j] * error[j] / norm[j]
    return misfit
