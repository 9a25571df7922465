"""Checks of single arguments; arrays are checked in `fastrefocus.arrays`."""

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np


def number(
    value: Any,  # noqa: ANN401 - whatever the caller passed
    name: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    least: float = -math.inf,
) -> float:
    """Return a finite real number with above < value < below and value >= least, or say what is wrong."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number{_range(above, below, least)}, got {value!r}")
    try:
        result = float(value)
    except OverflowError:  # an int beyond 1e308
        result = math.inf
    if not (math.isfinite(result) and above < result < below and result >= least):
        raise ValueError(f"{name} must be a finite number{_range(above, below, least)}, got {value!r}")
    return result


def numbers(values: Any, name: str, *, above: float = -math.inf, below: float = math.inf) -> tuple[float, ...]:  # noqa: ANN401
    """Return a sequence of at least one number above < value < below, or say what is wrong."""
    zero_dimensional = isinstance(values, np.ndarray) and values.ndim == 0
    if isinstance(values, str) or zero_dimensional or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence of numbers, got {values!r}")
    result = tuple(number(value, f"{name}[{i}]", above=above, below=below) for i, value in enumerate(values))
    if not result:
        raise ValueError(f"{name} must hold at least one number, got none")
    return result


def integer(value: Any, name: str, *, least: int) -> int:  # noqa: ANN401
    """Return an integer >= least, or say what is wrong."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")
    return int(value)


def flag(value: Any, name: str) -> bool:  # noqa: ANN401
    """Return True or False, or say what is wrong."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def choice(value: Any, name: str, accepted: Collection[str]) -> str:  # noqa: ANN401
    """Return one of the accepted words, or say what is wrong."""
    if not isinstance(value, str) or value not in accepted:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, accepted))}, got {value!r}")
    return str(value)


def _range(above: float, below: float, least: float) -> str:
    bounds = [
        f"> {above:g}" if above > -math.inf else "",
        f"< {below:g}" if below < math.inf else "",
        f">= {least:g}" if least > -math.inf else "",
    ]
    text = " and ".join(bound for bound in bounds if bound)
    return f" {text}" if text else ""
