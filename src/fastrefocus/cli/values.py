"""Values as they are written on the command line, for argparse's ``type``."""

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from typing import TypeVar

import fastrefocus as fr

_Made = TypeVar("_Made")

_LARGEST_BLUR = 1000.0  # pixels; more is a mistake in the units


def positive(text: str) -> float:
    """Read a number > 0."""
    return _number(text, lambda value: value > 0, "a number > 0")


def blur_radius(text: str) -> float:
    """Read a radius of blur that is wanted."""
    return _number(text, lambda value: 0 < value < _LARGEST_BLUR, f"pixels, > 0 and < {_LARGEST_BLUR:g}")


def existing_radius(text: str) -> float:
    """Read a radius of blur that there is."""
    return _number(text, lambda value: 0 <= value < _LARGEST_BLUR, f"pixels, >= 0 and < {_LARGEST_BLUR:g}")


def gain(text: str) -> float:
    """Read a number from 1 to 100."""
    return _number(text, lambda value: 1 <= value <= 100, "a number from 1 to 100")


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def degrees(text: str) -> float:
    """Read an angle."""
    return _number(text, lambda value: True, "degrees")


def whole_number(least: int) -> Callable[[str], int]:
    """Return a function that reads whole numbers from `least` on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ArgumentTypeError(f"expected a whole number >= {least}, got {text!r}")
        return value

    return parse


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"expected numbers with commas between them, got {text!r}") from None


def focus(text: str) -> tuple[float, float] | float | fr.FocusBand:
    """Read a point X,Y, a depth, or a band NEAREST:FARTHEST."""
    expected = f"expected a point X,Y, a depth, or a band NEAREST:FARTHEST, got {text!r}"
    parts = text.split(":") if ":" in text else text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise ArgumentTypeError(expected) from None
    if len(values) > 2 or any(math.isnan(value) for value in values):
        raise ArgumentTypeError(expected)
    if len(values) == 1:
        return values[0]
    if ":" in text:
        return _made(fr.FocusBand, values, text)
    if not all(0 <= value <= 1 for value in values):
        raise ArgumentTypeError(f"expected fractions, 0 to 1, of width and height, got {text!r}")
    return values[0], values[1]


def depth_range(text: str) -> fr.DepthRange:
    """Read metres NEAREST,FARTHEST."""
    values = numbers(text)
    if len(values) != 2:
        raise ArgumentTypeError(f"expected metres NEAREST,FARTHEST, got {text!r}")
    return _made(fr.DepthRange, values, text)


def distance(text: str) -> tuple[tuple[float, float], float | None]:
    """Read a point and its distance, X,Y=METRES; None stands for what the photo's EXIF says."""
    place, found, metres = text.partition("=")
    point = focus(place)
    if not found or not isinstance(point, tuple):
        raise ArgumentTypeError(f"expected X,Y=METRES or X,Y=exif, got {text!r}")
    if metres in ("exif", "inf"):
        return point, None if metres == "exif" else math.inf
    return point, positive(metres)


def least_disparity(text: str) -> float:
    """Read 1 / z in 1 / m, where infinity is 0."""
    return _number(text, lambda value: value >= 0, "1 / metres, >= 0")


def aperture(text: str) -> int | str:
    """Read a number of blades, "disk", or a file."""
    try:
        blades = int(text)
    except ValueError:
        return text
    if not 5 <= blades <= 9:
        raise ArgumentTypeError(f"expected disk, 5 to 9 blades, or a picture of the aperture, got {text!r}")
    return blades


def psf(text: str) -> tuple[str, float] | None:
    """Read a shape and its size, or "fit": None."""
    if text == "fit":
        return None
    shape, _, size = text.partition(":")
    if shape not in ("disk", "gaussian"):
        raise ArgumentTypeError(f"expected disk:DIAMETER, gaussian:SIGMA or fit, got {text!r}")
    return shape, positive(size)


def sha256(text: str) -> str:
    """Read a SHA-256 in hexadecimal digits."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ArgumentTypeError(f"expected 64 hexadecimal digits, got {text!r}")
    return text.lower()


def _number(text: str, accepts: Callable[[float], bool], expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and accepts(value)):
        raise ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def _made(make: Callable[[float, float], _Made], values: Sequence[float], text: str) -> _Made:
    try:
        return make(*values)
    except ValueError as error:
        raise ArgumentTypeError(f"{error} ({text!r})") from None
