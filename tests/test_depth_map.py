import copy
import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastrefocus.depth.depth_map import DepthMap

KINDS = ["relative", "inverse", "metric"]
RANGES = {"relative": (0.0, 1.0), "inverse": (-1e6, 1e6), "metric": (0.015625, 1e6)}


@st.composite
def depth_maps(draw):
    """A map of any kind, some pixels unknown, at least one known."""
    kind = draw(st.sampled_from(KINDS))
    low, high = RANGES[kind]
    numbers = st.floats(low, high, width=32) | st.just(np.nan)
    values = draw(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=numbers))
    values[0, 0] = low if np.isnan(values).all() else values[0, 0]
    return DepthMap(values, kind)


def order(values, *, nearer):
    """-1, 0 or 1 for each pair of known pixels: which is nearer."""
    known = values[~np.isnan(values)].astype(np.float64)
    sign = {"smaller": 1, "larger": -1}[nearer]
    return np.array([sign * np.sign(a - b) for a, b in itertools.combinations(known, 2)])


@given(depth_maps())
def test_relative_is_scaled_and_keeps_the_order(depth):
    relative = depth.relative()
    known = relative.values[~np.isnan(relative.values)]
    np.testing.assert_array_equal(np.isnan(relative.values), np.isnan(depth.values))
    assert relative.kind == "relative"
    assert known.min() == 0
    assert known.max() in (0, 1)
    was = order(depth.values, nearer="larger" if depth.kind == "inverse" else "smaller")
    now = order(relative.values, nearer="smaller")
    assert (was * now >= 0).all()  # float32 may make neighbours equal, but never swaps them
    assert known.max() == was.any()


@given(depth_maps())
def test_disparity_keeps_the_order(depth):
    was = order(depth.values, nearer="larger" if depth.kind == "inverse" else "smaller")
    now = order(depth.disparity(), nearer="larger")
    assert (was * now >= 0).all()


def test_disparity_by_kind():
    values = np.array([[0.25, 0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(DepthMap(values, "relative").disparity(), [[0.75, 0.5, 0.0]])
    np.testing.assert_array_equal(DepthMap(values, "metric").disparity(), [[4.0, 2.0, 1.0]])
    inverse = DepthMap(values, "inverse")
    np.testing.assert_array_equal(inverse.disparity(), values)
    inverse.disparity()[:] = 0  # the caller's own copy
    np.testing.assert_array_equal(inverse.values, values)


def test_relative_by_kind():
    values = np.array([[0.25, 0.5, np.nan, 1.0]], np.float32)
    np.testing.assert_array_equal(DepthMap(values, "metric").relative().values, np.float32([[0, 1 / 3, np.nan, 1]]))
    np.testing.assert_array_equal(DepthMap(values, "inverse").relative().values, np.float32([[1, 2 / 3, np.nan, 0]]))
    np.testing.assert_array_equal(DepthMap(values, "relative").relative().values, np.float32([[0, 1 / 3, np.nan, 1]]))


@pytest.mark.parametrize("kind", KINDS)
def test_constant_depth_becomes_zero(kind):
    np.testing.assert_array_equal(DepthMap(np.full((1, 1), 0.5), kind).relative().values, [[0]])
    np.testing.assert_array_equal(DepthMap(np.full((2, 5), 0.5), kind).relative().values, np.zeros((2, 5)))


def test_the_whole_range_of_float32():
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(DepthMap([[-largest, 0, largest]], "inverse").relative().values, [[1, 0.5, 0]])
    smallest = np.finfo(np.float32).tiny
    assert np.isfinite(DepthMap([[smallest, largest]], "metric").disparity()).all()


def test_all_unknown_cannot_be_scaled():
    depth = DepthMap(np.full((2, 3), np.nan), "metric")
    assert np.isnan(depth.disparity()).all()
    with pytest.raises(ValueError, match="unknown"):
        depth.relative()


def test_values_are_a_read_only_copy():
    values = np.ones((3, 4), np.float32)
    depth = DepthMap(values, "metric")
    values[0, 0] = 2
    assert depth.values[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        depth.values[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        depth.kind = "inverse"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda depth: pickle.loads(pickle.dumps(depth))])
def test_a_copy_is_as_read_only_as_the_map(copied):
    depth = DepthMap([[1.0, np.nan]], "metric")
    other = copied(depth)
    assert other.kind == "metric"
    np.testing.assert_array_equal(other.values, depth.values)
    assert not other.values.flags.writeable


@pytest.mark.parametrize("values", [np.arange(1, 13, dtype=np.uint16).reshape(3, 4), np.ones((8, 6))[::2, ::3].T])
def test_any_real_array_is_taken(values):
    values = np.array(values, copy=False)
    values.setflags(write=False)
    depth = DepthMap(values, "metric")
    assert depth.values.dtype == np.float32
    assert depth.values.flags.c_contiguous
    np.testing.assert_array_equal(depth.values, values)


def test_masked_pixels_are_unknown():
    masked = np.ma.masked_greater_equal(
        [[1.0, 2.0, np.inf], [4.0, 3.0, 0.5]], 3
    )  # an infinity under the mask is no matter
    np.testing.assert_array_equal(DepthMap(masked, "metric").values, [[1, 2, np.nan], [np.nan, np.nan, 0.5]])
    whole = np.ma.masked_array(np.arange(1, 7, dtype=np.uint16).reshape(2, 3))
    np.testing.assert_array_equal(DepthMap(whole, "metric").values, whole.data)
    with pytest.raises(TypeError, match="real numbers"):
        DepthMap(whole > 3, "metric")


def test_equality_is_identity():
    depth = DepthMap([[1.0, 2.0]], "metric")
    assert depth == depth
    assert depth != DepthMap([[1.0, 2.0]], "metric")
    assert depth in {depth}


@pytest.mark.parametrize(
    ("values", "kind", "error", "message"),
    [
        ([[0.5]], "depth", ValueError, "kind must be one of"),
        ([[0.5]], None, ValueError, "kind must be one of"),
        ([[0.5, 1.5]], "relative", ValueError, r"0 \(nearest\) .. 1 \(farthest\), got 1.5 at index \(0, 1\)"),
        ([[0.5], [-0.1]], "relative", ValueError, r"got -0.1 at index \(1, 0\)"),
        ([[0.0]], "metric", ValueError, "metres and > 0, got 0"),
        ([[1e-40]], "metric", ValueError, "metres and > 0"),
        ([[-1.0]], "metric", ValueError, "metres and > 0, got -1"),
        ([[np.inf]], "metric", ValueError, "values must hold finite numbers or NaN"),
        ([0.5], "relative", ValueError, r"values must have shape \(H, W\)"),
        (np.ones((0, 3)), "relative", ValueError, r"values must have shape \(H, W\)"),
        (np.ones((2, 3, 1)), "relative", ValueError, r"values must have shape \(H, W\)"),
        (np.ones((2, 3), bool), "relative", TypeError, "values must hold real numbers"),
        (np.ones((2, 3), complex), "relative", TypeError, "values must hold real numbers"),
    ],
)
def test_wrong_arguments(values, kind, error, message):
    with pytest.raises(error, match=message):
        DepthMap(values, kind)


def test_filled_takes_the_nearest_known_value():
    depth = DepthMap([[1.0, np.nan, np.nan, 4.0], [np.nan, np.nan, 3.0, 4.0]], "metric")
    filled = depth.filled()
    assert filled.kind == "metric"
    assert not np.isnan(filled.values).any()
    assert filled.values[0, 1] == 1.0
    assert filled.values[1, 1] == 3.0
    assert filled.filled() is filled
    with pytest.raises(ValueError, match="everywhere"):
        DepthMap([[np.nan, np.nan]], "inverse").filled()
