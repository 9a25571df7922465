"""A model's card: named before its path, in a JSON file beside it, or in the model's own metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from fastrefocus import checks
from fastrefocus.depth.networks.card import ModelCard, Output
from fastrefocus.depth.networks.model_cards import CARDS, card_of_metadata
from fastrefocus.depth.networks.onnx_model import OnnxModel
from fastrefocus.errors import ModelError

#: The metadata entry of an ONNX file that holds its card as JSON.
METADATA_KEY = "fastrefocus_card"

_ENTRIES = (
    "output", "mean", "std", "normalised_inside", "white", "channels", "fit", "size", "multiple", "limits", "unit_m",
    "canonical_focal_px", "output_names",
)  # fmt: skip
_EXAMPLE = '{"output": "inverse", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [384, 384]}'
_SIZE = '"size" (of the input, which the file does not fix)'
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ModelCard)} | {"output": None}


def find_card(path: Path, network: OnnxModel) -> ModelCard:
    """Return the card of a model file for which none was named.

    Parameters
    ----------
    path : Path
        The file. A card in PATH.json, or in a file of the same name that ends in .json in the place of .onnx, comes
        first.
    network : OnnxModel
        What is in it. In its metadata the entry ``fastrefocus_card`` holds a card as JSON, the entry ``model`` names
        one.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        If there is no card, or it is not one, or something is missing that cannot be known.
    """
    fixed_size = network.height is not None and network.width is not None
    beside = next((file for file in _files_beside(path) if file.is_file()), None)
    if beside is not None:
        return read_card(_text_of(beside), str(beside), fixed_size=fixed_size, outputs=network.output_names)
    if METADATA_KEY in network.metadata:
        where = f"{path}, metadata {METADATA_KEY}"
        return read_card(network.metadata[METADATA_KEY], where, fixed_size=fixed_size, outputs=network.output_names)
    card = card_of_metadata(network.metadata.get("model", ""))
    if card is None:
        raise ModelError(
            f"{path} does not say how it wants its input and what its output means. Name its family, "
            f"CARD:{path}, with a card of {', '.join(CARDS)}; or describe it in {path}.json, such as {_EXAMPLE}"
        )
    return card


def read_card(text: str, where: str, *, fixed_size: bool, outputs: Sequence[str]) -> ModelCard:
    """Return the card that a JSON text holds.

    Parameters
    ----------
    text : str
        An object whose entries are named like the parameters of `ModelCard`. The entry "card" names a known card from
        which the others differ; null removes what that card says. Without it there must be "output"; "mean" and "std",
        or "normalised_inside": true; and "size", unless the file fixes it.
    where : str
        Where it was found, for error messages.
    fixed_size : bool
        Whether the file fixes height and width of the input.
    outputs : sequence of str
        The names of the file's outputs.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        If it is not such a text, or an entry has no effect.

    Examples
    --------
    >>> read_card('{"card": "fastdepth", "limits": [0.5, 20]}', "here", fixed_size=False, outputs=["depth"]).limits
    (0.5, 20)
    """
    entries = _entries_of(text, where)
    name = entries.pop("card", None)
    if name is not None and not (isinstance(name, str) and name in CARDS):
        raise ModelError(f"{where}: card must be one of {', '.join(CARDS)}, got {name!r}")
    unknown = [entry for entry in entries if entry not in _ENTRIES]
    if unknown:
        raise ModelError(f"{where}: unknown entries {', '.join(unknown)}; there are card, {', '.join(_ENTRIES)}")
    given = {entry: value for entry, value in entries.items() if value is not None}
    try:
        if name is None:
            _check_complete(given, fixed_size=fixed_size)
            card = ModelCard(name=where, **given)
        else:  # who writes a card has looked at the file
            card = replace(CARDS[name], refused_outputs=(), **{entry: _DEFAULTS[entry] for entry in entries} | given)
            _check_size_known(card, fixed_size=fixed_size)
        _check_effective(given, card, outputs)
    except (TypeError, ValueError) as error:
        known = "" if name is None else f" (with what the card {name!r} says; null removes an entry of it)"
        raise ModelError(f"{where}: {error}{known}") from None
    return card


def _files_beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.json"), path.with_suffix(".json")


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{file} is not a text in UTF-8, and so no card in JSON") from None


def _entries_of(text: str, where: str) -> dict[str, Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is no card in JSON, such as {_EXAMPLE}: {error}") from None
    if not isinstance(entries, dict):
        raise ModelError(f"{where} must hold a JSON object, such as {_EXAMPLE}, got {type(entries).__name__}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()}


def _check_complete(given: Mapping[str, Any], *, fixed_size: bool) -> None:
    """Ask for what cannot be known."""
    if "output" in given:
        checks.choice(given["output"], "output", get_args(Output))  # before what it lacks besides
    missing = [] if "output" in given else ['"output" (what it means)']
    if not given.get("normalised_inside"):
        missing += [
            f'"{name}" (of the normalisation; or "normalised_inside": true)'
            for name in ("mean", "std")
            if name not in given
        ]
    if "size" not in given and not fixed_size:
        missing.append(_SIZE)
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}; an example: {_EXAMPLE}")


def _check_size_known(card: ModelCard, *, fixed_size: bool) -> None:
    if card.size is None and not fixed_size:
        raise ValueError(f"it lacks {_SIZE}")


def _check_effective(given: Mapping[str, Any], card: ModelCard, outputs: Sequence[str]) -> None:
    """Refuse entries that would change nothing."""
    in_vain = {
        "white": not card.normalised_inside and 'without "normalised_inside": true',
        "std": card.normalised_inside and 'with "normalised_inside": true',
        "multiple": card.fit in ("stretch", "pad") and f"with the fit {card.fit!r}, which keeps to height and width",
        "unit_m": card.output not in ("metric", "canonical-metric") and f"on the output {card.output!r}",
        "canonical_focal_px": card.output != "canonical-metric" and f"on the output {card.output!r}",
        "output_names": not set(card.output_names) & set(outputs) and f"where the outputs are {', '.join(outputs)}",
    }
    for entry, reason in in_vain.items():
        if entry in given and reason:
            raise ValueError(f'"{entry}" has no effect {reason}')
