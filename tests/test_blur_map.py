"""The blur map of one photo."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import fftconvolve
from skimage import color, data

from fastrefocus.deconvolution.blur_map import _FLOOR, _RADII, _SPREAD, WINDOW, _edges, _model, estimate_blur_map
from fastrefocus.light import decode
from fastrefocus.optics.psf import disk_psf
from fastrefocus.parallel import thread_map

NOISE = 0.002
CAUTION = 0.95


def linear(photo):
    grey = photo if photo.ndim == 2 else color.rgb2gray(photo) * 255
    return decode((grey / 255).astype(np.float32))


SHARP = {
    "coffee": cache(lambda: linear(data.coffee())[:, 40:520]),
    "camera": cache(lambda: linear(data.camera())),
}


def blurred(sharp, radius):
    psf = disk_psf(2 * radius)
    clean = fftconvolve(np.pad(sharp, psf.shape[0] // 2, mode="reflect"), psf, mode="valid")
    return (clean + np.random.default_rng(0).normal(0, NOISE, clean.shape)).astype(np.float32)


def dead_leaves(shape):
    """Disks of all sizes, each in front of those before: their spectrum is near that of sharp photos."""
    rng = np.random.default_rng(0)
    y, x = np.indices(shape, np.float32)
    picture = np.full(shape, 0.5, np.float32)
    for size in 2 / rng.uniform(0.02, 1, 4000):
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        near = tuple(slice(max(int(c - size) - 1, 0), int(c + size) + 2) for c in (row, column))
        inside = (y[near] - row) ** 2 + (x[near] - column) ** 2 < size**2
        picture[near][inside] = rng.uniform(0.1, 0.9)
    return picture


@pytest.mark.parametrize("radius", [3.0, 6.0])
def test_templates_are_the_expected_periodograms_of_blurred_pictures(radius):
    size = 4 * WINDOW
    f = np.fft.fftfreq(size)
    y, x = np.meshgrid(f, f, indexing="ij")
    gradient = 4 * np.sin(np.pi * y) ** 2 + 4 * np.sin(np.pi * x) ** 2
    picture = gradient / np.maximum(y**2 + x**2, 1e-12)
    disks = [np.abs(np.fft.fft2(disk_psf(2 * radius * share), (size, size))) ** 2 for share in _SPREAD]
    leakage = np.abs(np.fft.fft2(_model().window.astype(np.float64), (size, size))) ** 2

    def expected(power):
        spread = np.fft.ifft2(np.fft.fft2(power) * np.fft.fft2(leakage)).real
        return spread[::4, ::4].ravel() @ _model().rings

    ratio = expected(picture * (np.mean(disks, axis=0) + _FLOOR)) / expected(picture * (1 + _FLOOR))
    template = _model().log_template[:, list(_RADII).index(radius)] - _model().log_template[:, 0]
    # The templates know no aliasing, which takes 6e-4 from the gain of a disk of radius 3 at the highest frequencies.
    np.testing.assert_allclose(np.exp(template), ratio, rtol=0.01, atol=7e-4)


@pytest.mark.parametrize("radius", [3, 5])
@pytest.mark.parametrize("name", SHARP)
def test_the_radius_of_a_disk_is_read(name, radius):
    estimate = estimate_blur_map(blurred(SHARP[name](), radius))
    assert np.median(estimate.radius) == pytest.approx(radius, abs=0.5)
    assert np.median(estimate.radius) == pytest.approx(CAUTION * radius, abs=0.3)
    assert estimate.noise == pytest.approx(NOISE, rel=0.3)


@pytest.mark.parametrize("radius", [8, 12])
def test_large_radii_are_read_from_the_half_size_photo(radius):
    estimate = estimate_blur_map(blurred(SHARP["camera"](), radius))
    assert np.median(estimate.radius) == pytest.approx(radius, rel=0.15)


@pytest.mark.parametrize("photo", ["coffee", "rocket", "astronaut", "leaves"])
def test_sharp_photos_have_next_to_no_blur(photo):
    sharp = {
        "coffee": SHARP["coffee"],
        "rocket": lambda: linear(data.rocket())[200:, 200:],
        "astronaut": lambda: linear(data.astronaut())[256:],
        "leaves": lambda: dead_leaves((320, 400)),
    }[photo]()
    assert (estimate_blur_map(sharp).radius > 0).mean() < 0.05


def test_half_blurred_is_told_from_half_sharp():
    sharp = dead_leaves((320, 480))
    photo = sharp.copy()
    photo[:, 240:] = blurred(sharp, 4)[:, 240:]
    radius = estimate_blur_map(photo).radius
    assert np.median(radius[:, 290:]) == pytest.approx(4, abs=0.5)
    assert (radius[:, 290:] > 0).mean() > 0.95
    assert (radius[:, :190] > 0).mean() < 0.05


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (7.0, 0.0), (1.0, 3.0), (0.5, -1.0)])
def test_contrast_and_brightness_do_not_matter(gain, offset):
    photo = blurred(SHARP["camera"](), 4)[:250, :250]
    scaled = estimate_blur_map(np.float32(gain) * photo + np.float32(offset))
    estimate = estimate_blur_map(photo)
    assert (np.abs(scaled.radius - estimate.radius) > 0.3).mean() < 0.01
    assert scaled.noise == pytest.approx(gain * estimate.noise, rel=0.02)


def test_transposition_does_not_matter():
    photo = blurred(SHARP["camera"](), 4)[:400]
    radius = estimate_blur_map(photo).radius
    turned = estimate_blur_map(np.ascontiguousarray(photo.T)).radius
    assert np.abs(turned.T - radius).mean() < 0.15


def test_threads_do_not_change_a_bit():
    photo = blurred(SHARP["camera"](), 4)[:300]
    alone = estimate_blur_map(photo)
    with thread_map(3, 100) as run:
        together = estimate_blur_map(photo, run=run)
    np.testing.assert_array_equal(together.radius, alone.radius)
    assert together.noise == alone.noise


def test_bands_leave_no_seam():
    level = blurred(SHARP["camera"](), 2)[:250, :300]
    whole = _edges(level, range(16), NOISE**2)
    parts = [_edges(level, range(top, min(top + 3, 16)), NOISE**2) for top in range(0, 16, 3)]
    assert (whole > 0).any()
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (WINDOW, 400), (400, WINDOW), (2, 3)])
def test_photos_smaller_than_a_window_say_nothing(shape):
    photo = np.random.default_rng(0).random(shape, np.float32)
    estimate = estimate_blur_map(photo)
    np.testing.assert_array_equal(estimate.radius, np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(WINDOW + 1, WINDOW + 1), (67, 401), (131, 130), (250, 131)])
def test_any_larger_size_will_do(shape):
    estimate = estimate_blur_map(blurred(SHARP["camera"](), 4)[: shape[0], : shape[1]])
    assert estimate.radius.shape == shape
    assert estimate.radius.dtype == np.float32
    assert np.isfinite(estimate.radius).all()
    assert estimate.radius.min() >= 0


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5])
def test_constant_photos_say_nothing(level):
    photo = np.full((200, 300), level, np.float32)
    estimate = estimate_blur_map(photo)
    np.testing.assert_array_equal(estimate.radius, 0 * photo)
    assert estimate.noise == 0


def test_rounding_says_nothing():
    photo = np.where(
        np.random.default_rng(0).random((200, 300)) < 0.5, np.nextafter(np.float32(0.1), 1), np.float32(0.1)
    )
    assert estimate_blur_map(photo.astype(np.float32)).noise == 0


@pytest.mark.parametrize("longest_side", [2048, 200])
def test_noise_alone_says_nothing(monkeypatch, longest_side):
    monkeypatch.setattr("fastrefocus.deconvolution.blur_map._LONGEST_SIDE", longest_side)
    photo = (0.5 + 0.02 * np.random.default_rng(0).standard_normal((300, 400))).astype(np.float32)
    estimate = estimate_blur_map(photo)
    np.testing.assert_array_equal(estimate.radius, 0 * photo)
    assert estimate.noise == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    "make",
    [
        lambda y, x: x > 150,
        lambda y, x: (x == 100) & (y == 100),
        lambda y, x: x / 300,
        lambda y, x: (y // 8 + x // 8) % 2,
        lambda y, x: np.where(x > 150, 1e-30, 0),
        lambda y, x: np.where(y > 80, 15.9, -0.4),
    ],
    ids=["step", "point", "ramp", "chequers", "tiny", "large"],
)
def test_generated_pictures_never_give_nan(make):
    y, x = np.indices((200, 300))
    estimate = estimate_blur_map(make(y, x).astype(np.float32))
    assert np.isfinite(estimate.radius).all()
    assert np.isfinite(estimate.noise)


def test_a_photo_of_twice_the_size_has_twice_the_radius(monkeypatch):
    small = blurred(SHARP["camera"](), 4)[100:400]
    large = np.kron(small, np.ones((2, 2), np.float32))
    monkeypatch.setattr("fastrefocus.deconvolution.blur_map._LONGEST_SIDE", 600)
    expected = 2 * estimate_blur_map(small).radius
    radius = estimate_blur_map(large).radius
    assert radius.shape == large.shape
    level = (expected > 0) & (ndimage.maximum_filter(expected, 3) - ndimage.minimum_filter(expected, 3) < 0.5)
    for pixels in (radius[::2, ::2], radius[1::2, 1::2]):
        np.testing.assert_allclose(pixels[level], expected[level], atol=0.2)


def test_the_half_size_photo_agrees_where_both_can_tell():
    photo = blurred(SHARP["camera"](), 5)
    half = photo.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert 2 * np.median(estimate_blur_map(half).radius) == pytest.approx(
        np.median(estimate_blur_map(photo).radius), abs=0.7
    )


def test_progress_rises_to_1():
    told = []
    estimate_blur_map(SHARP["coffee"](), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
