"""Choose the PSF and the weight of the prior without knowing the true photo.

The PSF is the smallest that the photo's spectrum finds nearly as plausible as the best one: one that is too large costs
more than one that is as much too small. The weight of the prior is in proportion to the noise's variance, and in
inverse proportion to the standard deviation of what even the best linear filter cannot recover, which is in the units
of the photo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.deconvolution.evidence import Fit, Spectrum, fit, spectrum, transfer
from fastrefocus.optics.psf import psf_of_sigma

#: Radii of the disks and standard deviations of the Gaussians that are tried by default, pixels.
DISK_RADII = (*np.arange(1, 4, 0.125).tolist(), *np.arange(4, 10.1, 0.25).tolist())  # twice as coarse cost up to 3 dB
GAUSSIAN_SIGMAS = (
    0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.65, 1.8, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 4.5, 5.0
)  # fmt: skip

_NEARLY_AS_PLAUSIBLE = 1.0  # nats
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
