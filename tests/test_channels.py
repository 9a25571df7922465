import numpy as np
import pytest
from skimage.feature import canny

from fastrefocus.deconvolution.channels import CHANNELS, Channels, edge_distance, edge_weight, intensity
from fastrefocus.light import decode, encode, luminance

RNG = np.random.default_rng(0)
PHOTO = RNG.uniform(0.05, 0.9, (24, 31, 3)).astype(np.float32)
SIGMA, EDGE_SIGMA = 1.5, 2.0


def channels(photo=PHOTO, kind="rgb", *, linearize=False):
    return Channels(photo, kind, linearize, (EDGE_SIGMA,) if kind == "edges" else ())


def finish(work, restored):
    return work.finish(restored, SIGMA, EDGE_SIGMA if work.edge_sigmas else None)


def test_luminance_has_the_weights_of_rec_709():
    np.testing.assert_allclose(luminance(np.float32([[[0.1, 0.2, 0.3]]])), [[0.18596]], rtol=1e-6)
    grey = PHOTO[..., 0]
    assert luminance(grey) is grey


def test_intensity_has_the_papers_weights_and_is_never_0():
    photo = np.float32([[[0.1, 0.2, 0.3], [1, 1, 1], [0, 0, 0]]])
    assert intensity(photo).dtype == np.float32
    np.testing.assert_allclose(intensity(photo), [[(20 * 0.1 + 40 * 0.2 + 0.3) / 61, 1, 1e-20]], rtol=1e-6)
    np.testing.assert_allclose(intensity(np.float32([[0, 0.5]])), [[1e-20, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("photo", [PHOTO, PHOTO[..., 1]], ids=["colour", "grey"])
@pytest.mark.parametrize("linearize", [True, False])
def test_what_is_deconvolved(photo, linearize):
    values = decode(photo) if linearize else photo
    weights = {"luminance": [0.2126, 0.7152, 0.0722], "intensity": [20 / 61, 40 / 61, 1 / 61]}
    for kind in CHANNELS:
        target = channels(photo, kind, linearize=linearize).target(photo)
        weight = weights["intensity" if kind == "edges" else kind] if kind != "rgb" and photo.ndim == 3 else None
        np.testing.assert_allclose(target, values if weight is None else values @ np.float32(weight), rtol=1e-5)
        np.testing.assert_array_equal(channels(photo, kind, linearize=linearize).luminance(), luminance(values))


@pytest.mark.parametrize("photo", [PHOTO, PHOTO[..., 1]], ids=["colour", "grey"])
@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("kind", CHANNELS)
def test_a_target_that_was_not_changed_gives_the_photo_back(kind, linearize, photo):
    work = channels(photo, kind, linearize=linearize)
    np.testing.assert_allclose(finish(work, work.target(photo)), photo, atol=1e-6)


@pytest.mark.parametrize("linearize", [True, False])
def test_a_restored_target_becomes_a_photo_by_its_formula(linearize):
    b = decode(PHOTO) if linearize else PHOTO
    change = RNG.normal(scale=0.05, size=PHOTO.shape).astype(np.float32)
    grey = change[..., 0]
    i = b @ (np.float32([20, 40, 1]) / 61)
    edges = canny(intensity(b), sigma=EDGE_SIGMA, low_threshold=0.8, high_threshold=0.9, use_quantiles=True)
    rows, columns = np.indices(edges.shape)
    squares = np.min([(rows - r) ** 2 + (columns - c) ** 2 for r, c in np.argwhere(edges)], axis=0)
    e = np.exp(-squares / (2 * SIGMA**2))
    expected = {
        "rgb": b + change,
        "luminance": b + grey[..., np.newaxis],
        "intensity": b * ((i + grey) / i)[..., np.newaxis],
        "edges": b * ((i + e * grey) / i)[..., np.newaxis],
    }
    for kind in CHANNELS:
        work = channels(kind=kind, linearize=linearize)
        result = finish(work, work.target(PHOTO) + (change if kind == "rgb" else grey))
        assert result.dtype == np.float32
        wanted = expected[kind].astype(np.float32)
        np.testing.assert_allclose(result, encode(wanted) if linearize else wanted, atol=2e-5)


def test_luminance_keeps_the_colour_differences():
    work = channels(kind="luminance")
    result = finish(work, work.target(PHOTO) + np.float32(0.1))
    np.testing.assert_allclose(result - PHOTO, 0.1, atol=1e-6)


@pytest.mark.parametrize("kind", ["intensity", "edges"])
@pytest.mark.parametrize("linearize", [True, False])
def test_near_black_noise_is_not_blown_up(kind, linearize):
    """A ratio to an intensity near 0 knows no bounds; the change made to a pixel does not exceed its own by much."""
    photo = RNG.normal(scale=0.002, size=(24, 31, 3)).astype(np.float32)
    photo[::2] = RNG.uniform(0, 1e-6, photo[::2].shape)
    work = channels(photo, kind, linearize=linearize)
    change = np.full(photo.shape[:2], 0.01, np.float32)
    result = work.values(finish(work, work.target(photo) + change))
    assert np.abs(result - work.values(photo)).max() < 0.1


def test_values_below_0_keep_the_change_in_proportion():
    photo = np.full((24, 31, 3), -0.2, np.float32)
    work = channels(photo, "intensity")
    result = finish(work, work.target(photo) + np.float32(0.001))
    np.testing.assert_allclose(result, -0.2 + 0.001 * -0.2 * 255, rtol=1e-5)


def test_edge_weight_falls_off_with_the_distance():
    step = np.zeros((30, 41), np.float32)
    step[:, 20:] = 0.5
    weight = edge_weight(edge_distance(step, 1.0), 3.0)
    assert weight.dtype == np.float32
    distance = 20 - np.arange(20)
    np.testing.assert_allclose(weight[15, :20], np.exp(-(distance**2) / 18), atol=0.2)  # Canny may be a pixel off
    np.testing.assert_array_equal(edge_weight(edge_distance(np.full((9, 12), 0.3, np.float32), 1.0), 3.0), 0)


def test_the_edge_weight_may_have_a_width_at_each_pixel():
    distance = RNG.uniform(0, 9, (7, 8)).astype(np.float32)
    sigma = RNG.uniform(0.5, 4, (7, 8)).astype(np.float32)
    np.testing.assert_allclose(edge_weight(distance, sigma), np.exp(-(distance**2) / (2 * sigma**2)), rtol=1e-5)
