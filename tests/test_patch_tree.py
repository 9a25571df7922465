"""The compiled searches against the exhaustive ones, and what they refuse."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import synthesis as reference

from fastrefocus.native._core import ConfidenceScheduler, PatchTree, TextureAssignment, dynamic_order
from fastrefocus.synthesis.order import as_priorities

RNG = np.random.default_rng(11)


def principal_directions(patches, count):
    centred = patches - patches.mean(axis=0)
    return np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T[:count].copy()


def plant(patches, colours, directions=15):
    basis = principal_directions(patches.astype(np.float64), directions)
    return PatchTree(patches, np.asarray(colours, np.uint32), basis, patches.mean(axis=0))


def assert_finds(tree, patches, colours, queries, count):
    """What the tree finds is what a search of all patches finds."""
    distances, found = tree.nearest_colours(queries, count)
    assert distances.dtype == found.dtype == np.int32
    assert distances.shape == found.shape == (len(queries), min(count, len(np.unique(colours))))
    for query, *own in zip(queries, distances.tolist(), found.tolist(), strict=True):
        expected = reference.nearest_colours(patches, np.reshape(colours, (-1, 1)), query, count)
        assert list(zip(*own, strict=True)) == expected


# The search for colours


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 400),
    st.integers(0, 12),
    st.integers(1, 256),
    st.integers(1, 40),
    st.integers(1, 30),
)
def test_nearest_colours_equal_the_exhaustive_search(seed, patch_count, dims, levels, palette, count):
    """Few levels and colours make ties and doubles."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, levels)
    patches = rng.choice(values, (patch_count, dims)).astype(np.uint8)
    colours = rng.integers(0, palette, patch_count).astype(np.uint32)
    queries = np.concatenate([rng.integers(0, 256, (3, dims)), rng.choice(values, (3, dims))]).astype(np.uint8)
    assert_finds(plant(patches, colours), patches, colours, queries, count)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_keep_what_lies_at_the_very_limit(seed):
    """With one value a patch the bounds are the distances themselves, but for rounding."""
    rng = np.random.default_rng(seed)
    patches = rng.permutation(256).astype(np.uint8)[:, np.newaxis]
    colours = np.arange(256)
    tree = PatchTree(patches, colours.astype(np.uint32), np.ones((1, 1)), rng.uniform(100, 150, 1))
    assert_finds(tree, patches, colours, patches, 2)


def test_extreme_values_do_not_overflow():
    """The farthest patches of the largest size there is."""
    patches = np.repeat(np.array([0, 255, 127], np.uint8), 30_000).reshape(3, 30_000)
    tree = PatchTree(patches, np.arange(3, dtype=np.uint32), np.zeros((0, 30_000)), np.full(30_000, 127.0))
    assert_finds(tree, patches, np.arange(3), patches[:2], 3)


@pytest.mark.parametrize("dims", [4, 75, 300])
def test_black_and_white_patches(dims):
    rng = np.random.default_rng(dims)
    patches = rng.choice(np.array([0, 255], np.uint8), (500, dims))
    colours = rng.integers(0, 50, 500)
    queries = rng.choice(np.array([0, 255], np.uint8), (10, dims))
    assert_finds(plant(patches, colours), patches, colours, queries, 20)


def test_equal_patches_count_once_for_each_colour():
    patches = np.full((1000, 12), 77, np.uint8)
    colours = np.arange(1000)[::-1] // 4
    assert_finds(plant(patches, colours), patches, colours, patches[:2], 100)
    assert len(plant(patches, colours)) == 1000
    assert plant(patches, colours).colour_count == 250


def test_of_equal_distances_the_first_patch_whatever_the_order():
    rng = np.random.default_rng(2)
    steps = np.concatenate([np.eye(20), -np.eye(20)])  # all as far away from the query
    patches = np.tile(100 + 3 * steps, (40, 1)).astype(np.uint8)
    patches = patches[rng.permutation(len(patches))]
    colours = rng.integers(0, 30, len(patches))
    assert_finds(plant(patches, colours), patches, colours, np.full((1, 20), 100, np.uint8), 20)


def test_patches_without_values():
    """As those of one pixel are without their centres."""
    patches, colours = np.empty((40, 0), np.uint8), RNG.integers(0, 9, 40)
    tree = PatchTree(patches, colours.astype(np.uint32), np.empty((0, 0)), np.empty(0))
    assert_finds(tree, patches, colours, patches[:3], 5)


def test_queries_strided_read_only_or_none():
    patches, colours = RNG.integers(0, 256, (200, 12)).astype(np.uint8), np.arange(200)
    tree = plant(patches, colours)
    queries = np.asfortranarray(patches[::7])
    queries.flags.writeable = False
    assert_finds(tree, patches, colours, queries, 4)
    assert tree.nearest_colours(queries[:0], 4)[0].shape == (0, 4)


PATCHES = RNG.integers(0, 256, (40, 8)).astype(np.uint8)
COLOURS = RNG.integers(0, 2**24, 40).astype(np.uint32)
TREE = {"patches": PATCHES, "colours": COLOURS, "basis": np.eye(8), "mean": np.full(8, 127.0)}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"patches": PATCHES.astype(np.int16)}, TypeError, "patches must have dtype uint8, got int16"),
        ({"patches": PATCHES[0]}, ValueError, r"patches must have shape \(N, N\), got \(8,\)"),
        ({"patches": PATCHES[:0], "colours": COLOURS[:0]}, ValueError, "patches must hold at least one patch"),
        (
            {"patches": np.zeros((40, 30_001), np.uint8)},
            ValueError,
            "patches must have at most 30000 values each, got 30001",
        ),
        ({"colours": COLOURS.astype(np.int32)}, TypeError, "colours must have dtype uint32, got int32"),
        ({"colours": COLOURS[1:]}, ValueError, r"colours must have shape \(40\), got \(39,\)"),
        ({"colours": COLOURS + np.uint32(2**24)}, ValueError, r"colours must be below 2\^24"),
        ({"basis": np.eye(8, dtype=np.float32)}, TypeError, "basis must have dtype float64, got float32"),
        ({"basis": np.eye(9)}, ValueError, r"basis must have shape \(N, 8\), got \(9, 9\)"),
        ({"basis": np.zeros((1000, 8))}, ValueError, r"basis must have at most \d+ directions, got 1000"),
        ({"mean": np.zeros(8, int)}, TypeError, "mean must have dtype float64, got int64"),
        ({"mean": np.zeros(9)}, ValueError, r"mean must have shape \(8\), got \(9,\)"),
        ({"patches": None}, TypeError, "incompatible constructor arguments"),
    ],
)
def test_trees_that_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        PatchTree(**TREE | changes)


@pytest.mark.parametrize(
    ("queries", "count", "error", "message"),
    [
        (PATCHES.astype(np.float64), 1, TypeError, "queries must have dtype uint8, got float64"),
        (PATCHES[:, 1:], 1, ValueError, r"queries must have shape \(N, 8\), got \(40, 7\)"),
        (PATCHES[0], 1, ValueError, r"queries must have shape \(N, 8\), got \(8,\)"),
        (PATCHES, 0, ValueError, "count must be >= 1, got 0"),
        (PATCHES, -(2**62), ValueError, "count must be >= 1"),
        (PATCHES, 2.0, TypeError, "incompatible function arguments"),
        (PATCHES, 2**64, TypeError, "incompatible function arguments"),
        (None, 1, TypeError, "incompatible function arguments"),
    ],
)
def test_queries_that_are_refused(queries, count, error, message):
    with pytest.raises(error, match=message):
        PatchTree(**TREE).nearest_colours(queries, count)


def test_more_colours_than_there_are():
    assert PatchTree(**TREE).nearest_colours(PATCHES, 2**62)[1].shape == (40, 40)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ["basis", "mean"])
def test_numbers_that_make_no_sense_do_not_crash(name, bad):
    changed = TREE[name].copy()
    changed.flat[3] = bad
    with contextlib.suppress(ValueError):
        PatchTree(**TREE | {name: changed}).nearest_colours(PATCHES, 3)


# The assignment of pixels

SIZE, H, W = 3, 6, 7


def make_assignment(rng, *, patches, levels=256, spread=10_000, candidates=3, channels=1, masked=True, size=SIZE):
    """A library, a photo, a mask, and for its pixels candidates that have nothing to do with the library."""
    values = rng.integers(0, 256 if levels > 4 else 8, levels)
    library = rng.choice(values, (patches, size * size * channels)).astype(np.uint8)
    mask = rng.random((H, W)) < 0.8 if masked else np.ones((H, W), bool)
    mask[2, 3] = True
    order = rng.permutation(np.flatnonzero(mask)).astype(np.int32)
    shape = len(order), candidates
    return {
        "library": library,
        "photo": rng.integers(0, 256, (H, W, channels)).astype(np.uint8),
        "mask": mask,
        "order": order,
        "colours": rng.choice(values, (*shape, channels)).astype(np.uint8),
        "distances": np.sort(rng.integers(0, spread, shape), axis=1).astype(np.int32),
        "patches": rng.integers(-1, patches + 1, shape).astype(np.int32),
    }


def pack(colours):
    return (colours.astype(np.uint32) << np.arange(0, 8 * colours.shape[-1], 8, dtype=np.uint32)).sum(-1, np.uint32)


def arguments_of(case, *, size=SIZE, causal=False, texture_weight=1024):
    """What the compiled core takes, and the scheduler for it."""
    channels, order, mask = case["photo"].shape[2], case["order"], case["mask"]
    middle = size * size // 2 * channels
    contexts = np.delete(case["library"], np.s_[middle : middle + channels], axis=1)
    centres = pack(case["library"][:, middle : middle + channels])
    slots = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1).astype(np.int32)
    ranks = np.empty(len(order), np.int32)
    ranks[slots.ravel()[order]] = np.arange(len(order))
    picture = case["photo"].copy()
    picture[mask] = case["colours"][:, 0]
    arguments = {
        "contexts": plant(contexts, centres),
        "above": RNG.integers(-5, len(contexts) + 5, len(contexts)).astype(np.int32),  # any will do
        "below": RNG.integers(-5, len(contexts) + 5, len(contexts)).astype(np.int32),
        "slots": slots,
        "ranks": ranks if causal else None,
        "patch_size": size,
        "colours": pack(case["colours"]),
        "distances": case["distances"],
        "patches": case["patches"],
        "image_weight": reference.IMAGE_WEIGHT,
        "texture_weight": texture_weight,
        "picture": picture,
    }
    return arguments, ConfidenceScheduler(as_priorities(order, mask.shape), size // 2, mask)


def assert_assigns(case, *, size=SIZE, causal=False, texture_weight=1024):
    """What is assigned is what a search of all patches, for one pixel after the other, assigns."""
    arguments, scheduler = arguments_of(case, size=size, causal=causal, texture_weight=texture_weight)
    assignment = TextureAssignment(**arguments)
    assignment.run(scheduler)
    candidates = {
        int(pixel): list(zip(colours, distances.tolist(), strict=True))
        for pixel, colours, distances in zip(
            np.flatnonzero(case["mask"]), case["colours"], case["distances"], strict=True
        )
    }
    picture, chosen = reference.assign(
        case["photo"],
        case["library"],
        case["mask"],
        candidates,
        case["order"].tolist(),
        size,
        causal=causal,
        texture_weight=texture_weight,
    )
    np.testing.assert_array_equal(assignment.chosen, [chosen[pixel] for pixel in candidates])
    np.testing.assert_array_equal(assignment.picture, picture)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    patches=st.sampled_from([1, 2, 15, 17, 130, 400]),
    levels=st.sampled_from([2, 3, 256]),
    spread=st.sampled_from([3, 30, 10_000]),
    candidates=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    masked=st.booleans(),
    causal=st.booleans(),
    texture_weight=st.sampled_from([1024, 512, 10**6]),
)
def test_the_assignment_equals_the_exhaustive_one(
    seed, patches, levels, spread, candidates, channels, masked, causal, texture_weight
):
    """Few levels and a small spread make ties of candidates."""
    rng = np.random.default_rng(seed)
    case = make_assignment(
        rng, patches=patches, levels=levels, spread=spread, candidates=candidates, channels=channels, masked=masked
    )
    assert_assigns(case, causal=causal, texture_weight=texture_weight)


@pytest.mark.parametrize("causal", [False, True])
def test_a_long_search_for_texture_equals_the_exhaustive_one(causal):
    """In noise a tree finds nothing to skip, so that searches are put off and done together."""
    case = make_assignment(np.random.default_rng(5), patches=6000, channels=3, size=5)
    assert_assigns(case, size=5, causal=causal)


def test_the_largest_weights_and_distances_do_not_overflow():
    case = make_assignment(np.random.default_rng(1), patches=200)
    case["distances"] += 2**31 - 1 - case["distances"].max()
    arguments, scheduler = arguments_of(case)
    weights = {"image_weight": 2**31, "texture_weight": 2**31}
    assignment = TextureAssignment(**arguments | weights)
    assignment.run(scheduler)
    arguments, scheduler = arguments_of(case)
    equal = TextureAssignment(**arguments | {"image_weight": 1, "texture_weight": 1})
    equal.run(scheduler)
    np.testing.assert_array_equal(assignment.chosen, equal.chosen)


ARGUMENTS, SCHEDULER = arguments_of(make_assignment(np.random.default_rng(0), patches=40, masked=False))
COUNT = H * W


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"contexts": None}, TypeError, "contexts"),
        pytest.param({"contexts": "tree"}, TypeError, "contexts"),
        ({"above": np.zeros(39, np.int32)}, ValueError, r"above must have shape \(40\), got \(39,\)"),
        ({"above": np.zeros(40)}, TypeError, "above must have dtype int32, got float64"),
        ({"below": np.zeros((40, 1), np.int32)}, ValueError, r"below must have shape \(40\), got \(40, 1\)"),
        ({"slots": ARGUMENTS["slots"].T}, ValueError, r"slots must have shape \(6, 7\), got \(7, 6\)"),
        ({"slots": ARGUMENTS["slots"].astype(np.int64)}, TypeError, "slots must have dtype int32, got int64"),
        ({"slots": ARGUMENTS["slots"] - 2}, ValueError, "slots must be -1 or rows of colours, got -2"),
        ({"slots": ARGUMENTS["slots"] + 1}, ValueError, "slots must be -1 or rows of colours, got 42"),
        ({"ranks": np.zeros(COUNT - 1, np.int32)}, ValueError, r"ranks must have shape \(42\), got \(41,\)"),
        ({"ranks": np.zeros(COUNT)}, TypeError, "ranks must have dtype int32, got float64"),
        ({"patch_size": 5}, ValueError, "patch_size must fit contexts of 8 values, got 5"),
        ({"patch_size": 2}, ValueError, "patch_size must fit contexts of 8 values, got 2"),
        ({"patch_size": -3}, ValueError, "patch_size must fit contexts of 8 values, got -3"),
        ({"patch_size": 3.0}, TypeError, "incompatible constructor arguments"),
        ({"colours": ARGUMENTS["colours"].astype(np.int32)}, TypeError, "colours must have dtype uint32, got int32"),
        ({"colours": ARGUMENTS["colours"][0]}, ValueError, "colours must have shape"),
        ({"colours": ARGUMENTS["colours"][:-1]}, ValueError, r"distances must have shape \(41, 3\), got \(42, 3\)"),
        ({"distances": ARGUMENTS["distances"][:, :2]}, ValueError, r"distances must have shape \(42, 3\)"),
        ({"distances": ARGUMENTS["distances"] * 1.0}, TypeError, "distances must have dtype int32, got float64"),
        ({"patches": ARGUMENTS["patches"][:, :2]}, ValueError, r"patches must have shape \(42, 3\)"),
        ({"patches": ARGUMENTS["patches"].astype(">i4")}, TypeError, "patches must have dtype int32, got >i4"),
        (
            {name: ARGUMENTS[name][:, :0] for name in ("colours", "distances", "patches")},
            ValueError,
            "candidates must be >= 1, got 0",
        ),
        ({name: ARGUMENTS[name][:0] for name in ("colours", "distances", "patches")}, ValueError, "slots must be -1"),
        ({"image_weight": -1}, ValueError, r"weights must be >= 0 \(image\)"),
        ({"image_weight": 2**31 + 1}, ValueError, r"weights must be .* <= 2\^31"),
        ({"texture_weight": 0}, ValueError, r"weights must be .* >= 1 \(texture\)"),
        ({"texture_weight": 1.5}, TypeError, "incompatible constructor arguments"),
        ({"picture": np.zeros((H, W), np.uint8)}, ValueError, r"picture must have shape \(N, N, N\), got \(6, 7\)"),
        ({"picture": np.zeros((H, W, 1))}, TypeError, "picture must have dtype uint8, got float64"),
        ({"picture": np.zeros((W, H, 1), np.uint8)}, ValueError, r"slots must have shape \(7, 6\), got \(6, 7\)"),
        ({"picture": np.zeros((H, W, 3), np.uint8)}, ValueError, "patch_size must fit contexts of 8 values, got 3"),
    ],
)
def test_assignments_that_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        TextureAssignment(**ARGUMENTS | changes)


def test_tables_that_only_save_time_may_hold_anything():
    arguments, scheduler = arguments_of(make_assignment(np.random.default_rng(0), patches=40, masked=False))
    expected = TextureAssignment(**arguments)
    expected.run(scheduler)
    wild = {name: RNG.integers(-(2**31), 2**31 - 1, 40).astype(np.int32) for name in ("above", "below")}
    wild["patches"] = RNG.integers(-(2**31), 2**31 - 1, (COUNT, 3)).astype(np.int32)
    assignment = TextureAssignment(**arguments | wild)
    assignment.run(arguments_of(make_assignment(np.random.default_rng(0), patches=40, masked=False))[1])
    np.testing.assert_array_equal(assignment.chosen, expected.chosen)


def test_the_picture_given_is_copied():
    before = ARGUMENTS["picture"].copy()
    assignment = TextureAssignment(**ARGUMENTS)
    assignment.run(ConfidenceScheduler(np.ones((H, W), np.float32), 1))
    np.testing.assert_array_equal(ARGUMENTS["picture"], before)


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda: ConfidenceScheduler(np.ones((60, 70), np.float32), 1),
        lambda: ConfidenceScheduler(np.ones((W, H), np.float32), 1),
        lambda: ConfidenceScheduler(np.ones((H, W), np.float32), 1),  # without the mask
    ],
    ids=["larger", "turned", "unmasked"],
)
def test_schedulers_that_do_not_fit_are_refused(scheduler):
    slots = ARGUMENTS["slots"].copy()
    slots[3] = -1
    with pytest.raises(ValueError, match="scheduler"):
        TextureAssignment(**ARGUMENTS | {"slots": slots}).run(scheduler())


def test_a_scheduler_is_needed():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        TextureAssignment(**ARGUMENTS).run(None)


# The dynamic order


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 9), st.integers(0, 3), st.sampled_from([2, 4, 100]))
def test_the_dynamic_order_equals_the_reference(seed, height, width, radius, levels):
    rng = np.random.default_rng(seed)
    confidence, means = (rng.integers(0, levels, (2, height, width)) / levels).astype(np.float32)
    mask = rng.random((height, width)) < 0.8
    expected = reference.dynamic_order(confidence, means, mask, 2 * radius + 1)
    np.testing.assert_array_equal(dynamic_order(means, confidence, radius, mask), expected)


ONES = np.ones((4, 5), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ONES.astype(np.float64), ONES, 1), TypeError, "must have dtype float32, got float64"),
        ((ONES, ONES.astype(np.float16), 1), TypeError, "confidence must have dtype float32, got float16"),
        ((ONES, ONES.T, 1), ValueError, r"must have .* \(5, 4\)"),
        ((ONES[0], ONES[0], 1), ValueError, r"must have shape \(H, W\)"),
        ((ONES[:0], ONES[:0], 1), ValueError, r"must have shape \(H, W\)"),
        ((ONES * np.nan, ONES, 1), ValueError, "must not be NaN"),
        ((ONES, ONES * np.nan, 1), ValueError, "must be finite inside the mask"),
        ((ONES, ONES, -1), ValueError, "radius must be >= 0, got -1"),
        ((ONES, ONES, 1.5), TypeError, "incompatible function arguments"),
        ((ONES, ONES, 1, ONES), TypeError, "mask must have dtype bool, got float32"),
        ((ONES, ONES, 1, np.ones((5, 4), bool)), ValueError, "mask must have"),
    ],
)
def test_dynamic_orders_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        dynamic_order(*arguments)


def test_dynamic_orders_of_extremes():
    np.testing.assert_array_equal(dynamic_order(ONES, ONES, 10**18), np.arange(20))
    assert dynamic_order(ONES, ONES, 1, np.zeros((4, 5), bool)).shape == (0,)


@pytest.mark.parametrize("basis", [np.ones((1, 4)), np.full((1, 4), np.nan), np.eye(4)[[0, 0]], np.zeros((1, 4))])
def test_a_basis_that_is_not_orthonormal_is_refused(basis):
    with pytest.raises(ValueError, match="basis must have orthonormal rows"):
        PatchTree(np.zeros((3, 4), np.uint8), np.zeros(3, np.uint32), basis, np.zeros(4))


@pytest.mark.parametrize("mean", [-1, 256, np.nan])
def test_a_mean_out_of_range_is_refused(mean):
    with pytest.raises(ValueError, match=r"mean must hold values of 0\.\.255"):
        PatchTree(np.zeros((3, 4), np.uint8), np.zeros(3, np.uint32), np.eye(4), np.full(4, float(mean)))
