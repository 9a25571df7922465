"""The one PSF and lambda of a grid that do best for a whole photo: by a reference, or by the photo's own spectrum."""

import itertools
from dataclasses import dataclass, replace

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.deconvolution.blur import UniformBlur
from fastrefocus.deconvolution.channels import Channels
from fastrefocus.deconvolution.mapped import Mapped
from fastrefocus.deconvolution.result import Candidate, DeconvolutionResult, psnr_db
from fastrefocus.deconvolution.selection import Psf
from fastrefocus.deconvolution.solver import Solver
from fastrefocus.optics.psf import psf_of_sigma
from fastrefocus.progress import Callback, Progress

#: The grid of PSF sizes, as standard deviations in pixels. Paper A prints no grid; its best Gaussian was 5.
SIGMAS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)

#: The grid of lam, half a decade a step.
LAMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

#: The grid of the edge detector's scales, pixels; the first is used where there is no reference to choose by.
EDGE_SIGMAS = (2.0, 1.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Search:
    """A photo, and what it takes to deconvolve it with one PSF."""

    channels: Channels
    solver: Solver
    clipped: BoolArray | None
    threads: int | None
    callback: Callback | None

    @classmethod
    def like(cls, mapped: Mapped, solver: Solver) -> "Search":
        """Return the search for the photo of a `Mapped`."""
        return cls(
            channels=mapped.channels, solver=solver, clipped=mapped.clipped, threads=mapped.threads,
            callback=mapped.callback,
        )  # fmt: skip

    def by_psnr(self, truth: FloatArray, psfs: list[Psf], lams: tuple[float, ...]) -> DeconvolutionResult:
        """Return the best result of the grid, as paper A chooses it."""
        pairs = list(itertools.product(psfs, lams))
        progress = Progress(self.callback, "deblur", len(pairs) * self.solver.steps)
        reference = self.channels.target(truth)
        scores: dict[Candidate, float] = {}
        best: DeconvolutionResult | None = None
        for i, (psf, lam) in enumerate(pairs):
            result = self._run(psf, lam, progress, i * self.solver.steps, reference)
            for edge_sigma in self.channels.edge_sigmas or (None,):
                candidate = Candidate(psf.sigma, lam, edge_sigma, psf.shape)
                image = self.channels.finish(result.image, psf.sigma, edge_sigma)
                scores[candidate] = psnr_db(image, truth)
                if scores[candidate] == max(scores.values()):
                    best = chosen(result, image, candidate)
        assert best is not None
        return replace(best, scores=scores)

    def with_psf(self, psf: Psf, lam: float) -> DeconvolutionResult:
        """Deconvolve with one PSF and lambda."""
        result = self._run(psf, lam, Progress(self.callback, "deblur", self.solver.steps), 0, None)
        edge_sigma = self.channels.edge_sigmas[0] if self.channels.edge_sigmas else None
        image = self.channels.finish(result.image, psf.sigma, edge_sigma)
        return chosen(result, image, Candidate(psf.sigma, lam, edge_sigma, psf.shape))

    def _run(
        self, psf: Psf, lam: float, progress: Progress, done: int, reference: FloatArray | None
    ) -> DeconvolutionResult:
        return self.solver.run(
            self.channels.observed,
            UniformBlur(psf_of_sigma(psf.sigma, psf.shape)),
            lam,
            clipped=self.clipped,
            reference=reference,
            threads=self.threads,
            progress=progress.after(done),
        )


def chosen(result: DeconvolutionResult, image: FloatArray, candidate: Candidate) -> DeconvolutionResult:
    """Return a result with its finished image and what was chosen."""
    return replace(
        result, image=image, sigma=candidate.sigma, edge_sigma=candidate.edge_sigma, psf_shape=candidate.shape
    )
