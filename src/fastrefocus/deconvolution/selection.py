"""Choose the weight of the prior, and the PSF's size, without knowing the true image.

The measure is the whiteness of the residual r = c*x - b (Almeida and Figueiredo 2013): a right choice leaves noise,
which is uncorrelated. Whiteness alone has two blind spots. A PSF that is too small can explain the photo as well as the
right one, so that the largest of those that leave the residual nearly white is taken. And with next to no prior any PSF
can, by an image that leaves the photo's range of values, so that such images are ruled out first.

All this is provisional: on real photos, where the PSF is never exact, it is only a hint.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import FloatArray, split_channels

#: The grid of lam, half a decade a step.
LAMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

#: The grid where the PSF is not known: a stronger prior paints over what a wrong PSF does, and hides that it is wrong.
BLIND_LAMS = LAMS[:4]

#: The choice is made on the middle of the image, at most this many pixels a side.
CROP_SIZE = 384

_LAGS = 4  # pixels over which correlation counts, as in Almeida and Figueiredo
_NEARLY_WHITE = -3.0  # right PSFs stayed above, the next larger ones fell below, on photos blurred for a test
_OVERSHOOT = 0.05  # a restored value may leave the photo's range by so much,
_OVERSHOOT_SHARE = 0.005  # and at most this share of the pixels may go further


class Trial(NamedTuple):
    """A candidate, deconvolved: how white its residual is, and how much of it has left the photo's range."""

    sigma: float
    lam: float
    whiteness: float
    overshoot: float


def assess(restored: FloatArray, observed: FloatArray, psf: FloatArray, *, sigma: float, lam: float) -> Trial:
    """Assess a deconvolved (H, W) crop."""
    low, high = float(observed.min()) - _OVERSHOOT, float(observed.max()) + _OVERSHOOT
    overshoot = float(np.mean((restored < low) | (restored > high)))
    return Trial(sigma, lam, whiteness(restored, observed, psf), overshoot)


def choose(trials: Iterable[Trial]) -> Trial | None:
    """Return the plausible trial of the largest PSF that leaves a nearly white residual, and there the whitest.

    None where no trial is plausible: the photo is not blurred by any of these PSFs, and may well be sharp.
    """
    plausible = [trial for trial in trials if trial.overshoot <= _OVERSHOOT_SHARE]
    white = [trial for trial in plausible if trial.whiteness > _NEARLY_WHITE]
    if white:
        return max(white, key=lambda trial: (trial.sigma, trial.whiteness))
    return max(plausible, key=lambda trial: trial.whiteness, default=None)


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
