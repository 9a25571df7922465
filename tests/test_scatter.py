"""Aperture kernels, and layers scattered over a canvas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import defocus as reference

from fastrefocus import Aperture
from fastrefocus.native import _core
from fastrefocus.native._core import ApertureKernels, LayerScatter
from fastrefocus.parallel import thread_map
from fastrefocus.rendering import scatter
from fastrefocus.rendering.layers import Layer

SHAPES = st.tuples(st.integers(1, 26), st.integers(1, 26)).filter(lambda shape: shape[0] != shape[1])
SEEDS = st.integers(0, 2**32 - 1)
TRIANGLE = Aperture(mask=np.tri(15, dtype=bool))
APERTURES = st.sampled_from([Aperture(), Aperture(blades=5, rotation=0.3), TRIANGLE])


def serial(function, items):
    return [function(item) for item in items]


def both(aperture):
    """The aperture's spans as it is, and turned by 180 degrees."""
    spans = aperture.spans()
    return np.stack([spans, -spans[::-1, ::-1]])


def random_layer(rng, shape, channels, radii):
    """Values and cover; radii in a few patches."""
    cover = rng.choice(np.array([0, 1, 255, 255, 255], np.uint8), shape)
    partly = rng.random(shape) < 0.2
    cover[partly] = rng.integers(1, 256, partly.sum())
    light = rng.random((*shape, channels), np.float32) * ((np.maximum(cover, 1) - 1) / 254)[..., np.newaxis]
    radius = rng.choice(radii, shape)
    y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
    radius[y:, x:] = radius[y, x]
    return np.dstack([light, radius]).astype(np.float32), cover


def layer_scatter(values, cover, offset=0.0, threshold=4.0, *, aperture=None, steps=16, width=None, **place):
    aperture = aperture or Aperture()
    height, columns = cover.shape
    kernels = ApertureKernels(both(aperture), threshold, steps, width or columns)
    place = {"top": 0, "left": 0, "photo_height": height, "photo_width": width or columns, **place}
    return LayerScatter(
        values, cover, offset, kernels, **place, cells=1, threshold=threshold, second_moment=aperture.second_moment
    )


def level_sums(scattered, values, level):
    height, width = (_core.level_size(length, level) for length in values.shape[:2])
    members, outside = np.full((height, width, values.shape[2]), np.nan, np.float32), np.empty((height, width), "f4")
    scattered.scatter(level, 0, height, members, outside)
    return members, outside


@settings(max_examples=60)
@given(st.floats(0, 12), st.sampled_from([1, 4, 16]), APERTURES, st.booleans())
def test_a_pixel_is_drawn_as_the_aperture_of_its_radius(radius, steps, aperture, behind):
    radius = np.float32(radius)
    spans = both(aperture)
    reach = int(radius + 1)
    values = np.zeros((2 * reach + 3, 2 * reach + 6, 2), np.float32)
    cover = np.zeros(values.shape[:2], np.uint8)
    centre = reach + 1, reach + 3
    values[centre] = 0.7, radius if behind else -radius
    cover[centre] = 255
    canvas = np.zeros((*cover.shape, 1), np.float32)
    layer_scatter(values, cover, threshold=12.0, aperture=aperture, steps=steps).composite(
        [], 0, len(cover), canvas, 0, 0
    )
    step = min(int(radius * steps + 0.5) / steps, 12.0)
    shares = reference.kernel(spans[int(behind and radius > 0)], step)
    lit = shares > reference.LEAST_COVERAGE
    size = len(shares) // 2
    around = np.s_[centre[0] - size : centre[0] + size + 1, centre[1] - size : centre[1] + size + 1]
    clear = np.abs(shares - reference.LEAST_COVERAGE) > 1e-6
    np.testing.assert_allclose(canvas[around][clear][:, 0], 0.7 * lit[clear], atol=2e-3)  # where it alone is, it covers
    assert canvas.sum() == pytest.approx(canvas[around].sum())


@pytest.mark.parametrize("radius", [0.5, 0.7, 1.0, 2.3, 5.9, 12.0])
def test_kernels_cover_the_area_of_the_aperture(radius):
    """Of a disk the light of a pixel is the share of its area that lies in the circle."""
    fine = (np.arange(-13 * 40, 13 * 40 + 40) + 0.5) / 40 - 0.5
    inside = np.square(fine)[:, np.newaxis] + np.square(fine) <= radius**2
    area = inside.reshape(27, 40, 27, 40).mean(axis=(1, 3))
    shares = np.zeros((27, 27))
    reference.add(shares[..., np.newaxis], 13, 13, reference.kernel(both(Aperture())[0], radius), [1])
    if radius > 0.5:
        np.testing.assert_allclose(shares, area / area.sum(), atol=4e-3 / radius**2)
    else:
        assert shares[13, 13] == 1  # within its pixel


@settings(max_examples=60, deadline=None)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), APERTURES, st.integers(1, 3), st.sampled_from([0.0, -1.5, 6.25]))
def test_levels_equal_the_slow_version(seed, shape, channels, aperture, level, offset):
    rng = np.random.default_rng(seed)
    threshold = 3.0
    radii = rng.uniform(-threshold * 2**level, threshold * 2**level, 6)
    values, cover = random_layer(rng, shape, channels, radii)
    scattered = layer_scatter(values, cover, offset, threshold, aperture=aperture, width=shape[1] + 1)
    members, outside = level_sums(scattered, values, level)
    light, beyond = reference.level_sums(
        values, cover, offset, level, threshold, both(aperture), 16, aperture.second_moment
    )
    np.testing.assert_allclose(members, light, rtol=0, atol=3e-6)
    np.testing.assert_allclose(outside, beyond, rtol=0, atol=3e-6)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), APERTURES, st.integers(0, 2), st.sampled_from([0.0, 2.5]))
def test_a_layer_is_put_over_the_canvas(seed, shape, channels, aperture, levels, offset):
    rng = np.random.default_rng(seed)
    threshold = 2.5
    most = threshold * 2**levels
    values, cover = random_layer(rng, shape, channels, rng.uniform(-most - offset, most - offset, 5))
    scattered = layer_scatter(values, cover, offset, threshold, aperture=aperture, width=shape[1] + 1)
    coarse = [(level, *level_sums(scattered, values, level)) for level in range(1, levels + 1)]
    canvas = rng.random((*shape, channels), np.float32)
    expected, coverage = reference.composite(
        values, cover, offset, threshold, both(aperture), 16, aperture.second_moment, levels, canvas
    )
    scattered.composite(coarse, 0, shape[0], canvas, 0, 0)
    # Where little light falls, it is divided by little, and so are its roundings.
    assert ((np.abs(canvas - expected) - 1e-5) * coverage).max() < 3e-7


@given(SEEDS, SHAPES, st.floats(-20, 20), st.data())
def test_the_extreme_radii_are_those_of_pixels_that_count(seed, shape, offset, data):
    first = data.draw(st.integers(0, shape[0] - 1))
    last = data.draw(st.integers(first + 1, shape[0]))
    rng = np.random.default_rng(seed)
    values, cover = random_layer(rng, shape, 1, rng.uniform(-9, 9, 5))
    sizes = np.abs(values[..., -1] + np.float32(offset))[first:last]
    sizes = sizes[cover[first:last] > 0]
    found = layer_scatter(values, cover, offset).radii(first, last)
    assert found == (sizes.min(initial=np.inf), sizes.max(initial=0))


@given(st.integers(1, 300), st.integers(0, 7))
def test_level_sizes_are_even_and_hold_the_picture(length, level):
    assert _core.level_size(length, level) == len(reference.joined(length, level))
    if level > 0:
        assert _core.level_size(length, level) % 2 == 0
        assert length <= _core.level_size(length, level) * 2**level < length + 2 ** (level + 1)


@settings(max_examples=30)
@given(SEEDS, st.integers(20, 90), st.integers(0, 9), st.sampled_from([1, 3]))
def test_rows_may_be_made_in_any_parts_and_into_any_part_of_a_picture(seed, height, left, channels):
    rng = np.random.default_rng(seed)
    values, cover = random_layer(rng, (height, 17), channels, np.array([-7, -3, 0, 1, 2.2, 6.5]))
    scattered = layer_scatter(values, cover)
    members, outside = level_sums(scattered, values, 1)
    parts, parts_outside = np.full_like(members, np.nan), np.full_like(outside, np.nan)
    middle = int(rng.integers(1, len(members)))
    scattered.scatter(1, middle, len(members), parts, parts_outside)
    assert np.isnan(parts[:middle]).all()
    assert np.isnan(parts_outside[:middle]).all()
    scattered.scatter(1, 0, middle, parts, parts_outside)
    np.testing.assert_array_equal(parts, members)
    np.testing.assert_array_equal(parts_outside, outside)
    picture = rng.random((height, 17, channels), np.float32)
    whole, before = picture.copy(), picture.copy()
    coarse = [(1, members, outside)]
    scattered.composite(coarse, 0, height, whole, 0, 0)
    top = int(rng.integers(0, height - 10))
    canvas = picture[top : top + 9, left : left + 5]
    for first, last in ((4, 9), (0, 4)):
        scattered.composite(coarse, first, last, canvas, top, left)
    np.testing.assert_array_equal(canvas, whole[top : top + 9, left : left + 5])
    picture[top : top + 9, left : left + 5] = before[top : top + 9, left : left + 5]
    np.testing.assert_array_equal(picture, before)


@settings(max_examples=30)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), st.sampled_from([2.0, 12.0, 50.0]))
def test_a_constant_stays_constant_without_any_clipping(seed, shape, channels, largest):
    rng = np.random.default_rng(seed)
    margin = int(largest) + 3
    whole = tuple(length + 2 * margin for length in shape)
    radius = rng.uniform(-largest, largest) + rng.uniform(-0.9, 0.9, whole)
    values = np.dstack([np.full((*whole, channels), 0.37), radius]).astype(np.float32)
    layer = Layer(values, np.full(whole, 255, np.uint8), 0, 0, 0)
    canvas = np.zeros((*shape, channels), np.float32)
    scatter.composite([layer], 0.0, canvas, margin, Aperture(blades=7), 4.0, serial, lambda share: None)
    np.testing.assert_allclose(canvas, 0.37, rtol=3e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_composite_reports_and_takes_threads(threads):
    rng = np.random.default_rng(0)
    layers, reports = [], []
    for radius in (5.0, -9.0):
        values, cover = random_layer(rng, (210, 40), 3, np.array([radius, radius / 2]))
        layers.append(Layer(values, cover, 3, 5, nearer=1 - len(layers)))
    canvas, expected = np.zeros((216, 50, 3), np.float32), np.zeros((216, 50, 3), np.float32)
    with thread_map(threads, 9) as map_:
        scatter.composite(iter(layers), 0.5, canvas, 4, Aperture(), 4.0, map_, reports.append)
    scatter.composite(layers, 0.5, expected, 4, Aperture(), 4.0, serial, lambda share: None)
    np.testing.assert_array_equal(canvas, expected)
    assert reports == [0.5, 1.0]
    assert (canvas[209:] == 0).all()  # no layer reaches there
    assert (canvas[:209, 41:] == 0).all()
    assert (canvas[:209, 1:41] > 0).any()


def test_turned_cells_of_a_cat_eye_follow_the_place():
    aperture = Aperture(cat_eye=0.8)
    height, width = 90, 126
    for row, column in ((4, 7), (45, 63), (85, 7), (45, 120)):
        values = np.zeros((height, width, 2), np.float32)
        values[row, column] = 1, 4
        cover = np.zeros((height, width), np.uint8)
        cover[row, column] = 255
        cover[row - 4 : row + 5, column - 5 : column + 6] |= 1  # so that it is covered in part
        values[..., 1] = 4
        canvas = np.zeros((height, width, 1), np.float32)
        scatter.composite([Layer(values, cover, 0, 0, 0)], 0.0, canvas, 0, aperture, 4.0, serial, lambda share: None)
        light = canvas[..., 0]
        y, x = (light.sum(axis=1) @ np.arange(height) - row * light.sum()), (light.sum(axis=0) @ np.arange(width))
        shift = np.array([y, x - column * light.sum()]) / light.sum()
        outwards = np.array([row - (height - 1) / 2, column - (width - 1) / 2])
        if np.hypot(*outwards) < 2:
            np.testing.assert_allclose(shift, 0, atol=0.05)
        else:
            assert shift @ outwards / np.hypot(*outwards) < -0.4  # behind: the outer side is cut


@pytest.mark.parametrize("cat_eye", [0.0, 0.8])
def test_a_mirrored_layer_is_scattered_as_the_layer_is(cat_eye):
    """Means that lie between two steps of the radius, and pixels between two cells of the photo, do not tip over."""
    aperture, (height, width) = Aperture(cat_eye=cat_eye), ((54, 90) if cat_eye else (56, 88))
    cover = np.full((height, width), 255, np.uint8)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        values = rng.random((height, width, 2), np.float32)
        between = 2 * np.sqrt(((40.5 + 10 * seed) / 16) ** 2 + (1 / 3 - 1 / 48) / 0.25)  # level 1
        apart = rng.uniform(-0.4, 0.4, (height // 2, 2, width // 2, 2))
        values[..., 1] = (between + apart - apart.mean(axis=(1, 3), keepdims=True)).reshape(height, width)
        canvas, mirrored = np.zeros((2, height, width, 1), np.float32)
        for side in (np.s_[::-1], np.s_[:, ::-1]):
            for light, picture in ((values, canvas), (values[side], mirrored)):
                layer = Layer(light, cover, 0, 0, 0)
                scatter.composite([layer], 0.0, picture, 0, aperture, 4.0, serial, lambda share: None)
            np.testing.assert_allclose(mirrored[side], canvas, rtol=0, atol=3e-6)


@pytest.mark.parametrize("radius", [0.7, 2.0, 2.5, 5.9])
@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=6)], ids=["disk", "iris"])
def test_nothing_goes_on_to_the_end_of_a_row(aperture, radius):
    light = np.zeros((9, 4000), np.float32)
    light[:, :2000] = 1
    values, cover = np.dstack([light, np.full_like(light, radius)]), np.full(light.shape, 255, np.uint8)
    canvas = np.zeros((9, 4000, 1), np.float32)
    layer_scatter(values, cover, threshold=6.0, aperture=aperture).composite([], 0, 9, canvas, 0, 0)
    assert np.abs(canvas[:, 2010:]).max() < 5e-7


VALUES, COVER = np.zeros((6, 9, 4), np.float32), np.full((6, 9), 255, np.uint8)
SPANS = both(Aperture())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((SPANS[0], 4.0, 16, 20), ValueError, r"spans must have shape \(S, N, 2\)"),
        ((SPANS[:0], 4.0, 16, 20), ValueError, r"spans must have shape \(S, N, 2\)"),
        ((SPANS[..., :1], 4.0, 16, 20), ValueError, r"spans must have shape \(S, N, 2\)"),
        ((SPANS.astype(np.float64), 4.0, 16, 20), TypeError, "spans must have dtype float32, got float64"),
        ((SPANS * np.float32(1.1), 4.0, 16, 20), ValueError, r"spans must lie within -1\.\.1"),
        ((SPANS * np.float32(np.nan), 4.0, 16, 20), ValueError, "spans must lie within"),
        ((SPANS, -1.0, 16, 20), ValueError, "max_radius must be in 0..64"),
        ((SPANS, 64.5, 16, 20), ValueError, "max_radius must be in 0..64"),
        ((SPANS, np.nan, 16, 20), ValueError, "max_radius must be in 0..64"),
        ((SPANS, 4.0, 0, 20), ValueError, "steps must be in 1..256"),
        ((SPANS, 4.0, 257, 20), ValueError, "steps must be in 1..256"),
        ((SPANS, 4.0, 16, 0), ValueError, r"width must be in 1..2\^24"),
        ((SPANS, 4.0, 16, 2**24 + 1), ValueError, r"width must be in 1..2\^24"),
        ((SPANS, "4", 16, 20), TypeError, "incompatible"),
    ],
)
def test_bad_arguments_of_kernels_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ApertureKernels(*arguments)


def test_the_largest_kernels_and_spans_of_any_strides_are_taken():
    ApertureKernels(np.asfortranarray(SPANS), np.float32(64), 1, 2**24)
    ApertureKernels(SPANS[:, ::2], 0.0, 256, 1)
    ApertureKernels(np.zeros((2, 1, 2), np.float32), 3.0, 2, 5)  # nothing of the aperture is left: a point


def make(**changes):
    arguments = {
        "values": VALUES, "cover": COVER, "offset": 0.0, "kernels": ApertureKernels(SPANS, 4.0, 16, 9), "top": 0,
        "left": 0, "photo_height": 6, "photo_width": 9, "cells": 1, "threshold": 4.0, "second_moment": 0.25, **changes,
    }  # fmt: skip
    return LayerScatter(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": VALUES[..., :3]}, ValueError, r"values must have shape \(H, W, 2\) or \(H, W, 4\)"),
        ({"values": VALUES[..., 0]}, ValueError, "values must have shape"),
        ({"values": VALUES[:0], "cover": COVER[:0]}, ValueError, "values must have shape"),
        ({"values": VALUES.astype(np.float64)}, TypeError, "values must have dtype float32, got float64"),
        ({"cover": COVER[:, 1:]}, ValueError, "cover must have the height and width of values"),
        ({"cover": COVER.astype(np.int8)}, TypeError, "cover must have dtype uint8, got int8"),
        ({"kernels": SPANS}, RuntimeError, "cast"),
        ({"kernels": ApertureKernels(SPANS[:1], 4.0, 16, 9)}, ValueError, r"2 cells\^2 shapes, got 1"),
        ({"kernels": ApertureKernels(SPANS, 4.0, 16, 8)}, ValueError, "narrower photo"),
        ({"cells": 3}, ValueError, r"kernels must have 2 cells\^2 shapes, got 2"),
        ({"cells": 2}, ValueError, "cells must be odd, got 2"),
        ({"cells": 0}, ValueError, "cells must be odd, got 0"),
        ({"cells": -1}, ValueError, "cells must be odd, got -1"),
        ({"top": -1}, ValueError, "within the photo"),
        ({"left": 1}, ValueError, "within the photo"),
        ({"photo_height": 5}, ValueError, "within the photo"),
        ({"threshold": 0.0}, ValueError, "threshold must be in"),
        ({"threshold": 4.5}, ValueError, "threshold must be in"),
        ({"threshold": np.nan}, ValueError, "threshold must be in"),
        ({"second_moment": 0.0}, ValueError, "second_moment > 0"),
        ({"second_moment": np.nan}, ValueError, "second_moment > 0"),
        ({"offset": None}, TypeError, "incompatible"),
    ],
)
def test_bad_arguments_of_a_scatter_are_named(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


MEMBERS, OUTSIDE = np.zeros((4, 6, 4), np.float32), np.zeros((4, 6), np.float32)  # level 1 of 6 x 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 4, MEMBERS, OUTSIDE), "level must be in 1..16, got 0"),
        ((17, 0, 4, MEMBERS, OUTSIDE), "level must be in 1..16"),
        ((1, -1, 4, MEMBERS, OUTSIDE), "first and last"),
        ((1, 2, 2, MEMBERS, OUTSIDE), "first and last"),
        ((1, 0, 5, MEMBERS, OUTSIDE), "first and last"),
        ((1, 0, 4, MEMBERS[:3], OUTSIDE), "members must be a C-contiguous"),
        ((1, 0, 4, MEMBERS.astype(np.float64), OUTSIDE), "members must be .* got dtype float64"),
        ((1, 0, 4, np.zeros((4, 12, 4), np.float32)[:, ::2], OUTSIDE), "members must be a C-contiguous"),
        ((1, 0, 4, MEMBERS, OUTSIDE[:, :5].copy()), "outside must be a C-contiguous"),
        ((1, 0, 4, MEMBERS, OUTSIDE.astype(np.uint8)), "outside must be .* got dtype uint8"),
    ],
)
def test_bad_arguments_of_scattering_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make().scatter(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coarse": [(0, MEMBERS, OUTSIDE)]}, "level must be in 1..16, got 0"),
        ({"coarse": [(1, MEMBERS[:2], OUTSIDE)]}, "members must be"),
        ({"coarse": [(1, MEMBERS, OUTSIDE.astype(int))]}, "outside must be"),
        ({"first": -1}, "first and last"),
        ({"last": 7}, "first and last"),
        ({"first": 6}, "first and last"),
        ({"canvas": np.zeros((6, 9, 1), np.float32)}, "canvas must be rows of a float32 image"),
        ({"canvas": np.zeros((6, 9), np.float32)}, "canvas must be rows"),
        ({"canvas": np.zeros((6, 9, 3))}, "canvas must be rows"),
        ({"canvas": np.zeros((6, 18, 3), np.float32)[:, ::2]}, "canvas must be rows"),
        ({"canvas": np.zeros((6, 9, 3), np.float32)[..., ::-1]}, "canvas must be rows"),
        ({"canvas": np.zeros((7, 9, 3), np.float32)}, "canvas must lie within the layer"),
        ({"top": 1}, "canvas must lie within the layer"),
        ({"left": -1}, "canvas must lie within the layer"),
    ],
)
def test_bad_arguments_of_compositing_are_named(change, message):
    arguments = {"coarse": [], "first": 0, "last": 6, "canvas": np.zeros((6, 9, 3), np.float32), "top": 0, "left": 0}
    with pytest.raises(ValueError, match=message):
        make().composite(**{**arguments, **change})


def test_rows_of_radii_are_checked():
    for first, last in ((-1, 2), (2, 2), (0, 7)):
        with pytest.raises(ValueError, match="first and last must be rows"):
            make().radii(first, last)


def test_a_level_wider_than_the_kernels_photo_is_refused():
    narrow = layer_scatter(VALUES[:, :1], COVER[:, :1])
    with pytest.raises(ValueError, match="narrower than level 1"):
        narrow.scatter(1, 0, 4, np.zeros((4, 2, 4), np.float32), np.zeros((4, 2), np.float32))


def test_read_only_output_is_refused():
    canvas = np.zeros((6, 9, 3), np.float32)
    canvas.setflags(write=False)
    with pytest.raises(ValueError, match="canvas"):
        make().composite([], 0, 6, canvas, 0, 0)
    members = MEMBERS.copy()
    members.setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        make().scatter(1, 0, 4, members, OUTSIDE.copy())


def test_read_only_and_strided_input_is_taken():
    rng = np.random.default_rng(1)
    values, cover = random_layer(rng, (12, 19), 3, np.array([-6, 1, 3]))
    plain, odd = np.zeros((12, 19, 3), np.float32), np.zeros((12, 19, 3), np.float32)
    layer_scatter(values, cover).composite([], 0, 12, plain, 0, 0)
    frozen = np.asfortranarray(values)
    frozen.setflags(write=False)
    layer_scatter(frozen, np.asfortranarray(cover)).composite([], 0, 12, odd, 0, 0)
    np.testing.assert_array_equal(odd, plain)
    assert plain.any()
