"""What trains the blur network; needs training/requirements.txt, which the package itself does not."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training's requirements are not installed")
pytest.importorskip("cv2", reason="the training's requirements are not installed")


@pytest.fixture(autouse=True)
def _training_folder(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).resolve().parents[1] / "training"), *sys.path])


def test_a_scene_follows_from_its_seed():
    from scenes import CELL, CROP, LARGEST_RADIUS, make_scene

    scene, again, other = make_scene((1, 2)), make_scene((1, 2)), make_scene((1, 3))
    for plane, same in zip(scene, again, strict=True):
        np.testing.assert_array_equal(plane, same)
    assert (scene.photo != other.photo).any()
    assert scene.photo.shape == (CROP, CROP)
    assert scene.radius.shape == scene.weight.shape == (CROP // CELL, CROP // CELL)
    assert 0 <= scene.radius.min() <= scene.radius.max() <= LARGEST_RADIUS


def test_large_radii_are_as_frequent_as_small_ones():
    from scenes import make_scene

    radius = np.concatenate([make_scene((5, index)).radius.ravel() for index in range(150)]).astype(np.float64)
    octaves = np.histogram(radius, [0.35, 0.7, 1.4, 2.8, 5.6, 11.2])[0] / radius.size
    assert octaves.min() > 0.08
    assert np.mean(radius > 11.2) > 0.08


def test_the_onnx_file_computes_what_the_network_does():
    import export
    import onnxruntime
    import torch
    from estimator import Estimator
    from network import BlurNetwork

    torch.manual_seed(0)
    network = BlurNetwork().eval()
    photo = torch.rand(1, 1, 96, 160)
    with torch.no_grad():
        expected = [plane.numpy() for plane in Estimator(network).eval()(photo)]
    export.fold_normalisation(network)
    data = export.export(Estimator(network).eval()).SerializeToString()
    found = onnxruntime.InferenceSession(data).run(None, {"photo": photo.numpy()})
    for plane, true in zip(found, expected, strict=True):
        np.testing.assert_allclose(plane, true, rtol=0.1)
