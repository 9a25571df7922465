import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrefocus import ThinLens

# K = f^2 z_f W / (2 N (z_f - f) w) = 0.05^2 * 2 * 3600 / (2 * 2 * 1.95 * 0.036) = 64.1026 px m
LENS, K = ThinLens(50, 2, 2.0), 64.1025641


@pytest.mark.parametrize(
    ("depth", "radius"), [(2, 0), (4, K / 4), (1, -K / 2), (np.inf, K / 2), (0.5, -1.5 * K), (8, 0.375 * K)]
)
def test_radius_by_hand(depth, radius):
    np.testing.assert_allclose(LENS.coc_radius(depth, 3600), radius, rtol=1e-6, atol=1e-6)


def test_focused_at_infinity():
    # K = f^2 W / (2 N w) = 0.0025 * 3600 / 0.144 = 62.5; r = -K / z
    lens = ThinLens(50, 2, np.inf)
    np.testing.assert_allclose(lens.coc_radius([1, 5, np.inf], 3600), [-62.5, -12.5, 0], rtol=1e-6)


@settings(deadline=None)
@given(
    st.floats(10, 200), st.floats(1, 22), st.floats(0.5, 50), st.floats(5, 50), st.floats(0.3, 99), st.integers(1, 9999)
)  # fmt: skip
def test_radius_equals_similar_triangles(focal_length, f_number, focus, sensor, depth, width):
    radius = ThinLens(focal_length, f_number, focus, sensor_width_mm=sensor).coc_radius(depth, width)
    image_distance = 1 / (1 / focal_length - 1 / (1000 * depth))  # mm, by the lens equation
    sensor_distance = 1 / (1 / focal_length - 1 / (1000 * focus))
    # the cone of light is the aperture wide at the lens, and a point at its tip
    diameter = focal_length / f_number * (sensor_distance - image_distance) / image_distance
    np.testing.assert_allclose(radius, diameter / 2 * width / sensor, rtol=1e-5, atol=1e-5 * width)
    assert np.sign(radius) in (np.sign(depth - focus), 0)


@pytest.mark.parametrize("focus", [0.2, 2.0, np.inf])
def test_the_radius_is_affine_in_1_over_z(focus):
    lens, depth = ThinLens(50, 2, focus), np.array([[0.3, 1, 7], [np.inf, 2, 0.06]])
    np.testing.assert_allclose(
        lens.coc_radius(depth, 900), lens.disparity_gain(900) * (1 / focus - 1 / depth), rtol=1e-6
    )
    assert LENS.disparity_gain(3600) == pytest.approx(K)
    with pytest.raises(ValueError, match="image_width must be >= 1, got 0"):
        lens.disparity_gain(0)


def test_unknown_depth_stays_unknown_and_the_shape_is_kept():
    depth = np.array([[1, np.nan, 3], [np.inf, 2, 5]], np.float16)
    radius = LENS.coc_radius(depth[:, ::-1], 3600)
    assert radius.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(radius), [[False, True, False], [False, False, False]])
    np.testing.assert_allclose(radius[1], K * np.array([0.3, 0, 0.5]), rtol=1e-6)
    assert LENS.coc_radius([], 3600).shape == (0,)
    assert LENS.coc_radius(np.uint8(4), 3600).shape == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 2, 2), ValueError, "focal_length_mm must be a finite number > 0, got 0"),
        ((50, -2, 2), ValueError, "f_number must be .* got -2"),
        ((50, 2, np.nan), ValueError, "focus_distance_m must be .* got nan"),
        ((50, np.inf, 2), ValueError, "f_number must be .* got inf"),
        ((50, 2, 2, 0), ValueError, "sensor_width_mm must be .* got 0"),
        (("50", 2, 2), TypeError, "focal_length_mm must be a number > 0, got '50'"),
        ((50, 2, np.array([2.0, 3.0])), TypeError, "focus_distance_m must be a number > 0, got array"),
        ((50, 2, 0.05), ValueError, r"focus_distance_m must be larger than the focal length \(0.05 m\), got 0.05"),
    ],
)
def test_wrong_lens_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ThinLens(*arguments)


@pytest.mark.parametrize(
    ("depth", "width", "error", "message"),
    [
        ([1, 0], 100, ValueError, r"depth_m must be > 0 \(metres\), got 0"),
        ([np.nan, -1], 100, ValueError, r"got -1\.0"),
        ([-np.inf], 100, ValueError, "got -inf"),
        ([True], 100, TypeError, "depth_m must hold real numbers, got dtype bool"),
        (["1"], 100, TypeError, "depth_m must hold real numbers"),
        ([1j], 100, TypeError, "got dtype complex128"),
        ([1], 0, ValueError, "image_width must be >= 1, got 0"),
        ([1], 10.0, TypeError, r"image_width must be an int >= 1, got 10\.0"),
    ],
)
def test_wrong_depth_is_refused(depth, width, error, message):
    with pytest.raises(error, match=message):
        LENS.coc_radius(depth, width)
