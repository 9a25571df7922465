"""Depth from one photo, by the built-in network or by any other."""

import math
import os
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fastrefocus import checks
from fastrefocus.arrays import as_image
from fastrefocus.depth.blur_estimate import estimate_blur
from fastrefocus.depth.depth_from_blur import depth_from_blur
from fastrefocus.depth.depth_map import DepthMap, Kind
from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.networks.card_files import find_card
from fastrefocus.depth.networks.model_cards import CARDS
from fastrefocus.depth.networks.network_input import make_input
from fastrefocus.depth.networks.network_output import read_output
from fastrefocus.depth.networks.onnx_model import OnnxModel, load_model
from fastrefocus.depth.networks.sessions import threads_for
from fastrefocus.depth.refine import refine_depth
from fastrefocus.errors import ModelError
from fastrefocus.exif import read_lens
from fastrefocus.optics.lens import FILM_DIAGONAL_MM
from fastrefocus.parallel import thread_count
from fastrefocus.photo import Photo

Accuracy = Literal["fast", "high"]


def estimate_depth(
    image: npt.ArrayLike | Photo,
    *,
    model: str | os.PathLike[str] = "builtin",
    focal_px: float | None = None,
    accuracy: Accuracy = "fast",
    refine: bool = False,
    threads: int | None = None,
) -> DepthMap:
    """Estimate the depth of a photo with an ONNX network.

    Parameters
    ----------
    image : array_like or Photo
        (H, W) or (H, W, 3) RGB; uint8, uint16 or float 0..1. Grey is shown to the network as three equal
        channels; values outside 0..1 are shown clipped.
    model : str or os.PathLike
        "builtin": the model that comes with the package.

        "CARD:PATH", such as "depth-anything-v2:/path/file.onnx": an ONNX file of a family whose conventions are known;
        ``fastrefocus models`` lists them. "plain" is for files that take RGB 0..1 as it is, at most 384 pixels on the
        longer side and multiples of 32, and whose output is larger where it is farther.

        A path: an ONNX file whose card is in a JSON file beside it (PATH.json), in its metadata entry
        ``fastrefocus_card``, or named by its metadata entry ``model``. See docs/depth_models.md.
    focal_px : float, optional
        The camera's focal length in pixels of the photo, > 0; metric3d-v2 and depth-pro give metres only with it. None:
        from the 35-mm equivalent in the EXIF of a `Photo`, which is right for a photo that was not cropped.
    accuracy : {"fast", "high"}
        "high": the mean of the network's answers for the photo and for its mirror image; takes twice the time.
    refine : bool
        Make depth steep where surfaces end, with `fastrefocus.refine_depth`.
    threads : int, optional
        1 to 1024; None for all CPUs. With the built-in model the result does not depend on it; with others it may, in
        its last bits, as onnxruntime shares out the work.

    Returns
    -------
    DepthMap
        (H, W), of the kind that the card declares. No value is NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the focal length is needed and not known.
    FileNotFoundError
        If there is no such file.
    ModelError
        If there is no card for the file, or it is not an ONNX model, keeps weights in files outside its folder,
        does not take one float32 image [1, 3, height, width] and give a float32 map of the same size, or fails on this
        photo: too much memory, NaN, the same depth everywhere.

    Notes
    -----
    The built-in model joins two: a prior that recognises nothing (lower in the photo is nearer; what has the colours
    of the upper border is far), and what `fastrefocus.estimate_blur` reads of the blur, by
    `fastrefocus.depth_from_blur`. With shallow depth of field expect the subject and its background to be told apart
    well, but now and then the wrong way round: that is decided by the prior and by whose the outlines are. Of a
    photo that is sharp everywhere only the prior is left: a plausible order for a subject before a background or a
    ground that recedes, without true proportions, and wrong for views from above or below, ceilings, foregrounds at
    the top. docs/depth.md has figures.

    A network sees a reduced copy of a large photo. Its result is interpolated bilinearly to the photo's size, so that
    edges are ramps; `refine` makes them steep. (`fastrefocus.refocus` does so after `fastrefocus.postprocess_depth`.)
    Networks that were used are kept ready, the last four. It may be called from several Python threads.

    Examples
    --------
    >>> import fastrefocus as fr
    >>> from skimage.data import coffee
    >>> depth = fr.estimate_depth(coffee())
    >>> depth.kind, depth.values.shape
    ('relative', (400, 600))
    """
    pixels = as_image(image.pixels if isinstance(image, Photo) else image)
    given = None if focal_px is None else checks.number(focal_px, "focal_px", above=0)
    checks.choice(accuracy, "accuracy", get_args(Accuracy))
    to_refine = checks.flag(refine, "refine")
    count = thread_count(threads)
    network, card = _open_builtin(pixels.shape[:2], count) if model == "builtin" else _open_file(model, count)
    focal = _focal_length(image, given, card) if card.needs_focal_length else None
    seen = make_input(pixels, card, network.height, network.width)
    output = network.choose_output(card.output_names, card.refused_outputs)
    values = network.run(seen.pixels, output)
    if accuracy == "high":
        mirrored = network.run(seen.pixels[:, ::-1], output)[:, ::-1]
        values = values / np.float32(2) + mirrored / np.float32(2)
    try:
        depth = read_output(values[seen.rows, seen.columns], card, pixels.shape[:2], seen.height, focal)
    except ModelError as error:
        raise ModelError(f"{network.path}: {error}") from None
    if model == "builtin":
        depth = depth_from_blur(estimate_blur(pixels, threads=threads), depth, pixels)
    return refine_depth(depth, pixels, threads=threads) if to_refine else depth


def model_kind(model: str | os.PathLike[str], threads: int | None = None) -> Kind:
    """Return the kind of the depth that a model gives; it is opened and kept ready as by `estimate_depth`."""
    return CARDS["builtin"].kind if model == "builtin" else _open_file(model, thread_count(threads))[1].kind


def _open_builtin(size: tuple[int, int], threads: int) -> tuple[OnnxModel, ModelCard]:
    card = CARDS["builtin"]
    with as_file(files("fastrefocus.depth") / "builtin.onnx") as path:
        return load_model(path, threads_for(math.prod(card.input_size(*size)), threads), trusted=True), card


def _open_file(model: str | os.PathLike[str], threads: int) -> tuple[OnnxModel, ModelCard]:
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"model must be a str or a path, got {type(model).__name__}")
    card = None
    name = os.fspath(model)
    if isinstance(model, str):
        # Only a known card's name counts, so that drive letters and other colons belong to the path.
        prefix, _, rest = model.partition(":")
        card = CARDS.get(prefix.lower())
        name = model if card is None else rest
        if card is None and rest and re.fullmatch(r"[\w-]{2,}", prefix) and not Path(name).exists():
            raise FileNotFoundError(
                f"model {model!r}: no file, and {prefix!r} is no card: there are {', '.join(CARDS)}"
            )
    if not name:
        raise ValueError(f"model must be 'builtin', a path, or CARD:PATH, got {model!r}")
    network = load_model(Path(name), threads)
    if card is None:
        card = find_card(Path(name), network)
    if network.normalises and CARDS.get(card.name) is card and card.std != (1.0, 1.0, 1.0):
        raise ModelError(
            f"{network.path} holds the constants of a normalisation, which the card {card.name!r} would do once more. "
            f'Say in {network.path}.json whether the file normalises, as {{"card": "{card.name}", "normalised_inside": '
            "true}, or false, and give the path alone"
        )
    return network, card


def _focal_length(image: npt.ArrayLike | Photo, given: float | None, card: ModelCard) -> float:
    """Return the focal length in pixels: as given, or by the photo's EXIF."""
    if given is not None:
        return given
    if isinstance(image, Photo):
        equivalent = read_lens(image.exif or b"").focal_length_35mm
        if equivalent is not None:
            return equivalent / FILM_DIAGONAL_MM * math.hypot(*image.pixels.shape[:2])
    raise ValueError(
        f"focal_px must be given: {card.name} gives metres only with the focal length in pixels of the "
        "photo (focal length / sensor width * its width); or pass a Photo whose EXIF has the 35-mm equivalent"
    )
