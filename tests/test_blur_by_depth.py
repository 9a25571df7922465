from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import blur_by_depth as reference

from fastrefocus import PAPER_A_FIGURE_5, ThresholdBlur, blur_by_depth, gaussian_psf

H, W = 48, 65
ROWS, COLUMNS = np.mgrid[:H, :W]
PHOTO = np.stack([(7 * ROWS + 13 * COLUMNS * k + 3 * ROWS * COLUMNS) % 251 for k in (1, 2, 3)], axis=-1).astype(
    np.uint8
)
GREY = PHOTO[..., 1] / np.float32(255)
DEPTH = (COLUMNS / (W - 1) + 0.05 * np.sin(ROWS)).astype(np.float32)
FIGURE_5 = {"sigmas": PAPER_A_FIGURE_5.sigmas, "thresholds": PAPER_A_FIGURE_5.thresholds}


def test_figure_5_is_the_papers_setting():
    assert ThresholdBlur(sigmas=(2, 3, 5, 8), thresholds=(0.8, 0.83, 0.86, 0.97)) == PAPER_A_FIGURE_5


@pytest.mark.parametrize("image", [PHOTO / np.float32(255), GREY], ids=["colour", "grey"])
def test_figure_5_equals_the_papers_pseudo_code(image):
    result = blur_by_depth(image, DEPTH, **FIGURE_5)
    expected = reference.far_multiple_psf_blur(image, DEPTH, *FIGURE_5.values())
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)
    for sigma in FIGURE_5["sigmas"]:  # the reference's kernel is the library's
        np.testing.assert_allclose(reference.gaussian(sigma), gaussian_psf(sigma), atol=1e-7)


def test_figure_5_golden_values():
    result = blur_by_depth(PHOTO, DEPTH, **FIGURE_5)
    some_green = [
        [0.0, 0.0706, 0.2784, 0.4886, 0.4933, 0.4975],
        [0.4392, 0.3373, 0.4745, 0.4591, 0.4895, 0.4905],
        [0.8784, 0.6039, 0.5044, 0.4872, 0.4796, 0.4820],
    ]
    np.testing.assert_allclose(result[::16, [0, 20, 51, 54, 58, 64], 1], some_green, atol=6e-5)
    np.testing.assert_allclose(result.mean(axis=(0, 1), dtype=np.float64), [0.491628, 0.4916609, 0.4913857], atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_any_number_of_levels_and_both_sides_equal_the_pseudo_code(data):
    count = data.draw(st.integers(1, 4))
    sigmas = sorted(data.draw(st.lists(st.floats(0.05, 3), min_size=count, max_size=count)))
    limits = sorted(
        data.draw(st.lists(st.sampled_from(np.linspace(0, 1, 9)), min_size=count, max_size=count, unique=True))
    )
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    image, depth = GREY[: shape[0], : shape[1]], DEPTH[-shape[0] :, : shape[1]] * 5 % 1
    far = blur_by_depth(image, depth, sigmas=sigmas, thresholds=limits)
    np.testing.assert_allclose(far, reference.far_multiple_psf_blur(image, depth, sigmas, limits), atol=1e-6)
    near = blur_by_depth(image, depth, sigmas=sigmas, thresholds=limits[::-1], side="near")
    np.testing.assert_allclose(near, reference.near_multiple_psf_blur(image, depth, sigmas, limits[::-1]), atol=1e-6)


def test_near_is_far_of_the_negated_depth():
    far = blur_by_depth(PHOTO, DEPTH, sigmas=[1, 2], thresholds=[0.3, 0.7])
    near = blur_by_depth(PHOTO, -DEPTH, sigmas=[1, 2], thresholds=[-0.3, -0.7], side="near")
    np.testing.assert_array_equal(near, far)


def test_a_pixel_at_the_threshold_is_not_beyond_it():
    depth = np.full((H, W), 0.8)
    for side in ("far", "near"):
        np.testing.assert_array_equal(blur_by_depth(GREY, depth, sigmas=[2], thresholds=[0.8], side=side), GREY)


def test_unknown_depth_keeps_the_pixel():
    depth = np.ones((H, W))
    depth[10:20, 30:] = np.nan
    for side, threshold in (("far", 0.5), ("near", 1.5)):
        result = blur_by_depth(GREY, depth, sigmas=[2], thresholds=[threshold], side=side)
        np.testing.assert_array_equal(result[10:20, 30:], GREY[10:20, 30:])
        assert (result[:10] != GREY[:10]).all()


def test_constant_images_stay_and_inputs_are_not_changed():
    constant = np.full((H, W, 3), 0.6, np.float32)
    np.testing.assert_allclose(blur_by_depth(constant, DEPTH, **FIGURE_5), constant, atol=1e-6)
    photo, depth = PHOTO[:, ::-1], DEPTH[:, ::-1]
    photo.flags.writeable = depth.flags.writeable = False
    result = blur_by_depth(photo, depth, **FIGURE_5)
    np.testing.assert_allclose(result[:, ::-1], blur_by_depth(PHOTO, DEPTH, **FIGURE_5), atol=1e-6)
    assert not np.shares_memory(blur_by_depth(GREY, np.zeros((H, W)), **FIGURE_5), GREY)


@dataclass
class Depth:
    values: np.ndarray
    kind: str


def test_depth_map_must_grow_with_distance():
    expected = blur_by_depth(PHOTO, DEPTH, **FIGURE_5)
    np.testing.assert_array_equal(blur_by_depth(PHOTO, Depth(DEPTH, "relative"), **FIGURE_5), expected)
    with pytest.raises(ValueError, match='depth of kind "inverse"'):
        blur_by_depth(PHOTO, Depth(DEPTH, "inverse"), **FIGURE_5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": PHOTO[:0]}, ValueError, "image must have shape"),
        (
            {"image": np.full((H, W), np.nan)},
            ValueError,
            r"image must hold finite numbers .* got nan at index \(0, 0\)",
        ),
        ({"image": PHOTO > 9}, TypeError, "image must hold real numbers, got dtype bool"),
        ({"depth": DEPTH.T}, ValueError, r"depth must have the image's height and width \(48, 65\), got \(65, 48\)"),
        ({"depth": DEPTH + np.inf}, ValueError, "depth must hold finite numbers or NaN"),
        ({"depth": PHOTO}, ValueError, r"depth must have shape \(H, W\)"),
        ({"side": "behind"}, ValueError, "side must be one of 'far', 'near', got 'behind'"),
        ({"sigmas": []}, ValueError, "sigmas must hold at least one number"),
        ({"sigmas": 2}, TypeError, "sigmas must be a sequence of numbers, got 2"),
        ({"sigmas": [2]}, ValueError, "sigmas and thresholds must have the same length, got 1 and 2"),
        ({"sigmas": [0, 2]}, ValueError, r"sigmas\[0\] must be a finite number > 0 and < 512, got 0"),
        ({"sigmas": [2, 1e9]}, ValueError, r"sigmas\[1\] must be .* got 1000000000\.0"),
        ({"sigmas": ["1", "2"]}, TypeError, r"sigmas\[0\] must be a number .* got '1'"),
        ({"sigmas": [3, 2]}, ValueError, r"sigmas must go from light to deep .* got \(3\.0, 2\.0\)"),
        ({"thresholds": [0.5, np.nan]}, ValueError, r"thresholds\[1\] must be a finite number, got nan"),
        ({"thresholds": [0.5, 0.5]}, ValueError, 'thresholds must be strictly increasing for side="far"'),
        ({"thresholds": [0.4, 0.5], "side": "near"}, ValueError, 'strictly decreasing for side="near", got'),
    ],
)
def test_wrong_arguments_are_refused(changes, error, message):
    arguments = {"image": PHOTO, "depth": DEPTH, "sigmas": [1, 2], "thresholds": [0.4, 0.5]} | changes
    with pytest.raises(error, match=message):
        blur_by_depth(arguments.pop("image"), arguments.pop("depth"), **arguments)
