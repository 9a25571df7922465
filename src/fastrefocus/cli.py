"""The command line: a thin shell over the public functions.

Exit codes: 0, all done; 1, something failed; 2, the command was not understood.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastrefocus as fr
from fastrefocus.photo import check_target

SAMPLE_PREFIX = "sample:"

_LARGEST_FITTED = 31  # diameter, pixels


class UsageError(Exception):
    """The arguments do not fit together."""


@dataclass(frozen=True)
class Outcome:
    """What a verb made: the photo to write, and what ``--json`` reports besides."""

    photo: fr.Photo
    report: dict[str, Any]


Verb = Callable[[fr.Photo, argparse.Namespace, fr.Callback | None], Outcome]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; None: ``sys.argv[1:]``.

    Returns
    -------
    int
        0, 1 or 2, as above.
    """
    args = _parser().parse_args(arguments)
    try:
        jobs = _jobs(args.inputs, Path(args.output), bit_depth=args.bit_depth)
    except UsageError as error:
        print(f"fastrefocus {args.verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # OUT's folder cannot be made or looked at
        print(f"fastrefocus {args.verb}: {error}", file=sys.stderr)
        return 1
    failures = 0
    for source, target in jobs:
        try:
            _run(source, target, args)
        except (fr.FastRefocusError, ImportError, OSError, ValueError, TypeError, MemoryError) as error:
            print(f"fastrefocus {args.verb}: {source}: {error}", file=sys.stderr)
            failures += 1
        except KeyboardInterrupt:
            print(f"fastrefocus {args.verb}: interrupted; {target} was not written", file=sys.stderr)
            return 1
    return 1 if failures else 0


def _run(source: str, target: Path, args: argparse.Namespace) -> None:
    check_target(target, bit_depth=args.bit_depth)
    if target.exists() and not args.force:
        raise FileExistsError(f"{target} exists; --force overwrites it")
    started = time.perf_counter()
    photo = _read(source)
    with _progress_bar(Path(source).name, sys.stderr.isatty()) as callback:
        outcome = args.run(photo, args, callback)
    fr.write_photo(target, outcome.photo.pixels, like=outcome.photo)
    if args.json:
        report = {"input": source, "output": str(target), **outcome.report}
        print(json.dumps({**report, "seconds_total": round(time.perf_counter() - started, 3)}), flush=True)


def _jobs(inputs: Sequence[str], output: Path, *, bit_depth: int) -> list[tuple[str, Path]]:
    """Pair each input with its output file; several inputs, or an existing folder, make OUT a folder."""
    into_folder = len(inputs) > 1 or output.is_dir()
    if not into_folder:
        return [(inputs[0], output)]
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is not a folder, and there are several inputs")
    jobs = [(source, output / _file_name(source, bit_depth)) for source in inputs]
    targets = [target for _, target in jobs]
    if len(set(targets)) < len(targets):
        raise UsageError("the outputs of two inputs would have the same file name and overwrite one another")
    output.mkdir(parents=True, exist_ok=True)
    return jobs


def _file_name(source: str, bit_depth: int) -> str:
    if source.startswith(SAMPLE_PREFIX):
        return source.removeprefix(SAMPLE_PREFIX) + ".png"
    return Path(source).stem + ".png" if bit_depth == 16 else Path(source).name  # JPEG keeps 8 bits only


def _read(source: str) -> fr.Photo:
    if source.startswith(SAMPLE_PREFIX):
        from fastrefocus.samples import load_sample

        return load_sample(source.removeprefix(SAMPLE_PREFIX))
    return fr.read_photo(source)


@contextmanager
def _progress_bar(title: str, on_terminal: bool) -> Iterator[fr.Callback | None]:
    """Give a callback that draws one bar a stage, or None where nobody watches."""
    if not on_terminal:
        yield None
        return
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def callback(stage: str, done: int, total: int) -> None:
        nonlocal bar
        description = f"{title}: {stage}"
        if bar is None or bar.desc != description:
            if bar is not None:
                bar.close()
            bar = tqdm(total=total, desc=description, leave=False, miniters=1, file=sys.stderr)
        bar.update(done - bar.n)

    try:
        yield callback
    finally:
        if bar is not None:
            bar.close()


def _refocus(photo: fr.Photo, args: argparse.Namespace, callback: fr.Callback | None) -> Outcome:
    started = time.perf_counter()
    depth = None if args.depth is None and args.model == "builtin" else _depth_of(photo, args)
    seconds = {"depth": time.perf_counter() - started}  # replaced below where refocus estimates it
    result = fr.refocus(
        photo.pixels,
        depth=depth,
        focus=args.focus,
        max_blur_px=args.max_blur,
        deblur=args.deblur,
        threads=args.threads,
        callback=callback,
    )
    return Outcome(_with_pixels(photo, result.image), {"seconds": _rounded({**seconds, **result.timings})})


def _depth(photo: fr.Photo, args: argparse.Namespace, callback: fr.Callback | None) -> Outcome:
    started = time.perf_counter()
    depth = fr.postprocess_depth(fr.estimate_depth(photo.pixels, model=args.model, threads=args.threads))
    seconds = {"depth": time.perf_counter() - started}
    return Outcome(fr.Photo(depth.values, bit_depth=16), {"seconds": _rounded(seconds)})


def _blur(photo: fr.Photo, args: argparse.Namespace, callback: fr.Callback | None) -> Outcome:
    thresholds = args.thresholds
    if thresholds is None:
        far = fr.PAPER_A_FIGURE_5.thresholds
        thresholds = far if args.side == "far" else tuple(1 - threshold for threshold in far)
    started = time.perf_counter()
    depth = _depth_of(photo, args).relative()
    estimated = time.perf_counter()
    image = fr.blur_by_depth(photo.pixels, depth, sigmas=args.sigmas, thresholds=thresholds, side=args.side)
    seconds = {"depth": estimated - started, "blur": time.perf_counter() - estimated}
    return Outcome(_with_pixels(photo, image), {"seconds": _rounded(seconds)})


def _deblur(photo: fr.Photo, args: argparse.Namespace, callback: fr.Callback | None) -> Outcome:
    started = time.perf_counter()
    result = fr.deblur(
        photo.pixels,
        channels=args.channels,
        sigmas=args.sigmas,
        lams=args.lams,
        psf_shape=args.psf_shape,
        threads=args.threads,
        callback=callback,
    )
    seconds = {"deblur": time.perf_counter() - started}
    return Outcome(
        _with_pixels(photo, result.image),
        {"sigma": result.sigma, "lam": result.lam, "seconds": _rounded(seconds)},
    )


def _synthesize(photo: fr.Photo, args: argparse.Namespace, callback: fr.Callback | None) -> Outcome:
    started = time.perf_counter()
    focused = [_read(source).pixels for source in args.focused]
    mask = None if args.mask is None else _mask_of(args.mask)
    shape, size = _psf_of(args.psf, focused[0], photo.pixels, mask)
    psf = fr.disk_psf(size) if shape == "disk" else fr.gaussian_psf(size)
    masks = [_mask_of(source) for source in args.focused_mask] or None
    library = fr.PatchLibrary(focused, psf, masks=masks, patch_size=args.patch_size, linearize=args.linearize)
    built = time.perf_counter()
    result = fr.synthesize(
        photo.pixels,
        library,
        mask=mask,
        candidates=args.candidates,
        order=args.order,
        neighbourhood=args.neighbourhood,
        texture=args.texture,
        texture_weight=args.texture_weight,
        passes=args.passes,
        search=args.search,
        threads=args.threads,
        callback=callback,
    )
    seconds = {"library": built - started, "synthesize": time.perf_counter() - built}
    report = {"psf": f"{shape}:{size:g}", "patches": len(library), "pixels": len(result.order)}
    return Outcome(_with_pixels(photo, result.image), {**report, "seconds": _rounded(seconds)})


def _mask_of(source: str) -> npt.NDArray[np.bool_]:
    """Read a mask: white is inside."""
    values = _read(source).pixels
    mask: npt.NDArray[np.bool_] = (values if values.ndim == 2 else values.mean(axis=2)) > 0.5
    return mask


def _psf_of(
    wanted: tuple[str, float] | None,
    focused: fr.arrays.FloatArray,
    defocused: fr.arrays.FloatArray,
    mask: npt.NDArray[np.bool_] | None,
) -> tuple[str, float]:
    """Return shape and size of the PSF asked for, or fit one around the object that is to be rebuilt."""
    if wanted is not None:
        return wanted
    if focused.shape != defocused.shape:
        raise ValueError(
            f"--psf fit compares photos of the same view and shape, got {focused.shape} and {defocused.shape}; "
            "give --psf disk:DIAMETER"
        )
    box: tuple[slice, ...] = np.s_[:, :]
    if mask is not None and mask.shape == defocused.shape[:2] and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    largest = max(min(_LARGEST_FITTED, *(length - 1 for length in defocused[box].shape[:2])), 1)
    return "disk", fr.fit_disk_psf(focused[box], defocused[box], max_diameter=largest).diameter


def _depth_of(photo: fr.Photo, args: argparse.Namespace) -> fr.DepthMap:
    if args.depth is None:
        return fr.postprocess_depth(fr.estimate_depth(photo.pixels, model=args.model, threads=args.threads))
    values = _read(args.depth).pixels
    if values.ndim != 2:
        raise ValueError(f"{args.depth} must be a grey picture, got colour")
    return fr.DepthMap(values, args.depth_kind)


def _with_pixels(photo: fr.Photo, pixels: fr.arrays.FloatArray) -> fr.Photo:
    return fr.Photo(pixels, photo.alpha, photo.bit_depth, photo.exif, photo.icc_profile)


def _rounded(seconds: Any) -> dict[str, float]:  # noqa: ANN401
    return {stage: round(value, 3) for stage, value in seconds.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastrefocus", description="Change the focus of a photograph after it was taken."
    )
    parser.add_argument("--version", action="version", version=f"fastrefocus {fr.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    verb = _add_verb(verbs, "refocus", _refocus, "depth, deblurring, and blur for the focus wanted")
    verb.add_argument(
        "--focus",
        type=_focus,
        required=True,
        metavar="X,Y|DEPTH",
        help="a point as fractions of width and height, or a depth (relative: 0 nearest, 1 farthest)",
    )
    verb.add_argument(
        "--max-blur",
        type=_positive,
        metavar="PX",
        help="largest radius of the blur (default: 1.5 %% of the longer side)",
    )
    verb.add_argument(
        "--no-deblur",
        dest="deblur",
        action="store_false",
        help="do not deblur first: for a photo that is sharp already",
    )
    _add_depth_options(verb)

    verb = _add_verb(verbs, "depth", _depth, "estimate depth; 16 bits (PNG or TIFF), black nearest, white farthest")
    verb.set_defaults(bit_depth=16)
    verb.add_argument("--model", default="builtin", metavar="ONNX", help="an ONNX file, or CARD:FILE")

    verb = _add_verb(verbs, "blur", _blur, "paper A's blur by depth")
    verb.add_argument(
        "--sigmas",
        type=_numbers,
        default=fr.PAPER_A_FIGURE_5.sigmas,
        metavar="S,...",
        help="standard deviations, pixels, from light to deep (default: 2,3,5,8)",
    )
    verb.add_argument(
        "--thresholds",
        type=_numbers,
        metavar="D,...",
        help="relative depths from which each applies (default: 0.8,0.83,0.86,0.97, "
        "and 1 minus these, 0.2,0.17,0.14,0.03, with --side near)",
    )
    verb.add_argument("--side", choices=("far", "near"), default="far", help="side of the focal plane to blur")
    _add_depth_options(verb)

    verb = _add_verb(verbs, "deblur", _deblur, "deblur the whole photo with the PSF and lambda that fit best")
    verb.add_argument("--channels", choices=("rgb", "intensity", "edges"), default="rgb", help="paper A's variants")
    verb.add_argument("--sigmas", type=_numbers, metavar="S,...", help="PSF sizes to try, pixels (default: 1 to 8)")
    verb.add_argument("--lams", type=_numbers, metavar="L,...", help="weights of the prior to try")
    verb.add_argument("--psf-shape", choices=("disk", "gaussian"), default="disk", help="shape of the PSF")

    verb = _add_verb(
        verbs, "synthesize", _synthesize, "rebuild a misfocused photo from patches of focused ones (paper B)"
    )
    _add_synthesis_options(verb)
    return parser


def _add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Verb, summary: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    verb.set_defaults(run=run, bit_depth=8)  # the bits a sample that OUT must be able to keep
    verb.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="PNG, JPEG or TIFF; sample:NAME takes a photo that comes with scikit-image",
    )
    verb.add_argument("output", metavar="OUT", help="a file, or a folder for several inputs")
    verb.add_argument("--force", action="store_true", help="overwrite existing files")
    verb.add_argument("--json", action="store_true", help="print what was done, with seconds, one line a photo")
    verb.add_argument("--threads", type=_threads, metavar="N", help="default: all CPUs")
    return verb


def _add_synthesis_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--focused", nargs="+", required=True, metavar="F", help="focused photos of the same scene")
    verb.add_argument("--mask", metavar="M", help="a picture, white where the photo is rebuilt (default: everywhere)")
    verb.add_argument(
        "--focused-mask",
        nargs="+",
        default=[],
        metavar="FM",
        help="for each focused photo a picture, white where patches come from (default: everywhere)",
    )
    verb.add_argument(
        "--psf",
        type=_psf,
        default="fit",
        metavar="SHAPE:PX|fit",
        help="disk:DIAMETER, gaussian:SIGMA, or the disk that fits the first focused photo best (default)",
    )
    verb.add_argument("--patch-size", type=int, default=5, metavar="PX", help="odd (default: 5)")
    verb.add_argument(
        "--encoded", dest="linearize", action="store_false", help="blur the values as encoded, as the paper does"
    )
    verb.add_argument("--candidates", type=int, default=20, metavar="N", help="for each pixel (default: 20)")
    verb.add_argument(
        "--order",
        choices=("confidence", "scanline", "random", "dynamic"),
        default="confidence",
        help="order of assignment (default: confidence)",
    )
    verb.add_argument(
        "--neighbourhood",
        choices=("symmetric", "causal"),
        default="symmetric",
        help="what the texture constraint looks at (default: symmetric)",
    )
    verb.add_argument("--no-texture", dest="texture", action="store_false", help="leave the texture constraint out")
    verb.add_argument(
        "--texture-weight", type=_positive, default=1.0, metavar="W", help="against the first constraint (default: 1)"
    )
    verb.add_argument(
        "--passes", type=int, default=1, metavar="N", help="how often each pixel is assigned (default: 1)"
    )
    verb.add_argument(
        "--search",
        choices=("exact", "faiss-flat", "faiss-ivf", "auto"),
        default="exact",
        help="how the library is searched (default: exact)",
    )


def _add_depth_options(verb: argparse.ArgumentParser) -> None:
    source = verb.add_mutually_exclusive_group()
    source.add_argument("--model", default="builtin", metavar="ONNX", help="depth by an ONNX file, or CARD:FILE")
    source.add_argument("--depth", metavar="FILE", help="a grey picture of the depth, in the place of a model")
    verb.add_argument(
        "--depth-kind",
        choices=("relative", "inverse"),
        default="relative",
        help="whether white is farthest (relative, default) or nearest (inverse)",
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers with commas between them, got {text!r}") from None


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def _psf(text: str) -> tuple[str, float] | None:
    if text == "fit":
        return None
    shape, _, size = text.partition(":")
    if shape not in ("disk", "gaussian"):
        raise argparse.ArgumentTypeError(f"expected disk:DIAMETER, gaussian:SIGMA or fit, got {text!r}")
    return shape, _positive(size)


def _threads(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return value


def _focus(text: str) -> tuple[float, float] | float:
    values = _numbers(text)
    if len(values) > 2:
        raise argparse.ArgumentTypeError(f"expected a point X,Y or one depth, got {text!r}")
    if len(values) == 1:
        return values[0]
    if not all(0 <= value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"expected fractions, 0 to 1, of width and height, got {text!r}")
    return values[0], values[1]
