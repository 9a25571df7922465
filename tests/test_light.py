import numpy as np
import pytest

from fastrefocus.light import decode, encode, luminance

VALUES = np.linspace(-0.5, 16, 20_001, dtype=np.float32)


def srgb_to_linear(encoded):
    """IEC 61966-2-1 for one value of 0..1, float64."""
    return encoded / 12.92 if encoded <= 0.04045 else ((encoded + 0.055) / 1.055) ** 2.4


def test_decode_is_the_standards_curve():
    encoded = np.arange(256, dtype=np.float32) / np.float32(255)
    expected = [srgb_to_linear(float(value)) for value in encoded]
    np.testing.assert_allclose(decode(encoded), expected, rtol=1e-6)


@pytest.mark.parametrize(("encoded", "linear"), [(0, 0), (0.04045, 0.0031308), (0.5, 0.21404114), (1, 1)])
def test_known_values(encoded, linear):
    np.testing.assert_allclose(decode(np.float32([encoded])), linear, rtol=1e-5)
    np.testing.assert_allclose(encode(np.float32([linear])), encoded, rtol=1e-5)


def test_encode_is_the_inverse():
    np.testing.assert_allclose(encode(decode(VALUES)), VALUES, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(decode(encode(VALUES)), VALUES, rtol=5e-6, atol=1e-7)


@pytest.mark.parametrize("curve", [decode, encode])
def test_curves_are_odd_increasing_and_float32(curve):
    result = curve(VALUES)
    assert result.dtype == np.float32
    assert (np.diff(result) > 0).all()
    np.testing.assert_array_equal(curve(-VALUES), -result)
    assert curve(VALUES.reshape(3, -1)).shape == (3, 6667)


def test_luminance_weighs_red_green_and_blue_as_bt_709_does():
    colour = np.float32([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]])
    np.testing.assert_allclose(luminance(colour), [[0.2126, 0.7152, 0.0722, 1]], rtol=1e-6)
    assert luminance(VALUES.reshape(3, -1)).shape == (3, 6667)
