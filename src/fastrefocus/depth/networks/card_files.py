"""A model's card: named before its path, in a JSON file beside it, or in the model's own metadata."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.networks.model_cards import CARDS, card_of_metadata
from fastrefocus.errors import ModelError

#: The metadata entry of an ONNX file that holds its card as JSON.
METADATA_KEY = "fastrefocus_card"

_ENTRIES = (
    "output", "mean", "std", "normalised_inside", "white", "channels", "fit", "size", "multiple", "limits", "unit_m",
    "canonical_focal_px", "output_names",
)  # fmt: skip
_EXAMPLE = '{"output": "inverse", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [384, 384]}'


def find_card(path: Path, metadata: Mapping[str, str], *, fixed_size: bool) -> ModelCard:
    """Return the card of a model file for which none was named.

    Parameters
    ----------
    path : Path
        The file. A card in PATH.json, or in a file of the same name that ends in .json in the place of .onnx, comes
        first.
    metadata : mapping of str to str
        The file's own metadata: the entry ``fastrefocus_card`` holds a card as JSON, the entry ``model`` names one.
    fixed_size : bool
        Whether the file fixes height and width of the input.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        If there is no card, or it is not one, or something is missing that cannot be known.
    """
    beside = next((file for file in _files_beside(path) if file.is_file()), None)
    if beside is not None:
        return read_card(_text_of(beside), str(beside), fixed_size=fixed_size)
    if METADATA_KEY in metadata:
        return read_card(metadata[METADATA_KEY], f"{path}, metadata {METADATA_KEY}", fixed_size=fixed_size)
    card = card_of_metadata(metadata.get("model", ""))
    if card is None:
        raise ModelError(
            f"{path} does not say how it wants its input and what its output means. Name its family, "
            f"CARD:{path}, with a card of {', '.join(CARDS)}; or describe it in {path}.json, such as {_EXAMPLE}"
        )
    return card


def read_card(text: str, where: str, *, fixed_size: bool) -> ModelCard:
    """Return the card that a JSON text holds.

    Parameters
    ----------
    text : str
        An object whose entries are named like the parameters of `ModelCard`. The entry "card" names a known card from
        which the others differ. Without it there must be "output"; "mean" and "std", or "normalised_inside": true; and
        "size", unless the file fixes it.
    where : str
        Where it was found, for error messages.
    fixed_size : bool
        Whether the file fixes height and width of the input.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        If it is not such a text.

    Examples
    --------
    >>> read_card('{"card": "fastdepth", "limits": [0.5, 20]}', "here", fixed_size=False).limits
    (0.5, 20)
    """
    entries = _entries_of(text, where)
    name = entries.pop("card", None)
    if name is not None and name not in CARDS:
        raise ModelError(f"{where}: card must be one of {', '.join(CARDS)}, got {name!r}")
    unknown = [entry for entry in entries if entry not in _ENTRIES]
    if unknown:
        raise ModelError(f"{where}: unknown entries {', '.join(unknown)}; there are card, {', '.join(_ENTRIES)}")
    if name is None:
        _check_complete(entries, where, fixed_size=fixed_size)
    try:
        if name is None:
            return ModelCard(name=where, **entries)
        return replace(CARDS[name], refused_outputs=(), **entries)  # who writes a card has looked at the file
    except (TypeError, ValueError) as error:
        raise ModelError(f"{where}: {error}") from None


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
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in entries.items() if value is not None
    }


def _check_complete(entries: Mapping[str, Any], where: str, *, fixed_size: bool) -> None:
    """Ask for what cannot be known."""
    missing = [] if "output" in entries else ['"output" (what it means)']
    if not entries.get("normalised_inside"):
        missing += [
            f'"{name}" (of the normalisation; or "normalised_inside": true)'
            for name in ("mean", "std")
            if name not in entries
        ]
    if "size" not in entries and not fixed_size:
        missing.append('"size" (of the input, which the file does not fix)')
    if missing:
        raise ModelError(f"{where} lacks {', '.join(missing)}; an example: {_EXAMPLE}")
