"""The public `refocus_from_examples`, as a caller meets it."""

import _thread
import threading
import time
import warnings

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import affine_transform, binary_erosion, convolve, minimum_filter, shift

import fastrefocus as fr
from fastrefocus import progress
from fastrefocus.light import decode, encode, luminance

SHARP = skimage.data.astronaut()[:120, 160:300] / np.float32(255)
OTHER = skimage.data.chelsea()[60:180, 130:270] / np.float32(255)
MASK = np.zeros(SHARP.shape[:2], bool)
MASK[25:95, 30:110] = True
PSF = fr.disk_psf(7)


def blurred(photo, psf=PSF):
    kernel = psf if photo.ndim == 2 else psf[..., np.newaxis]
    return encode(convolve(decode(photo.astype(np.float32)), kernel, mode="mirror"))


def misfocused(photo=SHARP, psf=PSF, mask=MASK):
    return np.where(mask if photo.ndim == 2 else mask[..., np.newaxis], blurred(photo, psf), photo)


def grey(photo):
    return encode(luminance(decode(photo)))


def moved(photo=SHARP):
    """Each thing 3 px further down, 5 further left."""
    planes = (3, -5, 0)[: photo.ndim]
    return np.clip(shift(photo, planes, mode="mirror"), 0, 1).astype(np.float32)


def scaled():
    return np.clip(affine_transform(SHARP, np.diag([0.97, 0.97, 1]), (1.8, 2.1, 0), mode="mirror"), 0, 1)


def brighter():
    return encode(np.clip(1.3 * decode(SHARP), 0, 1))


#: Focused photos, and where they show a pixel, (..., 2).
VIEWS = {
    "shifted": (moved(), lambda pixel: np.add(pixel, (3, -5))),
    "scaled": (scaled(), lambda pixel: (pixel - (1.8, 2.1)) / 0.97),
    "brighter": (brighter(), lambda pixel: pixel),
}


def psnr(image, truth=SHARP, mask=MASK):
    return -10 * np.log10(np.mean(np.square(image - truth)[mask]) + 1e-12)


def repair(defocused, focused, **options):
    return fr.refocus_from_examples(defocused, focused, **{"threads": 1, "mask": MASK, **options})


def assert_consistent(result, photo):
    """What all results have in common, whatever was found."""
    inside = result.mask
    assert result.image.dtype == np.float32
    assert result.image.shape == photo.shape
    assert np.isfinite(result.image).all()
    np.testing.assert_array_equal(result.image[~inside], photo[~inside])
    assert (result.provenance[~inside] == fr.Provenance.KEPT).all()
    np.testing.assert_array_equal(np.isnan(result.confidence), ~inside)
    assert ((result.confidence[inside] >= 0) & (result.confidence[inside] <= 1)).all()
    copied = result.provenance == fr.Provenance.COPIED
    assert result.origin.dtype == np.int32
    assert (result.origin[~copied] == -1).all()
    assert (result.origin[copied] >= 0).all()


def assert_same(one, other):
    for name in ("image", "provenance", "origin", "confidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.fixture(scope="module")
def best_deconvolution():
    """The PSNR of the best deconvolution with the true PSF."""
    light = decode(misfocused())
    images = [fr.deconvolve(light, PSF, lam=lam, mask=MASK, num_iter=60, tol=0).image for lam in (3e-4, 1e-3, 3e-3)]
    return max(psnr(encode(np.clip(image, 0, 1))) for image in images)


@pytest.fixture(scope="module", params=VIEWS)
def view(request):
    """A result, and where the focused photo shows each pixel."""
    focused, place = VIEWS[request.param]
    return repair(misfocused(), focused), place(np.moveaxis(np.indices(MASK.shape), 0, -1))


@pytest.fixture(scope="module")
def shifted():
    return repair(misfocused(), moved())


def test_it_is_better_than_the_best_deconvolution(view, best_deconvolution):
    result, _ = view
    assert psnr(result.image) > psnr(misfocused()) + 8
    assert psnr(result.image) > best_deconvolution + 4


def test_what_was_done_is_told(view):
    result, places = view
    assert_consistent(result, misfocused())
    np.testing.assert_array_equal(result.mask, MASK)
    copied = result.provenance == fr.Provenance.COPIED
    assert np.count_nonzero(copied) > 0.7 * np.count_nonzero(MASK)
    origins = result.origin[copied]
    assert (origins[:, 0] == 0).all()
    assert np.mean(np.abs(origins[:, 1:] - places[copied]).max(axis=1) <= 2) > 0.9
    (found,) = result.photos
    assert found.problem == ""
    assert found.score > 0.8
    assert found.residual < found.residual_before + 1e-6
    assert found.psf.shape in [(7, 7), (9, 9)]
    assert found.blur_radius < 1


def test_mask_is_found():
    photo = misfocused(psf=fr.disk_psf(11))
    result = repair(photo, moved(), mask=None)
    assert_consistent(result, photo)
    both, either = (np.count_nonzero(pixels) for pixels in (result.mask & MASK, result.mask | MASK))
    assert both > 0.7 * either
    assert psnr(result.image) > psnr(photo) + 3
    border = result.mask & ~binary_erosion(result.mask, border_value=1)
    inner = binary_erosion(result.mask, iterations=8, border_value=1)
    change = np.abs(result.image - photo).mean(axis=2)
    assert change[border].mean() < 0.4 * change[inner].mean()  # no edge where there was none


def test_photos_that_are_sharp_in_a_half_each():
    left, right = np.arange(140) < 75, np.arange(140) >= 65
    halves = [misfocused(mask=np.broadcast_to(side, MASK.shape)) for side in (right, left)]
    photo = misfocused()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fr.RegistrationWarning)  # that the other half is blurred
        result = repair(photo, halves)
    assert_consistent(result, photo)
    assert psnr(result.image) > psnr(photo) + 5
    numbers, columns = result.origin[..., 0], np.broadcast_to(np.arange(140), MASK.shape)
    assert np.mean(numbers[(numbers >= 0) & (columns < 60)] == 0) > 0.8
    assert np.mean(numbers[(numbers >= 0) & (columns > 80)] == 1) > 0.8


def test_photos_that_show_a_half_each():
    photo = misfocused()
    crops = [SHARP[:, :95], SHARP[:, 45:]]
    result = repair(photo, crops)
    assert_consistent(result, photo)
    assert psnr(result.image) > psnr(photo) + 8
    first, second = (result.origin[..., 0] == number for number in (0, 1))
    assert np.count_nonzero(first[:, 95:]) < 0.02 * np.count_nonzero(first)
    assert np.count_nonzero(second[:, :45]) < 0.02 * np.count_nonzero(second)
    places = np.moveaxis(np.indices(MASK.shape), 0, -1)
    assert np.mean(np.abs(result.origin[first][:, 1:] - places[first]).max(axis=1) <= 2) > 0.9
    assert np.mean(np.abs(result.origin[second][:, 1:] + (0, 45) - places[second]).max(axis=1) <= 2) > 0.9


def test_grey_photo_and_colour_reference():
    photo = misfocused(grey(SHARP))
    result = repair(photo, moved())
    assert_consistent(result, photo)
    assert psnr(result.image, grey(SHARP)) > psnr(photo, grey(SHARP)) + 8


def chromaticity_error(image):
    """The mean error of the shares of red, green and blue inside the mask, linear light."""
    shares = [light / (light.sum(axis=2, keepdims=True) + 0.05) for light in map(decode, (image, SHARP))]
    return np.abs(shares[0] - shares[1])[MASK].mean()


def test_colour_photo_and_grey_reference(best_deconvolution):
    photo = misfocused()
    result = repair(photo, grey(moved()))
    assert_consistent(result, photo)
    assert psnr(result.image) > best_deconvolution + 1
    assert psnr(grey(result.image), grey(SHARP)) > psnr(grey(photo), grey(SHARP)) + 8
    assert chromaticity_error(result.image) < 0.8 * chromaticity_error(photo)


def test_grey_reference_besides_one_in_colour_does_little_harm(shifted):
    result = repair(misfocused(), [grey(moved()), moved()])
    assert psnr(result.image) > psnr(shifted.image) - 1.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float64])
def test_all_kinds_of_values(dtype, shifted):
    scale = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    photos = [np.round(photo * scale) if scale > 1 else photo for photo in (misfocused(), moved())]
    result = repair(*(photo.astype(dtype) for photo in photos))
    assert result.image.dtype == np.float32
    assert psnr(result.image, shifted.image) > 35


def test_psf_is_given_and_normalised():
    result = repair(misfocused(), moved(), psf=PSF)
    assert_same(result, repair(misfocused(), moved(), psf=(4 * PSF.astype(np.float64)).tolist()))
    assert psnr(result.image) > psnr(misfocused()) + 8
    np.testing.assert_allclose(result.photos[0].psf.sum(), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (3, 21)])
def test_psf_need_not_be_square(shape):
    psf = np.full(shape, 1 / np.prod(shape), np.float32)
    photo = misfocused(psf=psf)
    result = repair(photo, moved(), psf=psf)
    assert_consistent(result, photo)
    assert psnr(result.image) > psnr(photo) + 3


def test_mask_that_is_smaller_than_the_psf():
    mask = np.zeros_like(MASK)
    mask[40:62, 60:63] = True
    with pytest.warns(fr.RegistrationWarning, match="the mask is too small"):
        result = repair(misfocused(), moved(), psf=np.ones((1, 21)), mask=mask)
    assert_consistent(result, misfocused())


def test_negative_values_of_a_psf_count_as_0():
    """Such a one has a negative variance."""
    psf = np.float32([[-1, 1, -1], [1, 1.01, 1], [-1, 1, -1]])
    assert_same(repair(misfocused(), moved(), psf=psf), repair(misfocused(), moved(), psf=np.maximum(psf, 0)))


def test_psf_of_a_pixel_changes_little():
    result = repair(misfocused(), moved(), psf=[[1.0]])
    assert psnr(result.image, misfocused()) > 30


def test_examples_are_copied_from_inside_their_masks():
    source = np.zeros_like(MASK)
    source[20:110, 10:70] = True
    result = repair(misfocused(), moved(), focused_masks=source)
    assert_consistent(result, misfocused())
    copied = result.provenance == fr.Provenance.COPIED
    assert np.count_nonzero(copied) > 0.3 * np.count_nonzero(MASK)
    assert source[tuple(result.origin[copied][:, 1:].T)].all()
    again = repair(misfocused(), [moved()], focused_masks=[source])
    assert_same(result, again)


def test_mask_of_one_of_several_photos():
    nothing = np.zeros_like(MASK)
    nothing[:20, :20] = True
    result = repair(misfocused(), [moved(), SHARP], focused_masks=[nothing, None])
    assert set(result.origin[..., 0].ravel()) == {-1, 1}


def test_focused_mask_on_what_the_photo_does_not_show():
    wider = np.concatenate([SHARP, OTHER], axis=1)
    beyond = np.zeros(wider.shape[:2], bool)
    beyond[:, 180:] = True
    with pytest.warns(fr.RegistrationWarning, match=r"nothing is copied from focused\[0\]"):
        result = repair(misfocused(), wider, focused_masks=beyond)
    assert_consistent(result, misfocused())
    assert set(result.provenance[MASK]) == {fr.Provenance.DECONVOLVED}
    assert psnr(result.image) > psnr(misfocused()) + 1


@pytest.mark.parametrize("mask", [MASK, None])
def test_paper_method_is_synthesize(mask):
    photo = misfocused()
    result = repair(photo, SHARP, mask=mask, focused_masks=MASK, psf=PSF, method="paper")
    expected = fr.synthesize(photo, fr.PatchLibrary(SHARP, PSF, masks=MASK), mask=mask, threads=1)
    assert_same(result, expected)
    np.testing.assert_array_equal(result.source, expected.source)


def test_paper_method_fits_a_disk():
    result = repair(misfocused(), SHARP, focused_masks=MASK, method="paper")
    expected = repair(misfocused(), SHARP, focused_masks=MASK, method="paper", psf=PSF)
    assert_same(result, expected)


def test_paper_method_fits_only_photos_of_the_same_shape():
    with pytest.raises(ValueError, match="give a psf"):
        repair(misfocused(), SHARP[:, 5:], method="paper")


def test_another_scene_is_not_copied():
    photo = misfocused()
    with pytest.warns(fr.RegistrationWarning, match=r"focused\[0\] is not used: .*not show the same scene"):
        result = repair(photo, OTHER)
    assert_consistent(result, photo)
    assert not (result.provenance == fr.Provenance.COPIED).any()
    np.testing.assert_array_equal(result.image[MASK], fr.deblur(photo, threads=1).image[MASK])
    assert "same scene" in result.photos[0].problem


def test_another_scene_without_a_mask():
    photo = misfocused()
    with pytest.warns(fr.RegistrationWarning, match="is not used"):
        result = repair(photo, OTHER, mask=None)
    assert_consistent(result, photo)
    assert not (result.provenance == fr.Provenance.COPIED).any()
    np.testing.assert_array_equal(result.image, fr.deblur(photo, threads=1).image)
    changed = (result.image != photo).any(axis=2)
    np.testing.assert_array_equal(result.provenance == fr.Provenance.DECONVOLVED, changed)


def test_another_scene_with_a_psf_is_deconvolution():
    photo = misfocused()
    with pytest.warns(fr.RegistrationWarning, match="is not used"):
        result = repair(photo, OTHER, psf=PSF)
    assert_consistent(result, photo)
    assert set(result.provenance[MASK]) == {fr.Provenance.DECONVOLVED}
    assert (result.confidence[MASK] == 0).all()
    assert psnr(result.image) > psnr(photo) + 2


def test_one_of_two_photos_is_another_scene(shifted):
    with pytest.warns(fr.RegistrationWarning, match=r"focused\[0\] is not used") as caught:
        result = repair(misfocused(), [OTHER, moved()])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(result.image, shifted.image)
    assert set(result.origin[..., 0].ravel()) == {-1, 1}
    assert [bool(photo.problem) for photo in result.photos] == [True, False]


def test_focused_photo_that_is_itself_blurred():
    photo = misfocused(psf=fr.disk_psf(13))
    with pytest.warns(fr.RegistrationWarning, match=r"focused\[0\] is itself blurred, by a radius of about [234]\."):
        result = repair(photo, blurred(SHARP))
    assert_consistent(result, photo)
    assert psnr(result.image) > psnr(photo)


@pytest.mark.parametrize("mask", [MASK, None])
@pytest.mark.parametrize("diameter", [7, 13])
def test_focused_photo_that_is_no_sharper(diameter, mask):
    photo = misfocused()
    with pytest.warns(fr.RegistrationWarning, match="no sharper|nowhere sharper"):
        result = repair(photo, misfocused(psf=fr.disk_psf(diameter)), mask=mask)
    assert_consistent(result, photo)
    assert not (result.provenance == fr.Provenance.COPIED).any()


def test_mask_that_the_focused_photo_does_not_show():
    mask = np.zeros_like(MASK)
    mask[30:90, :45] = True
    photo = misfocused(mask=mask)
    with pytest.warns(fr.RegistrationWarning, match=r"focused\[0\] is not used"):
        result = repair(photo, SHARP[:, 50:], mask=mask)
    assert_consistent(result, photo)
    assert not (result.provenance == fr.Provenance.COPIED).any()


@pytest.mark.parametrize(
    "focused", [np.zeros_like(SHARP), np.full_like(SHARP, 0.5), np.ones_like(SHARP)], ids=["black", "grey", "white"]
)
def test_focused_photo_without_anything(focused):
    with pytest.warns(fr.RegistrationWarning, match="the focused photo has no texture"):
        result = repair(misfocused(), focused)
    assert_consistent(result, misfocused())


@pytest.mark.parametrize(("value", "why"), [(0, "no texture"), (0.5, "no texture"), (1, "overexposed")])
def test_photo_without_anything(value, why):
    photo = np.full_like(SHARP, value)
    with pytest.warns(fr.RegistrationWarning, match=why):
        result = repair(photo, SHARP)
    np.testing.assert_allclose(result.image, photo, atol=0.01)


WRONG = {
    "defocused is a path": ((("photo.png", SHARP), {}), TypeError, "defocused must hold real numbers"),
    "focused is a path": (((SHARP, "photo.png"), {}), TypeError, "focused must hold real numbers"),
    "focused[1] is a path": (((SHARP, [SHARP, "photo.png"]), {}), TypeError, r"focused\[1\] must hold real numbers"),
    "focused is None": (((SHARP, None), {}), TypeError, "focused must hold"),
    "focused is a generator": (((SHARP, iter([SHARP])), {}), TypeError, "focused must hold"),
    "no focused photo": (((SHARP, []), {}), ValueError, "focused must be a photo or at least one"),
    "focused is a stack": (((SHARP, np.stack([SHARP, SHARP])), {}), ValueError, "focused must have shape"),
    "focused has alpha": (((SHARP, np.dstack([SHARP, MASK])), {}), ValueError, "focused must have shape"),
    "empty photo": (((SHARP[:0], SHARP), {}), ValueError, "defocused must have shape"),
    "empty focused photo": (((SHARP, SHARP[:, :0]), {}), ValueError, "focused must have shape"),
    "NaN": (((np.where(SHARP > 0.9, np.nan, SHARP), SHARP), {}), ValueError, "defocused must hold finite"),
    "NaN focused": (((SHARP, np.where(SHARP > 0.9, np.inf, SHARP)), {}), ValueError, "focused must hold finite"),
    "0..255": (((SHARP, SHARP * 255), {}), ValueError, "focused, a float image, must"),
    "int": ((((SHARP * 255).astype(int), SHARP), {}), TypeError, "defocused must be uint8"),
    "complex": (((SHARP, SHARP + 1j), {}), TypeError, "focused must hold real"),
    "mask of another shape": (((SHARP, SHARP), {"mask": MASK[1:]}), ValueError, "mask must have the image's"),
    "mask in colour": (((SHARP, SHARP), {"mask": SHARP}), ValueError, "mask must have shape"),
    "empty mask": (((SHARP, SHARP), {"mask": 0 * MASK}), ValueError, "mask must have at least one pixel inside"),
    "NaN mask": (((SHARP, SHARP), {"mask": MASK * np.nan}), ValueError, "mask must hold finite"),
    "mask is a path": (((SHARP, SHARP), {"mask": "mask.png"}), TypeError, "mask must hold real"),
    "too many masks": (((SHARP, SHARP), {"focused_masks": [MASK, MASK]}), ValueError, "focused_masks must be as many"),
    "too few masks": (((SHARP, [SHARP] * 2), {"focused_masks": MASK}), ValueError, "focused_masks must be as many"),
    "focused mask of another shape": (
        ((SHARP, [SHARP] * 2), {"focused_masks": [None, MASK[1:]]}), ValueError, r"focused_masks\[1\] must have"
    ),
    "psf in words": (((SHARP, SHARP), {"psf": "disk"}), ValueError, "psf must be one of 'fit'"),
    "psf is None": (((SHARP, SHARP), {"psf": None}), TypeError, "psf must hold real"),
    "even psf": (((SHARP, SHARP), {"psf": np.ones((4, 5))}), ValueError, "psf must be 2-D with an odd"),
    "huge psf": (((SHARP, SHARP), {"psf": np.ones((121, 121))}), ValueError, "psf of shape .* is larger"),
    "dark psf": (((SHARP, SHARP), {"psf": -PSF}), ValueError, "psf must have a positive sum"),
    "NaN psf": (((SHARP, SHARP), {"psf": PSF * np.nan}), ValueError, "psf must hold finite"),
    "method": (((SHARP, SHARP), {"method": "best"}), ValueError, "method must be one of 'auto', 'paper'"),
    "method is None": (((SHARP, SHARP), {"method": None}), ValueError, "method must be one of"),
    "no threads": (((SHARP, SHARP), {"threads": 0}), ValueError, "threads must be >= 1"),
    "threads in words": (((SHARP, SHARP), {"threads": "2"}), TypeError, "threads must be an int"),
    "callback": (((SHARP, SHARP), {"callback": 3}), TypeError, "callback must be callable"),
    "callback and paper": (
        ((SHARP, SHARP), {"callback": 3, "method": "paper", "psf": PSF}), TypeError, "callback must be callable"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name):
    (photos, options), error, message = WRONG[name]
    with pytest.raises(error, match=message):
        fr.refocus_from_examples(*photos, **options)


def first(height, width):
    return np.s_[:height, :width]


@pytest.mark.parametrize("psf", ["fit", PSF], ids=["fit", "7"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 140), (16, 16), (24, 24), (25, 40)])
@pytest.mark.filterwarnings("ignore::fastrefocus.errors.RegistrationWarning")
def test_small_photos(shape, masked, psf):
    photo = blurred(SHARP)[first(*shape)]
    mask = np.ones(shape) if masked else None
    if not isinstance(psf, str) and (psf.shape[0] > shape[0] or psf.shape[1] > shape[1]):
        with pytest.raises(ValueError, match="psf of shape"):
            repair(photo, SHARP, mask=mask, psf=psf)
        return
    assert_consistent(repair(photo, SHARP[first(*shape)], mask=mask, psf=psf), photo)


@pytest.mark.parametrize("shape", [(1, 1), (1, 140), (16, 16), (24, 24)])
def test_small_focused_photo_is_not_used(shape):
    with pytest.warns(fr.RegistrationWarning, match=r"focused\[0\] is not used"):
        result = repair(misfocused(), SHARP[first(*shape)])
    assert_consistent(result, misfocused())


@pytest.mark.parametrize(
    "mask",
    [np.indices(MASK.shape).sum(axis=0) == 100, np.arange(140) * np.ones((120, 1)) == 60, np.eye(120, 140, 5) * MASK],
    ids=["line", "column", "diagonal"],
)
@pytest.mark.parametrize("psf", ["fit", PSF])
@pytest.mark.filterwarnings("ignore::fastrefocus.errors.RegistrationWarning")
def test_thin_masks(mask, psf):
    photo = misfocused()
    assert_consistent(repair(photo, moved(), mask=mask, psf=psf), photo)


@pytest.mark.parametrize("gain", [1 / 32, 1 / 4])
def test_photos_of_very_different_exposure(gain):
    """A highlight of the one may be many times as bright as white in the other."""
    dark = encode(decode(moved()) * np.float32(gain))
    dark[12:24, 30:44] = 1
    result = repair(misfocused(), dark)
    assert_consistent(result, misfocused())
    assert psnr(result.image) > psnr(misfocused()) + 8


def test_values_beyond_white_are_kept_outside_the_mask():
    photo, focused = misfocused(), moved()
    photo[:10], focused[5:13] = 15, 15
    result = repair(photo, focused)
    assert_consistent(result, photo)
    assert psnr(result.image) > psnr(misfocused()) + 6


def test_result_is_a_picture():
    dark = SHARP * np.float32(0.1)
    result = repair(misfocused(dark), moved(dark))
    assert result.image[MASK].min() >= 0
    assert result.image[MASK].max() <= 1


@pytest.mark.parametrize(("brightness", "tolerance"), [(1.5, 0.02), (4, 0.12)])
def test_highlights_leave_no_rings(brightness, tolerance):
    """Lamps that are clipped both in the photo and in the one that shows them in focus."""
    sharp = np.float32(0.5) * decode(SHARP)
    for row, column in ((45, 50), (60, 80), (80, 60)):
        sharp[row : row + 5, column : column + 5] = brightness
    truth = encode(np.clip(sharp, 0, 1))
    lens = encode(np.clip(convolve(sharp, PSF[..., np.newaxis], mode="mirror"), 0, 1))
    photo = np.where(MASK[..., np.newaxis], lens, truth)
    result = repair(photo, moved(truth))
    darker = (minimum_filter(truth, (5, 5, 1)) - result.image)[MASK]
    assert np.percentile(darker, 99.5) < tolerance
    assert psnr(result.image, truth) > psnr(photo, truth) + 5


@pytest.mark.parametrize(
    "laid_out",
    [
        lambda array: np.asfortranarray(array),
        lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
        lambda array: np.repeat(array, 2, axis=1)[:, ::2],
        lambda array: array.astype(array.dtype.newbyteorder(">")),
        lambda array: array.tolist(),
    ],
    ids=["Fortran", "negative strides", "strides", "big-endian", "lists"],
)
def test_layout_of_memory_changes_nothing(laid_out, shifted):
    photos = [laid_out(misfocused()), [laid_out(moved())]]
    result = repair(*photos, mask=laid_out(MASK.astype(np.float32)))
    assert_same(result, shifted)


def test_arguments_are_left_alone(shifted):
    arrays = misfocused(), moved(), MASK.copy(), np.ones_like(MASK), PSF.copy()
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    photo, focused, mask, source, psf = arrays
    result = repair(photo, focused, mask=mask, focused_masks=source, psf=psf)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    for array in (result.image, result.mask, *(found.psf for found in result.photos)):
        assert not any(np.shares_memory(array, given) for given in arrays)


def test_result_is_its_own_even_if_nothing_is_found():
    photo, mask = misfocused(), MASK.copy()
    with pytest.warns(fr.RegistrationWarning, match="is not used"):
        result = repair(photo, OTHER, mask=mask)
    assert not np.shares_memory(result.mask, mask)
    assert not np.shares_memory(result.image, photo)


@pytest.fixture(scope="module")
def by_two_photos():
    """Everything that threads do is in it."""
    return repair(misfocused(psf=fr.disk_psf(11)), [moved(), SHARP], mask=None)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, by_two_photos):
    photos = misfocused(psf=fr.disk_psf(11)), [moved(), SHARP]
    assert_same(repair(*photos, mask=None, threads=threads), by_two_photos)


@pytest.fixture
def talkative(monkeypatch):
    """Every step is reported."""
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", -1.0)


CALLS = {
    "one": (moved(), {}, ["register", "match"]),
    "two, no mask": ([moved(), SHARP], {"mask": None}, ["register", "match"]),
    "grey reference": (grey(moved()), {}, ["register", "match"]),
    "another scene": (OTHER, {}, ["register", "estimate blur", "deblur"]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore::fastrefocus.errors.RegistrationWarning")
def test_progress_only_goes_on(name, talkative):
    focused, options, stages = CALLS[name]
    calls = []
    repair(misfocused(psf=fr.disk_psf(11)), focused, callback=lambda *call: calls.append(call), **options)
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == stages
    for stage in stages[:2] if "match" in stages else stages[:1]:
        own = [(done, total) for named, done, total in calls if named == stage]
        done, totals = np.array(own).T
        assert done[0] == 0
        assert (np.diff(done) >= 0).all()
        assert len(set(totals)) == 1
        assert done[-1] == totals[0]


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 1])
def test_any_call_may_cancel(share, talkative):
    count = 0

    def callback(*_):
        nonlocal count
        count += 1
        return count != last

    last = -1
    options = {"callback": callback}
    repair(misfocused(), moved(), **options)
    last, count = 1 + round(share * (count - 1)), 0
    with pytest.raises(fr.Cancelled):
        repair(misfocused(), moved(), **options)
    assert count == last


def test_exceptions_of_the_callback_come_through():
    def callback(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        repair(misfocused(), moved(), callback=callback)


def test_interrupt_is_heard_soon():
    large = np.tile(SHARP, (3, 3, 1))
    timer = threading.Timer(1.5, _thread.interrupt_main)

    def go_on():
        timer.start()
        while timer.is_alive() or time.monotonic() < start + 20:
            repair(blurred(large), large, mask=np.ones(large.shape[:2]), psf=PSF, threads=2)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert time.monotonic() - start < 1.5 + 3
