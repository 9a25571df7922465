"""The blur network that comes with the package: what it reads, and the file itself."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

import fastrefocus as fr
from fastrefocus.light import decode, encode

FILE = files("fastrefocus.depth") / "blur.onnx"
SIDE = 256


def shapes(seed=0, side=SIDE):
    """A picture of many rectangles of all sizes: sharp edges everywhere."""
    random = np.random.default_rng(seed)
    picture = np.full((side, side), 0.5, np.float32)
    for size in 4 + 40 * random.random(400) ** 3:
        top, left = (int(start) for start in random.integers(0, side, 2))
        height, width = (int(length) for length in size * random.uniform(0.4, 1, 2) + 1)
        picture[top : top + height, left : left + width] = random.random()
    return picture


def blurred(picture, psf):
    reach = len(psf) // 2
    light = fftconvolve(np.pad(decode(picture), reach, mode="reflect"), psf, mode="valid")
    return encode(np.clip(light, 0, 1).astype(np.float32))


SHARP = shapes()


@pytest.mark.parametrize("radius", [2, 4, 7, 10])
def test_a_disk_is_read_as_its_radius(radius):
    assert np.median(fr.estimate_blur(blurred(SHARP, fr.disk_psf(2 * radius))).radius) == pytest.approx(
        radius, rel=0.25
    )


def test_a_gaussian_is_read_as_the_disk_of_its_standard_deviation():
    assert np.median(fr.estimate_blur(blurred(SHARP, fr.gaussian_psf(3))).radius) == pytest.approx(6, rel=0.25)


def test_a_sharp_photo_is_read_as_sharp():
    estimate = fr.estimate_blur(SHARP)
    assert np.median(estimate.radius) < 0.7
    assert np.quantile(estimate.radius, 0.9) < 1.2


def test_sharp_and_blurred_parts_are_told_apart():
    photo = SHARP.copy()
    photo[:, SIDE // 2 :] = blurred(SHARP, fr.disk_psf(10))[:, SIDE // 2 :]
    radius = fr.estimate_blur(photo).radius
    assert np.median(radius[:, : SIDE // 2 - 20]) < 1
    assert np.median(radius[:, SIDE // 2 + 20 :]) > 3.5


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0])
def test_a_blank_photo_says_nothing(value):
    assert fr.estimate_blur(np.full((96, 130), value)).confidence.max() < 0.02


def test_a_blank_place_says_less_than_a_textured_one():
    photo = np.full((200, 200), 0.5, np.float32)
    photo[:, :100] = np.random.default_rng(0).random((200, 100))
    confidence = fr.estimate_blur(photo).confidence
    assert confidence[:, 150:].max() < 0.02 < 0.4 < confidence[20:-20, 20:80].mean()


def test_a_large_photo_is_measured_in_its_own_pixels():
    small = blurred(shapes(side=544), fr.disk_psf(8))
    wide = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)  # 2176 pixels: seen at half the size
    estimate = fr.estimate_blur(gaussian_filter(wide, 1.5))
    assert estimate.radius.shape == estimate.confidence.shape == wide.shape
    assert np.median(estimate.radius) == pytest.approx(16, rel=0.25)


def test_colour_is_seen_as_its_luminance():
    colour = np.stack([blurred(shapes(seed), fr.disk_psf(size)) for seed, size in ((1, 2), (2, 6), (3, 20))], axis=-1)
    weighed = colour @ np.float32([0.2126, 0.7152, 0.0722])
    np.testing.assert_allclose(fr.estimate_blur(colour).radius, fr.estimate_blur(weighed).radius, rtol=1e-3)


def test_values_outside_0_to_1_are_clipped():
    extreme = 1.5 * SHARP - np.float32(0.2)
    clipped = fr.estimate_blur(np.clip(extreme, 0, 1))
    np.testing.assert_array_equal(fr.estimate_blur(extreme).radius, clipped.radius)


def test_the_border_of_a_photo_is_no_edge():
    radius = fr.estimate_blur(blurred(SHARP, fr.disk_psf(14))[:230, :250]).radius  # no multiples of 32
    for border in (radius[-8:], radius[:, -8:]):
        assert np.median(border) == pytest.approx(7, rel=0.3)


def test_grey_is_three_equal_channels_and_8_bits_are_the_same_photo():
    photo = np.rint(255 * SHARP).astype(np.uint8)
    grey = fr.estimate_blur(photo)
    for same in (np.stack([photo] * 3, axis=-1), photo / 255):
        np.testing.assert_allclose(fr.estimate_blur(same).radius, grey.radius, rtol=1e-2)


@pytest.mark.parametrize("shape", [(40, 330), (330, 330), (257, 257), (170, 400), (258, 300), (400, 200)])
def test_the_result_does_not_depend_on_threads(shape):
    photo = blurred(shapes(side=400)[: shape[0], : shape[1]], fr.disk_psf(6))
    alone = fr.estimate_blur(photo, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda threads: fr.estimate_blur(photo, threads=threads), [1, 2, 3, 8, 12, None]):
            np.testing.assert_array_equal(other.radius, alone.radius)
            np.testing.assert_array_equal(other.confidence, alone.confidence)


@settings(max_examples=25)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))))
def test_any_photo_has_a_radius_and_a_confidence_for_every_pixel(photo):
    estimate = fr.estimate_blur(photo, threads=1)
    for plane in (estimate.radius, estimate.confidence):
        assert plane.shape == photo.shape
        assert plane.dtype == np.float32
        assert plane.flags.c_contiguous
        assert np.isfinite(plane).all()
    assert estimate.radius.min() > 0
    assert estimate.confidence.min() >= 0
    assert estimate.confidence.max() <= 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": SHARP * 255}, ValueError, "image"),
        ({"image": np.zeros((4, 4, 2))}, ValueError, "image"),
        ({"image": np.full((4, 4), np.nan)}, ValueError, "image"),
        ({"model": "other.onnx"}, ValueError, "model must be one of 'builtin'"),
        ({"threads": 0}, ValueError, "threads must be >= 1"),
        ({"threads": 1.5}, TypeError, "threads must be an int"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        fr.estimate_blur(**{"image": SHARP, **arguments})


def test_the_shipped_file_is_the_one_whose_training_was_logged():
    data = FILE.read_bytes()
    log = (Path(__file__).resolve().parents[1] / "training" / "train.log").read_text()
    assert log.strip().endswith(hashlib.sha256(data).hexdigest())
    assert len(data) <= 3_000_000


def test_the_file_runs_on_old_runtimes_and_keeps_its_weights_as_int8():
    model = onnx.load_from_string(FILE.read_bytes())
    assert model.ir_version <= 8
    assert [opset.version for opset in model.opset_import] == [17]
    sizes = {TensorProto.INT8: 0, TensorProto.FLOAT: 0}
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    assert sizes[TensorProto.INT8] > 900_000
    assert sizes[TensorProto.FLOAT] < 10_000
    assert "DequantizeLinear" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("scene", ["lytro_01", "lytro_04", "lytro_11"])
def test_of_a_real_pair_the_photo_focused_near_has_the_sharper_foreground(shared, scene):
    near, far = (
        fr.read_photo(shared / "data" / "multifocus" / scene / f"{name}.png").pixels for name in ("near", "far")
    )
    energies = []
    for photo in (near, far):
        gradient = np.gradient(gaussian_filter(photo.mean(axis=2), 1))
        energies.append(gaussian_filter(gradient[0] ** 2 + gradient[1] ** 2, 4))
    ratio = np.log(energies[0] / energies[1])
    clear = (np.abs(ratio) > np.log(3)) & (np.maximum(*energies) > np.median(np.maximum(*energies)) / 2)
    apart = fr.estimate_blur(far).radius - fr.estimate_blur(near).radius
    assert np.mean(np.sign(apart[clear]) == np.sign(ratio[clear])) > 0.95
