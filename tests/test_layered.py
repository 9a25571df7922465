"""Deblurring with a map of the blur, or of depth."""

import itertools
import warnings

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve, distance_transform_edt, gaussian_filter

from fastrefocus import (
    Cancelled,
    DepthMap,
    PsfGrid,
    blur_by_depth,
    deblur,
    deconvolve,
    disk_psf,
    gaussian_psf,
    progress,
    render_defocus,
)
from fastrefocus.deconvolution.layered import MOST_EXACT_RADII, given_map, layered_blur
from fastrefocus.deconvolution.result import Candidate, psnr_db
from fastrefocus.errors import ResidualWarning
from fastrefocus.light import decode, encode

COFFEE = skimage.data.coffee()[60:260, 180:440].astype(np.float32) / 255
GREY = COFFEE[..., 1].copy()
H, W = GREY.shape
ROWS, COLUMNS = np.mgrid[:H, :W]
RAMP = (COLUMNS / (W - 1)).astype(np.float32)
BOXES = np.zeros((H, W), np.float32)
BOXES[30:110, 20:120] = 0.6
BOXES[90:180, 140:240] = 1
LEVELS = {"sigmas": (1.0, 2.0), "thresholds": (0.5, 0.8)}
AS_ENCODED = {"psf_shape": "gaussian", "linearize": False}


def noise(shape, scale=0.003):
    return np.random.default_rng(0).normal(scale=scale, size=shape).astype(np.float32)


def by_thresholds(sharp, depth):
    """A photo blurred by paper A's thresholds, and the map of its radius."""
    photo = blur_by_depth(sharp, depth, **LEVELS) + noise(sharp.shape)
    return photo, np.select([depth > 0.8, depth > 0.5], [4, 2], 0).astype(np.float32)


BLURRED, RADIUS = by_thresholds(GREY, BOXES)
COLOUR = by_thresholds(COFFEE, BOXES)[0]
SMOOTH_RADIUS = 1 + 3 * RAMP


def with_map(photo=BLURRED, radius=RADIUS, **options):
    return deblur(photo, blur_radius=radius, **AS_ENCODED | options)


def best_single(photo, sharp, psfs):
    tries = itertools.product(psfs, (3e-4, 3e-3))
    return max(psnr_db(deconvolve(photo, psf, lam=lam, num_iter=40, tol=0).image, sharp) for psf, lam in tries)


# The map


@pytest.mark.parametrize("count", [1, 2, MOST_EXACT_RADII])
def test_a_map_of_few_radii_is_exact(count):
    radius = (COLUMNS % count).astype(np.float32)
    radius[:3] = np.nan
    prepared = given_map(radius, may_be_exact=True)
    assert prepared.source == "exact"
    assert prepared.levels == list(range(count))
    np.testing.assert_array_equal(prepared.radius[3:], radius[3:])
    assert set(np.unique(prepared.radius)) <= set(prepared.levels)
    np.testing.assert_array_equal(prepared.trust[3:], 1)
    np.testing.assert_array_equal(prepared.trust[:3], prepared.trust[0, 0])
    assert 0 < prepared.trust[0, 0] < 1


def test_a_map_of_more_radii_is_smoothed():
    radius = np.where(ROWS < 100, 2, 6) + (COLUMNS % 17 - 8) * 0.01
    prepared = given_map(radius.astype(np.float32), may_be_exact=True)
    assert prepared.source == "measured"
    expected = gaussian_filter(radius, 3, mode="nearest")
    np.testing.assert_allclose(prepared.radius, expected, atol=1e-4)
    assert np.diff(prepared.levels).max() <= 1.5
    assert prepared.levels[0] == pytest.approx(2, abs=0.1)
    assert prepared.levels[-1] == pytest.approx(6, abs=0.1)
    assert (prepared.trust[99:101] < 0.3).all()
    np.testing.assert_array_equal(prepared.trust[[0, 92, 107, -1]], 1)
    assert (np.diff(prepared.trust[100:107, 50]) > 0).all()


@pytest.mark.filterwarnings("ignore::fastrefocus.ResidualWarning")  # GREY is not blurred as RADIUS says
def test_a_map_of_few_radii_is_measured_where_the_psf_is_not_known():
    assert given_map(RADIUS, may_be_exact=True).source == "exact"
    assert given_map(RADIUS, may_be_exact=False).source == "measured"
    constant = given_map(np.full((20, 30), 3, np.float32), may_be_exact=False)
    assert constant.levels == [3]
    named, guessed = (deblur(GREY, blur_radius=RADIUS, **options) for options in ({"psf_shape": "disk"}, {}))
    assert guessed.lam > 3 * named.lam  # by the photo's contrast, not by its noise


def test_the_psfs_of_a_map():
    prepared = given_map(RADIUS, may_be_exact=True)
    cell = (0, 0)
    disks, gaussians = (layered_blur(prepared, shape, protect_sharp=True) for shape in ("disk", "gaussian"))
    np.testing.assert_array_equal(disks.psf_of(3.0, cell), disk_psf(6))
    np.testing.assert_array_equal(gaussians.psf_of(3.0, cell), gaussian_psf(1.5))
    assert disks.psf_of(0.99, cell).shape == disks.psf_of(0.0, cell).shape == (1, 1)
    unprotected = layered_blur(prepared, "disk", protect_sharp=False)
    np.testing.assert_array_equal(unprotected.psf_of(0.99, cell), disk_psf(1.98))
    assert unprotected.psf_of(0.0, cell).shape == (1, 1)


# The map route


@pytest.mark.parametrize("depth", [RAMP, BOXES], ids=["ramp", "boxes"])
@pytest.mark.parametrize("sharp", [GREY, COFFEE], ids=["grey", "colour"])
def test_a_map_beats_the_best_single_psf(sharp, depth):
    photo, radius = by_thresholds(sharp, depth)
    result = with_map(photo, radius)
    single = best_single(photo, sharp, [gaussian_psf(sigma) for sigma in (0.5, 1, 2)])
    assert psnr_db(result.image, sharp) > max(single, psnr_db(photo, sharp)) + 2
    np.testing.assert_array_equal(result.image[radius == 0], photo[radius == 0])
    np.testing.assert_array_equal(result.blur_radius, radius)
    assert (result.sigma, result.psf_shape, result.scores) == (None, None, None)


def test_no_column_at_a_layers_border_gets_worse():
    photo, radius = by_thresholds(GREY, RAMP)
    before, after = (np.square(image - GREY).mean(axis=0) for image in (photo, with_map(photo, radius).image))
    borders = np.flatnonzero(np.diff(radius[0]))
    assert len(borders) == 2
    for border in borders:
        near = slice(border - 6, border + 7)
        assert (after[near] <= before[near]).all()


def test_a_smooth_map_beats_the_best_single_psf():
    photo = render_defocus(GREY, SMOOTH_RADIUS) + noise(GREY.shape)
    result = deblur(photo, blur_radius=SMOOTH_RADIUS)
    linear = decode(photo)
    single = max(
        psnr_db(encode(deconvolve(linear, disk_psf(diameter), lam=lam, num_iter=40, tol=0).image), GREY)
        for diameter, lam in itertools.product((2, 3, 5), (3e-4, 3e-3))
    )
    assert psnr_db(result.image, GREY) > max(single, psnr_db(photo, GREY)) + 2
    sharp = result.blur_radius < 1
    np.testing.assert_array_equal(result.image[sharp], encode(linear)[sharp])


@pytest.mark.filterwarnings("ignore::fastrefocus.errors.ResidualWarning")  # each map alone is wrong elsewhere
def test_the_weight_of_two_layers_is_about_that_of_either():
    """The prior's weight follows the noise, which is the same everywhere."""
    alone = [with_map(radius=np.where(r == RADIUS, RADIUS, 0)).lam for r in (2, 4)]
    both = with_map().lam
    assert min(alone) / 2 < both < 2 * max(alone)
    by_hand = with_map(lams=[1e-4])
    assert psnr_db(with_map().image, GREY) > psnr_db(by_hand.image, GREY) - 0.5


def test_what_the_map_does_not_know_costs_little():
    known = psnr_db(with_map().image, GREY)
    radius = RADIUS.copy()
    radius[60:80, 60:80] = np.nan
    result = with_map(radius=radius)
    assert np.isfinite(result.image).all()
    np.testing.assert_array_equal(result.blur_radius, RADIUS)  # filled with the nearest
    assert psnr_db(result.image, GREY) > known - 0.3
    photo = render_defocus(GREY, SMOOTH_RADIUS) + noise(GREY.shape)
    holes = np.where((ROWS % 50 < 12) & (COLUMNS % 60 < 12), np.nan, SMOOTH_RADIUS)
    whole, holey = (psnr_db(deblur(photo, blur_radius=r).image, GREY) for r in (SMOOTH_RADIUS, holes))
    assert holey > whole - 0.3


def test_a_map_of_nothing_out_of_focus_changes_nothing():
    result = with_map(radius=np.zeros((H, W)))
    np.testing.assert_array_equal(result.image, BLURRED)
    np.testing.assert_array_equal(result.destroyed, 0)


def test_a_constant_map_is_as_good_as_one_psf():
    photo = convolve(GREY, gaussian_psf(1.5)) + noise(GREY.shape)
    result = with_map(photo, np.full((H, W), 3))
    single = deconvolve(photo, gaussian_psf(1.5), lam=result.lam, value_range=(0, np.inf), tol=1e-3)
    np.testing.assert_allclose(result.image, single.image, atol=1e-3)


@pytest.mark.parametrize("protect_sharp", [None, True, False])
@pytest.mark.parametrize("channels", ["rgb", "luminance", "intensity", "edges"])
def test_every_kind_of_channels_takes_a_map(channels, protect_sharp):
    result = with_map(COLOUR, channels=channels, protect_sharp=protect_sharp, lams=[1e-4])
    assert psnr_db(result.image, COFFEE) > psnr_db(COLOUR, COFFEE) + 1.5
    sharp = RADIUS == 0
    assert (protect_sharp is False) != np.allclose(result.image[sharp], COLOUR[sharp], atol=1e-6)
    assert result.image.shape == COLOUR.shape
    assert result.reblur_residual.shape == (COLOUR.shape if channels == "rgb" else (H, W))


def test_the_best_of_several_lams_by_the_reference():
    lams = (1e-5, 1e-4, 1e-2)
    result = with_map(reference=GREY, lams=lams)
    assert set(result.scores) == {Candidate(0.0, lam) for lam in lams}
    assert result.lam == 1e-4
    assert psnr_db(result.image, GREY) == max(result.scores.values()) == result.scores[0.0, 1e-4, None, None]
    np.testing.assert_array_equal(result.image, with_map(lams=[1e-4]).image)


@pytest.mark.parametrize("psf_shape", ["auto", "disk"])
@pytest.mark.parametrize("radius", [6, 4 + 4 * RAMP], ids=["exact where the shape is named", "measured"])
def test_a_wrong_map_is_warned_of_and_does_little_harm(radius, psf_shape):
    photo = encode(convolve(decode(COFFEE), disk_psf(6)[..., None], mode="nearest")) + noise(COFFEE.shape)
    with pytest.warns(ResidualWarning) as warned:
        result = deblur(photo, blur_radius=np.broadcast_to(np.float32(radius), (H, W)), psf_shape=psf_shape)
    assert "the map of the blur does not fit" in str(warned[0].message)
    assert psnr_db(result.image, COFFEE) > psnr_db(photo, COFFEE) - 0.3


@pytest.mark.parametrize("options", [{}, {"psf_shape": "disk"}])
@pytest.mark.parametrize("radius", [3, 2.5 + RAMP], ids=["exact", "measured"])
def test_a_right_map_is_not_doubted(radius, options):
    photo = encode(convolve(decode(COFFEE), disk_psf(6)[..., None], mode="nearest")) + noise(COFFEE.shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the map of the blur does not fit")
        result = deblur(photo, blur_radius=np.broadcast_to(np.float32(radius), (H, W)), **options)
    assert psnr_db(result.image, COFFEE) > psnr_db(photo, COFFEE) + 1


def test_what_is_destroyed_grows_with_the_radius():
    destroyed = with_map().destroyed
    assert destroyed.dtype == np.float32
    values = [np.unique(destroyed[r == RADIUS]) for r in (0, 2, 4)]
    assert [len(value) for value in values] == [1, 1, 1]
    assert 0 <= values[0] < values[1] < values[2] < 1


def test_a_clipped_lamp_is_not_trusted():
    scene = decode(0.3 * GREY + 0.1)
    scene[90:100, 120:130] = 3
    photo = encode(np.minimum(convolve(scene, disk_psf(6)), 1)) + noise(GREY.shape, 0.001)
    photo = photo.clip(0, 1).astype(np.float32)
    clipped = photo >= 0.999
    result = deblur(photo, blur_radius=np.full((H, W), 3), psf_shape="disk")
    naive = encode(deconvolve(decode(photo), disk_psf(6), lam=result.lam, num_iter=60, tol=0).image)
    distance = distance_transform_edt(~clipped)
    around = (distance > 1) & (distance <= 12)
    before, after, trusting = (
        np.square(image - encode(scene))[around].mean() for image in (photo, result.image, naive)
    )
    assert after < 0.2 * before < 0.2 * trusting
    assert result.reblur_residual[clipped].max() <= 0  # more light than white is no error


@pytest.mark.parametrize("photo", [BLURRED, COLOUR], ids=["grey", "colour"])
def test_same_bits_at_any_thread_count(photo):
    radius = RADIUS + 0.001 * (COLUMNS % 20)
    images = [with_map(photo, radius, threads=threads).image for threads in (1, 2, None)]
    for image in images[1:]:
        np.testing.assert_array_equal(image, images[0])


def test_progress_goes_to_the_end_and_can_be_stopped(monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    for lams in ([1e-4], [1e-4, 1e-3]):
        calls = []
        with_map(reference=GREY, lams=lams, callback=lambda *call, calls=calls: calls.append(call))
        stages, done, totals = zip(*calls, strict=True)
        assert set(stages) == {"deblur"}
        assert list(done) == sorted(set(done))
        assert done[-1] == totals[-1] == 60 * len(lams)
    with pytest.raises(Cancelled):
        with_map(num_iter=10**9, callback=lambda *call: False)


@pytest.mark.filterwarnings("ignore::fastrefocus.errors.ResidualWarning")  # after so few iterations
def test_solver_options_are_passed_on():
    assert with_map(num_iter=3, tol=0, lams=[1e-4]).num_iter == 3
    plain = with_map(num_iter=5, lams=[1e-4]).image
    for changed in ({"boundary": "periodic"}, {"tv": "anisotropic"}, {"relaxation": 1.0}, {"rho": 1.0}):
        assert (with_map(num_iter=5, lams=[1e-4], **changed).image != plain).any()


# The PSFs of a lens


def off_centre(row, column):
    """A disk of radius 3, moved by up to 2 pixels, with another weight at each side."""
    psf = np.zeros((13, 13), np.float32)
    disk = disk_psf(6) * np.linspace(1 - 0.3 * column, 1 + 0.3 * column, 7)
    psf[3 + 2 * row : 10 + 2 * row, 2 + 2 * column : 9 + 2 * column] = disk / disk.sum()
    return psf


GRID = PsfGrid(np.array([[off_centre(row, column) for column in range(3)] for row in range(2)]), radius=3)


def through_the_lens(sharp):
    photo = np.empty_like(sharp)
    for row, column in np.ndindex(GRID.shape):
        cell = np.s_[H * row // 2 : H * (row + 1) // 2, W * column // 3 : W * (column + 1) // 3]
        photo[cell] = convolve(sharp, GRID.at(row, column))[cell]
    return photo + noise(sharp.shape)


def test_each_cell_of_a_grid_has_its_own_psf():
    photo = through_the_lens(GREY)
    radius = np.full((H, W), 3)
    result = with_map(photo, radius, psf_shape=GRID)
    disk = with_map(photo, radius, psf_shape="disk", lams=[result.lam])
    assert psnr_db(result.image, GREY) > psnr_db(photo, GREY) + 4
    assert psnr_db(result.image, GREY) > psnr_db(disk.image, GREY) + 4
    for row, column in np.ndindex(GRID.shape):
        cell = np.s_[H * row // 2 : H * (row + 1) // 2, W * column // 3 : W * (column + 1) // 3]
        assert psnr_db(result.image[cell], GREY[cell]) > psnr_db(photo[cell], GREY[cell]) + 2
    np.testing.assert_array_equal(with_map(photo, radius, psf_shape=GRID, threads=2).image, result.image)


def test_a_grids_psfs_are_scaled_to_the_radius():
    blur = layered_blur(given_map(np.float32([[1.5, 3]]), may_be_exact=True), GRID, protect_sharp=True)
    assert blur.cells == (2, 3)
    np.testing.assert_array_equal(blur.psf_of(1.5, (1, 2)), GRID.at(1, 2, radius=1.5))


# Depth

LAYER = np.searchsorted([W // 3, 2 * W // 3], np.arange(W), side="right")
METRES = np.broadcast_to(np.float32([1, 2, 5])[LAYER], (H, W))
TRUE_RADII = (0, 3, 1.5)


def in_layers(sharp):
    """A photo whose three layers are sharp, and blurred by disks of radius 3 and 1.5."""
    linear = decode(sharp)
    blurred = [linear, *(convolve(linear, disk_psf(2 * radius), mode="nearest") for radius in TRUE_RADII[1:])]
    return encode(np.choose(np.broadcast_to(LAYER, (H, W)), blurred)) + noise(sharp.shape)


@pytest.mark.parametrize(
    ("kind", "values"), [("relative", (METRES - 1) / 4), ("inverse", 1 / METRES), ("metric", METRES)]
)
def test_layers_of_depth_find_their_blur(kind, values):
    photo = in_layers(GREY)
    values = values.copy()
    values[50:70, 100:130] = np.nan
    result = deblur(photo, depth=DepthMap(values, kind), psf_shape="disk")
    for k, radius in enumerate(TRUE_RADII):
        np.testing.assert_allclose(np.unique(result.blur_radius[:, k == LAYER]), [radius], atol=0.51)
    assert (result.sigma, result.psf_shape) == (None, None)
    assert psnr_db(result.image, GREY) > psnr_db(photo, GREY) + 3
    sharp = result.blur_radius == 0
    np.testing.assert_allclose(result.image[sharp], photo[sharp], atol=1e-5)


def test_depth_that_varies_is_divided_into_layers():
    photo = in_layers(GREY)
    result = deblur(photo, depth=DepthMap(METRES * (1 + 0.1 * ROWS / H), "metric"))
    assert psnr_db(result.image, GREY) > psnr_db(photo, GREY)


def test_a_layer_too_small_to_say_anything_is_blurred_as_the_next():
    metres = np.full((H, W), 2.0)
    metres[:19, :19] = 1
    photo = encode(convolve(decode(GREY), disk_psf(7), mode="nearest")) + noise(GREY.shape)
    result = deblur(photo, depth=DepthMap(metres, "metric"), psf_shape="disk")
    assert result.blur_radius.min() == result.blur_radius.max() > 2


@pytest.mark.parametrize("sharp", [GREY, skimage.data.chelsea()[20:220, 100:360, 1] / np.float32(255)])
def test_a_sharp_photo_with_depth_stays_as_it_is(sharp):
    result = deblur(sharp, depth=DepthMap(METRES, "metric"))
    assert (result.sigma, result.blur_radius) == (0, None)
    np.testing.assert_array_equal(result.image, sharp)


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"depth": DepthMap(METRES, "metric")}, ValueError, "depth and blur_radius both say how the blur varies"),
        ({"sigmas": [1, 2]}, ValueError, "sigmas are for one PSF for the whole photo; leave them out"),
        (
            {"blur_radius": RADIUS - 4},
            ValueError,
            r"blur_radius must be 0 to 99\.5 pixels .* \(200, 260\), got -4 to 0",
        ),
        ({"blur_radius": RADIUS + 96}, ValueError, r"blur_radius must be 0 to 99\.5 pixels .* got 96 to 100"),
        ({"blur_radius": RADIUS[1:]}, ValueError, r"blur_radius must have .* \(200, 260\), got \(199, 260\)"),
        ({"blur_radius": 3}, ValueError, r"blur_radius must have shape \(H, W\)"),
        ({"blur_radius": RADIUS * np.nan}, ValueError, "blur_radius must be known somewhere, got NaN everywhere"),
        ({"blur_radius": RADIUS + np.float32(np.inf)}, ValueError, "blur_radius must hold"),
        ({"blur_radius": RADIUS + 0j}, TypeError, "blur_radius must hold real numbers, got dtype complex64"),
        ({"blur_radius": "map"}, TypeError, "blur_radius must"),
        ({"psf_shape": "box"}, ValueError, "psf_shape must be one of 'auto', 'disk', 'gaussian', got 'box'"),
        ({"psf_shape": PsfGrid(GRID.psfs)}, ValueError, "a PsfGrid as psf_shape needs a radius of its own"),
        ({"psf_shape": GRID, "blur_radius": None}, ValueError, "a PsfGrid .* goes with blur_radius"),
        ({"boundary": "reflect"}, ValueError, 'a map of the blur goes with boundary="masked" or "periodic", got "re'),
        ({"lams": [1e-4, 1e-3]}, ValueError, r"lams must be a single weight where there is no reference .* got \["),
        ({"protect_sharp": "yes"}, TypeError, "protect_sharp must be .* got"),
        ({"edge_sigmas": [1]}, ValueError, "edge_sigmas goes with channels=\"edges\", got channels='rgb'"),
        ({"reference": COFFEE}, ValueError, r"reference must have the image's shape \(200, 260\)"),
        ({"threads": 0}, ValueError, "threads must be >= 1, got 0"),
        ({"callback": "print"}, TypeError, "callback must be callable or None, got str"),
    ],
)
def test_wrong_arguments_with_a_map_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        deblur(BLURRED, **{"blur_radius": RADIUS, "linearize": False} | options)


@pytest.mark.parametrize(
    ("depth", "options", "error", "message"),
    [
        (METRES, {}, TypeError, "depth must be a DepthMap, which declares its kind, got ndarray"),
        (DepthMap(METRES[1:], "metric"), {}, ValueError, r"height and width \(200, 260\), got \(199, 260\)"),
        (DepthMap(METRES * np.nan, "metric"), {}, ValueError, "depth must be known somewhere, got NaN everywhere"),
        (DepthMap(METRES, "metric"), {"sigmas": [1]}, ValueError, "sigmas are for one PSF for the whole photo"),
        (DepthMap(METRES, "metric"), {"psf_shape": GRID}, ValueError, "a PsfGrid .* goes with blur_radius"),
        (DepthMap(METRES, "metric"), {"boundary": "reflect"}, ValueError, "a map of the blur goes with boundary"),
        (DepthMap(METRES, "metric"), {"lams": [1e-4, 1e-3]}, ValueError, "lams must be a single weight"),
    ],
)
def test_wrong_arguments_with_depth_are_refused(depth, options, error, message):
    with pytest.raises(error, match=message):
        deblur(BLURRED, depth=depth, **options)
