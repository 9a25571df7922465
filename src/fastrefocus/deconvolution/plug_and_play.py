"""Plug-and-play deconvolution: a denoiser in the place of a prior.

Half-quadratic splitting with a falling noise level (Zhang et al. 2022, section 4): least squares against the photo and
z, then z = denoise(x, sigma), sigma going from `FIRST_SIGMA` down to the photo's own noise. There is no objective.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray, join_channels
from fastrefocus.deconvolution.data_terms import JointData
from fastrefocus.deconvolution.problem import Problem
from fastrefocus.deconvolution.result import DeconvolutionResult, psnr_db
from fastrefocus.fft import ComplexArray, RealFFT2
from fastrefocus.parallel import Map

#: Called with a float32 (H, W) plane and the standard deviation of the noise in it; returns the plane without it.
Denoiser = Callable[[FloatArray, float], npt.ArrayLike]

FIRST_SIGMA = 0.2

#: lam / sigma^2 where the denoiser is told the photo's own noise, sigma.
LAM_PER_VARIANCE = 0.15

#: Least-squares steps between two calls of the denoiser: the splits of unknown pixels move only with them.
_INNER_STEPS = 3

_RELAXATION = 1.8


def non_local_means(plane: FloatArray, sigma: float) -> FloatArray:
    """Take noise of a standard deviation out of a plane; the built-in choice (Buades et al. 2005, scikit-image's)."""
    from skimage.restoration import denoise_nl_means

    result: FloatArray = denoise_nl_means(
        plane, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
    )
    return result.reshape(plane.shape)  # scikit-image leaves out an axis of length 1


@dataclass(frozen=True, kw_only=True)
class PlugAndPlayOptions:
    """Parameters of one run; `fastrefocus.deconvolve` describes them."""

    lam: float
    num_iter: int
    denoiser: Denoiser
    value_range: tuple[float, float] | None


def solve(
    problems: Sequence[Problem], options: PlugAndPlayOptions, run: Map, progress: Callable[[int], None]
) -> list[DeconvolutionResult]:
    """Solve some problems side by side, each channel by itself; `progress` is told how many steps they have done."""
    descents = [_Descent(problem, options, run) for problem in problems]
    last = float(np.sqrt(options.lam / LAM_PER_VARIANCE))
    first = max(FIRST_SIGMA, last)
    for step in range(1, options.num_iter + 1):
        for descent in descents:
            descent.step(first * (last / first) ** ((step - 1) / max(options.num_iter - 1, 1)))
        progress(step * len(problems))
    return [descent.result() for descent in descents]


class _Descent:
    def __init__(self, problem: Problem, options: PlugAndPlayOptions, run: Map) -> None:
        self._options = options
        self._run = run
        self._reference = problem.reference
        self._channels = run(lambda channel: _Channel(problem, channel, options), range(len(problem.planes)))
        self._change: list[float] = []
        self._psnr: list[float] = []

    def step(self, sigma: float) -> None:
        sums = self._run(lambda channel: channel.step(sigma), self._channels)
        change, energy = (sum(column) for column in zip(*sums, strict=True))
        self._change.append(np.sqrt(change / energy) if energy > 0 else 0.0)
        if self._reference is not None:
            self._psnr.append(psnr_db(self._image(), self._reference))

    def result(self) -> DeconvolutionResult:
        return DeconvolutionResult(
            image=self._image(),
            lam=self._options.lam,
            num_iter=self._options.num_iter,
            objective=np.empty(0),
            residual=np.empty(0),
            change=np.array(self._change),
            psnr=None if self._reference is None else np.array(self._psnr),
            reblur_residual=join_channels([channel.residual() for channel in self._channels]),
        )

    def _image(self) -> FloatArray:
        return join_channels([channel.image for channel in self._channels])


class _Channel:
    def __init__(self, problem: Problem, channel: int, options: PlugAndPlayOptions) -> None:
        canvas = self._canvas = problem.canvas
        self._options = options
        assert problem.weights is not None  # so the solver makes the problem
        clipped = None if problem.clipped is None else [problem.clipped[channel]]
        self._data = JointData(
            [problem.planes[channel]], problem.psfs, problem.weights, problem.trust, canvas,
            clipped=clipped, relaxation=_RELAXATION,
        )  # fmt: skip
        stack = 1, 1 + self._data.splits
        self._transform = RealFFT2(canvas.shape, count=stack[1])
        self._right_side = self._transform.input.reshape(*stack, *canvas.shape)
        self._images = self._transform.output.reshape(*stack, *canvas.shape)
        self._z = canvas.extend(problem.planes[channel])
        self._data.begin(self._right_side)

    @property
    def image(self) -> FloatArray:
        return self._canvas.crop(self._z)

    def residual(self) -> FloatArray:
        """Return the least-squares image, which z is the denoised version of, blurred again, minus the photo."""
        return self._data.residuals(self._images)[0]

    def step(self, sigma: float) -> tuple[float, float]:
        """Return |z - z before|^2 and |z|^2 over the image."""
        rho = np.float32(self._options.lam / sigma**2)
        self._data.penalise(np.full(self._transform.spectrum_shape, rho))
        self._right_side[0, 0] = rho * self._z
        for _ in range(_INNER_STEPS):
            self._transform.filter(self._solve)
            self._data.update(self._images, self._right_side)
        before = self.image.copy()
        self._z[...] = _denoised(self._options.denoiser, self._images[0, 0], sigma)
        if self._options.value_range is not None:
            np.clip(self._z, *self._options.value_range, out=self._z)
        return _power(self.image - before), _power(self.image)

    def _solve(self, block: ComplexArray, columns: slice) -> None:
        self._data.solve(block[np.newaxis], columns)


def _denoised(denoiser: Denoiser, plane: FloatArray, sigma: float) -> FloatArray:
    result = np.asarray(denoiser(plane.copy(), sigma))
    if result.shape != plane.shape or result.dtype.kind != "f":
        raise ValueError(
            f"denoiser must return floats of shape {plane.shape}, got {result.dtype} of shape {result.shape}"
        )
    with np.errstate(over="ignore"):
        values: FloatArray = result.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("denoiser must return values that are finite in float32, got others")
    return values


def _power(values: FloatArray) -> float:
    return float(np.sum(np.square(values), dtype=np.float64))
