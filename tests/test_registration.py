import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter, map_coordinates

from fastrefocus import disk_psf, gaussian_psf, read_photo
from fastrefocus.errors import Cancelled
from fastrefocus.light import decode, encode, luminance
from fastrefocus.samples import load_sample
from fastrefocus.synthesis.comparison import Blur, Comparison, Pair
from fastrefocus.synthesis.gauss_newton import HOMOGRAPHY, SIMILARITY, improve
from fastrefocus.synthesis.registration import register
from fastrefocus.synthesis.view import CoarseMap, View, reduced

NOISE = 0.01


def sample(name):
    return decode(load_sample(name).pixels)[::2, ::2]


def homography(shape, *, scale=1.0, degrees=0.0, shift=(0.0, 0.0), tilt=(0.0, 0.0)):
    """A change of view about the photo's centre."""
    height, width = shape[:2]
    centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    cos, sin = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    change = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [tilt[0] / width, tilt[1] / height, 1]])
    return centre @ change @ np.linalg.inv(centre)


def blurred(image, psf):
    return convolve(image, psf if image.ndim == 2 else psf[..., np.newaxis], mode="mirror")


def exposed_again(light):
    noisy = encode(np.clip(light, 0, 1).astype(np.float32)) + np.random.default_rng(0).normal(0, NOISE, light.shape)
    return decode((np.round(np.clip(noisy, 0, 1) * 255) / 255).astype(np.float32))


def mask_inside(image, margin=30):
    mask = np.zeros(image.shape[:2], bool)
    mask[margin:-margin, margin:-margin] = True
    return mask


def taken_from(focused, matrix, psf, gain=1.0):
    """The photo that a camera at another place takes out of focus, its mask, and where its pixels are in `focused`."""
    seen = View(matrix).seen_from((0, 0, *focused.shape[:2]))
    planes = [map_coordinates(focused[..., i], seen, order=3, mode="mirror") for i in range(3)]
    defocused = exposed_again(blurred(np.stack(planes, axis=-1), psf) * gain)
    return defocused, mask_inside(focused, 60), np.moveaxis(seen, 0, -1)


def error(registration, truth, defocused):
    """The median distance to the truth, where the defocused photo has texture."""
    slopes = np.hypot(*np.gradient(gaussian_filter(defocused.mean(axis=-1), 1)))
    inside = registration.mask & registration.covered()
    textured = inside & (slopes > np.median(slopes[inside]))
    return float(np.median(np.hypot(*np.moveaxis(registration.coordinates() - truth, -1, 0))[textured]))


VIEWS = {
    "nothing": {},
    "breathing": {"scale": 1.06},
    "rotation": {"degrees": 4, "scale": 0.97},
    "shift": {"shift": (50, -20)},
    "perspective": {"scale": 1.02, "degrees": 1.5, "shift": (6, -4), "tilt": (0.05, -0.04)},
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("psf", [disk_psf(7), gaussian_psf(2.5)], ids=["disk", "gaussian"])
def test_view_and_blur_are_found(name, psf):
    focused = sample("astronaut")
    defocused, mask, truth = taken_from(focused, homography(focused.shape, **VIEWS[name]), psf)
    found = register(defocused, exposed_again(focused), mask)
    assert found.is_believable, found.problem
    assert error(found, truth, defocused) < 0.1
    assert found.blur.shape == ("disk" if len(psf) == 7 else "gaussian")
    assert found.blur.sigma == pytest.approx(1.75 if len(psf) == 7 else 2.5, abs=0.1)
    assert found.residual <= 1.01 * found.residual_before


def test_exposure_that_varies_is_found():
    focused = sample("coffee")
    x = np.linspace(-1, 1, focused.shape[1], dtype=np.float32)[np.newaxis, :, np.newaxis]
    gain = np.array([0.95, 0.85, 0.9], np.float32) * (1 - 0.2 * x**2 + 0.05 * x)
    defocused, mask, truth = taken_from(focused, homography(focused.shape, scale=1.03), disk_psf(7), gain)
    found = register(defocused, exposed_again(focused), mask)
    assert error(found, truth, defocused) < 0.1
    there = np.broadcast_to(gain, focused.shape)
    found_gain, found_offset = found.exposure()
    assert np.median(np.abs(found_gain - there)[mask]) < 0.02
    assert np.median(np.abs(found_offset)[mask]) < 0.01


def test_exposure_that_does_not_vary_is_constant():
    focused = sample("astronaut")
    defocused, mask, _ = taken_from(focused, np.eye(3), disk_psf(7), np.array([0.8, 0.9, 1.0], np.float32))
    found = register(defocused, exposed_again(focused), mask)
    gain, _ = found.exposure()
    assert gain.shape == (1, 1, 3)
    np.testing.assert_allclose(gain.ravel(), [0.8, 0.9, 1.0], atol=0.01)


def test_photos_of_different_sizes():
    focused = sample("astronaut")
    defocused, mask, truth = taken_from(focused, np.eye(3), disk_psf(7))
    cut = (slice(20, 240), slice(30, 250))
    found = register(defocused, exposed_again(focused[cut]), mask)
    assert found.is_believable
    assert found.coordinates().shape == (*mask.shape, 2)
    assert error(found, truth - (20, 30), defocused) < 0.1
    assert not found.covered()[0, 0]
    assert found.covered()[100, 100]


def test_grey_reference():
    focused = sample("astronaut")
    defocused, mask, truth = taken_from(focused, homography(focused.shape, scale=1.03), disk_psf(7))
    found = register(defocused, exposed_again(focused).mean(axis=-1), mask)
    assert found.is_believable
    assert found.warp(focused, np.s_[:20, 10:]).shape == (20, mask.shape[1] - 10, 1)
    assert error(found, truth, defocused) < 0.1


def test_given_psf_is_kept():
    focused = sample("astronaut")
    defocused, mask, _ = taken_from(focused, np.eye(3), disk_psf(7))
    assert register(defocused, exposed_again(focused), mask, disk_psf(7)).psf.shape == (7, 7)


def test_mask_is_found():
    focused = sample("astronaut")
    out_of_focus = np.zeros(focused.shape[:2], bool)
    out_of_focus[70:190, 60:200] = True
    defocused = np.where(out_of_focus[..., np.newaxis], blurred(focused, disk_psf(9)), focused)
    found = register(exposed_again(defocused), exposed_again(focused))
    assert found.is_believable
    assert (found.mask & out_of_focus).sum() > 0.85 * out_of_focus.sum()
    assert (found.mask & ~out_of_focus).sum() < 0.25 * out_of_focus.sum()


def test_a_negative_is_not_believed():
    focused = sample("astronaut")
    defocused, mask, _ = taken_from(focused, np.eye(3), disk_psf(7))
    assert "scene" in register(defocused, exposed_again(1 - focused), mask).problem


def test_different_scenes_are_not_believed():
    one, other = sample("astronaut")[:200, :256], sample("coffee")
    defocused, mask, _ = taken_from(one, np.eye(3), disk_psf(7))
    assert "scene" in register(defocused, other, mask).problem


def test_what_is_not_shown_is_not_believed():
    focused = sample("astronaut")
    defocused, mask, _ = taken_from(focused, np.eye(3), disk_psf(7))
    mask[:, 100:] = False
    assert not register(defocused, exposed_again(focused[:, 130:]), mask).is_believable


def test_a_focused_photo_that_is_no_sharper_is_not_believed():
    sharp = sample("astronaut")
    defocused, mask, _ = taken_from(sharp, np.eye(3), disk_psf(5))
    found = register(defocused, exposed_again(blurred(sharp, disk_psf(7))), mask)
    assert "sharper" in found.problem
    assert found.focused_blur > 2


def test_blur_of_the_focused_photo_is_reported():
    sharp = sample("astronaut")
    defocused, mask, _ = taken_from(sharp, np.eye(3), disk_psf(13))
    found = register(defocused, exposed_again(blurred(sharp, disk_psf(7))), mask)
    assert found.is_believable
    assert found.focused_blur == pytest.approx(3.5, abs=1.5)


def test_flow_takes_what_no_homography_describes():
    focused = sample("astronaut")
    y, x = np.mgrid[: focused.shape[0], : focused.shape[1]].astype(np.float32)
    truth = np.stack([y + 3 * np.sin(x / 20), x + 3 * np.cos(y / 25)], axis=-1)
    planes = [map_coordinates(focused[..., i], np.moveaxis(truth, -1, 0), order=3, mode="mirror") for i in range(3)]
    defocused = exposed_again(blurred(np.stack(planes, axis=-1), disk_psf(5)))
    found = register(defocused, exposed_again(focused), mask_inside(focused))
    assert found.is_believable
    assert error(found, truth, defocused) < 0.7  # 2 without a flow


def test_what_something_nearer_hides_is_not_covered():
    behind, nearer = sample("astronaut"), sample("chelsea")[10:130, 50:150]
    rows, left, shift = slice(70, 190), 80, 10
    seen_here, seen_there = behind.copy(), behind.copy()
    seen_here[rows, left : left + 100] = nearer
    seen_there[rows, left + shift : left + shift + 100] = nearer
    found = register(exposed_again(blurred(seen_here, disk_psf(7))), exposed_again(seen_there), mask_inside(behind))
    assert found.view.flow is not None
    covered = found.covered()
    assert covered[rows, left + 100 : left + 100 + shift].mean() < 0.4
    assert covered[80:180, 90:170].mean() > 0.9
    assert covered[80:180, 200:220].mean() > 0.8


def test_same_bits_again():
    focused = sample("coffee")
    defocused, mask, _ = taken_from(focused, homography(focused.shape, degrees=2), disk_psf(7))
    one, other = (register(defocused, focused, mask) for _ in range(2))
    for name in ("coordinates", "exposure", "agreement"):
        np.testing.assert_array_equal(getattr(one, name)(), getattr(other, name)())
    np.testing.assert_array_equal(one.psf, other.psf)


def test_a_window_says_what_the_whole_says():
    focused = sample("coffee")
    defocused, mask, _ = taken_from(focused, homography(focused.shape, degrees=2), disk_psf(7), np.float32(0.8))
    found = register(defocused, focused, mask)
    window = np.s_[50:150, -120:-20]
    for name in ("coordinates", "covered", "agreement"):
        np.testing.assert_array_equal(getattr(found, name)(window), getattr(found, name)()[window])
    warped = found.warp(focused, window)
    np.testing.assert_allclose(warped, found.warp(focused)[window], atol=1e-5)
    assert np.abs(blurred(warped, found.psf) - defocused[window])[10:-10, 10:-10].mean() < 0.01


def test_progress_is_reported_and_cancels():
    focused = sample("astronaut")
    defocused, mask, _ = taken_from(focused, np.eye(3), disk_psf(7))
    seen = []
    register(defocused, focused, mask, threads=1, callback=lambda *report: seen.append(report))
    assert {stage for stage, *_ in seen} == {"register"}
    assert seen[0] == ("register", 0, 100)
    assert seen[-1] == ("register", 100, 100)
    done = [report[1] for report in seen]
    assert done == sorted(done)
    with pytest.raises(Cancelled):
        register(defocused, focused, callback=lambda *_: False)


def test_bits_do_not_depend_on_threads():
    focused = sample("coffee")
    defocused, _, _ = taken_from(focused, homography(focused.shape, degrees=2), disk_psf(7))
    one, other = (register(defocused, focused, threads=threads) for threads in (1, 3))
    for name in ("mask", "sharper", "psf", "residual", "residual_before", "score", "focused_blur"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.coordinates(), other.coordinates())


def half_blurred(sharp):
    """The left and the right half out of focus, and where that is the left one."""
    left = np.arange(sharp.shape[1]) < sharp.shape[1] // 2
    soft = blurred(sharp, disk_psf(9))
    return np.where(left[:, np.newaxis], soft, sharp), np.where(left[:, np.newaxis], sharp, soft), left


def test_where_the_focused_photo_is_sharper():
    one, other, left = half_blurred(sample("astronaut"))
    mask = np.zeros(one.shape[:2], bool)
    mask[80:160, 40:110] = True
    found = register(exposed_again(one), exposed_again(other), mask)
    assert (found.mask == mask).all()
    assert (found.sharper == left).mean() > 0.85


def test_a_large_photo_of_little_blur_is_looked_at_as_it_is():
    sharp = np.tile(sample("astronaut"), (5, 5, 1))  # 1280 pixels a side
    one, other, left = half_blurred(sharp)
    assert (register(exposed_again(one), exposed_again(other)).sharper == left).mean() > 0.95


def unusable():
    """Photos and masks that cannot be registered, and a word of what is to be said of them."""
    photo = sample("astronaut")
    soft, everywhere = blurred(photo, disk_psf(9)), np.ones(photo.shape[:2], bool)
    flat = np.full_like(photo, 0.2)
    few = np.zeros_like(everywhere)
    few[100:105, 100:105] = True
    return {
        "the same photo": (photo, photo, None, "sharper"),
        "the same photo, masked": (photo, photo, everywhere, "no sharper where"),
        "in focus": (exposed_again(photo), exposed_again(photo), everywhere, "no sharper"),
        "the other way round": (photo, soft, None, "sharper"),
        "the other way round, masked": (photo, soft, everywhere, ""),
        "a row": (soft[:1], photo, None, "small"),
        "a column": (soft[:, :1], photo[:, :1], None, "small"),
        "a few pixels": (soft[:16, :16], photo[:16, :16], None, "small"),
        "a small mask": (soft, photo, few, "mask is too small"),
        "flat": (flat, photo, None, "no texture"),
        "flat, both": (exposed_again(flat), exposed_again(flat), everywhere, "no texture"),
        "flat focused photo": (soft, flat, everywhere, "no texture"),
        "overexposed": (np.ones_like(photo), photo, None, "overexposed"),
        "noise": (np.random.default_rng(0).random(photo.shape, np.float32), photo, None, "scene"),
    }


@pytest.mark.parametrize("name", unusable())
def test_what_cannot_be_registered_is_told(name):
    defocused, focused, mask, words = unusable()[name]
    found = register(defocused, focused, mask, threads=1)
    assert not found.is_believable
    assert words in found.problem
    shape = defocused.shape[:2]
    assert found.mask.shape == found.sharper.shape == found.agreement().shape == found.covered().shape == shape
    assert np.isfinite(found.warp(focused)).all()


@pytest.mark.parametrize("shape", [(24, 24), (30, 30), (24, 1200), (1500, 26), (64, 48)])
def test_small_and_narrow_photos(shape):
    sharp = np.resize(np.tile(sample("coffee"), (8, 8, 1)), (1600, 2400, 3))[: shape[0], : shape[1]]
    assert register(blurred(sharp, disk_psf(5)), sharp, threads=1).mask.shape == shape


@pytest.mark.parametrize("window", [np.s_[:, :], np.s_[:60, :80], np.s_[-40:, :], np.s_[:, -30:], np.s_[50:52, :]])
def test_masks_at_the_border(window):
    focused = sample("astronaut")
    defocused, _, truth = taken_from(focused, homography(focused.shape, scale=1.02), disk_psf(7))
    mask = np.zeros(focused.shape[:2], bool)
    mask[window] = True
    found = register(defocused, exposed_again(focused), mask)
    assert found.is_believable, found.problem
    assert error(found, truth, defocused) < 1


def test_grey_and_colour_in_any_combination():
    focused = sample("astronaut")
    defocused, mask, truth = taken_from(focused, homography(focused.shape, scale=1.02), disk_psf(7))
    for ours in (defocused, luminance(defocused)):
        for theirs in (focused, luminance(focused)):
            found = register(ours, theirs, mask)
            assert found.is_believable
            assert found.warp(theirs).shape == (*mask.shape, 3 if ours.ndim == theirs.ndim == 3 else 1)
            assert error(found, truth, defocused) < 0.1


def test_empty_mask_is_refused():
    photo = sample("coffee")
    with pytest.raises(ValueError, match="mask"):
        register(photo, photo, np.zeros(photo.shape[:2], bool))


def test_view_at_another_scale_and_back():
    view = View(homography((300, 400), scale=1.04, degrees=3, shift=(9, -5), tilt=(0.03, 0.02)))
    everywhere = (0, 0, 300, 400)
    np.testing.assert_allclose(
        view.at_scale(4).at_scale(1 / 4).seen_from(everywhere), view.seen_from(everywhere), atol=1e-3
    )
    of_large_pixel = view.seen_from((40, 40, 2, 2)).mean(axis=(1, 2))  # (20, 20) of those twice as wide
    np.testing.assert_allclose(2 * view.at_scale(2).seen_from((20, 20, 1, 1))[:, 0, 0] + 0.5, of_large_pixel, atol=0.01)


def test_reduced_maps_are_spread_where_they_belong():
    plane = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.float32)
    small = CoarseMap(reduced(plane, 4)[2:, 3:], (2, 3), 4)
    again = small.at((12, 16, 24, 40))
    np.testing.assert_allclose(again, plane[12:36, 16:56], atol=1e-3)
    np.testing.assert_array_equal(small.at((-9, 0, 3, 3)), np.full((3, 3), small.values[0, 0]))


@pytest.mark.parametrize("freedom", [SIMILARITY, HOMOGRAPHY], ids=["similarity", "homography"])
def test_gauss_newton_comes_to_rest_at_the_truth(freedom):
    focused = sample("astronaut")
    truth = homography(focused.shape, scale=1.01, degrees=0.5, shift=(1.5, -1))
    defocused, mask, _ = taken_from(focused, truth, gaussian_psf(2))
    pair = Pair(*(photo.mean(axis=-1, keepdims=True) for photo in (defocused, focused)), mask)
    blur = Blur(2.0)
    view, _ = improve(Comparison(pair, View(), blur.reach), View(), blur, freedom)
    box = (60, 60, 136, 136)
    assert np.abs(view.seen_from(box) - View(truth).seen_from(box)).mean() < 0.05


def test_real_pairs_are_believed_and_mixed_ones_are_not(shared):
    folder = shared / "data" / "multifocus"
    near, far, other = (
        decode(read_photo(folder / name).pixels)
        for name in ("lytro_20/near.png", "lytro_20/far.png", "lytro_12/near.png")
    )
    mask = np.zeros(near.shape[:2], bool)
    mask[220:420, 150:370] = True  # the doll
    found = register(far, near, mask)
    assert found.is_believable
    assert found.score > 0.8
    assert not register(far, other, mask).is_believable
