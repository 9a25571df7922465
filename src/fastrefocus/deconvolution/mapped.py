"""Deblurring with a map of the blur's radius."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.deconvolution.acceptance import UNRELIABLE, accepted, unreliability
from fastrefocus.deconvolution.blur import LayeredBlur
from fastrefocus.deconvolution.channels import Channels
from fastrefocus.deconvolution.diagnostics import destroyed_share
from fastrefocus.deconvolution.layered import SHARP_RADIUS, BlurMap, given_map, layered_blur
from fastrefocus.deconvolution.result import Candidate, DeconvolutionResult, psnr_db
from fastrefocus.deconvolution.selection import choose_lam, noise_sigma
from fastrefocus.deconvolution.solver import Solver
from fastrefocus.errors import ResidualWarning, warn
from fastrefocus.light import luminance
from fastrefocus.optics.psf_grid import PsfGrid
from fastrefocus.progress import Callback, Progress

# The least weight of the prior, as a share of the photo's standard deviation: where the map is not exact its errors and
# those of the PSF, not the noise, limit what can be brought back.
_LAM = {"measured": 0.007, "estimated": 0.01}
_LAM_OF_MEASURED_PSF = 0.002

# A right map makes the result unreliable in a smaller share of the pixels that it calls blurred. Right maps of real
# photos: up to 0.02, wrong ones that made them worse: from 0.05 on.
_DOUBTFUL = 0.03

_LEAST_NOISE = 1e-6  # photos without any are of computers
_SMALLEST_LAM = 1e-6  # for photos without noise and without contrast


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A photo, and what it takes to deconvolve it with a map."""

    channels: Channels
    solver: Solver
    shape: str | PsfGrid  # "disk", "gaussian", or the PSFs of a lens
    psf_known: bool  # the caller named the shape
    protect_sharp: bool
    clipped: BoolArray | None
    threads: int | None
    callback: Callback | None

    @cached_property
    def plane(self) -> FloatArray:
        """The luminance (H, W)."""
        return self.channels.luminance()

    @cached_property
    def noise(self) -> float:
        """The standard deviation of its noise."""
        return noise_sigma(self.plane)

    def destroyed_by(self, psf: FloatArray) -> float:
        """Return the share of the photo's spatial frequencies that a PSF has put below the noise."""
        return destroyed_share(psf, float(self.plane.var()) / max(self.noise, _LEAST_NOISE) ** 2)

    def run(
        self, radius: FloatArray, lams: Sequence[float] | None = None, truth: FloatArray | None = None
    ) -> DeconvolutionResult:
        """Deblur with a map, (H, W) with NaN where it is not known; of several lams take the best by the truth."""
        prepared = given_map(radius, may_be_exact=self.psf_known)
        blur = self.blur(prepared)
        weights = [self.lam(prepared, blur)] if lams is None else list(lams)
        progress = Progress(self.callback, "deblur", len(weights) * self.solver.steps)
        results = []
        for i, lam in enumerate(weights):
            result = self.solve(prepared, blur, lam, progress.after(i * self.solver.steps))
            results.append(self.finish(self._unless_doubtful(result, prepared), prepared, blur))
        if truth is None:
            return results[0]
        scores = {Candidate(0.0, result.lam): psnr_db(result.image, truth) for result in results}
        best = max(results, key=lambda result: scores[Candidate(0.0, result.lam)])
        return replace(best, scores=scores)

    def solve(
        self, prepared: BlurMap, blur: LayeredBlur, lam: float, progress: Callable[[int], None]
    ) -> DeconvolutionResult:
        """Deconvolve what of the photo is to be; what is in focus keeps the photo's values."""
        target = self.channels.observed
        result = replace(self.solver, robust=prepared.source == "measured").run(
            target, blur, lam, trust=prepared.trust, clipped=self.clipped, threads=self.threads,
            progress=progress,
        )  # fmt: skip
        if not self.protect_sharp:
            return result
        sharp = prepared.radius < SHARP_RADIUS
        return replace(result, image=np.where(sharp if target.ndim == 2 else sharp[..., None], target, result.image))

    def unreliability(self, result: DeconvolutionResult, prepared: BlurMap) -> FloatArray:
        """Return how little a result is to be relied on, (H, W)."""
        assert result.reblur_residual is not None
        lam = max(result.lam, _LAM["estimated"] * float(self.plane.std()))
        residual = luminance(result.reblur_residual)
        return unreliability(self.plane, luminance(result.image), residual, prepared.radius, lam)

    def _unless_doubtful(self, result: DeconvolutionResult, prepared: BlurMap) -> DeconvolutionResult:
        """Warn where a map does not fit the photo, and take the less of the result the less it fits."""
        blurred = prepared.known & (prepared.radius >= SHARP_RADIUS)
        unreliable = self.unreliability(result, prepared)
        share = float(np.mean(unreliable[blurred] >= UNRELIABLE)) if blurred.any() else 0.0
        if share < _DOUBTFUL:
            return result
        warn(
            f"the map of the blur does not fit the photo: deblurred with it, {share:.0%} of what it calls blurred "
            f"rings, and less than {_DOUBTFUL:.0%} would be usual; the photo is kept where it does",
            ResidualWarning,
        )
        doubt = np.float32(share / _DOUBTFUL)
        return replace(
            result, image=accepted(self.channels.observed, result.image, prepared.radius, doubt * unreliable)
        )

    def finish(self, result: DeconvolutionResult, prepared: BlurMap, blur: LayeredBlur) -> DeconvolutionResult:
        """Make a photo again of what was deconvolved."""
        destroyed = blur.interpolate(self.destroyed_by)
        edge_sigma = self.channels.edge_sigmas[0] if self.channels.edge_sigmas else None
        sigma = np.asarray(np.maximum(prepared.radius, SHARP_RADIUS) / 2, np.float32)
        image = self.channels.finish(result.image, sigma, edge_sigma)
        return replace(result, image=image, edge_sigma=edge_sigma, blur_radius=prepared.radius, destroyed=destroyed)

    def blur(self, prepared: BlurMap) -> LayeredBlur:
        """Return the blur of a map."""
        return layered_blur(prepared, self.shape, protect_sharp=self.protect_sharp)

    def lam(self, prepared: BlurMap, blur: LayeredBlur) -> float:
        """Return the weight of the prior that the noise asks for, or the errors of the map and the PSF.

        Of an exact map the mean over the layers, in proportion to their areas.
        """
        least = _SMALLEST_LAM
        if prepared.source != "exact":
            share = _LAM_OF_MEASURED_PSF if isinstance(self.shape, PsfGrid) else _LAM[prepared.source]
            least = max(share * float(self.plane.std()), least)
        blurred = prepared.radius >= SHARP_RADIUS
        regions = [(float(np.median(prepared.radius[blurred])), blurred)] if blurred.any() else []
        if prepared.source == "exact":
            blurred &= prepared.known
            levels = [level for level in prepared.levels if level >= SHARP_RADIUS]
            regions = [(level, blurred & (prepared.radius == np.float32(level))) for level in levels]
        if not regions:
            return least
        middle = blur.cells[0] // 2, blur.cells[1] // 2
        lams = [choose_lam(self.plane, blur.psf_of(radius, middle), mask=region) for radius, region in regions]
        logarithms = np.log(np.maximum(lams, _SMALLEST_LAM))
        return max(least, float(np.exp(np.average(logarithms, weights=[region.sum() for _, region in regions]))))
