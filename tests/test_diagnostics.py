import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fastrefocus import disk_psf, gaussian_psf, polygon_psf
from fastrefocus.deconvolution.diagnostics import correlation, destroyed_share, warn_if_not_white
from fastrefocus.errors import ResidualWarning

IMPULSE = np.ones((1, 1), np.float32)
NOISE = np.random.default_rng(0).normal(scale=0.02, size=(120, 150)).astype(np.float32)
SMOOTH = gaussian_filter(NOISE, 4)


def slow_share(psf, signal_to_noise, size=64):
    """Return the same, frequency by frequency."""
    lost, power = [], []
    rows, columns = np.indices(psf.shape)
    for u in np.fft.fftfreq(size):
        for v in np.fft.fftfreq(size):
            if 0 < u * u + v * v <= 0.25:
                power.append(1 / (u * u + v * v))
                lost.append(abs(np.sum(psf * np.exp(-2j * np.pi * (u * rows + v * columns)))) ** 2)
    power = np.array(power) * signal_to_noise / np.mean(power)
    return np.mean(np.array(lost) * power < 1)


@pytest.mark.parametrize(
    "psf", [disk_psf(6), gaussian_psf(1.2), polygon_psf(9, blades=5)], ids=["disk", "gauss", "pol"]
)
@pytest.mark.parametrize("signal_to_noise", [10, 1e4])
def test_the_share_counts_the_frequencies_below_the_noise(psf, signal_to_noise):
    assert destroyed_share(psf, signal_to_noise) == pytest.approx(slow_share(psf, signal_to_noise), abs=1e-3)


def test_the_share_grows_with_the_radius():
    shares = [destroyed_share(disk_psf(2 * radius), 1e3) for radius in (0.5, 1, 2, 3, 5, 8, 40)]
    assert shares == sorted(set(shares))
    assert 0 == shares[0] < 0.5 < shares[-1] < 1


def test_the_share_falls_with_the_signal_to_noise_ratio():
    shares = [destroyed_share(gaussian_psf(1.5), ratio) for ratio in (1, 10, 100, 1e3, 1e4, 1e6)]
    assert shares == sorted(set(shares), reverse=True)


def test_nothing_is_destroyed_without_blur_and_noise_and_all_without_signal():
    assert destroyed_share(IMPULSE, 1e12) == 0
    assert destroyed_share(IMPULSE, 0) == destroyed_share(disk_psf(5), 0) == 1


def test_a_shift_destroys_nothing():
    shifted = np.zeros((9, 9), np.float32)
    shifted[2, 7] = 1
    assert destroyed_share(shifted, 100) == destroyed_share(IMPULSE, 100)


def test_white_noise_does_not_correlate_and_what_is_smooth_does():
    assert abs(correlation(NOISE)) < 0.02
    assert correlation(SMOOTH) > 0.95
    checks = np.indices((40, 50)).sum(axis=0) % 2
    assert correlation(checks.astype(np.float32)) == pytest.approx(-1, abs=0.03)


def test_the_channels_correlation_is_weighted_by_their_variance():
    both = np.stack([NOISE, NOISE[::-1], SMOOTH * (NOISE.std() / SMOOTH.std())], axis=-1)
    assert correlation(both) == pytest.approx(1 / 3, abs=0.03)
    assert correlation(np.stack([NOISE, NOISE[::-1], 0 * SMOOTH + 5], axis=-1)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (1, 9), (9, 1), (1, 9, 3)])
def test_the_correlation_of_nothing_is_0(shape):
    assert correlation(np.zeros(shape, np.float32)) == 0


@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_a_single_row_correlates_along_itself(shape):
    line = np.linspace(0, 1, 40, dtype=np.float32).reshape(shape)
    assert 0 < correlation(line) <= 1


def test_the_warning_has_the_numbers():
    residual = SMOOTH * np.float32(0.05 / SMOOTH.std())
    with pytest.warns(ResidualWarning) as caught:
        warn_if_not_white(residual, 0.0123)
    text = str(caught[0].message)
    assert "differs from it by 0.05 (noise 0.012)" in text
    assert f"correlation of neighbours {correlation(residual):.2f}" in text
    assert "result.reblur_residual" in text


@pytest.mark.parametrize(("residual", "noise"), [(SMOOTH, 0.05), (NOISE, 0.001), (np.zeros((5, 7), np.float32), 0.0)])
def test_noise_and_what_is_less_are_not_warned_of(residual, noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_not_white(residual, noise)
