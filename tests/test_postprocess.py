import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import postprocess_depth as reference

from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.depth.postprocess import postprocess_depth

H, W = 23, 31


@pytest.fixture
def metric():
    return np.random.default_rng(3).uniform(1, 5, (H, W)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0, 0.7, 2.0])
def test_equals_the_slow_version(metric, smoothing):
    expected = reference.median_3x3(metric)
    expected = reference.scale(reference.gaussian(expected, smoothing) if smoothing else expected)
    result = postprocess_depth(DepthMap(metric, "metric"), smoothing=smoothing)
    assert result.kind == "relative"
    np.testing.assert_allclose(result.values, expected, atol=3e-6)


def test_a_hole_takes_the_nearest_value():
    rng = np.random.default_rng(5)
    steps = np.repeat(np.repeat(rng.permutation(6).reshape(2, 3) + 1.0, 9, axis=0), 9, axis=1)  # the median keeps these
    holes = np.zeros(steps.shape, bool)
    holes[3:8, 4:14] = holes[0, 22:] = True
    values = np.where(holes, np.nan, steps)
    filled = postprocess_depth(DepthMap(values, "metric"), smoothing=0).values * 5 + 1
    for y, x in np.argwhere(holes)[::5]:
        assert np.isclose(filled[y, x], reference.nearest_known(values, y, x)).any()


def test_inverse_depth_is_turned_round(metric):
    near_is_small = postprocess_depth(DepthMap(metric, "metric")).values
    near_is_large = postprocess_depth(DepthMap(6 - metric, "inverse")).values
    np.testing.assert_allclose(near_is_large, near_is_small, atol=1e-5)


def test_outliers_do_not_govern_the_scale():
    ramp = np.repeat(np.linspace(1, 2, 100)[:, None], 80, axis=1)
    speckled = ramp.copy()
    speckled[::9, ::9] = 50  # single pixels: the median takes them
    speckled[40:46, 40:46] = 50  # 36 of 8,000 pixels: clipped by the percentile
    clean, result = (postprocess_depth(DepthMap(v, "metric"), smoothing=0).values for v in (ramp, speckled))
    same = np.ones(ramp.shape, bool)
    same[40:46, 40:46] = False
    np.testing.assert_allclose(result[same], clean[same], atol=0.02)


def test_speckle_is_removed():
    values = np.ones((9, 12))
    values[:, 6:] = 2
    values[4, 2] = 9
    result = postprocess_depth(DepthMap(values, "metric"), smoothing=0).values
    np.testing.assert_array_equal(result, np.repeat([[0] * 6 + [1] * 6], 9, axis=0))


def test_a_small_object_survives_equal_percentiles():
    values = np.full((100, 100), 5.0)
    values[50:54, 50:54] = 1
    result = postprocess_depth(DepthMap(values, "metric"), smoothing=0).values
    assert result[52, 52] == 0
    assert result[0, 0] == 1


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)),
    st.floats(0, 3),
)
def test_always_known_and_in_range(values, smoothing):
    result = postprocess_depth(DepthMap(values, "relative"), smoothing=smoothing)
    assert result.values.shape == values.shape
    assert not np.isnan(result.values).any()


def test_constant_depth_becomes_zero():
    assert not postprocess_depth(DepthMap(np.full((1, 7), 3.0), "metric")).values.any()


def test_the_extremes_of_float32():
    largest = np.finfo(np.float32).max
    result = postprocess_depth(DepthMap([[-largest, largest]], "inverse"), smoothing=0)
    np.testing.assert_array_equal(result.values, [[1, 0]])


@pytest.mark.parametrize(
    ("depth", "smoothing", "error", "message"),
    [
        (np.ones((3, 4)), 2.0, TypeError, "depth must be a DepthMap, got ndarray"),
        (DepthMap([[np.nan]], "metric"), 2.0, ValueError, "unknown"),
        (DepthMap([[1.0]], "metric"), -1.0, ValueError, "smoothing must be"),
        (DepthMap([[1.0]], "metric"), np.nan, ValueError, "smoothing must be"),
        (DepthMap([[1.0]], "metric"), "2", TypeError, "smoothing must be"),
    ],
)
def test_wrong_arguments(depth, smoothing, error, message):
    with pytest.raises(error, match=message):
        postprocess_depth(depth, smoothing=smoothing)


def test_a_measured_depth_map(shared):
    from PIL import Image

    millimetres = np.asarray(Image.open(shared / "data/rgbd/nyu_lounge/depth.png")).astype(np.float32)
    depth = DepthMap(np.where(millimetres > 0, millimetres / 1000, np.nan), "metric")
    assert np.isnan(depth.values).mean() > 0.3
    result = postprocess_depth(depth).values
    assert np.mean(result > 0.8) > 2 * np.nanmean(depth.relative().values > 0.8)
