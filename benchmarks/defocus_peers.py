"""Other ways to render defocus, each in its plainest form: from an encoded photo and the signed radius per pixel."""

from collections.abc import Callable

import numba
import numpy as np

import fastrefocus as fr
from fastrefocus.light import decode, encode

LEVELS = 4  # of paper A's blur, on each side of the focus
LAYERS = 32
BLURGENERATOR_GAIN = 1.09  # its disks have the standard deviation of disks this much smaller

_kernel = numba.njit(nogil=True, cache=True, error_model="numpy")


def paper_a(photo, coc):
    """Paper A's blur by thresholds, with Gaussians as wide as the disks half-way between the thresholds."""
    result = photo
    for side, sign in (("far", 1), ("near", -1)):
        largest = (sign * coc).max()
        if largest > 0:
            radii = largest * np.arange(1, LEVELS + 1) / LEVELS
            thresholds = sign * (radii - largest / (2 * LEVELS))
            blurred = fr.blur_by_depth(photo, coc, sigmas=list(radii / 2), thresholds=list(thresholds), side=side)
            result = np.where((sign * coc > 0)[..., np.newaxis], blurred, result)
    return result


def gather(photo, coc):
    """Each pixel is the mean of the disk of its own radius."""
    light = decode(photo)
    total = np.zeros_like(light)
    _gather(light, np.abs(coc), total)
    return encode(total)


def scatter(photo, coc):
    """Each pixel's disk is added; the sum is divided by the sum of the disks."""
    total = _scattered(decode(photo), coc, np.ones(coc.shape, bool))
    return encode(total[..., :3] / total[..., 3:])


def layered_scatter(photo, coc):
    """Slices of depth, scattered each by itself, are laid over one another from far to near."""
    light = decode(photo)
    borders = np.linspace(coc.min(), coc.max(), LAYERS + 1)[1:-1]
    layer_of = np.digitize(coc, borders)
    result = np.zeros((*coc.shape, 4), np.float32)
    for layer in range(LAYERS - 1, -1, -1):
        chosen = layer_of == layer
        if chosen.any():
            total = _scattered(light, coc, chosen)
            total /= np.maximum(total[..., 3:], 1)
            result = total + (1 - total[..., 3:]) * result
    return encode(result[..., :3] / np.maximum(result[..., 3:], 1e-6))


def blurgenerator(photo, coc):
    """Lens blur of BlurGenerator: 8 bits, whole radii for ten slices of depth, the gamma nearest to linear light.

    A slice is blurred as its lower border, so half a slice is added, and one half because radii are cut to integers.
    Pixels at the least depth, which it leaves black, are taken from the photo.
    """
    import blurgenerator as package

    largest = float(np.abs(coc).max())
    depth = np.round(np.abs(coc) * (255 / largest)).astype(np.uint8)
    largest *= BLURGENERATOR_GAIN
    least = max(1.0, largest * (int(np.ptp(depth)) // 10) / (2 * 255) + 0.5)
    blurred = package.lens_blur_with_depth_map(
        np.round(np.clip(photo, 0, 1) * 255).astype(np.uint8),
        np.stack([depth] * 3, axis=-1),
        exposure_gamma=2.2,
        min_blur=least,
        max_blur=largest + least,
    )
    return np.where((depth > depth.min())[..., np.newaxis], blurred / np.float32(255), photo)


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "paper A": paper_a,
    "gather": gather,
    "scatter": scatter,
    "scatter in 32 layers": layered_scatter,
    "blurgenerator": blurgenerator,
}


def _scattered(light, coc, chosen):
    total = np.zeros((*coc.shape, 4), np.float32)
    _scatter(light, np.abs(coc), chosen, total)
    return total


@_kernel
def _share(squared_distance, radius):
    """Return how much of a pixel a disk covers, about: from 1 to 0 within half a pixel of its rim."""
    return min(1.0, max(0.0, radius + 0.5 - np.sqrt(squared_distance)))


@_kernel
def _gather(light, radius, total):
    height, width = radius.shape
    for y in range(height):
        for x in range(width):
            r = radius[y, x]
            reach = int(r + 0.5)
            weight = 0.0
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    share = _share((v - y) ** 2 + (u - x) ** 2, r)
                    weight += share
                    for channel in range(3):
                        total[y, x, channel] += share * light[v, u, channel]
            for channel in range(3):
                total[y, x, channel] /= weight


@_kernel
def _scatter(light, radius, chosen, total):
    height, width = radius.shape
    for y in range(height):
        for x in range(width):
            if chosen[y, x]:
                r = radius[y, x]
                reach = int(r + 0.5)
                area = 0.0
                for v in range(-reach, reach + 1):
                    for u in range(-reach, reach + 1):
                        area += _share(v * v + u * u, r)
                for v in range(max(0, y - reach), min(height, y + reach + 1)):
                    for u in range(max(0, x - reach), min(width, x + reach + 1)):
                        share = _share((v - y) ** 2 + (u - x) ** 2, r) / area
                        for channel in range(3):
                            total[v, u, channel] += share * light[y, x, channel]
                        total[v, u, 3] += share
