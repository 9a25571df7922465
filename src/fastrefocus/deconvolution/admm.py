"""ADMM for deconvolution with a total-variation prior: min over x of 1/2 |c*x - b|^2 + lam TV(x).

Boyd et al. 2011; paper A, section 3.4, calls the three steps x-, z- and u-update. `fastrefocus.native.proximal` has
the table of symbols and the kernels: an iteration is one filter in the Fourier domain (x-update) and one pass over
the pixels (z- and u-update).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray, join_channels
from fastrefocus.deconvolution.canvas import Canvas
from fastrefocus.deconvolution.result import DeconvolutionResult, psnr_db
from fastrefocus.fft import ComplexArray, RealFFT2
from fastrefocus.parallel import thread_map

# Beyond these the squares leave float32; on pixel values, less makes no difference.
_SMALLEST_RHO = 1e-30
_LARGEST_THRESHOLD = 1e18


@dataclass(frozen=True, kw_only=True)
class AdmmOptions:
    """Parameters of one run; `fastrefocus.deconvolve` describes them."""

    lam: float
    rho: float
    relaxation: float
    num_iter: int
    tol: float
    isotropic: bool


@dataclass(frozen=True)
class _Sums:
    """What one iteration adds up over one channel, for the histories."""

    objective: float
    difference: float  # |D x - z|^2
    gradient: float  # |D x|^2


class _Channel:
    """The state of one channel on the canvas: x, and v = D x + u."""

    def __init__(self, plane: FloatArray, otf: ComplexArray, canvas: Canvas, options: AdmmOptions) -> None:
        height, width = canvas.shape
        self._options = options
        self._otf = otf
        self._transform = RealFFT2(canvas.shape)
        self._observed = self._transform.forward(canvas.extend(plane))
        self._transform.input[...] = 0  # D'(z - u), for z = u = 0
        self._vy = np.zeros(canvas.shape, np.float32)
        self._vx = np.zeros(canvas.shape, np.float32)
        self._ly = _difference_power(np.arange(height), height)
        self._lx = _difference_power(np.arange(width // 2 + 1), width)
        # Parseval over half a spectrum: every column counts twice, but for frequency 0 and, if there is one, Nyquist
        self._multiplicity = np.full(width // 2 + 1, 2.0)
        self._multiplicity[0] = 1
        if width % 2 == 0:
            self._multiplicity[-1] = 1

    @property
    def x(self) -> FloatArray:
        return self._transform.output

    def iterate(self) -> _Sums:
        from fastrefocus.native import proximal

        options, size = self._options, self.x.size
        rho, scale = np.float32(max(options.rho, _SMALLEST_RHO)), np.float32(1 / size)
        threshold = np.float32(min(max(options.lam / options.rho, 1 / _LARGEST_THRESHOLD), _LARGEST_THRESHOLD))
        misfit = 0.0

        def solve(block: ComplexArray, columns: slice) -> None:
            nonlocal misfit
            errors = proximal.x_update(
                block, self._otf[columns], self._observed[columns], self._ly, self._lx[columns], rho, scale
            )
            misfit += float(errors @ self._multiplicity[columns])

        self._transform.filter(solve)
        variation, difference, gradient = proximal.dual_update(
            self.x, self._vy, self._vx, self._transform.input,
            threshold, np.float32(options.relaxation), options.isotropic,
        )  # fmt: skip
        return _Sums(0.5 * misfit / size + options.lam * variation, difference, gradient)


def solve_tv(
    planes: list[FloatArray],
    otf: ComplexArray,
    canvas: Canvas,
    options: AdmmOptions,
    *,
    reference: FloatArray | None,
    threads: int | None,
    progress: Callable[[int], None],
) -> DeconvolutionResult:
    """Deconvolve each (H, W) plane by itself, all with the same PSF and parameters.

    Every iteration starts and ends in the calling thread, so that it can be interrupted.
    """
    objective, residual, psnr = [], [], []
    with thread_map(threads, len(planes)) as run:
        channels = run(lambda plane: _Channel(plane, otf, canvas, options), planes)
        for iteration in range(options.num_iter):
            sums = run(_Channel.iterate, channels)
            objective.append(sum(s.objective for s in sums))
            gradient = sum(s.gradient for s in sums)
            residual.append(np.sqrt(sum(s.difference for s in sums) / gradient) if gradient > 0 else 0.0)
            if reference is not None:
                psnr.append(psnr_db(_image(channels, canvas), reference))
            converged = residual[-1] < options.tol
            progress(options.num_iter if converged else iteration + 1)
            if converged:
                break
    return DeconvolutionResult(
        image=_image(channels, canvas),
        lam=options.lam,
        num_iter=len(objective),
        objective=np.array(objective),
        residual=np.array(residual),
        psnr=None if reference is None else np.array(psnr),
    )


def _image(channels: list[_Channel], canvas: Canvas) -> FloatArray:
    return join_channels([canvas.crop(channel.x) for channel in channels])


def _difference_power(k: npt.NDArray[np.int_], size: int) -> FloatArray:
    """Squared transfer function of the periodic forward difference, 4 sin^2(pi k / n)."""
    return (4 * np.sin(np.pi * k / size) ** 2).astype(np.float32)
