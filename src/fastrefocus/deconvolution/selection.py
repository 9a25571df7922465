"""Choose the weight of the prior, and the PSF's size, without knowing the true image.

The measure is the whiteness of the residual r = c*x - b (Almeida and Figueiredo 2013): a right choice leaves noise,
which is uncorrelated. It is provisional: on real photos, where the PSF is never exact, it is only a hint.
"""

import numpy as np

from fastrefocus.arrays import FloatArray, split_channels

#: The grid of lam, half a decade a step.
LAMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

#: The choice is made on the middle of the image, at most this many pixels a side.
CROP_SIZE = 384

_LAGS = 4  # correlations over at most this many pixels, as in Almeida and Figueiredo


def selection_crop(image: FloatArray, psf: FloatArray) -> FloatArray:
    """Return the mean of the channels in the middle of the image, large enough for the PSF."""
    plane: FloatArray = np.mean(split_channels(image), axis=0, dtype=np.float32)
    parts = []
    for length, width in zip(plane.shape, psf.shape, strict=True):
        size = min(length, max(CROP_SIZE, 4 * width))
        parts.append(slice((length - size) // 2, (length - size) // 2 + size))
    return np.ascontiguousarray(plane[tuple(parts)])


def whiteness(restored: FloatArray, observed: FloatArray, psf: FloatArray) -> float:
    """Return minus the energy of the residual's normalised autocorrelation at lags 1 to 4; 0 is white.

    Parameters
    ----------
    restored, observed : ndarray
        float32 (H, W): x and b.
    psf : ndarray
        float32 (h, w), odd: c.
    """
    from scipy.signal import fftconvolve

    top, left = psf.shape[0] // 2, psf.shape[1] // 2
    inner = observed[top : observed.shape[0] - top, left : observed.shape[1] - left]
    residual = (fftconvolve(restored, psf, mode="valid") - inner).astype(np.float64)
    residual -= residual.mean()
    power = np.abs(np.fft.fft2(residual, s=[n + _LAGS for n in residual.shape])) ** 2
    correlation = np.fft.ifft2(power).real
    if correlation[0, 0] <= 0:
        return 0.0
    near = np.arange(-_LAGS, _LAGS + 1)
    window = correlation[np.ix_(near % correlation.shape[0], near % correlation.shape[1])] / correlation[0, 0]
    return 1.0 - float(np.square(window).sum())
