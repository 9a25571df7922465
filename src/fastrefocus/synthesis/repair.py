"""Repair of a misfocused photo by focused photos of the same scene, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import BoolArray, FloatArray, as_image, as_mask, as_psf
from fastrefocus.deconvolution.deblur import deblur
from fastrefocus.errors import RegistrationWarning, warn
from fastrefocus.light import decode, encode, luminance
from fastrefocus.optics.calibration import fit_disk_psf
from fastrefocus.optics.psf import disk_psf
from fastrefocus.parallel import thread_count
from fastrefocus.progress import Callback, part_of
from fastrefocus.synthesis.assembly import restore
from fastrefocus.synthesis.example import BRIGHTEST, Example
from fastrefocus.synthesis.fusion import Fusion
from fastrefocus.synthesis.library import Masks, PatchLibrary, Photos, as_masks, as_photos
from fastrefocus.synthesis.regions import Region, find_regions
from fastrefocus.synthesis.registration import Registration, register
from fastrefocus.synthesis.result import Provenance, SynthesisResult
from fastrefocus.synthesis.synthesize import AssignmentResult, synthesize
from fastrefocus.synthesis.view import EVERYWHERE, Window, bounding_window

METHODS = ("auto", "paper")

_BLURRED = 2.0  # radius, pixels, from which on a focused photo is itself called blurred
_MOSTLY = 0.5  # share of the copy from which on a pixel is called copied
_EDGE = 3.0  # standard deviation of the transition at the border of a mask that was found, pixels
_LARGEST_DISK = 31  # diameter, pixels, that is fitted for the paper's method


@dataclass(frozen=True, eq=False)
class ExamplePhoto:
    """What was found of a focused photo.

    Attributes
    ----------
    problem : str
        Why it was not used; empty if it was.
    score : float
        The share that it explains of what is not smooth in the misfocused photo, at most 1; of another scene it is
        below 0.5.
    residual, residual_before : float
        Mean absolute difference inside the mask to the misfocused photo, in linear light, blurred as that is;
        registered, and as the photos are.
    psf : ndarray
        (n, n) float32: the blur of the misfocused photo against it.
    blur_radius : float
        Radius of its own blur where it was to be used, pixels; NaN if it shows nothing there.
    """

    problem: str
    score: float
    residual: float
    residual_before: float
    psf: FloatArray
    blur_radius: float


@dataclass(frozen=True, eq=False)
class RepairResult(SynthesisResult):
    """A repaired photo, where each of its pixels is from, and what was found of the focused photos.

    Attributes
    ----------
    image : ndarray
        float32, the photo's shape, as encoded. Outside the mask the photo's values.
    confidence : ndarray
        (H, W) float32, 0..1: how well the examples match, and agree; NaN outside the mask.
    provenance : ndarray
        (H, W) uint8: what was done to each pixel, a `Provenance`: mostly, where there is a transition.
    origin : ndarray
        (H, W, 3) int32: the focused photo's number, and row and column in it, that most of a copied pixel is from;
        -1 elsewhere.
    mask : ndarray
        (H, W) bool: what was to be restored; as given, or found.
    photos : tuple of ExamplePhoto
        What was found of each focused photo.
    """

    mask: BoolArray
    photos: tuple[ExamplePhoto, ...]


def refocus_from_examples(
    defocused: npt.ArrayLike,
    focused: Photos,
    *,
    mask: npt.ArrayLike | None = None,
    focused_masks: Masks = None,
    psf: str | npt.ArrayLike = "fit",
    method: str = "auto",
    threads: int | None = None,
    callback: Callback | None = None,
) -> SynthesisResult:
    """Repair a misfocused photo, or a part of it, by focused photos of the same scene.

    The focused photos may be taken from a little elsewhere, at another focus or exposure: each is registered with the
    misfocused one, and the blur between them measured. What the lens let through is restored by deconvolution, what it
    did not is copied from where a focused photo shows the same. Where none does, the result is the deconvolution.

    Parameters
    ----------
    defocused : array_like
        (H, W) or (H, W, 3), uint8, uint16 or float 0..1, sRGB-encoded.
    focused : array_like or sequence of array_like
        One photo or several, each of any size. A grey one tells of the luminance only: the colours come from those
        in colour, or without any by deconvolution.
    mask : array_like, optional
        (H, W): the pixels to be restored. None: those where some focused photo is the sharper one.
    focused_masks : array_like or sequence of array_like, optional
        A mask for each focused photo: where it may be copied from, as far as the misfocused one shows it. None: where
        it is the sharper one, and what is seen from the mask. It is registered as a whole.
    psf : "fit" or array_like
        (h, w), odd: the blur of the misfocused photo against the focused ones. "fit": the disk or Gaussian that
        explains more, for each focused photo. A PSF is normalised, and negative values count as 0.
    method : {"auto", "paper"}
        "paper": paper B's own, `synthesize` with a `PatchLibrary` of the focused photos. It neither registers the
        photos nor matches their brightness.
    threads : int, optional
        None: all CPUs. The result is the same for any number.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` with the stages "register" and "match" (or those of `deblur` or
        `synthesize`); returning False cancels.

    Returns
    -------
    SynthesisResult
        A `RepairResult`; with ``method="paper"`` an `AssignmentResult`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those above, or the mask is empty.
    Cancelled
        If the callback returned False.

    Warns
    -----
    RegistrationWarning
        If a focused photo is not used, because it shows another scene, or nothing of the mask, or is no sharper; or if
        it is itself blurred, or its mask on nothing that the photo shows. If none is left, what is inside the mask
        is deconvolved with the PSF given; without mask or PSF the photo is deblurred by `deblur`.

    References
    ----------
    Paper B, and docs/examples.md, which tells how this differs from it.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import convolve, gaussian_filter, shift
    >>> from fastrefocus import disk_psf, refocus_from_examples
    >>> scene = gaussian_filter(np.random.default_rng(0).random((120, 140)), 1)
    >>> scene = (scene - scene.min()) / np.ptp(scene)
    >>> misfocused = scene.copy()
    >>> misfocused[40:80, 50:90] = convolve(scene, disk_psf(7))[40:80, 50:90]
    >>> result = refocus_from_examples(misfocused, shift(scene, (3, -5), mode="mirror"))
    >>> bool(np.abs(result.image - scene).mean() < 0.6 * np.abs(misfocused - scene).mean())
    True
    """
    image, photos = as_image(defocused, "defocused"), as_photos(focused)
    inside = None if mask is None else _check_mask(mask, image)
    sources = as_masks(focused_masks, photos, "focused_masks")
    kernel = _check_psf(psf, image)
    thread_count(threads)
    if checks.choice(method, "method", METHODS) == "paper":
        return _by_the_paper(image, photos, inside, sources, kernel, threads, callback)
    light, *lights = (np.minimum(decode(each), BRIGHTEST) for each in (image, *photos))
    registrations = [
        register(light, each, inside, kernel, threads=threads, callback=part_of(callback, number, len(lights)))
        for number, each in enumerate(lights)
    ]
    _say_problems(registrations)
    found = tuple(_summary(registration) for registration in registrations)
    numbered = zip(range(len(lights)), lights, sources, registrations, strict=True)
    examples = [Example(*each) for each in numbered if each[-1].is_believable]
    _say_what_is_not_seen(examples)
    if examples:
        regions = find_regions(light, examples, inside, kernel, threads=threads)
    elif inside is None or kernel is None:
        return _deblurred(image, inside, found, threads, callback)
    else:
        regions = [Region(inside, kernel, difference=0)]
    if not regions:
        return _kept(image, np.zeros(image.shape[:2], np.bool_), found)
    whole = np.logical_or.reduce([region.mask for region in regions])
    frame, fusion, picture = _restored(light, examples, regions, whole, threads, callback)
    if inside is None:
        picture = _blended(light[frame], picture, _share(whole)[frame])
    return _result(image, encode(np.clip(picture, 0, 1)), frame, fusion, whole, found)


def fit_disk_around(focused: FloatArray, defocused: FloatArray, mask: BoolArray | None) -> int:
    """Return the diameter of the disk that fits around the mask, of photos of the same view and shape."""
    box = EVERYWHERE
    if mask is not None and mask.shape == defocused.shape[:2] and mask.any():
        box = bounding_window(mask)
    largest = max(min(_LARGEST_DISK, *(length - 1 for length in defocused[box].shape[:2])), 1)
    return fit_disk_psf(focused[box], defocused[box], max_diameter=largest).diameter


def _check_mask(mask: npt.ArrayLike, image: FloatArray) -> BoolArray:
    inside = as_mask(mask, image.shape[:2]).copy()
    if not inside.any():
        raise ValueError("mask must have at least one pixel inside, got none")
    return inside


def _check_psf(psf: str | npt.ArrayLike, image: FloatArray) -> FloatArray | None:
    if isinstance(psf, str):
        checks.choice(psf, "psf", ("fit",))
        return None
    kernel: FloatArray = np.maximum(as_psf(psf, image.shape), np.float32(0))
    normalised: FloatArray = kernel / np.float32(kernel.sum(dtype=np.float64))
    return normalised


def _by_the_paper(
    image: FloatArray,
    photos: Sequence[FloatArray],
    mask: BoolArray | None,
    sources: Sequence[BoolArray | None],
    psf: FloatArray | None,
    threads: int | None,
    callback: Callback | None,
) -> AssignmentResult:
    if psf is None:
        if photos[0].shape != image.shape:
            raise ValueError(
                'psf="fit" with method="paper" compares photos of the same view and shape, got '
                f"{photos[0].shape} and {image.shape}; give a psf"
            )
        psf = disk_psf(fit_disk_around(photos[0], image, mask))
    library = PatchLibrary(list(photos), psf, masks=list(sources))
    return synthesize(image, library, mask=mask, threads=threads, callback=callback)


def _say_problems(registrations: Sequence[Registration]) -> None:
    for number, registration in enumerate(registrations):
        if registration.problem:
            warn(f"focused[{number}] is not used: {registration.problem}", RegistrationWarning)
        elif registration.focused_blur >= _BLURRED:
            warn(
                f"focused[{number}] is itself blurred, by a radius of about {registration.focused_blur:.1f} pixels: "
                "what is copied is no sharper",
                RegistrationWarning,
            )


def _say_what_is_not_seen(examples: Sequence[Example]) -> None:
    for example in examples:
        if example.mask is not None and not example.sources(EVERYWHERE).any():
            warn(
                f"nothing is copied from focused[{example.number}]: the photo shows nothing of what its mask is on",
                RegistrationWarning,
            )


def _summary(registration: Registration) -> ExamplePhoto:
    return ExamplePhoto(
        registration.problem,
        registration.score,
        float(registration.residual),
        float(registration.residual_before),
        registration.psf,
        registration.focused_blur,
    )


def _deblurred(
    image: FloatArray,
    mask: BoolArray | None,
    found: tuple[ExamplePhoto, ...],
    threads: int | None,
    callback: Callback | None,
) -> RepairResult:
    """Return what the photo tells by itself."""
    sharp = deblur(image, threads=threads, callback=callback).image
    inside = np.ones(image.shape[:2], np.bool_) if mask is None else mask
    changed = inside & (sharp != image).reshape(*inside.shape, -1).any(axis=2)
    result = _kept(image, inside, found)
    result.image[inside] = sharp[inside]
    result.confidence[inside] = 0
    result.provenance[changed] = Provenance.DECONVOLVED
    return result


def _restored(
    light: FloatArray,
    examples: Sequence[Example],
    regions: Sequence[Region],
    mask: BoolArray,
    threads: int | None,
    callback: Callback | None,
) -> tuple[Window, Fusion, FloatArray]:
    """Return the mask's bounding box, and in it the fusion, and the picture in the photo's channels, linear light.

    If any focused photo is grey, the fusion is that of luminance, and the colours are those that the others tell of.
    """
    if light.ndim == 2:
        frame, fusion = restore(light[..., np.newaxis], examples, regions, mask, threads=threads, callback=callback)
        return frame, fusion, fusion.image[..., 0]
    in_colour = [example for example in examples if example.light.ndim == 3]
    if len(in_colour) == len(examples):
        frame, fusion = restore(light, examples, regions, mask, threads=threads, callback=callback)
        return frame, fusion, fusion.image
    first, second = (part_of(callback, number, 2) for number in (0, 1))
    colours = restore(light, in_colour, regions, mask, threads=threads, callback=first)[1].image
    grey = luminance(light)[..., np.newaxis]
    frame, fusion = restore(grey, examples, regions, mask, threads=threads, callback=second)
    return frame, fusion, colours + (fusion.image - luminance(colours)[..., np.newaxis])


def _share(mask: BoolArray) -> FloatArray:
    """Return how much of the repaired picture is taken at each pixel: a mask that was found is not exact."""
    from scipy.ndimage import gaussian_filter

    around = gaussian_filter(mask.astype(np.float32), _EDGE)
    share: FloatArray = np.maximum(2 * around - 1, 0)  # 0 at a straight border
    return share


def _blended(light: FloatArray, picture: FloatArray, share: FloatArray) -> FloatArray:
    blended: FloatArray = light + (share if light.ndim == 2 else share[..., np.newaxis]) * (picture - light)
    return blended


def _result(
    image: FloatArray,
    picture: FloatArray,
    frame: Window,
    fusion: Fusion,
    mask: BoolArray,
    found: tuple[ExamplePhoto, ...],
) -> RepairResult:
    """Lay what was restored in a frame on the photo."""
    inside = mask[frame]
    copied = inside & (fusion.copied >= _MOSTLY)
    result = _kept(image, mask, found)
    result.image[frame][inside] = picture[inside]
    result.confidence[frame] = fusion.confidence
    result.provenance[frame][inside] = np.where(copied, Provenance.COPIED, Provenance.DECONVOLVED)[inside]
    result.origin[frame][copied] = fusion.source[copied]
    return result


def _kept(image: FloatArray, mask: BoolArray, found: tuple[ExamplePhoto, ...]) -> RepairResult:
    """Return a photo to which nothing has been done yet."""
    return RepairResult(
        image=image.copy(),
        confidence=np.full(mask.shape, np.nan, np.float32),
        provenance=np.full(mask.shape, Provenance.KEPT, np.uint8),
        origin=np.full((*mask.shape, 3), -1, np.int32),
        mask=mask,
        photos=found,
    )
