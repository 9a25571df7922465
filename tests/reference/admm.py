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
    """D x: forward differences down the rows and along the columns, as (2, H, W)."""
    return np.stack([np.roll(x, -1, axis=0) - x, np.roll(x, -1, axis=1) - x])


def adjoint_differences(w):
    """D' w."""
    return np.roll(w[0], 1, axis=0) - w[0] + np.roll(w[1], 1, axis=1) - w[1]


def transfer_function(psf, shape):
    """The spectrum of a PSF laid on a canvas of this shape with its centre at the origin."""
    canvas = np.zeros(shape)
    canvas[: psf.shape[0], : psf.shape[1]] = psf
    return fft2(np.roll(canvas, (-(psf.shape[0] // 2), -(psf.shape[1] // 2)), axis=(0, 1)))


def shrink(v, threshold, isotropic):
    """Soft thresholding: of each difference, or of the pair's length."""
    if not isotropic:
        return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)
    length = np.sqrt(np.sum(v**2, axis=0))
    return v * (np.maximum(length - threshold, 0) / np.maximum(length, threshold))


def total_variation(gradient, isotropic):
    return np.sqrt(np.sum(gradient**2, axis=0)).sum() if isotropic else np.abs(gradient).sum()


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
