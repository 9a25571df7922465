"""Take a restored photo only where it can be relied on.

A wrong radius shows: the restored photo, blurred again, misses the photo by more than the prior asks for, and
overshoots, that is leaves the range of what the photo shows nearby. Either alone also befalls good results.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from fastrefocus.arrays import FloatArray, join_channels, split_channels
from fastrefocus.parallel import bands

# Fitted on sharp photos blurred by one radius and deconvolved with another: where the result was worse than the photo.
_USUAL_RESIDUAL = 5.0  # times lam
_USUAL_OVERSHOOT, _LEAST_OVERSHOOT = 0.15, 0.01  # of the energy of the change
UNRELIABLE = 3.0
_WINDOW = 8.0  # standard deviation of the Gaussian window, pixels

_FADE = 4.0  # pixels over which the photo takes over
_CLEARANCE = 0.5  # of the local range, by which a restored value may leave it
_BAND_ROWS = 512
_HALO = 40  # rows that the Gaussians reach, cut at four standard deviations, and a few
_SEAM = 1.5  # half of the pixels over which the restored photo begins, where the blur does


def unreliability(
    photo: FloatArray, restored: FloatArray, residual: FloatArray, radius: FloatArray, lam: float
) -> FloatArray:
    """Return how little a restored luminance is to be relied on: 1 is usual, from 3 on it is worse than the photo.

    Large photos are looked at in bands of rows, which change nothing.

    Parameters
    ----------
    photo, restored, residual, radius : ndarray
        float32 (H, W): the luminance, the same restored, that blurred again minus the photo, and the blur's radius.
    lam : float
        The weight of the prior that it was restored with.
    """
    result = np.empty_like(photo)
    for band, window, kept in _bands(len(photo), radius):
        part = _unreliability(photo[window], restored[window], residual[window], radius[window], lam)
        result[band] = part[kept]
    return result


def _unreliability(
    photo: FloatArray, restored: FloatArray, residual: FloatArray, radius: FloatArray, lam: float
) -> FloatArray:
    low, high = _local_range(photo, radius)
    overshoot = np.maximum(np.maximum(restored - high, low - restored), 0)
    change = np.maximum(_local_mean_square(restored - photo), np.finfo(np.float32).tiny)
    share = _local_mean_square(overshoot) / change
    misfit = np.sqrt(_local_mean_square(residual)) / (_USUAL_RESIDUAL * lam)
    result: FloatArray = (misfit**1.5 * (share + _LEAST_OVERSHOOT) / _USUAL_OVERSHOOT).astype(np.float32)
    return result


def accepted(photo: FloatArray, restored: FloatArray, radius: FloatArray, unreliable: FloatArray) -> FloatArray:
    """Return the restored photo where it can be relied on, and the photo elsewhere; where the radius is 0 to the bit.

    Parameters
    ----------
    photo, restored : ndarray
        float32 (H, W) or (H, W, 3).
    radius, unreliable : ndarray
        float32 (H, W): the blur's radius, and what `unreliability` returned.
    """
    result = np.empty_like(photo)
    for band, window, kept in _bands(len(photo), radius):
        result[band] = _accepted(photo[window], restored[window], radius[window], unreliable[window])[kept]
    return result


def _accepted(photo: FloatArray, restored: FloatArray, radius: FloatArray, unreliable: FloatArray) -> FloatArray:
    share = _share(radius, unreliable)
    planes = []
    for before, after in zip(split_channels(photo), split_channels(restored), strict=True):
        low, high = _local_range(before, radius)  # where the radius is 0, the photo's own value
        room = np.float32(_CLEARANCE) * (high - low)
        planes.append(before + share * (np.clip(after, low - room, high + room) - before))
    return join_channels(planes)


def _bands(height: int, radius: FloatArray) -> Iterator[tuple[slice, slice, slice]]:
    """Yield bands of rows, the rows that have an influence on each, and the band's place among them."""
    halo = 2 * int(np.ceil(radius.max())) + _HALO
    for band in bands(height, _BAND_ROWS):
        window = slice(max(band.start - halo, 0), min(band.stop + halo, height))
        yield band, window, slice(band.start - window.start, band.stop - window.start)


def _share(radius: FloatArray, unreliable: FloatArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter, minimum_filter

    share = 1 / (1 + np.square(unreliable / np.float32(UNRELIABLE)))
    share = gaussian_filter(minimum_filter(share, 5), _FADE)
    blurred = (radius > 0).astype(np.float32)
    result: FloatArray = share * np.maximum(2 * gaussian_filter(blurred, _SEAM) - 1, 0)
    return result


def _local_range(plane: FloatArray, radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the largest value in a square around each pixel that holds its disk."""
    from scipy.ndimage import maximum_filter, minimum_filter

    reaches = [0, 2, 3]
    while reaches[-1] < radius.max():
        reaches.append(2 * reaches[-2])
    low, high = plane.copy(), plane.copy()
    for inner, reach in itertools.pairwise(reaches):
        ring = (radius > inner) & (radius <= reach)
        if ring.any():
            low[ring] = minimum_filter(plane, 2 * reach + 1)[ring]
            high[ring] = maximum_filter(plane, 2 * reach + 1)[ring]
    return low, high


def _local_mean_square(plane: FloatArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    mean: FloatArray = gaussian_filter(np.square(plane), _WINDOW)
    return mean
