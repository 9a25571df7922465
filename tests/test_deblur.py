import itertools

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve
from skimage.feature import canny

from fastrefocus import Cancelled, Candidate, deblur, deconvolve, progress
from fastrefocus.deconvolution.channels import edge_distance, edge_weight, intensity

from fastrefocus.deconvolution.result import psnr_db
from fastrefocus.deconvolution.selection import BLIND_LAMS, LAMS
from fastrefocus.light import decode, encode
from fastrefocus.optics.psf import psf_of_sigma

SHARP = skimage.data.coffee()[60:140, 180:290].astype(np.float32) / 255
GRID = {"sigmas": [1, 2, 3], "lams": [3e-4, 3e-3], "num_iter": 15}
VARIANTS = ("rgb", "intensity", "edges")


def blurred(shape="gaussian", *, linear=False):
    """SHARP with a PSF of 2 pixels, as encoded or in linear light, and a little noise."""
    psf = psf_of_sigma(2, shape)[..., np.newaxis]
    image = encode(convolve(decode(SHARP), psf)) if linear else convolve(SHARP, psf)
    return image + np.random.default_rng(0).normal(scale=0.003, size=SHARP.shape).astype(np.float32)


PHOTO = blurred()
GREY = PHOTO[..., 1].copy()


def run(image=PHOTO, **options):
    return deblur(image, **{"psf_shape": "gaussian", "linearize": False} | GRID | options)


@pytest.mark.parametrize("shape", ["gaussian", "disk"])
@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("image", ["colour", "grey"])
def test_best_of_the_grid_by_psnr(image, channels, shape):
    photo, sharp = blurred(shape), SHARP
    if image == "grey":
        photo, sharp = photo[..., 1], sharp[..., 1]
    result = run(photo, channels=channels, psf_shape=shape, reference=sharp)
    assert result.sigma == 2
    edge_sigmas = (1.0, 2.0, 4.0) if channels == "edges" else (None,)
    assert set(result.scores) == set(itertools.product((1.0, 2.0, 3.0), (3e-4, 3e-3), edge_sigmas))
    best = max(result.scores, key=result.scores.get)
    assert isinstance(best, Candidate)
    assert best == (result.sigma, result.lam, result.edge_sigma)
    assert result.image.dtype == np.float32
    assert result.image.shape == photo.shape
    assert psnr_db(result.image, sharp) == result.scores[best] > psnr_db(photo, sharp) + 0.5


@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("image", [PHOTO, GREY], ids=["colour", "grey"])
def test_without_a_reference_the_residual_chooses_from_the_grid(image, channels):
    result = run(image, channels=channels)
    edge_sigma = 2.0 if channels == "edges" else None
    assert set(result.scores) == {(sigma, lam, edge_sigma) for sigma in (1, 2, 3) for lam in GRID["lams"]}
    assert (result.sigma, result.edge_sigma) == (2, edge_sigma)
    assert result.lam in GRID["lams"]
    assert result.psnr is None
    alone = run(
        image,
        channels=channels,
        sigmas=[result.sigma],
        lams=[result.lam],
        reference=image,
        edge_sigmas=edge_sigma and [edge_sigma],
    )
    np.testing.assert_array_equal(result.image, alone.image)


def test_default_grids():
    small, sigmas = GREY[:21, :30], SIGMAS[:5]  # a disk of 4 * 5 pixels fits, of 4 * 6 not
    assert set(deblur(small, num_iter=1).scores) == set(itertools.product(sigmas, BLIND_LAMS, [None]))
    result = deblur(small, num_iter=1, reference=small)
    assert set(result.scores) == set(itertools.product(sigmas, LAMS, [None]))
    assert list(LAMS) == sorted(LAMS)


@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("channels", VARIANTS)
def test_a_photo_that_no_psf_explains_comes_back(channels, linearize):
    calls = []
    options = {"sigmas": [3, 4], "lams": [1e-4], "callback": lambda *call: calls.append(call)}
    result = run(SHARP, channels=channels, linearize=linearize, **options)
    assert calls[-1] == ("deblur", 45, 45)
    assert result.sigma == 0
    assert result.num_iter == 0
    assert len(result.scores) == 2
    np.testing.assert_array_equal(result.image, SHARP)
    assert not np.shares_memory(result.image, SHARP)


@pytest.mark.parametrize("channels", VARIANTS)
def test_linear_light_beats_encoded_values_where_the_blur_was_made_in_it(channels):
    photo = blurred(linear=True)
    linear = run(photo, channels=channels, reference=SHARP, linearize=True)
    encoded = run(photo, channels=channels, reference=SHARP, linearize=False)
    assert psnr_db(linear.image, SHARP) > psnr_db(encoded.image, SHARP) + 0.4


# The three variants are their formulas


def deconvolved(plane, psf):
    return deconvolve(plane, psf, lam=3e-3, num_iter=15).image


def test_rgb_deconvolves_each_channel():
    result = run(sigmas=[2], lams=[3e-3])
    np.testing.assert_array_equal(result.image, deconvolved(PHOTO, psf_of_sigma(2, "gaussian")))
    linear = run(sigmas=[2], lams=[3e-3], linearize=True)
    np.testing.assert_array_equal(linear.image, encode(deconvolved(decode(PHOTO), psf_of_sigma(2, "gaussian"))))


def test_intensity_puts_the_colours_back_by_ratio():
    b, i = PHOTO, PHOTO @ (np.float32([20, 40, 1]) / 61)
    j = deconvolved(i, psf_of_sigma(2, "gaussian"))
    result = run(sigmas=[2], lams=[3e-3], channels="intensity").image
    np.testing.assert_allclose(result, b * (j / i)[..., np.newaxis], rtol=1e-4, atol=1e-5)
    for one, other in ((0, 1), (1, 2)):
        np.testing.assert_allclose(result[..., one] * b[..., other], result[..., other] * b[..., one], atol=1e-6)
    grey = run(GREY, sigmas=[2], lams=[3e-3], channels="intensity").image
    np.testing.assert_allclose(grey, deconvolved(GREY, psf_of_sigma(2, "gaussian")), atol=1e-5)


def test_edges_takes_the_detail_near_edges_only():
    b, i = PHOTO, PHOTO @ (np.float32([20, 40, 1]) / 61)
    j = deconvolved(i, psf_of_sigma(2, "gaussian"))
    edges = canny(intensity(b), sigma=4, low_threshold=0.8, high_threshold=0.9, use_quantiles=True)
    rows, columns = np.indices(edges.shape)
    squares = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in np.argwhere(edges)]
    e = np.exp(-np.min(squares, axis=0) / (2 * 2**2))
    assert e.min() < 0.01  # some of the photo is far from any edge
    expected = b * ((i + e * (j - i)) / i)[..., np.newaxis]
    result = run(sigmas=[2], lams=[3e-3], edge_sigmas=[4], channels="edges").image
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_intensity_has_the_papers_weights_and_is_never_0():
    photo = np.float32([[[0.1, 0.2, 0.3], [1, 1, 1], [0, 0, 0]]])
    assert intensity(photo).dtype == np.float32
    np.testing.assert_allclose(intensity(photo), [[(20 * 0.1 + 40 * 0.2 + 0.3) / 61, 1, 1e-20]], rtol=1e-6)
    np.testing.assert_allclose(intensity(np.float32([[0, 0.5]])), [[1e-20, 0.5]], rtol=1e-6)


def test_edge_weight_falls_off_with_the_distance():
    step = np.zeros((30, 41), np.float32)
    step[:, 20:] = 0.5
    weight = edge_weight(edge_distance(step, 1.0), 3.0)
    assert weight.dtype == np.float32
    distance = 20 - np.arange(20)
    np.testing.assert_allclose(weight[15, :20], np.exp(-(distance**2) / 18), atol=0.2)  # Canny may be a pixel off
    np.testing.assert_array_equal(edge_weight(edge_distance(np.full((9, 12), 0.3, np.float32), 1.0), 3.0), 0)


# Any photo


@pytest.mark.parametrize("referenced", [True, False])
@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("shape", [(20, 31, 3), (20, 31), (1, 9, 3), (1, 1)])
def test_black_photos_stay_black(shape, channels, linearize, referenced):
    black = np.zeros(shape)
    reference = black if referenced else None
    result = run(black, channels=channels, sigmas=[0.1], linearize=linearize, reference=reference)
    np.testing.assert_allclose(result.image, 0, atol=1e-6)
    assert not np.isnan(list(result.scores.values())).any()


@pytest.mark.parametrize("channels", VARIANTS)
def test_photos_with_black_parts_and_highlights_stay_finite(channels):
    photo = PHOTO.copy()
    photo[:40, :50] = 0
    photo[60:, 80:] = 16
    for linearize in (True, False):
        assert np.isfinite(run(photo, channels=channels, linearize=linearize).image).all()


def test_uint8_is_taken_and_not_changed():
    photo = np.round(255 * PHOTO.clip(0, 1)).astype(np.uint8)
    before = photo.copy()
    photo.flags.writeable = False
    result = run(photo, reference=photo)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(result.image, run(photo / np.float32(255), reference=photo).image)


@pytest.mark.parametrize("channels", VARIANTS)
def test_same_bits_at_any_thread_count(channels):
    results = [run(channels=channels, threads=threads) for threads in (1, 2, None)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.image, results[0].image)
        assert result.scores == results[0].scores


def test_solver_options_are_passed_on():
    options = {"sigmas": [2], "lams": [3e-3], "tol": 0, "num_iter": 4}
    assert run(**options).num_iter == 4
    for changed in ({"boundary": "periodic"}, {"tv": "anisotropic"}, {"relaxation": 1.0}, {"rho": 1.0}):
        assert (run(**options, **changed).image != run(**options).image).any()


@pytest.mark.parametrize("reference", [SHARP, None])
def test_progress_goes_to_the_end_and_can_be_stopped(reference, monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    calls = []
    run(reference=reference, tol=0.1, callback=lambda *call: calls.append(call))
    stages, done, totals = zip(*calls, strict=True)
    assert set(stages) == {"deblur"}
    assert list(done) == sorted(set(done))
    assert 30 < len(done) < totals[0]  # some candidates stop early
    assert done[-1] == totals[0] == totals[-1]
    with pytest.raises(Cancelled):
        run(reference=reference, num_iter=10**9, callback=lambda *call: False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": PHOTO[:, :0]}, ValueError, "image must have shape"),
        ({"image": PHOTO * np.nan}, ValueError, "image must hold finite numbers"),
        ({"image": PHOTO + 0j}, TypeError, "image must hold real numbers, got dtype complex64"),
        (
            {"image": GREY[:4], "sigmas": None},
            ValueError,
            r"the image \(4, 110\) is smaller than the smallest PSF tried",
        ),
        (
            {"image": GREY[:9]},
            ValueError,
            r"the PSF of sigma 2 of shape \(17, 17\) is larger than the image \(9, 110\)",
        ),
        ({"reference": GREY}, ValueError, r"reference must have the image's shape \(80, 110, 3\), got \(80, 110\)"),
        ({"channels": "hsv"}, ValueError, "channels must be one of 'rgb', 'intensity', 'edges', got 'hsv'"),
        ({"psf_shape": "box"}, ValueError, "psf_shape must be one of 'disk', 'gaussian', got 'box'"),
        ({"sigmas": []}, ValueError, "sigmas must hold at least one number"),
        ({"sigmas": 2}, TypeError, "sigmas must be a sequence of numbers, got 2"),
        ({"sigmas": [2, 0]}, ValueError, r"sigmas\[1\] must be a finite number > 0, got 0"),
        ({"sigmas": [1e9]}, ValueError, r"sigma must be a finite number > 0 and < 511\.75, got 1000000000\.0"),
        ({"lams": [1e-3, -1]}, ValueError, r"lams\[1\] must be a finite number > 0 .* got -1"),
        ({"lams": ["1e-3"]}, TypeError, r"lams\[0\] must be a number"),
        ({"edge_sigmas": [1]}, ValueError, "edge_sigmas goes with channels=\"edges\", got channels='rgb'"),
        ({"edge_sigmas": [0], "channels": "edges"}, ValueError, r"edge_sigmas\[0\] must be a finite number > 0, got 0"),
        ({"num_iter": 0}, ValueError, "num_iter must be >= 1, got 0"),
        ({"boundary": "zero"}, ValueError, "boundary must be one of"),
        ({"method": "wiener"}, TypeError, r"deblur\(\) got an unexpected keyword argument 'method'"),
        ({"lam": 0.1}, TypeError, r"deblur\(\) got an unexpected keyword argument 'lam'"),
        ({"threads": 0}, ValueError, "threads must be >= 1, got 0"),
        ({"callback": "print"}, TypeError, "callback must be callable or None, got str"),
    ],
)
def test_wrong_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)
