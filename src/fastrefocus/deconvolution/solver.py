"""A method of deconvolution with its parameters, apart from the blur and the weight of the prior."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, split_channels
from fastrefocus.deconvolution import admm, filters, half_quadratic, plug_and_play
from fastrefocus.deconvolution.admm import AdmmOptions
from fastrefocus.deconvolution.blur import Blur, Layers
from fastrefocus.deconvolution.canvas import BOUNDARIES, make_canvas
from fastrefocus.deconvolution.plug_and_play import Denoiser, PlugAndPlayOptions
from fastrefocus.deconvolution.problem import Problem
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.deconvolution.tiles import WINDOW_SIDE, Mosaic, Tile, combined, tiles
from fastrefocus.errors import ConvergenceWarning, warn
from fastrefocus.parallel import Map, thread_count, thread_map

METHODS = ("admm-tv", "plug-and-play", "half-quadratic", "wiener", "inverse")

#: The methods that can leave pixels out, and so estimate what lies outside the photo, and know several PSFs.
MASKING_METHODS = ("admm-tv", "plug-and-play")

#: rho / lam where rho is not given, and the iterations in which it doubles: of the constant and growing ones tried,
#: these come nearest to the minimum early and late (docs/benchmarks.md). What is clipped has far to go, which a large
#: rho makes slow: there it stays.
PENALTY_RATIO, DOUBLINGS = 16.0, (15, 35)

#: Iterations where `num_iter` is not given.
NUM_ITER = {"admm-tv": 150, "plug-and-play": 12}

_SMALLEST_SHARE = 0.44  # of the largest side: narrower windows are mostly margins

#: lam and rho are smaller; their products with pixel values have to fit into float32.
LARGEST_WEIGHT = 1e30


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Deconvolves images; `fastrefocus.deconvolve` describes the parameters."""

    method: str = "admm-tv"
    rho: float | None = None
    relaxation: float = 1.8
    num_iter: int | None = None
    tol: float = 1e-4
    tv: str = "isotropic"
    boundary: str = "masked"
    denoiser: Denoiser | None = None
    value_range: tuple[float, float] | None = None
    robust: bool = False

    def __post_init__(self) -> None:
        checks.choice(self.method, "method", METHODS)
        checks.choice(self.tv, "tv", ("isotropic", "anisotropic", "vector"))
        checks.choice(self.boundary, "boundary", BOUNDARIES)
        checks.number(self.relaxation, "relaxation", above=0, below=2)
        if self.num_iter is not None:
            checks.integer(self.num_iter, "num_iter", least=1)
        checks.number(self.tol, "tol", least=0)
        if self.rho is not None:
            checks.number(self.rho, "rho", above=0, below=LARGEST_WEIGHT)
        if self.method == "plug-and-play" and self.boundary == "reflect":
            raise ValueError('method="plug-and-play" goes with boundary="masked" or "periodic", got "reflect"')
        if self.denoiser is not None:
            self._check_denoiser(self.denoiser)
        if self.value_range is not None:
            self._check_value_range(self.value_range)

    def check_masks(self, what: str) -> None:
        """Refuse what needs a data term that leaves pixels out where there is none."""
        if self.method not in MASKING_METHODS:
            raise ValueError(f"{what} goes with method={' or '.join(map(repr, MASKING_METHODS))}, got {self.method!r}")
        if self.boundary == "reflect":
            raise ValueError(f'{what} goes with boundary="masked" or "periodic", got "reflect"')

    def _check_denoiser(self, denoiser: Denoiser) -> None:
        if not callable(denoiser):
            raise TypeError(f"denoiser must be a function of a plane and a standard deviation, got {denoiser!r}")
        if self.method != "plug-and-play":
            raise ValueError(f'denoiser goes with method="plug-and-play", got method={self.method!r}')

    def _check_value_range(self, value_range: tuple[float, float]) -> None:
        message = (
            f"value_range must be two numbers (low, high) with low < high, infinite or at most {LARGEST_WEIGHT:g} in "
            f"size, got {value_range!r}"
        )
        if not isinstance(value_range, (tuple, list)) or not all(map(_is_real, value_range)):
            raise TypeError(message)
        if len(value_range) != 2 or not value_range[0] < value_range[1]:
            raise ValueError(message)
        if not all(abs(bound) == np.inf or abs(bound) <= LARGEST_WEIGHT for bound in value_range):
            raise ValueError(message)
        if self.method not in MASKING_METHODS:
            raise ValueError(f'value_range goes with method="admm-tv" or "plug-and-play", got method={self.method!r}')

    @property
    def steps(self) -> int:
        """The most iterations of a run, for its progress."""
        if self.method in NUM_ITER:
            return NUM_ITER[self.method] if self.num_iter is None else self.num_iter
        return len(half_quadratic.BETAS) if self.method == "half-quadratic" else 1

    @property
    def _is_local(self) -> bool:
        """Whether what is far away makes no difference, as tiles need."""
        return self.boundary != "periodic" and self.method not in ("wiener", "inverse")

    def run(
        self,
        image: FloatArray,
        blur: Blur,
        lam: float,
        *,
        trust: FloatArray | None = None,
        clipped: BoolArray | None = None,
        reference: FloatArray | None = None,
        threads: int | None = None,
        progress: Callable[[int], None],
    ) -> DeconvolutionResult:
        """Deconvolve an image of (H, W) or (H, W, channels), a large one in tiles; with a reference in one piece.

        `trust`, float32 (H, W), is the weight of each pixel's square, and `clipped`, bool of the image's shape, tells
        where the true value may be larger. `progress` is told how many of `steps` are done.
        """
        shape = image.shape[0], image.shape[1]
        planes = (image.shape[2] if image.ndim == 3 and self.tv == "vector" else 1) * (1 + blur.layers)
        whole = reference is not None or not self._is_local or max(shape) <= WINDOW_SIDE
        parts = tiles(shape, blur.psf_shape, side=max(shape) if whole else _window_side(planes), cells=blur.cells)
        if len(parts) > 1 and image.ndim == 3 and self.tv != "vector":
            return self._run_channels(image, blur, lam, trust, clipped, threads, progress)
        doublings = DOUBLINGS if self.rho is None and (clipped is None or not clipped.any()) else ()
        workers = thread_count(threads)
        mosaic = Mosaic(image.shape)
        with thread_map(threads, workers) as run:
            for first in range(0, len(parts), workers):
                batch = parts[first : first + workers]
                problems = [self._problem(image, blur, trust, clipped, reference, tile) for tile in batch]

                def told(done: int, before: int = first * self.steps) -> None:
                    progress((before + done) // len(parts))

                for tile, result in zip(batch, self._solve(problems, lam, doublings, run, told), strict=True):
                    mosaic.add(tile, result)
        return mosaic.result()

    def _run_channels(
        self,
        image: FloatArray,
        blur: Blur,
        lam: float,
        trust: FloatArray | None,
        clipped: BoolArray | None,
        threads: int | None,
        progress: Callable[[int], None],
    ) -> DeconvolutionResult:
        """Deconvolve a large image channel by channel, so that the tiles of one only are in memory."""
        restored, residual = np.empty_like(image), np.empty_like(image)
        results = []
        for c in range(image.shape[2]):

            def told(done: int, before: int = c * self.steps) -> None:
                progress((before + done) // image.shape[2])

            mask = clipped if clipped is None or clipped.ndim == 2 else clipped[..., c]
            plane = np.ascontiguousarray(image[..., c])
            result = self.run(plane, blur, lam, trust=trust, clipped=mask, threads=threads, progress=told)
            restored[..., c], residual[..., c] = result.image, result.reblur_residual
            results.append(replace(result, image=restored, reblur_residual=residual))
        return combined(results)

    def warn_if_not_converged(self, result: DeconvolutionResult) -> None:
        """Warn where the last iteration came before the change had fallen below `tol`."""
        if self.method == "admm-tv" and self.tol > 0 and result.change[-1] >= self.tol:
            warn(
                f"not converged: after {result.num_iter} iterations the image still changed by "
                f"{result.change[-1]:.1e}, tol is {self.tol:g}; give a larger num_iter or tol, or tol=0 for exactly "
                "num_iter",
                ConvergenceWarning,
            )

    def _problem(
        self,
        image: FloatArray,
        blur: Blur,
        trust: FloatArray | None,
        clipped: BoolArray | None,
        reference: FloatArray | None,
        tile: Tile,
    ) -> Problem:
        layers, window = blur.within(tile), tile.window
        masks = None if clipped is None or not clipped[window].any() else split_channels(clipped[window])
        part = None if trust is None else trust[window]
        return Problem(
            planes=[np.ascontiguousarray(plane) for plane in split_channels(image[window])],
            psfs=layers.psfs,
            weights=layers.weights if self._leaves_out(layers, part, masks) else None,
            trust=part,
            canvas=make_canvas(window.shape, layers.psf_shape, self._boundary),
            clipped=masks,
            reference=None if reference is None else reference[window],
        )

    def _leaves_out(self, layers: Layers, trust: FloatArray | None, clipped: Sequence[BoolArray] | None) -> bool:
        """Return whether the problem is more than one PSF on a canvas that is known everywhere."""
        if self.method == "plug-and-play" or self._boundary == "masked":
            return True
        return len(layers.psfs) > 1 or trust is not None or clipped is not None

    @property
    def _boundary(self) -> str:
        """The boundary in use: filters need values everywhere."""
        if self.boundary == "masked" and self.method not in MASKING_METHODS:
            return "reflect"
        return self.boundary

    def _solve(
        self,
        problems: list[Problem],
        lam: float,
        doublings: tuple[int, ...],
        run: Map,
        progress: Callable[[int], None],
    ) -> list[DeconvolutionResult]:
        match self.method:
            case "admm-tv":
                return admm.solve(problems, self._admm_options(lam, doublings), run, progress)
            case "plug-and-play":
                denoiser = self.denoiser or plug_and_play.non_local_means
                options = PlugAndPlayOptions(
                    lam=lam, num_iter=self.steps, denoiser=denoiser, value_range=self.value_range
                )
                return plug_and_play.solve(problems, options, run, progress)
            case "half-quadratic":
                return half_quadratic.solve(problems, lam, run, progress)
            case _:
                response = functools.partial(filters.wiener, lam=lam) if self.method == "wiener" else filters.inverse
                results = filters.solve(problems, response, lam, run)
                progress(len(problems) * self.steps)
                return results

    def _admm_options(self, lam: float, doublings: tuple[int, ...]) -> AdmmOptions:
        return AdmmOptions(
            lam=lam,
            rho=PENALTY_RATIO * lam if self.rho is None else self.rho,
            doublings=doublings,
            relaxation=self.relaxation,
            num_iter=self.steps,
            tol=self.tol,
            tv=self.tv,
            value_range=self.value_range,
            robust=self.robust,
        )


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _window_side(planes: int) -> int:
    """Return the side of windows in which so many planes are worked on, which then take about the same memory."""
    return int(WINDOW_SIDE * max((2 / planes) ** 0.5, _SMALLEST_SHARE))
