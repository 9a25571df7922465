"""What deconvolution returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray

History = npt.NDArray[np.float64]


class Candidate(NamedTuple):
    """One point of the grid that `deblur` searches."""

    sigma: float
    """Standard deviation of the PSF along one axis, pixels."""
    lam: float
    """Weight of the prior."""
    edge_sigma: float | None = None
    """Scale of the edge detector, pixels; only for ``channels="edges"``."""


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
    psnr : ndarray or None
        float64 (num_iter,): PSNR to `reference` after each iteration, in dB for a peak of 1; None without a reference.
    sigma : float or None
        Standard deviation of the PSF that `deblur` chose, pixels along one axis; 0 where none fits and the image is
        the input.
    edge_sigma : float or None
        Scale of the edge detector that `deblur` chose, pixels.
    scores : mapping or None
        Score of every candidate that `deblur` tried, higher is better: PSNR in dB with a reference, else the
        whiteness of the residual, minus its correlation.
    """

    image: FloatArray
    lam: float
    num_iter: int
    objective: History
    residual: History
    psnr: History | None
    sigma: float | None = None
    edge_sigma: float | None = None
    scores: Mapping[Candidate, float] | None = None


def psnr_db(image: FloatArray, reference: FloatArray) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1; infinity for equal images."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(reference, image, data_range=1.0))
