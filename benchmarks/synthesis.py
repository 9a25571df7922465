"""Example-based synthesis: ``pytest benchmarks/synthesis.py``.

Against the textbook's exhaustive search, whose time is extrapolated from a sample of pixels, taken in turns with ours;
against other searches in the same place; by the library's size; and for a photo of a megapixel. One CPU, but where the
table says two threads.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from reference import synthesis as reference

import fastrefocus as fr
from fastrefocus.progress import Progress
from fastrefocus.synthesis import search as searching
from fastrefocus.synthesis.assignment import IMAGE_WEIGHT, assign
from fastrefocus.synthesis.candidates import colour_candidates, confidences, distance_scale
from fastrefocus.synthesis.library import quantise
from fastrefocus.synthesis.order import assignment_order, average_confidence
from fastrefocus.synthesis.search import Found, Queries

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
PSF = fr.disk_psf(7)
CANDIDATES = 20
ROUNDS = 3
SAMPLE = 4  # pixels of the textbook version, each round
PHOTOS = ("chelsea", "coffee", "astronaut", "brick")


def scene(name, size=300):
    """A library of size x size patches, a misfocused photo of as many pixels with noise of its own, and the truth."""
    rng = np.random.default_rng(0)
    if name.startswith("flat"):  # a slope of colours; the number is the noise in 1/255
        y, x = np.mgrid[: size + 4, : size + 4] / size
        sharp = np.stack([0.4 + 0.1 * x, 0.45 + 0.1 * y, 0.5 - 0.1 * x], axis=-1)
        noise = int(name.split()[1]) / 255
    else:
        photo = getattr(skimage.data, name)()
        photo = photo if photo.ndim == 3 else np.stack([photo] * 3, axis=-1)
        repeats = -(-(size + 4) // 300)
        sharp = np.tile(photo[:300, 100:400], (repeats, repeats, 1))[: size + 4, : size + 4] / 255
        noise = 2 / 255
    focused, other = (np.clip(sharp + rng.normal(0, noise, sharp.shape), 0, 1) for _ in range(2))
    blurred = fr.PatchLibrary(other, PSF, masks=mark(sharp.shape))._sources[0].blurred / 255
    defocused = quantise((blurred + rng.normal(0, noise, sharp.shape)).astype(np.float32))[2:-2, 2:-2]
    return fr.PatchLibrary(focused, PSF), defocused, sharp[2:-2, 2:-2]


def mark(shape):
    """A mask of one patch."""
    mask = np.zeros(shape[:2], bool)
    mask[:5, :5] = True
    return mask


def psnr(image, truth):
    return float(-10 * np.log10(np.mean(np.square(np.clip(image, 0, 1) - truth))))


def seconds(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def textbook(library, defocused, pixels):
    """Some pixels by the exhaustive method, as fast as plain NumPy does it; returns seconds a pixel.

    Patches are converted to integers beforehand, and squares are summed by einsum, in half the time of square and sum.
    """

    def squared_distances(rows, patch):
        difference = rows - patch
        return np.einsum("ij,ij->i", difference, difference)

    patches, blurred = library.patches.astype(np.int32), library.blurred.astype(np.int32)
    centres = library.patches[:, 36:39]
    spent = 0.0
    for pixel in pixels:
        row, column = divmod(int(pixel), defocused.shape[1])
        patch = reference.window(defocused, row, column, 5).astype(np.int32)
        start = time.perf_counter()
        for index in np.argsort(squared_distances(blurred, patch), kind="stable")[:CANDIDATES]:
            patch[36:39] = centres[index]
            squared_distances(patches, patch).min()
        spent += time.perf_counter() - start
    return spent / len(pixels)


@pytest.mark.parametrize("name", [*PHOTOS, "flat 3", "flat 8"])
def test_against_the_textbook(benchmark, add_row, name):
    """300 x 300 pixels, 90,000 patches, 20 candidates."""
    library, defocused, truth = scene(name)
    _ = library.blurred_tree, library.context_tree  # built once for many photos
    count = defocused.shape[0] * defocused.shape[1]
    pixels = np.random.default_rng(1).choice(count, (ROUNDS, SAMPLE), replace=False)
    ratios, ones, twos, slow = [], [], [], []
    for some in pixels:
        slow.append(count * textbook(library, defocused, some))
        one, result = seconds(lambda: fr.synthesize(defocused, library, threads=1))
        ones.append(one)
        twos.append(seconds(lambda: fr.synthesize(defocused, library, threads=2))[0])
        ratios.append(slow[-1] / one)
    benchmark.pedantic(lambda: fr.synthesize(defocused, library, threads=1), rounds=1)
    benchmark.extra_info["textbook / ours"] = np.median(ratios)
    cells = {
        "ours, s": f"{np.median(ones):.2f}",
        "two threads, s": f"{np.median(twos):.2f}",
        "one / two threads": f"{np.median(np.divide(ones, twos)):.2f}",
        "textbook, s (extrapolated)": f"{np.median(slow):,.0f}",
        "textbook / ours": f"{np.median(ratios):,.0f}",
        "misfocused, dB": f"{psnr(defocused / 255, truth):.2f}",
        "synthesized, dB": f"{psnr(result.image, truth):.2f}",
    }
    add_row("300 x 300, 90,000 patches", name, cells)


def finish(library, defocused, found):
    """All that comes after the search for candidates, on one thread."""
    photo, mask = defocused, np.ones(defocused.shape[:2], bool)
    candidates = colour_candidates(library, found)
    confidence = confidences(found.distances, distance_scale(found)).reshape(mask.shape)
    order = assignment_order("confidence", confidence, average_confidence(confidence, mask, 5), mask, 5, 0)
    picture, _ = assign(
        library,
        photo,
        mask,
        candidates,
        order,
        causal=False,
        texture_weight=IMAGE_WEIGHT,
        passes=1,
        threads=1,
        progress=Progress(None, "", 1),
    )
    return picture / 255


class Peer(searching._FaissSearch):
    """Another library's neighbours in the place of FAISS's."""


class KDTree:
    def __init__(self, rows):
        from sklearn.neighbors import KDTree

        self._tree = KDTree(rows)

    def search(self, queries, count):
        distances, found = self._tree.query(queries, count)
        return distances, found.astype(np.int64)


class HNSW:
    def __init__(self, rows):
        import hnswlib

        self._index = hnswlib.Index("l2", rows.shape[1])
        self._index.init_index(len(rows), ef_construction=200, M=16, random_seed=1)
        self._index.set_num_threads(1)
        self._index.add_items(rows)

    def search(self, queries, count):
        self._index.set_ef(2 * count)
        found, distances = self._index.knn_query(queries, count)
        return distances, found.astype(np.int64)


class NNDescent:
    def __init__(self, rows):
        from pynndescent import NNDescent

        self._index = NNDescent(rows, n_jobs=1, random_state=1)
        self._index.prepare()

    def search(self, queries, count):
        found, distances = self._index.query(queries, count)
        return distances, found.astype(np.int64)


PEERS = {"scikit-learn KD-tree": KDTree, "hnswlib": HNSW, "pynndescent": NNDescent}
SEARCHES = {"exact tree": "exact", "FAISS flat": "faiss-flat", "FAISS IVF": "faiss-ivf"}


@pytest.mark.parametrize("name", ["coffee", "brick"])
@pytest.mark.parametrize("peer", [*SEARCHES, *PEERS])
@pytest.mark.filterwarnings("ignore")
def test_other_searches(add_row, one_cpu, name, peer):
    """The search for candidates by other means, and the picture that comes of it; one thread."""
    if peer in PEERS:
        pytest.importorskip({"scikit-learn KD-tree": "sklearn"}.get(peer, peer))
    library, defocused, truth = scene(name)
    count = defocused.shape[0] * defocused.shape[1]
    queries = Queries(defocused, np.arange(count), 5)
    exact = searching.find_nearest(
        library, queries, CANDIDATES, search="exact", threads=1, progress=Progress(None, "", 1)
    )
    if peer in SEARCHES:
        build, find = seconds(lambda: searching.SEARCHES[SEARCHES[peer]](library))
        if peer == "exact tree":
            del library.blurred_tree
            build = seconds(lambda: library.blurred_tree)[0]
    else:
        rows = library.blurred.astype(np.float32) - np.float32(128)
        build, index = seconds(lambda: PEERS[peer](rows))
        find = Peer(library, library.blurred, index)
    found = Found(*(np.empty((count, CANDIDATES), np.int32) for _ in Found._fields))

    def run():
        for part in searching.slices(len(queries)):
            find(queries[part], Found(found.distances[part], found.patches[part]))

    spent = seconds(run)[0]
    picture = finish(library, defocused, found)
    recall = np.mean([np.isin(*both).mean() for both in zip(exact.patches, found.patches, strict=True)])
    cells = {
        "build, s": f"{build:.2f}",
        "90,000 searches, s": f"{spent:.2f}",
        "recall @ 20": f"{recall:.3f}",
        "picture, dB": f"{psnr(picture, truth):.2f}",
        "against exact": f"{psnr(picture, truth) - psnr(finish(library, defocused, exact), truth):+.2f}",
    }
    add_row(f"candidates, {name}", peer, cells)


def test_approximate_search_on_real_photos(add_row, monkeypatch):
    """What the picture loses by FAISS IVF, inside the object's mask."""
    if not (SHARED / "data").is_dir():
        pytest.skip("real photos are not here: ../shared/data is absent")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from paper_b_scenes import OUTLINES, load

    losses = []
    for name in (name for name, outlines in OUTLINES.items() if "target" in outlines):
        real = load(name)
        mask = real.masks["object"]
        library = fr.PatchLibrary(real.focused, real.psf, masks=mask)
        exact, near = (
            psnr(fr.synthesize(real.defocused, library, mask=mask, search=search).image[mask], real.truth[mask])
            for search in ("exact", "faiss-ivf")
        )
        losses.append(exact - near)
        add_row("FAISS IVF", name, {"exact, dB": f"{exact:.2f}", "IVF, dB": f"{near:.2f}", "loss": f"{losses[-1]:.3f}"})
    add_row(
        "FAISS IVF", "median, worst", {"exact": "", "IVF": "", "loss": f"{np.median(losses):.3f}, {max(losses):.3f}"}
    )


def real_library(count):
    """Patches of real photos, as many as asked for."""
    if not (SHARED / "data").is_dir():
        pytest.skip("real photos are not here: ../shared/data is absent")
    files = sorted((SHARED / "data" / "multifocus").glob("lytro_*/*.png"))
    files += sorted((SHARED / "data" / "rgbd").glob("*/rgb.png")) + sorted((SHARED / "data").glob("sh*/*/*.png"))
    photos, patches = [], 0
    for file in files:
        photo = fr.read_photo(file).pixels
        if photo.ndim == 3 and patches < count:
            rows = min(photo.shape[0] - 4, -(-(count - patches) // (photo.shape[1] - 4)))
            if rows < 8:
                break
            photos.append(photo[: rows + 4])
            patches += rows * (photo.shape[1] - 4)
    if patches < 0.95 * count:
        pytest.skip(f"the photos give {patches} patches only")
    return fr.PatchLibrary(photos, PSF)


@pytest.mark.parametrize("search", ["exact", "faiss-flat", "faiss-ivf"])
@pytest.mark.parametrize("count", [10_000, 30_000, 100_000, 300_000, 1_000_000, 4_000_000])
def test_library_size(add_row, count, search):
    """Queries from a photo that is not in the library; one thread, each in a process of its own."""
    if search == "faiss-flat" and count > 1_000_000:
        pytest.skip("hours")
    code = (
        f"import sys; sys.path[:0] = ['benchmarks', 'tests']; import synthesis; synthesis.measure({count}, {search!r})"
    )
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    patches, build, per_query, first, memory = answer.stdout.split()
    cells = {"build, s": build, "ms a query": per_query, "same best patch": first, "peak memory, MB": memory}
    add_row("library", f"{int(patches):,}, {search}", cells)


def measure(count, search, queried=2000):
    """Print patches, seconds to build, milliseconds a query, share of equal best patches, megabytes."""
    library = real_library(count)
    photo = quantise(fr.read_photo(SHARED / "data" / "multifocus" / "flower" / "far.png").pixels)
    pixels = np.sort(
        np.random.default_rng(0).choice(photo.shape[0] * photo.shape[1] // 40, queried // 40, replace=False)
    )
    queries = Queries(photo, (pixels[:, np.newaxis] * 40 + np.arange(40)).ravel(), 5)[:]
    out = Found(*(np.empty((len(queries), CANDIDATES), np.int32) for _ in Found._fields))
    build, find = seconds(lambda: searching.SEARCHES[search](library))
    spent = seconds(lambda: find(queries, out))[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    same = 1.0
    if search == "faiss-ivf":
        same = (searching._TreeSearch(library)._tree.nearest_colours(queries, 1)[1][:, 0] == out.patches[:, 0]).mean()
    print(len(library), f"{build:.1f} {1000 * spent / len(queries):.3f} {same:.3f} {memory:.0f}")


def test_megapixel(add_row):
    """1000 x 1000 pixels, a library of 90,000 patches, two threads, in a process of its own."""
    code = (
        "import sys; sys.path[:0] = ['benchmarks', 'tests']; import synthesis, resource, time, fastrefocus\n"
        "library = synthesis.scene('coffee')[0]; photo = synthesis.scene('coffee', 1000)[1]\n"
        "start = time.perf_counter(); calls = []\n"
        "fastrefocus.synthesize(photo, library, threads=2, callback=lambda *call: calls.append(call))\n"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(calls))"
    )
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    spent, memory, calls = map(float, answer.stdout.split())
    cells = {"s": f"{spent:.1f}", "peak memory, MB": f"{memory:.0f}", "progress reports": f"{calls:.0f}"}
    add_row("1000 x 1000, 90,000 patches", "coffee, tiled", cells)
