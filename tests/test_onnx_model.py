"""Depth through onnxruntime, with networks of a few nodes whose answer is known, and with the built-in model."""

import importlib.util
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from reference import guided_filter as reference
from scipy import ndimage, stats
from skimage.transform import resize

from fastrefocus.depth import onnx_model
from fastrefocus.depth.depth_map import DepthMap
from fastrefocus.depth.model_cards import CARDS, PLAIN, card_of_metadata
from fastrefocus.depth.onnx_model import estimate_depth
from fastrefocus.errors import ModelError

H, W = 64, 96
FREE = ("height", "width")
RNG = np.random.default_rng(11)
PHOTO = RNG.random((H, W, 3), np.float32)
BUILTIN = Path(onnx_model.__file__).with_name("builtin.onnx")


def red_of(image="image"):
    """Nodes that give the red channel as depth."""
    return [helper.make_node("Slice", [image, "zero", "one", "one"], ["depth"])]


def make_model(nodes=None, *, inputs=None, outputs=None, extra=(), metadata=None):
    """A serialised network; without arguments one that gives the red channel as depth."""
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        red_of() if nodes is None else nodes,
        "tiny",
        inputs or [tensor("image", TensorProto.FLOAT, [1, 3, *FREE])],
        outputs or [tensor("depth", TensorProto.FLOAT, [1, 1, *FREE])],
        [
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            *extra,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


def float_input(*shape, name="image", dtype=TensorProto.FLOAT):
    return [helper.make_tensor_value_info(name, dtype, list(shape))]


@pytest.fixture
def save(tmp_path):
    def write(data, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


# The conventions.


def test_a_plain_file_gives_relative_depth_of_the_photos_size(save):
    depth = estimate_depth(PHOTO, model=save(make_model()))
    assert isinstance(depth, DepthMap)
    assert depth.kind == "relative"
    red = PHOTO[..., 0]
    np.testing.assert_allclose(depth.values, (red - red.min()) / np.ptp(red), atol=1e-6)


def test_a_plain_file_sees_a_reduced_copy_in_multiples_of_32(save):
    seen = []
    model = onnx_model.OnnxModel.run
    ramp = np.repeat(np.linspace(0, 1, 900)[None, :, None], 500, axis=0).repeat(3, axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_model.OnnxModel, "run", lambda self, image: seen.append(image.shape) or model(self, image))
        depth = estimate_depth(ramp, model=save(make_model()))
    assert seen == [(224, 384, 3)]
    assert depth.values.shape == (500, 900)
    np.testing.assert_allclose(depth.values, ramp[..., 0], atol=2e-3)


def test_the_files_own_size_is_kept(save):
    model = make_model(inputs=float_input(1, 3, 32, 64), outputs=float_input(1, 1, 32, 64, name="depth"))
    assert estimate_depth(PHOTO, model=save(model)).values.shape == (H, W)


def test_an_output_of_rank_3_is_taken(save):
    squeeze = [*red_of()[:0], helper.make_node("ReduceMax", ["image"], ["depth"], axes=[1], keepdims=0)]
    path = save(make_model(squeeze, outputs=float_input(1, *FREE, name="depth")))
    highest = PHOTO.max(axis=2)
    expected = (highest - highest.min()) / np.ptp(highest)
    np.testing.assert_allclose(estimate_depth(PHOTO, model=path).values, expected, atol=1e-6)


def test_a_card_before_the_path(save):
    path = save(make_model())
    depth = estimate_depth(PHOTO, model=f"FastDepth:{path}")
    assert depth.kind == "metric"
    assert depth.values.min() >= np.float32(0.1)  # clipped
    small = resize(PHOTO, (224, 224), order=1, mode="edge", anti_aliasing=True)[..., 0]
    expected = resize(np.maximum(small, np.float32(0.1)), (H, W), order=1, mode="edge", anti_aliasing=True)
    np.testing.assert_allclose(depth.values, expected, atol=1e-6)


def test_metadata_name_the_card(save):
    path = save(make_model(metadata={"model": " FastDepth-NYU"}))
    assert estimate_depth(PHOTO, model=path).kind == "metric"
    assert estimate_depth(PHOTO, model=save(make_model(metadata={"model": "of ours"}), "b.onnx")).kind == "relative"


def test_a_cards_normalisation_reaches_the_network(save, monkeypatch):
    card = type(PLAIN)(name="half", kind="inverse", mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 0.5))
    monkeypatch.setitem(CARDS, "half", card)
    depth = estimate_depth(PHOTO, model=f"half:{save(make_model())}")
    assert depth.kind == "inverse"
    np.testing.assert_allclose(depth.values, (PHOTO[..., 0] - 0.5) / 0.25, atol=1e-5)


def test_a_colon_in_a_path_is_no_card(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        save(make_model(), "c:model.onnx")
    except OSError:
        pytest.skip("this file system takes no ':' in a name")
    assert estimate_depth(PHOTO, model="c:model.onnx").kind == "relative"
    (tmp_path / "fastdepth:").mkdir()
    save(make_model(), "fastdepth:/model.onnx")
    assert estimate_depth(PHOTO, model=Path("fastdepth:/model.onnx")).kind == "relative"  # a Path is a path


def test_cards_are_consistent():
    for name, card in CARDS.items():
        assert name == card.name == name.lower()
        assert card_of_metadata(name.upper()) is card
    assert card_of_metadata("") is None


def test_the_file_may_change(save):
    path = save(make_model())
    first = estimate_depth(PHOTO, model=path)
    save(make_model([helper.make_node("Sub", ["one_", "red"], ["depth"]), *red_of()][::-1]).replace(b"depth", b"depth"))
    green = [helper.make_node("Slice", ["image", "one", "two", "one"], ["depth"])]
    save(make_model(green, extra=[numpy_helper.from_array(np.array([2], np.int64), "two")]))
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(estimate_depth(PHOTO, model=path).values, first.values)
