"""Paper A's blur with several PSFs, section 3.3: its np.where chain over directly convolved copies."""

import numpy as np


def gaussian(sigma):
    """A Gaussian out to 4 sigma, float64."""
    radius = int(4 * sigma + 0.5)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    weights = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return weights / weights.sum()


def convolve(image, psf):
    """Convolve an (H, W) or (H, W, 3) image by shifting and adding; the borders are mirrored."""
    top, left = psf.shape[0] // 2, psf.shape[1] // 2
    padded = np.pad(image, ((top, top), (left, left), *((0, 0),) * (image.ndim - 2)), mode="reflect")
    height, width = image.shape[:2]
    result = np.zeros(image.shape)
    for (i, j), weight in np.ndenumerate(psf[::-1, ::-1]):
        result += weight * padded[i : i + height, j : j + width]
    return result


def far_multiple_psf_blur(raw_image, depth, far_sigmas, far_depths):
    far_images = [convolve(raw_image, gaussian(sigma)) for sigma in far_sigmas]
    depth = depth.reshape(depth.shape + (1,) * (raw_image.ndim - 2))
    far_blur = np.where(depth > far_depths[0], far_images[0], raw_image)
    for i in range(1, len(far_images)):
        far_blur = np.where(depth > far_depths[i], far_images[i], far_blur)
    return far_blur


def near_multiple_psf_blur(raw_image, depth, near_sigmas, near_depths):
    near_images = [convolve(raw_image, gaussian(sigma)) for sigma in near_sigmas]
    depth = depth.reshape(depth.shape + (1,) * (raw_image.ndim - 2))
    near_blur = np.where(depth < near_depths[0], near_images[0], raw_image)
    for i in range(1, len(near_images)):
        near_blur = np.where(depth < near_depths[i], near_images[i], near_blur)
    return near_blur
