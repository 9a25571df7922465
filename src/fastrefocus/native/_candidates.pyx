# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, autotestdict=False
"""Loops over the candidates of pixels: exact distances, distinct colours, clusters of colours.

Internal: callers see to dtypes, shapes and contiguity.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


def rescore(const uint8_t[:, ::1] patches, const uint8_t[:, ::1] queries, const int64_t[:, ::1] found):
    """Return the squared distances of each query, (M, D), to the patches found for it, (M, K) rows of (N, D).

    int32 (M, K); where there is no patch, -1, the largest int32.
    """
    cdef Py_ssize_t count = found.shape[0], width = found.shape[1], dims = queries.shape[1], i, j, k
    cdef int32_t difference, total
    distances = np.empty((count, width), np.int32)
    cdef int32_t[:, ::1] out = distances
    with nogil:
        for i in range(count):
            for j in range(width):
                if found[i, j] < 0:
                    out[i, j] = 0x7fffffff
                    continue
                total = 0
                for k in range(dims):
                    difference = <int32_t>queries[i, k] - <int32_t>patches[found[i, j], k]
                    total += difference * difference
                out[i, j] = total
    return distances


def distinct_colours(
    const int32_t[:, ::1] distances,
    const int64_t[:, ::1] found,
    const uint32_t[::1] colours,
    int32_t[:, ::1] nearest_distances,
    int32_t[:, ::1] nearest,
):
    """Of each row, sorted by distance and patch, keep the first patch of each colour, as many as `nearest` has room for.

    Returns int32 (M,), how many there were.
    """
    cdef Py_ssize_t count = found.shape[0], width = found.shape[1], wanted = nearest.shape[1], i, j, k, kept
    cdef uint32_t colour
    counts = np.empty(count, np.int32)
    cdef int32_t[::1] out = counts
    with nogil:
        for i in range(count):
            kept = 0
            for j in range(width):
                if kept == wanted or found[i, j] < 0:
                    break
                colour = colours[found[i, j]]
                for k in range(kept):
                    if colours[nearest[i, k]] == colour:
                        break
                else:
                    nearest[i, kept] = <int32_t>found[i, j]
                    nearest_distances[i, kept] = distances[i, j]
                    kept += 1
            out[i] = <int32_t>kept
    return counts


def cluster_colours(const uint8_t[:, :, ::1] colours, const int64_t[:, ::1] weights, Py_ssize_t wanted, int rounds):
    """Cluster the colours of each pixel by weighted k-means, in integers.

    Clusters begin as the first `wanted` colours, which are the most probable. A colour goes to the nearest cluster,
    of equally near ones the first. Means are rounded to the nearest integer, halves up; a cluster with no weight
    stays where it is. It ends when nothing moves, or after `rounds` rounds.

    Parameters
    ----------
    colours : ndarray
        (M, K, C) uint8.
    weights : ndarray
        (M, K) int64, >= 0, sums below 2**48.
    wanted : int
        The number of clusters, at most K.
    rounds : int
        The most rounds.

    Returns
    -------
    means : ndarray
        (M, wanted, C) uint8.
    totals : ndarray
        (M, wanted) int64: the weight of each cluster's members.
    members : ndarray
        (M, wanted) int32: each cluster's first member; -1: it has none.
    """
    cdef Py_ssize_t count = colours.shape[0], size = colours.shape[1], channels = colours.shape[2]
    cdef Py_ssize_t i
    means_of = np.ascontiguousarray(np.asarray(colours)[:, :wanted])
    totals_of = np.zeros((count, wanted), np.int64)
    members_of = np.empty((count, wanted), np.int32)
    cdef uint8_t[:, :, ::1] means = means_of
    cdef int64_t[:, ::1] totals = totals_of
    cdef int32_t[:, ::1] members = members_of
    cdef int64_t[:, ::1] sums = np.empty((wanted, channels), np.int64)
    with nogil:
        for i in range(count):
            for _ in range(rounds):
                _gather_clusters(colours[i], weights[i], means[i], totals[i], members[i], sums)
                if not _move_means(means[i], totals[i], sums):
                    break
            else:  # the members of the means as they are now
                _gather_clusters(colours[i], weights[i], means[i], totals[i], members[i], sums)
    return means_of, totals_of, members_of


cdef void _gather_clusters(
    const uint8_t[:, ::1] colours,
    const int64_t[::1] weights,
    const uint8_t[:, ::1] means,
    int64_t[::1] totals,
    int32_t[::1] members,
    int64_t[:, ::1] sums,
) noexcept nogil:
    cdef Py_ssize_t size = colours.shape[0], wanted = means.shape[0], channels = colours.shape[1], j, k, c, nearest
    cdef int32_t distance, least, difference
    for k in range(wanted):
        totals[k] = 0
        members[k] = -1
        for c in range(channels):
            sums[k, c] = 0
    for j in range(size):
        nearest, least = 0, 0x7fffffff
        for k in range(wanted):
            distance = 0
            for c in range(channels):
                difference = <int32_t>colours[j, c] - <int32_t>means[k, c]
                distance += difference * difference
            if distance < least:
                nearest, least = k, distance
        totals[nearest] += weights[j]
        if members[nearest] < 0:
            members[nearest] = <int32_t>j
        for c in range(channels):
            sums[nearest, c] += weights[j] * colours[j, c]


cdef bint _move_means(uint8_t[:, ::1] means, const int64_t[::1] totals, const int64_t[:, ::1] sums) noexcept nogil:
    """Put the means where the sums say; return whether one moved."""
    cdef Py_ssize_t k, c
    cdef uint8_t value
    cdef bint moved = False
    for k in range(means.shape[0]):
        if totals[k] == 0:
            continue
        for c in range(means.shape[1]):
            value = <uint8_t>((2 * sums[k, c] + totals[k]) // (2 * totals[k]))
            moved = moved or value != means[k, c]
            means[k, c] = value
    return moved
