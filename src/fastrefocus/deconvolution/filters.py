r"""Direct filters: inverse and Wiener.

With C the PSF's transfer function and B the image's spectrum:

- inverse: X = B / C where \|C\| > 0.001, else 0;
- Wiener: X = conj(C) B / (\|C\|^2 + lam), lam being the ratio of the noise's power to the image's.
"""

from collections.abc import Callable, Sequence

import numpy as np

from fastrefocus.deconvolution.canvas import filter_canvas
from fastrefocus.deconvolution.problem import Problem, direct_result
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.fft import ComplexArray
from fastrefocus.parallel import Map

#: Where the transfer function is smaller, the inverse filter would amplify rounding by more than 60 dB.
SMALLEST_TRANSFER = 1e-3


def wiener(otf: ComplexArray, lam: float) -> ComplexArray:
    r"""Return conj(C) / (\|C\|^2 + lam)."""
    return otf.conj() / (np.abs(otf) ** 2 + np.float32(max(lam, 1e-30)))  # the sum must not be 0


def inverse(otf: ComplexArray) -> ComplexArray:
    r"""Return 1 / C where \|C\| > `SMALLEST_TRANSFER`, else 0."""
    magnitude = np.abs(otf)
    kept = magnitude > SMALLEST_TRANSFER
    return np.where(kept, otf.conj() / np.maximum(magnitude, np.float32(SMALLEST_TRANSFER)) ** 2, 0)


def solve(
    problems: Sequence[Problem], response: Callable[[ComplexArray], ComplexArray], lam: float, run: Map
) -> list[DeconvolutionResult]:
    """Apply to each problem's planes the filter that `response` makes of its transfer function."""
    return [_restore(problem, response, lam, run) for problem in problems]


def _restore(
    problem: Problem, response: Callable[[ComplexArray], ComplexArray], lam: float, run: Map
) -> DeconvolutionResult:
    canvas = problem.canvas
    otf = canvas.otf(problem.psfs[0])
    inverse = response(otf)
    restored = run(lambda plane: filter_canvas(canvas.extend(plane), inverse), problem.planes)
    return direct_result(problem, restored, otf, lam)
