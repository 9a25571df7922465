"""Taking a restored photo only where it can be relied on."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data

from fastrefocus.deconvolution.acceptance import UNRELIABLE, accepted, unreliability

LAM = 1e-3


@pytest.fixture(scope="module")
def sharp():
    return data.camera()[100:260, 150:330].astype(np.float32) / 255


@pytest.fixture(scope="module")
def photo(sharp):
    return gaussian_filter(sharp, 1.5)


@pytest.fixture
def radius(photo):
    return np.full_like(photo, 3)


def ringing(shape):
    y, x = np.indices(shape)
    return (0.8 * np.sin(np.pi * x / 3) * np.sin(np.pi * y / 3)).astype(np.float32)


def assess(photo, restored, radius, residual=LAM):
    return unreliability(photo, restored, np.full_like(photo, residual), radius, LAM)


def local_range(plane, row, column, reach):
    part = plane[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return part.min(), part.max()


def test_a_good_result_is_kept(photo, sharp, radius):
    unreliable = assess(photo, sharp, radius)
    result = accepted(photo, sharp, radius, unreliable)
    inner = (slice(12, -12), slice(12, -12))
    assert unreliable.max() < UNRELIABLE
    assert np.abs(result - sharp)[inner].mean() < 0.05 * np.abs(photo - sharp)[inner].mean()


def test_an_overshooting_result_is_dropped_where_it_overshoots(photo, sharp, radius):
    restored, residual = sharp.copy(), np.full_like(photo, LAM)
    restored[:, :60] += ringing(photo.shape)[:, :60]
    residual[:, :60] = 40 * LAM
    unreliable = unreliability(photo, restored, residual, radius, LAM)
    result = accepted(photo, restored, radius, unreliable)
    in_range = accepted(photo, restored, radius, np.zeros_like(photo))
    np.testing.assert_allclose(result[:, :50], photo[:, :50], atol=0.02)
    np.testing.assert_allclose(result[12:-12, 110:], in_range[12:-12, 110:], atol=0.01)
    assert unreliable[:, :55].min() > UNRELIABLE
    assert unreliable[:, 110:].max() < UNRELIABLE


def test_unreliability_is_that_of_the_formula(photo, sharp, radius):
    restored = sharp + ringing(photo.shape) / 4
    residual = (restored - photo) / 10
    unreliable = unreliability(photo, restored, residual, radius, LAM)
    y, x = np.indices(photo.shape)
    for row, column in [(80, 90), (50, 40), (100, 140)]:
        window = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 8**2))
        inside = (abs(y - row) <= 32) & (abs(x - column) <= 32)
        overshoot = np.zeros(photo.shape)
        for i, j in np.argwhere(inside):
            low, high = local_range(photo, i, j, 3)
            overshoot[i, j] = max(restored[i, j] - high, low - restored[i, j], 0)
        square = {
            name: np.average(np.square(plane, dtype=np.float64)[inside], weights=window[inside])
            for name, plane in [("residual", residual), ("overshoot", overshoot), ("change", restored - photo)]
        }
        expected = (
            (np.sqrt(square["residual"]) / (5 * LAM)) ** 1.5 * (square["overshoot"] / square["change"] + 0.01) / 0.15
        )
        assert unreliable[row, column] == pytest.approx(expected, rel=1e-3)


def test_neither_overshoot_nor_residual_alone_is_held_against_a_result(photo, sharp, radius):
    assert assess(photo, sharp + ringing(photo.shape), radius).max() < UNRELIABLE
    assert assess(photo, photo, radius, residual=50 * LAM).max() < UNRELIABLE


@pytest.mark.parametrize("channels", [1, 3])
def test_radius_0_gives_the_photos_own_bits(photo, sharp, radius, channels):
    radius[30:90, 40:100] = 0
    radius[120, 120] = 0
    before, after = (np.stack([plane] * channels, axis=-1) if channels > 1 else plane for plane in (photo, sharp))
    result = accepted(before, after, radius, np.zeros_like(photo))
    np.testing.assert_array_equal(result[radius == 0], before[radius == 0])
    assert np.abs(result - before)[radius > 0].max() > 0.05
    assert result.dtype == np.float32


def test_there_is_no_seam_where_the_blur_begins(photo, sharp, radius):
    radius[:, :90] = 0
    result = accepted(photo, photo + np.float32(0.02), radius, np.zeros_like(photo))
    gain = (result - photo)[80:90, 80:110].mean(axis=0)
    assert np.diff(gain).max() < 0.02 / 2
    assert gain[-1] == pytest.approx(0.02, rel=0.01)


def test_trust_fades(radius):
    photo = np.random.default_rng(0).random(radius.shape, np.float32)
    unreliable = np.zeros_like(photo)
    unreliable[:, 90:] = 1e3
    result = accepted(photo, photo + np.float32(0.02), radius, unreliable)
    gain = (result - photo)[80] / 0.02
    assert gain[:70] == pytest.approx(1, abs=0.02)
    assert gain[88:] == pytest.approx(0, abs=0.5)
    assert gain[105:] == pytest.approx(0, abs=0.02)
    assert np.abs(np.diff(gain)).max() < 0.15


def test_the_range_is_that_of_a_square_which_holds_the_disk(photo, radius):
    radius[:, 90:] = 6.2
    result = accepted(photo, np.full_like(photo, 9), radius, np.zeros_like(photo))
    for row, column in [(0, 0), (80, 50), (100, 130), (159, 179)]:
        low, high = local_range(photo, row, column, 3 if column < 90 else 8)
        assert result[row, column] == pytest.approx(high + 0.5 * (high - low), abs=1e-5)


def test_large_radii_have_no_smaller_range_than_their_disk(photo, radius):
    result = accepted(photo, np.full_like(photo, 9), np.full_like(photo, 33), np.zeros_like(photo))
    low, high = local_range(photo, 80, 90, 33)
    assert result[80, 90] >= high + 0.5 * (high - low) - 1e-5


def test_a_constant_photo_stays_as_it_is(radius):
    flat = np.full_like(radius, 0.4)
    unreliable = unreliability(flat, flat, np.zeros_like(flat), radius, LAM)
    assert np.isfinite(unreliable).all()
    np.testing.assert_array_equal(accepted(flat, flat, radius, unreliable), flat)


@pytest.mark.parametrize("scale", [0.01, 10])
def test_contrast_does_not_matter(photo, sharp, radius, scale):
    restored = sharp + ringing(photo.shape) / 4
    scaled = unreliability(*(np.float32(scale) * a for a in (photo, restored, restored / 50)), radius, scale * LAM)
    np.testing.assert_allclose(scaled, unreliability(photo, restored, restored / 50, radius, LAM), rtol=1e-3)
