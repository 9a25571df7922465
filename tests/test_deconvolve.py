import itertools
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from reference import admm as reference
from scipy.signal import fftconvolve

from fastrefocus import Cancelled, DeconvolutionResult, PsfGrid, deconvolve, disk_psf, gaussian_psf
from fastrefocus.deconvolution.canvas import filter_canvas, make_canvas
from fastrefocus.deconvolution.filters import SMALLEST_TRANSFER
from fastrefocus.deconvolution.result import psnr_db
from fastrefocus.errors import ConvergenceWarning

RNG = np.random.default_rng(0)
PSF = RNG.random((5, 7))  # without any symmetry, so that a flipped or conjugated transfer function shows
PSF /= PSF.sum()
MILD_PSF = np.array([[0, 0.05, 0], [0.1, 0.7, 0.02], [0.03, 0.1, 0]])  # its transfer function is at least 0.4
IMPULSE = np.ones((1, 1))
METHODS = ("admm-tv", "plug-and-play", "half-quadratic", "wiener", "inverse")


def blocks(shape):
    """A picture of flat patches with sharp edges, 0..1."""
    small = np.random.default_rng(1).random((-(-shape[0] // 8), -(-shape[1] // 8)))
    return np.kron(small, np.ones((8, 8)))[: shape[0], : shape[1]]


def blur_periodically(image, psf):
    return np.fft.ifft2(np.fft.fft2(image) * reference.transfer_function(psf, image.shape)).real


def blurred(shape, psf=PSF, noise=0.01):
    sharp = blocks(shape)
    return (blur_periodically(sharp, psf) + np.random.default_rng(2).normal(scale=noise, size=shape)).astype(np.float32)


GREY = blurred((24, 31))
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def run(image=GREY, psf=PSF, **options):
    return deconvolve(image, psf, **{"lam": 0.01, "num_iter": 5, "tol": 0} | options)


def assert_same_bits(result, other):
    for name in ("image", "objective", "residual", "change", "reblur_residual"):
        np.testing.assert_array_equal(getattr(result, name), getattr(other, name))


# ADMM against the textbook


@pytest.mark.parametrize("fft", ["pyfftw", "scipy"])
@pytest.mark.parametrize("relaxation", [1, 1.8])
@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("shape", [(37, 52), (40, 47), (23, 70)])  # 70 columns are more than one block of the spectrum
def test_admm_makes_the_textbooks_iterates(shape, tv, relaxation, fft, monkeypatch):
    monkeypatch.setenv("FASTREFOCUS_FFT", fft)
    image, lam, rho = blurred(shape), 2e-3, 0.03
    options = {"rho": rho, "tv": tv, "relaxation": relaxation, "boundary": "periodic", "tol": 0}
    for num_iter in (1, 2, 3, 25):
        textbook = reference.deconvolve(
            image.astype(float), PSF, lam, rho, num_iter, alpha=relaxation, isotropic=tv == "isotropic"
        )
        result = deconvolve(image, PSF, lam=lam, num_iter=num_iter, **options)
        np.testing.assert_allclose(result.image, textbook.x, atol=5e-6)
        np.testing.assert_allclose(result.objective, textbook.objective, rtol=1e-6)
        np.testing.assert_allclose(result.residual, textbook.residual, rtol=1e-4)
        assert result.num_iter == num_iter


def test_admm_comes_to_the_minimum():
    image, lam = blurred((37, 52)), 5e-3
    textbook = reference.deconvolve(image.astype(float), PSF, lam, 25 * lam, 1500, alpha=1.8, isotropic=True)
    result = deconvolve(image, PSF, lam=lam, num_iter=150, tol=0, boundary="periodic")
    assert result.objective[0] > 1.05 * textbook.objective[-1]
    np.testing.assert_allclose(result.objective[-1], textbook.objective[-1], rtol=1e-4)


def test_default_penalty_is_16_lam_and_doubles():
    assert_same_bits(run(lam=0.02, num_iter=14), run(lam=0.02, num_iter=14, rho=0.32))
    doubled, constant = (run(lam=0.02, num_iter=16, rho=rho) for rho in (None, 0.32))
    np.testing.assert_array_equal(doubled.objective[:15], constant.objective[:15])
    assert doubled.objective[15] != constant.objective[15]


def test_penalty_stays_where_something_is_clipped():
    options = {"boundary": "masked", "saturation": 0.8, "num_iter": 20}
    assert (GREY >= 0.8).any()
    assert_same_bits(run(lam=0.02, **options), run(lam=0.02, rho=0.32, **options))


@pytest.mark.parametrize(
    ("lam", "rho"), [(1e-24, 1), (1e-3, 1e20), (1e3, 1e-30), (1, 1e-45), (1e-50, None), (1e29, None)]
)
@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
def test_extreme_weights_do_not_overflow(tv, lam, rho):
    image = np.full((24, 31), 0.5)
    image[:10] = 1
    assert np.isfinite(run(image, gaussian_psf(1), lam=lam, rho=rho, tv=tv).image).all()


@pytest.mark.parametrize("method", METHODS[:-1])
def test_exact_zeros_of_the_psf_are_not_divided_by(method):
    image, psf = np.tile(np.sin(np.arange(32)) ** 2, (8, 1)), [[0.5, 0, 0.5]]  # the cosine is 0 at 8 / 32
    assert np.isfinite(run(image, psf, lam=1e-50, method=method, boundary="periodic").image).all()


@pytest.mark.parametrize("boundary", ["masked", "reflect", "periodic"])
@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic"])
def test_priors_fill_in_what_a_box_has_taken_from_the_spectrum(method, boundary):
    sharp, box = blocks((24, 36)), np.full((3, 3), 1 / 9)
    assert np.abs(reference.transfer_function(box, sharp.shape)).min() < 1e-12
    image = blurred(sharp.shape, box, noise=1e-3)
    result = run(image, box, method=method, lam=1e-3, boundary=boundary, num_iter=150)
    before, after = (np.abs(i - sharp)[4:-4, 4:-4].mean() for i in (image, result.image))
    assert after < 0.5 * before


# Canvas: the transfer function, its adjoint, and the borders


@pytest.mark.parametrize("boundary", ["masked", "periodic", "reflect"])
@pytest.mark.parametrize("shape", [(24, 31), (7, 70), (5, 7)])
def test_otf_is_the_spectrum_of_the_centred_psf(shape, boundary):
    canvas = make_canvas(shape, PSF.shape, boundary)
    expected = reference.transfer_function(PSF, canvas.shape)[:, : canvas.shape[1] // 2 + 1].T
    np.testing.assert_allclose(canvas.otf(PSF.astype(np.float32)), expected, atol=1e-6)


def test_conjugate_of_the_otf_is_the_adjoint():
    canvas = make_canvas((24, 31), PSF.shape, "periodic")
    x, y = RNG.normal(size=(2, 24, 31)).astype(np.float32)
    otf = canvas.otf(PSF.astype(np.float32))
    left = np.sum(filter_canvas(x, otf) * y, dtype=np.float64)
    right = np.sum(x * filter_canvas(y, otf.conj()), dtype=np.float64)
    np.testing.assert_allclose(left, right, rtol=1e-5)
    assert abs(left) > 0.1


@pytest.mark.parametrize("shape", [(24, 31), (1, 9), (9, 1), (1, 1), (5, 7)])
def test_periodic_canvas_is_the_image_and_reflect_surrounds_it(shape):
    image = GREY[: shape[0], : shape[1]]
    np.testing.assert_array_equal(make_canvas(shape, (1, 1), "periodic").extend(image), image)
    canvas = make_canvas(shape, (5, 7), "reflect")
    assert all(n >= m + 2 * k and n % 4 == 0 for n, m, k in zip(canvas.shape, shape, (5, 7), strict=True))
    extended = canvas.extend(image)
    assert extended.shape == canvas.shape
    assert extended.flags.c_contiguous
    np.testing.assert_array_equal(canvas.crop(extended), image)
    assert image.min() - 1e-6 <= extended.min() <= extended.max() <= image.max() + 1e-6


@pytest.mark.parametrize("psf_shape", [(1, 1), (3, 9), (5, 7)])
@pytest.mark.parametrize("shape", [(24, 31), (9, 9), (5, 70)])
def test_masked_canvas_counts_what_the_psf_reaches_on_either_side(shape, psf_shape):
    canvas = make_canvas(shape, psf_shape, "masked")
    for axis, (size, length, n) in enumerate(zip(canvas.shape, shape, psf_shape, strict=True)):
        assert size >= length + n - 1
        assert size % 4 == 0
        differences, pixels = canvas.counted(axis)
        side = np.zeros(size, int)  # 1 in the image and after it, 2 before it, 0 what no PSF reaches
        side[: length + n // 2] = 1
        side[size - n // 2 :] = 2
        np.testing.assert_array_equal(pixels, side > 0)
        for i in range(size - 1):
            assert differences[i] == (side[i] == side[i + 1] > 0)
        assert differences[-1] == (n > 1)
    for boundary in ("periodic", "reflect"):
        assert all(make_canvas(shape, psf_shape, boundary).counted(axis).all() for axis in (0, 1))


def test_the_seam_is_continuous():
    height, width = 40, 57
    rows, columns = np.mgrid[:height, :width]
    ramp = (rows / height + columns / width).astype(np.float32) / 2
    extended = make_canvas(ramp.shape, (9, 9), "reflect").extend(ramp)
    for axis in (0, 1):
        steps = np.abs(np.diff(extended, axis=axis, append=extended.take([0], axis=axis)))  # also where it wraps
        assert steps.max() < 0.07  # half the range over a seam of 20 or so; a torn seam jumps by 0.5
        np.testing.assert_allclose(
            extended.take(ramp.shape[axis], axis=axis), extended.take(ramp.shape[axis] - 1, axis=axis), atol=0.01
        )
        np.testing.assert_allclose(extended.take(-1, axis=axis), extended.take(0, axis=axis), atol=0.01)


@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic", "wiener"])
def test_estimated_beats_reflected_beats_periodic_on_a_photo_that_goes_on_outside(method):
    photo, psf = skimage.data.camera() / 255, disk_psf(7)
    crop = np.s_[150:246, 180:310]
    noise = np.random.default_rng(0).normal(scale=0.005, size=(96, 130))
    image, sharp = fftconvolve(photo, psf, mode="same")[crop] + noise, photo[crop].astype(np.float32)
    scores = {
        b: psnr_db(deconvolve(image, psf, lam=3e-3, boundary=b, method=method).image, sharp)
        for b in ("masked", "reflect", "periodic")
    }
    assert scores["reflect"] > scores["periodic"] + 5
    assert scores["reflect"] > psnr_db(image.astype(np.float32), sharp) + 2
    if method == "admm-tv":
        assert scores["masked"] > scores["reflect"] + 0.3
    else:  # which cannot leave pixels out
        assert scores["masked"] == scores["reflect"]


# Direct filters


@pytest.mark.parametrize("lam", [1e-3, 0.1])
def test_wiener_is_its_formula(lam):
    c, b = reference.transfer_function(PSF, GREY.shape), np.fft.fft2(GREY)
    expected = np.fft.ifft2(np.conj(c) * b / (np.abs(c) ** 2 + lam)).real
    result = run(method="wiener", lam=lam, boundary="periodic", reference=GREY)
    np.testing.assert_allclose(result.image, expected, atol=1e-5)
    assert result.num_iter == result.objective.size == result.residual.size == result.psnr.size == 0


@pytest.mark.parametrize(
    "psf",
    [PSF, np.full((3, 3), 1 / 9), np.array([[0.249875, 0.50025, 0.249875]])],
    ids=["all kept", "exact zeros", "0.0005 at Nyquist"],
)
def test_inverse_is_its_formula(psf):
    image = blurred((24, 36), psf)
    c, b = reference.transfer_function(psf, image.shape), np.fft.fft2(image)
    kept = np.abs(c) > SMALLEST_TRANSFER
    assert kept.all() == (psf is PSF)
    expected = np.fft.ifft2(np.where(kept, b / np.where(kept, c, 1), 0)).real
    result = run(image, psf, method="inverse", lam=None, boundary="periodic")
    np.testing.assert_allclose(result.image, expected, atol=2e-5)
    assert result.lam == 0


@pytest.mark.parametrize(
    ("method", "lam", "atol"), [("inverse", None, 2e-6), ("wiener", 1e-9, 2e-6), ("admm-tv", 1e-7, 1e-5)]
)
@pytest.mark.parametrize("shape", [(24, 31), (1, 31), (31, 1)])
def test_without_noise_and_zeros_the_image_comes_back(shape, method, lam, atol):
    psf = MILD_PSF[: min(3, shape[0] + 2), : min(3, shape[1] + 2)]
    psf = psf if min(shape) > 1 else [[0.1, 0.7, 0.2]] if shape[0] == 1 else [[0.1], [0.7], [0.2]]
    image = blurred(shape, np.array(psf), noise=0)
    result = run(image, psf, method=method, lam=lam, boundary="periodic", num_iter=200)
    np.testing.assert_allclose(result.image, blocks(shape), atol=atol)


@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic"])
def test_without_noise_the_image_comes_back_but_for_the_unknown_border(method):
    sharp = blocks((40, 57))
    image = fftconvolve(np.pad(sharp, 1, mode="reflect"), MILD_PSF, mode="valid")
    result = run(image, MILD_PSF, method=method, lam=1e-7, num_iter=200)
    np.testing.assert_allclose(result.image[6:-6, 6:-6], sharp[6:-6, 6:-6], atol=1e-3)


@pytest.mark.parametrize("boundary", ["masked", "reflect", "periodic"])
@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic", "wiener", "inverse"])
def test_psf_off_its_centre_shifts_the_image_back(method, boundary):
    impulse = np.zeros((5, 7))
    impulse[1, 5] = 1  # one up, two to the right
    sharp = blocks((24, 31))
    lam = None if method == "inverse" else 1e-7
    image = np.roll(sharp, (-1, 2), axis=(0, 1))
    result = run(image, impulse, method=method, lam=lam, boundary=boundary, num_iter=150)
    np.testing.assert_allclose(result.image[4:-4, 4:-4], sharp[4:-4, 4:-4], atol=1e-4)
    np.testing.assert_allclose(result.reblur_residual, 0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_reblur_residual_is_that_of_the_image(method):
    lam, boundary = None if method == "inverse" else 1e-2, "periodic"
    denoiser = {"denoiser": lambda plane, sigma: plane} if method == "plug-and-play" else {}
    result = run(COLOUR, method=method, lam=lam, boundary=boundary, **denoiser)
    again = np.stack([blur_periodically(result.image[..., i], PSF) for i in range(3)], axis=-1)
    np.testing.assert_allclose(result.reblur_residual, again - COLOUR, atol=1e-5)


# Any image


@pytest.mark.parametrize("boundary", ["masked", "periodic", "reflect"])
@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic", "wiener", "inverse"])
@pytest.mark.parametrize(
    ("shape", "psf"),
    [
        ((24, 31, 3), PSF),
        ((5, 7), PSF),
        ((1, 1), IMPULSE),
        ((1, 9), IMPULSE),
        ((9, 1, 3), IMPULSE),
        ((1, 9), PSF[:1] / PSF[:1].sum()),
    ],
)
@pytest.mark.parametrize("value", [0, 0.6, -0.4, 15])
def test_constant_images_stay(shape, psf, method, boundary, value):
    image = np.full(shape, value, np.float32)
    lam = {"admm-tv": 0.01, "half-quadratic": 0.01, "wiener": 1e-12, "inverse": None}[method]
    result = run(image, psf, method=method, lam=lam, boundary=boundary)
    assert result.image.dtype == np.float32
    assert result.image.shape == shape
    np.testing.assert_allclose(result.image, image, atol=1e-5 * max(1, abs(value)))
    assert np.isfinite(result.objective).all()
    assert np.isfinite(result.residual).all()


@pytest.mark.parametrize("method", METHODS)
def test_channels_are_deconvolved_by_themselves(method):
    lam = None if method == "inverse" else 0.01
    result = run(COLOUR, method=method, lam=lam)
    channels = [run(COLOUR[..., i], method=method, lam=lam) for i in range(3)]
    np.testing.assert_array_equal(result.image, np.stack([c.image for c in channels], axis=-1))
    np.testing.assert_allclose(result.objective, np.sum([c.objective for c in channels], axis=0))
    assert result.image.flags.c_contiguous


def test_vector_tv_of_one_channel_is_isotropic_and_couples_several():
    assert_same_bits(run(tv="vector"), run(tv="isotropic"))
    grey = np.stack([GREY] * 3, axis=-1)
    together = run(grey, tv="vector", lam=0.03, rho=1, num_iter=300)
    weaker = run(lam=0.03 / np.sqrt(3), rho=1, num_iter=300)  # |(g, g, g)| = sqrt(3) |g|, against three data terms
    np.testing.assert_allclose(together.image, np.stack([weaker.image] * 3, axis=-1), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_same_bits_at_any_thread_count_and_in_every_run(method):
    lam = None if method == "inverse" else 0.01
    results = [run(COLOUR, method=method, lam=lam, threads=threads) for threads in (1, 1, 2, 3, 64, None)]
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_callers_may_have_threads_of_their_own():
    expected = run(COLOUR)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda i: run(COLOUR, threads=1 + i % 2), range(12)):
            assert_same_bits(result, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float64])
def test_any_dtype_and_layout_and_no_input_is_changed(dtype):
    scale = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = (COLOUR.clip(0, 1) * scale).astype(dtype)[:, ::-1]
    psf = np.asfortranarray(PSF)
    image.flags.writeable = psf.flags.writeable = False
    result = run(image, psf, reference=image)
    expected = run((image / scale).astype(np.float32), PSF)
    np.testing.assert_allclose(result.image, expected.image, atol=1e-6)
    np.testing.assert_array_equal(image, (COLOUR.clip(0, 1) * scale).astype(dtype)[:, ::-1])


def test_psf_twice_as_bright_halves_the_image():
    bright = run(psf=2 * PSF, lam=0.02, rho=1.0)  # with y = 2 x the problem is that of PSF, lam / 2 and rho / 4
    np.testing.assert_allclose(bright.image, run(lam=0.01, rho=0.25).image / 2, atol=1e-6)


# Masks, clipped pixels, the range of values


def test_what_lies_under_the_mask_is_forgotten():
    mask = np.ones(GREY.shape, bool)
    mask[8:12, 10:20] = False
    garbage = GREY.copy()
    garbage[~mask] = np.random.default_rng(4).uniform(-0.5, 16, size=40)
    images = [run(image, mask=mask, num_iter=1000).image for image in (GREY, garbage)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"value_range": (0, 1)}, {"method": "plug-and-play"}, {"lam": None}])
def test_what_lies_under_the_mask_has_no_influence(options):
    mask = np.ones(GREY.shape, bool)
    mask[8:12, 10:20] = mask[0] = False
    garbage = GREY.copy()
    garbage[~mask] = 16
    assert_same_bits(run(mask=mask, **options), run(garbage, mask=mask, **options))


def test_mask_of_numbers_is_their_being_other_than_0():
    mask = np.random.default_rng(5).integers(0, 3, size=GREY.shape)
    assert_same_bits(run(mask=mask), run(mask=mask > 0))


def clipped_highlight():
    """A lamp far above 1 on a wall, blurred, and what a camera makes of it."""
    sharp = np.full((44, 59), 0.2)
    sharp[8:14, 8:50] = 0.5
    lamp = np.s_[24:29, 28:34]
    sharp[lamp] = 4
    image = fftconvolve(np.pad(sharp, 4, mode="edge"), disk_psf(9), mode="valid")
    return sharp, lamp, image


@pytest.mark.parametrize("boundary", ["masked", "periodic"])
def test_clipped_highlights_are_restored_above_the_clip_and_not_trusted(boundary):
    sharp, lamp, image = clipped_highlight()
    psf, photo = disk_psf(9), np.minimum(image, 1)
    assert np.sum(image > 1) > 20
    told = deconvolve(photo, psf, lam=1e-3, tol=0, saturation=1, boundary=boundary)
    not_told = deconvolve(photo, psf, lam=1e-3, tol=0, boundary=boundary)
    assert told.image[lamp].mean() > 3.5
    assert not_told.image[lamp].mean() < 2.5
    wall = sharp < 1
    errors = [np.sqrt(np.mean((result.image - sharp)[wall] ** 2)) for result in (told, not_told)]
    assert errors[0] < 0.1 * errors[1]
    assert (told.reblur_residual[photo >= 1] <= 0).all()


@pytest.mark.parametrize("boundary", ["masked", "periodic"])
def test_saturation_that_is_not_reached_changes_nothing(boundary):
    assert_same_bits(run(COLOUR, saturation=2.0, boundary=boundary), run(COLOUR, boundary=boundary))


@pytest.mark.parametrize(
    ("method", "boundary"),
    [("admm-tv", "masked"), ("admm-tv", "reflect"), ("admm-tv", "periodic"), ("plug-and-play", "masked")],
)
@pytest.mark.parametrize("value_range", [(0.3, 0.6), (0.3, np.inf), (-np.inf, 0.6)])
def test_range_of_values_is_obeyed(value_range, method, boundary):
    result = run(COLOUR, method=method, lam=1e-4, value_range=value_range, boundary=boundary)
    low, high = np.float32(value_range)
    assert low <= result.image.min()
    assert result.image.max() <= high
    free = run(COLOUR, method=method, lam=1e-4, boundary=boundary).image
    assert free.min() < 0.3
    assert free.max() > 0.6


def test_range_that_holds_everything_changes_little():
    free, kept = (run(num_iter=400, value_range=r).image for r in (None, (-5, 5)))
    np.testing.assert_allclose(free, kept, atol=1e-3)


# Histories, stopping, callbacks


def test_psnr_history_is_that_of_the_iterates():
    sharp = np.stack([blocks((24, 31))] * 3, axis=-1).astype(np.float32)
    result = run(COLOUR, reference=sharp)
    for num_iter in (1, 5):
        image = run(COLOUR, num_iter=num_iter).image
        np.testing.assert_allclose(result.psnr[num_iter - 1], -10 * np.log10(np.mean((image - sharp) ** 2)), rtol=1e-6)
    assert run().psnr is None


def test_tol_stops_early_and_0_never():
    long = run(num_iter=120)
    assert long.num_iter == len(long.objective) == len(long.residual) == 120
    short = run(num_iter=120, tol=0.01)
    assert 1 < short.num_iter < 120
    assert short.change[-1] < 0.01 <= short.change[-2]
    np.testing.assert_array_equal(short.change, long.change[: short.num_iter])
    assert run(np.full((9, 8), 0.5), IMPULSE, num_iter=7).num_iter == 7


def test_change_history_is_that_of_the_iterates():
    images = [np.zeros_like(COLOUR), *(run(COLOUR, num_iter=n).image for n in (1, 2, 3))]
    steps = [np.linalg.norm(b - a) / np.linalg.norm(b) for a, b in itertools.pairwise(images)]
    np.testing.assert_allclose(run(COLOUR, num_iter=3).change, steps, rtol=1e-5)


def test_warns_where_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match=r"not converged: after 3 iterations .* tol is 0\.0001") as record:
        run(num_iter=3, tol=1e-4)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    "options",
    [
        {"num_iter": 3, "tol": 0},
        {"num_iter": 200, "tol": 0.01},
        {"image": np.zeros((9, 8)), "psf": IMPULSE, "tol": 1e-4},
        {"method": "plug-and-play", "tol": 1e-9},
        {"method": "half-quadratic", "tol": 1e-9},
        {"method": "wiener", "tol": 1e-9},
    ],
)
def test_does_not_warn_where_it_has_converged_or_need_not(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(**options)


def test_callback_is_called_in_the_callers_thread_and_to_the_end():
    calls = []

    def callback(*call):
        calls.append(call)
        assert threading.get_ident() == caller

    caller = threading.get_ident()
    for options in ({}, {"tol": 0.9}, {"method": "plug-and-play"}):
        calls.clear()
        run(COLOUR, threads=3, callback=callback, **options)
        assert {stage for stage, _, _ in calls} == {"deconvolve"}
        assert calls[-1] == ("deconvolve", 5, 5)
    calls.clear()
    run(method="wiener", callback=callback)
    assert calls[-1] == ("deconvolve", 1, 1)
    calls.clear()
    run(lam=None, callback=callback)
    assert calls[-1] == ("deconvolve", 5, 5)


@pytest.mark.parametrize("lam", [0.01, None])
def test_false_cancels_and_leaves_no_thread(lam):
    threads = threading.active_count()
    calls = []
    with pytest.raises(Cancelled):
        run(COLOUR, lam=lam, num_iter=10**9, threads=3, callback=lambda *call: bool(calls.append(call)))
    assert len(calls) == 1
    assert threading.active_count() == threads


def test_errors_of_the_callback_reach_the_caller():
    def interrupt(*call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(COLOUR, threads=3, num_iter=10**9, callback=interrupt)


def test_results_are_frozen_and_can_be_sent_to_another_process():
    result = run(COLOUR, reference=COLOUR)
    with pytest.raises(AttributeError):
        result.lam = 3
    copy = pickle.loads(pickle.dumps(result))
    assert isinstance(copy, DeconvolutionResult)
    assert_same_bits(copy, result)


# The choice of lam


@pytest.mark.parametrize("method", ["admm-tv", "wiener"])
def test_lam_grows_with_the_noise(method):
    photo, psf = skimage.data.camera() / 255, disk_psf(5)
    image = fftconvolve(photo, psf, mode="same")[100:180, 150:260]
    noise = np.random.default_rng(1).normal(size=image.shape)
    lams = [
        deconvolve(image + scale * noise, psf, method=method, num_iter=15, tol=0).lam for scale in (0.001, 0.01, 0.05)
    ]
    assert 10 * lams[0] < lams[1] < lams[2] / 5


@pytest.mark.parametrize("method", ["admm-tv", "half-quadratic", "plug-and-play"])
def test_lam_chosen_is_nearly_the_best(method):
    photo, psf = skimage.data.camera().astype(np.float32) / 255, disk_psf(5)
    sharp = photo[100:228, 150:310]
    noise = np.random.default_rng(1).normal(scale=0.005, size=sharp.shape)
    image = fftconvolve(photo, psf, mode="same")[100:228, 150:310] + noise
    num_iter = 6 if method == "plug-and-play" else 40

    def score(lam):
        return psnr_db(deconvolve(image, psf, method=method, lam=lam, num_iter=num_iter, tol=0).image, sharp)

    chosen = deconvolve(image, psf, method=method, num_iter=num_iter, tol=0).lam
    assert score(chosen) > max(score(chosen * factor) for factor in (0.3, 0.6, 1.7, 3)) - 0.3


def test_lam_is_chosen_for_any_image():
    for image, psf in ((GREY[:5, :7], PSF), (np.zeros((1, 1)), IMPULSE), (np.full((24, 31), 0.5), PSF)):
        assert run(image, psf, lam=None).lam == 1e-3


def test_psfs_of_a_grid_are_those_of_their_cells():
    image, psfs = (
        np.tile(GREY, (4, 4)),
        np.stack([PSF, PSF[::-1], PSF[:, ::-1], IMPULSE * (np.indices(PSF.shape).sum(0) == 5)]),
    )
    result = deconvolve(image, PsfGrid(psfs.reshape(2, 2, *PSF.shape)), lam=0.01)
    assert result.image.shape == image.shape
    for row, column in np.ndindex(2, 2):
        middle = np.s_[48 * row + 14 : 48 * row + 34, 62 * column + 14 : 62 * column + 48]
        alone = deconvolve(image, psfs[2 * row + column], lam=0.01)
        assert np.sqrt(np.mean((result.image[middle] - alone.image[middle]) ** 2)) < 2e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boundary": "periodic"}, "does not go with boundary='periodic' or a reference"),
        ({"reference": GREY}, "does not go with boundary='periodic' or a reference"),
        ({"psf": PsfGrid(np.tile(PSF, (6, 2, 1, 1)))}, r"must fit into its cells, \(4, 15\) pixels, got \(5, 7\)"),
    ],
)
def test_grids_are_refused_where_they_cannot_be_used(options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"psf": PsfGrid(np.tile(PSF, (2, 2, 1, 1)))} | options)


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": GREY[:0]}, ValueError, "image must have shape"),
        ({"image": GREY * np.nan}, ValueError, "image must hold finite numbers"),
        ({"image": GREY * 200}, ValueError, "divide it by 255"),
        ({"image": GREY > 0}, TypeError, "image must hold real numbers, got dtype bool"),
        ({"psf": np.ones((25, 3))}, ValueError, r"psf of shape \(25, 3\) is larger than the image \(24, 31\)"),
        ({"psf": np.ones((4, 3))}, ValueError, "psf must be 2-D with an odd height and width"),
        ({"psf": PSF * np.nan}, ValueError, "psf must hold finite numbers"),
        ({"psf": PSF * 0}, ValueError, "psf must have a positive sum"),
        ({"psf": PSF * 1e-30}, ValueError, "psf must have a positive sum"),
        ({"psf": PSF + 0j}, TypeError, "psf must hold real numbers, got dtype complex128"),
        ({"reference": COLOUR}, ValueError, r"reference must have the image's shape \(24, 31\), got \(24, 31, 3\)"),
        ({"reference": GREY + np.inf}, ValueError, "reference must hold finite numbers"),
        (
            {"method": "tv"},
            ValueError,
            "method must be one of 'admm-tv', 'plug-and-play', 'half-quadratic', 'wiener', 'inverse', got 'tv'",
        ),
        ({"method": "inverse"}, ValueError, r'method="inverse" takes no lam, got 0\.01'),
        ({"lam": 0}, ValueError, r"lam must be a finite number > 0 and < 1e\+30, got 0"),
        ({"lam": -1.0}, ValueError, r"lam must be .* got -1\.0"),
        ({"lam": np.inf}, ValueError, "lam must be .* got inf"),
        ({"lam": "0.1"}, TypeError, "lam must be a number .* got '0.1'"),
        ({"rho": 0}, ValueError, "rho must be a finite number > 0 .* got 0"),
        ({"rho": 1e38}, ValueError, r"rho must be .* got 1e\+38"),
        ({"relaxation": 2}, ValueError, "relaxation must be a finite number > 0 and < 2, got 2"),
        ({"num_iter": 0}, ValueError, "num_iter must be >= 1, got 0"),
        ({"num_iter": 5.0}, TypeError, "num_iter must be an int >= 1"),
        ({"tol": -1e-9}, ValueError, "tol must be a finite number >= 0"),
        ({"tol": np.nan}, ValueError, "tol must be .* got nan"),
        ({"tv": "huber"}, ValueError, "tv must be one of 'isotropic', 'anisotropic', 'vector', got 'huber'"),
        ({"boundary": "zero"}, ValueError, "boundary must be one of 'masked', 'reflect', 'periodic', got 'zero'"),
        ({"method": "plug-and-play", "boundary": "reflect"}, ValueError, 'boundary="masked" or "periodic", got "refl'),
        ({"mask": np.ones((31, 24))}, ValueError, r"mask must have the image's height and width \(24, 31\), got \(31"),
        ({"mask": np.ones((24, 31, 3), bool)}, ValueError, r"mask must have .* \(24, 31\), got \(24, 31, 3\)"),
        ({"mask": GREY * np.nan}, ValueError, "mask must hold finite numbers"),
        ({"mask": "all"}, TypeError, "mask must hold real numbers"),
        ({"mask": GREY, "method": "wiener"}, ValueError, "mask goes with method='admm-tv' or 'plug-and-play', got 'wi"),
        ({"mask": GREY, "method": "half-quadratic"}, ValueError, "mask goes with method=.* got 'half-quadratic'"),
        ({"mask": GREY, "boundary": "reflect"}, ValueError, 'mask goes with boundary="masked" or "periodic", got "ref'),
        ({"saturation": 0}, ValueError, "saturation must be a finite number > 0, got 0"),
        ({"saturation": -1.0}, ValueError, r"saturation must be .* > 0, got -1\.0"),
        ({"saturation": np.nan}, ValueError, "saturation must be .* got nan"),
        ({"saturation": "1"}, TypeError, "saturation must be a number > 0, got '1'"),
        ({"saturation": 1, "method": "inverse", "lam": None}, ValueError, "saturation goes with method=.* 'inverse'"),
        ({"saturation": 1, "boundary": "reflect"}, ValueError, 'saturation goes with boundary=.* got "reflect"'),
        ({"value_range": (1, 0)}, ValueError, r"value_range must be .* low < high, .* got \(1, 0\)"),
        ({"value_range": (0, 10**400)}, ValueError, "infinite or at most 1e\\+30 in size"),
        ({"value_range": (1e300, np.inf)}, ValueError, "infinite or at most 1e\\+30 in size"),
        ({"value_range": (0.5, 0.5)}, ValueError, r"value_range must be .* low < high, .* got \(0\.5, 0\.5\)"),
        ({"value_range": (0, np.nan)}, ValueError, r"value_range must be .* got \(0, nan\)"),
        ({"value_range": (0,)}, ValueError, r"value_range must be two numbers .* got \(0,\)"),
        ({"value_range": (0, 1, 2)}, ValueError, r"value_range must be two numbers .* got \(0, 1, 2\)"),
        ({"value_range": (0, 1), "method": "wiener"}, ValueError, "value_range goes with method=.* got .*'wiener'"),
        ({"denoiser": lambda plane, sigma: plane}, ValueError, 'denoiser goes with method="plug-and-play", got .*admm'),
        ({"denoiser": 3, "method": "plug-and-play"}, TypeError, "denoiser must be a function of a plane .* got 3"),
        ({"threads": 0}, ValueError, "threads must be >= 1, got 0"),
        ({"callback": 3}, TypeError, "callback must be callable or None, got int"),
    ],
)
def test_wrong_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)


@pytest.mark.parametrize("value_range", [3, "01", ("a", "b"), (None, 1), (0, 1j), (False, 2)])
def test_ranges_that_are_no_numbers_are_refused(value_range):
    with pytest.raises(TypeError, match=r"value_range.* must be .* got "):
        run(value_range=value_range)
