import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve, gaussian_filter
from scipy.optimize import minimize
from scipy.signal import fftconvolve

from fastrefocus import deconvolve
from fastrefocus.deconvolution import evidence, selection
from fastrefocus.deconvolution.evidence import Spectrum, fit, spectrum, transfer
from fastrefocus.deconvolution.result import psnr_db
from fastrefocus.deconvolution.selection import (
    Choice,
    Psf,
    choose_lam,
    choose_psf,
    default_candidates,
    noise_sigma,
)
from fastrefocus.light import decode
from fastrefocus.optics.psf import disk_psf, gaussian_psf, psf_of_sigma

IDENTITY = np.ones((1, 1), np.float32)


def grey(image):
    return image.astype(np.float32) / 255 if image.ndim == 2 else image.mean(axis=2, dtype=np.float32) / 255


COFFEE = grey(skimage.data.coffee())[60:340, 180:500]
CAMERA = grey(skimage.data.camera())[:320, 100:420]
ASTRONAUT = grey(skimage.data.astronaut())[:320, :320]


def noise(shape, sigma, seed=0):
    return np.random.default_rng(seed).normal(scale=sigma, size=shape).astype(np.float32)


def name(value):
    """Name a PSF of the parameters."""
    return str(value.shape) if isinstance(value, np.ndarray) else str(value)


def blurred(sharp, psf, sigma=0.005):
    """A photo blurred by a PSF, without what lies beyond its borders, and noise."""
    photo = fftconvolve(sharp, psf, mode="valid").astype(np.float32)
    return photo + noise(photo.shape, sigma)


PHOTO = blurred(COFFEE, disk_psf(5))


# The spectrum


def test_spectrum_of_white_noise_is_flat_at_its_variance():
    observed = spectrum(noise((400, 400), 0.1))
    assert observed.tile == 128
    assert observed.frequency[[0, -1]].tolist() == [2 / 128, 0.5]
    assert observed.power.shape == observed.count.shape == (4, 63)
    deviation = observed.power / 0.1**2 - 1
    assert abs(np.average(deviation, weights=observed.count)) < 0.01
    # 81 tiles that overlap by half are worth about half as many, and a window makes neighbours alike
    assert np.all(np.abs(deviation) < 6 * np.sqrt(2 * 2 * 2.25 / (81 * observed.count)))
    assert observed.contrast == pytest.approx(0.1, rel=0.01)
    assert not observed.coloured


def test_rings_and_sectors_cover_the_disk_of_frequencies_once():
    observed = spectrum(noise((64, 64), 1))
    rows, columns = np.meshgrid(np.fft.fftfreq(64, 1 / 64), np.fft.fftfreq(64, 1 / 64), indexing="ij")
    ring = np.round(np.hypot(rows, columns))
    np.testing.assert_array_equal(observed.count.sum(axis=0), [(ring == k).sum() for k in range(2, 33)])
    assert observed.share.sum() == pytest.approx(np.mean((ring >= 2) & (ring <= 32)))
    y, x = np.indices((64, 64)) * 2 * np.pi / 64
    for down, along, sector in ((0, 12, 0), (-2, 12, 0), (2, 12, 0), (8, 9, 1), (12, 0, 2), (12, 2, 2), (8, -9, 3)):
        power = spectrum(np.cos(down * y + along * x).astype(np.float32)).power
        assert np.unravel_index(power.argmax(), power.shape) == (sector, 10)  # rings count from 2


@pytest.mark.parametrize("psf", [disk_psf(7), gaussian_psf(2), np.float32([[0, 0, 0, 0.7, 0.3]])], ids=name)
def test_transfer_is_the_spectrum_of_blurred_white_noise(psf):
    white = noise((1200, 1200), 1)
    power = spectrum(fftconvolve(white, psf, mode="same").astype(np.float32)).power
    expected = transfer([psf], 128)[0]
    seen = expected > 1e-3
    np.testing.assert_allclose(power[seen], expected[seen], rtol=0.3)
    assert np.average(power[seen] / expected[seen]) == pytest.approx(1, abs=0.05)


def test_transfer_of_a_psf_that_is_wider_than_a_tile():
    psf, tile = disk_psf(45), 32
    waves = np.exp(-2j * np.pi * np.outer(np.fft.fftfreq(tile), np.arange(psf.shape[0])))
    power = np.abs(waves @ psf @ waves.T) ** 2
    for axis in (0, 1):
        power = (np.roll(power, 1, axis) + 4 * power + np.roll(power, -1, axis)) / 6
    expected = np.maximum(evidence._ring_means(power[np.newaxis])[0], 1e-12)
    np.testing.assert_allclose(transfer([psf], tile), expected, rtol=1e-9)


def test_transfer_does_not_depend_on_where_the_psf_lies():
    psf = np.pad(disk_psf(5), ((0, 6), (2, 0)))
    np.testing.assert_allclose(transfer([psf], 64), transfer([disk_psf(5)], 64), atol=1e-7)


def test_tiles_reach_the_borders_and_are_not_too_many():
    for shape, count in (((128, 128), 1), ((200, 131), 6), ((3000, 4000), 256), ((128, 9000), 16)):
        parts = list(evidence._tiles(shape, 128))
        assert len(parts) == count
        assert {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in parts} == {(128, 128)}
        assert parts[0] == (slice(0, 128), slice(0, 128))
        assert (parts[-1][0].stop, parts[-1][1].stop) == shape


def test_tiles_shrink_with_the_photo_and_the_region():
    assert spectrum(PHOTO[:71, :90]).tile == 70
    mask = np.zeros(PHOTO.shape, bool)
    mask[30:110, 40:180] = True
    assert spectrum(PHOTO, mask).tile == 80
    rows, columns = np.indices(PHOTO.shape)
    corner = (rows < 44) | (columns < 44)  # too narrow for a tile of 128 or more
    assert spectrum(PHOTO, corner).tile == 64


# The evidence


def model():
    observed = spectrum(PHOTO)
    gains = transfer([disk_psf(5), gaussian_psf(1)], observed.tile)
    return evidence._Model(observed, np.log(gains))


def test_gradient_and_jacobian_against_finite_differences():
    under_test = model()
    z = under_test.start() + 0.3 * np.random.default_rng(1).normal(size=under_test.start().shape)
    precision, descent = under_test.normal_equations(z)

    def log_power(z):
        log_signal, log_noise = under_test.unwhitened(z)
        return np.logaddexp(log_signal + under_test._log_gain, log_noise) / under_test._deviation

    step = 1e-5
    columns = []
    for i, axis in enumerate(np.eye(z.shape[-1])):
        slope = (under_test.objective(z + step * axis) - under_test.objective(z - step * axis)) / (2 * step)
        np.testing.assert_allclose(-descent[..., i], slope, rtol=1e-6, atol=1e-5)
        columns.append((log_power(z + step * axis) - log_power(z - step * axis)) / (2 * step))
    jacobian = np.stack(columns, axis=-1)
    expected = np.swapaxes(jacobian, -1, -2) @ jacobian + np.eye(z.shape[-1])
    np.testing.assert_allclose(precision, expected, rtol=1e-6, atol=1e-5)


def test_fit_is_the_minimum_that_a_general_solver_finds():
    observed = spectrum(PHOTO)
    psfs = [IDENTITY, disk_psf(5), gaussian_psf(1.5)]
    fitted = fit(observed, transfer(psfs, observed.tile))
    for i, psf in enumerate(psfs):
        total = 0.0
        for sector in range(4):
            part = Spectrum(128, observed.frequency, observed.power[[sector]], observed.count[[sector]], 1)
            single = evidence._Model(part, np.log(transfer([psf], 128))[:, [sector]])
            start = single.start()
            found = minimize(
                lambda z, single=single, start=start: (
                    single.objective(z.reshape(start.shape)).item(),
                    -single.normal_equations(z.reshape(start.shape))[1].ravel(),
                ),
                start.ravel(),
                jac=True,
            )
            precision = single.normal_equations(found.x.reshape(start.shape))[0]
            total += -found.fun - np.linalg.slogdet(precision)[1].item() / 2
        assert fitted.evidence[i] == pytest.approx(total / 2, abs=0.1)


def test_the_signals_prior_has_the_variance_of_its_process():
    observed = spectrum(PHOTO)
    basis = evidence._Model(observed, np.zeros((1, *observed.power.shape)))._basis
    x = np.log(observed.frequency / observed.frequency[0])
    process = 1.2**2 * np.array([[(1 + 3**0.5 * abs(p - q)) * np.exp(-(3**0.5) * abs(p - q)) for p in x] for q in x])
    expected = 3**2 + 0.5**2 * np.outer(x, x) + process
    np.testing.assert_allclose(basis @ basis.T, expected, atol=0.07**2)  # far below what the model leaves over


def test_fit_finds_the_noise_and_the_power_of_the_sharp_photo():
    psf = disk_psf(5)
    white = np.sqrt(0.1) * noise((400, 400), 1)
    photo = (fftconvolve(white, psf, mode="same") + noise(white.shape, 0.02, seed=1)).astype(np.float32)
    observed = spectrum(photo)
    fitted = fit(observed, transfer([psf], observed.tile))
    np.testing.assert_allclose(np.sqrt(fitted.noise), 0.02, rtol=0.05)
    seen = (fitted.gain[0] > 0.1) & (observed.count > 20)
    assert seen.sum() > 30
    np.testing.assert_allclose(fitted.signal[0][seen], 0.1, rtol=0.3)


# The choice


@pytest.mark.parametrize("sharp", [COFFEE, CAMERA], ids=["coffee", "camera"])
@pytest.mark.parametrize(
    "psf", [Psf("disk", 0.75), Psf("disk", 1.25), Psf("disk", 2.5), Psf("disk", 3.5), Psf("gaussian", 2.0)], ids=str
)
def test_disks_and_gaussians_are_recovered(sharp, psf):
    choice = choose_psf(blurred(sharp, psf_of_sigma(psf.sigma, psf.shape)))
    assert choice.psf.shape == psf.shape
    assert choice.psf.sigma == pytest.approx(psf.sigma, rel=0 if psf.shape == "disk" else 0.13)
    assert choice.noise == pytest.approx(0.005, rel=0.05)
    assert set(choice.scores) == {None, *default_candidates((128, 128))}
    assert choice.scores[choice.psf] >= max(choice.scores.values()) - 1
    assert choice.scores[choice.psf] > choice.scores[None] + 1


@pytest.mark.parametrize("sharp", [COFFEE, CAMERA, ASTRONAUT], ids=["coffee", "camera", "astronaut"])
@pytest.mark.parametrize("change", ["plain", "noisy", "halved", "flatter", "linear"])
def test_sharp_photos_are_left_alone(sharp, change):
    photo = {
        "plain": lambda x: x,
        "noisy": lambda x: x + noise(x.shape, 0.02),
        "halved": lambda x: (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4,
        "flatter": lambda x: np.round(0.3 * x * 255) / np.float32(255),
        "linear": decode,
    }[change](sharp)
    choice = choose_psf(photo)
    assert choice.psf is None
    assert choice.lam == 0
    assert choice.noise > 0
    assert len(choice.scores) > 40


@pytest.mark.parametrize("psf", [Psf("disk", 1.25), Psf("gaussian", 1.5)], ids=name)
def test_contrast_and_offset_do_not_matter(psf):
    photo = blurred(CAMERA, psf_of_sigma(psf.sigma, psf.shape))
    choice = choose_psf(photo)
    other = choose_psf(0.3 * photo + np.float32(0.3))
    assert other.psf == choice.psf
    assert other.lam == pytest.approx(0.3 * choice.lam, rel=1e-3)
    assert other.noise == pytest.approx(0.3 * choice.noise, rel=1e-3)
    np.testing.assert_allclose(list(other.scores.values()), list(choice.scores.values()), atol=0.05)


def test_only_the_region_counts():
    disk, gaussian = Psf("disk", 1.5), Psf("gaussian", 3.0)
    photo = np.where(
        np.indices(COFFEE.shape)[1] < 160,
        *(convolve(COFFEE, psf_of_sigma(psf.sigma, psf.shape)) for psf in (disk, gaussian)),
    ) + noise(COFFEE.shape, 0.003)
    left = np.indices(photo.shape)[1] < 160
    for mask, psf in ((left, disk), (~left, gaussian)):
        choice = choose_psf(photo, mask=mask)
        assert choice.psf.shape == psf.shape
        assert choice.psf.sigma == pytest.approx(psf.sigma, rel=0.1)
    assert choice != choose_psf(photo, mask=left) == choose_psf(np.where(left, photo, 7), mask=left)
    choice = choose_psf(photo, mask=left)
    chosen = psf_of_sigma(choice.psf.sigma, choice.psf.shape)
    assert choose_lam(photo, chosen, mask=left) == pytest.approx(choice.lam, rel=1e-3)


@pytest.mark.parametrize(
    "photo",
    [np.full((200, 200), 0.7, np.float32), COFFEE[:31, :200], COFFEE[:1], COFFEE[:1, :1], COFFEE[:, :1]],
    ids=["constant", "narrow", "row", "pixel", "column"],
)
def test_photos_that_say_nothing(photo):
    assert choose_psf(photo) == Choice(None, 0.0, 0.0, {})
    assert choose_lam(photo, IDENTITY) == 0
    assert noise_sigma(photo) >= 0


def test_regions_that_say_nothing():
    mask = np.zeros(PHOTO.shape, bool)
    assert choose_psf(PHOTO, mask=mask).scores == {}
    mask[::2] = True  # nowhere inside by more than its margin
    assert choose_psf(PHOTO, mask=mask).scores == {}
    flat = PHOTO.copy()
    flat[:100] = 0.5
    assert choose_psf(flat, mask=np.indices(flat.shape)[0] < 100).scores == {}


@pytest.mark.parametrize("size", [48, 64, 96])
def test_small_photos(size):
    sharp = CAMERA[40 : 44 + size, 100 : 104 + size]
    assert choose_psf(sharp).psf is None
    found = choose_psf(blurred(sharp, disk_psf(5))).psf
    assert found.shape == "disk"
    assert found.sigma == pytest.approx(1.25, abs=0.0626)  # a step of the grid


def test_white_noise_is_not_blurred():
    assert choose_psf(noise((300, 300), 0.1)).psf is None


def test_noise_free_photos():
    for psf in (Psf("disk", 1.25), Psf("gaussian", 1.5)):
        photo = blurred(CAMERA, psf_of_sigma(psf.sigma, psf.shape), sigma=0)
        choice = choose_psf(photo)
        assert choice.psf == psf
        assert 1e-7 < choice.lam < 1e-5  # small, but within the reach of float32
        assert choose_psf(0.3 * photo).lam == pytest.approx(0.3 * choice.lam, rel=0.01)


def test_the_choice_is_among_the_candidates():
    candidates = [Psf("disk", 1.0), Psf("disk", 1.25), Psf("disk", 1.5)]
    choice = choose_psf(PHOTO, candidates)
    assert choice.psf == candidates[1]
    assert list(choice.scores) == [None, *candidates]
    assert choose_psf(PHOTO, []).psf is None


def test_the_choice_is_the_same_in_every_run():
    assert choose_psf(PHOTO) == choose_psf(PHOTO.copy())


def test_the_smallest_of_the_best_ones_shape_that_is_nearly_as_plausible():
    scores = {None: -2.0, Psf("disk", 0.9): -0.5, Psf("disk", 2.0): 0.0}
    scores |= {Psf("gaussian", size): score for size, score in ((1.0, -1.1), (1.1, -0.9), (1.2, 0.1), (1.3, -0.5))}
    assert selection._smallest_plausible(scores) == Psf("gaussian", 1.1)
    assert selection._smallest_plausible(scores | {None: -0.8}) is None


def test_default_candidates_fit_the_photo():
    every = default_candidates((1000, 2000))
    assert [psf.shape for psf in every] == ["disk"] * 49 + ["gaussian"] * 21
    assert default_candidates((128, 500)) == every
    small = default_candidates((500, 32))
    assert set(small) < set(every)
    assert all(psf_of_sigma(psf.sigma, psf.shape).shape[0] <= 32 for psf in small)


# The weight of the prior


@pytest.mark.parametrize("psf", [disk_psf(5), gaussian_psf(1.5), np.pad(disk_psf(6), ((0, 4), (0, 2)))], ids=name)
@pytest.mark.parametrize("sigma", [0.002, 0.01])
def test_lam_is_near_the_oracle(psf, sigma):
    sharp = CAMERA[80:240, 80:240]
    photo = blurred(sharp, psf, sigma)
    top, left = psf.shape[0] // 2, psf.shape[1] // 2
    truth = sharp[top : 160 - top, left : 160 - left]

    def psnr(lam):
        return psnr_db(deconvolve(photo, psf, lam=lam).image[20:-20, 20:-20], truth[20:-20, 20:-20])

    lam = choose_lam(photo, psf)
    assert psnr(lam) > max(psnr(lam * factor) for factor in (0.25, 0.5, 2, 4)) - 0.3


def test_lam_of_the_choice_is_that_of_the_psf():
    choice = choose_psf(PHOTO)
    assert choose_lam(PHOTO, psf_of_sigma(choice.psf.sigma, choice.psf.shape)) == pytest.approx(choice.lam, rel=1e-3)


def test_more_noise_takes_more_of_the_prior():
    lams = [choose_lam(blurred(COFFEE, disk_psf(5), sigma), disk_psf(5)) for sigma in (0.001, 0.004, 0.016)]
    assert lams[0] < lams[1] / 3 < lams[2] / 9


# Noise that falls with the frequency


def test_noise_that_falls_with_the_frequency_is_cut_off():
    photo = blurred(CAMERA, gaussian_psf(3), sigma=0)
    rows, columns = (np.fft.fftfreq(size) for size in photo.shape)
    fall = np.maximum(np.hypot(rows[:, np.newaxis], columns), 0.02)
    photo += 0.0005 * np.fft.ifft2(np.fft.fft2(noise(photo.shape, 1)) / fall).real.astype(np.float32)
    observed = spectrum(photo)
    assert observed.coloured
    assert 0.1 < observed.frequency[-1] < 0.2
    assert observed.power.shape == observed.count.shape == (4, observed.frequency.size)
    choice = choose_psf(photo)
    assert choice.psf.shape == "gaussian"
    assert choice.psf.sigma == pytest.approx(3, rel=0.1)
    assert choice.lam == pytest.approx(0.015 * observed.contrast)
    assert choose_lam(photo, gaussian_psf(3)) == choice.lam


@pytest.mark.parametrize("psf", [IDENTITY, disk_psf(5), disk_psf(10), gaussian_psf(1), gaussian_psf(3.5)], ids=name)
@pytest.mark.parametrize("sigma", [0, 0.002, 0.01])
def test_white_noise_is_not_cut_off(psf, sigma):
    assert not spectrum(blurred(CAMERA, psf, sigma)).coloured


# After the restoration


def test_noise_sigma():
    assert noise_sigma(noise((300, 300), 0.02)) == pytest.approx(0.02, rel=0.01)
    assert noise_sigma(0.3 + noise((300, 300), 0.02)) == pytest.approx(0.02, rel=0.01)
    for sigma in (0.003, 0.02):
        assert noise_sigma(blurred(COFFEE, disk_psf(5), sigma)) == pytest.approx(sigma, rel=0.1)
    assert noise_sigma(gaussian_filter(noise((50, 50), 1), 3)) < 0.01
