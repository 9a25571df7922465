"""Depth from a photo through onnxruntime; the only module that imports it.

A model file may come from anywhere: it is checked before it is used, and every fault is a `ModelError`.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.transform import resize

# From version 1.29 on onnxruntime sends telemetry unless told otherwise before it is imported; this library is offline.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from fastrefocus.arrays import FloatArray, as_image
from fastrefocus.depth.depth_map import DepthMap, scale_to_unit
from fastrefocus.depth.model_cards import CARDS, PLAIN, ModelCard, card_of_metadata
from fastrefocus.errors import ModelError
from fastrefocus.parallel import thread_count

_INPUT_RULE = "one float32 image [1, 3, height, width]"
_OUTPUT_RULE = "one float32 map [1, 1, height, width] or [1, height, width], of the input's height and width"

#: A larger fixed input is taken for a broken file rather than filled.
_LARGEST_SIDE = 4096

#: In a protobuf file, the key "location" of a tensor whose data lie in another file, behind its length 8.
#: (A length may also be written with superfluous bytes, of which the last is 0.)
_EXTERNAL_DATA = re.compile(rb"[\x08\x00]location")


def estimate_depth(
    image: npt.ArrayLike, *, model: str | os.PathLike[str] = "builtin", threads: int | None = None
) -> DepthMap:
    """Estimate the depth of a photo with an ONNX network.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 3) RGB; uint8, uint16 or float 0..1. Grey is shown to the network as three equal
        channels; values outside 0..1 are shown clipped.
    model : str or path-like
        "builtin": the model that comes with the package.

        "CARD:PATH", such as "fastdepth:/path/file.onnx": an ONNX file whose conventions a known card
        describes ("builtin", "fastdepth").

        A path: an ONNX file. If its metadata entry ``model`` names a known card, that card is used. Otherwise
        the file must follow the plain convention: input RGB 0..1 without normalisation, at the file's own
        fixed size, or else at the photo's size reduced to at most 384 on the longer side and rounded to
        multiples of 32; output relative depth, larger where it is farther, which is scaled so that its minimum is
        0 and its maximum 1 (a constant output becomes 0).
    threads : int, optional
        At least 1; None for all CPUs. The result does not depend on it.

    Returns
    -------
    DepthMap
        (H, W), of the kind that the card declares: "relative" for the built-in model and the plain convention,
        "metric" (0.1 to 10 m) for fastdepth. No value is NaN.

    Raises
    ------
    TypeError, ValueError
        If `image`, `model` or `threads` is not as above.
    FileNotFoundError
        If there is no such file.
    ModelError
        If the file is not an ONNX model, keeps its weights in other files, does not take one float32
        image [1, 3, height, width] and give one float32 map of the same size, or fails on this photo.

    Notes
    -----
    The built-in model is a first, simple one: it recognises nothing and was not trained. It adds up a prior
    (lower in the photo is nearer) and two cues: what has the colours of the upper border is far, and what is
    blurred is far (or near, where that agrees better with the rest), and lets the sum follow the picture's
    edges. Expect a plausible order of near and far for a subject before a background or a ground that
    recedes; do not expect true proportions, and expect mistakes where the prior is wrong: views from above or
    below, ceilings, foregrounds at the top. It sees a copy of at most 512 pixels on the longer side.

    Any network's result is interpolated bilinearly to the photo's size.

    Examples
    --------
    >>> import fastrefocus as fr
    >>> from skimage.data import coffee
    >>> depth = fr.estimate_depth(coffee())
    >>> depth.kind, depth.values.shape
    ('relative', (400, 600))
    """
    pixels = as_image(image)
    count = thread_count(threads)
    network, card = _open_model(model, count)
    height, width = pixels.shape[:2]
    wanted = card.input_size(height, width)
    seen = _resize(np.clip(pixels, 0, 1), (network.height or wanted[0], network.width or wanted[1]))
    if seen.ndim == 2:
        seen = np.repeat(seen[..., None], 3, axis=2)
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    depth = network.run((seen - mean) / std)
    if card.limits is not None:
        depth = np.clip(depth, *card.limits)
    depth = _resize(depth, (height, width))
    if card.kind == "relative" and card.limits is None:
        depth = scale_to_unit(depth)
    return DepthMap(depth, card.kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxModel:
    """A network that was checked to take one image and give one map; safe to run from several threads.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The network.
    path : Path
        Where it was read, for error messages.
    height, width : int or None
        The size of the input where the file fixes it.
    metadata_name : str
        The metadata entry ``model``, or "".
    """

    session: onnxruntime.InferenceSession
    path: Path
    height: int | None
    width: int | None
    metadata_name: str

    def run(self, image: FloatArray) -> FloatArray:
        """Return the network's map (h, w) for an image (h, w, 3), both float32.

        Raises
        ------
        ModelError
            If the network fails, or the output has another shape or holds NaN or infinity.
        """
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        try:
            (output,) = self.session.run(None, {self.session.get_inputs()[0].name: batch})
        except Exception as error:  # onnxruntime's exceptions have no other common base
            raise ModelError(f"{self.path} failed on an input of shape {batch.shape}: {_brief(error)}") from error
        size = image.shape[:2]
        if output.shape not in ((1, 1, *size), (1, *size)):
            raise ModelError(
                f"{self.path}: the output must be {_OUTPUT_RULE}; "
                f"for an input of shape {batch.shape} it has shape {output.shape}"
            )
        if not np.isfinite(output).all():
            bad = np.count_nonzero(~np.isfinite(output))
            raise ModelError(f"{self.path}: the output holds NaN or infinity at {bad} of {output.size} pixels")
        result: FloatArray = output.reshape(size)
        return result


def load_model(path: Path, threads: int) -> OnnxModel:
    """Read and check an ONNX file; the last few are kept ready.

    Parameters
    ----------
    path : Path
        The file.
    threads : int
        How many threads the network runs on.

    Returns
    -------
    OnnxModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelError
        If the file is not a model as `estimate_depth` describes it.
    """
    path = path.resolve()
    try:
        modified = path.stat().st_mtime_ns
    except FileNotFoundError:
        raise FileNotFoundError(
            f"model file not found: {path}; model is 'builtin', a path to an ONNX file, or CARD:PATH "
            f"with a card of {sorted(CARDS)}"
        ) from None
    if not path.is_file():
        kind = "directory" if path.is_dir() else "special file"
        raise ModelError(f"model must be an ONNX file, got the {kind} {path}")
    return _load_model(path, modified, threads)


@lru_cache(maxsize=4)
def _load_model(path: Path, modified: int, threads: int) -> OnnxModel:
    data = path.read_bytes()
    if not data:
        raise ModelError(f"{path} is empty, not an ONNX model")
    # Given bytes, onnxruntime would look for the other files from the working folder on, outside it too.
    if _EXTERNAL_DATA.search(data):
        raise ModelError(f"{path} keeps weights in other files, which are not read; save it as one file")
    try:
        session = onnxruntime.InferenceSession(data, _session_options(threads), ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise ModelError(f"{path} is not an ONNX model that onnxruntime can run: {_brief(error)}") from error
    height, width = _check_signature(session, path)
    metadata = session.get_modelmeta().custom_metadata_map
    return OnnxModel(session=session, path=path, height=height, width=width, metadata_name=metadata.get("model", ""))


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _check_signature(session: onnxruntime.InferenceSession, path: Path) -> tuple[int | None, int | None]:
    """Check what goes in and out; return the height and width that the file fixes, None where it does not."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not _is_image_shape(inputs[0].shape):
        raise ModelError(f"{path}: the input must be {_INPUT_RULE}, found {_describe(inputs)}")
    if len(outputs) != 1 or outputs[0].type != "tensor(float)":
        raise ModelError(f"{path}: the output must be {_OUTPUT_RULE}, found {_describe(outputs)}")
    height, width = (side if isinstance(side, int) else None for side in inputs[0].shape[2:])
    for side in (height, width):
        if side is not None and not 1 <= side <= _LARGEST_SIDE:
            raise ModelError(
                f"{path}: height and width of the input must be 1 to {_LARGEST_SIDE}, found {_describe(inputs)}"
            )
    return height, width


def _is_image_shape(shape: list[Any]) -> bool:
    # A dimension is a number where the file fixes it, else a name or None.
    return len(shape) == 4 and (shape[0] == 1 or not isinstance(shape[0], int)) and shape[1] == 3


def _describe(values: list[Any]) -> str:
    return ", ".join(f"{value.name!r}: {value.type} {value.shape}" for value in values) or "none"


def _brief(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _open_model(model: str | os.PathLike[str], threads: int) -> tuple[OnnxModel, ModelCard]:
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"model must be a str or a path, got {type(model).__name__}")
    if model == "builtin":
        with as_file(files("fastrefocus.depth") / "builtin.onnx") as path:
            return load_model(path, threads), CARDS["builtin"]
    card = None
    name = os.fspath(model)
    if isinstance(model, str):
        # Only a known card's name counts, so that drive letters and other colons belong to the path.
        prefix, _, rest = model.partition(":")
        card = CARDS.get(prefix.lower())
        name = model if card is None else rest
    if not name:
        raise ValueError(f"model must be 'builtin', a path, or CARD:PATH, got {model!r}")
    network = load_model(Path(name), threads)
    return network, card or card_of_metadata(network.metadata_name) or PLAIN


def _resize(array: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize to (height, width) bilinearly, smoothing first where that reduces."""
    result: FloatArray = resize(array, size, order=1, mode="edge", anti_aliasing=True)
    return result
