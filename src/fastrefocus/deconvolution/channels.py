r"""Paper A's three ways to deblur a colour photo with one PSF (its section 3.4).

=========  ==========================================================================================
b          the blurred photo, one value for each pixel and channel
I          its intensity, (20 R + 40 G + B) / 61 + 1e-20, with the paper's weights and its guard against 0
J          I deconvolved
E          edge weight, 0..1: exp(-d^2 / 2 sigma^2), d being the distance to the nearest Canny edge of I
=========  ==========================================================================================

- "rgb" deconvolves each channel with the same PSF and lambda;
- "intensity" returns b J / I, which puts the colours back by ratio;
- "edges" returns b (I + E (J - I)) / I: the deconvolved detail J - I is taken near edges only.

The paper says of the last that a "detailed layer is abstracted from the intensity layer", tuning "the parameters that
abstract the detailed layer after edge detection"; it names neither detector nor formula. Here the detector is
Canny's at scale `edge_sigma` with the strongest tenth of the gradients as seeds, and the weight falls off over
the PSF's own width, since that is how far the blur has spread an edge.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, as_psf
from fastrefocus.deconvolution.result import Candidate, DeconvolutionResult, psnr_db
from fastrefocus.deconvolution.selection import BLIND_LAMS, LAMS, assess, choose, selection_crop
from fastrefocus.deconvolution.solver import LARGEST_WEIGHT, Solver
from fastrefocus.light import decode, encode
from fastrefocus.optics.psf import psf_of_sigma
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress

#: The grid of PSF sizes, as standard deviations in pixels. Paper A prints no grid; its best Gaussian was 5.
SIGMAS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)

#: The grid of the edge detector's scales, pixels; the first is used where there is no reference to choose by.
EDGE_SIGMAS = (2.0, 1.0, 4.0)

_CANNY_QUANTILES = (0.8, 0.9)


class SolverOptions(TypedDict, total=False):
    """Arguments of `fastrefocus.deconvolve` that `deblur` passes on."""

    rho: float | None
    relaxation: float
    num_iter: int
    tol: float
    tv: str
    boundary: str


def deblur(
    image: npt.ArrayLike,
    *,
    channels: str = "rgb",
    sigmas: Sequence[float] | None = None,
    lams: Sequence[float] | None = None,
    edge_sigmas: Sequence[float] | None = None,
    psf_shape: str = "disk",
    linearize: bool = True,
    reference: npt.ArrayLike | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    **solver: Unpack[SolverOptions],
) -> DeconvolutionResult:
    """Deblur a photo whose blur is not known, with the one PSF and lambda of a grid that do best.

    With `reference` the best candidate has the highest PSNR, as in paper A. Without, it is chosen by the whiteness of
    the residual in the middle of the photo; this choice is provisional, and `fastrefocus.deconvolution.selection`
    describes it. Where no PSF fits, the photo comes back as it is, with sigma 0. A photo that is sharp in parts is made
    worse there, by any of the three variants: they know one PSF only.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), 0..1.
    channels : {"rgb", "intensity", "edges"}
        Paper A's variants: each channel by itself; the intensity with the colours put back by ratio; or the deconvolved
        intensity near edges only, I + E (J - I), which the module's head defines.
    sigmas : sequence of float, optional
        Standard deviations of the PSFs to try along one axis, pixels. None: 1 to 8, as far as they fit the image.
    lams : sequence of float, optional
        Weights of the prior to try. None: `fastrefocus.deconvolution.selection.LAMS`; without a reference `BLIND_LAMS`.
    edge_sigmas : sequence of float, optional
        Scales of the edge detector to try, pixels, for "edges"; without a reference the first is taken. None: 2, 1, 4.
    psf_shape : {"disk", "gaussian"}
        A disk is as wide as 4 sigma, which gives it that standard deviation. Paper A: "gaussian".
    linearize : bool
        Take the values as sRGB and work in linear light. Paper A: False.
    reference : array_like, optional
        The true photo.
    threads : int, optional
        Threads over the channels; None: all CPUs. The result does not depend on it.
    callback : callable, optional
        Called as ``callback("deblur", done, total)``; returning False cancels.
    **solver
        `rho`, `relaxation`, `num_iter`, `tol`, `tv` and `boundary` of `fastrefocus.deconvolve`.

    Returns
    -------
    DeconvolutionResult
        With the `sigma`, `lam` and `edge_sigma` chosen and the score of each candidate. The histories are those of the
        channels or intensity that were deconvolved, in linear light where `linearize` is set.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    Cancelled
        If the callback returned False.

    References
    ----------
    Paper A, section 3.4, and figure 8 for the three variants side by side.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> sharp = np.zeros((64, 80), np.float32)
    >>> sharp[16:48, 20:60] = 1
    >>> blurred = gaussian_filter(sharp, 2)
    >>> result = deblur(blurred, sigmas=[1, 2, 3], psf_shape="gaussian", linearize=False, reference=sharp)
    >>> result.sigma
    2.0
    """
    observed = as_image(image)
    truth = None if reference is None else as_image(reference, "reference", shape=observed.shape)
    checks.choice(channels, "channels", ("rgb", "intensity", "edges"))
    checks.choice(psf_shape, "psf_shape", ("disk", "gaussian"))
    if edge_sigmas is not None and channels != "edges":
        raise ValueError(f'edge_sigmas goes with channels="edges", got channels={channels!r}')
    psfs = _psfs(sigmas, psf_shape, observed)
    weights = checks.numbers(
        lams if lams is not None else BLIND_LAMS if truth is None else LAMS, "lams", above=0, below=LARGEST_WEIGHT
    )
    scales: tuple[float, ...] = ()
    if channels == "edges":
        scales = checks.numbers(EDGE_SIGMAS if edge_sigmas is None else edge_sigmas, "edge_sigmas", above=0)
    if unknown := solver.keys() - SolverOptions.__annotations__.keys():
        raise TypeError(f"deblur() got an unexpected keyword argument {min(unknown)!r}")
    thread_count(threads)
    search = _Search(
        job=_Job(observed, channels, linearize, scales),
        solver=Solver(**solver),
        psfs=psfs,
        lams=weights,
        threads=threads,
        callback=callback,
    )
    return search.by_whiteness() if truth is None else search.by_psnr(truth)


@dataclass(frozen=True, eq=False)
class _Job:
    """What to deconvolve, and how the deconvolved values become a photo again."""

    photo: FloatArray  # as it came
    channels: str
    linearize: bool
    edge_sigmas: tuple[float, ...]

    @cached_property
    def edge_distances(self) -> dict[float, FloatArray]:
        """Return the distances to the edges at every scale, which serve all candidates."""
        return {sigma: edge_distance(self.target(self.photo), sigma) for sigma in self.edge_sigmas}

    def values(self, photo: FloatArray) -> FloatArray:
        """Return the values worked on: linear light, or as encoded."""
        return decode(photo) if self.linearize else photo

    def target(self, photo: FloatArray) -> FloatArray:
        """Return what of a photo is deconvolved: its channels or its intensity."""
        values = self.values(photo)
        return values if self.channels == "rgb" else intensity(values)

    def finish(self, restored: FloatArray, candidate: Candidate) -> FloatArray:
        """Return the photo, encoded as it came."""
        result = restored
        if self.channels != "rgb":
            b = self.values(self.photo)
            before = intensity(b)
            if candidate.edge_sigma is not None:
                weight = edge_weight(self.edge_distances[candidate.edge_sigma], candidate.sigma)
                restored = before + weight * (restored - before)
            ratio = restored / before
            result = b * (ratio if b.ndim == 2 else ratio[..., np.newaxis])
        return encode(result) if self.linearize else result


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The grid, and the two ways to choose from it."""

    job: _Job
    solver: Solver
    psfs: dict[float, FloatArray]
    lams: tuple[float, ...]
    threads: int | None
    callback: Callback | None

    def by_psnr(self, truth: FloatArray) -> DeconvolutionResult:
        target = self.job.target(self.job.photo)
        reference = self.job.target(truth)
        pairs = list(itertools.product(self.psfs, self.lams))
        progress = Progress(self.callback, "deblur", len(pairs) * self.solver.num_iter)
        scores: dict[Candidate, float] = {}
        best: DeconvolutionResult | None = None
        for i, (sigma, lam) in enumerate(pairs):
            result = self.solver.run(
                target, self.psfs[sigma], lam, reference=reference, threads=self.threads,
                progress=progress.after(i * self.solver.num_iter),
            )  # fmt: skip
            for edge_sigma in self.job.edge_sigmas or (None,):
                candidate = Candidate(sigma, lam, edge_sigma)
                image = self.job.finish(result.image, candidate)
                scores[candidate] = psnr_db(image, truth)
                if scores[candidate] == max(scores.values()):
                    best = _chosen(result, image, candidate)
        assert best is not None
        return replace(best, scores=scores)

    def by_whiteness(self) -> DeconvolutionResult:
        target = self.job.target(self.job.photo)
        edge_sigma = self.job.edge_sigmas[0] if self.job.edge_sigmas else None
        pairs = list(itertools.product(self.psfs, self.lams))
        steps = self.solver.num_iter
        total = (len(pairs) + 1) * steps
        progress = Progress(self.callback, "deblur", total)
        trials = []
        for i, (sigma, lam) in enumerate(pairs):
            psf = self.psfs[sigma]
            crop = selection_crop(target, psf)
            result = self.solver.run(crop, psf, lam, threads=self.threads, progress=progress.after(i * steps))
            trials.append(assess(result.image, crop, psf, sigma=sigma, lam=lam))
        scores = {Candidate(t.sigma, t.lam, edge_sigma): t.whiteness for t in trials}
        best = choose(trials)
        if best is None:
            progress(total)
            return self.unchanged(scores)
        chosen = Candidate(best.sigma, best.lam, edge_sigma)
        result = self.solver.run(
            target, self.psfs[chosen.sigma], chosen.lam, threads=self.threads,
            progress=progress.after(len(pairs) * steps),
        )  # fmt: skip
        image = self.job.finish(result.image, chosen)
        return replace(_chosen(result, image, chosen), scores=scores)

    def unchanged(self, scores: dict[Candidate, float]) -> DeconvolutionResult:
        none = np.empty(0)
        return DeconvolutionResult(self.job.photo.copy(), 0.0, 0, none, none, None, sigma=0.0, scores=scores)


def intensity(photo: FloatArray) -> FloatArray:
    """Return paper A's intensity, (20 R + 40 G + B) / 61 + 1e-20, of a grey or colour photo."""
    if photo.ndim == 3:
        photo = (20 * photo[..., 0] + 40 * photo[..., 1] + photo[..., 2]) / np.float32(61)
    return photo + np.float32(1e-20)


def edge_distance(plane: FloatArray, edge_sigma: float) -> FloatArray:
    """Return each pixel's distance to the nearest Canny edge; infinite where there is no edge at all."""
    from scipy.ndimage import distance_transform_edt
    from skimage.feature import canny

    low, high = _CANNY_QUANTILES
    edges = canny(plane, sigma=edge_sigma, low_threshold=low, high_threshold=high, use_quantiles=True)
    if not edges.any():
        return np.full_like(plane, np.inf)
    distance: FloatArray = distance_transform_edt(~edges).astype(np.float32)
    return distance


def edge_weight(distance: FloatArray, sigma: float) -> FloatArray:
    """Return exp(-d^2 / 2 sigma^2)."""
    weight: FloatArray = np.exp(-0.5 * (distance / np.float32(sigma)) ** 2)
    return weight


def _chosen(result: DeconvolutionResult, image: FloatArray, candidate: Candidate) -> DeconvolutionResult:
    return replace(result, image=image, sigma=candidate.sigma, edge_sigma=candidate.edge_sigma)


def _psfs(sigmas: Sequence[float] | None, shape: str, image: FloatArray) -> dict[float, FloatArray]:
    if sigmas is not None:
        return {
            sigma: as_psf(psf_of_sigma(sigma, shape), image.shape, f"the PSF of sigma {sigma:g}")
            for sigma in checks.numbers(sigmas, "sigmas", above=0)
        }
    psfs = {sigma: psf_of_sigma(sigma, shape) for sigma in SIGMAS}
    fitting = {sigma: psf for sigma, psf in psfs.items() if psf.shape[0] <= min(image.shape[:2])}
    if not fitting:
        raise ValueError(f"the image {image.shape[:2]} is smaller than the smallest PSF tried; give sigmas")
    return fitting
