"""How Numba compiles the kernels."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Sums may be reordered, which vectorises them; NaN and infinity keep their meaning.
_njit = functools.partial(
    numba.njit, nogil=True, fastmath={"reassoc", "contract", "nsz", "arcp", "afn"}, error_model="numpy"
)


def kernel(function: _Function) -> _Function:
    """Compile without the GIL, with an on-disk cache where some cache folder is writable."""
    try:
        return cast(_Function, _njit(cache=True)(function))
    except RuntimeError:  # Numba found no folder that it may write to
        _warn_of_no_cache()
        return cast(_Function, _njit()(function))


def part(function: _Function) -> _Function:
    """Compile into the kernels that call this function.

    Else the process that compiles the kernels would call this function as compiled by itself, and those that load them
    from the cache the copy in them, which rounds otherwise: the results would differ in the last bits.
    """
    return cast(_Function, _njit(forceinline=True)(function))


@functools.cache  # once for all kernels
def _warn_of_no_cache() -> None:
    warnings.warn(
        "the compiled kernels cannot be kept on disk; each process compiles them again. "
        "Set NUMBA_CACHE_DIR to a writable folder.",
        RuntimeWarning,
        stacklevel=3,
    )
