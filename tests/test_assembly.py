import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve

from fastrefocus import disk_psf
from fastrefocus.light import decode, encode
from fastrefocus.synthesis import assembly
from fastrefocus.synthesis.example import Example
from fastrefocus.synthesis.fusion import Fusion
from fastrefocus.synthesis.regions import Region
from fastrefocus.synthesis.registration import register
from fastrefocus.synthesis.view import bounding_window

PSF = disk_psf(7)
SHARP = decode(skimage.data.astronaut()[:120, 160:300] / np.float32(255))
MASK = np.zeros(SHARP.shape[:2], bool)
MASK[20:100, 25:115] = True
PHOTO = np.where(MASK[..., np.newaxis], convolve(SHARP, PSF[..., np.newaxis], mode="mirror"), SHARP)
EVERYWHERE = np.s_[:, :]


def restore(photo, examples, regions, mask, **options):
    """Return the fusion all over the photo."""
    frame, fusion = assembly.restore(photo, examples, regions, mask, threads=1, **options)
    assert frame == bounding_window(mask, 0)
    whole = Fusion(
        photo.copy(),
        np.zeros(mask.shape, np.float32),
        np.full(mask.shape, np.nan, np.float32),
        np.full((*mask.shape, 3), -1, np.int32),
    )
    for own, part in zip(vars(whole).values(), vars(fusion).values(), strict=True):
        own[frame] = part
    return whole


def psnr(image, mask=MASK):
    return -10 * np.log10(np.mean(np.square(encode(np.clip(image, 0, 1)) - encode(SHARP))[mask]))


@pytest.fixture(scope="module")
def example():
    return Example(0, SHARP, None, register(PHOTO, SHARP, MASK, threads=1))


@pytest.fixture(scope="module")
def whole(example):
    return restore(PHOTO, [example], [Region(MASK, PSF, 0.0)], MASK)


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(assembly, "_MOST_PIXELS", 3_000)


def assert_complete(fusion):
    np.testing.assert_array_equal(fusion.image[~MASK], PHOTO[~MASK])
    np.testing.assert_array_equal(np.isnan(fusion.confidence), ~MASK)
    assert np.isfinite(fusion.image).all()
    assert (fusion.copied[~MASK] == 0).all()
    np.testing.assert_array_equal(fusion.source[..., 0] >= 0, MASK)


def test_one_part(whole):
    assert_complete(whole)
    assert psnr(whole.image) > psnr(PHOTO) + 8


def test_parts_have_no_seams(in_parts, example, whole):
    calls = []
    fusion = restore(PHOTO, [example], [Region(MASK, PSF, 0.0)], MASK, callback=lambda *call: calls.append(call))
    assert_complete(fusion)
    assert calls[-1][1:] == (16, 16)  # four parts of four steps
    assert psnr(fusion.image) > psnr(whole.image) - 0.5
    difference = np.abs(encode(fusion.image) - encode(whole.image)).mean(axis=2)
    seams = np.zeros_like(MASK)
    seams[58:62, 25:115] = seams[20:100, 68:72] = True
    assert difference[seams].mean() < 2 * difference[MASK].mean() + 1e-3
    own = np.moveaxis(np.indices(MASK.shape), 0, -1)
    assert np.mean(np.abs(fusion.source[MASK][:, 1:] - own[MASK]).max(axis=1) <= 1) > 0.8


def test_regions_have_psfs_of_their_own(example):
    left = MASK & (np.arange(140) < 70)
    regions = [Region(left, PSF, 0.0), Region(MASK & ~left, disk_psf(3), 0.0)]
    fusion = restore(PHOTO, [example], regions, MASK)
    assert_complete(fusion)
    far_left, far_right = MASK & (np.arange(140) < 60), MASK & (np.arange(140) > 80)
    assert psnr(fusion.image, far_left) > psnr(PHOTO, far_left) + 8
    assert psnr(fusion.image, far_right) < psnr(fusion.image, far_left)


def test_source_is_a_place_in_the_photo_as_given():
    focused = SHARP[10:, 15:]
    crop = Example(3, focused, None, register(PHOTO, focused, MASK, threads=1))
    fusion = restore(PHOTO, [crop], [Region(MASK, PSF, 0.0)], MASK)
    assert_complete(fusion)
    assert set(fusion.source[MASK][:, 0]) == {3}
    places = np.moveaxis(np.indices(MASK.shape), 0, -1) - (10, 15)
    assert np.mean(np.abs(fusion.source[MASK][:, 1:] - places[MASK]).max(axis=1) <= 1) > 0.8


def test_photo_without_examples_nearby_keeps_the_others_numbers(example):
    """The first of two photos has no examples, and the second is still number 5."""
    nothing = Example(2, SHARP, np.zeros_like(MASK), example.registration)
    other = Example(5, SHARP, np.ones_like(MASK), example.registration)
    fusion = restore(PHOTO, [nothing, other], [Region(MASK, PSF, 0.0)], MASK)
    assert set(fusion.source[MASK][:, 0]) == {5}


def test_each_pixel_tells_which_photo_it_is_from(example):
    left = np.broadcast_to(np.arange(140) < 70, MASK.shape)
    halves = [Example(number, SHARP, mask, example.registration) for number, mask in ((1, left), (4, ~left))]
    fusion = restore(PHOTO, halves, [Region(MASK, PSF, 0.0)], MASK)
    for number, mask in ((1, left), (4, ~left)):
        own = fusion.source[fusion.source[..., 0] == number]
        assert len(own) > 0.3 * np.count_nonzero(MASK)
        assert mask[tuple(own[:, 1:].T)].all()


def test_parts_that_differ_pass_smoothly_into_one_another(in_parts, monkeypatch):
    numbers = iter(range(100))

    def fuse(photo, examples, psf, mask, sources, **_):
        image = np.where(mask[..., np.newaxis], np.float32(next(numbers) % 2), photo)
        confidence = np.where(mask, np.float32(0.5), np.float32(np.nan))
        return Fusion(image, np.zeros(mask.shape, np.float32), confidence, np.full((*mask.shape, 3), -1, np.int32))

    monkeypatch.setattr(assembly, "fuse", fuse)
    image = restore(PHOTO, [], [Region(MASK, PSF, 0.0)], MASK).image[20:100, 25:115]
    assert image.min() < 0.01
    assert image.max() > 0.99
    assert max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1)) < 0.3


def test_without_examples_it_is_deconvolution():
    fusion = restore(PHOTO, [], [Region(MASK, PSF, 0.0)], MASK)
    assert psnr(fusion.image) > psnr(PHOTO) + 1
    assert (fusion.copied == 0).all()
    assert (fusion.source == -1).all()
    np.testing.assert_array_equal(fusion.image[~MASK], PHOTO[~MASK])
    assert (fusion.confidence[MASK] == 0).all()


def test_marked_examples_are_looked_for_farther_away(example):
    """A small part of a large photo, and examples beyond the margin."""
    part = np.zeros_like(MASK)
    part[25:35, 30:40] = True
    mark = np.zeros_like(MASK)
    mark[95:, 110:] = True
    marked = Example(0, SHARP, mark, example.registration)
    fusion = restore(PHOTO, [marked], [Region(part, PSF, 0.0)], part)
    assert (fusion.source[part] >= 0).all()
    assert mark[tuple(fusion.source[part][:, 1:].T)].mean() > 0.9


def test_examples_as_the_photo_would_show_them(example):
    shown = example.shown(EVERYWHERE)
    np.testing.assert_allclose(shown[MASK], SHARP[MASK], atol=0.03)
    assert example.shown(EVERYWHERE, grey=True).shape == (*MASK.shape, 1)
    assert example.covered(EVERYWHERE).mean() > 0.9
    assert example.sources(EVERYWHERE)[MASK].mean() > 0.9
    pixels = np.argwhere(MASK).astype(np.int32)[:5] - (20, 25)
    origin = example.origin(np.s_[20:100, 25:115], pixels)
    np.testing.assert_array_equal(origin[:, 0], 0)
    assert np.abs(origin[:, 1:] - pixels - (20, 25)).max() <= 1
