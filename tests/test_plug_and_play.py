import numpy as np
import pytest
import skimage.data
from numpy.fft import fft2, ifft2
from reference import joint_admm as reference
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from fastrefocus import Cancelled, deconvolve, disk_psf
from fastrefocus.arrays import fill_unknown
from fastrefocus.deconvolution.canvas import make_canvas
from fastrefocus.deconvolution.data_terms import SPLIT_PENALTY
from fastrefocus.deconvolution.plug_and_play import FIRST_SIGMA, LAM_PER_VARIANCE
from fastrefocus.deconvolution.result import psnr_db

SHAPE = (22, 31)
PSF = np.random.default_rng(0).random((5, 7)).astype(np.float32)  # without any symmetry
PSF /= PSF.sum()
MASK = np.random.default_rng(3).random(SHAPE) > 0.1
LAM = 2e-3


def smooth(plane, sigma):
    return gaussian_filter(plane, 5 * sigma, mode="wrap")


def photo(shape=SHAPE):
    patches = np.random.default_rng(1).random((shape[0] // 5 + 1, shape[1] // 5 + 1, *shape[2:]))
    sharp = np.repeat(np.repeat(patches, 5, axis=0), 5, axis=1)[: shape[0], : shape[1]]
    noise = np.random.default_rng(2).normal(scale=0.02, size=shape)
    return (gaussian_filter(sharp, (1.5, 1.5, 0)[: len(shape)]) + noise).clip(0, 1).astype(np.float32)


def run(image=None, psf=PSF, **options):
    image = photo() if image is None else image
    return deconvolve(
        image, psf, **{"method": "plug-and-play", "lam": LAM, "num_iter": 4, "denoiser": smooth} | options
    )


def textbook(image, num_iter, *, mask=None, saturation=np.inf, value_range=(-np.inf, np.inf), boundary="masked"):
    """Half-quadratic splitting; least squares by ADMM with y = c * x, three steps between two denoisings."""
    canvas = make_canvas(image.shape, PSF.shape, boundary)
    photo, weights = image[np.newaxis].astype(float), np.ones((1, *image.shape))
    known = reference.lay_out(photo, [PSF], weights, canvas.shape, trust=mask, saturation=saturation)
    z = canvas.extend(image).astype(float)
    (otf,), mu, alpha = known.otfs, SPLIT_PENALTY, 1.8
    y, dual = z, np.zeros_like(z)
    last = np.sqrt(LAM / LAM_PER_VARIANCE)
    for sigma in FIRST_SIGMA * (last / FIRST_SIGMA) ** (np.arange(num_iter) / (num_iter - 1)):
        rho = LAM / sigma**2
        for _ in range(3):
            right_side = mu * np.conj(otf) * fft2(y - dual) + rho * fft2(z)
            x = ifft2(right_side / (mu * np.abs(otf) ** 2 + rho)).real
            relaxed = alpha * ifft2(otf * fft2(x)).real + (1 - alpha) * y
            q = relaxed + dual
            y = reference.explain(q[np.newaxis, np.newaxis], known.weights, known.b, known.clipped, mu)[0, 0]
            dual = q - y
        before, z = z, np.clip(smooth(x, sigma), *value_range)
    error = reference.photo_errors(x[np.newaxis], known)[0]
    change = np.linalg.norm(canvas.crop(z - before)) / np.linalg.norm(canvas.crop(z))
    return canvas.crop(z), canvas.crop(error), change


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"boundary": "periodic"},
        {"mask": MASK},
        {"saturation": 0.7},
        {"value_range": (0.3, 0.7)},
        {"mask": MASK, "saturation": 0.7, "value_range": (0, np.inf), "boundary": "periodic"},
    ],
    ids=["masked border", "periodic", "mask", "saturation", "range", "all"],
)
@pytest.mark.parametrize("num_iter", [2, 7])
def test_plug_and_play_makes_the_textbooks_iterates(num_iter, options):
    start = photo()
    if "mask" in options:  # where the iteration starts from
        start = fill_unknown(np.where(MASK, start, np.nan), "photo")
    image, error, change = textbook(start, num_iter, **options)
    result = run(start, num_iter=num_iter, **options)
    np.testing.assert_allclose(result.image, image, atol=1e-5)
    np.testing.assert_allclose(result.reblur_residual, error, atol=1e-5)
    np.testing.assert_allclose(result.change[-1], change, rtol=1e-4)
    assert result.num_iter == result.change.size == num_iter
    assert result.objective.size == result.residual.size == 0


@pytest.mark.parametrize(("lam", "last"), [(LAM_PER_VARIANCE * 0.01**2, 0.01), (LAM_PER_VARIANCE * 0.5**2, 0.5)])
def test_denoiser_is_called_with_planes_and_falling_noise(lam, last):
    planes, sigmas = [], []

    def denoiser(plane, sigma):
        planes.append(plane)
        sigmas.append(sigma)
        return plane

    run(photo((*SHAPE, 3)), lam=lam, denoiser=denoiser, num_iter=5, threads=1)
    assert {plane.dtype for plane in planes} == {np.dtype(np.float32)}
    assert {plane.shape for plane in planes} == {make_canvas(SHAPE, PSF.shape, "masked").shape}
    assert all(isinstance(sigma, float) for sigma in sigmas)
    assert not np.array_equal(planes[0], planes[-3])  # and each call has a plane of its own
    np.testing.assert_allclose(sigmas, np.repeat(np.geomspace(max(FIRST_SIGMA, last), last, 5), 3))


def test_denoiser_may_change_its_plane_and_return_a_list():
    def careless(plane, sigma):
        result = smooth(plane, sigma).tolist()
        plane[...] = np.nan
        return result

    np.testing.assert_array_equal(run(denoiser=careless).image, run().image)


@pytest.mark.parametrize(
    "denoiser",
    [
        lambda plane, sigma: plane[1:],
        lambda plane, sigma: plane[..., np.newaxis],
        lambda plane, sigma: plane * np.nan,
        lambda plane, sigma: np.where(plane > plane.mean(), np.inf, plane),
        lambda plane, sigma: plane * np.float64(1e300),
        lambda plane, sigma: plane > 0.5,
        lambda plane, sigma: plane + 0j,
        lambda plane, sigma: None,
    ],
    ids=["shape", "axis", "NaN", "infinite", "beyond float32", "bool", "complex", "None"],
)
def test_bad_denoisers_are_refused(denoiser):
    with pytest.raises(
        ValueError, match=r"denoiser must return (values that are finite in float32|floats of shape \(28, 40\)), got "
    ):
        run(denoiser=denoiser)


@pytest.mark.parametrize("boundary", ["masked", "periodic"])
def test_the_photo_is_left_alone(boundary):
    image = photo(SHAPE)
    image.flags.writeable = False
    run(image, np.ones((1, 1)), boundary=boundary)
    run(image, boundary=boundary)


def test_many_steps_take_no_memory_before_they_are_done():
    def cancelled(stage, done, total):
        return False

    with pytest.raises(Cancelled):
        run(num_iter=10**11, callback=cancelled)


def test_errors_of_the_denoiser_reach_the_caller():
    def broken(plane, sigma):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        run(photo((*SHAPE, 3)), denoiser=broken, threads=3)


def test_built_in_denoiser_sharpens_a_noisy_photo():
    camera, psf, noise = skimage.data.camera() / 255, disk_psf(7), 0.01
    crop = np.s_[150:214, 180:270]
    sharp = camera[crop].astype(np.float32)
    blurred = fftconvolve(camera, psf, mode="same")[crop].astype(np.float32)
    blurred += np.random.default_rng(0).normal(scale=noise, size=sharp.shape).astype(np.float32)
    result = run(blurred, psf, lam=LAM_PER_VARIANCE * noise**2, denoiser=None, num_iter=None, reference=sharp)
    assert result.num_iter == result.psnr.size == 12
    assert result.psnr[-1] == pytest.approx(psnr_db(result.image, sharp))
    assert result.psnr[-1] > psnr_db(blurred, sharp) + 2


@pytest.mark.parametrize("value", [0, -0.4, 15])
@pytest.mark.parametrize(
    ("shape", "psf", "boundary"),
    [
        ((24, 31), PSF, "masked"),
        ((24, 31, 3), PSF, "periodic"),
        ((5, 7), PSF, "masked"),
        ((1, 1), [[1.0]], "masked"),
        ((9, 1, 3), [[1.0]], "masked"),
        ((1, 9), [[1.0]], "periodic"),
        ((9, 1), [[1.0]], "periodic"),
    ],
)
def test_constant_images_stay(shape, psf, boundary, value):
    image = np.full(shape, value, np.float32)
    result = run(image, psf, boundary=boundary, denoiser=None)
    assert result.image.shape == shape
    assert result.image.dtype == np.float32
    np.testing.assert_allclose(result.image, image, atol=1e-5 * max(1, abs(value)))
