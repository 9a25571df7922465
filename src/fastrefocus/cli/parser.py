"""The parser: verbs and their options."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

import fastrefocus as fr
from fastrefocus.cli import checks, examples, models, values, verbs
from fastrefocus.cli.inputs import Task
from fastrefocus.deconvolution.channels import CHANNELS
from fastrefocus.deconvolution.deblur import PSF_SHAPES
from fastrefocus.depth.files.depth_files import check_depth_target
from fastrefocus.photo import check_target

if TYPE_CHECKING:
    _Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


_MODEL = (
    "CARD:FILE, an ONNX file and its family (fastrefocus models lists them, with the kind of their depth), or FILE "
    "with its card in FILE.json"
)

_FOCAL_PX = "focal length in pixels of the photo, for models that need it (default: by the photo's EXIF)"


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; the verb's functions are ``check`` and ``run`` of what it returns."""
    parser = argparse.ArgumentParser(
        prog="fastrefocus", description="Change the focus of a photograph after it was taken."
    )
    parser.add_argument("--version", action="version", version=f"fastrefocus {fr.__version__}")
    choice = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for add in (
        _add_refocus,
        _add_depth,
        _add_blur,
        _add_stack,
        _add_deblur,
        _add_repair,
        _add_synthesize,
        _add_models,
    ):
        add(choice)
    return parser


def _add_refocus(choice: "_Verbs") -> None:
    verb = _add_verb(choice, "refocus", verbs.refocus, "depth, deblurring, and blur for the focus wanted")
    verb.set_defaults(check=checks.check_refocus)
    _add_focus_option(verb)
    verb.add_argument(
        "--no-deblur",
        dest="deblur",
        action="store_false",
        help="do not deblur first: for a photo that is sharp already",
    )
    _add_method_option(verb, "paper A's blur, from blurred copies of the whole photo")
    _add_existing_option(verb)
    _add_rendering_options(verb)
    _add_depth_options(verb)


def _add_depth(choice: "_Verbs") -> None:
    summary = "estimate depth, or take it from a file; OUT is PNG, TIFF, NPY, PFM, or JPEG: the photo with its depth"
    verb = _add_verb(choice, "depth", verbs.depth, summary)
    verb.set_defaults(check=checks.check_depth, check_target=check_depth_target, suffix=".png")
    _add_depth_source(verb)
    group = verb.add_argument_group("distances", "With two or more, near and far, the depth is in metres.")
    group.add_argument(
        "--distance",
        type=values.distance,
        action="append",
        metavar="X,Y=METRES|exif",
        help="how far it is at a point, fractions of width and height; exif: as far as the subject by the photo's EXIF",
    )
    group.add_argument(
        "--shift",
        type=values.least_disparity,
        metavar="S",
        help="1 / metres at relative depth 1 or inverse depth 0; 0 is infinitely far. With it one --distance is enough",
    )


def _add_blur(choice: "_Verbs") -> None:
    verb = _add_verb(choice, "blur", verbs.blur, "blur a sharp photo by depth, for the focus wanted")
    verb.set_defaults(check=checks.check_blur)
    _add_focus_option(verb)
    _add_method_option(verb, "paper A's blur by depth, in steps")
    _add_existing_option(verb)
    verb.add_argument(
        "--highlights",
        type=values.gain,
        metavar="GAIN",
        help="how much brighter clipped highlights are taken to have been (default: 1)",
    )
    _add_rendering_options(verb)
    _add_depth_options(verb)
    _add_paper_options(verb)


def _add_stack(choice: "_Verbs") -> None:
    summary = "a series of pictures of a sharp photo, focused from the nearest to the farthest"
    verb = _add_verb(choice, "stack", verbs.stack, summary, output="OUT_DIR")
    verb.set_defaults(check=checks.check_stack)
    verb.add_argument(
        "--steps",
        type=values.whole_number(2),
        default=9,
        metavar="N",
        help="pictures of each photo, NAME_00.png and so on (default: 9)",
    )
    _add_rendering_options(verb)
    _add_depth_options(verb)


def _add_deblur(choice: "_Verbs") -> None:
    verb = _add_verb(choice, "deblur", verbs.deblur, "deblur a photo, with the blur that it is found to have")
    verb.set_defaults(check=checks.check_deblur, map_names=verbs.MAPS)
    verb.add_argument(
        "--channels",
        choices=CHANNELS,
        default="rgb",
        help="what is deconvolved (intensity and edges are paper A's; default: rgb)",
    )
    verb.add_argument(
        "--sigmas", type=values.numbers, metavar="S,...", help="one PSF for the whole photo, of these sizes in pixels"
    )
    verb.add_argument("--lam", type=values.positive, metavar="L", help="weight of the prior (default: by the noise)")
    verb.add_argument("--psf-shape", choices=PSF_SHAPES, default="auto", help="shape of the PSF (default: auto)")
    verb.add_argument(
        "--blur-map", metavar="FILE", help="a grey picture of the blur's radius: black is sharp, white is --blur-max"
    )
    verb.add_argument(
        "--blur-max", type=values.positive, metavar="PX", help="the radius that white in --blur-map means"
    )
    verb.add_argument("--depth", metavar="FILE", help="a file of the depth: what is equally far is blurred alike")
    _add_depth_meaning(verb)
    verb.add_argument(
        "--zero-unknown", action="store_true", default=None, help="black in --depth or --blur-map is unknown"
    )
    verb.add_argument(
        "--encoded",
        dest="linearize",
        action="store_false",
        help="work on the values as they are: for pictures that hold linear light",
    )
    verb.add_argument(
        "--maps",
        metavar="FOLDER",
        help="write pictures of the blur's radius, of what it has destroyed, and of what the result does not explain",
    )


def _add_repair(choice: "_Verbs") -> None:
    summary = "repair a misfocused photo by focused ones of the same scene, from about the same place"
    verb = _add_verb(choice, "repair", examples.repair, summary)
    verb.set_defaults(map_names=examples.MAPS)
    _add_focused_options(verb, "--from", "where some focused photo is the sharper one", "all that is sharp")
    _add_psf_option(verb, "the disk or Gaussian that fits each focused photo best")
    verb.add_argument(
        "--method",
        choices=("auto", "paper"),
        default="auto",
        help="auto: registration, deconvolution and copies (default); paper: synthesize, for photos of the same view",
    )
    verb.add_argument(
        "--maps",
        metavar="FOLDER",
        help="write pictures of what was done (kept: grey, deconvolved: blue, copied: green, other colours for further "
        "photos) and of how sure it is, black where nothing was",
    )


def _add_synthesize(choice: "_Verbs") -> None:
    summary = "rebuild a misfocused photo from patches of focused ones (paper B)"
    verb = _add_verb(choice, "synthesize", examples.synthesize, summary)
    _add_focused_options(verb, "--focused", "everywhere", "everywhere")
    _add_psf_option(verb, "the disk that fits the first focused photo best")
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
        "--texture-weight",
        type=values.positive,
        default=1.0,
        metavar="W",
        help="against the first constraint (default: 1)",
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


def _add_models(choice: "_Verbs") -> None:
    summary = "list the families of depth models that are known by name, or download a file"
    verb = choice.add_parser("models", help=summary, description=summary[0].upper() + summary[1:] + ".")
    verb.set_defaults(check=models.check, command=models.run)
    verb.add_argument("--get", metavar="CARD|URL", help="download this to OUT; nothing is fetched unasked")
    verb.add_argument(
        "--sha256", type=values.sha256, metavar="HEX", help="what the file must have; known for some cards' files"
    )
    verb.add_argument("output", nargs="?", metavar="OUT", help="the file to make; for --get")
    verb.add_argument("--force", action="store_true", help="overwrite an existing file")
    verb.add_argument("--json", action="store_true", help="print the list as JSON, one line a card")


def _add_verb(
    choice: "_Verbs", name: str, run: Callable[[Task], verbs.Outcome], summary: str, output: str = "OUT"
) -> argparse.ArgumentParser:
    verb = choice.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    # suffix: that of files in a folder, where it is not the input's
    verb.set_defaults(
        run=run, command=None, check=lambda args: None, check_target=check_target, suffix=None, steps=None, maps=None
    )
    verb.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="PNG, JPEG or TIFF; sample:NAME takes a photo that comes with scikit-image",
    )
    verb.add_argument(
        "output",
        metavar=output,
        help="a file, or a folder for several inputs" if output == "OUT" else "a folder; it is made if need be",
    )
    verb.add_argument("--force", action="store_true", help="overwrite existing files")
    verb.add_argument("--json", action="store_true", help="print what was done, with seconds, one line a photo")
    verb.add_argument("--threads", type=values.whole_number(1), metavar="N", help="default: all CPUs")
    return verb


def _add_focused_options(verb: argparse.ArgumentParser, option: str, where: str, what: str) -> None:
    verb.set_defaults(check=checks.check_focused_masks)
    verb.add_argument(
        option,
        dest="focused",
        nargs="+",
        required=True,
        metavar="F",
        help="focused photos of the same scene; IN and OUT come before",
    )
    verb.add_argument("--mask", metavar="M", help=f"a picture, white where the photo is rebuilt (default: {where})")
    verb.add_argument(
        "--focused-mask",
        nargs="+",
        default=[],
        metavar="FM",
        help=f"for each focused photo a picture, white where it may be copied from (default: {what})",
    )


def _add_psf_option(verb: argparse.ArgumentParser, fitted: str) -> None:
    verb.add_argument(
        "--psf",
        type=values.psf,
        default="fit",
        metavar="SHAPE:PX|fit",
        help=f"the blur: disk:DIAMETER, gaussian:SIGMA, or {fitted} (default)",
    )


def _add_focus_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--focus",
        type=values.focus,
        action="append",
        metavar="X,Y|DEPTH|NEAREST:FARTHEST",
        help="a point as fractions of width and height (may be given several times: all between the nearest and the "
        "farthest of them is in focus), a depth, or a band of depths, in metres, as the picture of relative depth has "
        "it, 0 to 1, or as inverse depth has it, larger is nearer "
        "(default, with depth in metres: the distance of the subject that the photo's EXIF gives)",
    )


def _add_method_option(verb: argparse.ArgumentParser, paper: str) -> None:
    verb.add_argument(
        "--method",
        choices=("defocus", "paper"),
        default="defocus",
        help=f"defocus: as a lens blurs (default); paper: {paper}",
    )


def _add_existing_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--existing",
        type=values.existing_radius,
        metavar="PX",
        help="radius of the blur that the photo has already, everywhere; only what is missing is added",
    )


def _add_rendering_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("blur")
    group.add_argument(
        "--max-blur",
        type=values.blur_radius,
        metavar="PX",
        help="largest radius of the blur in the whole picture or stack (default: by the lens where depth is in metres, "
        "else as large as the photo's own, if refocus finds any, or 1.5 %% of the longer side)",
    )
    group.add_argument(
        "--aperture",
        type=values.aperture,
        metavar="disk|N|FILE",
        help="shape of the blur: a disk (default), 5 to 9 blades, or a grey picture, white inside, as it is to show in "
        "front of the focal plane",
    )
    group.add_argument(
        "--rotation", type=values.degrees, metavar="DEGREES", help="turn blades or picture counter-clockwise"
    )
    group.add_argument(
        "--roundness", type=values.share, metavar="R", help="of the blades: 0 (straight, default) to 1 (a circle)"
    )
    group.add_argument(
        "--cat-eye", type=values.share, metavar="C", help="vignetting of the blur in the corners: 0 (default) to 1"
    )
    group.add_argument(
        "--quality",
        choices=("fast", "default", "reference"),
        help="fast is for previews; reference is exact, and some hundred times slower",
    )
    group = verb.add_argument_group("lens", "In the place of what the photo's EXIF says; for depth in metres.")
    group.add_argument("--focal-length", type=values.positive, metavar="MM", help="the true one, in millimetres")
    group.add_argument("--f-number", type=values.positive, metavar="N", help="smaller is more blur")
    group.add_argument(
        "--sensor-width", type=values.positive, metavar="MM", help="as wide as the photo; 36 is full frame"
    )


def _add_depth_options(verb: argparse.ArgumentParser) -> None:
    group = _add_depth_source(verb)
    group.add_argument(
        "--depth-range",
        type=values.depth_range,
        metavar="NEAREST,FARTHEST",
        help="metres that relative depth 0 and 1, or the nearest and the farthest of a model's inverse depth, stand "
        "for (FARTHEST may be inf): depth is then in metres",
    )
    group.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="make smeared outlines in the depth steep (default: for depth by a model, not with --method paper, and "
        "for a file of fewer pixels than the photo)",
    )


def _add_depth_source(verb: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    group = verb.add_argument_group("depth")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--model", default="builtin", metavar="ONNX", help=_MODEL)
    group.add_argument("--focal-px", type=values.positive, metavar="PX", help=_FOCAL_PX)
    source.add_argument(
        "--depth",
        metavar="FILE",
        help="in the place of a model: a PNG, TIFF, NPY or PFM file, or a JPEG or HEIC photo that carries its depth",
    )
    _add_depth_meaning(group)
    group.add_argument(
        "--zero-unknown",
        action="store_true",
        default=None,
        help="0 is unknown, too, in a relative or inverse file",
    )
    return group


def _add_depth_meaning(group: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--depth-kind",
        choices=("relative", "inverse", "metric"),
        help="of a file that does not say it: 0 to 1 (white), farther is larger (relative; default for whole numbers), "
        "nearer is larger (inverse), or whole numbers count steps of --depth-unit (metric; 0 is unknown)",
    )
    group.add_argument(
        "--depth-unit",
        type=values.positive,
        metavar="METRES",
        help="of metric depth (default: 0.001, millimetres, in whole numbers; 1 in floats)",
    )


def _add_paper_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("--method paper")
    group.add_argument(
        "--sigmas",
        type=values.numbers,
        metavar="S,...",
        help="standard deviations, pixels, from light to deep (default: 2,3,5,8)",
    )
    group.add_argument(
        "--thresholds",
        type=values.numbers,
        metavar="D,...",
        help="relative depths from which each applies (default: 0.8,0.83,0.86,0.97, "
        "and 1 minus these, 0.2,0.17,0.14,0.03, with --side near)",
    )
    group.add_argument("--side", choices=("far", "near"), help="side of the focal plane to blur (default: far)")
