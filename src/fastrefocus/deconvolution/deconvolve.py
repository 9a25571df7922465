"""Deconvolution with a known PSF."""

import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import FloatArray, as_image, as_psf
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.deconvolution.selection import LAMS, assess, choose, selection_crop
from fastrefocus.deconvolution.solver import LARGEST_WEIGHT, Solver
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress


def deconvolve(
    image: npt.ArrayLike,
    psf: npt.ArrayLike,
    *,
    method: str = "admm-tv",
    lam: float | None = None,
    rho: float | None = None,
    relaxation: float = 1.8,
    num_iter: int = 30,
    tol: float = 1e-4,
    tv: str = "isotropic",
    boundary: str = "reflect",
    reference: npt.ArrayLike | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
) -> DeconvolutionResult:
    r"""Undo the blur of a known PSF.

    The default minimises 1/2 \|c*x - b\|^2 + lam TV(x) over x by ADMM, for each channel by itself, on the values as
    they are (no conversion to linear light).

    Parameters
    ----------
    image : array_like
        b: (H, W) or (H, W, 3), 0..1.
    psf : array_like
        c: odd height and width, not larger than the image. It should sum to 1, or the brightness changes.
    method : {"admm-tv", "wiener", "inverse"}
        ADMM with total variation; the Wiener filter conj(C) B / (\|C\|^2 + lam), lam being the noise-to-signal power
        ratio; or the inverse filter B / C, 0 where \|C\| <= 0.001, which takes no lam.
    lam : float, optional
        Weight of the prior, > 0. None chooses from `fastrefocus.deconvolution.selection.LAMS` by the whiteness of the
        residual. This choice is provisional: on real photos the error of the PSF, not the noise, is what it sees.
    rho : float, optional
        ADMM's penalty, > 0. None: 25 lam.
    relaxation : float
        ADMM's over-relaxation, between 0 and 2. 1 is the algorithm as paper A has it.
    num_iter : int
        The most iterations, >= 1.
    tol : float
        Stop when \|D x - z\| / \|D x\|, the relative violation of the split, falls below; 0: exactly `num_iter`.
    tv : {"isotropic", "anisotropic"}
        \|(dx, dy)\| or \|dx\| + \|dy\| at each pixel (paper A).
    boundary : {"reflect", "periodic"}
        "reflect" continues the image by its reflection, blended into a seam, on a canvas of a fast size; "periodic"
        works at the image's own size (paper A). The objective is that of the canvas.
    reference : array_like, optional
        The true image; its PSNR is recorded after each iteration.
    threads : int, optional
        Threads over the channels; None: all CPUs. The result does not depend on it.
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
    NotImplementedError
        For ``boundary="masked"``, which a later version brings.
    Cancelled
        If the callback returned False.

    References
    ----------
    Paper A, section 3.4. Boyd et al., Distributed optimization and statistical learning via ADMM, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from fastrefocus import deconvolve, gaussian_psf
    >>> sharp = np.zeros((48, 64), np.float32)
    >>> sharp[16:32, 20:44] = 1
    >>> psf = gaussian_psf(1.5)
    >>> blurred = convolve(sharp, psf)
    >>> result = deconvolve(blurred, psf, lam=1e-4, num_iter=50, reference=sharp)
    >>> bool(result.psnr[-1] > result.psnr[0] > 20)
    True
    """
    observed = as_image(image)
    kernel = as_psf(psf, observed.shape)
    truth = None if reference is None else as_image(reference, "reference", shape=observed.shape)
    solver = Solver(method=method, rho=rho, relaxation=relaxation, num_iter=num_iter, tol=tol, tv=tv, boundary=boundary)
    thread_count(threads)
    if method == "inverse":
        if lam is not None:
            raise ValueError(f'method="inverse" takes no lam, got {lam!r}')
        lam = 0.0
    elif lam is not None:
        lam = checks.number(lam, "lam", above=0, below=LARGEST_WEIGHT)
    if lam is None:
        lam = _choose_lam(solver, observed, kernel, threads, callback)
    progress = Progress(callback, "deconvolve", num_iter)
    return solver.run(observed, kernel, lam, reference=truth, threads=threads, progress=progress)


def _choose_lam(
    solver: Solver, image: FloatArray, psf: FloatArray, threads: int | None, callback: Callback | None
) -> float:
    crop = selection_crop(image, psf)
    progress = Progress(callback, "choose lam", len(LAMS) * solver.num_iter)
    trials = []
    for i, lam in enumerate(LAMS):
        result = solver.run(crop, psf, lam, threads=threads, progress=progress.after(i * solver.num_iter))
        trials.append(assess(result.image, crop, psf, sigma=0.0, lam=lam))
    best = choose(trials) or min(trials, key=lambda trial: trial.overshoot)
    return best.lam
