import numpy as np
import pytest
from skimage.data import astronaut

from fastrefocus import Cancelled, deconvolve, disk_psf
from fastrefocus.light import decode, encode
from fastrefocus.synthesis.fusion import blur, fuse

PSF = disk_psf(7)


def sharp_photo():
    return decode(astronaut()[30:130, 180:290].astype(np.float32) / 255)


def misfocused(sharp, mask, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.003, sharp.shape).astype(np.float32)
    return np.where(mask[..., np.newaxis], blur(sharp, PSF), sharp) + noise


def middle(shape, border=24):
    mask = np.zeros(shape[:2], bool)
    mask[border:-border, border:-border] = True
    return mask


def psnr(image, sharp, mask):
    return -10 * np.log10(np.mean(np.square(encode(np.clip(image, 0, 1)) - encode(sharp))[mask]))


@pytest.fixture(scope="module")
def case():
    sharp = sharp_photo()
    mask = middle(sharp.shape)
    return sharp, mask, misfocused(sharp, mask)


@pytest.fixture(scope="module")
def fused(case):
    sharp, mask, photo = case
    return fuse(photo, [sharp], PSF, mask, [np.ones_like(mask)], threads=1)


def test_examples_of_the_same_thing_are_copied(case, fused):
    sharp, mask, photo = case
    best = max(
        psnr(deconvolve(photo, PSF, lam=lam, num_iter=60, tol=0).image, sharp, mask) for lam in (3e-4, 1e-3, 3e-3)
    )
    assert psnr(fused.image, sharp, mask) > best + 3
    assert fused.copied[mask].mean() > 0.8


def test_the_rest_of_the_photo_stays_as_it_is(case, fused):
    _, mask, photo = case
    np.testing.assert_array_equal(fused.image[~mask], photo[~mask])
    assert (fused.copied[~mask] == 0).all()
    assert np.isnan(fused.confidence[~mask]).all()
    assert (fused.source[~mask] == -1).all()


def test_the_source_is_mostly_the_pixels_own_place(case, fused):
    _, mask, _ = case
    own = np.argwhere(mask)
    found = fused.source[mask]
    assert (found[:, 0] == 0).all()
    assert np.mean(np.abs(found[:, 1:] - own).max(axis=1) <= 1) > 0.6


def test_where_no_example_matches_it_is_deconvolution(case):
    _, mask, photo = case
    sharp = case[0]
    noise = np.random.default_rng(5).random((80, 80, 3)).astype(np.float32)
    result = fuse(photo, [noise], PSF, mask, [np.ones((80, 80), bool)], threads=1)
    deconvolved = deconvolve(photo, PSF, lam=2e-3, mask=mask, tv="vector", num_iter=40, tol=0).image
    assert psnr(result.image, sharp, mask) > psnr(deconvolved, sharp, mask) - 0.3
    assert np.nanmean(result.confidence) < 0.5


def test_confidence_is_high_where_the_error_is_low(case, fused):
    sharp, mask, _ = case
    error = np.abs(encode(np.clip(fused.image, 0, 1)) - encode(sharp)).mean(axis=2)[mask]
    sure = fused.confidence[mask] > np.median(fused.confidence[mask])
    assert error[sure].mean() < 0.7 * error[~sure].mean()
    assert fused.confidence[mask].min() >= 0
    assert fused.confidence[mask].max() <= 1


def test_aligned_photos_that_repeat_give_their_own_place(case):
    sharp, mask, _ = case
    tiled = np.tile(sharp[:, 20:60], (1, 3, 1))[:, :110]  # repeats every 40 pixels
    photo, everywhere = misfocused(tiled, mask), np.ones_like(mask)
    result = fuse(photo, [tiled], PSF, mask, [everywhere], exact=[everywhere], threads=1)
    assert np.mean(np.abs(result.source[mask][:, 1:] - np.argwhere(mask)).max(axis=1) <= 1) > 0.95


def test_several_photos_of_different_sizes_at_any_number_of_threads(case):
    sharp, mask, photo = case
    halves = [sharp[:, :60], sharp[10:, 45:]]
    sources = [np.ones(half.shape[:2], bool) for half in halves]
    results = [fuse(photo, halves, PSF, mask, sources, threads=threads) for threads in (1, 3)]
    for name in ("image", "copied", "confidence", "source"):
        np.testing.assert_array_equal(*(getattr(result, name) for result in results))
    assert set(np.unique(results[0].source[mask][:, 0])) == {0, 1}


def test_grey_photos(case):
    sharp, mask, photo = case
    result = fuse(photo[..., :1], [sharp[..., :1]], PSF, mask, [np.ones_like(mask)], threads=1)
    assert psnr(result.image, sharp[..., :1], mask) > psnr(photo[..., :1], sharp[..., :1], mask) + 4


def test_reports_progress_and_can_be_cancelled(case):
    sharp, mask, photo = case
    calls = []
    fuse(photo, [sharp], PSF, mask, [mask], threads=1, callback=lambda *call: calls.append(call))
    assert calls[-1] == ("match", 4, 4)
    with pytest.raises(Cancelled):
        fuse(photo, [sharp], PSF, mask, [mask], threads=1, callback=lambda *_: False)
