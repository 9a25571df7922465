"""Progress callbacks: rate-limited, and able to cancel."""

import time
from collections.abc import Callable

import numpy as np

from fastrefocus.errors import Cancelled

#: ``callback(stage, done, total)``; returning False cancels.
Callback = Callable[[str, int, int], object]

_MIN_INTERVAL_S = 0.1

#: Told from time to time how much of a part of a stage is done; may raise `Cancelled`.
Tick = Callable[[int], None]


def untold(done: int) -> None:
    """Tell nobody: a `Tick`."""


def part_of(callback: Callback | None, number: int, count: int) -> Callback | None:
    """Return a callback for part `number`, from 0, of a stage that is gone through `count` times."""
    if callback is None or not callable(callback):  # `Progress` says so
        return callback
    return lambda stage, done, total: callback(stage, number * total + done, count * total)


class Progress:
    """Report one stage's progress to a callback, at most ten times a second.

    Parameters
    ----------
    callback : callable or None
        Called as ``callback(stage, done, total)`` from the calling thread. None: nothing is reported.
    stage : str
        Name of the stage.
    total : int
        Number of steps.
    """

    def __init__(self, callback: Callback | None, stage: str, total: int) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
        self._callback = callback
        self._stage = stage
        self._total = total
        self._last = -_MIN_INTERVAL_S

    def after(self, done: int) -> Tick:
        """Return a reporter for a part of the stage that begins when `done` steps are complete."""
        return lambda step: self(done + step)

    def __call__(self, done: int) -> None:
        """Report that `done` steps are complete; the last step is always reported.

        Raises
        ------
        Cancelled
            If the callback returned False.
        """
        if self._callback is None:
            return
        now = time.monotonic()
        if done < self._total and now - self._last < _MIN_INTERVAL_S:
            return
        self._last = now
        answer = self._callback(self._stage, done, self._total)
        if isinstance(answer, (bool, np.bool_)) and not answer:
            raise Cancelled(f"cancelled by the callback at {self._stage} {done}/{self._total}")
