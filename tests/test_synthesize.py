"""`synthesize` against the exhaustive method, bit for bit, and its options."""

import os
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import synthesis as reference

import fastrefocus as fr
from fastrefocus.native import _core
from fastrefocus.synthesis.candidates import distance_scale
from fastrefocus.synthesis.library import quantise
from fastrefocus.synthesis.order import as_priorities, assignment_order, average_confidence
from fastrefocus.synthesis.search import Found

PSF = fr.disk_psf(3)
RNG = np.random.default_rng(7)


def _photo(kind, height=14, width=17):
    """A focused photo, 8 bits, and a misfocused one of much the same."""
    rows, columns = np.mgrid[:height, :width]
    focused = {
        "texture": lambda: skimage.data.chelsea()[100 : 100 + height, 150 : 150 + width],
        "noise": lambda: RNG.integers(0, 256, (height, width, 3)),
        "flat": lambda: np.full((height, width, 3), (90, 120, 150)) + (rows + columns > 20)[..., np.newaxis],
        "ties": lambda: RNG.integers(0, 2, (height, width, 1)) * np.array([40, 40, 41]),
        "grey": lambda: skimage.data.camera()[200 : 200 + height, 200 : 200 + width],
    }[kind]().astype(np.uint8)
    noise = RNG.integers(-2, 3, focused.shape) if kind in ("texture", "grey") else 0
    blurred = fr.PatchLibrary(focused, PSF)._sources[0].blurred.reshape(focused.shape)
    return focused, np.clip(blurred + noise, 0, 255).astype(np.uint8)


PHOTOS = {kind: _photo(kind) for kind in ("texture", "noise", "flat", "ties", "grey")}
MASK = np.zeros((14, 17), bool)
MASK[3:12, 2:16] = True
MASK[5:7, 8:11] = False
MASK[0, 0] = True
FOCUSED_MASK = np.ones((14, 17), bool)
FOCUSED_MASK[7:9, 4:6] = False

VARIANTS = {
    "image-scene alone": {"texture": False},
    "causal scanline": {"neighbourhood": "causal", "order": "scanline"},
    "causal confidence": {"neighbourhood": "causal"},
    "symmetric scanline": {"order": "scanline"},
    "symmetric random": {"order": "random", "seed": 3},
    "symmetric confidence": {},
    "symmetric dynamic": {"order": "dynamic"},
    "two passes": {"passes": 2},
    "texture weighs more": {"texture_weight": 4.5},
    "texture weighs little": {"texture_weight": 1e-6},
    "three candidates": {"candidates": 3},
    "more candidates than colours": {"candidates": 400},
}


def assert_equals_reference(defocused, library, mask=None, **options):
    """The picture and its sources are the exhaustive method's, given the confidence map and the order."""
    mask = np.ones(defocused.shape[:2], bool) if mask is None else mask
    result = fr.synthesize(defocused, library, mask=mask, **options)
    picture, source = reference.synthesize(
        quantise(defocused / np.float32(255)),
        library,
        mask,
        result.neighbourhood_confidence,
        options.get("candidates", 20),
        None if options.get("order", "confidence") == "confidence" else result.order,
        options.get("texture", True),
        causal=options.get("neighbourhood") == "causal",
        texture_weight=max(round(1024 * options.get("texture_weight", 1)), 1),
        passes=options.get("passes", 1),
    )
    np.testing.assert_array_equal(result.source, source)
    np.testing.assert_array_equal(result.image[mask], picture.reshape(defocused.shape)[mask] / np.float32(255))
    return result


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("kind", ["texture", "ties"])
def test_every_variant_equals_the_exhaustive_method(kind, options):
    focused, defocused = PHOTOS[kind]
    assert_equals_reference(defocused, fr.PatchLibrary(focused, PSF, masks=FOCUSED_MASK), MASK, **options)


@pytest.mark.parametrize("kind", PHOTOS)
@pytest.mark.parametrize("neighbourhood", ["symmetric", "causal"])
def test_whole_photos_equal_the_exhaustive_method(kind, neighbourhood):
    focused, defocused = PHOTOS[kind]
    assert_equals_reference(defocused, fr.PatchLibrary(focused, PSF), neighbourhood=neighbourhood)


@pytest.mark.parametrize("patch_size", [1, 3, 7])
@pytest.mark.parametrize("kind", ["texture", "grey"])
def test_other_patch_sizes_equal_the_exhaustive_method(kind, patch_size):
    focused, defocused = PHOTOS[kind]
    assert_equals_reference(defocused, fr.PatchLibrary(focused, PSF, patch_size=patch_size), MASK)


@settings(max_examples=20)
@given(st.data())
def test_small_palettes_equal_the_exhaustive_method(data):
    """Few values make ties everywhere."""
    height, width = data.draw(st.integers(3, 7)), data.draw(st.integers(3, 7))
    shape = (height, width, 3) if data.draw(st.booleans()) else (height, width)
    focused = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 3)))
    defocused = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 3)))
    mask = data.draw(arrays(bool, shape[:2]).filter(np.any))
    library = fr.PatchLibrary(focused, fr.disk_psf(1), patch_size=3, linearize=False)
    options = {
        "neighbourhood": data.draw(st.sampled_from(["symmetric", "causal"])),
        "order": data.draw(st.sampled_from(["confidence", "scanline", "random", "dynamic"])),
        "candidates": data.draw(st.integers(1, 5)),
    }
    assert_equals_reference(defocused, library, mask, **options)


def test_a_library_of_one_patch():
    focused, defocused = PHOTOS["texture"]
    mask = np.zeros(focused.shape[:2], bool)
    mask[4:9, 5:10] = True
    library = fr.PatchLibrary(focused, PSF, masks=mask)
    assert len(library) == 1
    result = assert_equals_reference(defocused, library, MASK)
    assert (result.source[MASK] == 0).all()
    np.testing.assert_array_equal(result.image[3, 2], focused[6, 7] / np.float32(255))


def test_several_photos_equal_the_exhaustive_method():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary([focused[:8], PHOTOS["noise"][0], focused[5:]], PSF, masks=[None, FOCUSED_MASK, None])
    result = assert_equals_reference(defocused, library, MASK)
    assert set(library.positions[result.source[MASK], 0]) > {0}


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("neighbourhood", ["symmetric", "causal"])
def test_threads_change_nothing(threads, neighbourhood):
    focused = skimage.data.chelsea()[50:130, 100:210]
    library = fr.PatchLibrary(focused, fr.disk_psf(7))
    defocused = library._sources[0].blurred
    one = fr.synthesize(defocused, library, neighbourhood=neighbourhood, threads=1)
    other = fr.synthesize(defocused, library, neighbourhood=neighbourhood, threads=threads)
    np.testing.assert_array_equal(other.image, one.image)
    np.testing.assert_array_equal(other.source, one.source)
    np.testing.assert_array_equal(other.order, one.order)


@pytest.mark.parametrize("simd", ["portable", "avx2"])
def test_instruction_sets_change_nothing(simd, tmp_path):
    """Long searches, put off and done together, as well."""
    code = f"""
import numpy as np, fastrefocus as fr
rng = np.random.default_rng(0)
focused = rng.integers(90, 110, (70, 90, 3)).astype(np.uint8)
library = fr.PatchLibrary(focused, fr.disk_psf(3))
result = fr.synthesize(rng.integers(95, 105, (40, 50, 3)).astype(np.uint8), library, neighbourhood="causal")
other = fr.synthesize(rng.integers(95, 105, (40, 50, 3)).astype(np.uint8), library)
np.savez({str(tmp_path / "out.npz")!r}, result.source, other.source)
"""
    sources = []
    for environment in ({}, {"FASTREFOCUS_SIMD": simd}):
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment)
        with np.load(tmp_path / "out.npz") as archive:
            sources.append([archive[name] for name in archive.files])
    np.testing.assert_array_equal(sources[0], sources[1])


def test_long_searches_equal_the_exhaustive_search():
    """In noise a tree finds nothing to skip, so that searches are put off and done together."""
    rng = np.random.default_rng(0)
    patches = rng.integers(90, 110, (6000, 75)).astype(np.uint8)
    colours = rng.integers(0, 40, 6000).astype(np.uint32)
    tree = _core.PatchTree(patches, colours, np.eye(75)[:15], patches.mean(axis=0))
    queries = rng.integers(90, 110, (70, 75)).astype(np.uint8)
    distances, found = tree.nearest_colours(queries, 20)
    for query, *own in zip(queries, distances, found, strict=True):
        expected = reference.nearest_colours(patches, colours[:, np.newaxis], query, 20)
        assert list(zip(*own, strict=True)) == expected


def test_real_crop_equals_the_exhaustive_method(shared):
    near = fr.read_photo(shared / "data" / "multifocus" / "lytro_01" / "near.png").pixels[200:222, 200:230]
    far = fr.read_photo(shared / "data" / "multifocus" / "lytro_01" / "far.png").pixels[200:222, 200:230]
    assert_equals_reference(quantise(far), fr.PatchLibrary(near, fr.disk_psf(7)))


# FAISS


@pytest.mark.parametrize("kind", PHOTOS)
def test_brute_force_gives_the_same_picture(kind):
    focused, defocused = PHOTOS[kind]
    library = fr.PatchLibrary(focused, PSF)
    exact = fr.synthesize(defocused, library)
    flat = fr.synthesize(defocused, library, search="faiss-flat")
    np.testing.assert_array_equal(flat.source, exact.source)
    np.testing.assert_array_equal(flat.confidence, exact.confidence)


def test_the_approximate_search_is_near_and_leaves_faiss_as_it_was():
    import faiss  # here, since importing it takes a while

    before = faiss.omp_get_max_threads()
    focused = skimage.data.chelsea()[50:150, 100:210]
    library = fr.PatchLibrary(focused, fr.disk_psf(5))
    defocused = library._sources[0].blurred
    exact = fr.synthesize(defocused, library)
    near = fr.synthesize(defocused, library, search="faiss-ivf", threads=2)
    assert (near.source == exact.source).mean() > 0.98
    assert library.centroids.dtype == np.float32
    again = fr.synthesize(defocused, library, search="faiss-ivf", threads=1)
    np.testing.assert_array_equal(again.source, near.source)
    assert faiss.omp_get_max_threads() == before


def test_the_approximate_search_finds_enough_colours():
    focused, defocused = PHOTOS["flat"]
    library = fr.PatchLibrary(focused, PSF)
    exact, near = (fr.synthesize(defocused, library, search=search, texture=False) for search in ("exact", "faiss-ivf"))
    np.testing.assert_array_equal(near.image, exact.image)


def test_auto_is_one_of_the_searches():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary(focused, PSF)
    exact, auto = (fr.synthesize(defocused, library, search=search) for search in ("exact", "auto"))
    np.testing.assert_array_equal(auto.source, exact.source)


# Clusters


@pytest.mark.parametrize("kind", ["texture", "ties", "grey"])
def test_clusters_equal_the_reference(kind):
    focused, defocused = PHOTOS[kind]
    library = fr.PatchLibrary(focused, PSF)
    result = fr.synthesize(defocused, library, candidates=4, candidate_values="clusters", mask=MASK)
    expected = _expected_clusters(quantise(defocused / np.float32(255)), library, MASK, 4)
    picture, chosen = reference.assign(
        quantise(defocused / np.float32(255)),
        library.patches,
        MASK,
        {pixel: [(colour, distance) for colour, distance, _ in own] for pixel, own in expected.items()},
        [int(pixel) for pixel in result.order],
        5,
    )
    np.testing.assert_array_equal(result.image[MASK], picture.reshape(defocused.shape)[MASK] / np.float32(255))
    for pixel, own in expected.items():
        assert result.source.ravel()[pixel] == own[chosen[pixel]][2]


def _expected_clusters(photo, library, mask, count):
    """For each pixel (colour, distance, patch) of its clusters, the most probable first."""
    channels = photo.shape[2]
    centres = library.patches[:, 12 * channels : 13 * channels]
    found = {
        int(pixel): reference.nearest_colours(
            library.blurred, centres, reference.window(photo, *divmod(int(pixel), photo.shape[1]), 5), 8 * count
        )
        for pixel in np.flatnonzero(mask)
    }
    spreads = sorted(own[:count][-1][0] - own[0][0] for own in found.values())
    scale = max(spreads[(len(spreads) - 1) // 2], 1)
    table = [round(65536 * np.exp(-i / 64)) for i in range(767)] + [0]
    candidates = {}
    for pixel, own in found.items():
        weights = [table[min(64 * (distance - own[0][0]) // scale, 767)] for distance, _ in own]
        means, totals, members = reference.cluster(centres[[index for _, index in own]], weights, min(count, len(own)))
        by_weight = sorted(range(len(means)), key=lambda k: -totals[k])
        candidates[pixel] = [
            (
                means[k],
                own[0][0] + int(np.rint(scale * (np.log(sum(totals)) - np.log(max(totals[k], 1))))),
                own[max(members[k], 0)][1],
            )
            for k in by_weight
        ]
    return candidates


# Confidence and order


def test_the_confidence_is_the_best_candidates_share():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary(focused, PSF)
    result = fr.synthesize(defocused, library, candidates=6, mask=MASK)
    centres = library.patches[:, 36:39]
    own = [
        reference.nearest_colours(library.blurred, centres, reference.window(defocused, *where, 5), 6)
        for where in np.argwhere(MASK)
    ]
    distances = np.array([[distance for distance, _ in pixel] for pixel in own], float)
    spread = np.sort(distances[:, -1] - distances[:, 0])[(MASK.sum() - 1) // 2]
    probability = np.exp(-distances / spread)
    expected = probability[:, 0] / probability.sum(axis=1)
    np.testing.assert_allclose(result.confidence[MASK], expected, rtol=1e-5)
    assert np.isnan(result.confidence[~MASK]).all()
    assert np.isnan(result.neighbourhood_confidence[~MASK]).all()


def test_the_scale_is_the_lower_median_spread():
    distances = np.array([[3, 4, 7], [0, 0, 0], [5, 5, 25], [1, 6, 12]], np.int32)
    assert distance_scale(Found(distances, distances)) == 4
    assert distance_scale(Found(distances[1:2], distances)) == 1  # never 0


def test_flat_areas_are_not_too_much_for_brute_force():
    flat = np.full((60, 70, 3), 200, np.uint8)
    library = fr.PatchLibrary(flat, fr.disk_psf(3))
    result = fr.synthesize(flat, library, search="faiss-flat")
    assert (result.source == 0).all()


def test_the_neighbourhoods_confidence_is_the_mean_inside_the_mask():
    confidence = RNG.random(MASK.shape, np.float32)
    means = average_confidence(np.where(MASK, confidence, np.nan), MASK, 5)
    for row, column in np.argwhere(MASK):
        window = np.s_[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        assert means[row, column] == pytest.approx(confidence[window][MASK[window]].mean(), rel=1e-6)
    assert np.isnan(means[~MASK]).all()


def test_the_other_metric_is_the_contrast():
    focused, defocused = PHOTOS["texture"]
    result = fr.synthesize(defocused, fr.PatchLibrary(focused, PSF), confidence="contrast", mask=MASK)
    expected = [reference.window(defocused, *where, 5).std() / 255 for where in np.argwhere(MASK)]
    np.testing.assert_allclose(result.confidence[MASK], expected, rtol=1e-5)


def test_a_map_given_is_the_order():
    focused, defocused = PHOTOS["texture"]
    confidence = RNG.random(MASK.shape, np.float32)
    result = fr.synthesize(defocused, fr.PatchLibrary(focused, PSF), confidence=confidence, mask=MASK)
    np.testing.assert_array_equal(result.neighbourhood_confidence[MASK], confidence[MASK])
    expected = sorted(np.flatnonzero(MASK), key=lambda pixel: (-confidence.ravel()[pixel], pixel))
    np.testing.assert_array_equal(result.order, expected)
    assert np.isnan(result.confidence).all()
    again = fr.synthesize(
        defocused, fr.PatchLibrary(focused, PSF), confidence=result.neighbourhood_confidence, mask=MASK
    )
    np.testing.assert_array_equal(again.order, result.order)


@pytest.mark.parametrize("mask", [np.ones((14, 17), bool), MASK], ids=["all", "masked"])
def test_the_dynamic_order_equals_the_reference(mask):
    confidence = np.where(mask, RNG.random(mask.shape), np.nan).astype(np.float32)
    means = average_confidence(confidence, mask, 5)
    expected = reference.dynamic_order(confidence, means, mask, 5)
    np.testing.assert_array_equal(_core.dynamic_order(means, confidence, 2, mask), expected)


def test_a_map_given_serves_the_dynamic_order():
    focused, defocused = PHOTOS["texture"]
    confidence = RNG.random(MASK.shape, np.float32)
    result = fr.synthesize(defocused, fr.PatchLibrary(focused, PSF), confidence=confidence, mask=MASK, order="dynamic")
    np.testing.assert_array_equal(result.order, reference.dynamic_order(confidence, confidence, MASK, 5))


def test_the_orders():
    confidence = RNG.random(MASK.shape, np.float32)
    orders = {
        name: assignment_order(name, confidence, confidence, MASK, 5, 11)
        for name in ("confidence", "scanline", "random", "dynamic")
    }
    for order in orders.values():
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.flatnonzero(MASK))
    np.testing.assert_array_equal(orders["scanline"], np.flatnonzero(MASK))
    assert len({tuple(order) for order in orders.values()}) == 4
    np.testing.assert_array_equal(orders["random"], np.random.RandomState(11).permutation(np.flatnonzero(MASK)))


def test_priorities_keep_an_order():
    order = RNG.permutation(np.flatnonzero(MASK)).astype(np.int32)
    priorities = as_priorities(order, MASK.shape)
    assert priorities.dtype == np.float32
    np.testing.assert_array_equal(_core.confidence_order(priorities, MASK), order)


# What comes in and out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_outside_the_mask_the_photo_stays_as_it_is(dtype):
    focused, defocused = PHOTOS["texture"]
    scale = np.iinfo(dtype).max // 255 if np.issubdtype(dtype, np.integer) else 1 / 255
    photo = (defocused.astype(np.float64) * scale).astype(dtype)
    library = fr.PatchLibrary(focused, PSF)
    result = fr.synthesize(photo, library, mask=MASK)
    assert result.image.dtype == np.float32
    np.testing.assert_allclose(result.image[~MASK], defocused[~MASK] / 255, atol=1e-6)
    np.testing.assert_array_equal(result.image, fr.synthesize(defocused, library, mask=MASK).image)
    assert (result.source[~MASK] == -1).all()


def test_arrays_that_are_read_only_or_strided():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary(focused, PSF)
    strided = np.repeat(defocused, 2, axis=1)[:, ::2]
    strided.flags.writeable = False
    np.testing.assert_array_equal(fr.synthesize(strided, library).image, fr.synthesize(defocused, library).image)


def test_the_source_is_where_a_pixel_comes_from():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary(focused, PSF)
    result = fr.synthesize(defocused, library)
    _, row, column = library.positions[result.source.ravel()].T
    np.testing.assert_array_equal(np.rint(result.image.reshape(-1, 3) * 255), focused[row, column])


def test_the_same_view_comes_back():
    focused = skimage.data.chelsea()[60:120, 120:200]
    library = fr.PatchLibrary(focused, fr.disk_psf(7))
    result = fr.synthesize(library._sources[0].blurred, library)
    assert (np.rint(result.image * 255) == focused).all(axis=-1)[2:-2, 2:-2].mean() > 0.95


def test_progress_is_reported_and_cancels():
    focused, defocused = PHOTOS["texture"]
    library = fr.PatchLibrary(focused, PSF)
    calls = []
    fr.synthesize(defocused, library, passes=2, callback=lambda *call: calls.append(call))
    total = MASK.size
    assert ("search", total, total) in calls
    assert calls[-1] == ("texture", 2 * total, 2 * total)
    for stage in ("search", "texture"):
        with pytest.raises(fr.Cancelled):
            fr.synthesize(defocused, library, callback=lambda name, *_, stage=stage: name != stage)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"library": "a"}, TypeError, "library must be a PatchLibrary, got str"),
        ({"defocused": PHOTOS["grey"][1]}, ValueError, "defocused must be RGB"),
        ({"defocused": np.zeros((4, 40, 3))}, ValueError, "smaller than a patch of 5 x 5"),
        ({"defocused": np.full((9, 9, 3), np.nan)}, ValueError, "defocused must hold finite"),
        ({"mask": np.ones((3, 3))}, ValueError, "mask must have"),
        ({"mask": np.zeros((14, 17))}, ValueError, "mask must have at least one pixel"),
        ({"candidates": 0}, ValueError, "candidates must be >= 1, got 0"),
        ({"candidates": 2.0}, TypeError, "candidates must be an int"),
        ({"candidate_values": "means"}, ValueError, "candidate_values must be one of"),
        ({"order": "raster"}, ValueError, "order must be one of"),
        ({"confidence": "none"}, ValueError, "confidence must be one of"),
        ({"confidence": np.ones((2, 2))}, ValueError, "confidence must have"),
        ({"confidence": np.full((14, 17), np.nan)}, ValueError, r"NaN at \(0, 0\)"),
        ({"neighbourhood": "full"}, ValueError, "neighbourhood must be one of"),
        ({"neighbourhood": "causal", "passes": 2}, ValueError, "passes must be 1"),
        ({"texture": "no"}, TypeError, "texture must be True or False"),
        ({"texture_weight": 0}, ValueError, "texture_weight must be"),
        ({"texture_weight": 1e7}, ValueError, "texture_weight must be"),
        ({"passes": 0}, ValueError, "passes must be >= 1"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
        ({"seed": 2**32}, ValueError, "seed must be <"),
        ({"search": "fast"}, ValueError, "search must be one of"),
        ({"threads": 0}, ValueError, "threads must be >= 1"),
        ({"callback": 3}, TypeError, "callback must be callable"),
    ],
)
def test_what_is_refused(options, error, message):
    focused, defocused = PHOTOS["texture"]
    arguments = {"defocused": defocused, "library": fr.PatchLibrary(focused, PSF), **options}
    with pytest.raises(error, match=message):
        fr.synthesize(arguments.pop("defocused"), arguments.pop("library"), **arguments)
