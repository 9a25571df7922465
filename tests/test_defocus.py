"""render_defocus and render_focus_sweep: what must hold of every photo."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import defocus as reference
from scipy.signal import oaconvolve

import fastrefocus as fr
from fastrefocus import Aperture, missing_blur, render_defocus, render_focus_sweep
from fastrefocus.light import decode, encode
from fastrefocus.rendering import defocus

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(st.integers(1, 45), st.integers(1, 45)).filter(lambda shape: shape[0] != shape[1])
FULL_SIZE = defocus._THRESHOLDS["default"]  # pixels: larger circles are spread in smaller pictures
CORNER = np.tri(21, dtype=bool)  # its right angle is at the lower left
TRIANGLE, TURNED_TRIANGLE = Aperture(mask=CORNER), Aperture(mask=CORNER[::-1, ::-1])
MIRRORED_TRIANGLES = Aperture(mask=CORNER[::-1]), Aperture(mask=CORNER[:, ::-1])  # as SIDES
IRISES = Aperture(blades=6), Aperture(blades=6, rotation=0.5, roundness=0.6)
SIDES = (np.s_[::-1], np.s_[:, ::-1])


def psnr(result, truth):
    return -10 * math.log10(max(np.square(result - truth, dtype=np.float64).mean(), 1e-12))


def random_image(rng, shape, grey):
    return rng.random(shape if grey else (*shape, 3), np.float32)


def random_radius(rng, shape, largest):
    """A surface, flat or slanted, behind or in front of up to three others."""
    radius = np.full(shape, rng.uniform(-largest, largest))
    if rng.random() < 0.5:
        radius += np.linspace(0, rng.uniform(-3, 3), shape[1])
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        radius[y : y + rng.integers(1, shape[0] + 1), x : x + rng.integers(1, shape[1] + 1)] = rng.choice(
            [0, rng.uniform(-largest, largest)]
        )
    return radius.astype(np.float32)


@st.composite
def scenes(draw, largest=(3.0, 12.0, 40.0)):
    """A small photo, grey or in colour, and its radii."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(SHAPES)
    return random_image(rng, shape, draw(st.booleans())), random_radius(rng, shape, draw(st.sampled_from(largest)))


def two_layers(shape=(40, 56), near=-1.0, far=6.0, grey=False):
    """A textured object in front of a textured background."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(shape)
    background = 0.5 + 0.4 * np.sin(columns / 2.1 + np.sin(rows / 3)) * np.cos(rows / 2.7)
    object_ = rng.random(shape)
    inside = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < min(shape) / 4
    grey_image = np.where(inside, object_, background).astype(np.float32)
    image = grey_image if grey else np.dstack([grey_image, 1 - grey_image, np.sqrt(grey_image)])
    return image, np.where(inside, near, far).astype(np.float32)


def point(shape, place):
    image = np.zeros(shape, np.float32)
    image[place] = 1
    return image


def moments(light, centre):
    """Sum, centroid (y, x) from a centre, and the mean of the variances about the centre along the axes."""
    y, x = np.indices(light.shape) - np.reshape(centre, (2, 1, 1))
    total = light.sum(dtype=float)
    centroid = np.array([(light * y).sum(dtype=float), (light * x).sum(dtype=float)]) / total
    return total, centroid, (light * (y**2 + x**2)).sum(dtype=float) / total / 2


@settings(max_examples=50)
@given(scenes(), st.floats(0, 1, width=32), st.sampled_from(["fast", "default"]), st.booleans())
def test_a_constant_image_stays_constant(scene, value, quality, linearize):
    image = np.full_like(scene[0], value)
    result = render_defocus(image, scene[1], quality=quality, linearize=linearize)
    assert result.dtype == np.float32
    assert result.shape == image.shape
    np.testing.assert_allclose(result, image, rtol=0, atol=1e-6)


@settings(max_examples=50)
@given(scenes(), st.sampled_from(["fast", "default"]), st.booleans())
def test_no_value_leaves_the_range_of_the_image(scene, quality, linearize):
    image, radius = scene
    image = 0.2 + 0.5 * image
    image[:, : image.shape[1] // 2] = image.max()
    result = render_defocus(image, radius, quality=quality, linearize=linearize)
    assert result.min() >= image.min()
    assert result.max() <= image.max()


@settings(max_examples=50)
@given(scenes(), st.floats(-0.5, 0.5), st.booleans(), st.sampled_from(["fast", "default", "reference"]))
def test_what_is_in_focus_comes_back_bit_for_bit(scene, radius, linearize, quality):
    image = scene[0]
    for plane in (np.zeros(image.shape[:2]), np.full(image.shape[:2], radius)):
        result = render_defocus(image, plane, quality=quality, linearize=linearize)
        np.testing.assert_array_equal(result, image)
        assert result is not image


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([-30.0, -5.0, 5.0, 30.0]), st.booleans(), st.booleans())
def test_pixels_in_focus_away_from_blur_come_back_bit_for_bit(seed, blur, linearize, grey):
    rng = np.random.default_rng(seed)
    image = random_image(rng, (37, 100), grey)
    radius = np.where(np.arange(100) < 60, 0, blur) + np.zeros((37, 1))
    result = render_defocus(image, radius, linearize=linearize)
    sharp = 58 if blur > 0 else 60 - int(-blur) - 3
    np.testing.assert_array_equal(result[:, :sharp], image[:, :sharp])
    assert result[:, 60:].std() < 0.5 * image[:, 60:].std()


@settings(max_examples=60)
@given(scenes(), st.sampled_from(["fast", "default"]), st.booleans())
def test_flipping_the_input_flips_the_output(scene, quality, linearize):
    image, radius = scene
    result = render_defocus(image, radius, quality=quality, linearize=linearize)
    for side in SIDES:
        flipped = render_defocus(image[side], radius[side], quality=quality, linearize=linearize)
        # In linear light: the encoding is steep near black
        np.testing.assert_allclose(*(decode(a) if linearize else a for a in (flipped[side], result)), rtol=0, atol=1e-5)


@settings(max_examples=50)
@given(SEEDS, SHAPES, st.sampled_from([3, 12, 40]), st.sampled_from(["fast", "default"]))
def test_flipping_holds_where_numbers_lie_between_two_steps(seed, shape, largest, quality):
    rng = np.random.default_rng(seed)
    image = rng.choice(np.float32([0, 0.25, 0.5, 1]), (*shape, 3))
    radius = rng.integers(-largest * 2, largest * 2, 4)[rng.integers(0, 4, shape)] / 2
    radius[: shape[0] // 2] = np.arange(shape[1]) / 8
    result = render_defocus(image, radius, quality=quality, linearize=False)
    for side in SIDES:
        flipped = render_defocus(image[side], radius[side], quality=quality, linearize=False)
        np.testing.assert_allclose(flipped[side], result, rtol=0, atol=1e-5)


@settings(max_examples=40)
@given(scenes(), st.sampled_from(["fast", "default"]))
def test_a_mirrored_aperture_mirrors_the_blur(scene, quality):
    image, radius = scene
    for side, mirrored_triangle in zip(SIDES, MIRRORED_TRIANGLES, strict=True):
        whole = render_defocus(image, radius, aperture=TRIANGLE, quality=quality, linearize=False)
        mirrored = render_defocus(
            image[side], radius[side], aperture=mirrored_triangle, quality=quality, linearize=False
        )
        np.testing.assert_allclose(mirrored[side], whole, rtol=0, atol=2e-5)  # the outline's scanlines are rounded


@settings(max_examples=15)
@given(scenes())
def test_a_mirrored_iris_mirrors_the_blur_with_cat_eyes_too(scene):
    image, radius = scene
    one, other = (Aperture(blades=5, rotation=turn, cat_eye=0.5) for turn in (0.3, math.pi - 0.3))
    whole = render_defocus(image, radius, aperture=one, linearize=False)
    mirrored = render_defocus(image[:, ::-1], radius[:, ::-1], aperture=other, linearize=False)
    np.testing.assert_allclose(mirrored[:, ::-1], whole, rtol=0, atol=2e-5)


@settings(max_examples=30)
@given(scenes(), st.sampled_from([-20.0, -6.0, -2.0, 0.7, 3.0, 13.0]))
def test_of_one_surface_the_turned_aperture_on_the_other_side_is_the_same(scene, radius):
    image = scene[0]
    one = render_defocus(image, np.full(image.shape[:2], radius), aperture=TRIANGLE, linearize=False)
    other = render_defocus(image, np.full(image.shape[:2], -radius), aperture=TURNED_TRIANGLE, linearize=False)
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


@settings(max_examples=30)
@given(SEEDS, st.floats(0.6, 20), st.booleans(), st.sampled_from(["fast", "default"]), st.booleans())
def test_the_energy_of_one_surface_is_kept(seed, size, behind, quality, rounded):
    rng = np.random.default_rng(seed)
    reach = int(1.6 * size) + 8  # a coarse level's pixels lie up to a third of the radius further out
    border = int(size) + 3  # to where light comes in from beyond the border
    first = border + reach
    image = np.zeros((2 * first + 7, 2 * first + 12), np.float32)
    image[first : first + 7, first : first + 12] = rng.random((7, 12))
    radius = np.full(image.shape, size if behind else -size)
    result = render_defocus(image, radius, aperture=IRISES[rounded], quality=quality, linearize=False)
    inner = result[border:-border, border:-border]
    assert inner.sum(dtype=float) == pytest.approx(image.sum(dtype=float), rel=1e-5)
    assert result.max() < image.max()
    assert result.sum() - inner.sum() < 1e-3 * inner.sum()  # the border is continued by a little of all that is around


@settings(max_examples=30)
@given(SEEDS, st.integers(16, int(16 * FULL_SIZE)), st.booleans())
def test_one_radius_is_a_convolution_with_the_disk(seed, sixteenths, grey):
    """Radii are rounded to 1 / 16 pixel; scanlines are 1 / 128 of the radius high."""
    size = sixteenths / 16
    image = random_image(np.random.default_rng(seed), (60, 53), grey)
    for radius in (size, -size):
        result = render_defocus(image, np.full((60, 53), radius), linearize=False)
        psf = fr.disk_psf(2 * size)
        k = len(psf) // 2
        expected = oaconvolve(image, psf if grey else psf[..., np.newaxis], mode="valid", axes=(0, 1))
        np.testing.assert_allclose(result[k : 60 - k, k : 53 - k], expected, rtol=0, atol=2e-3)


@settings(max_examples=50)
@given(st.floats(1, FULL_SIZE), st.booleans())
def test_a_point_of_light_becomes_the_disk(size, behind):
    image = point((41, 50), (20, 25))
    result = render_defocus(image, np.full(image.shape, size if behind else -size), linearize=False)
    rounded = int(size * 16 + 0.5) / 16
    for diameter, tolerance in ((2 * rounded, 0.01), (2 * size, 0.07)):  # of the peak
        psf = fr.disk_psf(diameter)
        expected = np.pad(psf, [(20 - len(psf) // 2, 20 - len(psf) // 2), (25 - len(psf) // 2, 24 - len(psf) // 2)])
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * psf.max())


@pytest.mark.parametrize("quality", ["fast", "default"])
@pytest.mark.parametrize("size", [1.7, 2.0, 3.9, 6.5, 9.0, 11.0, 13.0, 17.0])
def test_the_disk_has_its_variance_at_any_level(size, quality):
    """In coarse levels light is moved to the middles of their pixels; on the whole this is made up for."""
    level = max(math.ceil(math.log2(size / defocus._THRESHOLDS[quality])), 0)
    step = 2**level
    half = int(1.6 * size) + 10
    variances, shifts = [], []
    for y, x in itertools.product(range(step), range(step)):
        place = half + y, half + 3 + x
        image = point((2 * half + step, 2 * half + step + 7), place)
        result = render_defocus(image, np.full(image.shape, size), quality=quality, linearize=False)
        _, shift, variance = moments(result, place)
        variances.append(variance)
        shifts.append(shift)
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=1e-3)
    np.testing.assert_array_less(np.abs(shifts), step / 2)
    # The pixel adds 1 / 12. A radius is rounded by up to 1 / 32 of the level's pixels; sampling a disk of hard edges on
    # their grid changes its variance by up to 0.06 of their area
    tolerance = size * step / 32 / 2 + 0.06 * step**2
    assert np.mean(variances) == pytest.approx(size**2 / 4 + 1 / 12, abs=tolerance)


@pytest.mark.parametrize("size", [2.5, 5.5])
def test_the_aperture_is_as_given_in_front_and_turned_behind(size):
    shape, place = (31, 38), (15, 17)
    reach = int(size + 0.5)
    around = np.s_[15 - reach : 16 + reach, 17 - reach : 18 + reach]
    spans = TRIANGLE.spans()
    given, turned = reference.kernel(spans, size), reference.kernel(-spans[::-1, ::-1], size)
    assert given[-1, 0] < given[-2, 1] > 1.5 * given[1, -2]  # the triangle's right angle is at the lower left
    for radius, expected in ((-size, given), (size, turned)):
        result = render_defocus(point(shape, place), np.full(shape, radius), aperture=TRIANGLE, linearize=False)
        np.testing.assert_allclose(result[around], expected, atol=1e-6)
        assert result[4:-4, 4:-4].sum() == pytest.approx(result[around].sum(), rel=1e-5)


@pytest.mark.parametrize("quality", ["fast", "default", "reference"])
@pytest.mark.parametrize("size", [4.0, 15.0])
def test_all_qualities_turn_the_aperture_alike(size, quality):
    image = point((65, 72), (32, 36))
    for radius in (-size, size):
        result = render_defocus(
            image, np.full(image.shape, radius), aperture=TRIANGLE, quality=quality, linearize=False
        )
        _, (y, x), variance = moments(result, (32, 36))
        wanted = np.array([1, -1]) * (1 / 3 if radius < 0 else -1 / 3) * size  # the centroid of half a square
        moved = {"fast": 2.1, "default": 1.1, "reference": 0.0}[quality]  # half a pixel of the level
        np.testing.assert_allclose((y, x), wanted, atol=0.04 * size + moved)
        assert variance - (y**2 + x**2) / 2 == pytest.approx(TRIANGLE.second_moment * size**2, rel=0.12, abs=0.2)


@pytest.mark.parametrize("quality", ["fast", "default", "reference"])
@pytest.mark.parametrize("radius", [-6.0, 6.0])
def test_a_cat_eye_cuts_circles_towards_the_corners(quality, radius):
    shape, aperture = (70, 94), Aperture(cat_eye=0.9)
    areas = []
    for place in ((35, 47), (12, 16), (35, 81)):
        result = render_defocus(
            point(shape, place), np.full(shape, radius), aperture=aperture, quality=quality, linearize=False
        )
        total, shift, _ = moments(result, place)
        areas.append(total**2 / np.square(result, dtype=float).sum())
        outwards = np.subtract(place, (34.5, 46.5))
        distance = np.hypot(*outwards)
        if distance > 1:
            # Of two disks of radius 1, d apart, the common part's centroid lies half-way
            expected = -radius * 0.9 * distance / np.hypot(35, 47) / 2
            assert shift @ outwards / distance == pytest.approx(expected, abs=1 if quality == "fast" else 0.45)
            across = shift @ [-outwards[1], outwards[0]] / distance
            assert abs(across) < (0.7 if quality == "fast" else 0.3)
        else:
            np.testing.assert_allclose(shift, 0, atol=0.6 if quality == "fast" else 0.3)
    assert areas[1] < 0.8 * areas[0]
    assert areas[2] < 0.8 * areas[0]


def test_the_place_of_a_cat_eye_does_not_depend_on_the_blur_elsewhere():
    shape, place = (60, 85), (8, 10)
    near = np.full(shape, 5.0)
    both = near.copy()
    both[:, 80:] = 40
    aperture = Aperture(cat_eye=1.0)
    result = [
        render_defocus(point(shape, place), radius, aperture=aperture, linearize=False) for radius in (near, both)
    ]
    np.testing.assert_allclose(moments(result[0], place)[1], moments(result[1], place)[1], atol=0.25)


@settings(max_examples=25)
@given(
    SEEDS, st.tuples(st.integers(65, 200), st.integers(3, 40)), st.integers(2, 6), st.sampled_from(["fast", "default"])
)
def test_threads_change_nothing(seed, shape, threads, quality):
    rng = np.random.default_rng(seed)
    image, radius = random_image(rng, shape, grey=False), random_radius(rng, shape, 20)
    one = render_defocus(image, radius, quality=quality, threads=1)
    np.testing.assert_array_equal(render_defocus(image, radius, quality=quality, threads=threads), one)
    sweeps = [list(render_focus_sweep(image, radius, [2, -3], quality=quality, threads=n)) for n in (1, threads)]
    np.testing.assert_array_equal(*sweeps)


def test_threads_change_nothing_in_the_reference():
    image, radius = two_layers((70, 20))
    one, three = (render_defocus(image, radius, quality="reference", threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([-5.5, -1.2, 0.8, 3.0]), st.integers(-6, 6), st.integers(-6, 6), st.booleans())
def test_moved_content_moves_the_output(seed, radius, down, right, grey):
    rng = np.random.default_rng(seed)
    image = random_image(rng, (50, 63), grey)
    radii = np.full((50, 63), radius) + rng.uniform(-0.4, 0.4, (50, 63))
    moved, moved_radii = (np.roll(a, (down, right), (0, 1)) for a in (image, radii))
    result = render_defocus(image, radii, linearize=False)
    expected = np.roll(result, (down, right), (0, 1))[14:-14, 14:-14]
    found = render_defocus(moved, moved_radii, linearize=False)[14:-14, 14:-14]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("near", "far"), [(0.0, 5.0), (-5.0, 0.0), (-14.0, 0.0), (0.0, 14.0)])
def test_a_moved_object_looks_the_same(near, far):
    image, radius = two_layers((90, 121), near, far)
    result = render_defocus(image, radius, linearize=False)
    for shift in ((3, -2), (1, 5), (-4, 0)):
        moved = render_defocus(np.roll(image, shift, (0, 1)), np.roll(radius, shift, (0, 1)), linearize=False)
        inner = np.s_[20:-20, 20:-20]
        assert psnr(moved[inner], np.roll(result, shift, (0, 1))[inner]) > 33


def test_a_sharp_object_neither_bleeds_nor_darkens():
    image = np.full((60, 91, 3), [0.3, 0.6, 0.9], np.float32)
    radius = np.full((60, 91), 7.0)
    image[20:40, 30:60], radius[20:40, 30:60] = 0.05, 0
    for quality in ("fast", "default", "reference"):
        result = render_defocus(image, radius, quality=quality)
        np.testing.assert_allclose(result, image, atol=0.01)
    np.testing.assert_array_equal(result[22:38, 32:58], image[22:38, 32:58])


@pytest.mark.parametrize("quality", ["fast", "default", "reference"])
@pytest.mark.parametrize("size", [5.0, 14.0])
def test_a_blurred_object_covers_the_background_in_part(size, quality):
    """The edge of a half-plane blurred by a disk: the share of the disk beyond it."""
    image = np.zeros((50, 101), np.float32)
    radius = np.zeros((50, 101))
    image[:, 50:], radius[:, 50:] = 1, -size
    result = render_defocus(image, radius, quality=quality, linearize=False)
    t = np.clip((np.arange(101) - 49.5) / size, -1, 1)
    share = 0.5 + (t * np.sqrt(1 - t**2) + np.arcsin(t)) / math.pi
    tolerance = {"reference": 0.01, "default": 0.03, "fast": 0.06}[quality]
    np.testing.assert_allclose(result[25], share, atol=tolerance)
    np.testing.assert_allclose(result[25:26] * np.ones((50, 1)), result, atol=0.02)


@pytest.mark.parametrize(("near", "far"), [(0.0, 5.0), (-5.0, 0.0), (-3.0, 4.0)])
@pytest.mark.parametrize(("quality", "least"), [("default", 36), ("fast", 34)])
def test_qualities_are_close_to_the_reference(near, far, quality, least):
    image, radius = two_layers(near=near, far=far)
    truth = render_defocus(image, radius, quality="reference")
    assert psnr(render_defocus(image, radius, quality=quality), truth) > least
    assert psnr(image, truth) < least - 8  # which is not for want of blur


@pytest.mark.parametrize("aperture", [Aperture(blades=6, rotation=0.2), CORNER, Aperture(cat_eye=0.8)])
def test_apertures_are_those_of_the_reference(aperture):
    image, radius = two_layers(near=-6.0, far=5.0)
    truth = render_defocus(image, radius, aperture=aperture, quality="reference")
    assert psnr(render_defocus(image, radius, aperture=aperture), truth) > 34


def test_blur_grows_with_the_radius():
    rng = np.random.default_rng(0)
    image = rng.random((60, 80), np.float32)
    deviations = [render_defocus(image, np.full(image.shape, r))[20:-20, 20:-20].std() for r in (0, 1, 3, 8, 15)]
    assert (np.diff(deviations) < 0).all()


@settings(max_examples=25)
@given(scenes(), SEEDS, st.booleans())
def test_existing_blur_is_not_added_again(scene, seed, number):
    image, radius = scene
    existing = 2.5 if number else np.random.default_rng(seed).uniform(0, 6, radius.shape)
    if not number:
        existing[0, 0] = np.nan
    iris = Aperture(blades=5)
    for aperture in ("disk", iris):
        result = render_defocus(image, radius, aperture=aperture, existing_radius=existing)
        expected = render_defocus(image, missing_blur(radius, existing, aperture=aperture), aperture=aperture)
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(render_defocus(image, radius, existing_radius=1000), image)
    np.testing.assert_array_equal(render_defocus(image, radius, existing_radius=0), render_defocus(image, radius))


def test_two_blurs_one_after_the_other_have_the_variance_of_the_wanted_one():
    image = point((61, 68), (30, 33))
    first = render_defocus(image, np.full(image.shape, 3.0), linearize=False)
    second = render_defocus(first, np.full(image.shape, 5.0), existing_radius=3.0, linearize=False)
    at_once = render_defocus(image, np.full(image.shape, 5.0), linearize=False)
    assert moments(second, (30, 33))[2] == pytest.approx(moments(at_once, (30, 33))[2], rel=0.02)


@settings(max_examples=40)
@given(SEEDS, st.booleans(), st.sampled_from([3, 12]), st.lists(st.integers(-24, 24), min_size=1, max_size=4))
def test_frames_of_a_sweep_are_those_of_single_renders(seed, grey, largest, quarters):
    rng = np.random.default_rng(seed)
    image, radius = random_image(rng, (30, 47), grey), random_radius(rng, (30, 47), largest)
    offsets = [quarter / 4 for quarter in quarters]
    frames = list(render_focus_sweep(image, radius, offsets, linearize=False))
    assert len(frames) == len(offsets)
    for offset, frame in zip(offsets, frames, strict=True):
        assert frame.dtype == np.float32
        assert frame.shape == image.shape
        single = render_defocus(image, radius + np.float32(offset), linearize=False)
        # The filling of what is hidden, and the pixels of coarse levels, lie otherwise in a larger margin
        assert np.sqrt(np.square(frame - single, dtype=float).mean()) < 0.07


@settings(max_examples=20)
@given(SEEDS, st.booleans(), st.sampled_from(["disk", TRIANGLE]))
def test_frames_of_one_surface_equal_single_renders(seed, grey, aperture):
    image = random_image(np.random.default_rng(seed), (41, 60), grey)
    radius = np.linspace(-2, 2, 60) + np.zeros((41, 1))
    offsets = [0, -1.5, 3.25]
    frames = render_focus_sweep(image, radius, offsets, aperture=aperture)
    for offset, frame in zip(offsets, frames, strict=True):
        single = render_defocus(image, radius + offset, aperture=aperture)
        inner = np.s_[9:-9, 9:-9]  # the margin is of another width
        np.testing.assert_allclose(decode(frame[inner]), decode(single[inner]), rtol=0, atol=1e-5)


def test_a_sweep_of_a_scene_is_close_to_single_renders():
    image, radius = two_layers((60, 85), near=-4.0, far=6.0)
    offsets = np.linspace(-6, 4, 5)
    for offset, frame in zip(offsets, render_focus_sweep(image, radius, offsets), strict=True):
        assert psnr(frame, render_defocus(image, radius + offset)) > 40


def test_a_sweep_has_frames_in_focus_too():
    image, _ = two_layers()
    frames = list(render_focus_sweep(image, np.full((40, 56), 3.0), np.array([-3, -2.75, 0], np.float32)))
    np.testing.assert_array_equal(frames[0], image)
    np.testing.assert_array_equal(frames[1], image)
    assert not np.shares_memory(frames[0], frames[1])
    assert not np.shares_memory(frames[0], image)
    assert frames[2].std() < image.std()
    np.testing.assert_allclose(
        next(render_focus_sweep(image, np.full((40, 56), 3.0), [0], quality="reference")),
        render_defocus(image, np.full((40, 56), 3.0), quality="reference"),
        atol=1e-6,
    )


@settings(max_examples=15)
@given(SEEDS, st.booleans())
def test_unknown_radii_are_those_of_the_nearest_known_pixel(seed, grey):
    rng = np.random.default_rng(seed)
    radius = np.kron(rng.uniform(-9, 9, (5, 7)), np.ones((5, 5)))
    image = random_image(rng, radius.shape, grey)
    expected = render_defocus(image, radius), *render_focus_sweep(image, radius, [0, 1])
    radius[np.kron(np.ones((5, 7)), np.pad(rng.random((3, 3)) < 0.8, 1)) > 0] = np.nan  # within each square
    found = render_defocus(image, radius), *render_focus_sweep(image, radius, [0, 1])
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=30)
@given(scenes(), st.floats(1.01, 20), st.floats(0, 0.99))
def test_highlights_are_raised_where_they_are_blurred(scene, gain, threshold):
    image, radius = scene
    plain = render_defocus(image, radius)
    np.testing.assert_array_equal(render_defocus(image, radius, highlight_gain=1, highlight_threshold=threshold), plain)
    dim = image * np.float32(threshold)
    np.testing.assert_array_equal(
        render_defocus(dim, radius, highlight_gain=gain, highlight_threshold=threshold), render_defocus(dim, radius)
    )
    sharp = render_defocus(image, np.zeros_like(radius), highlight_gain=gain, highlight_threshold=threshold)
    np.testing.assert_array_equal(sharp, image)


@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("quality", ["default", "reference"])
def test_a_clipped_lamp_is_as_bright_as_the_gain_says(linearize, quality):
    image = np.zeros((40, 61, 3), np.float32)
    image[20, 15] = image[20, 45] = [1, 0.5, 0.25]
    radius = np.where(np.arange(61) < 30, 0, 5) + np.zeros((40, 1))
    light = [
        np.asarray(render_defocus(image, radius, linearize=linearize, quality=quality, highlight_gain=gain))
        for gain in (1, 8)
    ]
    np.testing.assert_array_equal(light[1][:, :29], image[:, :29])
    plain, raised = ((decode(a) if linearize else a)[:, 32:].sum(axis=(0, 1)) for a in light)
    np.testing.assert_allclose(raised, 8 * plain, rtol=1e-3)


def test_the_gain_sets_in_softly():
    encoded = np.linspace(0.7, 1, 7, dtype=np.float32)
    for value, expected in zip(encoded, 1 + 3 * np.clip((encoded - 0.8) / 0.2, 0, 1), strict=True):
        image = np.full((9, 12), value, np.float32)
        result = render_defocus(image, np.full((9, 12), 4), highlight_gain=4, highlight_threshold=0.8)
        np.testing.assert_allclose(decode(result), decode(image) * expected, rtol=1e-4)
    white = np.ones((9, 12), np.float32)
    for radius, expected in ((0.75, 1.75), (1.0, 2.5), (1.5, 4), (-1.0, 2.5)):
        result = render_defocus(white, np.full((9, 12), radius), highlight_gain=4)
        np.testing.assert_allclose(decode(result), expected, rtol=1e-4)


def test_light_is_linear():
    image = np.repeat([[1.0, 0.0]], 30, axis=0).repeat(20, axis=1).astype(np.float32)
    result = render_defocus(image, np.full(image.shape, 6))
    linear = render_defocus(image, np.full(image.shape, 6), linearize=False)
    np.testing.assert_allclose(result, encode(linear), atol=1e-6)


@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("quality", ["default", "reference"])
def test_the_callback_counts_up_and_cancels(monkeypatch, frames, quality):
    clock = itertools.count(step=0.2)  # as if all was slow
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    image, radius = two_layers((150, 20))

    def render(callback):
        if frames is None:
            return render_defocus(image, radius, quality=quality, threads=1, callback=callback)
        return list(render_focus_sweep(image, radius, [0.0] * frames, quality=quality, threads=1, callback=callback))

    steps = []
    render(lambda *step: steps.append(step))
    assert {stage for stage, _, _ in steps} == {"defocus"}
    assert {total for _, _, total in steps} == {100}
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert done[-1] == 100
    assert len(set(done)) > 2
    for stop in (done[0], done[len(done) // 2]):
        with pytest.raises(fr.Cancelled, match="defocus"):
            render(lambda _, step, total, stop=stop: step < stop)


def test_a_sweep_that_is_given_up_ends_its_threads():
    image, radius = two_layers((150, 20))
    sweep = render_focus_sweep(image, radius, [0, 1, 2], threads=3)
    next(sweep)
    sweep.close()
    with pytest.raises(StopIteration):
        next(sweep)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 1), (1, 2, 3), (3, 1, 3)])
@pytest.mark.parametrize("radius", [0.4, 2.0, -3.0, 20.0, 1000.0, -1000.0])
def test_the_smallest_images_and_the_largest_radii(shape, radius):
    image = np.random.default_rng(0).random(shape, np.float32)
    result = render_defocus(image, np.full(shape[:2], radius), quality="fast")
    assert result.shape == shape
    assert (result >= image.min() - 1e-6).all()
    assert (result <= image.max() + 1e-6).all()
    if abs(radius) < 0.5:
        np.testing.assert_array_equal(result, image)


def test_a_single_pixel_far_out_of_focus_leaves_no_hole():
    image = np.full((260, 271), 0.6, np.float32)
    image[0, 0] = 0
    radius = np.zeros((260, 271))
    radius[60, 70] = 1000  # too small a jump to be worth a layer
    result = render_defocus(image, radius, linearize=False)
    np.testing.assert_allclose(result[2:, 2:], 0.6, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64, np.float16, ">f4"])
def test_any_dtype_of_image_and_radius_is_taken(dtype):
    image, radius = two_layers()
    if np.dtype(dtype).kind == "u":
        top = np.iinfo(dtype).max
        given = (image * top).astype(dtype)
        expected = render_defocus(given.astype(np.float32) / np.float32(top), radius)
    else:
        given = image.astype(dtype)
        expected = render_defocus(given.astype(np.float32), radius)
    np.testing.assert_array_equal(render_defocus(given, radius.astype(int)), expected)


def test_input_may_be_read_only_or_not_contiguous_and_is_left_alone():
    image, radius = two_layers()
    expected = render_defocus(image, radius)
    before = image.copy(), radius.copy()
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    turned = np.asfortranarray(radius)
    for array in (wide, turned):
        array.setflags(write=False)
    np.testing.assert_array_equal(render_defocus(wide, turned), expected)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(radius, before[1])
    np.testing.assert_array_equal(render_defocus(image.tolist(), radius.tolist()), expected)
    expected[:] = 0  # the result is the caller's


GREY, FLAT = np.full((6, 9), 0.5, np.float32), np.full((6, 9), 3.0)
BAD = [
    ({"image": GREY * np.nan}, ValueError, "^image must hold finite"),
    ({"image": GREY[:0]}, ValueError, "^image must have shape"),
    ({"image": GREY[0]}, ValueError, "^image must have shape"),
    ({"image": GREY[..., np.newaxis]}, ValueError, "^image must have shape"),
    ({"image": GREY > 0}, TypeError, "^image .* got dtype bool"),
    ({"image": GREY.astype(complex)}, TypeError, "^image"),
    ({"image": GREY * 200}, ValueError, "^image.*divide it by 255"),
    ({"image": "photo.jpg"}, TypeError, "^image"),
    ({"coc_radius": FLAT[:, 1:]}, ValueError, "^coc_radius must have the image's height and width"),
    ({"coc_radius": FLAT.T}, ValueError, "^coc_radius must have the image's height and width"),
    ({"coc_radius": 3.0}, ValueError, "^coc_radius"),
    ({"coc_radius": FLAT > 0}, TypeError, "^coc_radius .* got dtype bool"),
    ({"coc_radius": FLAT * np.inf}, ValueError, "^coc_radius must hold finite numbers or NaN"),
    ({"coc_radius": FLAT * np.nan}, ValueError, r"^coc_radius is unknown \(NaN\) everywhere"),
    ({"coc_radius": FLAT * -334}, ValueError, "^coc_radius must be within 1000 pixels, got -1002"),
    ({"coc_radius": np.dstack([FLAT, FLAT])}, ValueError, "^coc_radius must have shape"),
    ({"aperture": "hexagon"}, ValueError, "^aperture"),
    ({"aperture": 6}, TypeError, "^aperture"),
    ({"aperture": None}, TypeError, "^aperture"),
    ({"aperture": np.ones((5, 6))}, ValueError, "^mask must be square"),
    ({"quality": "best"}, ValueError, "^quality must be one of 'fast', 'default', 'reference'"),
    ({"quality": None}, ValueError, "^quality"),
    ({"linearize": 1}, TypeError, "^linearize must be True or False"),
    ({"threads": 0}, ValueError, "^threads"),
    ({"threads": True}, TypeError, "^threads"),
    ({"threads": 1.0}, TypeError, "^threads"),
    ({"callback": 3}, TypeError, "^callback must be callable"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *BAD,
        ({"existing_radius": -1}, ValueError, "^existing"),
        ({"existing_radius": FLAT[1:]}, ValueError, "^existing"),
        ({"existing_radius": True}, TypeError, "^existing"),
        ({"existing_radius": np.inf}, ValueError, "^existing"),
        ({"highlight_gain": 0.5}, ValueError, "^highlight_gain must be a finite number >= 1"),
        ({"highlight_gain": np.nan}, ValueError, "^highlight_gain"),
        ({"highlight_gain": True}, TypeError, "^highlight_gain"),
        ({"highlight_threshold": 1}, ValueError, "^highlight_threshold must be a finite number < 1 and >= 0"),
        ({"highlight_threshold": -0.1}, ValueError, "^highlight_threshold"),
    ],
)
def test_bad_arguments_are_named_before_any_work(arguments, error, message):
    work = []
    with pytest.raises(error, match=message):
        render_defocus(**{"image": GREY, "coc_radius": FLAT, "callback": lambda *step: work.append(step), **arguments})
    assert work == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *BAD,
        ({"offsets": []}, ValueError, "^offsets must hold at least one number"),
        ({"offsets": 3.0}, TypeError, "^offsets must be a sequence"),
        ({"offsets": [1, np.nan]}, ValueError, r"^offsets\[1\]"),
        ({"offsets": [1000]}, ValueError, r"^offsets\[0\].*< 1000"),
        ({"offsets": [True]}, TypeError, r"^offsets\[0\]"),
        ({"offsets": "12"}, TypeError, "^offsets"),
    ],
)
def test_bad_arguments_of_a_sweep_are_named_at_once(arguments, error, message):
    with pytest.raises(error, match=message):
        render_focus_sweep(**{"image": GREY, "coc_radius": FLAT, "offsets": [0.0], **arguments})


def test_masked_radii_are_unknown_and_masked_images_are_refused():
    image = random_image(np.random.default_rng(0), (20, 31), False)
    radius = np.ma.masked_equal(np.where(np.eye(20, 31) > 0, -999.0, 3.0), -999.0)
    np.testing.assert_array_equal(render_defocus(image, radius), render_defocus(image, radius.filled(np.nan)))
    with pytest.raises(ValueError, match=r"image must not have masked elements"):
        render_defocus(np.ma.masked_less(image, 0.5), radius)


def test_a_sweep_keeps_its_own_copy_of_the_photo():
    image = random_image(np.random.default_rng(0), (20, 31), False)
    radius = random_radius(np.random.default_rng(1), (20, 31), 4.0)
    expected = list(render_focus_sweep(image.copy(), radius, [1, 2]))
    frames = render_focus_sweep(image, radius, [1, 2])
    image[:] = 0
    for frame, wanted in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, wanted)


@pytest.mark.parametrize(("argument", "value", "error", "message"), [
    ("existing_radius", -1, ValueError, r"existing_radius must be >= 0"),
    ("existing_radius", np.ones((3, 4)), ValueError, r"existing_radius must be a number or have the height and width"),
    ("highlight_gain", 1e300, ValueError, r"highlight_gain must be 1 to 100, got 1e\+300"),
])  # fmt: skip
def test_errors_name_the_argument_that_was_given(argument, value, error, message):
    with pytest.raises(error, match=message):
        render_defocus(np.zeros((4, 6), np.float32), np.ones((4, 6)), **{argument: value})


def test_offsets_are_a_sequence():
    with pytest.raises(TypeError, match=r"offsets must be a sequence of numbers, got array\(3\.\)"):
        render_focus_sweep(np.zeros((4, 6), np.float32), np.ones((4, 6)), np.array(3.0))


@given(SEEDS, st.sampled_from([3.0, 15.0]))
@settings(max_examples=25)
def test_no_value_leaves_the_range_of_the_image_by_even_a_rounding(seed, largest):
    rng = np.random.default_rng(seed)
    image = ((rng.random((30, 45, 3)) < 0.5) * np.float32(0.3) + np.float32(0.2)).astype(np.float32)
    result = render_defocus(image, random_radius(rng, (30, 45), largest))
    assert result.min() >= image.min()
    assert result.max() <= image.max()
