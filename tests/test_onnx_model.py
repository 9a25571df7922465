"""Depth through onnxruntime, with networks of a few nodes whose answer is known, and with the built-in model."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from reference import guided_filter as reference
from scipy import ndimage, stats
from skimage import data
from skimage.transform import resize

from fastrefocus.depth import onnx_model
from fastrefocus.depth.model_cards import CARDS, PLAIN, ModelCard, card_of_metadata
from fastrefocus.depth.onnx_model import estimate_depth
from fastrefocus.errors import ModelError

H, W = 64, 96
PHOTO = np.random.default_rng(11).random((H, W, 3), np.float32)
BUILTIN = files("fastrefocus.depth") / "builtin.onnx"
TRAINING = Path(__file__).resolve().parents[1] / "training" / "builtin_model.py"


def channel(index):
    """Nodes and constants that give one channel of the photo as depth."""
    indices = numpy_helper.from_array(np.array([index], np.int64), "index")
    return [helper.make_node("Gather", ["image", "index"], ["depth"], axis=1)], [indices]


def tensor(name, *shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, list(shape))


IMAGE = tensor("image", 1, 3, "h", "w")
DEPTH = tensor("depth", 1, 1, "h", "w")


def make_model(nodes=None, constants=(), *, inputs=(IMAGE,), outputs=(DEPTH,), metadata=None):
    """A serialised network; without nodes it gives the red channel as depth."""
    if nodes is None:
        nodes, constants = channel(0)
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


@pytest.fixture
def save(tmp_path):
    def write(content, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def scaled(plane):
    return (plane - plane.min()) / np.ptp(plane)


def resized(array, size):
    return resize(array, size, order=1, mode="edge", anti_aliasing=True)


# --- conventions


def test_a_plain_file_gives_relative_depth(save):
    depth = estimate_depth(PHOTO, model=save(make_model()))
    assert depth.kind == "relative"
    np.testing.assert_allclose(depth.values, scaled(PHOTO[..., 0]), atol=1e-6)


@pytest.mark.parametrize(
    ("card", "photo", "seen"),
    [
        (PLAIN, (500, 900), (224, 384)),
        (PLAIN, (4000, 3000), (384, 288)),
        (PLAIN, (1, 1), (32, 32)),
        (PLAIN, (1, 100_000), (32, 384)),
        (CARDS["builtin"], (3000, 4000), (384, 512)),
        (CARDS["builtin"], (100, 90), (96, 96)),
        (CARDS["fastdepth"], (3000, 4000), (224, 224)),
        (ModelCard(name="free", kind="inverse"), (13, 7), (13, 7)),
    ],
)
def test_the_size_that_the_network_sees(card, photo, seen):
    assert card.input_size(*photo) == seen


def test_a_large_photo(save):
    ramp = np.linspace(0, 1, 900, dtype=np.float32)[None, :, None] * np.ones((500, 1, 3), np.float32)
    np.testing.assert_allclose(estimate_depth(ramp, model=save(make_model())).values, ramp[..., 0], atol=2e-3)


def test_the_files_own_size_is_kept(save):
    model = make_model(inputs=[tensor("image", 1, 3, 16, 48)], outputs=[tensor("depth", 1, 1, 16, 48)])
    expected = resized(resized(PHOTO, (16, 48)), (H, W))[..., 0]
    np.testing.assert_allclose(estimate_depth(PHOTO, model=save(model)).values, scaled(expected), atol=1e-6)


def test_an_output_without_channel_axis(save):
    nodes = [helper.make_node("ReduceMax", ["image"], ["depth"], axes=[1], keepdims=0)]
    depth = estimate_depth(PHOTO, model=save(make_model(nodes, outputs=[tensor("depth", 1, "h", "w")])))
    np.testing.assert_allclose(depth.values, scaled(PHOTO.max(axis=2)), atol=1e-6)


def test_a_card_before_the_path(save):
    depth = estimate_depth(PHOTO, model=f"FastDepth:{save(make_model())}")
    assert depth.kind == "metric"
    clipped = np.maximum(resized(PHOTO, (224, 224))[..., 0], np.float32(0.1))
    np.testing.assert_allclose(depth.values, resized(clipped, (H, W)), atol=1e-6)


def test_the_metadata_name_a_card(save):
    assert estimate_depth(PHOTO, model=save(make_model(metadata={"model": " FastDepth-NYU"}))).kind == "metric"
    assert estimate_depth(PHOTO, model=save(make_model(metadata={"model": "x"}), "x.onnx")).kind == "relative"


def test_a_cards_normalisation_reaches_the_network(save, monkeypatch):
    card = ModelCard(name="half", kind="inverse", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    monkeypatch.setitem(CARDS, "half", card)
    for index in range(3):  # RGB in this order
        depth = estimate_depth(PHOTO, model=f"half:{save(make_model(*channel(index)), f'{index}.onnx')}")
        expected = (PHOTO[..., index] - card.mean[index]) / card.std[index]
        np.testing.assert_allclose(depth.values, expected, atol=1e-5)


def test_other_colons_belong_to_the_path(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fastdepth:").mkdir()
    save(make_model(), "c:model.onnx")
    save(make_model(), "fastdepth:/model.onnx")
    assert estimate_depth(PHOTO, model="c:model.onnx").kind == "relative"
    assert estimate_depth(PHOTO, model=Path("fastdepth:/model.onnx")).kind == "relative"  # not a str


def test_the_cards_names():
    for name, card in CARDS.items():
        assert name == card.name == name.lower()
        assert card_of_metadata(name.upper()) is card
    assert card_of_metadata("") is None


def test_a_file_that_changes_is_read_again(save):
    path = save(make_model(*channel(0)))
    first = estimate_depth(PHOTO, model=path).values
    save(make_model(*channel(1)))
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(estimate_depth(PHOTO, model=path).values, first)


@pytest.mark.parametrize("model", ["builtin", "tiny"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 1, 3), (3, 1, 3), (17, 33)])
def test_any_size(save, model, shape):
    image = np.random.default_rng(2).random(shape)
    depth = estimate_depth(image, model=save(make_model()) if model == "tiny" else model)
    assert depth.values.shape == shape[:2]
    assert not np.isnan(depth.values).any()


def test_photos_of_any_type():
    grey = (PHOTO[..., 0] * 255).astype(np.uint8)
    expected = estimate_depth(np.dstack([grey] * 3)).values
    np.testing.assert_array_equal(estimate_depth(grey).values, expected)
    np.testing.assert_array_equal(estimate_depth(grey.astype(np.uint16) * 257).values, expected)
    np.testing.assert_array_equal(estimate_depth(np.asfortranarray(grey)).values, expected)


def test_values_outside_0_to_1_are_clipped(save):
    path = save(make_model())
    extreme = PHOTO * 16.5 - 0.5
    expected = estimate_depth(np.clip(extreme, 0, 1), model=path).values
    np.testing.assert_array_equal(estimate_depth(extreme, model=path).values, expected)


# --- hostile and broken files


def failing_at_run_time():
    """A Reshape to five pixels, which no photo has."""
    shape = numpy_helper.from_array(np.array([1, 1, 1, 5], np.int64), "shape")
    return make_model([helper.make_node("Reshape", ["image", "shape"], ["depth"])], [shape])


def divided_by(number):
    zero = numpy_helper.from_array(np.float32(number), "number")
    nodes, constants = channel(0)
    nodes[0].output[0] = "red"
    return make_model([*nodes, helper.make_node("Div", ["red", "number"], ["depth"])], [*constants, zero])


def with_external_data(location, key_length=b"\x08"):
    """A map of 4x4 pixels that lies in another file."""
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1, 1, 4, 4], data_location=1)
    outside.external_data.add(key="location", value=location)
    nodes, constants = channel(0)
    nodes[0].output[0] = "red"
    nodes.append(helper.make_node("Max", ["red", "outside"], ["depth"]))
    model = make_model(nodes, [*constants, outside], inputs=[tensor("image", 1, 3, 4, 4)])
    return model.replace(b"\x08location", key_length + b"location")


TWO_INPUTS = [IMAGE, tensor("focal", 1)]
TWO_OUTPUTS = [DEPTH, tensor("red", 1, 1, "h", "w")]
HALF = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.FLOAT16)]
DOUBLE = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.DOUBLE)]
INTEGER = [tensor("image", 1, 3, "h", "w", dtype=TensorProto.UINT8)]
IDENTITY = [helper.make_node("Identity", ["image"], ["depth"])]


def red_too():
    return [helper.make_node("Gather", ["image", "index"], ["red"], axis=1)]


def typed(inputs):
    kind = inputs[0].type.tensor_type.elem_type
    return make_model(IDENTITY, inputs=inputs, outputs=[tensor("depth", 1, 3, "h", "w", dtype=kind)])


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no model\n" * 50, "not an ONNX model"),
    "truncated": (make_model()[:150], "not an ONNX model"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not an ONNX model"),
    "unknown operator": (make_model([helper.make_node("Nonsense", ["image"], ["depth"])]), "not an ONNX model"),
    "rank 3": (make_model(inputs=[tensor("image", 3, "h", "w")]), r"input must be .*\[3, 'h', 'w'\]"),
    "four channels": (make_model(inputs=[tensor("image", 1, 4, "h", "w")]), r"input must be .*\[1, 4, 'h', 'w'\]"),
    "channels last": (make_model(inputs=[tensor("image", 1, "h", "w", 3)]), r"input must be .*\[1, 'h', 'w', 3\]"),
    "batch of 2": (make_model(inputs=[tensor("image", 2, 3, "h", "w")]), r"input must be .*\[2, 3, 'h', 'w'\]"),
    "float16": (typed(HALF), r"input must be one float32 .*tensor\(float16\)"),
    "float64": (typed(DOUBLE), r"input must be one float32 .*tensor\(double\)"),
    "uint8": (typed(INTEGER), r"input must be one float32 .*tensor\(uint8\)"),
    "unknown channels": (make_model(inputs=[tensor("image", "n", "c", "h", "w")]), r"input must be .*'c'"),
    "two inputs": (make_model(inputs=TWO_INPUTS), "input must be .*'image'.*'focal'"),
    "two outputs": (make_model([*channel(0)[0], *red_too()], channel(0)[1], outputs=TWO_OUTPUTS), "'depth'.*'red'"),
    "huge input": (make_model(inputs=[tensor("image", 1, 3, 1 << 20, 1 << 20)]), "1 to 4096"),
    "three channels out": (make_model(IDENTITY, outputs=[tensor("depth", 1, 3, "h", "w")]), r"shape \(1, 3, 64, 96\)"),
    "fails": (failing_at_run_time(), r"failed on an input of shape \(1, 3, 64, 96\)"),
    "infinite": (divided_by(0), "NaN or infinity at 6144 of 6144"),
    "NaN": (divided_by(np.nan), "NaN or infinity at 6144 of 6144"),
    "external data": (with_external_data("outside.bin"), "other files"),
    "hidden external data": (with_external_data("outside.bin", b"\x88\x80\x00"), "other files"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(save, capfd, name):
    content, message = BROKEN[name]
    path = save(content)
    with pytest.raises(ModelError, match=message) as caught:
        estimate_depth(PHOTO, model=path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700
    assert capfd.readouterr() == ("", "")


def test_no_file_is_read_outside_the_model(save, tmp_path, monkeypatch):
    """The file beside the model and in the working folder would fit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.bin").write_bytes(np.ones((4, 4), np.float32).tobytes())
    path = save(with_external_data("outside.bin"))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 3, 4, 4), np.float32)})[0].min() == 1  # what is to be prevented
    with pytest.raises(ModelError, match="other files"):
        estimate_depth(PHOTO, model=path)


def test_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model file not found: .*none\.onnx.*CARD:PATH"):
        estimate_depth(PHOTO, model=tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match="dpt:"):
        estimate_depth(PHOTO, model="dpt:none.onnx")
    with pytest.raises(ModelError, match="directory"):
        estimate_depth(PHOTO, model=tmp_path)
    with pytest.raises(ModelError, match="special file"):
        estimate_depth(PHOTO, model=os.devnull)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "model must be a str or a path, got int"),
        ({"model": None}, TypeError, "model must be a str or a path, got NoneType"),
        ({"model": ""}, ValueError, "model must be 'builtin', a path, or CARD:PATH, got ''"),
        ({"model": "fastdepth"}, ValueError, "got 'fastdepth'"),
        ({"model": "fastdepth:"}, ValueError, "got 'fastdepth:'"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"threads": 1.5}, TypeError, "threads must be"),
        ({"image": PHOTO * 255}, ValueError, "image.* must hold values of 0..1"),
        ({"image": PHOTO[..., :2]}, ValueError, "image must have shape"),
        ({"image": PHOTO > 0.5}, TypeError, "image must"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        estimate_depth(**{"image": PHOTO} | arguments)


# --- sessions


@pytest.fixture(scope="module")
def coffee():
    return data.coffee()


def test_same_bits_at_any_number_of_threads(coffee):
    expected = estimate_depth(coffee, threads=1).values
    for threads in (2, 3, None):
        np.testing.assert_array_equal(estimate_depth(coffee, threads=threads).values, expected)


def test_several_python_threads_at_once(coffee):
    onnx_model._load_model.cache_clear()
    photos = [np.roll(coffee, 40 * i, axis=1) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda photo: estimate_depth(photo, threads=2).values, photos))
    for photo, depth in zip(photos, found, strict=True):
        np.testing.assert_array_equal(estimate_depth(photo, threads=2).values, depth)


def test_the_session_is_kept():
    first = onnx_model.load_model(Path(BUILTIN), 1)
    assert onnx_model.load_model(Path(BUILTIN), 1) is first
    assert onnx_model.load_model(Path(BUILTIN), 2) is not first


# --- the built-in model


@pytest.fixture(scope="module")
def training():
    spec = importlib.util.spec_from_file_location("builtin_model", TRAINING)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_file_is_what_the_script_writes(training):
    shipped = BUILTIN.read_bytes()
    made_with = onnx.load_from_string(shipped).producer_version
    if made_with != f"onnx {onnx.__version__}":
        pytest.skip(f"the shipped file was made with {made_with}, this is onnx {onnx.__version__}")
    assert training.build_model().SerializeToString(deterministic=True) == shipped


def run_part(training, build, shape, *planes):
    """Run a part of the built-in model's graph on the planes (H, W) or (H, W, C) given."""
    graph = training.Graph()
    names = [f"in{i}" for i in range(len(planes))]
    output = build(graph, *names)
    arrays = [np.float32(p).reshape(*p.shape[:2], -1).transpose(2, 0, 1)[None].copy() for p in planes]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "part",
            [tensor(name, *array.shape) for name, array in zip(names, arrays, strict=True)],
            [tensor(output, 1, 1, *shape)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", training.OPSET)],
        ir_version=training.IR_VERSION,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, arrays, strict=True)))[0][0, 0]


def test_guided_filter_equals_the_slow_version(training, monkeypatch):
    monkeypatch.setattr(training, "GUIDE_RADIUS", 3)
    rng = np.random.default_rng(4)
    image, depth = ndimage.gaussian_filter(rng.random((40, 56, 3)), (2, 2, 0)), rng.random((10, 14))
    quarter = image.reshape(10, 4, 14, 4, 3).mean(axis=(1, 3))
    slope, offset = reference.lines(quarter, depth, 3, training.GUIDE_EPSILON)
    slope, offset = resize(slope, (40, 56), order=1, mode="edge"), resize(offset, (40, 56), order=1, mode="edge")
    found = run_part(training, training.guided_filter, (40, 56), image, quarter, depth)
    np.testing.assert_allclose(found, (slope * image).sum(axis=2) + offset, atol=2e-4)


def test_lower_is_nearer_where_there_is_nothing_else():
    depth = estimate_depth(np.full((384, 512, 3), 0.5)).values
    assert np.ptp(depth, axis=1).max() < 1e-5
    assert np.diff(depth[:, 0]).max() < 1e-5
    assert depth[0, 0] > 0.99
    assert depth[-1, 0] < 0.01


def test_a_body_of_its_own_colour_is_nearer_and_keeps_its_edge():
    photo = np.full((256, 320, 3), (0.4, 0.5, 0.6), np.float32)
    body = np.zeros(photo.shape[:2], bool)
    body[64:192, 112:208] = True
    photo[body] = (0.7, 0.3, 0.2)
    depth = estimate_depth(photo).values
    row = depth[128]
    assert row[160] < row[40] - 0.2
    steps = np.abs(np.diff(row))
    assert sorted(np.argsort(steps)[-2:]) == [111, 207]


@pytest.mark.parametrize("sharp_half", ["left", "right"])
def test_what_is_blurred_is_farther(sharp_half):
    texture = ndimage.gaussian_filter(np.random.default_rng(6).random((256, 384)), 0.7)
    blurred = ndimage.gaussian_filter(texture, 4)
    photo = np.where(np.arange(384) < 192, texture, blurred)
    photo = photo[:, ::-1] if sharp_half == "right" else photo
    depth = estimate_depth(photo).values
    left, right = depth[:, :150].mean(), depth[:, -150:].mean()
    assert (right - left if sharp_half == "left" else left - right) > 0.2


@pytest.mark.parametrize("blurred", ["foreground", "background"])
def test_blur_at_the_bottom_is_near_and_at_the_top_far(blurred):
    sharp = ndimage.gaussian_filter(np.random.default_rng(6).random((256, 384)), 0.7)
    lower = np.arange(256)[:, None] >= 128
    photo = np.where(lower == (blurred == "foreground"), ndimage.gaussian_filter(sharp, 4), sharp)
    depth = estimate_depth(photo).values
    assert depth[64].mean() - depth[192].mean() > 0.6


def test_low_contrast_is_not_blur(coffee):
    soft = 0.5 + 0.3 * (coffee / 255 - 0.5)
    assert stats.spearmanr(estimate_depth(coffee).values.ravel(), estimate_depth(soft).values.ravel()).statistic > 0.95


def rank_correlation(depth, folder):
    """With the measured depth; larger is farther on both sides."""
    millimetres, disparity = folder / "depth.png", folder / "disparity.png"
    measured = np.asarray(Image.open(disparity if disparity.exists() else millimetres)).astype(np.float32)
    known = measured > 0
    sign = -1 if disparity.exists() else 1
    return sign * stats.spearmanr(depth[known], measured[known]).statistic


def test_measured_depth(shared):
    """Scenes on which nothing was tuned; lower is nearer alone has .930, .666, .874 and .401."""
    least = {"cones": 0.91, "motorcycle": 0.69, "nyu_dining": 0.86, "tsukuba": 0.55}
    for scene, limit in least.items():
        folder = shared / "data" / "rgbd" / scene
        photo = np.asarray(Image.open(folder / "rgb.png").convert("RGB"))
        assert rank_correlation(estimate_depth(photo).values, folder) > limit, scene


def test_a_real_network(shared):
    path = shared / "models" / "fastdepth_nyu.onnx"
    folder = shared / "data" / "rgbd" / "nyu_dining"
    photo = np.asarray(Image.open(folder / "rgb.png").convert("RGB"))
    depth = estimate_depth(photo, model=path)
    assert depth.kind == "metric"
    assert depth.values.shape == photo.shape[:2]
    assert rank_correlation(depth.values, folder) > 0.95
    metres = np.asarray(Image.open(folder / "depth.png")) / 1000
    assert np.abs(np.log(depth.values / metres)).mean() < 0.15
    np.testing.assert_array_equal(estimate_depth(photo, model=f"fastdepth:{path}").values, depth.values)
