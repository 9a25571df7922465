import itertools
import warnings

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve
from skimage.feature import canny

from fastrefocus import Cancelled, Candidate, deblur, deconvolve, disk_psf, gaussian_psf, progress
from fastrefocus.deconvolution import blind
from fastrefocus.deconvolution.blur_map import BlurMapEstimate
from fastrefocus.deconvolution.channels import intensity
from fastrefocus.deconvolution.result import psnr_db
from fastrefocus.deconvolution.search import EDGE_SIGMAS, LAMS, SIGMAS
from fastrefocus.deconvolution.selection import default_candidates
from fastrefocus.depth import blur_estimate
from fastrefocus.depth.blur_estimate import BlurEstimate
from fastrefocus.errors import ResidualWarning
from fastrefocus.light import decode, encode
from fastrefocus.optics.psf import psf_of_sigma

SHARP = skimage.data.coffee()[60:140, 180:290].astype(np.float32) / 255
PSFS = {"sigmas": [1, 2, 3]}
GRID = PSFS | {"lams": [3e-4, 3e-3], "num_iter": 15}
VARIANTS = ("rgb", "luminance", "intensity", "edges")


def blurred(shape="gaussian", *, linear=False):
    """SHARP with a PSF of 2 pixels, as encoded or in linear light, and a little noise."""
    psf = psf_of_sigma(2, shape)[..., np.newaxis]
    image = encode(convolve(decode(SHARP), psf)) if linear else convolve(SHARP, psf)
    return image + np.random.default_rng(0).normal(scale=0.003, size=SHARP.shape).astype(np.float32)


PHOTO = blurred()
GREY = PHOTO[..., 1].copy()


def run(image=PHOTO, **options):
    return deblur(image, **{"psf_shape": "gaussian", "linearize": False} | options)


def by_reference(image=PHOTO, **options):
    return run(image, **{"reference": SHARP if image.ndim == 3 else SHARP[..., 1]} | GRID | options)


@pytest.mark.parametrize("shape", ["gaussian", "disk"])
@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("image", ["colour", "grey"])
def test_best_of_the_grid_by_psnr(image, channels, shape):
    photo, sharp = blurred(shape), SHARP
    if image == "grey":
        photo, sharp = photo[..., 1], sharp[..., 1]
    result = by_reference(photo, channels=channels, psf_shape=shape)
    assert (result.sigma, result.psf_shape) == (2, shape)
    edge_sigmas = EDGE_SIGMAS if channels == "edges" else (None,)
    assert set(result.scores) == set(itertools.product((1.0, 2.0, 3.0), (3e-4, 3e-3), edge_sigmas, (shape,)))
    best = max(result.scores, key=result.scores.get)
    assert isinstance(best, Candidate)
    assert best == (result.sigma, result.lam, result.edge_sigma, result.psf_shape)
    assert result.image.dtype == np.float32
    assert result.image.shape == photo.shape
    assert psnr_db(result.image, sharp) == result.scores[best] > psnr_db(photo, sharp) + 0.5


@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("image", [PHOTO, GREY], ids=["colour", "grey"])
def test_without_a_reference_the_spectrum_chooses_from_the_sigmas(image, channels):
    result = run(image, channels=channels, **PSFS)
    assert {(candidate.sigma, candidate.shape) for candidate in result.scores} == {
        (0.0, None), (1.0, "gaussian"), (2.0, "gaussian"), (3.0, "gaussian"),
    }  # fmt: skip
    best = max(result.scores, key=result.scores.get)
    assert (best.sigma, best.lam) == (result.sigma, result.lam) == (2, pytest.approx(1e-4, rel=0.8))
    assert result.edge_sigma == (EDGE_SIGMAS[0] if channels == "edges" else None)
    assert result.psnr is None
    given = run(image, channels=channels, sigmas=[2], lams=[3e-4])
    assert (given.sigma, given.lam) == (2, 3e-4)


@pytest.mark.parametrize("shape", ["gaussian", "disk"])
def test_the_spectrum_tells_the_shape(shape):
    result = run(blurred(shape), psf_shape="auto", sigmas=[2])
    assert (result.sigma, result.psf_shape) == (2, shape)
    assert {candidate.shape for candidate in result.scores} == {None, "disk", "gaussian"}


def test_default_grids():
    small, sigmas = GREY[:21, :30], SIGMAS[:5]  # a disk of 4 * 5 pixels fits, of 4 * 6 not
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResidualWarning)
        result = deblur(small, num_iter=1, reference=small)
    assert set(result.scores) == set(itertools.product(sigmas, LAMS, [None], ["disk"]))
    assert list(LAMS) == sorted(LAMS)
    blind = {(candidate.shape, candidate.sigma) for candidate in deblur(GREY, linearize=False).scores}
    assert blind == {(None, 0.0), *default_candidates(GREY.shape)}


@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("channels", VARIANTS)
def test_a_photo_that_no_psf_explains_comes_back(channels, linearize):
    result = run(SHARP, channels=channels, linearize=linearize, sigmas=[3, 4])
    assert (result.sigma, result.psf_shape, result.num_iter) == (0, None, 0)
    assert len(result.scores) == 3
    np.testing.assert_array_equal(result.image, SHARP)
    np.testing.assert_array_equal(result.destroyed, np.zeros(SHARP.shape[:2]))
    assert not np.shares_memory(result.image, SHARP)


@pytest.mark.filterwarnings("ignore::fastrefocus.errors.ResidualWarning")  # no PSF made this photo
def test_one_size_alone_is_taken_however_sharp_the_photo_looks():
    result = run(SHARP, sigmas=[3])
    assert (result.sigma, result.lam > 0) == (3, True)
    assert result.psf_shape in ("disk", "gaussian")
    assert np.abs(result.image - SHARP).max() > 0.01


def test_sizes_may_come_from_a_generator():
    photo = blurred(linear=True)
    assert run(photo, sigmas=iter([2, 3])).scores == run(photo, sigmas=[2, 3]).scores


# The change of a luminance in linear light, given to each channel, is too much for the dark ones.
@pytest.mark.parametrize("channels", ["rgb", "intensity", "edges"])
def test_linear_light_beats_encoded_values_where_the_blur_was_made_in_it(channels):
    photo = blurred(linear=True)
    linear = by_reference(photo, channels=channels, linearize=True)
    encoded = by_reference(photo, channels=channels, linearize=False)
    assert psnr_db(linear.image, SHARP) > psnr_db(encoded.image, SHARP) + 0.4


# The variants are their formulas

ONE = {"sigmas": [2], "lams": [3e-4], "num_iter": 30, "tol": 0}


def deconvolved(plane, psf):
    return deconvolve(plane, psf, lam=3e-4, num_iter=30, tol=0, tv="vector", value_range=(0, np.inf)).image


def test_rgb_deconvolves_all_channels_together():
    result = run(**ONE)
    np.testing.assert_array_equal(result.image, deconvolved(PHOTO, psf_of_sigma(2, "gaussian")))
    linear = run(**ONE, linearize=True)
    np.testing.assert_array_equal(linear.image, encode(deconvolved(decode(PHOTO), psf_of_sigma(2, "gaussian"))))


def test_luminance_keeps_the_colour_differences():
    y = PHOTO @ np.float32([0.2126, 0.7152, 0.0722])
    change = deconvolved(y, psf_of_sigma(2, "gaussian")) - y
    result = run(**ONE, channels="luminance").image
    np.testing.assert_allclose(result, PHOTO + change[..., np.newaxis], atol=1e-5)


def test_intensity_puts_the_colours_back_by_ratio():
    b, i = PHOTO, PHOTO @ (np.float32([20, 40, 1]) / 61)
    j = deconvolved(i, psf_of_sigma(2, "gaussian"))
    result = run(**ONE, channels="intensity").image
    np.testing.assert_allclose(result, b * (j / i)[..., np.newaxis], rtol=1e-4, atol=1e-5)
    for one, other in ((0, 1), (1, 2)):
        np.testing.assert_allclose(result[..., one] * b[..., other], result[..., other] * b[..., one], atol=1e-6)
    grey = run(GREY, **ONE, channels="intensity").image
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
    result = run(**ONE, edge_sigmas=[4], channels="edges").image
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


# Any photo


@pytest.mark.parametrize("referenced", [True, False])
@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("channels", VARIANTS)
@pytest.mark.parametrize("shape", [(20, 31, 3), (20, 31), (1, 9, 3), (9, 1), (1, 1)])
def test_black_photos_stay_black(shape, channels, linearize, referenced):
    black = np.zeros(shape)
    reference = black if referenced else None
    result = run(black, channels=channels, sigmas=[0.1], linearize=linearize, reference=reference)
    np.testing.assert_allclose(result.image, 0, atol=1e-6)
    assert not np.isnan(list(result.scores.values())).any()


@pytest.mark.filterwarnings("ignore::fastrefocus.errors.ResidualWarning")  # no PSF made this photo
@pytest.mark.parametrize("channels", VARIANTS)
def test_photos_with_black_parts_and_highlights_stay_finite(channels):
    photo = PHOTO.copy()
    photo[:40, :50] = 0
    photo[60:, 80:] = 16
    options = {"channels": channels, "lams": [1e-3], "num_iter": 15}
    for other in ({"linearize": True}, {"linearize": False}, {"linearize": False, "reference": photo}):
        assert np.isfinite(run(photo, **PSFS, **options, **other).image).all()


def test_uint8_is_taken_and_not_changed():
    photo = np.round(255 * PHOTO.clip(0, 1)).astype(np.uint8)
    before = photo.copy()
    photo.flags.writeable = False
    result = run(photo, **PSFS)
    assert result.sigma == 2
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(result.image, run(photo / np.float32(255), **PSFS).image)


@pytest.mark.parametrize("channels", VARIANTS)
def test_same_bits_at_any_thread_count(channels):
    for search in (by_reference, run):
        results = [search(channels=channels, threads=threads, **PSFS) for threads in (1, 2, None)]
        for result in results[1:]:
            np.testing.assert_array_equal(result.image, results[0].image)
            assert result.scores == results[0].scores


@pytest.mark.filterwarnings("ignore::fastrefocus.errors.ResidualWarning")  # after so few iterations
def test_solver_options_are_passed_on():
    options = {"sigmas": [2], "lams": [3e-3], "tol": 0, "num_iter": 4}
    assert run(**options).num_iter == 4
    for changed in ({"boundary": "periodic"}, {"tv": "anisotropic"}, {"relaxation": 1.0}, {"rho": 1.0}):
        assert (run(**options, **changed).image != run(**options).image).any()


@pytest.mark.parametrize(("search", "tries"), [(by_reference, 6), (run, 1)])
def test_progress_goes_to_the_end_and_can_be_stopped(search, tries, monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    calls = []
    search(sigmas=[1, 2, 3], tol=0.01, num_iter=40, callback=lambda *call: calls.append(call))
    stages, done, totals = zip(*calls, strict=True)
    assert set(stages) == {"deblur"}
    assert list(done) == sorted(set(done))
    assert set(totals) == {40 * tries}
    assert 2 * tries < len(done) < totals[0]  # some candidates stop early
    assert done[-1] == totals[0]
    with pytest.raises(Cancelled):
        search(sigmas=[1, 2, 3], num_iter=10**9, callback=lambda *call: False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": PHOTO[:, :0]}, ValueError, "image must have shape"),
        ({"image": PHOTO * np.nan}, ValueError, "image must hold finite numbers"),
        ({"image": PHOTO + 0j}, TypeError, "image must hold real numbers, got dtype complex64"),
        (
            {"image": GREY[:4], "reference": GREY[:4], "sigmas": None},
            ValueError,
            r"the image \(4, 110\) is smaller than the smallest PSF tried",
        ),
        (
            {"image": GREY[:9]},
            ValueError,
            r"the PSF of sigma 2 of shape \(17, 17\) is larger than the image \(9, 110\)",
        ),
        ({"reference": GREY}, ValueError, r"reference must have the image's shape \(80, 110, 3\), got \(80, 110\)"),
        (
            {"channels": "hsv"},
            ValueError,
            "channels must be one of 'rgb', 'luminance', 'intensity', 'edges', got 'hsv'",
        ),
        ({"psf_shape": "box"}, ValueError, "psf_shape must be one of 'auto', 'disk', 'gaussian', got 'box'"),
        ({"sigmas": []}, ValueError, "sigmas must hold at least one number"),
        ({"sigmas": 2}, TypeError, "sigmas must be a sequence of numbers, got 2"),
        ({"sigmas": [2, 0]}, ValueError, r"sigmas\[1\] must be a finite number > 0 .* got 0"),
        ({"sigmas": [1e9]}, ValueError, r"sigmas\[0\] must be a finite number > 0 and < 511\.75, got 1000000000\.0"),
        ({"lams": [1e-3, -1]}, ValueError, r"lams\[1\] must be a finite number > 0 .* got -1"),
        ({"lams": [1e-3, 1e-2]}, ValueError, "lams must be a single weight where there is no reference .* got"),
        ({"protect_sharp": True}, ValueError, "protect_sharp goes with depth or blur_radius, got neither"),
        ({"tol": -1}, ValueError, "tol must be a finite number >= 0, got -1"),
        ({"tv": "none"}, ValueError, "tv must be one of"),
        ({"linearize": "yes"}, TypeError, "linearize must be"),
        ({"lams": ["1e-3"]}, TypeError, r"lams\[0\] must be a number"),
        ({"edge_sigmas": [1]}, ValueError, "edge_sigmas goes with channels=\"edges\", got channels='rgb'"),
        (
            {"edge_sigmas": [0], "channels": "edges"},
            ValueError,
            r"edge_sigmas\[0\] must be a finite number > 0 .* got 0",
        ),
        (
            {"edge_sigmas": [1e9], "channels": "edges"},
            ValueError,
            r"edge_sigmas\[0\] must be .* < 511\.75, got 1000000000",
        ),
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
        run(**{"sigmas": [1, 2, 3]} | options)


# Nothing is known


COFFEE = skimage.data.coffee()[60:260, 180:440].astype(np.float32) / 255
CAMERA = skimage.data.camera()[60:260, 120:380].astype(np.float32) / 255
CAT = skimage.data.chelsea()[20:220, 100:360].astype(np.float32) / 255


def out_of_focus(sharp, psf, *, noise=0.005):
    """A photo in sRGB, blurred in linear light."""
    planes = np.atleast_3d(decode(sharp))
    image = encode(convolve(planes, psf[..., np.newaxis], mode="nearest").reshape(sharp.shape))
    return (image + np.random.default_rng(1).normal(scale=noise, size=sharp.shape)).astype(np.float32)


@pytest.mark.parametrize("sharp", [COFFEE, COFFEE[..., 1].copy(), CAT[..., 1].copy()], ids=["colour", "grey", "cat"])
@pytest.mark.parametrize("encoding", [np.float32, np.uint8])
def test_a_photo_blurred_alike_gets_its_disk(sharp, encoding):
    photo = out_of_focus(sharp, disk_psf(6))
    as_given = np.round(255 * photo.clip(0, 1)).astype(np.uint8) if encoding is np.uint8 else photo
    result = deblur(as_given)
    assert (result.psf_shape, result.blur_radius) == ("disk", None)
    assert result.sigma == pytest.approx(1.5, abs=0.15)
    assert psnr_db(result.image, sharp) > psnr_db(photo, sharp) + 1
    assert result.reblur_residual.std() < 0.02
    assert 0 < result.destroyed.max() == result.destroyed.min() < 1


def test_a_photo_blurred_alike_gets_its_gaussian():
    photo = out_of_focus(COFFEE, gaussian_psf(2))
    result = deblur(photo)
    assert (result.psf_shape, result.sigma) == ("gaussian", pytest.approx(2, abs=0.25))
    assert psnr_db(result.image, COFFEE) > psnr_db(photo, COFFEE) + 1


@pytest.mark.parametrize("sharp", [CAMERA, CAT], ids=["grey", "colour"])  # COFFEE is itself out of focus in parts
def test_what_is_sharp_stays_where_half_is_out_of_focus(sharp):
    photo = sharp.copy()
    photo[:, 130:] = out_of_focus(sharp, disk_psf(8))[:, 130:]
    result = deblur(photo)
    assert (result.sigma, result.psf_shape) == (None, None)
    assert result.blur_radius.shape == photo.shape[:2]
    assert psnr_db(result.image[:, :118], sharp[:, :118]) > 40
    assert psnr_db(result.image[:, 142:], sharp[:, 142:]) > psnr_db(photo[:, 142:], sharp[:, 142:]) + 1.5
    same = deblur(photo, threads=2)
    np.testing.assert_array_equal(same.image, result.image)


@pytest.mark.filterwarnings("ignore::fastrefocus.ResidualWarning")  # the map is wrong on purpose
@pytest.mark.parametrize("linearize", [True, False])
def test_a_map_is_lowered_where_the_network_is_sure_of_less_blur(monkeypatch, linearize):
    photo = SHARP[..., 1].copy()
    found, seen, sure = (np.full(photo.shape, value, np.float32) for value in (4, 9, 0.9))
    seen[:, :50] = 2.5
    seen[:, :25] = 0.4
    sure[40:] = 0.5
    looked_at = []
    monkeypatch.setattr(blind, "estimate_blur_map", lambda plane, **options: BlurMapEstimate(found, 0.005))
    monkeypatch.setattr(
        blur_estimate, "estimate_blur", lambda image, **_: [looked_at.append(image), BlurEstimate(seen, sure)][1]
    )
    radius = deblur(photo if linearize else decode(photo), linearize=linearize).blur_radius
    np.testing.assert_allclose(radius[10, [5, 37, 80]], [0, 2.5, 4], atol=0.05)
    np.testing.assert_allclose(radius[70, [5, 37, 80]], 4, atol=0.05)
    np.testing.assert_allclose(looked_at, [photo], atol=1e-4)


@pytest.mark.parametrize("change", [lambda x: x, lambda x: 0.3 * x + 0.3, lambda x: 0.1 * x], ids=["", "haze", "dark"])
@pytest.mark.parametrize("sharp", [COFFEE, CAT, COFFEE[..., 1].copy()], ids=["coffee", "cat", "grey"])
def test_a_sharp_photo_stays_as_it_is(sharp, change):
    photo = np.asarray(change(sharp), np.float32)
    assert psnr_db(deblur(photo).image, photo) > 40


def test_haze_does_not_change_the_choice():
    photo = out_of_focus(COFFEE, disk_psf(6), noise=0.002)
    hazy = 0.3 * photo + 0.3
    plain, other = (deblur(image, linearize=False) for image in (photo, hazy))
    assert (plain.psf_shape, plain.sigma) == (other.psf_shape, other.sigma)
    assert other.lam == pytest.approx(0.3 * plain.lam, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9, 3), (9, 1), (2, 2), (3, 200), (20, 31, 3)])
@pytest.mark.parametrize("value", [0, 0.5, 1, "noise"])
def test_a_photo_that_says_nothing_comes_back(shape, value):
    photo = (
        np.random.default_rng(0).random(shape, np.float32) if value == "noise" else np.full(shape, value, np.float32)
    )
    result = deblur(photo)
    assert (result.sigma, result.psf_shape, result.reblur_residual) == (0, None, None)
    np.testing.assert_array_equal(result.image, photo)


def test_a_constant_photo_of_full_size_comes_back():
    photo = np.full((150, 200, 3), 0.4, np.float32)
    result = deblur(photo)
    assert result.sigma == 0
    np.testing.assert_array_equal(result.image, photo)


def test_the_estimate_can_be_watched_and_cancelled(monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    photo = CAT[..., 1].copy()
    photo[:, 130:] = out_of_focus(photo, disk_psf(8))[:, 130:]
    calls = []
    deblur(photo, callback=lambda *call: calls.append(call))
    for stage in ("estimate blur", "deblur"):
        done = [call[1] for call in calls if call[0] == stage]
        total = {call[2] for call in calls if call[0] == stage}
        assert done == sorted(done)
        assert {done[-1]} == total
    for stop in ("estimate blur", "deblur"):
        with pytest.raises(Cancelled):
            deblur(photo, callback=lambda stage, *_, stop=stop: stage != stop)


def test_a_wrong_blur_is_warned_of_where_the_caller_is():
    photo = out_of_focus(COFFEE[..., 1].copy(), disk_psf(12), noise=0.002)
    with pytest.warns(ResidualWarning, match="does not explain the photo") as caught:
        deblur(photo, sigmas=[6], lams=[3e-2], psf_shape="gaussian", reference=COFFEE[..., 1].copy())
    assert caught[0].filename == __file__


def test_a_map_that_does_not_fit_is_warned_of_where_the_caller_is():
    photo = out_of_focus(COFFEE[..., 1].copy(), disk_psf(5), noise=0.002)
    with pytest.warns(ResidualWarning) as caught:
        deblur(photo, blur_radius=np.full(photo.shape, 9, np.float32))
    assert any("does not fit the photo" in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}
