"""Resizing, held against scikit-image's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import resize

from fastrefocus.depth.resampling import resize_map

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([(), (3,)]))
def test_the_same_as_scikit_image(height, width, new_height, new_width, channels):
    array = np.random.default_rng(height * 41 + width).random((height, width, *channels), np.float32)
    expected = resize(array, (new_height, new_width), order=1, mode="edge", anti_aliasing=True)
    found = resize_map(array, (new_height, new_width))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=2e-6)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([1.0, 0.1, 3e38]))
def test_no_value_leaves_the_range(height, width, new_height, new_width, value):
    """Not by rounding either: depth of 1 stays in 0..1."""
    found = resize_map(np.full((height, width), value, np.float32), (new_height, new_width))
    np.testing.assert_array_equal(found, np.float32(value))


@pytest.mark.parametrize("size", [(384, 512), (224, 224), (7, 900)])
def test_a_large_photo(size):
    array = np.random.default_rng(3).random((500, 700, 3), np.float32)
    expected = resize(array, size, order=1, mode="edge", anti_aliasing=True)
    np.testing.assert_allclose(resize_map(array, size), expected, atol=2e-6)


def test_the_size_that_it_has_leaves_it_as_it_is():
    array = np.random.default_rng(3).random((5, 7), np.float32)
    np.testing.assert_array_equal(resize_map(array, (5, 7)), array)
