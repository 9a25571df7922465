"""Choose the PSF and the weight of the prior without knowing the true photo.

The PSF is the smallest that the photo's spectrum finds nearly as plausible as the best one: one that is too large costs
more than one that is as much too small. The weight of the prior is in proportion to the noise's variance, and in
inverse proportion to the standard deviation of what even the best linear filter cannot recover, which is in the units
of the photo.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray, split_channels
from fastrefocus.deconvolution.evidence import Fit, Spectrum, fit, spectrum, transfer
from fastrefocus.optics.psf import psf_of_sigma

#: Radii of the disks and standard deviations of the Gaussians that are tried by default, pixels.
DISK_RADII = (*np.arange(1, 3.5, 0.25).tolist(), *np.arange(3.5, 8, 0.5).tolist(), 8.0, 9.0, 10.0)
GAUSSIAN_SIGMAS = (
    0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.65, 1.8, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 4.5, 5.0
)  # fmt: skip

_NEARLY_AS_PLAUSIBLE = 1.0  # nats
_STILL_PLAUSIBLE = 3.0  # nats, for the next try after an excessive result
_SHARP_SIGMA = 0.7  # pixels: no larger than the blur of sharp photos
_LAM = 0.3  # of the noise variance over the deviation of what is lost; found on photos
_LEAST_LAM = 1e-5  # of the contrast: the rounding errors of the solvers count then
_COLOURED_LAM = 0.015  # of the contrast: there the error of the PSF is the limit, not the noise


class Psf(NamedTuple):
    """A PSF by its shape and size; `fastrefocus.optics.psf.psf_of_sigma` makes it."""

    shape: str
    """"disk" or "gaussian"."""
    sigma: float
    """Standard deviation along one axis, pixels; half a disk's radius."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for a photo or a region.

    Attributes
    ----------
    psf : Psf or None
        None: there is nothing to undo, for the photo is sharp, or says nothing.
    lam : float
        Weight of the prior for it; 0 where `psf` is None.
    noise : float
        Standard deviation of the noise, in the photo's units.
    scores : mapping
        Logarithm of the evidence of every candidate, None being no blur; only differences mean anything. Empty where
        the photo says nothing.
    """

    psf: Psf | None
    lam: float
    noise: float
    scores: Mapping[Psf | None, float]


def choose_psf(plane: FloatArray, candidates: Sequence[Psf] | None = None, *, mask: BoolArray | None = None) -> Choice:
    """Choose the PSF that blurred a plane, (H, W), where `mask` is set, and the weight of the prior for it."""
    observed = spectrum(plane, mask)
    if observed is None:
        return Choice(None, 0.0, 0.0, {})
    if candidates is None:
        candidates = default_candidates((observed.tile, observed.tile))
    choices = [None, *candidates]
    fitted = fit(observed, transfer([_psf_array(psf) for psf in choices], observed.tile))
    scores = dict(zip(choices, fitted.evidence.tolist(), strict=True))
    psf = _smallest_plausible(scores)
    noise, lam = _noise_and_lam(observed, fitted, choices.index(psf))
    if psf is None or psf.sigma <= _SHARP_SIGMA:
        return Choice(None, 0.0, noise, scores)
    return Choice(psf, lam, noise, scores)


def choose_lam(plane: FloatArray, psf: FloatArray, *, mask: BoolArray | None = None) -> float:
    """Choose the weight of the prior for a plane, (H, W), blurred by a known PSF; 0 where the plane says nothing."""
    observed = spectrum(plane, mask)
    if observed is None:
        return 0.0
    return _noise_and_lam(observed, fit(observed, transfer([psf], observed.tile)), 0)[1]


def default_candidates(shape: Sequence[int]) -> list[Psf]:
    """Return the PSFs that are tried by default on a photo of this shape, which is at least 12 sigma wide."""
    disks = [Psf("disk", radius / 2) for radius in DISK_RADII]
    gaussians = [Psf("gaussian", sigma) for sigma in GAUSSIAN_SIGMAS]
    return [psf for psf in disks + gaussians if 12 * psf.sigma <= min(shape[:2])]


def excessive(restored: FloatArray, plane: FloatArray) -> bool:
    """Return whether much of a restored plane left the observed one's range, as with a PSF that is too large."""
    low, high = np.percentile(plane, (0.5, 99.5))
    margin = 0.05 * (high - low)
    outside = (restored < plane.min() - margin) | (restored > plane.max() + margin)
    return float(outside.mean()) > 0.02


def next_smaller(choice: Choice) -> Psf | None:
    """Return the most plausible PSF that is smaller than the chosen one; None where none is plausible."""
    if choice.psf is None:
        return None
    least = max(choice.scores.values()) - _STILL_PLAUSIBLE
    smaller = {
        psf: score
        for psf, score in choice.scores.items()
        if psf is not None and psf.sigma < choice.psf.sigma and score >= least
    }
    return max(smaller, key=lambda psf: smaller[psf], default=None)


def noise_sigma(plane: FloatArray) -> float:
    """Return the standard deviation of the white noise of a plane, (H, W).

    The median of what a second difference along both axes leaves, which is hardly anything of a blurred photo. Fine
    texture counts as noise: on sharp photos the answer was at most 1.8 times a noise of 0.01, and 1.7 to 5.5 times
    one of 0.002.
    """
    if min(plane.shape) < 3:
        return 0.0
    difference = np.diff(np.diff(plane, 2, axis=0), 2, axis=1)
    return float(np.median(np.abs(difference))) / (6 * 0.6745)  # of white noise: 6 sigma, and the normal median


def _psf_array(psf: Psf | None) -> FloatArray:
    return np.ones((1, 1), np.float32) if psf is None else psf_of_sigma(psf.sigma, psf.shape)


def _smallest_plausible(scores: Mapping[Psf | None, float]) -> Psf | None:
    """Return the smallest PSF of the best one's shape that is nearly as plausible, no blur being one of each shape."""
    best = max(scores, key=lambda psf: scores[psf])
    least = scores[best] - _NEARLY_AS_PLAUSIBLE
    if best is None or scores[None] >= least:
        return None
    return min(
        (psf for psf, score in scores.items() if psf is not None and psf.shape == best.shape and score >= least),
        key=lambda psf: psf.sigma,
    )


def _noise_and_lam(observed: Spectrum, fitted: Fit, index: int) -> tuple[float, float]:
    signal, noise = fitted.signal[index], fitted.noise[index][:, np.newaxis]
    variance = float(np.average(np.broadcast_to(noise, signal.shape), weights=observed.count))
    lost = signal * noise / (fitted.gain[index] * signal + noise)  # by a Wiener filter
    if observed.coloured:
        lam = _COLOURED_LAM * observed.contrast
    else:
        lam = max(_LAM * variance / float(np.sqrt((observed.share * lost).sum())), _LEAST_LAM * observed.contrast)
    return float(np.sqrt(variance)), lam


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
