"""What deconvolution returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray

History = npt.NDArray[np.float64]


class Candidate(NamedTuple):
    """One point of the grid that `deblur` searches, or one PSF that it weighs."""

    sigma: float
    """Standard deviation of the PSF along one axis, pixels."""
    lam: float
    """Weight of the prior."""
    edge_sigma: float | None = None
    """Scale of the edge detector, pixels; only for ``channels="edges"``."""
    shape: str | None = None
    """Shape of the PSF, "disk" or "gaussian"; None: no blur."""


@dataclass(frozen=True, eq=False)
class DeconvolutionResult:
    """A restored image and how it came about.

    Attributes
    ----------
    image : ndarray
        float32, the input's shape, nominally 0..1, not clipped.
    lam : float
        Weight of the prior that was used.
    num_iter : int
        Iterations done; 0 for the direct filters.
    objective : ndarray
        float64 (num_iter,): 1/2 |c*x - b|^2 + lam TV(x) after each iteration, summed over the channels.
    residual : ndarray
        float64 (num_iter,): |D x - z| / |D x| after each iteration, the relative violation of the split.
    change : ndarray
        float64 (num_iter,): |x - x before| / |x| after each iteration, the relative change of the image.
    psnr : ndarray or None
        float64 (num_iter,): PSNR to `reference` after each iteration, in dB for a peak of 1; None without a reference.
    reblur_residual : ndarray or None
        float32, the shape of what was deconvolved: the restored image blurred again, minus the photo, in the values
        worked on. Noise where the blur explains the photo; 0 where the photo was not trusted.
    sigma : float or None
        Standard deviation of the PSF that `deblur` chose, pixels along one axis (a disk's radius is twice that); 0
        where there was nothing to undo and the image is the input; None where the blur varies.
    edge_sigma : float or None
        Scale of the edge detector that `deblur` chose, pixels.
    psf_shape : str or None
        Shape of the PSF that `deblur` chose, "disk" or "gaussian".
    scores : mapping or None
        Score of every candidate that `deblur` weighed, higher is better: PSNR in dB with a reference, else the
        logarithm of its plausibility (nats; only differences mean anything), where the candidate of sigma 0 is "no
        blur".
    blur_radius : ndarray or None
        float32 (H, W), pixels: the map that `deblur` worked with, made ready; None where one PSF served all.
    destroyed : ndarray or None
        float32 (H, W), 0..1: the share of the spatial frequencies that the blur has put below the noise, which no
        method can bring back but only make up. From `deblur`.
    """

    image: FloatArray
    lam: float
    num_iter: int
    objective: History
    residual: History
    change: History
    psnr: History | None
    reblur_residual: FloatArray | None = None
    sigma: float | None = None
    edge_sigma: float | None = None
    psf_shape: str | None = None
    scores: Mapping[Candidate, float] | None = None
    blur_radius: FloatArray | None = None
    destroyed: FloatArray | None = None


def psnr_db(image: FloatArray, reference: FloatArray) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1; infinity for equal images."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(reference, image, data_range=1.0))
