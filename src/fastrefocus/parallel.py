"""How many threads to use, and a pool of our own to use them in.

Numba's threading layers and OpenMP survive neither a fork nor several Python threads, so every kernel
here releases the GIL and is called from ordinary Python threads.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fastrefocus import checks

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: More are a mistake; onnxruntime, for one, could not start them.
_MOST_THREADS = 1024

#: Applies a function to every item and returns the results in the items' order.
Map = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


def thread_count(threads: int | None) -> int:
    """Return the number of threads to use: `threads`, or every CPU that this process may run on.

    Parameters
    ----------
    threads : int or None
        1 to 1024, or None for all.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    TypeError
        If `threads` is neither an integer nor None.
    ValueError
        If `threads` is less than 1 or more than 1024.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = checks.integer(threads, "threads", least=1)
    if count > _MOST_THREADS:
        raise ValueError(f"threads must be <= {_MOST_THREADS}, got {threads!r}")
    return count


def interruptible(work: Callable[[], _Result], stop: Callable[[], None]) -> _Result:
    """Do long work in C in another thread, as Ctrl-C waits for the end of a call into C.

    Parameters
    ----------
    work : callable
        What is to be done; it releases the GIL.
    stop : callable
        Makes it end early; called where the wait for it is interrupted.

    Returns
    -------
    object
        What `work` returns.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fastrefocus-call") as pool:
        try:
            return pool.submit(work).result()
        except BaseException:
            stop()
            raise


def bands(height: int, rows: int = 128) -> list[slice]:
    """Return the slices that divide an image's rows into bands, which do not depend on the number of threads."""
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


@contextmanager
def thread_map(threads: int | None, most_items: int) -> Iterator[Map]:
    """Give a ``map`` over at most `threads` threads; the caller's own thread where one is enough.

    Parameters
    ----------
    threads : int or None
        See `thread_count`.
    most_items : int
        The most items that one call will be given; more threads than that are not started.
    """
    workers = min(thread_count(threads), most_items)
    if workers <= 1:
        yield lambda function, items: [function(item) for item in items]
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="fastrefocus") as pool:
        yield lambda function, items: list(pool.map(function, items))


def thread_imap(
    function: Callable[[_Item], _Result], items: Sequence[_Item], threads: int | None
) -> Generator[_Result, None, None]:
    """Yield the results of a function for every item, in order, from at most `threads` threads.

    Closing the generator gives up the items not yet begun.
    """
    workers = min(thread_count(threads), len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="fastrefocus") as pool:
        yield from pool.map(function, items)
