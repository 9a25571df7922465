"""Occlusion groups: the depth range of a photo cut where surfaces hide one another.

Within a group light adds up; between groups the nearer one covers the farther. So a cut belongs where depth jumps, and
nowhere else: many pairs of neighbours with a jump between them are to straddle it, and few of one smooth surface.
"""

import math

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _core
from fastrefocus.parallel import Map, bands

_MOST_GROUPS = 8
_BINS = 128  # of the radius, between its extremes
_LEAST_JUMP = 1.0  # pixels of radius; a smaller step hides nothing that can be seen
_RELATIVE_JUMP = 0.04  # of the range of the radius

_SMOOTH_COST = 0.25  # of a cut for each pair of one surface that it parts; it gains 1 for each pair with a jump
_LEAST_GAIN = 0.02  # of a cut, as a share of the photo's shorter side

_Labels = npt.NDArray[np.uint8]
_Counts = npt.NDArray[np.int64]


def jump_size(radius: FloatArray) -> float:
    """Return the difference in radius above which neighbours count as parts of different surfaces, pixels.

    It does not change when the focus is moved, which adds a constant to the radius.
    """
    return max(_LEAST_JUMP, _RELATIVE_JUMP * float(radius.max() - radius.min()))


def label_groups(radius: FloatArray, map_: Map) -> _Labels:
    """Return the group of each pixel, 0 farthest.

    Parameters
    ----------
    radius : ndarray
        (H, W) float32: signed radius of the circle of confusion, larger is farther.
    map_ : callable
        See `fastrefocus.parallel.thread_map`.

    Returns
    -------
    ndarray
        (H, W) uint8; no group is empty.
    """
    low, high = radius.min(), radius.max()
    jump = jump_size(radius)
    bins = np.zeros(radius.shape, np.uint8)
    if high - low <= jump:
        return bins
    scale = np.float32(_BINS / (float(high) - float(low)))

    def sort(rows: slice) -> None:
        np.minimum((radius[rows] - low) * scale, _BINS - 1, out=bins[rows], casting="unsafe")

    parts = bands(radius.shape[0])
    map_(sort, parts)
    counts = np.sum(map_(lambda rows: _core.neighbour_counts(bins, rows.start, rows.stop, _BINS), parts), axis=0)
    cuts = _choose_cuts(counts, math.ceil(jump * float(scale)), _LEAST_GAIN * min(radius.shape))
    groups = len(cuts) - np.searchsorted(np.sort(cuts), np.arange(_BINS), side="right")  # group 0: the largest radius
    table = groups.astype(np.uint8)
    map_(lambda rows: np.copyto(bins[rows], table[bins[rows]]), parts)
    return bins


def _choose_cuts(counts: _Counts, jump: int, least: float) -> list[int]:
    """Choose cuts one by one; a cut at c lies between bins c - 1 and c.

    Parameters
    ----------
    counts : ndarray
        (bins, bins): how often each two bins are neighbours, the lower first.
    jump : int
        Bins from which neighbours are parts of different surfaces.
    least : float
        What a cut must gain.
    """
    lower, upper = np.indices(counts.shape)
    jumps = np.where(upper - lower >= jump, counts, 0)
    smooth = _SMOOTH_COST * _straddling(counts - jumps)
    cuts: list[int] = []
    while len(cuts) < _MOST_GROUPS - 1:
        gain = _straddling(jumps) - smooth
        best = gain.max()
        if best < max(least, 1):
            break
        equals = np.flatnonzero(gain == best)
        equals = equals[: np.argmax(np.append(np.diff(equals), 2) > 1) + 1]  # the first run of them
        cut = int(equals[len(equals) // 2])
        cuts.append(cut)
        jumps[:cut, cut:] = 0  # these are parted
    return cuts


def _straddling(counts: _Counts) -> npt.NDArray[np.int64]:
    """Return for each cut 0 .. bins - 1 how many of the pairs it parts."""
    changes = counts.sum(axis=1) - counts.sum(axis=0)  # pairs that begin, less those that end, at each bin
    return np.concatenate(([0], np.cumsum(changes)[:-1]))
