import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import refine_depth as reference
from scipy.ndimage import binary_dilation
from skimage import data
from skimage.transform import resize

from fastrefocus import DepthMap
from fastrefocus.depth.refine import refine_depth

KINDS = ("relative", "inverse", "metric")


def scene(height=150, width=240, seed=0):
    """A photo of two boards before a slanted ground, and the disparity, 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ground, *boards = (
        resize(photo / 255, (height, width), anti_aliasing=True)
        for photo in (data.coffee(), data.astronaut(), data.chelsea())
    )
    image, disparity = ground, 0.1 + 0.3 * y / height
    for board, level in zip(boards, (0.6, 0.95), strict=True):
        centre_y, centre_x = rng.uniform(0.3, 0.7) * height, rng.uniform(0.2, 0.8) * width
        inside = np.hypot((y - centre_y) * 1.3, x - centre_x + 0.3 * (y - centre_y)) < 0.25 * height
        image = np.where(inside[..., np.newaxis], board, image)
        disparity = np.where(inside, level, disparity)
    return image.astype(np.float32), disparity.astype(np.float32)


def smeared(disparity, factor):
    """Reduce by area average and interpolate back."""
    height, width = disparity.shape
    small = disparity[: height // factor * factor, : width // factor * factor]
    small = small.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
    return interpolated(small, disparity.shape)


def interpolated(small, shape):
    """Interpolate bilinearly; unknown where a neighbour is."""
    for axis, wanted in enumerate(shape):
        length = small.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        before = np.minimum(at.astype(int), max(length - 2, 0))
        weight = (at - before).reshape((-1, 1) if axis == 0 else (1, -1))
        after = np.minimum(before + 1, length - 1)
        small = (1 - weight) * small.take(before, axis) + weight * small.take(after, axis)
    return small.astype(np.float32)


def depth_map(disparity, kind):
    if kind == "metric":
        return DepthMap(1 / (0.1 + disparity), kind)
    return DepthMap(1 - disparity if kind == "relative" else disparity, kind)


def near_edges(disparity, reach):
    jump = np.zeros(disparity.shape, bool)
    jump[1:] |= np.abs(np.diff(disparity, axis=0)) > 0.1
    jump[:, 1:] |= np.abs(np.diff(disparity, axis=1)) > 0.1
    return binary_dilation(jump, np.ones((3, 3)), iterations=reach)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_does_what_the_slow_version_does(kind, seed):
    image, disparity = scene(48, 62, seed)
    low = smeared(disparity, 3)
    low[5:9, 30:40] = np.nan
    low[np.random.default_rng(seed).random(low.shape) < 0.1] = np.nan
    depth = depth_map(low, kind)
    expected = reference.refine_depth(depth.values, image, kind == "metric")
    assert np.mean(np.nan_to_num(expected) != np.nan_to_num(depth.values)) > 0.1
    np.testing.assert_array_equal(refine_depth(depth, image).values, expected.astype(np.float32))


def test_grey_photo_as_the_slow_version_has_it():
    image, disparity = scene(62, 45)
    low = smeared(disparity, 3)
    grey = image.mean(axis=2)
    expected = reference.refine_depth(low, grey[..., np.newaxis])
    np.testing.assert_array_equal(refine_depth(DepthMap(low, "inverse"), grey).values, expected.astype(np.float32))


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_edges_become_right(factor):
    image, disparity = scene()
    low = smeared(disparity, factor)
    refined = refine_depth(DepthMap(low, "inverse"), image).values
    near = near_edges(disparity, factor)
    before, after = (np.mean(np.abs(low - disparity)[near] > 0.05), np.mean(np.abs(refined - disparity)[near] > 0.05))
    assert before > 0.3
    assert after < 0.15 * before


def test_edge_goes_where_the_photo_has_it():
    x = np.arange(60)
    image = np.where(x < 29, 0.2, 0.8) * np.ones((40, 1))
    depth = DepthMap(np.clip((x - 24.5) / 6, 0, 1) * np.ones((40, 1)), "inverse")  # its middle is at 27.5
    assert np.all(refine_depth(depth, image).values == (x >= 29))
    assert np.all(refine_depth(depth, np.full_like(image, 0.5)).values == (x >= 28))


def test_unknown_neighbours_do_not_vote():
    x = np.arange(60)
    image = np.where(x < 29, 0.2, 0.8) * np.ones((40, 1))
    low = np.clip((x - 24.5) / 6, 0, 1) * np.ones((40, 1))
    low[[17, 23], 28] = low[[16, 24], 24] = np.nan  # one neighbour of (20, 28) is left that has its colour
    assert refine_depth(DepthMap(low, "inverse"), image).values[20, 28] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_steep_edges_alone(kind):
    image, disparity = scene()
    depth = depth_map(disparity, kind)
    assert refine_depth(depth, image) is depth


@pytest.mark.parametrize("length", [20, 40, 80, 240])
def test_leaves_slopes_alone(length):
    image, _ = scene()
    y, x = np.mgrid[:150, :240]
    for plane in (y, x, (x + y) / 2):
        depth = DepthMap(np.clip((plane - 30) / length, 0, 1), "relative")
        assert refine_depth(depth, image) is depth


@pytest.mark.parametrize(("length", "is_edge"), [(7, True), (11, True), (14, False), (30, False)])
def test_what_is_wider_than_a_48th_is_a_slope(length, is_edge):
    depth = DepthMap(np.clip((np.arange(600) - 300) / length, 0, 1) * np.ones((20, 1)), "relative")
    assert (refine_depth(depth, np.zeros((20, 600))) is not depth) == is_edge


def test_slope_beside_a_smeared_edge_is_no_staircase():
    image, disparity = scene()
    low = smeared(disparity, 4)
    refined = refine_depth(DepthMap(low, "inverse"), image).values
    far_away = ~near_edges(disparity, 12)
    np.testing.assert_array_equal(refined[far_away], low[far_away])


@pytest.mark.parametrize("kind", KINDS)
def test_twice_is_once(kind):
    image, disparity = scene()
    once = refine_depth(depth_map(smeared(disparity, 4), kind), image)
    assert refine_depth(once, image) is once


def test_unknown_depth_stays_and_does_not_count():
    image, disparity = scene()
    low = smeared(disparity, 4)
    low[60:70, 50:200] = np.nan
    filled = np.where(np.isnan(low), 0, low)
    refined = refine_depth(DepthMap(low, "inverse"), image).values
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(low))
    above = np.s_[:60]
    assert refined[above].min() == low[above].min() > filled.min()


def test_strips_and_threads_do_not_show(monkeypatch):
    image, disparity = scene()
    depth = DepthMap(smeared(disparity, 4), "inverse")
    expected = refine_depth(depth, image, threads=1).values
    monkeypatch.setattr("fastrefocus.depth.refine._STRIP", 7)
    for threads in (1, 3, None):
        np.testing.assert_array_equal(refine_depth(depth, image, threads=threads).values, expected)


def test_order_of_depth_does_not_matter():
    image, disparity = scene()
    low = np.round(smeared(disparity, 4) * 1024) / 1024  # 1 - low is exact
    inverse, relative = (refine_depth(depth_map(low, kind), image).values for kind in ("inverse", "relative"))
    undecided = np.mean(inverse != 1 - relative)
    assert undecided < 1e-3  # a vote of 0 goes to the lower value


@settings(max_examples=60)
@given(
    st.data(),
    st.sampled_from(KINDS),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=24).filter(lambda shape: shape[0] != shape[1]),
)
def test_values_are_picked_from_the_map(draw, kind, shape):
    small = draw.draw(hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32) | st.just(np.nan)))
    image = draw.draw(hnp.arrays(np.uint8, (*shape, 3)))
    depth = depth_map(np.clip(interpolated(small, shape), 0, 1), kind)
    given_values = depth.values.copy()
    refined = refine_depth(depth, image)
    assert refined.kind == kind
    assert refined.values.shape == shape
    np.testing.assert_array_equal(np.isnan(refined.values), np.isnan(depth.values))
    assert np.isin(refined.values[~np.isnan(refined.values)], depth.values).all()
    np.testing.assert_array_equal(depth.values, given_values)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale):
    image, disparity = scene()
    low = smeared(disparity, 4)
    expected = refine_depth(DepthMap(low, "inverse"), image).values
    scaled = DepthMap(low * np.float32(scale), "inverse")
    result = refine_depth(scaled, image).values / np.float32(scale)
    assert np.mean(np.abs(result - expected) > 1e-6) < 1e-3


def test_extreme_and_stray_values_do_no_harm():
    image, disparity = scene()
    low = smeared(disparity, 4)
    low[3, 5], low[90, 7] = 3e38, -3e38
    refined = refine_depth(DepthMap(low, "inverse"), image).values
    assert np.isin(refined, low).all()
    away = np.s_[25:75, 30:]
    clean = refine_depth(DepthMap(smeared(disparity, 4), "inverse"), image).values
    assert np.mean(refined[away] != clean[away]) < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (200, 1), (2, 3)])
def test_tiny_maps(shape):
    ramp = np.linspace(0.2, 1, np.prod(shape)).reshape(shape)
    for values in (ramp, np.full(shape, 0.5), np.full(shape, np.nan)):
        result = refine_depth(DepthMap(values, "metric"), np.zeros(shape, np.uint8))
        assert result.values.shape == shape


def test_takes_any_memory_layout_and_leaves_it():
    image, disparity = scene()
    depth = DepthMap(smeared(disparity, 4), "inverse")
    expected = refine_depth(depth, image).values
    turned = np.asfortranarray(image)
    turned.setflags(write=False)
    np.testing.assert_array_equal(refine_depth(depth, turned).values, expected)
    assert not expected.flags.writeable


@pytest.mark.parametrize(
    ("depth", "image", "options", "error", "message"),
    [
        (np.zeros((4, 6)), np.zeros((4, 6)), {}, TypeError, "depth must be a DepthMap, got ndarray"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.zeros((6, 4, 3)), {}, ValueError, r"\(6, 4\), got \(4, 6\)"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.zeros((4, 6), bool), {}, TypeError, "image must"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.full((4, 6), np.nan), {}, ValueError, "image must hold finite"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.zeros((0, 6)), {}, ValueError, "image must have shape"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.zeros((4, 6)), {"threads": 0}, ValueError, "threads"),
        (DepthMap(np.zeros((4, 6)), "inverse"), np.zeros((4, 6)), {"threads": 1.5}, TypeError, "threads"),
    ],
)
def test_says_what_is_wrong(depth, image, options, error, message):
    with pytest.raises(error, match=message):
        refine_depth(depth, image, **options)
