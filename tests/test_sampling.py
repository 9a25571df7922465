"""The reference renderer: aperture sampling."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import sampling as reference

from fastrefocus import Aperture
from fastrefocus.native.aperture_sampling import draw_layer
from fastrefocus.parallel import thread_map
from fastrefocus.rendering import sampling
from fastrefocus.rendering.layers import Layer

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14)).filter(lambda shape: shape[0] != shape[1])
APERTURES = [Aperture(), Aperture(blades=5, rotation=0.4, roundness=0.5), Aperture(mask=np.tri(21, dtype=bool))]


def serial(function, items):
    return [function(item) for item in items]


def random_layer(rng, shape, channels):
    cover = rng.choice(np.array([0, 1, 90, 255], np.uint8), shape)
    light = rng.random((*shape, channels), np.float32) * ((np.maximum(cover, 1) - 1) / 254)[..., np.newaxis]
    slope = np.linspace(0, rng.uniform(-9, 9), shape[1])
    radius = np.where(rng.random(shape) < 0.2, rng.uniform(-6, 6), slope)
    return np.dstack([light, radius]).astype(np.float32), cover


@settings(max_examples=60, deadline=None)
@given(SEEDS, SHAPES, st.sampled_from([1, 3]), st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([0.0, 2.75]))
def test_a_pinhole_sees_the_nearest(seed, shape, channels, u_x, u_y, offset):
    rng = np.random.default_rng(seed)
    u_x, u_y = np.float32([u_x, u_y]).tolist()
    canvas = rng.random((*shape, channels + 1), np.float32)
    room = np.empty(shape, np.float32), np.empty(shape, np.int32)
    for _ in range(2):  # the room is used again
        values, cover = random_layer(rng, shape, channels)
        expected = reference.draw_layer(values, cover, offset, u_x, u_y, canvas)
        draw_layer(values, cover, offset, u_x, u_y, *room, canvas)
        np.testing.assert_allclose(canvas, expected, atol=1e-6)


def draw(layers, offset, u_x, u_y, channels):
    shape = layers[0].cover.shape
    picture = np.zeros((*shape, channels + 1), np.float32)
    for layer in layers:
        room = np.empty(shape, np.float32), np.empty(shape, np.int32)
        draw_layer(layer.values, layer.cover, offset, u_x, u_y, *room, picture)
    return picture


def test_a_slanted_surface_has_no_gaps():
    values = np.ones((23, 40, 2), np.float32)
    values[..., 1] = np.linspace(-8, 8, 40)  # neighbours move apart by up to 0.4 pixels
    surface = Layer(values, np.full((23, 40), 255, np.uint8), 0, 0, 0)
    for u_x, u_y in ((1.0, 0.0), (-1.0, 0.0), (0.7, -0.7), (-0.6, 0.8)):
        np.testing.assert_array_equal(draw([surface], 0.0, u_x, u_y, 1)[9:-9, 9:-9], 1)


@pytest.mark.parametrize("aperture", APERTURES, ids=["disk", "iris", "triangle"])
def test_points_are_spread_evenly_over_the_aperture(aperture):
    points = sampling.aperture_points(aperture, 512)
    assert points.shape == (512, 2)
    assert points.dtype == np.float32
    left, right = aperture.spans().astype(float).T
    row = np.clip(np.floor((points[:, 1] + 1) * 128).astype(int), 0, 255)
    assert (points[:, 0] >= left[row] - 1e-6).all()
    assert (points[:, 0] <= right[row] + 1e-6).all()
    width = right - left
    y = -1 + (2 * np.arange(256) + 1) / 256
    x = (left + right) / 2
    np.testing.assert_allclose(points.mean(axis=0), [(x * width).sum() / width.sum(), (y * width).sum() / width.sum()],
                               atol=0.01)  # fmt: skip
    assert points.var(axis=0).mean() == pytest.approx(aperture.second_moment, rel=0.01)
    for turn in np.arange(8) * math.pi / 4:  # as many points as area on either side of any line
        side = points @ [math.cos(turn), math.sin(turn)] > 0.2
        samples = left[:, np.newaxis] + np.linspace(0, 1, 401) * width[:, np.newaxis]
        weight = np.broadcast_to(width[:, np.newaxis], samples.shape)
        beyond = samples * math.cos(turn) + y[:, np.newaxis] * math.sin(turn) > 0.2
        assert side.mean() == pytest.approx(weight[beyond].sum() / weight.sum(), abs=0.02)


def test_points_do_not_lie_on_top_of_one_another():
    points = sampling.aperture_points(Aperture(), 512).astype(float)
    apart = np.hypot(*(points[:, np.newaxis] - points).transpose(2, 0, 1)) + np.eye(512)
    assert apart.min() > 0.3 * math.sqrt(math.pi / 512)


def test_pictures_of_all_points_are_averaged():
    rng = np.random.default_rng(0)
    layers = [Layer(*random_layer(rng, (13, 18), 3), 0, 0, 0) for _ in range(2)]
    farthest = Layer(layers[0].values, np.full((13, 18), 255, np.uint8), 0, 0, 0)
    canvas = np.full((7, 12, 3), np.nan, np.float32)
    reports = []
    sampling.composite(iter([farthest, layers[1]]), 0.5, canvas, 3, APERTURES[1], serial, reports.append)
    pictures = [draw([farthest, layers[1]], 0.5, *u, 3) for u in sampling.aperture_points(APERTURES[1], 512).tolist()]
    total = np.sum(pictures, axis=0, dtype=float)[3:-3, 3:-3]
    np.testing.assert_allclose(canvas, total[..., :3] / total[..., 3:], atol=1e-5)
    assert reports[-1] == 1
    assert reports == sorted(reports)
    with thread_map(3, 9) as map_:
        other = np.empty_like(canvas)
        sampling.composite([farthest, layers[1]], 0.5, other, 3, APERTURES[1], map_, reports.append)
    np.testing.assert_array_equal(other, canvas)


@pytest.mark.parametrize("radius", [5.0, -5.0])
def test_a_cat_eye_is_cut_by_the_rim(radius):
    aperture = Aperture(cat_eye=0.9)
    height, width, margin = 40, 66, 7
    values = np.full((height + 2 * margin, width + 2 * margin, 2), [0.0, radius], np.float32)
    values[margin + 4, margin + 6, 0] = 1
    canvas = np.empty((height, width, 1), np.float32)
    layer = Layer(values, np.full(values.shape[:2], 255, np.uint8), 0, 0, 0)
    sampling.composite([layer], 0.0, canvas, margin, aperture, serial, lambda share: None)
    light = canvas[..., 0] / canvas.sum()
    shift = light.sum(axis=1) @ np.arange(height) - 4, light.sum(axis=0) @ np.arange(width) - 6
    inwards = (shift[0] * 16 + shift[1] * 27) / math.hypot(16, 27)
    assert inwards * np.sign(radius) > 1
