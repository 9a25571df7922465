"""One problem of deconvolution: a photo, or a tile of one, on its canvas, and what has blurred it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray, join_channels
from fastrefocus.deconvolution.canvas import Canvas, filter_canvas
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.fft import ComplexArray


@dataclass(frozen=True, eq=False)
class Problem:
    """What to explain: b = sum over k of w_k (c_k * x).

    Attributes
    ----------
    planes : sequence of ndarray
        float32 (H, W), the channels of b.
    psfs : sequence of ndarray
        float32 (h, w), odd: the K c_k.
    weights : ndarray or None
        float32 (K, H, W): w_k. None: one PSF, and the canvas is known everywhere.
    trust : ndarray or None
        float32 (H, W): the weight of each pixel's square in the data term, 0 where b is not known; None: 1.
    canvas : Canvas
        What the planes are laid on.
    clipped : sequence of ndarray or None
        bool (H, W) for each channel, where b is clipped: the true value may be larger. Only with weights.
    reference : ndarray or None
        The true image, for the PSNR.
    """

    planes: Sequence[FloatArray]
    psfs: Sequence[FloatArray]
    weights: FloatArray | None
    trust: FloatArray | None
    canvas: Canvas
    clipped: Sequence[BoolArray] | None = None
    reference: FloatArray | None = None


def direct_result(
    problem: Problem, restored: Sequence[FloatArray], otf: ComplexArray, lam: float
) -> DeconvolutionResult:
    """Return the result of a method without iterations and with one PSF, from each channel's restored canvas."""
    crop, none = problem.canvas.crop, np.empty(0)
    return DeconvolutionResult(
        image=join_channels([crop(x) for x in restored]),
        lam=lam,
        num_iter=0,
        objective=none,
        residual=none,
        change=none,
        psnr=None if problem.reference is None else none,
        reblur_residual=join_channels(
            [crop(filter_canvas(x, otf)) - plane for x, plane in zip(restored, problem.planes, strict=True)]
        ),
    )
