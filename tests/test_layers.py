"""Occlusion groups, and a photo taken apart into layers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import layers as reference
from scipy.ndimage import generate_binary_structure, maximum_filter, minimum_filter

from fastrefocus.native import _core
from fastrefocus.parallel import thread_map
from fastrefocus.rendering.layers import MEMBER, NOTHING, OUTSIDE, find_groups, margin_for, take_apart, with_margin
from fastrefocus.rendering.occlusion import jump_size, label_groups

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24)).filter(lambda shape: shape[0] != shape[1])
LABELS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 3)))
SEEDS = st.integers(0, 2**32 - 1)


def serial(function, items):
    return [function(item) for item in items]


def patchwork(rng, shape, values):
    """A map of one value with up to three rectangles of others."""
    plane = np.full(shape, rng.choice(values))
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        plane[y : y + rng.integers(1, shape[0] + 1), x : x + rng.integers(1, shape[1] + 1)] = rng.choice(values)
    return plane


def layers_of(light, radius, reach, map_=serial, *, light_range=None, everywhere=False):
    whole, inside = with_margin(light.shape, reach)
    inside[:] = light
    light_range = light_range or (float(light.min()), float(light.max()))
    groups = find_groups(radius.astype(np.float32), reach, map_)
    return list(take_apart(whole, light_range, groups, groups.behind(), map_, everywhere=everywhere))


def whole_layer(light, radius, labels, label, *, margin=0, jump=1.0, light_range=(0.0, 1.0), plate=None):
    """The layer made in one go over the whole photo."""
    plate = light.copy() if plate is None else plate
    behind = labels
    for nearer in range(labels.max(), label, -1):
        behind = _core.peel_labels(behind, nearer)
    photo = _core.LabelledPhoto(light, radius, labels, margin, jump, light_range, plate)
    height, width = labels.shape
    maker = _core.LayerMaker(photo, label, behind, (0, 0, height, width), np.ones((1, 1), bool), max(height, width))
    maker.look(0, height)
    maker.halve(0, (height + 1) // 2)
    maker.quarter(0, (height + 3) // 4)
    maker.fill_quarter()
    maker.fill_half(0, (height + 1) // 2)
    maker.finish(0, height)
    return maker.values, maker.cover


@given(LABELS, st.data())
def test_neighbour_counts(labels, data):
    first = data.draw(st.integers(0, len(labels) - 1))
    last = data.draw(st.integers(first + 1, len(labels)))
    bins = data.draw(st.integers(labels.max() + 1, 6))
    counts = _core.neighbour_counts(labels, first, last, bins)
    np.testing.assert_array_equal(counts, reference.neighbour_counts(labels, first, last, bins))


@given(LABELS, st.data())
def test_groups_are_surveyed(labels, data):
    groups, block = data.draw(st.integers(labels.max() + 1, 6)), data.draw(st.integers(1, 30))
    boxes, blocks = _core.survey_groups(labels, groups, block)
    expected_boxes, expected_blocks = reference.survey(labels, groups, block)
    np.testing.assert_array_equal(boxes, expected_boxes)
    np.testing.assert_array_equal(blocks, expected_blocks)
    assert blocks.dtype == bool


@given(LABELS, st.data())
def test_peeled_pixels_take_the_label_of_the_nearest_farther_pixel(labels, data):
    before, label = labels.copy(), data.draw(st.integers(labels.min() + 1, 4))
    np.testing.assert_array_equal(_core.peel_labels(labels, label), reference.peel(labels, label))
    np.testing.assert_array_equal(labels, before)


def test_peeling_is_by_distance_on_a_larger_map():
    labels = patchwork(np.random.default_rng(3), (60, 85), [1, 2, 3]).astype(np.uint8)
    labels[5, 7] = labels[40, 70] = labels[58, 3] = 0
    for label in (1, 2, 3):
        np.testing.assert_array_equal(_core.peel_labels(labels, label), reference.peel(labels, label))


@given(SEEDS, SHAPES, st.integers(1, 5), st.booleans())
def test_surfaces_with_jumps_between_them_are_parted(seed, shape, step, upright):
    rng = np.random.default_rng(seed)
    shape = (shape[0] + 8, shape[1] + 9)
    near = np.arange(shape[1])[np.newaxis] >= shape[1] // 2 if upright else np.arange(shape[0])[:, np.newaxis] > 3
    near = np.broadcast_to(near, shape)
    radius = np.where(near, -step, step).astype(np.float32) + rng.uniform(-0.1, 0.1, shape).astype(np.float32)
    np.testing.assert_array_equal(label_groups(radius, serial), near)
    shifted = label_groups(radius + np.float32(0.25), serial)  # another focus
    np.testing.assert_array_equal(shifted, near)


def test_one_surface_is_not_cut():
    slanted = np.linspace(-20, 20, 300, dtype=np.float32)[np.newaxis] + np.zeros((40, 1), np.float32)
    assert label_groups(slanted, serial).max() == 0
    step = np.where(np.arange(300) > 100, 0.9, 0).astype(np.float32)[np.newaxis] + np.zeros((40, 1), np.float32)
    assert jump_size(step) == 1
    assert label_groups(step, serial).max() == 0  # hides nothing that can be seen
    dot = np.zeros((400, 410), np.float32)
    dot[200, 100] = 9
    assert label_groups(dot, serial).max() == 0  # too little to be worth a cut


def test_a_cut_misses_the_slanted_ground_where_it_can():
    ground = np.linspace(10, -10, 120, dtype=np.float32)[:, np.newaxis] + np.zeros((1, 90), np.float32)
    photo = ground.copy()
    photo[10:60, 30:60] = -5  # in front of ground of 8.3 to 0.1
    labels = label_groups(photo, serial)
    assert labels[10:60, 30:60].min() > labels[10:60][:, :30].max()
    lowest_ground = labels[:, 0]
    assert (np.diff(lowest_ground.astype(int)) >= 0).all()


def test_a_cut_misses_ground_that_reaches_nearly_as_near():
    ground = np.concatenate([np.linspace(10, 3, 40), np.linspace(3, -4, 20)]).astype(np.float32)
    photo = ground[:, np.newaxis] + np.zeros((1, 90), np.float32)
    photo[10:40, 30:60] = -5
    labels = label_groups(photo, serial)
    np.testing.assert_array_equal(labels, photo == -5)


@given(SEEDS, SHAPES, st.sampled_from([1.0, 5.0, 40.0]))
def test_groups_are_ordered_few_and_none_is_empty(seed, shape, largest):
    rng = np.random.default_rng(seed)
    radius = patchwork(rng, shape, rng.uniform(-largest, largest, 20)).astype(np.float32)
    labels = label_groups(radius, serial)
    assert labels.dtype == np.uint8
    assert labels.max() < 8
    present = np.unique(labels)
    np.testing.assert_array_equal(present, np.arange(len(present)))
    for label in present[1:]:  # larger labels are nearer, of smaller radius
        assert radius[labels == label].max() < radius[labels == label - 1].min()
    np.testing.assert_array_equal(label_groups(np.ascontiguousarray(radius[::-1]), serial)[::-1], labels)


def test_no_more_than_eight_groups():
    stairs = np.repeat(np.arange(0, 200, 10, dtype=np.float32), 4)[np.newaxis] + np.zeros((30, 1), np.float32)
    assert label_groups(stairs, serial).max() == 7


@settings(max_examples=60)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), st.integers(0, 3))
def test_push_pull_fills_hidden_and_unsure_pixels(seed, shape, channels, margin):
    rng = np.random.default_rng(seed)
    light = rng.random((*shape, channels), np.float32)
    radius = rng.uniform(-30, 30, shape).astype(np.float32)
    labels = (rng.random(shape) < rng.random()).astype(np.uint8)
    labels[rng.integers(shape[0]), rng.integers(shape[1])] = 0
    values, cover = whole_layer(light, radius, labels, 0, margin=margin, jump=np.inf)
    inner = np.zeros(shape, bool)
    inner[margin : shape[0] - margin, margin : shape[1] - margin] = True
    known = np.where(labels == 1, 0, np.where(inner, 1, 2 / 255))
    filled = reference.push_pull(np.dstack([light, radius]).astype(np.float64), known)
    filled[labels == 0, -1] = radius[labels == 0]
    expected = np.where(((labels == 0) & inner)[..., np.newaxis], np.dstack([light, radius]), filled)
    assert (cover == MEMBER).all()
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-5)


def test_push_pull_of_a_constant_and_of_a_ramp():
    labels = np.zeros((37, 50), np.uint8)
    labels[10:30, 15:35] = 1
    ramp = np.linspace(0, 1, 50, dtype=np.float32)[np.newaxis, :, np.newaxis] + np.zeros((37, 1, 1), np.float32)
    constant = np.full((37, 50, 1), 0.3, np.float32)
    flat = np.zeros((37, 50), np.float32)
    np.testing.assert_allclose(whole_layer(constant, flat, labels, 0)[0][..., 0], 0.3, atol=1e-6)
    np.testing.assert_allclose(whole_layer(ramp, flat, labels, 0)[0][..., 0], ramp[..., 0], atol=0.15)


@settings(max_examples=60)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), st.integers(0, 2))
def test_layers_equal_the_slow_version(seed, shape, channels, margin):
    rng = np.random.default_rng(seed)
    light = rng.random((*shape, channels), np.float32)
    labels = patchwork(rng, shape, [0, 1, 2]).astype(np.uint8)
    labels = np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.uint8)
    radius = (5 - 3.0 * labels + rng.uniform(-1, 1, shape)).astype(np.float32)
    light_range = (float(light.min()), float(light.max()))
    expected = reference.take_apart(light, radius, labels, margin, 1.0, light_range)
    plate = light.copy()
    for label, (values, cover) in enumerate(expected):
        found, found_cover = whole_layer(
            light, radius, labels, label, margin=margin, light_range=light_range, plate=plate
        )
        np.testing.assert_allclose(found_cover, cover, atol=1)  # steps of 1 / 254, of rounded numbers
        same = np.abs(found_cover - cover) < 0.5
        assert same.mean() > 0.95
        np.testing.assert_allclose(found[..., -1], values[..., -1], rtol=0, atol=2e-5)
        np.testing.assert_allclose(found[same][..., :-1], values[same][..., :-1], rtol=0, atol=2e-5)


@pytest.mark.parametrize("near_share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_a_mixed_pixel_is_parted_into_what_it_was_mixed_of(near_share):
    near, far = np.float32([0.9, 0.5, 0.1]), np.float32([0.1, 0.3, 0.7])
    light = np.empty((24, 33, 3), np.float32)
    light[:, :16], light[:, 17:] = near, far
    light[:, 16] = near_share * near + (1 - near_share) * far
    for edge in (16, 17):  # the mixed pixels have the one depth or the other
        radius = np.where(np.arange(33) < edge, -4, 4).astype(np.float32)[np.newaxis] + np.zeros((24, 1), np.float32)
        behind, front = layers_of(light, radius, 5.0, everywhere=True)
        m = margin_for(5.0)
        mixed = np.s_[m:-m, m + 16]
        alpha = (front.cover[mixed].astype(float) - 1) / 254
        np.testing.assert_allclose(alpha, near_share, atol=0.01)
        np.testing.assert_allclose(front.values[mixed][:, :3], near_share * near * np.ones((24, 1)), atol=0.01)
        under = behind.values[m:-m, m + 13 : -m, :3]  # three columns are hidden; the mixed one counts a little
        np.testing.assert_allclose(under, far * np.ones((24, 20, 1)), atol=0.03)


def test_a_slope_between_groups_is_not_parted():
    slope = np.linspace(9, -9, 64, dtype=np.float32)[np.newaxis] + np.zeros((20, 1), np.float32)
    labels = (slope < 0).astype(np.uint8)
    light = np.random.default_rng(0).random((20, 64, 1), np.float32)
    for label in (0, 1):
        values, cover = whole_layer(light, slope, labels, label)
        assert set(np.unique(cover)) <= {OUTSIDE, MEMBER}
        np.testing.assert_array_equal(values[labels == label][:, 0], light[labels == label][:, 0])


@settings(max_examples=40)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), st.sampled_from([2.0, 15.0]))
def test_layers_lie_where_they_matter(seed, shape, channels, reach):
    rng = np.random.default_rng(seed)
    light = rng.random((*shape, channels), np.float32)
    radius = patchwork(rng, shape, np.array([-reach, -reach / 2, 0, reach]))
    layers = layers_of(light, radius, reach)
    wholes = layers_of(light, radius, reach, everywhere=True)
    size = tuple(length + 2 * margin_for(reach) for length in shape)
    labels = find_groups(radius.astype(np.float32), reach, serial).labels
    assert len(layers) == len(wholes) == labels.max() + 1
    assert [layer.nearer for layer in layers] == list(range(labels.max(), -1, -1))
    cross = generate_binary_structure(2, 1)
    edge = maximum_filter(labels, footprint=cross) != minimum_filter(labels, footprint=cross)
    visible = np.zeros(size, int)
    for layer, whole in zip(layers, wholes, strict=True):
        assert whole.values.shape == (*size, channels + 1)
        assert whole.cover.shape == size
        assert (whole.top, whole.left) == (0, 0)
        assert (whole.cover != NOTHING).all()
        part = np.s_[layer.top : layer.top + len(layer.cover), layer.left : layer.left + layer.cover.shape[1]]
        counts = layer.cover != NOTHING
        settled = counts & ~edge[part]  # mixed pixels may be parted otherwise: the filling has another grid
        np.testing.assert_array_equal(layer.cover[settled], whole.cover[part][settled])
        visible[part] |= layer.cover == MEMBER
    assert visible.mean() > 0.5
    farthest = layers[0].cover
    assert set(np.unique(farthest)) <= {NOTHING, MEMBER}


@settings(max_examples=30)
@given(SEEDS, st.tuples(st.integers(60, 150), st.integers(5, 30)), st.sampled_from([1, 3]))
def test_layers_do_not_depend_on_threads_nor_on_the_side(seed, shape, channels):
    rng = np.random.default_rng(seed)
    light = rng.integers(0, 5, (*shape, channels)).astype(np.float32) / 4  # means of such may lie between two steps
    radius = patchwork(rng, shape, np.arange(-24, 24) / 4)
    layers = layers_of(light, radius, 6.0)
    with thread_map(3, 9) as map_:
        others = layers_of(light, radius, 6.0, map_)
    for side in (np.s_[::-1], np.s_[:, ::-1]):
        flipped = layers_of(light[side], radius[side], 6.0)
        for layer, other, mirrored in zip(layers, others, flipped, strict=True):
            np.testing.assert_array_equal(layer.cover, other.cover)
            counts = layer.cover != NOTHING
            np.testing.assert_array_equal(layer.values[counts], other.values[counts])
            both = counts & (mirrored.cover[side] != NOTHING)  # blocks are not symmetric
            np.testing.assert_array_equal(layer.values[both], mirrored.values[side][both])
            np.testing.assert_array_equal(layer.cover[both], mirrored.cover[side][both])


def test_light_stays_within_its_range():
    rng = np.random.default_rng(5)
    light = rng.choice(np.float32([0.2, 0.4, 0.8]), (40, 61, 3))
    radius = patchwork(rng, (40, 61), np.array([-6, 0, 6]))
    radius[10:30, 20:40] = -6
    radius[15:25, 35:50] = 6
    for layer in layers_of(light, radius, 7.0):
        alpha = (layer.cover.astype(np.float32)[..., np.newaxis] - 1) / 254
        covered = alpha[..., 0] > 0
        values = layer.values[..., :3]
        assert (values[covered] <= alpha[covered] * 0.8 + 1e-6).all()
        assert (values[covered] >= alpha[covered] * 0.2 - 1e-6).all()
        assert (values[layer.cover == OUTSIDE] == 0).all()


LIGHT, RADIUS, GROUPS = np.zeros((6, 9, 3), np.float32), np.zeros((6, 9), np.float32), np.zeros((6, 9), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: _core.neighbour_counts(GROUPS[0], 0, 1, 4), ValueError, "pixels must have shape"),
        (lambda: _core.neighbour_counts(GROUPS[:0], 0, 1, 4), ValueError, "pixels must have shape"),
        (lambda: _core.neighbour_counts(RADIUS, 0, 1, 4), TypeError, "pixels must have dtype uint8, got float32"),
        (lambda: _core.neighbour_counts(GROUPS, 0, 7, 4), ValueError, "first and last"),
        (lambda: _core.neighbour_counts(GROUPS, 3, 3, 4), ValueError, "first and last"),
        (lambda: _core.neighbour_counts(GROUPS, -1, 3, 4), ValueError, "first and last"),
        (lambda: _core.neighbour_counts(GROUPS + 4, 0, 6, 4), ValueError, "below bins"),
        (lambda: _core.neighbour_counts(GROUPS, 0, 6, 0), ValueError, "below bins"),
        (lambda: _core.survey_groups(GROUPS[0], 1, 4), ValueError, "labels must have shape"),
        (lambda: _core.survey_groups(GROUPS[:0], 1, 4), ValueError, "labels must have shape"),
        (lambda: _core.survey_groups(RADIUS, 1, 4), TypeError, "labels must have dtype uint8"),
        (lambda: _core.survey_groups(GROUPS, 0, 4), ValueError, "labels must be below groups"),
        (lambda: _core.survey_groups(GROUPS + 3, 3, 4), ValueError, "labels must be below groups"),
        (lambda: _core.survey_groups(GROUPS, 257, 4), ValueError, "labels must be below groups"),
        (lambda: _core.survey_groups(GROUPS, 1, 0), ValueError, "block must be in 1..65536, got 0"),
        (lambda: _core.survey_groups(GROUPS, 1, 2**31 - 1), ValueError, "block must be in 1..65536"),
        (lambda: _core.peel_labels(GROUPS, 0), ValueError, "labels must hold one below label, 0"),
        (lambda: _core.peel_labels(GROUPS + 3, 3), ValueError, "labels must hold one below label, 3"),
        (lambda: _core.peel_labels(GROUPS[0], 1), ValueError, "labels must have shape"),
        (lambda: _core.peel_labels(GROUPS[:, :0], 1), ValueError, "labels must have shape"),
        (lambda: _core.peel_labels(GROUPS.astype(np.int64), 1), TypeError, "labels must have dtype uint8, got int64"),
        (lambda: _core.peel_labels(GROUPS, 256), TypeError, "incompatible"),
        (lambda: _core.peel_labels(GROUPS, -1), TypeError, "incompatible"),
    ],
)
def test_bad_arguments_of_label_functions_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def labelled_photo(**changes):
    arguments = {
        "light": LIGHT, "radius": RADIUS, "labels": GROUPS, "margin": 1, "jump": 1.0, "range": (0.0, 1.0),
        "plate": LIGHT.copy(), **changes,
    }  # fmt: skip
    return _core.LabelledPhoto(**arguments)


def layer_maker(**changes):
    arguments = {
        "photo": labelled_photo(), "label": 0, "behind": GROUPS, "box": (0, 0, 6, 9), "blocks": np.ones((2, 3), bool),
        "block": 4, **changes,
    }  # fmt: skip
    return _core.LayerMaker(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"light": LIGHT[..., :2]}, ValueError, r"light must have shape \(H, W, 1\) or \(H, W, 3\)"),
        ({"light": RADIUS}, ValueError, "light must have shape"),
        ({"light": LIGHT[:0]}, ValueError, "light must have shape"),
        ({"light": LIGHT.astype(np.float64)}, TypeError, "light must have dtype float32, got float64"),
        ({"radius": RADIUS[:, :5]}, ValueError, "radius and labels"),
        ({"radius": GROUPS}, TypeError, "radius must have dtype float32"),
        ({"labels": GROUPS[:3]}, ValueError, "radius and labels"),
        ({"labels": GROUPS.astype(bool)}, TypeError, "labels must have dtype uint8, got bool"),
        ({"plate": LIGHT[..., :1].copy()}, ValueError, "plate must be a C-contiguous array"),
        ({"plate": LIGHT.astype(np.float64)}, ValueError, "plate must be .*got dtype float64"),
        ({"plate": LIGHT.transpose(1, 0, 2).copy().transpose(1, 0, 2)}, ValueError, "plate must be a C-contiguous"),
        ({"margin": 1.5}, TypeError, "incompatible"),
        ({"range": (0.0,)}, TypeError, "incompatible"),
    ],
)
def test_bad_arguments_of_a_labelled_photo_are_named(change, error, message):
    with pytest.raises(error, match=message):
        labelled_photo(**change)


def test_a_read_only_plate_is_refused():
    plate = LIGHT.copy()
    plate.setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        labelled_photo(plate=plate)


def test_input_of_any_strides_is_taken_as_it_is():
    rng = np.random.default_rng(0)
    light, radius = rng.random((14, 20, 3), np.float32), rng.random((14, 20), np.float32)
    labels = np.zeros((14, 20), np.uint8)
    labels[4:9, 5:16] = 1
    plain = whole_layer(light, radius, labels, 0)
    odd = whole_layer(
        np.asfortranarray(light), np.repeat(radius, 2, axis=0)[::2], np.asfortranarray(labels), 0, plate=light.copy()
    )
    np.testing.assert_array_equal(plain[0], odd[0])
    np.testing.assert_array_equal(plain[1], odd[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"photo": LIGHT}, RuntimeError, "cast"),
        ({"label": 300}, TypeError, "incompatible"),
        ({"behind": GROUPS[:, 1:]}, ValueError, "behind must have the photo's height and width"),
        ({"behind": RADIUS}, TypeError, "behind must have dtype uint8"),
        ({"box": (0, 0, 7, 9)}, ValueError, "box must lie within the photo"),
        ({"box": (0, 1, 6, 9)}, ValueError, "box must lie within the photo"),
        ({"box": (-1, 0, 6, 9)}, ValueError, "box must lie within the photo"),
        ({"box": (0, 0, 0, 9)}, ValueError, "box must lie within the photo"),
        ({"box": (2**31 - 1, 0, 6, 9)}, ValueError, "box must lie within the photo"),
        ({"box": (0, 0, 6)}, TypeError, "incompatible"),
        ({"blocks": np.ones((3, 2), bool)}, ValueError, r"blocks must have the shape \(2, 3\)"),
        ({"blocks": np.ones((2, 3), np.uint8)}, TypeError, "blocks must have dtype bool"),
        ({"block": 0}, ValueError, "block must be in 1..65536"),
        ({"block": 2**31 - 1}, ValueError, "block must be in 1..65536"),
    ],
)
def test_bad_arguments_of_a_layer_maker_are_named(change, error, message):
    with pytest.raises(error, match=message):
        layer_maker(**change)


@pytest.mark.parametrize(
    ("method", "height"), [("look", 6), ("halve", 3), ("quarter", 2), ("fill_half", 3), ("finish", 6)]
)
def test_rows_are_checked(method, height):
    maker = layer_maker()
    for first, last in ((-1, 2), (2, 2), (3, 1), (0, height + 1)):
        with pytest.raises(ValueError, match="first and last must be rows"):
            getattr(maker, method)(first, last)
    getattr(maker, method)(0, height)


def test_a_maker_keeps_its_photo():
    maker = layer_maker(photo=labelled_photo(light=LIGHT + 0.5, plate=LIGHT + 0.5))
    maker.look(0, 6)
    maker.halve(0, 3)
    maker.quarter(0, (len(maker.cover) + 3) // 4)
    maker.fill_quarter()
    maker.fill_half(0, (len(maker.cover) + 1) // 2)
    maker.finish(0, 6)
    assert (maker.values[1:-1, 1:-1, :3] == 0.5).all()
