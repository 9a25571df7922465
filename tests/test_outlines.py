"""Whose the outlines between sharp and blurred parts are: scenes whose order is known."""

import numpy as np
import pytest

import fastrefocus as fr
from fastrefocus.depth.outlines import outline_blur
from fastrefocus.light import luminance
from fastrefocus.samples import load_sample

H, W = 240, 320
PHOTO = luminance(load_sample("coffee").pixels)[:H, :W]


def scene(near_radius, far_radius):
    """A textured disk before a textured background, and the radius of the blur of each place."""
    y, x = np.mgrid[:H, :W]
    near = np.hypot(y - 120, x - 150) < 70
    light = np.where(near, 0.3 + 0.4 * PHOTO.T[:W, :H].repeat(2, 1)[:H, :W], 0.8 * PHOTO[::-1])
    radius = np.where(near, -near_radius, far_radius).astype(np.float32)
    return fr.render_defocus(light.astype(np.float32), radius), np.maximum(np.abs(radius), 0.5)


@pytest.mark.parametrize("radius", [5.0, 10.0])
def test_outlines_are_as_blurred_as_the_nearer_surface(radius):
    sure = np.ones((H, W), np.float32)
    behind = outline_blur(*scene(0, radius), sure)
    before = outline_blur(*scene(radius, 0), sure)
    assert behind < 0.3 < 0.6 < before


def test_doubtful_places_do_not_count():
    photo, radius = scene(0, 8)
    other, _ = scene(8, 0)
    photo[:, 150:], sure = other[:, 150:], np.ones((H, W), np.float32)
    sure[:, 150:] = 0
    assert outline_blur(photo, radius, sure) < 0.3
    assert outline_blur(photo, radius, 1 - sure) > 0.4


@pytest.mark.parametrize(
    ("photo", "radius"),
    [
        (PHOTO, np.full((H, W), 0.4)),
        (PHOTO, np.full((H, W), 9)),
        (np.full((H, W), 0.5), scene(8, 0)[1]),
        (PHOTO[:7], np.full((7, W), 9)),
        (PHOTO[:1, :1], np.full((1, 1), 9)),
    ],
    ids=["sharp", "blurred", "blank", "narrow", "pixel"],
)
def test_without_outlines_there_is_no_answer(photo, radius):
    assert outline_blur(photo.astype(np.float32), radius.astype(np.float32), np.ones_like(photo)) is None


def test_a_photo_of_twice_the_size_and_blur_is_the_same():
    photo, radius = scene(0, 8)
    sure = np.ones((H, W), np.float32)
    large = [np.tile(plane, (2, 2)).repeat(4, 0).repeat(4, 1) for plane in (photo, 4 * radius, sure)]
    small = [np.tile(plane, (2, 2)).repeat(1, 0).repeat(1, 1) for plane in (photo, radius, sure)]
    assert outline_blur(*large) == pytest.approx(outline_blur(*small), abs=0.15)
