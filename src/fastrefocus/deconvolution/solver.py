"""A method of deconvolution with its parameters, apart from the PSF and the weight of the prior."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, join_channels, split_channels
from fastrefocus.deconvolution import filters
from fastrefocus.deconvolution.admm import AdmmOptions, solve_tv
from fastrefocus.deconvolution.canvas import BOUNDARIES, make_canvas
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.parallel import thread_map

METHODS = ("admm-tv", "wiener", "inverse")

#: rho / lam where rho is not given: isotropic TV comes within 0.1 % of the smallest objective in about 15 iterations.
PENALTY_RATIO = 25.0

#: lam and rho are smaller; their products with pixel values have to fit into float32.
LARGEST_WEIGHT = 1e30


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Deconvolves images; `fastrefocus.deconvolve` describes the parameters."""

    method: str = "admm-tv"
    rho: float | None = None
    relaxation: float = 1.8
    num_iter: int = 30
    tol: float = 1e-4
    tv: str = "isotropic"
    boundary: str = "reflect"

    def __post_init__(self) -> None:
        checks.choice(self.method, "method", METHODS)
        checks.choice(self.tv, "tv", ("isotropic", "anisotropic"))
        if self.boundary == "masked":
            raise NotImplementedError(
                'boundary="masked" (unknown borders estimated) is not in this version; use "reflect"'
            )
        checks.choice(self.boundary, "boundary", BOUNDARIES)
        checks.number(self.relaxation, "relaxation", above=0, below=2)
        checks.integer(self.num_iter, "num_iter", least=1)
        checks.number(self.tol, "tol", least=0)
        if self.rho is not None:
            checks.number(self.rho, "rho", above=0, below=LARGEST_WEIGHT)

    def run(
        self,
        image: FloatArray,
        psf: FloatArray,
        lam: float,
        *,
        reference: FloatArray | None = None,
        threads: int | None = None,
        progress: Callable[[int], None],
    ) -> DeconvolutionResult:
        """Deconvolve an image of (H, W) or (H, W, channels), each channel by itself."""
        canvas = make_canvas((image.shape[0], image.shape[1]), (psf.shape[0], psf.shape[1]), self.boundary)
        planes, otf = split_channels(image), canvas.otf(psf)
        if self.method == "admm-tv":
            options = AdmmOptions(
                lam=lam,
                rho=PENALTY_RATIO * lam if self.rho is None else self.rho,
                relaxation=self.relaxation,
                num_iter=self.num_iter,
                tol=self.tol,
                isotropic=self.tv == "isotropic",
            )
            return solve_tv(planes, otf, canvas, options, reference=reference, threads=threads, progress=progress)
        inverse = filters.wiener(otf, lam) if self.method == "wiener" else filters.inverse(otf)
        with thread_map(threads, len(planes)) as run:
            restored = join_channels(run(lambda plane: filters.restore(plane, inverse, canvas), planes))
        progress(self.num_iter)
        none = np.empty(0)
        return DeconvolutionResult(restored, lam, 0, none, none, None if reference is None else none)
