"""Options that do not fit together, told before any work is done."""

import argparse
from collections.abc import Iterable

from fastrefocus.cli.inputs import depth_kind, read_depth
from fastrefocus.cli.optics import aperture_of
from fastrefocus.optics.focus import checked_focus

_SHAPE = ("aperture", "rotation", "roundness", "cat_eye", "quality")
_LENS = ("f_number", "focal_length", "sensor_width")
_THRESHOLDS = ("sigmas", "thresholds", "side")


class UsageError(Exception):
    """The arguments do not fit together."""


def check_refocus(args: argparse.Namespace) -> None:
    """Check the options of ``refocus``, and read the aperture and the depth file."""
    if args.method == "paper":
        _refuse(args, _SHAPE, "an option of --method defocus")
    _take_depth_and_range(args)
    _check_lens(args)
    _check_focus(args)
    _take_aperture(args)


def check_depth(args: argparse.Namespace) -> None:
    """Check the options of ``depth``, and read the depth file."""
    if args.distance is None:
        _refuse(args, ("shift",), "about --distance, and needs it")
    elif len(args.distance) == 1 and args.shift is None:
        raise UsageError("one --distance says nothing about what is nearer or farther: give a second one, or --shift")
    _take_depth(args)


def check_blur(args: argparse.Namespace) -> None:
    """Check the options of ``blur``, and read the aperture and the depth file."""
    _take_depth_and_range(args)
    if args.method == "paper":
        only_defocus = ("focus", "max_blur", "depth_range", "existing", "highlights", *_SHAPE, *_LENS)
        _refuse(args, only_defocus, "an option of --method defocus")
        return
    _refuse(args, _THRESHOLDS, "an option of --method paper")
    _check_lens(args)
    _check_focus(args)
    _take_aperture(args)


def check_stack(args: argparse.Namespace) -> None:
    """Check the options of ``stack``, and read the aperture and the depth file."""
    _take_depth_and_range(args)
    _check_lens(args)
    _take_aperture(args)


def check_deblur(args: argparse.Namespace) -> None:
    """Check the options of ``deblur``, and read the depth file."""
    if args.blur_map is None:
        _refuse(args, ("blur_max",), "the radius that white means in --blur-map, and needs it")
    elif args.blur_max is None:
        raise UsageError("--blur-map needs --blur-max, the radius in pixels that white means")
    if args.blur_map is None and args.depth is None:
        _refuse(args, ("zero_unknown",), "about --depth or --blur-map, and needs one of them")
    else:
        _refuse(args, ("sigmas",), "for one PSF for the whole photo; leave it out where --depth or --blur-map is given")
    if args.blur_map is not None and args.depth is not None:
        raise UsageError("--depth and --blur-map both say how the blur varies; give one of them")
    if args.blur_map is None:
        _take_depth(args)
    else:
        _refuse(args, ("depth_kind", "depth_unit"), "about a file of the depth, and needs --depth")


def check_focused_masks(args: argparse.Namespace) -> None:
    """Check that there is a mask for each focused photo, or none at all."""
    if len(args.focused_mask) not in (0, len(args.focused)):
        raise UsageError(
            f"--focused-mask must be given for each focused photo: {len(args.focused)}, got {len(args.focused_mask)}"
        )


def _refuse(args: argparse.Namespace, names: Iterable[str], what: str) -> None:
    """Raise an error about the first of some options that is given."""
    for name in names:
        if getattr(args, name, None) is not None:  # not every verb has every option
            raise UsageError(f"--{name.replace('_', '-')} is {what}")


def _take_depth(args: argparse.Namespace) -> None:
    """Check what is said about the depth file, and leave what it holds in the place of its name."""
    if args.depth is None:
        _refuse(args, ("depth_kind", "depth_unit", "zero_unknown"), "about a file of the depth, and needs --depth")
        return
    _refuse(args, ("focal_px",), "for a model; leave it out where --depth is given")
    if args.depth_kind != "metric":
        _refuse(args, ("depth_unit",), "for --depth-kind metric")
    else:
        _refuse(args, ("zero_unknown",), "for the other kinds of depth; with --depth-kind metric 0 always is unknown")
    args.depth = read_depth(args)


def _take_depth_and_range(args: argparse.Namespace) -> None:
    """Do the same where --depth-range is an option, and leave the kind of the depth that is read or estimated."""
    if args.depth_kind in ("inverse", "metric"):
        _refuse(args, ("depth_range",), f"for relative depth, and --depth-kind is {args.depth_kind}")
    _take_depth(args)
    if args.depth is not None:
        args.given_kind = args.depth.kind
        if args.given_kind != "relative":
            _refuse(args, ("depth_range",), f"for relative depth, and that of --depth is {args.given_kind}")
        return
    from fastrefocus.depth.estimate import model_kind  # loads onnxruntime

    args.given_kind = model_kind(args.model, args.threads)
    if args.given_kind == "metric":
        _refuse(args, ("depth_range",), "for relative or inverse depth, and that of --model is metric")


def _check_lens(args: argparse.Namespace) -> None:
    if depth_kind(args) != "metric":
        _refuse(
            args,
            _LENS,
            "of use with depth in metres only: give --depth-kind metric, --depth-range, or a model that gives metres",
        )
    if args.max_blur is not None:
        _refuse(args, _LENS, "about the lens, which gives the strength of the blur; so does --max-blur: give one")


def _check_focus(args: argparse.Namespace) -> None:
    """Check the focus and leave it as the library takes it; None where the photo is to say it."""
    kind = depth_kind(args)
    if args.focus is None:
        if kind != "metric":
            raise UsageError("--focus must be given: a point X,Y, a depth, or a band NEAREST:FARTHEST")
        return
    if len(args.focus) > 1 and not all(isinstance(focus, tuple) for focus in args.focus):
        raise UsageError("--focus may be given several times for points X,Y only, not for depths")
    args.focus = args.focus if len(args.focus) > 1 else args.focus[0]
    try:
        checked_focus(args.focus, kind)
    except ValueError as error:
        raise UsageError(f"--focus: {error}") from None


def _take_aperture(args: argparse.Namespace) -> None:
    if args.aperture is None or args.aperture == "disk":
        _refuse(args, ("rotation",), "for blades or a picture of the aperture: a disk has none")
    if not isinstance(args.aperture, int):
        _refuse(args, ("roundness",), "that of blades: give --aperture 5 to 9")
    args.aperture = aperture_of(args)
