"""Deconvolution with several PSFs, pixels that are not known, clipped pixels and a range of values: float64, obvious.

Minimises 1/2 sum_p v (sum_k w_k (c_k * x) - b)^2 + lam TV(x) on a periodic canvas of which the photo is a corner, by
ADMM with the splits y_k = c_k * x, z = D x and s = x, as Boyd et al. 2011 write it (scaled duals, over-relaxation).
Where b is clipped, a sum that is larger than b costs nothing. Arrays are (channels, ...), float64.
"""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.fft import fft2, ifft2
from reference.admm import adjoint_differences, differences, shrink, total_variation, transfer_function


class Photo(NamedTuple):
    """What is known, laid on the canvas; b and the weights with the square root of the trust v in them."""

    b: np.ndarray  # (channels, H, W)
    weights: np.ndarray  # (K, H, W): 0 in all where b is not known
    clipped: np.ndarray  # (channels, H, W)
    otfs: np.ndarray  # (K, H, W)
    root: np.ndarray  # (H, W): the square root of v, 1 outside the photo


class Prior(NamedTuple):
    lam: float
    rho: float
    isotropic: bool
    counted: np.ndarray  # (2, H, W): 0 at the differences that TV leaves out, else 1


class Result(NamedTuple):
    x: np.ndarray  # (channels, H, W): the whole canvas
    objective: np.ndarray
    residual: np.ndarray  # |D x - z| / |D x|, z being that of the iteration before
    change: np.ndarray  # |x - x before| / |x| in the photo
    error: np.ndarray  # (channels, h, w): sum_k w_k (c_k * x) - b in the photo, 0 where that does not count


def lay_out(b, psfs, weights, shape, *, trust=None, saturation=np.inf):
    """Lay a photo (channels, h, w) with weights (K, h, w) and trust (h, w) into the top left corner of a canvas."""
    margin = [(0, 0), *((0, n - m) for n, m in zip(shape, b.shape[1:], strict=True))]
    root = np.ones(b.shape[1:]) if trust is None else np.sqrt(trust.astype(float))
    return Photo(
        np.pad(b * root, margin),
        np.pad(weights.astype(float) * root, margin),
        np.pad(b >= saturation, margin),
        np.stack([transfer_function(psf, shape) for psf in psfs]),
        np.pad(root, margin[1:], constant_values=1),
    )


def tv_prior(lam, rho, shape, *, isotropic=True, image_shape=None, reach=None):
    """TV of the image and as much around it as the PSFs reach, in the corners of the canvas; of all without a reach."""
    counted = np.ones((2, *shape))
    if reach is not None:
        sides = [np.zeros(n) for n in shape]  # 1 in the image and after its end, 2 before its beginning
        for side, length, n in zip(sides, image_shape, reach, strict=True):
            side[: length + n] = 1
            side[len(side) - n :] = 2
        near = np.outer(sides[0] > 0, sides[1] > 0)
        counted[0] = near & (sides[0] == np.append(sides[0][1:], sides[0][0] + 1))[:, np.newaxis]
        counted[1] = near & (sides[1] == np.append(sides[1][1:], sides[1][0] + 1))
    return Prior(lam, rho, isotropic, counted)


def blur(x, otfs):
    """All c_k * x of (channels, H, W), as (channels, K, H, W)."""
    return np.real(ifft2(otfs * fft2(x)[:, np.newaxis]))


def errors(y, weights, b, clipped):
    """sum_k w_k y_k - b, but 0 where that is more than a clipped b."""
    error = np.sum(weights * y, axis=1) - b
    return np.where(clipped & (error > 0), 0, error)


def explain(q, weights, b, clipped, mu):
    """The y that is best for 1/2 (sum_k w_k y_k - b)^2 + mu/2 |y - q|^2, a linear system at each pixel."""
    matrix = np.einsum("khw,lhw->hwkl", weights, weights) + mu * np.eye(len(weights))
    right_side = weights * b[:, np.newaxis] + mu * q
    y = np.moveaxis(np.linalg.solve(matrix, np.moveaxis(right_side, 1, -1)[..., np.newaxis])[..., 0], -1, 1)
    untouched = clipped & (np.sum(weights * q, axis=1) > b)
    return np.where(untouched[:, np.newaxis], q, y)


def shrink_counted(v, threshold, prior):
    """The best z for |z|, the differences counted, + 1/(2 threshold) |z - v|^2."""
    counted = prior.counted
    return counted * shrink(counted * v, threshold, prior.isotropic) + (1 - counted) * v


def photo_errors(x, photo):
    return errors(blur(x, photo.otfs), photo.weights, photo.b, photo.clipped)


def objective(x, photo, prior):
    misfit = np.sum(photo_errors(x, photo) ** 2)
    return 0.5 * misfit + prior.lam * total_variation(prior.counted * differences(x), prior.isotropic)


def deconvolve(photo, prior, start, image_shape, num_iter, **options):
    """Return the last iterate and the histories; `options` are those of `iterations`."""
    values, residuals, changes = [], [], []
    inside = np.s_[:, : image_shape[0], : image_shape[1]]
    before = 0.0
    for x, residual in itertools.islice(iterations(photo, prior, start, **options), num_iter):
        image = x[inside]
        values.append(objective(x, photo, prior))
        residuals.append(residual)
        changes.append(np.linalg.norm(image - before) / np.linalg.norm(image))
        before = image
    error = photo_errors(x, photo) / np.where(photo.root > 0, photo.root, 1)
    return Result(x, np.array(values), np.array(residuals), np.array(changes), error[inside])


def iterations(photo, prior, start, *, mu, alpha=1.0, doublings=(), value_range=None, range_penalty=0.0):
    """Yield x and |D x - z| / |D x| after each iteration, without end; rho is doubled in the iterations given."""
    otfs, shape = photo.otfs, start.shape
    impulse = np.zeros(shape[1:])
    impulse[0, 0] = 1
    d_ft = fft2(differences(impulse))
    low, high = (-np.inf, np.inf) if value_range is None else value_range
    rho = prior.rho

    y = np.repeat(start[:, np.newaxis], len(otfs), axis=1)
    z = np.zeros((shape[0], 2, *shape[1:]))
    s = start
    y_dual, z_dual, s_dual = np.zeros_like(y), np.zeros_like(z), np.zeros_like(s)
    for iteration in itertools.count(1):
        # x-update: Fourier domain least squares
        denominator = mu * np.sum(np.abs(otfs) ** 2, axis=0) + rho * np.sum(np.abs(d_ft) ** 2, axis=0) + range_penalty
        right_side = mu * np.sum(np.conj(otfs) * fft2(y - y_dual), axis=1)
        right_side += rho * fft2(adjoint_differences(z - z_dual)) + range_penalty * fft2(s - s_dual)
        x = np.real(ifft2(right_side / denominator))
        gradient = differences(x)
        yield x, np.linalg.norm(gradient - z) / np.linalg.norm(prior.counted * gradient)
        if iteration in doublings:
            rho, z_dual = 2 * rho, z_dual / 2
        # the splits, and their dual variables
        relaxed = alpha * blur(x, otfs) + (1 - alpha) * y
        y = explain(relaxed + y_dual, photo.weights, photo.b, photo.clipped, mu)
        y_dual = y_dual + relaxed - y
        relaxed = alpha * gradient + (1 - alpha) * z
        z = shrink_counted(relaxed + z_dual, prior.lam / rho, prior)
        z_dual = z_dual + relaxed - z
        relaxed = alpha * x + (1 - alpha) * s
        s = np.clip(relaxed + s_dual, low, high)
        s_dual = s_dual + relaxed - s
