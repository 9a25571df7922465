"""Deconvolution with a known PSF."""

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import (
    BoolArray,
    FloatArray,
    as_image,
    as_mask,
    as_psf,
    fill_unknown,
    join_channels,
    split_channels,
)
from fastrefocus.deconvolution.blur import Blur, GridBlur, UniformBlur
from fastrefocus.deconvolution.plug_and_play import LAM_PER_VARIANCE, Denoiser
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.deconvolution.selection import choose_lam, noise_sigma
from fastrefocus.deconvolution.solver import LARGEST_WEIGHT, Solver
from fastrefocus.optics.psf_grid import PsfGrid
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress

# The weight of the hyper-Laplacian beside that of total variation, and of the Wiener filter beside the ratio of the
# variances of noise and photo: photos have less power at high frequencies than at low ones.
_HALF_QUADRATIC_LAM = 0.7
_WIENER_LAM = 10.0

_UNKNOWN_LAM = 1e-3  # where the photo is constant, or too small to tell


def deconvolve(
    image: npt.ArrayLike,
    psf: npt.ArrayLike | PsfGrid,
    *,
    method: str = "admm-tv",
    lam: float | None = None,
    rho: float | None = None,
    relaxation: float = 1.8,
    num_iter: int | None = None,
    tol: float = 1e-4,
    tv: str = "isotropic",
    boundary: str = "masked",
    mask: npt.ArrayLike | None = None,
    saturation: float | None = None,
    value_range: tuple[float, float] | None = None,
    denoiser: Denoiser | None = None,
    reference: npt.ArrayLike | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
) -> DeconvolutionResult:
    r"""Undo the blur of a known PSF.

    The default minimises 1/2 \|c*x - b\|^2 + lam TV(x) over x by ADMM, on the values as they are (no conversion to
    linear light). What lies outside the photo is estimated with it. Photos of more than 1024 pixels a side are worked
    on in tiles that overlap, unless there is a `reference`.

    Parameters
    ----------
    image : array_like
        b: (H, W) or (H, W, 3), 0..1.
    psf : array_like or PsfGrid
        c: odd height and width, not larger than the image. It should sum to 1, or the brightness changes. Or the PSFs
        of a grid of cells over the photo; what one cell's PSF gives fades into the next.
    method : {"admm-tv", "plug-and-play", "half-quadratic", "wiener", "inverse"}
        ADMM with total variation; half-quadratic splitting with a denoiser; half-quadratic splitting with the prior
        lam sum \|D x\|^(2/3), six steps, for previews; the Wiener filter conj(C) B / (\|C\|^2 + lam), lam being the
        noise-to-signal power ratio; or the inverse filter B / C, 0 where \|C\| <= 0.001, which takes no lam.
    lam : float, optional
        Weight of the prior, > 0. For "plug-and-play" 0.15 times the variance of the noise. None: chosen by the noise,
        which is read from the photo's spectrum; 0.001 where a photo is constant or too small to tell.
    rho : float, optional
        ADMM's penalty, > 0. None: 16 lam, doubled in the 15th and in the 35th iteration if nothing is clipped.
    relaxation : float
        ADMM's over-relaxation, between 0 and 2. 1 is the algorithm as paper A has it.
    num_iter : int, optional
        The most iterations, >= 1. None: 150 for "admm-tv", 12 for "plug-and-play". The other methods have none to
        count, and only "admm-tv" reads `rho`, `relaxation`, `tol` and `tv`.
    tol : float
        ADMM stops when \|x - x before\| / \|x\|, the relative change of the image, falls below; 0: exactly `num_iter`.
    tv : {"isotropic", "anisotropic", "vector"}
        \|(dx, dy)\| or \|dx\| + \|dy\| at each pixel (paper A), of each channel by itself; or \|(dx, dy)\| over all
        channels together.
    boundary : {"masked", "reflect", "periodic"}
        "masked" estimates what the PSF has brought in from outside the photo; "reflect" continues the photo by its
        reflection, blended into a seam, on a canvas of a fast size; "periodic" works at the photo's own size (paper A).
        The objective is that of the canvas. "half-quadratic", "wiener" and "inverse" need values outside, and reflect
        where "masked" is asked for.
    mask : array_like, optional
        (H, W), true where the photo is to be trusted; the rest is estimated. Only for "admm-tv" and "plug-and-play".
    saturation : float, optional
        The photo's values from here on are clipped: the true ones may be larger. For the same methods.
    value_range : tuple of float, optional
        (low, high): keep the result between them; for example (0, inf). For the same methods.
    denoiser : callable, optional
        For "plug-and-play": called with a float32 plane, which is the photo and some pixels around it, and the
        standard deviation of the noise in it, from several threads at once; returns the plane without the noise.
        None: non-local means.
    reference : array_like, optional
        The true image; its PSNR is recorded after each iteration, if there are any.
    threads : int, optional
        Threads over channels and tiles; None: all CPUs. The result does not depend on it.
    callback : callable, optional
        Called as ``callback("deconvolve", done, total)``; returning False cancels.

    Returns
    -------
    DeconvolutionResult
        The image, not clipped, and the histories.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    Cancelled
        If the callback returned False.

    Warns
    -----
    ConvergenceWarning
        If the change was still above `tol` after `num_iter` iterations.

    References
    ----------
    Paper A, section 3.4. Boyd et al., Distributed optimization and statistical learning via ADMM, 2011. Almeida and
    Figueiredo, Deconvolving images with unknown boundaries using ADMM, 2013. Krishnan and Fergus, Fast image
    deconvolution using hyper-Laplacian priors, 2009. Zhang et al., Plug-and-play image restoration with deep denoiser
    prior, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from fastrefocus import deconvolve, gaussian_psf
    >>> sharp = np.zeros((48, 64), np.float32)
    >>> sharp[16:32, 20:44] = 1
    >>> psf = gaussian_psf(1.5)
    >>> blurred = convolve(sharp, psf)
    >>> result = deconvolve(blurred, psf, lam=1e-4, reference=sharp)
    >>> bool(result.psnr[-1] > result.psnr[0] > 20)
    True
    """
    observed = as_image(image)
    kernel = psf if isinstance(psf, PsfGrid) else as_psf(psf, observed.shape)
    truth = None if reference is None else as_image(reference, "reference", shape=observed.shape)
    known = None if mask is None else as_mask(mask, observed.shape[:2])
    solver = Solver(
        method=method, rho=rho, relaxation=relaxation, num_iter=num_iter, tol=tol, tv=tv, boundary=boundary,
        value_range=value_range, denoiser=denoiser,
    )  # fmt: skip
    clipped = None
    if saturation is not None:
        solver.check_masks("saturation")
        clipped = observed >= np.float32(checks.number(saturation, "saturation", above=0))
    if known is not None:
        solver.check_masks("mask")
        observed = _without(observed, known)
    thread_count(threads)
    if method == "inverse":
        if lam is not None:
            raise ValueError(f'method="inverse" takes no lam, got {lam!r}')
        lam = 0.0
    elif lam is not None:
        lam = checks.number(lam, "lam", above=0, below=LARGEST_WEIGHT)
    else:
        lam = _choose_lam(method, observed, kernel, known)
    result = solver.run(
        observed, _as_blur(kernel, observed, boundary, truth), lam,
        trust=None if known is None else known.astype(np.float32), clipped=clipped, reference=truth, threads=threads,
        progress=Progress(callback, "deconvolve", solver.steps),
    )  # fmt: skip
    solver.warn_if_not_converged(result)
    return result


def _as_blur(psf: FloatArray | PsfGrid, image: FloatArray, boundary: str, truth: FloatArray | None) -> Blur:
    if not isinstance(psf, PsfGrid):
        return UniformBlur(psf)
    if boundary == "periodic" or truth is not None:
        raise ValueError("a PsfGrid is worked on cell by cell; it does not go with boundary='periodic' or a reference")
    height, width = image.shape[:2]
    cells = height // psf.shape[0], width // psf.shape[1]
    if any(cell < n for cell, n in zip(cells, psf.psfs.shape[2:], strict=True)):
        raise ValueError(f"the PSFs of a PsfGrid must fit into its cells, {cells} pixels, got {psf.psfs.shape[2:]}")
    return GridBlur(psf, (height, width))


def _without(image: FloatArray, known: BoolArray) -> FloatArray:
    """Return an image whose unknown pixels have the values of the nearest known ones, to start from."""
    if not known.any():
        raise ValueError("mask must be true somewhere, got one that is false everywhere")
    planes = split_channels(image)
    return join_channels([fill_unknown(np.where(known, plane, np.float32(np.nan)), "image") for plane in planes])


def _choose_lam(method: str, image: FloatArray, psf: FloatArray | PsfGrid, known: BoolArray | None) -> float:
    """Choose the weight of the prior by the photo's own noise; the factors are the best on photos blurred for it."""
    if isinstance(psf, PsfGrid):
        psf = psf.at(psf.shape[0] // 2, psf.shape[1] // 2)
    plane: FloatArray = np.mean(split_channels(image), axis=0, dtype=np.float32)
    if method in ("admm-tv", "half-quadratic"):
        lam = choose_lam(plane, psf, mask=known) * (1 if method == "admm-tv" else _HALF_QUADRATIC_LAM)
    else:
        variance = noise_sigma(plane) ** 2
        contrast = float(plane.var())
        lam = LAM_PER_VARIANCE * variance if method == "plug-and-play" else 0.0
        if method == "wiener" and contrast > 0:
            lam = _WIENER_LAM * variance / contrast
    return lam or _UNKNOWN_LAM
