import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastrefocus import Photo
from fastrefocus.arrays import as_image, as_mask, as_plane, as_psf, as_real, join_channels, split_channels

H, W = 5, 7
GREY = np.random.default_rng(0).random((H, W)).astype(np.float32)
COLOUR = np.random.default_rng(1).random((H, W, 3)).astype(np.float32)
TERABYTES = (10**6, 10**6)  # of a zero-stride array: it takes no memory until it is copied


def huge(shape=TERABYTES, dtype=np.float64):
    return np.broadcast_to(dtype(1), shape)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@st.composite
def images(draw):
    """An image of any accepted dtype, shape, byte order and memory layout, perhaps read-only."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    shape += draw(st.sampled_from([(), (3,)]))
    dtype = np.dtype(draw(st.sampled_from(["u1", "u2", ">u2", "f2", "f4", ">f4", "f8", ">f8"])))
    elements = st.floats(-0.5, 16, width=16) if dtype.kind == "f" else None
    image = draw(arrays(dtype, shape, elements=elements))
    image = draw(st.sampled_from([image, image[::-1], image[:, ::2], np.asfortranarray(image), image.swapaxes(0, 1)]))
    image.flags.writeable = draw(st.booleans())
    return image


@settings(deadline=None)
@given(images())
def test_image_becomes_float32_of_0_to_1(image):
    before = image.copy()
    result = as_image(image)
    maximum = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    assert result.dtype == np.float32
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.shape == image.shape
    np.testing.assert_allclose(result, image.astype(np.float64) / maximum, rtol=1e-6)
    np.testing.assert_array_equal(image, before)


def test_full_scale_is_exactly_1_and_float32_is_not_copied():
    assert as_image(np.full((2, 3), 255, np.uint8)).max() == 1
    assert as_image(np.full((2, 3), 65535, np.uint16)).max() == 1
    assert as_image(COLOUR) is COLOUR
    assert as_plane(GREY, "depth") is GREY


def test_nested_lists_are_images():
    np.testing.assert_array_equal(as_image([[0.0, 0.5, 1.0]]), np.float32([[0, 0.5, 1]]))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (GREY > 0.5, TypeError, "photo must hold real numbers, got dtype bool"),
        (GREY.astype(complex), TypeError, "photo must hold real numbers, got dtype complex128"),
        (GREY.astype(object), TypeError, "photo must hold real numbers, got dtype object"),
        (None, TypeError, "photo must hold real numbers, got dtype object"),
        ("photo.png", TypeError, "photo must hold real numbers, got dtype <U9"),
        ([[0.0, 1.0], [0.0]], TypeError, "photo must be an array of numbers"),
        (np.zeros((H, W), int), TypeError, r"uint8, uint16 or float \(0..1\), got dtype int64; .* image.astype"),
        (np.zeros((H, W), np.uint32), TypeError, "got dtype uint32"),
        (GREY[0], ValueError, r"shape \(H, W\) or \(H, W, 3\) with H, W >= 1, got \(7,\)$"),
        (0.5, ValueError, r"got \(\)"),
        (GREY[:0], ValueError, r"got \(0, 7\)"),
        (COLOUR[:, :0], ValueError, r"got \(5, 0, 3\)"),
        (COLOUR[None], ValueError, r"got \(1, 5, 7, 3\)"),
        (COLOUR[..., :2], ValueError, r"got \(5, 7, 2\)$"),
        (COLOUR[..., [0, 1, 2, 0]], ValueError, r"got \(5, 7, 4\); leave the alpha channel out, .*\[..., :3\]"),
        (COLOUR[..., :1], ValueError, r"got \(5, 7, 1\); a grey image is \(H, W\)"),
        (COLOUR.transpose(2, 0, 1), ValueError, r"got \(3, 5, 7\); channels come last, .*transpose\(1, 2, 0\)"),
        (changed(GREY, (2, 3), np.nan), ValueError, r"photo must hold finite numbers .*, got nan at index \(2, 3\)"),
        (changed(COLOUR, (4, 6, 1), -np.inf), ValueError, r"got -inf at index \(4, 6, 1\)"),
        (GREY.astype(np.float64) * 1e300, ValueError, r"must hold finite numbers \(float32\), got \d.*e\+299"),
        (GREY * 255, ValueError, r"photo, a float image, must hold values of 0..1 .*; if .*, divide it by 255$"),
        (GREY * 65535, ValueError, "divide it by 65535$"),
        (GREY - 0.75, ValueError, r"at least -0.5, at most 16\), got -0.7.*; clip it with numpy.clip"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error, match=message) as raised:
        as_image(image, "photo")
    assert "photo" in str(raised.value)


def test_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=re.escape("reference must have the image's shape (5, 7, 3), got (5, 7)")):
        as_image(GREY, "reference", shape=COLOUR.shape)


def test_smallest_value_can_be_lower():
    as_image(GREY - 9, least=-10)
    with pytest.raises(ValueError, match=r"at least -10, at most 16\), got -1"):
        as_image(GREY - 11, least=-10)


@settings(deadline=None)
@given(
    arrays(st.sampled_from([np.int8, np.int64, np.uint16, np.float16, np.float64]), (2, 3), elements=st.integers(0, 99))
)
def test_plane_keeps_its_values(values):
    result = as_plane(values.T, "depth")
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, values.T)


def test_plane_may_hold_nan_where_it_may():
    depth = changed(GREY, (1, 2), np.nan)
    np.testing.assert_array_equal(as_plane(depth, "depth", nan_ok=True), depth)
    with pytest.raises(ValueError, match=r"depth must hold finite numbers .*, got nan at index \(1, 2\)"):
        as_plane(depth, "depth")
    with pytest.raises(ValueError, match=r"depth must hold finite numbers or NaN .*, got inf at index \(0, 0\)"):
        as_plane(changed(depth, (0, 0), np.inf), "depth", nan_ok=True)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (GREY > 0.5, TypeError, "depth must hold real numbers, got dtype bool"),
        (GREY.astype(complex), TypeError, "got dtype complex128"),
        (COLOUR, ValueError, r"depth must have shape \(H, W\) with H, W >= 1, got \(5, 7, 3\)"),
        (GREY[:, :0], ValueError, r"got \(5, 0\)"),
        (GREY.T, ValueError, r"depth must have the image's height and width \(5, 7\), got \(7, 5\)"),
    ],
)
def test_what_is_no_plane_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        as_plane(values, "depth", shape=COLOUR.shape)


def test_psf_is_not_normalised():
    psf = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(as_psf(psf, (3, 5)), psf)
    assert as_psf(psf).dtype == np.float32


@pytest.mark.parametrize(
    ("psf", "error", "message"),
    [
        (np.ones((3, 4)), ValueError, r"psf must be 2-D with an odd height and width .* got shape \(3, 4\)"),
        (np.ones((0, 3)), ValueError, r"got shape \(0, 3\)"),
        (np.ones(3), ValueError, r"got shape \(3,\)"),
        (np.ones((3, 3, 3)), ValueError, r"got shape \(3, 3, 3\)"),
        (np.ones((7, 3)), ValueError, r"psf of shape \(7, 3\) is larger than the image \(5, 7\)"),
        (np.zeros((3, 3)), ValueError, r"psf must have a positive sum .* got 0$"),
        (-np.ones((3, 3)), ValueError, r"got -9$"),
        (np.full((3, 3), 1e-30), ValueError, r"positive sum \(1e-10 to 1e\+10; .*, got 9e-30"),
        (np.full((3, 3), 1e30), ValueError, r"got 9e\+30"),
        (np.full((3, 3), np.nan), ValueError, r"psf must hold finite numbers .* got nan"),
        (np.ones((3, 3), bool), TypeError, "psf must hold real numbers, got dtype bool"),
    ],
)
def test_what_is_no_psf_is_refused(psf, error, message):
    with pytest.raises(error, match=message):
        as_psf(psf, COLOUR.shape)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_mask_is_true_where_it_is_not_0(dtype):
    mask = (GREY > 0.5).astype(dtype)
    result = as_mask(mask[:, ::-1], GREY.shape)
    assert result.dtype == bool
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, GREY[:, ::-1] > 0.5)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (GREY.T > 0.5, ValueError, r"mask must have the image's height and width \(5, 7\), got \(7, 5\)"),
        (GREY.T, ValueError, r"mask must have the image's height and width \(5, 7\), got \(7, 5\)"),
        (COLOUR > 0.5, ValueError, r"got \(5, 7, 3\)"),
        (changed(GREY, (0, 1), np.nan), ValueError, r"mask must hold finite numbers .* at index \(0, 1\)"),
        (GREY.astype(complex), TypeError, "mask must hold real numbers, got dtype complex128"),
        ([[True], [True, False]], TypeError, "mask must be an array of numbers"),
    ],
)
def test_what_is_no_mask_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        as_mask(mask, COLOUR.shape)


@pytest.mark.parametrize(
    "check",
    [
        lambda: as_image(huge((*TERABYTES, 4))),
        lambda: as_image(huge(), shape=(H, W)),
        lambda: as_plane(huge(), "depth", shape=(H, W)),
        lambda: as_psf(huge()),
        lambda: as_psf(huge((10**6 + 1, 10**6 + 1)), (H, W)),
        lambda: as_mask(huge(), (H, W)),
        lambda: as_mask(huge(dtype=np.bool_), (H, W)),
    ],
)
def test_a_wrong_shape_is_refused_before_anything_is_copied(check):
    with pytest.raises(ValueError, match=r"100000[01]"):
        check()


@pytest.mark.parametrize("image", [GREY, COLOUR])
def test_join_is_the_inverse_of_split(image):
    joined = join_channels(split_channels(image))
    np.testing.assert_array_equal(joined, image, strict=True)
    assert not np.shares_memory(joined, image)


@pytest.mark.parametrize(
    "check", [as_image, lambda values: as_mask(values, (2, 3)), as_psf, lambda values: as_real(values, "values")]
)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_masked_elements_are_refused_where_nothing_stands_for_unknown(check, dtype):
    with pytest.raises(ValueError, match="must not have masked elements; fill them"):
        check(np.ma.masked_equal(np.eye(2, 3).astype(dtype), 0))


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ("photo.jpg", r"; read the file first, .*read_photo"),
        (Photo(np.zeros((2, 3), np.float32)), r"; give its \.pixels"),
    ],
)
def test_what_is_no_array_but_nearly_is_told_apart(values, hint):
    with pytest.raises(TypeError, match="image must hold real numbers, got dtype .*" + hint):
        as_image(values)
