"""Aperture, lens and focus, from the options and the photo's EXIF."""

import argparse
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

import fastrefocus as fr
from fastrefocus.arrays import FloatArray
from fastrefocus.cli.inputs import SAMPLE_PREFIX, Task, depth_kind, how_far, read_grey
from fastrefocus.exif import read_lens
from fastrefocus.optics.focus import Focus

#: How strong the blur is: by a lens, or up to a largest radius in pixels.
Strength = fr.ThinLens | float

#: For ``--json``: the name of a value -> the value, and whether it is by an option or by the photo's EXIF.
Sources = dict[str, dict[str, Any]]

_WORDS = {
    "focal_length_mm": "focal length {:.4g} mm",
    "f_number": "f-number {:.4g}",
    "sensor_width_mm": "sensor width {:.4g} mm",
}
_LARGEST_RADIUS = 1000.0  # pixels, that the renderer takes


def aperture_of(args: argparse.Namespace) -> fr.Aperture:
    """Make the aperture that the options describe; a picture of it is read."""
    blades = args.aperture if isinstance(args.aperture, int) else None
    mask = None
    if blades is None and args.aperture not in (None, "disk"):
        if not args.aperture.startswith(SAMPLE_PREFIX) and not Path(args.aperture).exists():
            raise FileNotFoundError(f"--aperture {args.aperture}: neither disk, 5 to 9 blades, nor a file that exists")
        mask = read_grey(args.aperture, "--aperture").pixels
    try:
        return fr.Aperture(
            blades=blades,
            rotation=math.radians(args.rotation or 0),
            roundness=args.roundness or 0,
            mask=mask,
            cat_eye=args.cat_eye or 0,
        )
    except ValueError as error:  # about the mask: the other options are in their ranges
        raise ValueError(f"--aperture {args.aperture}: {error}") from None


def strength_of(task: Task) -> tuple[Strength, Sources]:
    """Return the lens where depth is in metres and --max-blur is not given, and say what the EXIF has given."""
    from fastrefocus.pipeline import DEFAULT_MAX_BLUR

    photo, args = task.photo, task.args
    if args.max_blur is not None:
        return args.max_blur, {}
    if depth_kind(args) != "metric":
        return DEFAULT_MAX_BLUR * max(photo.pixels.shape[:2]), {}
    given = {"focal_length_mm": args.focal_length, "f_number": args.f_number, "sensor_width_mm": args.sensor_width}
    _check_lens_known(photo, given)
    lens = fr.ThinLens.from_exif(photo.exif, photo.pixels.shape, focus_distance_m=math.inf, **given)
    sources: Sources = {}
    for name, value in given.items():
        sources[name] = {"value": round(getattr(lens, name), 4), "source": "exif" if value is None else "option"}
    taken = [_WORDS[name].format(sources[name]["value"]) for name, value in given.items() if value is None]
    if taken:
        task.say(f"from its EXIF: {', '.join(taken)}")
    return lens, sources


def focus_of(task: Task) -> tuple[Focus, Sources]:
    """Return the focus wanted, or else the distance of the subject by the photo's EXIF, and say so."""
    if task.args.focus is not None:
        return task.args.focus, {}
    distance = read_lens(task.photo.exif or b"").subject_distance_m
    if distance is None:
        raise ValueError("the photo's EXIF does not give the subject's distance: give --focus")
    task.say(f"from its EXIF: focus on the subject, {how_far(distance)}")
    value = "infinity" if distance == math.inf else round(distance, 4)  # JSON has no number for it
    return distance, {"focus_distance_m": {"value": value, "source": "exif"}}


def radius_of(depth: fr.DepthMap, focus: Focus, strength: Strength) -> FloatArray:
    """Return the signed radius of the circle of confusion of each pixel."""
    if isinstance(strength, fr.ThinLens):
        return checked_radius(fr.coc_from_depth(depth, focus, lens=strength))
    mapping: Literal["disparity"] | None = "disparity" if depth.kind == "relative" else None
    return fr.coc_from_depth(depth, focus, max_radius=strength, mapping=mapping)


def checked_radius(radius: FloatArray) -> FloatArray:
    """Refuse radii by a lens that are too large to be rendered."""
    largest = float(np.abs(radius).max())
    if largest > _LARGEST_RADIUS:
        raise ValueError(
            f"the lens gives blur of a radius of {largest:.0f} pixels, more than {_LARGEST_RADIUS:g}: are depth (in "
            "metres?) and lens right? --max-blur sets the largest radius"
        )
    return radius


def _check_lens_known(photo: fr.Photo, given: dict[str, float | None]) -> None:
    facts = read_lens(photo.exif or b"")
    by_exif = {
        "focal_length_mm": facts.focal_length_mm,
        "f_number": facts.f_number,
        "sensor_width_mm": facts.focal_length_35mm,  # it follows from this and the focal length
    }
    missing = [name for name, value in given.items() if value is None and by_exif[name] is None]
    if missing:
        options = ", ".join(f"--{name.removesuffix('_mm').replace('_', '-')}" for name in missing)
        raise ValueError(
            f"the photo's EXIF does not give the whole lens: give {options}, or --max-blur in place of a lens"
        )
