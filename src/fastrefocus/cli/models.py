"""The verb ``models``: the cards of depth models, and the download of a file."""

import argparse
import json
from pathlib import Path

from fastrefocus.cli.checks import UsageError
from fastrefocus.depth.networks.card import ModelCard
from fastrefocus.depth.networks.model_cards import CARDS

_HEAD = ("CARD", "OUTPUT", "SIZE", "LICENCE", "SOURCE")


def check(args: argparse.Namespace) -> None:
    """Check the options, and find the URL and SHA-256 of a card's file."""
    if args.get is None:
        if args.output is not None or args.sha256 is not None:
            raise UsageError("OUT and --sha256 are for --get")
        return
    if args.output is None:
        raise UsageError("--get needs OUT, the file to make")
    card = CARDS.get(args.get.lower())
    if card is not None and args.sha256 is None:
        if card.published.url is None:
            raise UsageError(_nothing_to_get(card))
        args.get, args.sha256 = card.published.url, card.published.sha256
    if not args.get.startswith(("https://", "http://")):
        raise UsageError(f"--get takes a card of {', '.join(CARDS)}, without --sha256, or a URL, got {args.get!r}")
    if args.sha256 is None:
        raise UsageError("--get URL needs --sha256, the SHA-256 that the file must have")


def run(args: argparse.Namespace) -> None:
    """Print the cards, or download a file."""
    if args.get is not None:
        from fastrefocus.depth.networks.download import download_model

        try:
            download_model(args.get, Path(args.output), args.sha256, overwrite=args.force)
        except FileExistsError as error:
            raise FileExistsError(f"{error}; --force overwrites it") from None
    elif args.json:
        for card in CARDS.values():
            print(json.dumps(dict(zip(map(str.lower, _HEAD), _row(card), strict=True))))
    else:
        rows = [_HEAD, *map(_row, CARDS.values())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        known = [card.name for card in CARDS.values() if card.published.url is not None]
        print(f"\nfastrefocus models --get CARD OUT knows files of {', '.join(known)}.")


def _nothing_to_get(card: ModelCard) -> str:
    if card.published.source.startswith("https://"):
        return (
            f"no file of {card.name} is known with its SHA-256; look at {card.published.source}, and give URL and "
            "--sha256"
        )
    return f"there is nothing to download for {card.name}: it is {card.published.source}"


def _row(card: ModelCard) -> tuple[str, ...]:
    kind = "metric (m)" if card.kind == "metric" else card.kind
    known = card.published
    return card.name, kind, known.size, known.licence, known.source
