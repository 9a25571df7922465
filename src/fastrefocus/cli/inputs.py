"""Photos, masks and depth, from where the command line says."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import fastrefocus as fr
from fastrefocus.arrays import FloatArray
from fastrefocus.depth.calibration import FARTHEST_M
from fastrefocus.depth.depth_map import Kind
from fastrefocus.depth.files.depth_files import load_depth_file
from fastrefocus.depth.files.stored_depth import StoredDepth
from fastrefocus.exif import read_lens
from fastrefocus.progress import Progress

SAMPLE_PREFIX = "sample:"


@dataclass(frozen=True)
class Task:
    """One photo, and what is to be done with it."""

    photo: fr.Photo
    args: argparse.Namespace
    say: Callable[[str], None]
    callback: fr.Callback | None
    source: str


def read(source: str) -> fr.Photo:
    """Read a photo file or a sample photo."""
    if source.startswith(SAMPLE_PREFIX):
        from fastrefocus.samples import load_sample

        return load_sample(source.removeprefix(SAMPLE_PREFIX))
    return fr.read_photo(source)


def read_grey(source: str, option: str) -> fr.Photo:
    """Read a picture that must be grey; the option is for the error message."""
    photo = read(source)
    if photo.pixels.ndim != 2:
        raise ValueError(f"{option} {source} must be a grey picture, got colour")
    return photo


def read_mask(source: str, option: str, photo: fr.Photo) -> npt.NDArray[np.bool_]:
    """Read a mask of the photo's size: white is inside."""
    values = _of_size(read(source).pixels, source, option, photo)
    mask: npt.NDArray[np.bool_] = (values if values.ndim == 2 else values.mean(axis=2)) > 0.5
    return mask


def read_map(source: str, option: str, photo: fr.Photo, *, zero_unknown: bool) -> FloatArray:
    """Read a grey picture of the photo's size; black is unknown (NaN) where that is wanted."""
    values = _of_size(read_grey(source, option).pixels, source, option, photo)
    return np.where(values > 0, values, np.float32(np.nan)) if zero_unknown else values


def _of_size(values: FloatArray, source: str, option: str, photo: fr.Photo) -> FloatArray:
    size = photo.pixels.shape[:2]
    if values.shape[:2] != size:
        raise ValueError(f"{option} {source} must have the photo's height and width {size}, got {values.shape[:2]}")
    return values


def read_depth(args: argparse.Namespace) -> fr.DepthMap:
    """Read the depth file that the options name; whole numbers that nothing is said about are relative."""
    try:
        stored = load_depth_file(args.depth)
        return stored.as_map(_kind_of(stored, args), args.depth_unit, bool(args.zero_unknown))
    except FileNotFoundError:
        raise FileNotFoundError(f"--depth {args.depth}: there is no such file") from None
    except fr.DepthFileError as error:
        raise fr.DepthFileError(f"--depth {error}") from None


def _kind_of(stored: StoredDepth, args: argparse.Namespace) -> Kind | None:
    """Return the kind that the options give to a depth file; None where it says it itself."""
    kind: Kind | None = args.depth_kind
    if stored.kind is not None:
        if args.depth_unit is not None or args.zero_unknown:
            raise fr.DepthFileError(f"{args.depth} says what its values mean: no --depth-unit or --zero-unknown")
    elif kind is None:
        if stored.samples.dtype.kind != "u":
            raise fr.DepthFileError(f"{args.depth} does not say what its values mean: give --depth-kind")
        kind = "relative"
    return kind


def depth_kind(args: argparse.Namespace) -> Kind:
    """Return the kind of the depth that `depth_of` gives."""
    kind: Kind = "metric" if args.depth_range is not None else args.given_kind
    return kind


def given_depth(photo: fr.Photo, depth: fr.DepthMap) -> fr.DepthMap:
    """Return the depth of a file in the photo's size."""
    try:
        return fr.resize_depth(depth, photo.pixels.shape)
    except ValueError as error:
        raise ValueError(f"--depth: {error}") from None


def depth_of(task: Task, *, refine: bool = True, relative: bool = False) -> fr.DepthMap:
    """Return the depth of the file, or estimate it, in the photo's size.

    If `refine`, estimated depth and that of a file of fewer pixels is refined, unless the options say otherwise. If
    `relative`, estimated depth becomes relative whatever the model gives, as it does for a range of distances.
    """
    photo, args = task.photo, task.args
    progress = Progress(task.callback, "depth", 1)
    progress(0)
    if args.depth is not None:
        depth = given_depth(photo, args.depth)
    else:
        depth = estimate_depth(photo, args)
        if depth.kind == "relative" or relative or args.depth_range is not None:
            depth = fr.postprocess_depth(depth)
    smeared = args.depth is None or args.depth.values.size < depth.values.size
    if args.refine or (args.refine is None and refine and smeared):
        depth = fr.refine_depth(depth, photo.pixels, threads=args.threads)
    if args.depth_range is not None:
        depth = _in_metres(depth.values, args.depth_range)
    progress(1)
    return depth


def estimate_depth(photo: fr.Photo, args: argparse.Namespace) -> fr.DepthMap:
    """Estimate the depth by the model that the options name; of the kind that it gives."""
    try:
        return fr.estimate_depth(photo, model=args.model, focal_px=args.focal_px, threads=args.threads)
    except ValueError as error:
        if str(error).startswith("focal_px"):
            raise ValueError(
                f"--model {args.model} needs --focal-px, the focal length in pixels (focal length / sensor width * the "
                "photo's width): the photo's EXIF does not have the 35-mm equivalent"
            ) from None
        raise


def calibrate(task: Task, depth: fr.DepthMap) -> fr.DepthCalibration:
    """Turn depth into metres by the distances that the options give, or the photo's EXIF."""
    points, metres = [], []
    for point, distance in task.args.distance:
        points.append(point)
        metres.append(_subject_distance(task) if distance is None else distance)
    return fr.calibrate_depth(depth, points, metres, shift=task.args.shift)


def _subject_distance(task: Task) -> float:
    distance = read_lens(task.photo.exif or b"").subject_distance_m
    if distance is None:
        raise ValueError("the photo's EXIF does not give the subject's distance: give --distance X,Y=METRES")
    task.say(f"from its EXIF: the subject is {how_far(distance)}")
    return distance


def how_far(distance_m: float) -> str:
    """Say a distance in words."""
    return "infinitely far away" if distance_m == math.inf else f"{distance_m:g} m away"


def _in_metres(values: FloatArray, span: fr.DepthRange) -> fr.DepthMap:
    """Return relative depth in metres; between the ends it is linear in 1 / z."""
    disparity = (1 - values) / span.nearest_m + values / span.farthest_m
    return fr.DepthMap(np.reciprocal(np.maximum(disparity, np.float32(1 / FARTHEST_M))), "metric")
