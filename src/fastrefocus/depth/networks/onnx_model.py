"""Depth networks from ONNX files.

A file may come from anywhere: it is checked before it is used, and every fault is a `ModelError`.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.depth.networks.card import LARGEST_SIDE
from fastrefocus.depth.networks.onnx_file import has_external_data, has_normalisation, read_model, state_of
from fastrefocus.depth.networks.sessions import Session, memory_limit, open_session, run_session
from fastrefocus.errors import ModelError

_INPUT_RULE = "one float32 image [1, 3, height, width] (a further axis of 1 is accepted)"
_OUTPUT_RULE = "one float32 map [1, 1, height, width] or [1, height, width], of the input's height and width"

_EXTERNAL_RULE = (
    "its weights may be in another file: copy both into one folder, under their own names, and no links, as those in "
    "the cache of Hugging Face"
)

_loading = threading.Lock()  # so that threads that want the same model load it once


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxModel:
    """A network that was checked to take one image; safe to run from several threads.

    Parameters
    ----------
    session : Session
        The network.
    path : Path
        Where it was read, for error messages.
    height, width : int or None
        The size of the input where the file fixes it.
    metadata : mapping of str to str
        The file's own entries.
    normalises : bool
        Whether the file holds the constants of ImageNet's normalisation.
    trusted : bool
        See `load_model`.
    """

    session: Session
    path: Path
    height: int | None
    width: int | None
    metadata: Mapping[str, str]
    normalises: bool
    trusted: bool

    @property
    def output_names(self) -> list[str]:
        """The names of all outputs."""
        return [value.name for value in self.session.get_outputs()]

    def choose_output(self, names: Sequence[str], refused: Sequence[str] = ()) -> str:
        """Return the name of the depth among the outputs.

        Parameters
        ----------
        names : sequence of str
            What it may be called in a file with several outputs.
        refused : sequence of str
            Outputs that a file of the right kind has not.

        Raises
        ------
        ModelError
            If it cannot be told, or is no float32 map.
        """
        outputs = self.session.get_outputs()
        alien = [value.name for value in outputs if value.name in refused]
        if alien:
            raise ModelError(
                f"{self.path} has the output {alien[0]!r}, so that its depth is not what the card says: describe it in "
                f'{self.path}.json, as {{"card": ..., "output": "metric"}} if it is in metres, and give the path alone'
            )
        chosen = outputs if len(outputs) == 1 else [value for value in outputs if value.name in names]
        if not chosen:
            raise ModelError(
                f"{self.path}: the output must be {_OUTPUT_RULE}, found {_describe(outputs)}; name the right one in "
                f'{self.path}.json, as "output_names": ["..."]'
            )
        if chosen[0].type != "tensor(float)":
            raise ModelError(f"{self.path}: the output must be {_OUTPUT_RULE}, found {_describe(chosen)}")
        name: str = chosen[0].name
        return name

    def run(self, image: FloatArray, output: str) -> FloatArray:
        """Return the network's map (h, w) for an image (h, w, 3), both float32.

        Parameters
        ----------
        image : ndarray
            (h, w, 3) float32.
        output : str
            The name of the output.

        Raises
        ------
        ModelError
            If the network fails, or the output has another shape or holds NaN or infinity.
        """
        asked = self.session.get_inputs()[0]
        axes = (1,) * (len(asked.shape) - 3)
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)).reshape(*axes, 3, *image.shape[:2])
        try:
            (result,) = run_session(self.session, [output], {asked.name: batch}, trusted=self.trusted)
        except Exception as error:  # onnxruntime's exceptions have no other common base
            raise ModelError(f"{self.path} failed on an input of shape {batch.shape}: {_brief(error)}") from error
        size = image.shape[:2]
        if result.shape[-2:] != size or result.size != size[0] * size[1]:
            raise ModelError(
                f"{self.path}: the output must be {_OUTPUT_RULE}; "
                f"for an input of shape {batch.shape} it has shape {result.shape}"
            )
        if not np.isfinite(result).all():
            bad = np.count_nonzero(~np.isfinite(result))
            raise ModelError(f"{self.path}: the output holds NaN or infinity at {bad} of {result.size} pixels")
        values: FloatArray = result.reshape(size)
        return values


def load_model(path: Path, threads: int, *, trusted: bool = False) -> OnnxModel:
    """Read and check an ONNX file; the last few are kept ready.

    Parameters
    ----------
    path : Path
        The file.
    threads : int
        How many threads the network runs on.
    trusted : bool
        The file comes with the package: it may have all memory, and keeps it, which is faster.

    Returns
    -------
    OnnxModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelError
        If the file is not a model as `fastrefocus.estimate_depth` describes it.
    """
    path = Path(os.path.realpath(path))
    state = state_of(path)
    with _loading:
        return _load_model(path, state, threads, trusted)


@lru_cache(maxsize=4)
def _load_model(path: Path, state: tuple[int, ...], threads: int, trusted: bool) -> OnnxModel:
    data = read_model(path)
    # Given a path, onnxruntime reads other files below its folder alone, wherever links lead; given bytes, anywhere.
    external = has_external_data(data)
    try:
        session = open_session(str(path) if external else data, threads, trusted=trusted)
    except Exception as error:  # onnxruntime's exceptions have no other common base
        advice = f" ({_EXTERNAL_RULE})" if external else ""
        raise ModelError(f"{path} is not an ONNX model that onnxruntime can run: {_brief(error)}{advice}") from error
    metadata = _read_texts(session, path)
    height, width = _check_input(session, path)
    return OnnxModel(
        session=session,
        path=path,
        height=height,
        width=width,
        metadata=metadata,
        normalises=has_normalisation(data),
        trusted=trusted,
    )


def _read_texts(session: Session, path: Path) -> dict[str, str]:
    """Return the file's own entries; refuse bytes that are no text, in them and in names, which are read later."""
    try:
        _describe([*session.get_inputs(), *session.get_outputs()])
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError:
        raise ModelError(f"{path} has a name or an entry of metadata that is not a text in UTF-8") from None


def _check_input(session: Session, path: Path) -> tuple[int | None, int | None]:
    """Check what goes in; return the height and width that the file fixes, None where it does not."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not _is_image_shape(inputs[0].shape):
        raise ModelError(f"{path}: the input must be {_INPUT_RULE}, found {_describe(inputs)}")
    height, width = (side if isinstance(side, int) else None for side in inputs[0].shape[-2:])
    for side in (height, width):
        if side is not None and not 1 <= side <= LARGEST_SIDE:
            raise ModelError(
                f"{path}: height and width of the input must be 1 to {LARGEST_SIDE}, found {_describe(inputs)}"
            )
    return height, width


def _is_image_shape(shape: list[Any]) -> bool:
    # A dimension is a number where the file fixes it, else a name or None.
    return (
        len(shape) in (4, 5) and all(side == 1 or not isinstance(side, int) for side in shape[:-3]) and shape[-3] == 3
    )


def _describe(values: list[Any]) -> str:
    return ", ".join(f"{value.name!r}: {value.type} {value.shape}" for value in values) or "none"


def _brief(error: Exception) -> str:
    text = str(error).strip()
    if "bfc_arena" in text or "bad allocation" in text or "bad_alloc" in text or "Failed to allocate" in text:
        return f"it asks for more memory than the {memory_limit() / 2**30:.0f} GiB that a model gets"
    return text.partition("\n")[0][:300]
