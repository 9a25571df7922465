r"""Half-quadratic deconvolution with a hyper-Laplacian prior (Krishnan and Fergus 2009): a few steps, for previews.

Minimises 1/2 \|c*x - b\|^2 + lam sum \|D x\|^(2/3) by a split w of D x whose penalty lam beta grows from step to step.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Sequence

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.deconvolution.priors import gradient_power
from fastrefocus.deconvolution.problem import Problem, direct_result
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.fft import ComplexArray, RealFFT2
from fastrefocus.parallel import Map

#: beta as in the paper: from 1, by factors of 2 sqrt(2).
BETAS = tuple(float(8 ** (step / 2)) for step in range(6))

_SMALLEST_QUADRATIC = np.float32(1e-30)


def solve(
    problems: Sequence[Problem], lam: float, run: Map, progress: Callable[[int], None]
) -> list[DeconvolutionResult]:
    """Solve some problems side by side, each channel by itself; `progress` is told how many steps they have done."""
    channels = [run(functools.partial(_Channel, problem), problem.planes) for problem in problems]
    for done, beta in enumerate(BETAS, start=1):
        run(operator.methodcaller("step", lam, beta), itertools.chain.from_iterable(channels))
        progress(done * len(problems))
    return [
        direct_result(problem, [channel.x for channel in planes], problem.canvas.otf(problem.psfs[0]), lam)
        for planes, problem in zip(channels, problems, strict=True)
    ]


class _Channel:
    def __init__(self, problem: Problem, plane: FloatArray) -> None:
        canvas = self._canvas = problem.canvas
        self._otf = canvas.otf(problem.psfs[0])
        self._gradient_power = gradient_power(canvas.shape)
        self._transform = RealFFT2(canvas.shape)
        start = canvas.extend(plane)
        self._observed = self._transform.forward(start)[np.newaxis]
        self._transform.output[0] = start

    @property
    def x(self) -> FloatArray:
        """The image on its canvas."""
        image: FloatArray = self._transform.output[0]
        return image

    def step(self, lam: float, beta: float) -> None:
        """Take the w that is best for x, then the x that is best for w."""
        from fastrefocus.native import least_squares, proximal

        weight = np.float32(lam * beta)
        quadratic = np.maximum(weight * self._gradient_power, _SMALLEST_QUADRATIC)
        scale = np.float32(1 / (self._canvas.shape[0] * self._canvas.shape[1]))

        def solve(block: ComplexArray, columns: slice) -> None:
            least_squares.circular_update(
                block[np.newaxis], self._otf[columns], self._observed[:, columns], quadratic[columns], scale
            )

        proximal.hyper_laplacian_update(self.x, self._transform.input[0], np.float32(beta), weight)
        self._transform.filter(solve)
