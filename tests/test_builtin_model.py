"""The built-in depth model, and a real network: how they are made, and what they say of photos."""

import importlib.util
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image
from reference import guided_filter as reference
from scipy import ndimage, stats
from skimage import data
from skimage.transform import resize
from tiny_models import tensor

from fastrefocus.depth.estimate import estimate_depth

BUILTIN = files("fastrefocus.depth") / "builtin.onnx"
TRAINING = Path(__file__).resolve().parents[1] / "training" / "builtin_model.py"


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


def test_low_contrast_is_not_blur():
    coffee = data.coffee()
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
    # Weights as int8, which onnxruntime turns into numbers as it loads the file: the same network.
    other = estimate_depth(photo, model=f"fastdepth:{shared / 'models' / 'fastdepth_nyu_w8.onnx'}").values
    np.testing.assert_array_equal(other, depth.values)
    high = estimate_depth(photo, model=path, accuracy="high")
    assert rank_correlation(high.values, folder) > rank_correlation(depth.values, folder) - 0.002
