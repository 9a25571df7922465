"""Deblurring of photos whose blur is not known, or known as a map."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, as_image, as_plane, as_psf
from fastrefocus.deconvolution.blind import (
    deblur_blindly,
    deblur_by_depth,
    deblur_with_one_psf,
    diagnosed,
)
from fastrefocus.deconvolution.channels import CHANNELS, Channels
from fastrefocus.deconvolution.mapped import Mapped
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.deconvolution.search import EDGE_SIGMAS, LAMS, SIGMAS, Search
from fastrefocus.deconvolution.selection import Psf, default_candidates
from fastrefocus.deconvolution.solver import LARGEST_WEIGHT, Solver
from fastrefocus.optics.coc import DepthLike
from fastrefocus.optics.psf import LARGEST_SIGMA, psf_of_sigma
from fastrefocus.optics.psf_grid import PsfGrid
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback

PSF_SHAPES = ("auto", "disk", "gaussian")

#: Values from here on are taken as clipped: a step and a half of 8 bits below white.
CLIPPED = 253.5 / 255

# Light is not negative, and edges are where they are in all channels. Where the blur is an estimate, more iterations
# follow its errors.
_DEFAULTS: dict[str, Any] = {"value_range": (0.0, np.inf), "tv": "vector"}
_MAP_DEFAULTS: dict[str, Any] = {**_DEFAULTS, "tol": 1e-3, "num_iter": 60}


class SolverOptions(TypedDict, total=False):
    """Arguments of `fastrefocus.deconvolve` that `deblur` passes on."""

    rho: float | None
    relaxation: float
    num_iter: int | None
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
    depth: DepthLike | None = None,
    blur_radius: npt.ArrayLike | None = None,
    psf_shape: str | PsfGrid = "auto",
    linearize: bool = True,
    protect_sharp: bool | None = None,
    reference: npt.ArrayLike | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    **solver: Unpack[SolverOptions],
) -> DeconvolutionResult:
    """Deblur a photo whose blur is not known, or known as a map.

    Without further options the photo's own spectrum decides. Where all of it is blurred alike, it is deconvolved with
    the most plausible disk or Gaussian; else with a map of the blur that is estimated from it, by its spectra, its
    edges and the network of `fastrefocus.estimate_blur`, and only the parts that turn out credible are changed. What is
    found sharp stays as it is; a photo that is found sharp all over comes back unchanged, with sigma 0.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3), 0..1.
    channels : {"rgb", "luminance", "intensity", "edges"}
        What is deconvolved: the channels; the luminance, whose change is added to every channel; paper A's intensity,
        with the colours put back by ratio; or that near edges only, I + E (J - I).
        `fastrefocus.deconvolution.channels` has the formulas.
    sigmas : sequence of float, optional
        One PSF for the whole photo, of these standard deviations along one axis, pixels. Of several the most plausible
        is taken, or the photo as it is; one alone is taken however sharp the photo looks. None with a reference: 1 to
        8, as far as they fit the photo.
    lams : sequence of float, optional
        Weights of the prior: one, or with a reference several to try. None: chosen by the noise, and not less than
        the errors of a map make sensible; with a reference and without a map 1e-4 to 3e-2.
    edge_sigmas : sequence of float, optional
        Scales of the edge detector, pixels, for "edges"; without a reference the first is taken. None: 2, 1, 4.
    depth : DepthMap, optional
        How far each pixel is: what is equally far is blurred alike. The blur of each of up to 12 layers is found from
        the photo.
    blur_radius : array_like, optional
        (H, W), the radius of the blur at each pixel, NaN where it is not known; a Gaussian's is 2 sigma. It is taken
        as measured, with errors; but as exact where it has at most 16 different radii and `psf_shape` is named.
    psf_shape : {"auto", "disk", "gaussian"} or PsfGrid
        Shape of the PSF. "auto": chosen by the photo where one PSF serves all of it, else a disk. A `PsfGrid` with a
        radius goes with `blur_radius`: the PSF of a lens, scaled to the radius.
    linearize : bool
        Take the values as sRGB and work in linear light. Paper A: False.
    protect_sharp : bool, optional
        Keep what is in focus (a radius of less than 1 pixel) as it is, and use it as known. Only with a map. None: yes.
    reference : array_like, optional
        The true photo, by which the best of the grid of sigmas and lams (or, with a map, of lams) is chosen, as in
        paper A.
    threads : int, optional
        Threads; None: all CPUs. The result does not depend on it.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` with the stages "estimate blur" and "deblur"; returning False
        cancels.
    **solver
        `rho`, `relaxation`, `num_iter`, `tol`, `tv` and `boundary` of `fastrefocus.deconvolve`. Without a reference
        or with a map `tv` is "vector", and what is deconvolved is kept from falling below 0. With a map the iteration
        ends at a change of 0.001 or after 60 iterations, since more follow the errors of the map.

    Returns
    -------
    DeconvolutionResult
        With what was chosen, the scores of what was weighed, the map used, and what the blur has destroyed. The
        histories are those of what was deconvolved, in linear light where `linearize` is set.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.
    Cancelled
        If the callback returned False.

    Warns
    -----
    ResidualWarning
        If the restored photo, blurred again, differs from the photo by more than its noise, and not at random: the
        blur found is not the true one, or not all of it. Or if a map does not fit the photo: then the photo is kept
        where that shows.

    Notes
    -----
    Values within a step and a half of 8 bits of white are taken as clipped: the true ones may be larger. So it
    is not with ``boundary="reflect"``, which cannot leave pixels out. docs/restoration.md tells what was measured.

    References
    ----------
    Paper A, section 3.4, and figure 8 for its three variants side by side.

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
    checks.choice(channels, "channels", CHANNELS)
    checks.flag(linearize, "linearize")
    radius = _checked_radius(blur_radius, observed, psf_shape)
    distance = _checked_depth(depth, observed)
    _check_combination(sigmas, depth, blur_radius, protect_sharp, edge_sigmas, channels)
    scales = checks.numbers(
        EDGE_SIGMAS if edge_sigmas is None else edge_sigmas, "edge_sigmas", above=0, below=LARGEST_SIGMA
    )
    weights = None if lams is None else checks.numbers(lams, "lams", above=0, below=LARGEST_WEIGHT)
    if weights is not None and len(weights) > 1 and truth is None:
        raise ValueError(f"lams must be a single weight where there is no reference to choose by, got {lams!r}")
    if unknown := solver.keys() - SolverOptions.__annotations__.keys():
        raise TypeError(f"deblur() got an unexpected keyword argument {min(unknown)!r}")
    candidates = _candidates(sigmas, psf_shape, observed, default=truth is None)
    thread_count(threads)
    work = Channels(observed, channels, linearize, scales if channels == "edges" else ())
    mapped = Mapped(
        channels=work,
        solver=Solver(**{**_MAP_DEFAULTS, **solver}),
        shape="disk" if psf_shape == "auto" else psf_shape,
        psf_known=psf_shape in ("disk", "gaussian"),
        protect_sharp=protect_sharp is not False,
        clipped=_clipped(observed, channels, solver),
        threads=threads,
        callback=callback,
    )
    if radius is not None or distance is not None:
        mapped.solver.check_masks("a map of the blur")
        if radius is not None:
            return diagnosed(mapped.run(radius, weights, truth), mapped)
        assert distance is not None
        return diagnosed(deblur_by_depth(mapped, distance, candidates, weights, truth), mapped)
    if truth is not None:
        return diagnosed(Search.like(mapped, Solver(**solver)).by_psnr(truth, candidates, weights or LAMS), mapped)
    search = Search.like(mapped, Solver(**{**_DEFAULTS, **solver}))
    if sigmas is not None:
        return diagnosed(deblur_with_one_psf(search, candidates, weights), mapped)
    return diagnosed(deblur_blindly(search, mapped, candidates, weights), mapped)


def _check_combination(
    sigmas: object, depth: object, blur_radius: object, protect_sharp: object, edge_sigmas: object, channels: str
) -> None:
    """Refuse options that do not go together."""
    if depth is not None and blur_radius is not None:
        raise ValueError("depth and blur_radius both say how the blur varies; give one of them")
    mapped = depth is not None or blur_radius is not None
    if mapped and sigmas is not None:
        raise ValueError(
            "sigmas are for one PSF for the whole photo; leave them out where depth or blur_radius is given"
        )
    if protect_sharp is not None:
        checks.flag(protect_sharp, "protect_sharp")
        if not mapped:
            raise ValueError("protect_sharp goes with depth or blur_radius, got neither")
    if edge_sigmas is not None and channels != "edges":
        raise ValueError(f'edge_sigmas goes with channels="edges", got channels={channels!r}')


def _checked_radius(
    blur_radius: npt.ArrayLike | None, image: FloatArray, psf_shape: str | PsfGrid
) -> FloatArray | None:
    if not isinstance(psf_shape, PsfGrid):
        checks.choice(psf_shape, "psf_shape", PSF_SHAPES)
    elif blur_radius is None or psf_shape.radius is None:
        raise ValueError("a PsfGrid as psf_shape needs a radius of its own, and goes with blur_radius")
    if blur_radius is None:
        return None
    radius = as_plane(blur_radius, "blur_radius", shape=image.shape[:2], nan_ok=True)
    known = radius[np.isfinite(radius)]
    if known.size == 0:
        raise ValueError("blur_radius must be known somewhere, got NaN everywhere")
    if known.min() < 0 or 2 * known.max() + 1 > min(image.shape[:2]):
        raise ValueError(
            f"blur_radius must be 0 to {(min(image.shape[:2]) - 1) / 2:g} pixels for a photo of {image.shape[:2]}, "
            f"got {known.min():g} to {known.max():g}"
        )
    return radius


def _checked_depth(depth: DepthLike | None, image: FloatArray) -> FloatArray | None:
    if depth is None:
        return None
    if not isinstance(depth, DepthLike):
        raise TypeError(f"depth must be a DepthMap, which declares its kind, got {type(depth).__name__}")
    if depth.values.shape != image.shape[:2]:
        raise ValueError(f"depth must have the photo's height and width {image.shape[:2]}, got {depth.values.shape}")
    if not np.isfinite(depth.values).any():
        raise ValueError("depth must be known somewhere, got NaN everywhere")
    return depth.values


def _candidates(
    sigmas: Sequence[float] | None, psf_shape: str | PsfGrid, image: FloatArray, *, default: bool
) -> list[Psf]:
    """Return the PSFs to weigh: those asked for, paper A's grid of disks, or by `default` that of the blind choice."""
    shapes = ("disk", "gaussian") if psf_shape == "auto" or isinstance(psf_shape, PsfGrid) else (psf_shape,)
    if sigmas is not None:
        wanted = checks.numbers(sigmas, "sigmas", above=0, below=LARGEST_SIGMA)
        psfs = [Psf(shape, sigma) for shape in shapes for sigma in wanted]
        for psf in psfs:
            as_psf(psf_of_sigma(psf.sigma, psf.shape), image.shape, f"the PSF of sigma {psf.sigma:g}")
        return psfs
    if default:
        return [psf for psf in default_candidates(image.shape) if psf.shape in shapes]
    psfs = [Psf(shapes[0], sigma) for sigma in SIGMAS]
    fitting = [psf for psf in psfs if psf_of_sigma(psf.sigma, psf.shape).shape[0] <= min(image.shape[:2])]
    if not fitting:
        raise ValueError(f"the image {image.shape[:2]} is smaller than the smallest PSF tried; give sigmas")
    return fitting


def _clipped(image: FloatArray, channels: str, solver: SolverOptions) -> BoolArray | None:
    """Return where what is deconvolved is clipped; None where it is not, or cannot be left out."""
    clipped: BoolArray = image >= np.float32(CLIPPED)
    if image.ndim == 3 and channels != "rgb":
        clipped = np.any(clipped, axis=2)
    return clipped if clipped.any() and solver.get("boundary") != "reflect" else None
