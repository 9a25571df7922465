import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve

from fastrefocus import disk_psf
from fastrefocus.light import decode
from fastrefocus.synthesis.example import Example
from fastrefocus.synthesis.regions import find_regions
from fastrefocus.synthesis.registration import register

SHARP = decode(skimage.data.astronaut()[:120, 160:300] / np.float32(255))
MASK = np.zeros(SHARP.shape[:2], bool)
MASK[15:105, 15:125] = True
LEFT = np.broadcast_to(np.arange(140) < 70, MASK.shape)
BLURRED = convolve(SHARP, disk_psf(7)[..., np.newaxis], mode="mirror")


def example(number, focused, defocused=BLURRED):
    return Example(number, focused, None, register(defocused, focused, MASK, threads=1))


def sharp_where(pixels):
    """A focused photo that is much out of focus elsewhere."""
    other = convolve(SHARP, disk_psf(15)[..., np.newaxis], mode="mirror")
    return np.where(pixels[..., np.newaxis], SHARP, other)


@pytest.fixture(scope="module")
def halves():
    return [example(0, sharp_where(LEFT)), example(1, sharp_where(~LEFT))]


def test_a_single_photo_has_all_of_the_mask():
    only = example(0, SHARP)
    (region,) = find_regions(BLURRED, [only], MASK, None, threads=1)
    np.testing.assert_array_equal(region.mask, MASK)
    assert region.psf is only.registration.psf
    assert region.difference == only.registration.difference


def test_regions_divide_the_mask_by_what_is_sharpest(halves):
    regions = find_regions(BLURRED, halves, MASK, None, threads=1)
    np.testing.assert_array_equal(np.sum([region.mask for region in regions], axis=0), MASK)
    left, right = regions
    assert np.mean(LEFT[left.mask]) > 0.85
    assert np.mean(~LEFT[right.mask]) > 0.85


def test_each_region_has_its_own_blur(halves):
    """A photo nearer at its left: the PSF of the whole mask is that of neither half."""
    nearer = convolve(SHARP, disk_psf(13)[..., np.newaxis], mode="mirror")
    defocused = np.where(LEFT[..., np.newaxis], nearer, BLURRED)
    registration = register(defocused, SHARP, MASK, threads=1)
    examples = [Example(i, sharp_where(side), None, registration) for i, side in enumerate((LEFT, ~LEFT))]
    regions = find_regions(defocused, examples, MASK, None, threads=1)
    assert len(regions) == 2
    left, right = (len(region.psf) for region in regions)
    assert left > right
    assert all(np.isfinite(region.difference) and region.difference > 0 for region in regions)


def test_the_order_of_the_photos_is_no_matter(halves):
    one, other = (find_regions(BLURRED, order, MASK, None, threads=1) for order in (halves, halves[::-1]))
    agreeing = (one[0].mask & other[1].mask) | (one[1].mask & other[0].mask)
    assert np.count_nonzero(agreeing) > 0.75 * np.count_nonzero(MASK)


def test_photo_that_is_best_nowhere_has_no_region(halves):
    worse = example(1, convolve(SHARP, disk_psf(5)[..., np.newaxis], mode="mirror"))
    (region,) = find_regions(BLURRED, [example(0, SHARP), worse], MASK, None, threads=1)
    np.testing.assert_array_equal(region.mask, MASK)


def test_the_sharpest_of_three_is_not_the_last_that_beats_the_first():
    worst, middle = (convolve(SHARP, disk_psf(size)[..., np.newaxis], mode="mirror") for size in (11, 5))
    best_at_left = np.where(LEFT[..., np.newaxis], SHARP, worst)
    registration = register(BLURRED, SHARP, MASK, threads=1)
    examples = [Example(i, photo, None, registration) for i, photo in enumerate((worst, best_at_left, middle))]
    *_, left, right = find_regions(BLURRED, examples, MASK, None, threads=1)
    assert np.mean(left.mask[MASK & (np.arange(140) < 60)]) > 0.8
    assert np.mean(right.mask[MASK & (np.arange(140) > 80)]) > 0.5


def test_what_only_one_photo_shows_is_its_own():
    blurrier = convolve(SHARP, disk_psf(5)[..., np.newaxis], mode="mirror")
    blurrier[:, 97:] = blurrier[:, 97:].mean(axis=(0, 1))
    crops = [example(0, SHARP[:, :95]), Example(1, blurrier, None, register(BLURRED, SHARP, MASK, threads=1))]
    assert all(each.registration.is_believable for each in crops)
    regions = find_regions(BLURRED, crops, MASK, None, threads=1)
    beyond = MASK & (np.arange(140) > 97)
    assert regions[-1].mask[beyond].all()
    np.testing.assert_array_equal(np.sum([region.mask for region in regions], axis=0), MASK)


def test_psf_that_is_given_is_that_of_one_region(halves):
    (region,) = find_regions(BLURRED, halves, MASK, disk_psf(5), threads=1)
    np.testing.assert_array_equal(region.mask, MASK)
    np.testing.assert_array_equal(region.psf, disk_psf(5))
    assert region.difference == min(each.registration.difference for each in halves)


def test_what_is_in_focus_is_left_out_of_a_mask_that_was_found():
    defocused = np.where(LEFT[..., np.newaxis], BLURRED, SHARP)
    (region,) = find_regions(defocused, [example(0, SHARP, defocused)], None, disk_psf(7), threads=1)
    assert np.mean(region.mask[MASK & LEFT]) > 0.8
    assert np.mean(region.mask[MASK & (np.arange(140) > 80)]) < 0.1


def test_nothing_may_be_left_of_a_mask_that_was_found():
    assert find_regions(SHARP, [example(0, SHARP, BLURRED)], None, disk_psf(7), threads=1) == []
