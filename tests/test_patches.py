import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import patches as reference

from fastrefocus.native import _patches
from fastrefocus.native._patches import gather_patches

H, W = 19, 26
RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (H, W, 3), np.uint8)
MASK = RNG.random((H, W)) < 0.97
each_mask = pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])


def assert_equals_reference(image, mask, size):
    patches, positions = gather_patches(image, mask, size)
    expected_patches, expected_positions = reference.gather_patches(image, mask, size)
    assert patches.dtype == image.dtype
    assert positions.dtype == np.int32
    np.testing.assert_array_equal(patches, expected_patches, strict=True)
    np.testing.assert_array_equal(positions, expected_positions)


@each_mask
@pytest.mark.parametrize("size", [1, 3, 5, 19])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("image", [COLOUR, COLOUR[..., 0], COLOUR[..., :1], COLOUR[..., :2]], ids=np.shape)
def test_equals_sliding_window_view(image, dtype, size, mask):
    assert_equals_reference(image.astype(dtype), mask, size)


@st.composite
def small_images(draw):
    height, width = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    size = draw(st.sampled_from([s for s in (1, 3, 5, 7) if s <= min(height, width)]))
    shape = draw(st.sampled_from([(height, width), (height, width, 1), (height, width, 3)]))
    image = draw(arrays(draw(st.sampled_from([np.uint8, np.float32])), shape))
    return image, draw(st.none() | arrays(bool, (height, width), fill=st.just(True))), size


@given(small_images())
def test_small_images_equal_sliding_window_view(case):
    assert_equals_reference(*case)


def test_default_is_5_by_5_and_a_row_is_the_window_around_its_position():
    patches, positions = gather_patches(COLOUR, MASK)
    assert patches.shape == (len(positions), 75)
    for patch, (row, column) in zip(patches, positions, strict=True):
        window = np.s_[row - 2 : row + 3, column - 2 : column + 3]
        np.testing.assert_array_equal(patch.reshape(5, 5, 3), COLOUR[window])
        assert MASK[window].all()


def test_one_pixel_outside_the_mask_costs_the_patches_that_hold_it():
    mask = np.ones((H, W), bool)
    mask[0, 0] = mask[9, 12] = False
    assert len(gather_patches(COLOUR, mask)[0]) == (H - 4) * (W - 4) - 1 - 25


@pytest.mark.parametrize("mask", [np.zeros((H, W), bool), np.indices((H, W)).sum(axis=0) % 2 == 0])
def test_no_patch_inside_the_mask(mask):
    patches, positions = gather_patches(COLOUR, mask)
    assert patches.shape == (0, 75)
    assert patches.dtype == np.uint8
    assert positions.shape == (0, 2)


@pytest.mark.parametrize(
    "strided", [COLOUR[::-1, ::2], np.asfortranarray(COLOUR), COLOUR.transpose(1, 0, 2), COLOUR[..., ::2]]
)
def test_strided_and_read_only_input(strided):
    mask = np.asfortranarray(np.random.default_rng(6).random(strided.shape[:2]) < 0.97)
    image = strided.view()
    image.flags.writeable = mask.flags.writeable = False
    assert_equals_reference(image, mask, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((COLOUR.astype(np.float64),), TypeError, "image must have dtype uint8 or float32, got float64"),
        ((COLOUR.astype(">f4"),), TypeError, "image must have dtype uint8 or float32, got >f4"),
        ((COLOUR > 9,), TypeError, "image must have dtype uint8 or float32, got bool"),
        ((COLOUR[0, 0],), ValueError, r"image must have shape \(H, W\) or \(H, W, C\).* got \(3,\)"),
        ((COLOUR[..., :0],), ValueError, r"image must have shape .* got \(19, 26, 0\)"),
        ((COLOUR[:4],), ValueError, r"image of shape \(4, 26, 3\) is smaller than a patch of 5 x 5"),
        ((COLOUR, None, 21), ValueError, r"image of shape \(19, 26, 3\) is smaller than a patch of 21 x 21"),
        ((COLOUR, None, 4), ValueError, "size must be an odd int >= 1 .* got 4"),
        ((COLOUR, None, -1), ValueError, "size must be an odd int >= 1 .* got -1"),
        ((COLOUR, None, 5.0), TypeError, r"size must be an odd int >= 1, got 5\.0"),
        ((COLOUR, MASK.T), ValueError, r"mask must have the image's height and width \(19, 26\), got \(26, 19\)"),
        ((COLOUR, MASK.astype(np.uint8)), TypeError, "mask must have dtype bool, got uint8"),
    ],
)
def test_wrong_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        gather_patches(*arguments)


def test_docstring_examples():
    # doctest's own collection passes over compiled modules
    examples = doctest.DocTestParser().get_doctest(_patches.gather_patches.__doc__, {}, "gather_patches", None, 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0
