import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fastrefocus import polygon_psf
from fastrefocus.optics.aperture import SCANLINES, Aperture, as_aperture

Y = -1 + (2 * np.arange(SCANLINES) + 1) / SCANLINES
IRISES = st.builds(Aperture, blades=st.integers(5, 9), rotation=st.floats(-9, 9), roundness=st.floats(0, 1))
PLACES = st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7))


def area(spans):
    return 2 * float((spans[:, 1] - spans[:, 0]).mean(dtype=np.float64))


def moments(spans):
    """Centroid and mean of the variances along x and y."""
    left, right = spans.astype(np.float64).T
    width, middle = right - left, (left + right) / 2
    total = width.sum()
    x, y = (width * middle).sum() / total, (width * Y).sum() / total
    variances = (width * (width**2 / 12 + middle**2)).sum() / total - x**2, (width * Y**2).sum() / total - y**2
    return x, y, sum(variances) / 2


def disk_mask(size, radius=None):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return x**2 + y**2 <= (size / 2 if radius is None else radius) ** 2


def polygon_mask(size, corners, turn=0.0, scale=1.0):
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / (size / 2)
    normals = turn + 2 * np.pi * (np.arange(corners) + 0.5) / corners
    reach = scale * math.cos(math.pi / corners)
    return np.logical_and.reduce([x * math.cos(n) - y * math.sin(n) <= reach for n in normals])


def test_the_disk_is_exact():
    spans = Aperture().spans()
    assert (spans.dtype, spans.shape) == (np.float32, (256, 2))
    np.testing.assert_allclose(spans[:, 1], np.sqrt(1 - Y**2), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(spans[:, 0], -spans[:, 1])
    assert area(spans) == pytest.approx(math.pi, abs=1e-3)
    assert Aperture().second_moment == 0.25
    assert moments(spans)[2] == pytest.approx(0.25, abs=2e-4)


@given(IRISES)
@example(Aperture(blades=6, rotation=1 / 256))  # a side that is nearly level, within a scanline
def test_an_iris_has_its_area_and_moment_and_is_convex(iris):
    spans = iris.spans()
    n, k = iris.blades, iris.roundness
    half_chord = math.sin(math.pi / n)
    straight = n / 2 * math.sin(2 * math.pi / n)
    bend = math.asin(k * half_chord)  # half the angle of an arc of curvature k
    segment = 0 if k < 1e-3 else (bend - math.sin(2 * bend) / 2) / k**2
    assert area(spans) == pytest.approx(straight + n * segment, abs=1e-3)
    assert moments(spans)[2] == pytest.approx(iris.second_moment, rel=2e-3)
    np.testing.assert_allclose(moments(spans)[:2], 0, atol=1e-3)
    assert (spans[:, 1] >= spans[:, 0]).all()
    inner = np.flatnonzero(spans[:, 1] > spans[:, 0])[1:-1]  # the first and last may be shortened
    assert np.hypot(spans, Y[:, np.newaxis])[inner].max() <= 1 + 1e-6
    assert (np.diff(spans[inner, 1], 2) <= 1e-5).all()
    assert (np.diff(spans[inner, 0], 2) >= -1e-5).all()


@pytest.mark.parametrize("blades", [5, 6, 8])
@pytest.mark.parametrize("rotation", [0, 0.2, math.pi / 2, -7.3])
def test_straight_blades_are_those_of_the_polygon_psf(blades, rotation):
    left, right = Aperture(blades=blades, rotation=rotation).spans().T * SCANLINES
    psf = polygon_psf(2 * SCANLINES, blades=blades, rotation=rotation)  # every other of its rows is a scanline
    rows = (psf / psf.max())[len(psf) // 2 - SCANLINES + 1 : len(psf) // 2 + SCANLINES : 2].astype(np.float64)
    moments = rows @ (np.arange(len(psf)) - len(psf) // 2)
    # Its rows are half as high, which shows at corners and where a side is level
    assert (np.abs(right - left - rows.sum(axis=1)) > 0.5).sum() <= 8
    assert (np.abs((right - left) * (left + right) / 2 - moments) > 0.5 * SCANLINES).sum() <= 8


def test_one_corner_points_right_and_rotation_is_counter_clockwise():
    rows, columns = np.arange(SCANLINES), slice(None)
    pentagon = Aperture(blades=5).spans()[rows, columns]
    assert pentagon[127:129, 1].min() > 0.99
    assert pentagon[:, 0].min() == pytest.approx(-math.cos(math.pi / 5), abs=1e-2)
    up = Aperture(blades=5, rotation=math.pi / 2).spans()  # a corner at the top, a side at the bottom
    assert up[0, 1] - up[0, 0] < 0.03
    assert np.flatnonzero(up[:, 1] > up[:, 0])[-1] == int((1 + math.cos(math.pi / 5)) * SCANLINES / 2)
    little = Aperture(blades=5, rotation=0.3).spans()
    assert Y[little[:, 1].argmax()] == pytest.approx(-math.sin(0.3), abs=0.02)


@settings(max_examples=30)
@given(st.integers(5, 9), st.floats(-4, 4))
def test_full_roundness_is_the_disk(blades, rotation):
    iris = Aperture(blades=blades, rotation=rotation, roundness=1.0)
    inner = np.s_[4:-4]  # at the top the width is the root of the height
    np.testing.assert_allclose(iris.spans()[inner], Aperture().spans()[inner], atol=2e-3)
    assert iris.second_moment == pytest.approx(0.25, abs=1e-4)


def test_roundness_fills_the_polygon_up():
    areas = [area(Aperture(blades=6, roundness=k).spans()) for k in (0, 1e-300, 0.3, 0.7, 1.0)]
    assert areas[0] == areas[1] < areas[2] < areas[3] < areas[4]


@settings(max_examples=30)
@given(IRISES, PLACES, st.floats(0, 1))
def test_turning_by_180_degrees_mirrors_both_axes(iris, place, cat_eye):
    shape = {"blades": iris.blades, "roundness": iris.roundness, "cat_eye": cat_eye}
    spans = Aperture(rotation=iris.rotation, **shape).spans(place)
    turned = Aperture(rotation=iris.rotation + math.pi, **shape).spans((-place[0], -place[1]))
    mirrored = -spans[::-1, ::-1]
    empty = mirrored[:, 0] == mirrored[:, 1]
    np.testing.assert_allclose(turned[~empty], mirrored[~empty], atol=1e-5)
    np.testing.assert_allclose(turned[empty, 0], turned[empty, 1], atol=1e-5)


@given(PLACES, st.floats(0, 1))
def test_the_cat_eye_is_the_lens_of_two_disks(place, cat_eye):
    spans = Aperture(cat_eye=cat_eye).spans(place)
    distance = cat_eye * math.hypot(*place)
    overlap = 2 * math.acos(distance / 2) - distance / 2 * math.sqrt(4 - distance**2)
    assert area(spans) == pytest.approx(overlap, abs=1e-3)
    # As the middle of the two disks, for they are equal: outwards, by half the distance
    np.testing.assert_allclose(moments(spans)[:2], cat_eye * np.array(place) / 2, atol=1e-3)


def test_the_cat_eye_grows_towards_the_corners():
    iris = Aperture(blades=7, roundness=0.4, cat_eye=0.6)
    areas = [area(iris.spans((0.8 * t, -0.6 * t))) for t in (0, 0.3, 0.6, 1)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] == pytest.approx(area(Aperture(blades=7, roundness=0.4).spans()), abs=1e-6)
    np.testing.assert_array_equal(Aperture().spans((0.5, 0.5)), Aperture().spans())


@pytest.mark.parametrize("size", [3, 4, 5, 8, 17, 32, 101])
def test_a_disk_mask_is_nearly_the_disk(size):
    disk = Aperture(mask=disk_mask(size))
    assert area(disk.spans()) == pytest.approx(4 * disk_mask(size).sum() / size**2, rel=1e-2)
    np.testing.assert_allclose(disk.spans()[8:-8], Aperture().spans()[8:-8], atol=3 / size)
    assert disk.second_moment == pytest.approx(0.25, abs=1 / size)


def test_a_full_mask_is_the_square():
    square = Aperture(mask=np.ones((4, 4), np.uint16))
    np.testing.assert_allclose(square.spans(), np.tile([-1.0, 1.0], (SCANLINES, 1)), atol=1e-6)
    assert square.second_moment == pytest.approx(1 / 3)
    np.testing.assert_allclose(Aperture(mask=np.ones((9, 9)), rotation=math.pi / 2).spans(), square.spans(), atol=1e-6)


def test_a_mask_is_as_it_looks():
    mask = np.zeros((8, 8))
    mask[1:4, 2:8] = 0.6
    mask[6, 0] = 0.2  # less than half the maximum
    mask[2, 3] = 0.9
    spans = Aperture(mask=mask).spans()
    rows = np.s_[SCANLINES // 8 : SCANLINES // 2]
    np.testing.assert_allclose(spans[rows], np.tile([-0.5, 1.0], (3 * SCANLINES // 8, 1)), atol=1e-6)
    assert (spans[SCANLINES // 2 :, 0] == spans[SCANLINES // 2 :, 1]).all()
    quarter = Aperture(mask=mask, rotation=math.pi / 2).spans()  # counter-clockwise: right becomes up
    up = Y < 0.5
    np.testing.assert_allclose(quarter[up], np.tile([-0.75, 0.0], (up.sum(), 1)), atol=1e-6)


@settings(max_examples=60)
@given(st.integers(3, 60), st.integers(3, 9), st.floats(0, 7), st.floats(0.4, 1.4))
def test_digitised_polygons_are_accepted(size, corners, turn, scale):
    mask = polygon_mask(size, corners, turn, scale)
    assume(mask.any())
    spans = Aperture(mask=mask).spans()
    assert area(spans) == pytest.approx(4 * mask.sum() / size**2, rel=2e-2)


@settings(max_examples=30)
@given(st.floats(3, 40), st.integers(3, 9), st.floats(0, 7))
def test_masks_drawn_by_area_are_accepted(diameter, corners, turn):
    psf = polygon_psf(diameter, blades=corners, rotation=turn)
    assume(len(psf) >= 3)
    assert np.array_equal(Aperture(mask=psf).mask, psf > psf.max() / 2)


def holed(size, hole):
    return disk_mask(size) & ~disk_mask(size, hole)


def star(size):
    return polygon_mask(size, 3) | polygon_mask(size, 3, math.pi)


def angle(size):
    mask = np.ones((size, size), bool)
    mask[: size // 2 + 1, size // 2 :] = False
    return mask


def blobs(size):
    mask = np.zeros((size, size), bool)
    mask[1:3, 1:3] = mask[-2:, -2:] = True
    return mask


@pytest.mark.parametrize("size", [9, 24, 64])
@pytest.mark.parametrize("draw", [lambda size: holed(size, size / 4), star, angle, blobs])
def test_masks_that_are_not_convex_are_refused(draw, size):
    with pytest.raises(ValueError, match=r"mask must be a convex shape: \d+ pixels between those inside"):
        Aperture(mask=draw(size))


def test_the_mask_is_copied_and_read_only():
    mask = disk_mask(6).astype(np.float64)
    aperture = Aperture(mask=mask[::-1, ::-1])
    before = aperture.spans()
    mask[:] = 0
    np.testing.assert_array_equal(aperture.spans(), before)
    with pytest.raises(ValueError, match="read-only"):
        aperture.mask[0, 0] = True


def test_equality_and_copies():
    aperture = Aperture(mask=disk_mask(6))
    assert aperture == aperture
    assert aperture != Aperture(mask=disk_mask(6))
    assert len({aperture, aperture, Aperture()}) == 2
    for twin in (copy.deepcopy(aperture), pickle.loads(pickle.dumps(aperture))):
        np.testing.assert_array_equal(twin.spans(), aperture.spans())
    assert isinstance(Aperture(blades=np.int8(6), rotation=np.float32(0.2)).second_moment, float)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"blades": 4}, ValueError, "blades must be >= 5, got 4"),
        ({"blades": 10}, ValueError, "blades must be 5 to 9, got 10"),
        ({"blades": 6.0}, TypeError, "blades must be an int"),
        ({"blades": True}, TypeError, "blades must be an int"),
        ({"blades": 6, "rotation": math.inf}, ValueError, "rotation must be a finite number, got inf"),
        ({"blades": 6, "roundness": 1.1}, ValueError, r"roundness must be 0 .* to 1 .*, got 1.1"),
        ({"blades": 6, "roundness": -0.1}, ValueError, "roundness must be .* >= 0, got -0.1"),
        ({"cat_eye": 2}, ValueError, "cat_eye must be 0 to 1, got 2"),
        ({"cat_eye": math.nan}, ValueError, "cat_eye must be .* got nan"),
        ({"cat_eye": "1"}, TypeError, "cat_eye must be a number"),
        ({"roundness": 0.5}, ValueError, "roundness .* needs them; got 0.5 without blades"),
        ({"rotation": 0.5}, ValueError, "rotation turns blades or a mask, .* got 0.5"),
        ({"blades": 6, "mask": np.ones((3, 3))}, ValueError, "blades and mask both give"),
        ({"mask": np.ones((3, 4))}, ValueError, r"mask must be square, .*, got shape \(3, 4\)"),
        ({"mask": np.ones((2, 2))}, ValueError, r"n >= 3, got shape \(2, 2\)"),
        ({"mask": np.ones((3, 3, 3))}, ValueError, "mask must have shape"),
        ({"mask": np.zeros((0, 0))}, ValueError, "mask must have shape"),
        ({"mask": np.zeros((3, 3))}, ValueError, "mask must hold values > 0 inside the aperture, got at most 0"),
        ({"mask": np.zeros((3, 3), bool)}, ValueError, "mask must hold values > 0"),
        ({"mask": np.full((3, 3), np.nan)}, ValueError, "mask must hold finite numbers"),
        ({"mask": np.ones((3, 3), complex)}, TypeError, "mask must hold real numbers, got dtype complex128"),
        ({"mask": [[1], [1, 2]]}, TypeError, "mask must be an array of numbers"),
        ({"mask": np.ones((9, 9)), "rotation": 0.8}, ValueError, "mask must stay in its array when it is turned"),
        ({"mask": np.pad([[1, 1], [1, 1]], (0, 7)), "cat_eye": 1}, ValueError, "mask must hold its array's centre"),
    ],
)
def test_wrong_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Aperture(**arguments)


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        (0.5, TypeError, r"field must be a place \(x, y\), got 0.5"),
        ((1, 2, 3), TypeError, "field must be a place"),
        ((0.0, math.nan), ValueError, r"field\[1\] \(y\) must be a finite number"),
        (("0", 0), TypeError, r"field\[0\] \(x\) must be a number"),
        ((0.9, 0.9), ValueError, "field must be at most 1"),
    ],
)
def test_wrong_field_is_refused(field, error, message):
    with pytest.raises(error, match=message):
        Aperture(cat_eye=0.5).spans(field)


def test_as_aperture():
    iris = Aperture(blades=6)
    assert as_aperture(iris) is iris
    np.testing.assert_array_equal(as_aperture("disk").spans(), Aperture().spans())
    for mask in (disk_mask(5), disk_mask(5).tolist(), disk_mask(5).astype(np.float16)):
        np.testing.assert_array_equal(as_aperture(mask).mask, disk_mask(5))


@pytest.mark.parametrize("value", ["hexagon", None, 3.0, np.float32(1), {}, Aperture])
def test_what_is_no_aperture_is_refused(value):
    with pytest.raises((ValueError, TypeError), match='aperture must be "disk", an Aperture or a square mask array'):
        as_aperture(value)
