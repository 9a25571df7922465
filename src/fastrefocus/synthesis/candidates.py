"""The candidates of each pixel, and how probable they are (paper B, sections 2.1, 2.3 and 5.1)."""

from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _candidates
from fastrefocus.synthesis.library import Colours, Indices, PatchLibrary, pack_colours, unpack_colours
from fastrefocus.synthesis.search import Found

#: What a candidate is: a colour of the library, or the mean of a cluster of them.
CANDIDATE_VALUES = ("colours", "clusters")

#: For each cluster, so many colours are found.
COLOURS_PER_CLUSTER = 8

_ROUNDS = 10  # of k-means
_UNIT = 1 << 16  # the weight of the nearest patch
_STEPS = 64  # of the table of weights, for each time that it falls by e


class Candidates(NamedTuple):
    """Candidates of each pixel, (M, k), the most probable first."""

    colours: Colours
    distances: Indices
    patches: Indices


def colour_candidates(library: PatchLibrary, found: Found) -> Candidates:
    """Take each colour found as a candidate."""
    return Candidates(library.colours[found.patches], *found)


def distance_scale(found: Found) -> int:
    """Return 1 / lambda of section 2.1: what makes a distance e times less probable.

    The paper leaves it open. It is what lies, in the median pixel, between the nearest and the farthest candidate.
    """
    spread = np.sort(found.distances[:, -1] - found.distances[:, 0])
    return max(int(spread[(len(spread) - 1) // 2]), 1)


def confidences(distances: Indices, scale: int) -> FloatArray:
    """Return each pixel's probability of the best candidate, normalised over its candidates (section 2.3)."""
    beyond = distances - distances[:, :1]
    best: FloatArray = (1 / np.exp(beyond / -float(scale)).sum(axis=1)).astype(np.float32)
    return best


def cluster_candidates(library: PatchLibrary, found: Found, count: int, scale: int) -> Candidates:
    """Cluster the colours found by k-means, weighted by probability (section 5.1).

    A cluster's probability is the sum of its members'; so is its distance. Weights come from a table, so that all is
    done in integers.
    """
    beyond = found.distances.astype(np.int64) - found.distances[:, :1]
    table = np.rint(_UNIT * np.exp(-np.arange(12 * _STEPS) / _STEPS)).astype(np.int64)
    table[-1] = 0
    weights = table[np.minimum(_STEPS * beyond // scale, len(table) - 1)]
    colours = unpack_colours(library.colours[found.patches], library.channels)
    means, totals, members = _candidates.cluster_colours(colours, weights, min(count, found.patches.shape[1]), _ROUNDS)

    by_weight = np.argsort(-totals, axis=1, kind="stable")
    totals = np.take_along_axis(totals, by_weight, axis=1)
    members = np.take_along_axis(members, by_weight, axis=1)
    packed = np.take_along_axis(pack_colours(means), by_weight, axis=1)
    # Nothing is nearer than the nearest patch alone; clusters of no weight are as far away as the table reaches.
    most = np.log(totals.sum(axis=1, keepdims=True)) - np.log(np.maximum(totals, 1))
    distances = found.distances[:, :1] + np.minimum(np.rint(scale * most), 2**30).astype(np.int32)
    patches = np.take_along_axis(found.patches, np.maximum(members, 0), axis=1)
    return Candidates(np.ascontiguousarray(packed), np.ascontiguousarray(distances), np.ascontiguousarray(patches))
