"""ADMM deconvolution with a TV prior as an image-processing course writes it: float64, complex transforms, np.roll.

Paper A's pseudo-code, section 3.4: x-update (least squares in the Fourier domain), z-update (soft thresholding),
u-update. alpha = 1 is the paper's; other values over-relax as in Boyd et al. 2011, section 3.4.3. The borders are
periodic.
"""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.fft import fft2, ifft2


class Result(NamedTuple):
    x: np.ndarray
    objective: np.ndarray  # 1/2 |c*x - b|^2 + lam TV(x) after each iteration
    residual: np.ndarray  # |D x - z| / |D x|, z being that of the iteration before


def differences(x):
    """D x: forward differences down the rows and along the columns, (..., 2, H, W) of (..., H, W)."""
    return np.stack([np.roll(x, -1, axis=-2) - x, np.roll(x, -1, axis=-1) - x], axis=-3)


def adjoint_differences(w):
    """D' w."""
    down, along = w[..., 0, :, :], w[..., 1, :, :]
    return np.roll(down, 1, axis=-2) - down + np.roll(along, 1, axis=-1) - along


def transfer_function(psf, shape):
    """The spectrum of a PSF laid on a canvas of this shape with its centre at the origin."""
    canvas = np.zeros(shape)
    canvas[: psf.shape[0], : psf.shape[1]] = psf
    return fft2(np.roll(canvas, (-(psf.shape[0] // 2), -(psf.shape[1] // 2)), axis=(0, 1)))


def shrink(v, threshold, isotropic):
    """Soft thresholding: of each difference, or of the length of all that belong to a pixel."""
    if not isotropic:
        return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)
    length = pixel_lengths(v)
    return v * (np.maximum(length - threshold, 0) / np.maximum(length, threshold))


def total_variation(gradient, isotropic):
    return pixel_lengths(gradient).sum() if isotropic else np.abs(gradient).sum()


def pixel_lengths(v):
    """The length at each pixel of (..., H, W), over all axes but the last two."""
    return np.sqrt(np.sum(v**2, axis=tuple(range(v.ndim - 2))))


def deconvolve(b, psf, lam, rho, num_iter, *, alpha=1.0, isotropic=False):
    """Deconvolve an (H, W) image."""
    image, objective, residual = None, [], []
    steps = iterations(b, psf, lam, rho, alpha=alpha, isotropic=isotropic)
    for x, value, violation in itertools.islice(steps, num_iter):
        image = x
        objective.append(value)
        residual.append(violation)
    return Result(image, np.array(objective), np.array(residual))


def iterations(b, psf, lam, rho, *, alpha=1.0, isotropic=False):
    """Yield x, objective and residual after each iteration, without end."""
    impulse = np.zeros(b.shape)
    impulse[0, 0] = 1
    c_ft, b_ft, d_ft = transfer_function(psf, b.shape), fft2(b), fft2(differences(impulse))
    denominator = np.abs(c_ft) ** 2 + rho * np.sum(np.abs(d_ft) ** 2, axis=0)
    data_term = np.conj(c_ft) * b_ft

    x = np.zeros(b.shape)
    z = np.zeros((2, *b.shape))
    u = np.zeros((2, *b.shape))
    while True:
        # x-update: Fourier domain least squares
        x_ft = (data_term + rho * np.sum(np.conj(d_ft) * fft2(z - u), axis=0)) / denominator
        x = np.real(ifft2(x_ft))
        gradient = differences(x)
        residual = np.sqrt(np.sum((gradient - z) ** 2) / np.sum(gradient**2))
        # z-update: soft thresholding
        relaxed = alpha * gradient + (1 - alpha) * z
        z = shrink(relaxed + u, lam / rho, isotropic)
        # u-update
        u = u + relaxed - z

        misfit = np.sum(np.abs(c_ft * x_ft - b_ft) ** 2) / b.size  # Parseval
        yield x, 0.5 * misfit + lam * total_variation(gradient, isotropic), residual


def shrink_hyper_laplacian(v, beta):
    """The w that is best for |w|^(2/3) + beta/2 (w - v)^2, for each number of v by itself.

    Where w > 0 its derivative 2/3 w^(-1/3) + beta (w - v) is 0: convex, and least at w = (2 / (9 beta))^(3/4), so that
    the minimum of the cost, if there is one, is right of that and found by bisection.
    """
    length = np.abs(v)
    low, high = np.full_like(length, (2 / (9 * beta)) ** 0.75), length.copy()
    for _ in range(100):
        middle = (low + high) / 2
        falling = 2 / 3 * middle ** (-1 / 3) + beta * (middle - length) < 0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)

    def cost(w):
        return w ** (2 / 3) + beta / 2 * (w - length) ** 2

    return np.sign(v) * np.where((low <= length) & (cost(low) < cost(0 * length)), low, 0)
