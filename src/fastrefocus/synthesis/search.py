"""The search of the library for each pixel's candidates (paper B, section 2.1). The only import of faiss.

The exact search goes through the tree of the compiled core. FAISS searches the same patches by brute force ("flat"),
or in the cells around the nearest of some centroids ("ivf"), and what it finds is measured again in integers.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from fastrefocus.arrays import BoolArray, FloatArray
from fastrefocus.native import _candidates
from fastrefocus.parallel import thread_imap
from fastrefocus.progress import Progress, Tick, untold
from fastrefocus.synthesis.library import Bytes, Indices, PatchLibrary

_PIXELS_AT_A_TIME = 512  # a call, which cannot be interrupted, then takes a fraction of a second
_CENTRE = 128  # subtracted for FAISS: sums of products of such small integers are exact in float32
_SEED = 1234
_ADDED_AT_A_TIME = 100_000
_ASSIGNED_AT_A_TIME = 10_000  # to cells: each is compared with all of their centres
_PROBES = 8  # cells that are searched; with 4, some pictures lose 0.1 to 0.3 dB
_CELLS_PER_ROOT = 2  # cells of an index of vectors, per square root of their number
_SMALLEST_CELLED = 4_000  # vectors
_NEIGHBOURS_PER_COLOUR = (2, 8)  # that FAISS is asked for, and again where these did not do

#: Trained and filled indexes of libraries, which take seconds to make.
_indexes: "WeakKeyDictionary[PatchLibrary, Any]" = WeakKeyDictionary()


class Found(NamedTuple):
    """For each pixel the nearest patches of distinct colours, by rising distance; of equal ones the first patch."""

    distances: Indices
    patches: Indices


class Queries:
    """The patches of the misfocused photo around each pixel of the mask, mirrored at the photo's borders."""

    def __init__(self, photo: Bytes, pixels: npt.NDArray[np.intp], patch_size: int) -> None:
        margin = patch_size // 2
        padded = np.pad(photo, [(margin, margin), (margin, margin), (0, 0)], mode="symmetric")
        self._windows = np.lib.stride_tricks.sliding_window_view(padded, (patch_size, patch_size), axis=(0, 1))
        self._rows, self._columns = np.divmod(pixels, photo.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> Bytes:
        """Return some pixels' patches, (M, D) uint8, laid out as the library's."""
        windows = np.moveaxis(self._windows[self._rows[part], self._columns[part]], 1, -1)
        return np.ascontiguousarray(windows).reshape(len(windows), -1)

    def contrast(self) -> FloatArray:
        """Return the standard deviation of each patch, of values 0..1, (M,) float32."""
        deviations = [self[part].std(axis=1, dtype=np.float64) for part in slices(len(self))]
        return (np.concatenate(deviations) / 255).astype(np.float32)


def slices(count: int) -> Iterator[slice]:
    """Give parts of so many pixels, each small enough to be worked on at a time."""
    for start in range(0, count, _PIXELS_AT_A_TIME):
        yield slice(start, min(start + _PIXELS_AT_A_TIME, count))


def find_nearest(
    library: PatchLibrary, queries: Queries, count: int, *, search: str, threads: int | None, progress: Progress
) -> Found:
    """Find each query's `count` nearest patches of distinct colours, or of all colours that the library has."""
    tree = library.blurred_tree
    find = SEARCHES[search](library)
    shape = len(queries), min(count, tree.colour_count)
    found = Found(np.empty(shape, np.int32), np.empty(shape, np.int32))

    def fill(part: slice) -> None:
        find(queries[part], Found(found.distances[part], found.patches[part]))

    parts = list(slices(len(queries)))
    with closing(thread_imap(fill, parts, threads)) as finished:
        for part, _ in zip(parts, finished, strict=True):
            progress(part.stop)
    return found


class _TreeSearch:
    """The exact search."""

    def __init__(self, library: PatchLibrary) -> None:
        self._tree = library.blurred_tree

    def __call__(self, queries: Bytes, out: Found) -> None:
        out.distances[...], out.patches[...] = self._tree.nearest_colours(queries, out.patches.shape[1])


class _FaissSearch:
    """A search by FAISS for near patches, measured again in integers.

    Where even many neighbours have too few colours, or leave open what else is as near, the tree is asked.
    """

    def __init__(self, library: PatchLibrary, patches: Bytes, index: Any) -> None:  # noqa: ANN401
        self._index = index
        self._patches = patches
        self._colours = library.colours
        self._tree = _TreeSearch(library)

    def __call__(self, queries: Bytes, out: Found) -> None:
        rest = np.arange(len(queries))
        for factor in _NEIGHBOURS_PER_COLOUR:
            neighbours = min(factor * out.patches.shape[1], len(self._patches))
            near, complete = self._nearest_colours(queries[rest], neighbours, out.patches.shape[1])
            self._copy(near, complete, rest, out)
            rest = rest[~complete]
            if not len(rest):
                return
        exact = Found(*(np.empty((len(rest), array.shape[1]), np.int32) for array in out))
        self._tree(queries[rest], exact)
        self._copy(exact, np.ones(len(rest), np.bool_), rest, out)

    def _nearest_colours(self, queries: Bytes, neighbours: int, wanted: int) -> tuple[Found, BoolArray]:
        """Of so many neighbours the first of each colour, and whether they will do."""
        with _one_faiss_thread():
            ids = self._index.search(queries.astype(np.float32) - np.float32(_CENTRE), neighbours)[1]
        distances = _candidates.rescore(self._patches, queries, ids)
        by_distance = np.lexsort((ids, distances), axis=1)
        ids = np.ascontiguousarray(np.take_along_axis(ids, by_distance, axis=1))
        distances = np.ascontiguousarray(np.take_along_axis(distances, by_distance, axis=1))
        near = Found(*(np.empty((len(ids), wanted), np.int32) for _ in Found._fields))
        counts = _candidates.distinct_colours(distances, ids, self._colours, near.distances, near.patches)
        return near, self._will_do(near, distances[:, -1]) & (counts == wanted)

    def _will_do(self, near: Found, farthest: Indices) -> BoolArray:
        return np.ones(len(farthest), np.bool_)

    @staticmethod
    def _copy(near: Found, complete: BoolArray, rows: npt.NDArray[np.intp], out: Found) -> None:
        for whole, part in zip(out, near, strict=True):
            whole[rows[complete]] = part[complete]


class _FlatSearch(_FaissSearch):
    """Brute force: the very same result as the exact search."""

    def __init__(self, library: PatchLibrary) -> None:
        import faiss

        patches = library.blurred
        index = faiss.IndexFlatL2(patches.shape[1])
        index.add(patches.astype(np.float32) - np.float32(_CENTRE))
        super().__init__(library, patches, index)
        # Rounding of float32 distances, which are up to 4 * 128^2 a value; none in up to 256 values.
        dims = patches.shape[1]
        self._slack = 0 if dims <= 256 else math.ceil(dims * dims * 2 * _CENTRE**2 / 2**22)

    def _will_do(self, near: Found, farthest: Indices) -> BoolArray:
        """Of patches as far away as the last one found, some may be missing."""
        return near.distances[:, -1] + self._slack < farthest


class _CellSearch(_FaissSearch):
    """Only the cells around the nearest of some centroids: approximate."""

    def __init__(self, library: PatchLibrary) -> None:
        patches = library.blurred
        if library not in _indexes:
            _indexes[library] = _train(library, patches)
        super().__init__(library, patches, _indexes[library])


def _train(library: PatchLibrary, patches: Bytes) -> Any:  # noqa: ANN401
    """Make the index of cells; the centroids stay with the library."""
    import faiss

    dims = patches.shape[1]
    with _one_faiss_thread():  # k-means gives the same centroids whatever `threads` is
        if library.centroids is None:
            cells = max(1, round(math.sqrt(len(patches))))
            kmeans = faiss.Kmeans(dims, cells, niter=10, seed=_SEED, min_points_per_centroid=1)
            sample = patches[:: max(1, len(patches) // (64 * cells))]
            kmeans.train(sample.astype(np.float32) - np.float32(_CENTRE))
            library.centroids = np.asarray(kmeans.centroids, np.float32)
        quantizer = faiss.IndexFlatL2(dims)
        quantizer.add(library.centroids)
        index = faiss.IndexIVFFlat(quantizer, dims, quantizer.ntotal)
        index.nprobe = _PROBES
        for i in range(0, len(patches), _ADDED_AT_A_TIME):
            index.add(patches[i : i + _ADDED_AT_A_TIME].astype(np.float32) - np.float32(_CENTRE))
    return index


#: The ways to search.
SEARCHES: dict[str, Callable[[PatchLibrary], Callable[[Bytes, Found], None]]] = {
    "exact": _TreeSearch,
    "faiss-flat": _FlatSearch,
    "faiss-ivf": _CellSearch,
    "auto": _TreeSearch,  # the fastest at every size that was measured: docs/benchmarks.md
}


def nearest_vectors(
    library: FloatArray, queries: FloatArray, count: int, *, threads: int | None, tick: Tick = untold
) -> tuple[FloatArray, Indices]:
    """Find each query's nearest vectors of a library, approximately; (N, D) and (M, D) float32.

    Returns their squared distances, rising, and their numbers, (M, count). A library of fewer vectors gives its last
    one again.
    """
    import faiss

    index = _index_vectors(library, threads, tick)
    shape = len(queries), min(count, len(library))
    distances, numbers = np.empty(shape, np.float32), np.empty(shape, np.int32)

    def fill(part: slice) -> None:
        with _one_faiss_thread():
            near, found = index.search(queries[part], shape[1])
            few = (found < 0).any(axis=1)  # the cells that were searched hold less
            if few.any():
                near[few], found[few] = faiss.knn(queries[part][few], library, shape[1])
            distances[part], numbers[part] = near, found

    with closing(thread_imap(fill, list(slices(len(queries))), threads)) as finished:
        for _ in finished:
            tick(0)
    missing = [(0, 0), (0, count - shape[1])]
    return np.pad(np.maximum(distances, 0), missing, mode="edge"), np.pad(numbers, missing, mode="edge")


def _index_vectors(library: FloatArray, threads: int | None, tick: Tick) -> Any:  # noqa: ANN401
    """Make an index of cells; a small library is searched as a whole."""
    import faiss

    dims = library.shape[1]
    cells = max(1, round(_CELLS_PER_ROOT * math.sqrt(len(library))))
    with _one_faiss_thread():
        flat = faiss.IndexFlatL2(dims)
        if len(library) < _SMALLEST_CELLED:
            flat.add(library)
            return flat
        kmeans = faiss.Kmeans(dims, cells, niter=6, seed=_SEED, min_points_per_centroid=1)
        kmeans.train(np.ascontiguousarray(library[:: max(1, len(library) // (20 * cells))]))
        flat.add(np.asarray(kmeans.centroids, np.float32))
    index = faiss.IndexIVFFlat(flat, dims, cells)
    index.nprobe = _PROBES

    def nearest_cells(part: slice) -> npt.NDArray[np.int64]:
        with _one_faiss_thread():
            return np.asarray(flat.search(library[part], 1)[1])

    parts = [slice(i, i + _ASSIGNED_AT_A_TIME) for i in range(0, len(library), _ASSIGNED_AT_A_TIME)]
    with closing(thread_imap(nearest_cells, parts, threads)) as assigned:
        for part, cell in zip(parts, assigned, strict=True):
            vectors = library[part]
            with _one_faiss_thread():
                index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(cell))
            tick(0)
    return index


@contextmanager
def _one_faiss_thread() -> Iterator[None]:
    """Keep FAISS to one thread of its own: ours run side by side. The setting is the calling thread's."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
