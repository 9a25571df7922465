"""Depth maps brought to the size of their photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrefocus as fr


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
def test_size_kind_and_range_are_right(height, width, times):
    values = np.random.default_rng(0).uniform(0.5, 2, (height, width))
    depth = fr.resize_depth(fr.DepthMap(values, "metric"), (height * times, width * times, 3))
    assert depth.kind == "metric"
    assert depth.values.shape == (height * times, width * times)
    assert depth.values.min() >= 0.999 * values.min()
    assert depth.values.max() <= 1.001 * values.max()


def test_a_map_of_that_size_is_left_alone():
    depth = fr.DepthMap([[0.0, 1.0]], "relative")
    assert fr.resize_depth(depth, (1, 2)) is depth


def test_metres_are_interpolated_in_their_reciprocals():
    depth = fr.resize_depth(fr.DepthMap([[1.0, 1e6]], "metric"), (2, 4)).values
    np.testing.assert_allclose(1 / depth[0], [1, 0.75, 0.25, 1e-6], rtol=1e-5)  # not half a million in the middle


def test_what_is_unknown_stays_so_and_does_not_spread():
    values = np.full((6, 6), 0.5)
    values[2:4, 2:4] = np.nan
    for kind in ("relative", "metric"):
        depth = fr.resize_depth(fr.DepthMap(values, kind), (12, 12)).values
        expected = np.full((12, 12), 0.5)
        expected[4:8, 4:8] = np.nan
        np.testing.assert_allclose(depth, expected)
        assert np.isnan(fr.resize_depth(fr.DepthMap(values * np.nan, kind), (12, 12)).values).all()


def test_a_map_may_be_made_smaller():
    depth = fr.resize_depth(fr.DepthMap(np.tile(np.linspace(0, 1, 60), (40, 1)), "relative"), (20, 30))
    np.testing.assert_allclose(depth.values, np.tile(np.linspace(0, 1, 60).reshape(30, 2).mean(1), (20, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "photo"), [((768, 576), (4032, 3024)), ((240, 320), (3024, 4032)), ((90, 160), (1080, 1918))]
)
def test_phones_cut_their_maps_to_whole_blocks(size, photo):
    depth = fr.DepthMap(np.zeros((size[0] // 8, size[1] // 8)), "relative")
    assert fr.resize_depth(depth, (photo[0] // 8, photo[1] // 8)).values.shape == (photo[0] // 8, photo[1] // 8)


@pytest.mark.parametrize(("size", "photo"), [((400, 20), (4000, 195)), ((160, 7), (4000, 164)), ((20, 1), (400, 28))])
def test_a_narrow_map_may_be_off_by_a_pixel_either_way_up(size, photo):
    for step in (1, -1):
        depth = fr.DepthMap(np.zeros(size[::step]), "relative")
        assert fr.resize_depth(depth, photo[::step]).values.shape == photo[::step]


def test_a_map_of_other_proportions_is_refused():
    depth = fr.DepthMap(np.zeros((60, 80)), "relative")
    with pytest.raises(ValueError, match=r"\(60, 80\) do not have the photo's proportions \(80, 60\)"):
        fr.resize_depth(depth, (80, 60))
    with pytest.raises(ValueError, match="proportions"):
        fr.resize_depth(depth, (600, 850))


@pytest.mark.parametrize("shape", [(4, 6), [4, 6, 3], np.array([4, 6]), np.zeros((4, 6)).shape])
def test_the_shape_may_be_any_sequence(shape):
    assert fr.resize_depth(fr.DepthMap(np.zeros((2, 3)), "relative"), shape).values.shape == (4, 6)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        (5, ValueError),
        ((5,), ValueError),
        ((5.0, 5), TypeError),
        ((0, 5), ValueError),
        (np.array(5), ValueError),
        (np.array([5.0, 5]), TypeError),
    ],
)
def test_arguments_are_checked(shape, error):
    with pytest.raises(error, match="shape"):
        fr.resize_depth(fr.DepthMap([[0.0]], "relative"), shape)
    with pytest.raises(TypeError, match="depth must be a DepthMap"):
        fr.resize_depth(np.zeros((2, 2)), (2, 2))
