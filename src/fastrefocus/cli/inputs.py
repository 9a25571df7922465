"""Photos, masks and depth, from where the command line says."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import fastrefocus as fr
from fastrefocus.arrays import FloatArray
from fastrefocus.depth.depth_map import Kind
from fastrefocus.progress import Progress

SAMPLE_PREFIX = "sample:"

_STEP_M = 0.001  # of metric depth in a picture, where --depth-unit is not given
_FARTHEST_M = 1e6  # for infinity, which a depth map does not hold; no lens tells them apart


@dataclass(frozen=True)
class Task:
    """One photo, and what is to be done with it."""

    photo: fr.Photo
    args: argparse.Namespace
    say: Callable[[str], None]
    callback: fr.Callback | None


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


def read_mask(source: str) -> npt.NDArray[np.bool_]:
    """Read a mask: white is inside."""
    values = read(source).pixels
    mask: npt.NDArray[np.bool_] = (values if values.ndim == 2 else values.mean(axis=2)) > 0.5
    return mask


def read_map(source: str, option: str, photo: fr.Photo, *, zero_unknown: bool) -> FloatArray:
    """Read a grey picture of the photo's size; black is unknown (NaN) where that is wanted."""
    values, size = read_grey(source, option).pixels, photo.pixels.shape[:2]
    if values.shape != size:
        raise ValueError(f"{option} {source} must have the photo's height and width {size}, got {values.shape}")
    return np.where(values > 0, values, np.float32(np.nan)) if zero_unknown else values


def depth_kind(args: argparse.Namespace) -> Kind:
    """Return the kind of the depth that `depth_of` gives."""
    kind: Kind = args.depth_kind or "relative"
    return "metric" if args.depth_range is not None else kind


def depth_of(task: Task, *, refine: bool = True) -> fr.DepthMap:
    """Read or estimate the depth; estimated depth is refined if `refine`, unless the options say otherwise."""
    photo, args = task.photo, task.args
    progress = Progress(task.callback, "depth", 1)
    progress(0)
    depth = estimate_depth(photo, args) if args.depth is None else _read_depth(photo, args)
    if args.refine or (args.refine is None and args.depth is None and refine):
        depth = fr.refine_depth(depth, photo.pixels, threads=args.threads)
    if args.depth_range is not None:
        depth = _in_metres(depth.values, args.depth_range)
    progress(1)
    return depth


def estimate_depth(photo: fr.Photo, args: argparse.Namespace) -> fr.DepthMap:
    """Estimate the depth by the model that the options name."""
    depth = fr.estimate_depth(photo, model=args.model, focal_px=args.focal_px, threads=args.threads)
    return fr.postprocess_depth(depth)


def _read_depth(photo: fr.Photo, args: argparse.Namespace) -> fr.DepthMap:
    kind: Kind = args.depth_kind or "relative"
    values = read_map(args.depth, "--depth", photo, zero_unknown=kind == "metric" or args.zero_unknown)
    if kind == "metric" and (bits := read(args.depth).bit_depth) != 16:
        raise ValueError(f"--depth {args.depth} must have 16 bits to hold metric depth, got {bits}")
    if kind == "metric":
        values = np.rint(values * np.float32(65535)) * np.float32(args.depth_unit or _STEP_M)
    return fr.DepthMap(values, kind)


def _in_metres(values: FloatArray, span: fr.DepthRange) -> fr.DepthMap:
    """Return relative depth in metres; between the ends it is linear in 1 / z."""
    disparity = (1 - values) / span.nearest_m + values / span.farthest_m
    return fr.DepthMap(np.reciprocal(np.maximum(disparity, np.float32(1 / _FARTHEST_M))), "metric")
