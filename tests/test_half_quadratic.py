import numpy as np
import pytest
import skimage.data
from numpy.fft import fft2, ifft2
from reference import admm as reference
from scipy.signal import fftconvolve

from fastrefocus import deconvolve, disk_psf, progress
from fastrefocus.deconvolution.result import psnr_db

PSF = np.random.default_rng(0).random((5, 7))  # without any symmetry
PSF /= PSF.sum()


def photo(shape):
    """Flat patches, blurred and noisy, 0..1."""
    patches = np.kron(np.random.default_rng(1).random((5, 9)), np.ones((8, 8)))[: shape[0], : shape[1]]
    blurred = ifft2(fft2(patches) * reference.transfer_function(PSF, shape)).real
    return (blurred + np.random.default_rng(2).normal(scale=0.01, size=shape)).astype(np.float32)


def run(image, psf=PSF, **options):
    return deconvolve(image, psf, **{"method": "half-quadratic", "lam": 2e-3} | options)


def textbook(b, psf, lam):
    """Krishnan and Fergus 2009: for each beta the best w for x, then the best x for w."""
    impulse = np.zeros(b.shape)
    impulse[0, 0] = 1
    c_ft, d_ft = reference.transfer_function(psf, b.shape), fft2(reference.differences(impulse))
    x = b
    for beta in [(2 * np.sqrt(2)) ** step for step in range(6)]:
        w_ft = fft2(reference.shrink_hyper_laplacian(reference.differences(x), beta))
        right_side = np.conj(c_ft) * fft2(b) + lam * beta * np.sum(np.conj(d_ft) * w_ft, axis=0)
        x = ifft2(right_side / (np.abs(c_ft) ** 2 + lam * beta * np.sum(np.abs(d_ft) ** 2, axis=0))).real
    return x


@pytest.mark.parametrize("fft", ["pyfftw", "scipy"])
@pytest.mark.parametrize("lam", [3e-4, 2e-3, 2e-2])
@pytest.mark.parametrize("shape", [(24, 31), (40, 47), (23, 70)])
def test_half_quadratic_is_the_textbook(shape, lam, fft, monkeypatch):
    monkeypatch.setenv("FASTREFOCUS_FFT", fft)
    image = photo(shape)
    result = run(image, lam=lam, boundary="periodic")
    np.testing.assert_allclose(result.image, textbook(image.astype(float), PSF, lam), atol=1e-4)


def test_result_has_no_histories():
    image = photo((24, 31))
    result = run(image, reference=image)
    assert result.num_iter == result.objective.size == result.residual.size == result.change.size == 0
    assert result.psnr.size == 0
    assert run(image).psnr is None


def test_masked_reflects():
    image = photo((24, 31))
    np.testing.assert_array_equal(run(image).image, run(image, boundary="reflect").image)


def test_half_quadratic_sharpens_a_photo():
    camera, psf = skimage.data.camera() / 255, disk_psf(7)
    crop = np.s_[150:246, 180:310]
    sharp = camera[crop].astype(np.float32)
    blurred = (fftconvolve(camera, psf, mode="same")[crop]).astype(np.float32)
    blurred += np.random.default_rng(0).normal(scale=0.005, size=sharp.shape).astype(np.float32)
    assert psnr_db(run(blurred, psf).image, sharp) > psnr_db(blurred, sharp) + 2


@pytest.mark.parametrize("lam", [1e-50, 1e-20, 1e10, 1e29])
def test_extreme_weights_do_not_overflow(lam):
    assert np.isfinite(run(photo((24, 31)), np.full((3, 3), 1 / 9), lam=lam, boundary="periodic").image).all()


@pytest.mark.parametrize(
    "num_iter",
    [
        None,
        3,
        10,
    ],
)
def test_progress_ends_at_the_end(num_iter, monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    calls = []
    run(photo((24, 31)), num_iter=num_iter, callback=lambda *call: calls.append(call))
    assert [done for _, done, _ in calls] == [1, 2, 3, 4, 5, 6]
    assert {total for _, _, total in calls} == {6}
