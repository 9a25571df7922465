"""The candidates of each pixel, and how probable they are (paper B, sections 2.1, 2.3 and 5.1)."""

from contextlib import closing
from typing import NamedTuple

import numpy as np

from fastrefocus.arrays import FloatArray
from fastrefocus.native import _candidates
from fastrefocus.parallel import thread_imap
from fastrefocus.progress import Progress
from fastrefocus.synthesis.library import Colours, Indices, PatchLibrary, pack_colours, unpack_colours
from fastrefocus.synthesis.search import Found, slices

#: What a candidate is: a colour of the library, or the mean of a cluster of them.
CANDIDATE_VALUES = ("colours", "clusters")

#: For each cluster, so many colours are found.
COLOURS_PER_CLUSTER = 8

_ROUNDS = 10  # of k-means

#: Weights of the cluster's members: falling by e every so many steps, to 0.
_STEPS = 64
_WEIGHTS = np.rint(np.append(65536 * np.exp(-np.arange(12 * _STEPS - 1) / _STEPS), 0)).astype(np.int64)


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
    best = np.empty(len(distances), np.float32)
    for part in slices(len(distances)):
        beyond = distances[part] - distances[part, :1]
        best[part] = 1 / np.exp(beyond / -float(scale)).sum(axis=1)
    return best


def cluster_candidates(
    library: PatchLibrary, found: Found, count: int, scale: int, *, threads: int | None, progress: Progress
) -> Candidates:
    """Cluster the colours found by k-means, weighted by probability (section 5.1)."""
    parts = list(slices(len(found.patches)))
    clustered = []
    with closing(
        thread_imap(
            lambda part: _cluster(library, Found(found.distances[part], found.patches[part]), count, scale),
            parts,
            threads,
        )
    ) as finished:
        for part, candidates in zip(parts, finished, strict=True):
            clustered.append(candidates)
            progress(part.stop)
    return Candidates(*map(np.concatenate, zip(*clustered, strict=True)))


def _cluster(library: PatchLibrary, found: Found, count: int, scale: int) -> Candidates:
    """Give each cluster the sum of its members' probabilities, and the distance that it stands for.

    Weights are integers, and so are the means.
    """
    beyond = found.distances.astype(np.int64) - found.distances[:, :1]
    weights = _WEIGHTS[np.minimum(_STEPS * beyond // scale, len(_WEIGHTS) - 1)]
    colours = unpack_colours(library.colours[found.patches], library.channels)
    means, totals, members = _candidates.cluster_colours(colours, weights, min(count, found.patches.shape[1]), _ROUNDS)

    by_weight = np.argsort(-totals, axis=1, kind="stable")
    totals = np.take_along_axis(totals, by_weight, axis=1)
    members = np.take_along_axis(members, by_weight, axis=1)
    packed = np.take_along_axis(pack_colours(means), by_weight, axis=1)
    # A probability of 1 is as near as the nearest patch.
    improbability = np.log(totals.sum(axis=1, keepdims=True)) - np.log(np.maximum(totals, 1))
    beyond = np.rint(scale * improbability).astype(np.int64)
    distances = np.minimum(found.distances[:, :1] + beyond, np.iinfo(np.int32).max).astype(np.int32)
    patches = np.take_along_axis(found.patches, np.maximum(members, 0), axis=1)
    return Candidates(packed, distances, patches)
