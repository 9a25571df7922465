"""Paper B's method in one call.

    U   the misfocused photo
    V   the library's focused patches; Blur(v) the blurred version of v
    W   the synthesized picture
    N   the neighbourhood of a pixel, as large as a patch

For each pixel of W the candidates are the centres c of those v whose Blur(v) is nearest to N(U). The first constraint
says exp(-lambda |Blur(v) - N(U)|^2), the second exp(-lambda w min over v of |v - N(W)|^2), with c in the centre of
N(W). The candidate that maximises the product is taken; only w matters to the choice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, as_image, as_mask, as_plane
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, Progress
from fastrefocus.synthesis.assignment import IMAGE_WEIGHT, assign, first_guess
from fastrefocus.synthesis.candidates import (
    CANDIDATE_VALUES,
    COLOURS_PER_CLUSTER,
    Candidates,
    cluster_candidates,
    colour_candidates,
    confidences,
    distance_scale,
)
from fastrefocus.synthesis.library import Bytes, Indices, PatchLibrary, quantise
from fastrefocus.synthesis.order import CONFIDENCES, ORDERS, assignment_order, average_confidence
from fastrefocus.synthesis.result import Provenance, SynthesisResult
from fastrefocus.synthesis.search import SEARCHES, Found, Queries, find_nearest

NEIGHBOURHOODS = ("symmetric", "causal")

_MOST_TEXTURE_WEIGHT = 1e6


@dataclass(frozen=True, eq=False)
class AssignmentResult(SynthesisResult):
    """A picture synthesized pixel by pixel, and how it came about.

    Attributes
    ----------
    image : ndarray
        float32, the photo's shape. Inside the mask the library's values, k / 255; outside the photo's.
    confidence : ndarray
        (H, W) float32: how sure each pixel was before any was assigned; NaN outside the mask, or everywhere where a
        map was given.
    provenance : ndarray
        (H, W) uint8: `Provenance.COPIED` inside the mask, `Provenance.KEPT` outside.
    origin : ndarray
        (H, W, 3) int32: ``library.positions[source]``, photo, row and column; -1 outside the mask.
    neighbourhood_confidence : ndarray
        (H, W) float32: its mean over the neighbourhood, or the map that was given; NaN outside the mask.
    order : ndarray
        (M,) int32: the mask's pixels in the order of assignment, raster indices ``row * W + column``.
    source : ndarray
        (H, W) int32: the patch of the library whose centre the pixel is (of a cluster, its most probable member's);
        -1 outside the mask.
    """

    neighbourhood_confidence: FloatArray
    order: Indices
    source: Indices


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What `synthesize` was asked for, checked."""

    candidates: int
    candidate_values: str
    order: str
    confidence: str | FloatArray
    neighbourhood: str
    texture_weight: int  # 0: without the second constraint
    passes: int
    seed: int
    search: str
    threads: int | None


def synthesize(
    defocused: npt.ArrayLike,
    library: PatchLibrary,
    *,
    mask: npt.ArrayLike | None = None,
    candidates: int = 20,
    candidate_values: str = "colours",
    order: str = "confidence",
    confidence: str | npt.ArrayLike = "probability",
    neighbourhood: str = "symmetric",
    texture: bool = True,
    texture_weight: float = 1.0,
    passes: int = 1,
    seed: int = 0,
    search: str = "exact",
    threads: int | None = None,
    callback: Callback | None = None,
) -> AssignmentResult:
    """Rebuild a misfocused photo, or a part of it, from a library of focused patches.

    The photo is rounded to 8 bits, as the library is; a photo of 16 bits loses the rest inside the mask.

    Parameters
    ----------
    defocused : array_like
        (H, W) or (H, W, 3), as grey or as coloured as the library, uint8, uint16 or float 0..1; at least as large as
        a patch. Beyond its borders it is taken as mirrored.
    library : PatchLibrary
        Focused patches, and what the lens would make of them.
    mask : array_like, optional
        (H, W): the pixels to be rebuilt. None: all.
    candidates : int
        Candidates for each pixel, >= 1; the paper takes 20.
    candidate_values : {"colours", "clusters"}
        Candidates are the colours of the centres of the nearest patches, each colour once; or the means of clusters
        (k-means in RGB) of eight times as many such colours, weighted by their probability (section 5.1).
    order : {"confidence", "scanline", "random", "dynamic"}
        Most confident neighbourhood first, ties in scanline order; row by row; shuffled; or most confident first
        where a pixel counts as certain once it is assigned, so that assignment spreads from the surest pixels.
    confidence : {"probability", "contrast"} or array_like
        The probability of the best candidate, normalised over all of the pixel's (section 2.3); or the standard
        deviation of the photo around the pixel; averaged over the neighbourhood either way. Or a map (H, W) that
        takes the place of that average, such as the `neighbourhood_confidence` of an earlier result.
    neighbourhood : {"symmetric", "causal"}
        All pixels around the pixel, those not yet assigned with their most probable candidates; or only those
        assigned before it. Pixels outside the mask or the photo never count.
    texture : bool
        Whether the second constraint is applied. False: the most probable candidate (figure 3a).
    texture_weight : float
        Weight of the second constraint against the first, > 0 and < 1e6, rounded to a multiple of 1/1024.
    passes : int
        How often every pixel is assigned, >= 1. With a causal neighbourhood 1, since more would change nothing.
    seed : int
        0 .. 2**32 - 1, for ``order="random"``.
    search : {"exact", "faiss-flat", "faiss-ivf", "auto"}
        How the library is searched for candidates: by a tree, exactly; by FAISS and brute force, with the same
        result; by FAISS in a few cells of the library, approximately; or by the fastest of them at the library's
        size, which from 10,000 to 4 million patches is the tree. The second constraint is always searched exactly.
    threads : int, optional
        Default: all CPUs. The result is the same for any number.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` with the stages "search", for clusters "clusters", and
        "texture", in pixels; returning False cancels.

    Returns
    -------
    AssignmentResult
        The picture, the confidence maps, the order, and where each pixel came from.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those above, the mask is empty, or photo and library do not go together.
    Cancelled
        If the callback returned False.

    Notes
    -----
    ``search="exact"`` gives, bit for bit, what a search of all patches for every pixel, one pixel after the other,
    gives. Distances are sums of squared differences of 8-bit values. Of patches equally near the first in the library
    counts; of candidates equally good the one nearer to the photo. The scale 1 / lambda of the probabilities is the
    median difference between a pixel's last candidate and its first.

    References
    ----------
    Paper B, sections 2, 3 and 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve
    >>> from fastrefocus import PatchLibrary, disk_psf, synthesize
    >>> focused = np.random.default_rng(0).random((20, 30), np.float32)
    >>> blurred = convolve(focused, disk_psf(3))
    >>> result = synthesize(blurred, PatchLibrary(focused, disk_psf(3), linearize=False))
    >>> result.image.shape, bool(np.median(np.abs(result.image - focused)) < 1 / 255)
    ((20, 30), True)
    """
    if not isinstance(library, PatchLibrary):
        raise TypeError(f"library must be a PatchLibrary, got {type(library).__name__}")
    image = _check_photo(defocused, library)
    inside = _check_mask(mask, image)
    options = _Options(
        candidates=checks.integer(candidates, "candidates", least=1),
        candidate_values=checks.choice(candidate_values, "candidate_values", CANDIDATE_VALUES),
        order=checks.choice(order, "order", ORDERS),
        confidence=_check_confidence(confidence, inside),
        neighbourhood=checks.choice(neighbourhood, "neighbourhood", NEIGHBOURHOODS),
        texture_weight=_check_texture(texture, texture_weight),
        passes=checks.integer(passes, "passes", least=1),
        seed=_check_seed(seed),
        search=checks.choice(search, "search", SEARCHES),
        threads=thread_count(threads),
    )
    if options.neighbourhood == "causal" and options.passes > 1:
        raise ValueError(f"passes must be 1 with a causal neighbourhood: more change nothing, got {passes}")
    return _synthesize(image, library, inside, options, callback)


def _synthesize(
    image: FloatArray, library: PatchLibrary, mask: BoolArray, options: _Options, callback: Callback | None
) -> AssignmentResult:
    photo, size = quantise(image), library.patch_size
    queries = Queries(photo, np.flatnonzero(mask), size)
    candidates, scale = _find_candidates(library, queries, options, callback)
    confidence, neighbourhood = _confidence_maps(options.confidence, queries, candidates, scale, mask, size)
    order = assignment_order(options.order, confidence, neighbourhood, mask, size, options.seed)
    if options.texture_weight:
        picture, chosen = assign(
            library,
            photo,
            mask,
            candidates,
            order,
            causal=options.neighbourhood == "causal",
            texture_weight=options.texture_weight,
            passes=options.passes,
            threads=options.threads,
            progress=Progress(callback, "texture", len(order) * options.passes),
        )
    else:
        picture, chosen = first_guess(photo, mask, candidates), np.zeros(len(order), np.int32)
    source = np.full(mask.shape, -1, np.int32)
    source[mask] = candidates.patches[np.arange(len(order)), chosen]
    return AssignmentResult(
        image=_paste(image, picture, mask),
        confidence=confidence,
        provenance=np.where(mask, Provenance.COPIED, Provenance.KEPT).astype(np.uint8),
        origin=np.where(mask[..., np.newaxis], library.positions[source], np.int32(-1)),
        neighbourhood_confidence=neighbourhood,
        order=order,
        source=source,
    )


def _find_candidates(
    library: PatchLibrary, queries: Queries, options: _Options, callback: Callback | None
) -> tuple[Candidates, int]:
    """Return each pixel's candidates, and 1 / lambda."""
    clusters = options.candidate_values == "clusters"
    found = find_nearest(
        library,
        queries,
        options.candidates * (COLOURS_PER_CLUSTER if clusters else 1),
        search=options.search,
        threads=options.threads,
        progress=Progress(callback, "search", len(queries)),
    )
    first = Found(found.distances[:, : options.candidates], found.patches[:, : options.candidates])
    scale = distance_scale(first)
    if not clusters:
        return colour_candidates(library, first), scale
    progress = Progress(callback, "clusters", len(queries))
    return (
        cluster_candidates(library, found, options.candidates, scale, threads=options.threads, progress=progress),
        scale,
    )


def _confidence_maps(
    kind: str | FloatArray,
    queries: Queries,
    candidates: Candidates,
    scale: int,
    mask: BoolArray,
    size: int,
) -> tuple[FloatArray, FloatArray]:
    """Return each pixel's confidence and its mean over the neighbourhood, NaN outside the mask."""
    confidence = np.full(mask.shape, np.nan, np.float32)
    if not isinstance(kind, str):
        return confidence, np.where(mask, kind, np.float32(np.nan))
    confidence[mask] = confidences(candidates.distances, scale) if kind == "probability" else queries.contrast()
    return confidence, average_confidence(confidence, mask, size)


def _paste(image: FloatArray, picture: Bytes, mask: BoolArray) -> FloatArray:
    result = image.copy()
    result[mask] = (picture[mask] / np.float32(255)).reshape(-1, *image.shape[2:])
    return result


def _check_photo(defocused: npt.ArrayLike, library: PatchLibrary) -> FloatArray:
    image = as_image(defocused, "defocused")
    size = library.patch_size
    if (1 if image.ndim == 2 else 3) != library.channels:
        kind = "grey, (H, W)" if library.channels == 1 else "RGB, (H, W, 3)"
        raise ValueError(f"defocused must be {kind}, as the library is, got shape {image.shape}")
    if min(image.shape[:2]) < size:
        raise ValueError(f"defocused of shape {image.shape} is smaller than a patch of {size} x {size} pixels")
    return image


def _check_mask(mask: npt.ArrayLike | None, image: FloatArray) -> BoolArray:
    if mask is None:
        return np.ones(image.shape[:2], np.bool_)
    inside = as_mask(mask, image.shape[:2])
    if not inside.any():
        raise ValueError("mask must have at least one pixel inside, got none")
    return inside


def _check_confidence(confidence: str | npt.ArrayLike, mask: BoolArray) -> str | FloatArray:
    if isinstance(confidence, str):
        return checks.choice(confidence, "confidence", CONFIDENCES)
    given = as_plane(confidence, "confidence", shape=mask.shape, nan_ok=True)
    if np.isnan(given[mask]).any():
        row, column = np.argwhere(np.isnan(given) & mask)[0]
        raise ValueError(f"confidence must be a number inside the mask, got NaN at ({row}, {column})")
    return given


def _check_texture(texture: bool, weight: float) -> int:
    scaled = checks.number(weight, "texture_weight", above=0, below=_MOST_TEXTURE_WEIGHT) * IMAGE_WEIGHT
    return max(round(scaled), 1) if checks.flag(texture, "texture") else 0


def _check_seed(seed: int) -> int:
    number = checks.integer(seed, "seed", least=0)
    if number >= 2**32:
        raise ValueError(f"seed must be < 2**32, got {seed}")
    return number
