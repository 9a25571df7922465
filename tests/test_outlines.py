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
    """A photo of a textured disk before a textured background."""
    y, x = np.mgrid[:H, :W]
    near = np.hypot(y - 120, x - 150) < 70
    light = np.where(near, 0.7 + 0.3 * PHOTO, 0.4 * PHOTO[::-1])
    return fr.render_defocus(light.astype(np.float32), np.where(near, -near_radius, far_radius).astype(np.float32))


def outlines_of(photo):
    blur = fr.estimate_blur(photo)
    return outline_blur(photo, blur.radius, blur.confidence)


@pytest.mark.parametrize("radius", [5.0, 10.0])
def test_outlines_are_as_blurred_as_the_nearer_surface(radius):
    assert outlines_of(scene(0, radius)) < 0.4 < outlines_of(scene(radius, 0))


def test_doubtful_places_do_not_count():
    photo = scene(0, 8)
    photo[:, 150:] = scene(8, 0)[:, 150:]
    radius, sure = fr.estimate_blur(photo).radius, np.zeros((H, W), np.float32)
    sure[:, :140] = 1
    assert outline_blur(photo, radius, sure) < outline_blur(photo, radius, 1 - sure)


@pytest.mark.parametrize(
    ("photo", "radius"),
    [
        (PHOTO, np.full((H, W), 0.4)),
        (PHOTO, np.full((H, W), 9)),
        (np.full((H, W), 0.5), fr.estimate_blur(scene(8, 0)).radius),
        (PHOTO[:7], np.full((7, W), 9)),
        (PHOTO[:1, :1], np.full((1, 1), 9)),
    ],
    ids=["sharp", "blurred", "blank", "narrow", "pixel"],
)
def test_without_outlines_there_is_no_answer(photo, radius):
    assert outline_blur(photo.astype(np.float32), radius.astype(np.float32), np.ones_like(photo)) is None


def test_a_large_photo_is_looked_at_in_larger_squares():
    photo = scene(0, 8)
    blur = fr.estimate_blur(photo)
    planes = (photo, blur.radius, blur.confidence)
    tiled = [np.tile(plane, (1, 4)) for plane in planes]
    enlarged = [plane.repeat(3, axis=0).repeat(3, axis=1) for plane in (tiled[0], 3 * tiled[1], tiled[2])]
    assert max(tiled[0].shape) < 2048 < max(enlarged[0].shape)
    assert outline_blur(*enlarged) == pytest.approx(outline_blur(*tiled), abs=0.1)
