"""The verbs that take focused photos beside the misfocused one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastrefocus as fr
from fastrefocus.arrays import FloatArray
from fastrefocus.cli import inputs
from fastrefocus.cli.inputs import Task
from fastrefocus.cli.verbs import Outcome, rounded, warnings_said
from fastrefocus.light import luminance

MAPS = ("provenance", "confidence")  #: That ``repair --maps`` writes.

#: Encoded colours of what was kept, of what was deconvolved, and of what was copied, in turn for each focused photo;
#: after Okabe and Ito, whom also the colour-blind can tell apart.
_KEPT, _DECONVOLVED = (0.5, 0.5, 0.5), (0.0, 0.45, 0.7)
_COPIED = ((0.0, 0.62, 0.45), (0.9, 0.62, 0.0), (0.8, 0.47, 0.65), (0.94, 0.89, 0.26), (0.84, 0.37, 0.0))
_DARKEST = np.float32(0.3)  # share of a colour where the photo is black


@dataclass(frozen=True)
class _Focused:
    """The focused photos' pixels, and the masks: None, or one for each."""

    photos: list[FloatArray]
    masks: list[npt.NDArray[np.bool_]] | None
    mask: npt.NDArray[np.bool_] | None


def repair(task: Task) -> Outcome:
    """Repair a photo by focused ones."""
    photo, args = task.photo, task.args
    started = time.perf_counter()
    focused = _read(task)
    size = args.psf
    if size is None and args.method == "paper":
        size = _fitted(photo.pixels, focused)
    names = _names(args.focused)
    with warnings_said(task, names):
        result = fr.refocus_from_examples(
            photo.pixels,
            focused.photos,
            mask=focused.mask,
            focused_masks=focused.masks,
            psf="fit" if size is None else _psf(*size),
            method=args.method,
            threads=args.threads,
            callback=task.callback,
        )
    task.say(_done(result, names))
    photos = [replace(photo, pixels=result.image)]
    if args.maps is not None:
        photos += _maps(result, photo.pixels)
    seconds = {"repair": time.perf_counter() - started}
    return Outcome(photos, {**_report(result, args.focused), "seconds": rounded(seconds)})


def synthesize(task: Task) -> Outcome:
    """Rebuild a photo from patches of focused ones."""
    photo, args = task.photo, task.args
    started = time.perf_counter()
    focused = _read(task)
    shape, size = args.psf or _fitted(photo.pixels, focused)
    library = fr.PatchLibrary(
        focused.photos, _psf(shape, size), masks=focused.masks, patch_size=args.patch_size, linearize=args.linearize
    )
    built = time.perf_counter()
    result = fr.synthesize(
        photo.pixels,
        library,
        mask=focused.mask,
        candidates=args.candidates,
        order=args.order,
        neighbourhood=args.neighbourhood,
        texture=args.texture,
        texture_weight=args.texture_weight,
        passes=args.passes,
        search=args.search,
        threads=args.threads,
        callback=task.callback,
    )
    seconds = {"library": built - started, "synthesize": time.perf_counter() - built}
    report = {"psf": f"{shape}:{size:g}", "patches": len(library), "pixels": len(result.order)}
    return Outcome([replace(photo, pixels=result.image)], {**report, "seconds": rounded(seconds)})


def _read(task: Task) -> _Focused:
    """Read what the options name."""
    args = task.args
    photos = [inputs.read(source) for source in args.focused]
    masks = [
        inputs.read_mask(source, "--focused-mask", photo)
        for source, photo in zip(args.focused_mask, photos, strict=False)  # or none
    ]
    mask = None if args.mask is None else inputs.read_mask(args.mask, "--mask", task.photo)
    return _Focused([photo.pixels for photo in photos], masks or None, mask)


def _names(sources: Sequence[str]) -> Sequence[str]:
    """Return what to call the focused photos: their file names, or, where two have the same, as they were given."""
    names = [Path(source).name for source in sources]
    return names if len(set(names)) == len(set(sources)) else sources


def _psf(shape: str, size: float) -> FloatArray:
    return fr.disk_psf(size) if shape == "disk" else fr.gaussian_psf(size)


def _fitted(defocused: FloatArray, focused: _Focused) -> tuple[str, float]:
    """Return shape and size of the PSF that fits around the object that is to be rebuilt."""
    from fastrefocus.synthesis.repair import fit_disk_around  # loads SciPy and scikit-image

    first = focused.photos[0]
    if first.shape != defocused.shape:
        raise ValueError(
            f"--psf fit compares photos of the same view and shape, got {first.shape} and {defocused.shape}; "
            "give --psf disk:DIAMETER"
        )
    return "disk", fit_disk_around(first, defocused, focused.mask)


def _done(result: fr.SynthesisResult, names: Sequence[str]) -> str:
    """Say what was found and done."""
    restored, copied = _shares(result)
    if not restored:
        return "nothing was found that could be restored; the photo is as it was"
    share = f"{restored:.3g}% of the photo restored"
    if not copied:
        return f"{share}, by deconvolution"
    numbers, counts = np.unique(result.origin[result.provenance == fr.Provenance.COPIED, 0], return_counts=True)
    most_first = ", ".join(names[number] for number in numbers[np.argsort(-counts, kind="stable")])
    rest = "" if copied == 100 else "; the rest by deconvolution"
    return f"{share}, of that {copied:.3g}% copied, from {most_first}{rest}"


def _report(result: fr.SynthesisResult, sources: Sequence[str]) -> dict[str, Any]:
    """Return what ``--json`` says of the result, and of each focused photo that was registered."""
    restored, copied = (share / 100 for share in _shares(result))
    photos = result.photos if isinstance(result, fr.RepairResult) else ()  # the paper's method registers none
    return {
        "restored": round(restored, 4),
        "copied": round(copied, 4),
        "deconvolved": round(1 - copied, 4) if restored else 0.0,
        "focused": [_found(photo, source) for photo, source in zip(photos, sources, strict=False)],
    }


def _shares(result: fr.SynthesisResult) -> tuple[float, float]:
    """Return what was restored of the photo, and what of that was copied, per cent."""
    restored = int(np.count_nonzero(result.provenance != fr.Provenance.KEPT))
    copied = int(np.count_nonzero(result.provenance == fr.Provenance.COPIED))
    return 100 * restored / result.provenance.size, 100 * copied / max(restored, 1)


def _found(photo: fr.ExamplePhoto, source: str) -> dict[str, Any]:
    values = {
        "score": photo.score,
        "residual_before": photo.residual_before,
        "residual": photo.residual,
        "psf_radius": np.nan if photo.problem else _radius(photo.psf),
        "blur_radius": photo.blur_radius,
    }
    numbers = {name: float(f"{value:.4g}") if np.isfinite(value) else None for name, value in values.items()}
    return {"photo": source, **numbers, "problem": photo.problem or None}


def _radius(psf: FloatArray) -> float:
    """Return the radius in pixels of the disk with the PSF's second moment, which is radius^2 / 2."""
    squared_distance = np.square(np.indices(psf.shape) - len(psf) // 2).sum(axis=0)
    return float(np.sqrt(2 * np.average(squared_distance, weights=psf)))


def _maps(result: fr.SynthesisResult, pixels: FloatArray) -> list[fr.Photo]:
    """Return pictures of where each pixel is from, over the photo's luminance, and of the confidence."""
    colours = np.array([_KEPT, _DECONVOLVED, *_COPIED], np.float32)
    number = result.origin[..., 0] % len(_COPIED)
    colour = np.where(result.provenance == fr.Provenance.COPIED, number + fr.Provenance.COPIED, result.provenance)
    shade = _DARKEST + (1 - _DARKEST) * luminance(pixels)
    provenance = colours[colour] * shade[..., np.newaxis]
    return [fr.Photo(provenance), fr.Photo(np.nan_to_num(result.confidence, nan=0.0))]
