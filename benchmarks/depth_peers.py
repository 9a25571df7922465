"""What depth.py is held against."""

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, cg
from skimage.feature import canny

from fastrefocus.deconvolution.blur_map import estimate_blur_map
from fastrefocus.light import decode, luminance

REBLUR_SIGMA = 1.0  # pixels
LARGEST_SIGMA = 8.0  # pixels
DATA_WEIGHT = 1e-3
EPSILON = 1e-5  # of the matting Laplacian, for values 0..1
SMOOTHING = 2.0  # pixels
SPREAD_SIDE = 256  # pixels


def lower_is_nearer(photo: np.ndarray) -> np.ndarray:
    """Return what is larger where it is higher in the picture."""
    height, width = photo.shape[:2]
    return np.broadcast_to(np.linspace(1, 0, height, dtype=np.float32)[:, np.newaxis], (height, width))


def package_blur_map(photo: np.ndarray) -> np.ndarray:
    """Return the radius that `deblur` finds without the network, pixels."""
    return estimate_blur_map(decode(luminance(photo))).radius


def zhuo_sim(photo: np.ndarray) -> np.ndarray:
    """Return the radius (2 sigma) of the blur after Zhuo and Sim, Pattern Recognition 44 (2011), pixels.

    A step blurred by sigma and blurred again by sigma0 has a gradient R = sqrt(1 + (sigma0 / sigma)^2) times as small,
    which gives sigma at the edges. From there it spreads over the photo with the matting Laplacian (Levin et al. 2008),
    here on a copy of at most `SPREAD_SIDE` pixels on the longer side.
    """
    plane = luminance(photo).astype(np.float64)
    ratio = gradient_magnitude(plane) / np.maximum(gradient_magnitude(gaussian_filter(plane, REBLUR_SIGMA)), 1e-9)
    sigma = REBLUR_SIGMA / np.sqrt(np.maximum(ratio**2 - 1, (REBLUR_SIGMA / LARGEST_SIGMA) ** 2))
    # Sparse estimates are smoothed among themselves first.
    at_edge = canny(plane, sigma=1.0).astype(np.float64)
    weight = gaussian_filter(at_edge, SMOOTHING)
    smooth = gaussian_filter(at_edge * sigma, SMOOTHING) / np.maximum(weight, 1e-12)

    factor = -(-max(plane.shape) // SPREAD_SIDE)
    small, known, total = (reduced(values, factor) for values in (plane, at_edge, at_edge * smooth))
    system = matting_laplacian(small) + DATA_WEIGHT * sparse.diags(known.ravel())
    scale = 1 / np.maximum(system.diagonal(), 1e-12)
    preconditioner = LinearOperator(system.shape, matvec=lambda x: scale * x)
    start = np.full(small.size, total.sum() / max(known.sum(), 1e-12))
    spread, _ = cg(system, DATA_WEIGHT * total.ravel(), start, rtol=1e-5, maxiter=2000, M=preconditioner)
    radius = 2 * np.clip(spread.reshape(small.shape), 0, LARGEST_SIGMA)
    return np.repeat(np.repeat(radius, factor, axis=0), factor, axis=1)[: plane.shape[0], : plane.shape[1]]


def reduced(plane: np.ndarray, factor: int) -> np.ndarray:
    """Average squares of `factor` pixels; what is missing at the lower and right borders is repeated."""
    whole = np.pad(plane, [(0, -length % factor) for length in plane.shape], mode="edge")
    rows, columns = (length // factor for length in whole.shape)
    return whole.reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def matting_laplacian(plane: np.ndarray) -> sparse.csr_matrix:
    """Return the matting Laplacian of a grey picture: windows of 3 x 3 pixels in which the answer is affine in it."""
    height, width = plane.shape
    index = np.arange(plane.size).reshape(plane.shape)
    windows = np.lib.stride_tricks.sliding_window_view(index, (3, 3)).reshape(-1, 9)
    values = plane.ravel()[windows]
    centred = values - values.mean(axis=1, keepdims=True)
    variance = values.var(axis=1) + EPSILON / 9
    likeness = (1 + centred[:, :, np.newaxis] * centred[:, np.newaxis, :] / variance[:, np.newaxis, np.newaxis]) / 9
    entries = np.eye(9) - likeness
    rows, columns = np.repeat(windows, 9, axis=1).ravel(), np.tile(windows, (1, 9)).ravel()
    return sparse.csr_matrix((entries.ravel(), (rows, columns)), shape=(height * width, height * width))


def gradient_magnitude(plane: np.ndarray) -> np.ndarray:
    return np.hypot(*np.gradient(plane))
