"""Depth from blur and a prior: which side is decided, and what is left alone."""

import numpy as np
import pytest

import fastrefocus as fr
from fastrefocus.depth.blur_estimate import BlurEstimate
from fastrefocus.depth.depth_from_blur import depth_from_blur
from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.samples import load_sample

H, W = 40, 60
LOWER_IS_NEARER = DepthMap(np.repeat(np.linspace(1, 0, H, dtype=np.float32)[:, np.newaxis], W, axis=1), "relative")
UPPER = np.s_[: H // 2]
LOWER = np.s_[H // 2 :]


def blur(part, radius=8.0, confidence=1.0):
    values = np.full((H, W), 0.4, np.float32)
    values[part] = radius
    return BlurEstimate(values, np.full((H, W), confidence, np.float32))


def test_a_sharp_photo_leaves_the_prior():
    np.testing.assert_array_equal(depth_from_blur(blur(UPPER, 0.9), LOWER_IS_NEARER).values, LOWER_IS_NEARER.values)


def test_little_blur_is_taken_for_a_lack_of_texture():
    corner = np.s_[: H // 4, : W // 4]
    np.testing.assert_array_equal(depth_from_blur(blur(corner), LOWER_IS_NEARER).values, LOWER_IS_NEARER.values)


@pytest.mark.parametrize("confidence", [0.0, 0.35])
def test_blur_that_nobody_is_sure_of_leaves_the_prior(confidence):
    unsure = depth_from_blur(blur(UPPER, 8.0, confidence=confidence), LOWER_IS_NEARER)
    np.testing.assert_array_equal(unsure.values, LOWER_IS_NEARER.values)


def test_a_blurred_upper_half_is_the_background():
    depth = depth_from_blur(blur(UPPER), LOWER_IS_NEARER).values
    assert depth[UPPER].min() > depth[LOWER].max() + 0.3


def test_a_blurred_lower_half_is_the_foreground():
    depth = depth_from_blur(blur(LOWER), LOWER_IS_NEARER).values
    assert depth[LOWER].max() < depth[UPPER].min() - 0.3


def test_without_agreement_the_blurred_part_is_far():
    left = np.s_[:, : W // 2]
    flat = DepthMap(np.full((H, W), 0.5), "relative")
    depth = depth_from_blur(blur(left), flat).values
    assert depth[left].min() > depth[:, W // 2 :].max()


def test_what_is_sure_decides_the_side():
    estimate = blur(LOWER)
    estimate.radius[:, W // 2 :] = blur(UPPER).radius[:, W // 2 :]  # says the opposite
    estimate.confidence[:, W // 2 :] = 0.2
    depth = depth_from_blur(estimate, LOWER_IS_NEARER).values[:, : W // 2]
    assert depth[LOWER].max() < depth[UPPER].min()


def test_half_as_sure_counts_a_quarter():
    radius, confidence = np.float32([[0.5, 8, 8]]), np.float32([[1, 1, 0.5]])
    depth = depth_from_blur(BlurEstimate(radius, confidence), DepthMap([[0.5] * 3], "relative")).values
    np.testing.assert_allclose(depth, [[0, 1, 0.25]], rtol=1e-6)


@pytest.mark.parametrize("blurred_is_near", [False, True])
def test_the_outlines_of_the_photo_say_which_part_is_near(blurred_is_near):
    texture = load_sample("coffee").pixels[:240, :320].mean(axis=2)
    left = np.arange(320) < 160
    light = np.where(left, 0.1 + 0.3 * texture, 0.6 + 0.3 * texture[:, ::-1]).astype(np.float32)
    signed = np.where(left, -8 if blurred_is_near else 8, 0).astype(np.float32) * np.ones((240, 1), np.float32)
    photo = fr.render_defocus(light, signed)
    flat = DepthMap(np.full(photo.shape, 0.5), "relative")
    depth = depth_from_blur(fr.estimate_blur(photo), flat, photo).values
    assert (depth[:, :160].mean() < depth[:, 160:].mean()) == blurred_is_near


def test_the_more_blurred_the_farther():
    ramp = np.tile(np.linspace(1, 8, W, dtype=np.float32), (H, 1))
    estimate = BlurEstimate(ramp, np.ones_like(ramp))
    depth = depth_from_blur(estimate, DepthMap(np.full((H, W), 2.0), "metric")).values
    assert (np.diff(depth, axis=1) > 0).all()


def test_unknown_stays_unknown_and_the_kind_of_the_prior_does_not_matter():
    values = LOWER_IS_NEARER.values.copy()
    values[3, 5] = np.nan
    depth = depth_from_blur(blur(UPPER), DepthMap(values, "relative"))
    assert depth.kind == "relative"
    assert np.argwhere(np.isnan(depth.values)).tolist() == [[3, 5]]
    inverse = depth_from_blur(blur(UPPER), DepthMap(1 - values, "inverse"))
    np.testing.assert_allclose(inverse.values, depth.values, atol=1e-6)


@pytest.mark.parametrize(
    ("radius", "confidence", "error", "message"),
    [
        (np.ones((H, W)), np.ones((1, W)), ValueError, r"confidence must have .*\(40, 60\), got \(1, 60\)"),
        (np.ones(W), np.ones(W), ValueError, "radius must have shape"),
        (np.full((H, W), np.nan), np.ones((H, W)), ValueError, "radius must hold finite numbers"),
        (np.full((H, W), -1.0), np.ones((H, W)), ValueError, "radius must be >= 0"),
        (np.ones((H, W)), np.full((H, W), 1.5), ValueError, "confidence must be in 0..1, got 1.5 to 1.5"),
        (np.ones((H, W)), np.ones((H, W), bool), TypeError, "confidence must hold real numbers"),
    ],
)
def test_an_estimate_of_the_blur_is_checked(radius, confidence, error, message):
    with pytest.raises(error, match=message):
        BlurEstimate(radius, confidence)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="blur must be a BlurEstimate"):
        depth_from_blur(np.ones((H, W)), LOWER_IS_NEARER)
    with pytest.raises(TypeError, match="prior must be a DepthMap"):
        depth_from_blur(blur(UPPER), np.ones((H, W)))
    with pytest.raises(ValueError, match="height and width"):
        depth_from_blur(blur(UPPER), DepthMap(np.ones((3, 4)), "metric"))
    with pytest.raises(ValueError, match="image must have the height and width"):
        depth_from_blur(blur(UPPER), LOWER_IS_NEARER, np.ones((W, H)))
    with pytest.raises(TypeError, match="image"):
        depth_from_blur(blur(UPPER), LOWER_IS_NEARER, "photo.png")
