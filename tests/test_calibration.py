import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from fastrefocus import disk_psf, fit_disk_psf
from fastrefocus.light import decode, encode

H, W = 60, 75


def texture(seed):
    noise = np.random.default_rng(seed).random((H, W))
    return (0.1 + 0.8 * (gaussian_filter(noise, 0.7) > 0.5)).astype(np.float32)


GREY = texture(0)
COLOUR = np.stack([texture(seed) for seed in range(3)], axis=-1)


def defocus(image, diameter):
    psf = disk_psf(diameter)
    return convolve(image, psf if image.ndim == 2 else psf[..., np.newaxis], mode="mirror")


@pytest.mark.parametrize("diameter", [1, 2, 5, 8, 12])
@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_finds_the_diameter(image, diameter):
    fit = fit_disk_psf(image, defocus(image, diameter), max_diameter=12, linearize=False)
    assert fit.diameter == diameter
    np.testing.assert_array_equal(fit.psf, disk_psf(diameter))
    assert fit.residuals.shape == (12,)
    assert fit.residuals.dtype == np.float64
    assert fit.residuals.argmin() == diameter - 1
    assert fit.residuals.min() < 1e-6


def test_residual_is_the_root_mean_square_over_the_inner_pixels():
    fit = fit_disk_psf(COLOUR, defocus(COLOUR, 7), max_diameter=9, linearize=False)
    for diameter in (1, 4, 9):
        difference = (defocus(COLOUR, diameter) - defocus(COLOUR, 7))[4:-4, 4:-4]
        np.testing.assert_allclose(fit.residuals[diameter - 1], np.sqrt(np.mean(difference**2)), rtol=1e-4)


def test_what_lies_outside_the_photo_does_not_matter():
    blurred = defocus(GREY, 9)
    blurred[:4], blurred[-4:], blurred[:, :4], blurred[:, -4:] = 1, 0, 1, 0
    assert fit_disk_psf(GREY, blurred, max_diameter=9, linearize=False).residuals[8] < 1e-6


def test_light_is_linearized_unless_told_not_to():
    blurred = encode(defocus(decode(COLOUR), 9))
    assert fit_disk_psf(COLOUR, blurred, max_diameter=13).diameter == 9
    assert fit_disk_psf(COLOUR, blurred, max_diameter=13).residuals[8] < 1e-6
    assert fit_disk_psf(COLOUR, blurred, max_diameter=13, linearize=False).residuals[8] > 0.01


def test_noise_and_8_bits_do_not_disturb_it():
    noise = np.random.default_rng(9).normal(scale=0.02, size=COLOUR.shape)
    blurred = encode(defocus(decode(COLOUR), 6)) + noise
    as_stored = np.round(255 * blurred.clip(0, 1)).astype(np.uint8)
    fit = fit_disk_psf(np.round(255 * COLOUR).astype(np.uint8), as_stored, max_diameter=13)
    assert fit.diameter == 6


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((GREY, COLOUR), {}, ValueError, r"defocused must have the image's shape \(60, 75\), got \(60, 75, 3\)"),
        ((GREY, GREY.T), {}, ValueError, r"defocused must have the image's shape \(60, 75\), got \(75, 60\)"),
        ((np.full_like(GREY, np.nan), GREY), {}, ValueError, "focused must hold finite numbers"),
        ((GREY, GREY > 0.5), {}, TypeError, "defocused must hold real numbers, got dtype bool"),
        ((GREY[:0], GREY[:0]), {}, ValueError, "focused must have shape"),
        ((GREY, GREY), {"max_diameter": 0}, ValueError, "max_diameter must be >= 1, got 0"),
        ((GREY, GREY), {"max_diameter": 9.0}, TypeError, "max_diameter must be an int >= 1"),
        ((GREY, GREY), {"max_diameter": 60}, ValueError, r"max_diameter must be smaller than the image \(60, 75\)"),
        ((GREY[:9], GREY[:9]), {}, ValueError, r"smaller than the image \(9, 75\), got 31"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fit_disk_psf(*arguments, **options)
