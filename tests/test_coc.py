import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastrefocus import DepthMap, ThinLens, disk_psf
from fastrefocus.optics.aperture import Aperture
from fastrefocus.optics.coc import DepthRange, coc_from_depth, missing_blur
from fastrefocus.optics.focus import FocusBand, checked_focus

LENS = ThinLens(50, 2, 1.0)
METRIC = DepthMap([[1.0, 2.0, 4.0], [8.0, 0.5, 2.0]], "metric")
INVERSE = DepthMap([[-3.0, 0.0, 2.0], [7.0, 1.0, 0.5]], "inverse")
RELATIVE = DepthMap([[0.0, 0.25, 1.0], [0.5, 0.75, 0.25]], "relative")

metric_values = arrays(np.float32, (3, 5), elements=st.floats(0.5, 200, width=32))
unit_values = arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32))
inverse_values = arrays(np.float32, (3, 5), elements=st.floats(-100, 100, width=32))
pixels = st.tuples(st.integers(0, 2), st.integers(0, 4))


def point_of(row, column):
    return (column + 0.5) / 5, (row + 0.5) / 3


# Values by hand


def test_metric_depth_with_a_gain_is_linear_in_1_over_z():
    radius = coc_from_depth(METRIC, 2.0, gain=8)
    assert radius.dtype == np.float32
    np.testing.assert_array_equal(radius, [[-4, 0, 2], [3, -12, 0]])


def test_inverse_depth_with_a_gain_is_affine():
    np.testing.assert_array_equal(coc_from_depth(INVERSE, 1.0, gain=2), [[8, 2, -2], [-12, 0, 1]])


def test_relative_depth_as_disparity():
    radius = coc_from_depth(RELATIVE, 0.25, gain=4, mapping="disparity")
    np.testing.assert_array_equal(radius, [[-1, 0, 3], [1, 2, 0]])


def test_relative_depth_in_metres():
    # 1 / z = (1 - v) / 0.5 + v / inf = 2 - 2 v
    radius = coc_from_depth(RELATIVE, 0.5, gain=3, mapping=DepthRange(0.5, math.inf))
    np.testing.assert_array_equal(radius, [[-3, -1.5, 3], [0, 1.5, -1.5]])
    with np.errstate(divide="ignore"):
        metres = 1 / (1 - RELATIVE.values + RELATIVE.values / 4)
    mapped = coc_from_depth(RELATIVE, 0.25, lens=LENS, mapping=DepthRange(1.0, 4.0))
    np.testing.assert_allclose(mapped, coc_from_depth(DepthMap(metres, "metric"), 16 / 13, lens=LENS), atol=1e-5)


def test_a_lens_is_focused_anew():
    wide = DepthMap(np.tile(METRIC.values, (1, 400)), "metric")
    expected = ThinLens(50, 2, 2.0).coc_radius(wide.values, 1200)
    np.testing.assert_allclose(coc_from_depth(wide, 2.0, lens=LENS), expected, rtol=1e-6)
    far = coc_from_depth(wide, math.inf, lens=LENS)
    np.testing.assert_allclose(far, ThinLens(50, 2, math.inf).coc_radius(wide.values, 1200), rtol=1e-6)
    assert (far < 0).all()


def test_a_lens_for_a_band_is_focused_on_its_middle_in_1_over_z():
    radius = coc_from_depth(METRIC, FocusBand(2.0, 4.0), lens=LENS)
    gain = ThinLens(50, 2, 1 / 0.375).disparity_gain(3)
    np.testing.assert_allclose(radius, gain * np.array([[-0.5, 0, 0], [0.125, -1.5, 0]]), rtol=1e-6)


@pytest.mark.parametrize(
    ("depth", "band", "mapping", "expected"),
    [
        (METRIC, FocusBand(2, 4), None, [[-0.5, 0, 0], [0.125, -1.5, 0]]),
        (METRIC, FocusBand(2, math.inf), None, [[-0.5, 0, 0], [0, -1.5, 0]]),
        (INVERSE, FocusBand(2, 0.5), None, [[3.5, 0.5, 0], [-5, 0, 0]]),
        (RELATIVE, FocusBand(0.25, 0.5), "disparity", [[-0.25, 0, 0.5], [0, 0.25, 0]]),
    ],
)
def test_a_band_is_flat_and_the_blur_grows_from_its_edges(depth, band, mapping, expected):
    np.testing.assert_array_equal(coc_from_depth(depth, band, gain=1, mapping=mapping), np.array(expected, np.float32))


def test_several_points_and_all_between_are_in_focus():
    points = [(0.4, 0.1), (0.1, 0.9)]  # 2 m and 8 m
    expected = coc_from_depth(METRIC, FocusBand(2, 8), gain=5)
    for focus in (points, points[::-1], [*points, (0.9, 0.1)], np.array(points), tuple(points)):
        np.testing.assert_array_equal(coc_from_depth(METRIC, focus, gain=5), expected)
    np.testing.assert_array_equal(
        coc_from_depth(METRIC, [(0.4, 0.1)], gain=5), coc_from_depth(METRIC, np.array([0.4, 0.1]), gain=5)
    )


def test_a_point_is_x_then_y_from_the_top_left():
    depth = DepthMap(np.arange(12).reshape(2, 6), "inverse")
    for (x, y), value in {(0, 0): 0, (1, 0): 5, (0, 1): 6, (0.51, 0.49): 3, (0.99, 1): 11}.items():
        assert coc_from_depth(depth, (x, y), gain=1)[0, 0] == value


def test_the_focus_at_a_point_does_not_hang_on_one_pixel():
    values = np.full((300, 400), 3.0)
    values[150, 200] = 50
    values[:, :100] = 1
    radius = coc_from_depth(DepthMap(values, "metric"), (0.501, 0.501), max_radius=8)
    assert radius[10, 399] == 0
    assert radius[0, 0] == -8


def test_unknown_depth_is_that_of_the_nearest_known_pixel():
    depth = DepthMap([[np.nan, 1, 2, np.nan, np.nan]], "metric")
    np.testing.assert_array_equal(coc_from_depth(depth, (0.99, 0.5), gain=2), [[-1, -1, 0, 0, 0]])


# Invariants


@given(inverse_values, pixels, st.floats(0.01, 50), st.floats(0.1, 10), st.floats(-50, 50))
def test_inverse_depth_only_counts_up_to_gain_and_shift(values, pixel, gain, scale, shift):
    radius = coc_from_depth(DepthMap(values, "inverse"), point_of(*pixel), gain=gain)
    other = DepthMap(scale * values.astype(np.float64) + shift, "inverse")
    np.testing.assert_allclose(
        coc_from_depth(other, point_of(*pixel), gain=gain / scale), radius, rtol=1e-5, atol=1e-4 * gain / scale
    )


@given(metric_values, pixels, st.sampled_from([{"lens": LENS}, {"gain": 30.0}, {"max_radius": 20}]))
def test_the_focus_is_exactly_sharp_and_the_signs_are_those_of_the_depth(values, pixel, strength):
    depth = DepthMap(values, "metric")
    for focus in (point_of(*pixel), float(values[pixel]), FocusBand(values[pixel], values[pixel])):
        radius = coc_from_depth(depth, focus, **strength)
        assert radius[pixel] == 0
        np.testing.assert_array_equal(np.sign(radius), np.sign(values - values[pixel]))


@given(unit_values, st.floats(0, 1, width=32))
def test_a_focus_by_value_meets_its_pixels_exactly(values, focus):
    values[1, 2] = focus
    for mapping in ("disparity", DepthRange(0.7, 9), DepthRange(0.3, math.inf)):
        assert coc_from_depth(DepthMap(values, "relative"), focus, gain=40, mapping=mapping)[1, 2] == 0
    assert coc_from_depth(DepthMap([[0.1, 0.9]], "relative"), 0.1, gain=1e6, mapping="disparity")[0, 0] == 0


@given(inverse_values, pixels, st.floats(0, 900, width=32))
def test_max_radius_is_the_largest(values, pixel, largest):
    radius = coc_from_depth(DepthMap(values, "inverse"), point_of(*pixel), max_radius=largest)
    flat = (values == values[pixel]).all()
    assert np.abs(radius).max() == (0 if flat else np.float32(largest))


@given(metric_values, st.floats(0.5, 200, width=32), st.floats(0.5, 200, width=32))
def test_a_band_only_takes_blur_away(values, one, two):
    near, far = sorted((one, two))
    depth = DepthMap(values, "metric")
    band = coc_from_depth(depth, FocusBand(near, far), gain=100)
    np.testing.assert_array_equal(band == 0, (values >= near) & (values <= far))
    at_near, at_far = coc_from_depth(depth, near, gain=100), coc_from_depth(depth, far, gain=100)
    np.testing.assert_array_equal(band, np.maximum(at_far, 0) + np.minimum(at_near, 0))


@given(metric_values, pixels)
def test_the_lens_is_one_gain(values, pixel):
    depth = DepthMap(values, "metric")
    gain = ThinLens(50, 2, float(values[pixel])).disparity_gain(5)
    np.testing.assert_allclose(
        coc_from_depth(depth, point_of(*pixel), lens=LENS),
        coc_from_depth(depth, point_of(*pixel), gain=gain),
        rtol=1e-6,
    )


def test_the_largest_depths_are_no_overflow():
    largest = float(np.finfo(np.float32).max)
    depth = DepthMap([[-largest, largest, 0.0]], "inverse")
    np.testing.assert_array_equal(coc_from_depth(depth, (0.1, 0.5), max_radius=7), [[0, -7, -3.5]])
    nearest = DepthMap([[np.finfo(np.float32).tiny, 1, largest]], "metric")
    np.testing.assert_array_equal(coc_from_depth(nearest, 1.0, max_radius=7)[0, :2], [-7, 0])


# Errors


@pytest.mark.parametrize("depth", [METRIC.values, METRIC.values.tolist(), None, "metric"])
def test_a_plain_array_does_not_declare_its_kind(depth):
    with pytest.raises(TypeError, match="depth must be a DepthMap, which declares its kind, got"):
        coc_from_depth(depth, 2.0, gain=1)


@pytest.mark.parametrize(
    ("depth", "options", "error", "message"),
    [
        (METRIC, {}, ValueError, "exactly one of lens, gain and max_radius must be given, got none"),
        (METRIC, {"gain": 1, "max_radius": 2}, ValueError, "got gain and max_radius"),
        (METRIC, {"gain": 0}, ValueError, "gain must be .* > 0, got 0"),
        (METRIC, {"gain": "2"}, TypeError, "gain must be a number"),
        (METRIC, {"gain": 1e300}, ValueError, "the blur is too large for float32"),
        (METRIC, {"max_radius": -1}, ValueError, "max_radius must be .* >= 0, got -1"),
        (METRIC, {"max_radius": np.inf}, ValueError, "max_radius must be a finite number"),
        (METRIC, {"lens": 50}, TypeError, "lens must be a ThinLens, got 50"),
        (METRIC, {"gain": 1, "mapping": "disparity"}, ValueError, "mapping is for relative depth; depth is metric"),
        (INVERSE, {"gain": 1, "mapping": DepthRange(1, 2)}, ValueError, "depth is inverse and needs none"),
        (INVERSE, {"lens": LENS}, ValueError, "lens needs depth in metres"),
        (RELATIVE, {"lens": LENS, "mapping": "disparity"}, ValueError, "lens needs depth in metres"),
        (RELATIVE, {"gain": 1}, ValueError, 'mapping must say .*"disparity".* or DepthRange.*, got None'),
        (RELATIVE, {"gain": 1, "mapping": "depth"}, ValueError, "mapping must say .* got 'depth'"),
        (RELATIVE, {"gain": 1, "mapping": np.ones(3)}, ValueError, "mapping must say"),
        (DepthMap(np.full((2, 3), np.nan), "metric"), {"gain": 1}, ValueError, "unknown .NaN. everywhere"),
    ],
)
def test_wrong_arguments_are_refused(depth, options, error, message):
    with pytest.raises(error, match=message):
        coc_from_depth(depth, 1.0, **options)


@pytest.mark.parametrize(
    ("depth", "focus", "error", "message"),
    [
        (METRIC, None, TypeError, "focus must be a number"),
        (METRIC, "centre", TypeError, "focus must be a number"),
        (METRIC, True, TypeError, "focus must be a number"),
        (METRIC, 0, ValueError, "focus must be a finite number > 0, got 0"),
        (METRIC, math.nan, ValueError, "focus must be a finite number"),
        (METRIC, 1e39, ValueError, "focus must be a metric depth, at most"),
        (INVERSE, math.inf, ValueError, "focus must be a finite number"),
        (INVERSE, -1e39, ValueError, "focus must be a finite number"),
        (RELATIVE, 1.5, ValueError, "focus must be a relative depth, 0 .nearest. to 1 .farthest., got 1.5"),
        (RELATIVE, -0.1, ValueError, "focus must be a finite number >= 0, got -0.1"),
        (METRIC, (), ValueError, r"focus must be a point \(x, y\), points, a depth or a FocusBand, got \(\)"),
        (METRIC, (0.1, 0.2, 0.3), ValueError, r"focus must be a point \(x, y\)"),
        (METRIC, [(0.1, 0.2), (0.1,)], ValueError, r"focus must be a point \(x, y\).*got \(0.1,\)"),
        (METRIC, [(0.1, 0.2), 0.3], TypeError, r"focus\[0\] \(x\) must be a number"),
        (METRIC, (0.1, 1.2), ValueError, r"focus\[1\] \(y\) must be a fraction of the photo, 0 to 1, got 1.2"),
        (METRIC, (-0.1, 0.2), ValueError, r"focus\[0\] \(x\) must be .* >= 0"),
        (METRIC, FocusBand(4, 2), ValueError, r"focus.nearest must not lie behind focus.farthest in metric depth"),
        (INVERSE, FocusBand(2, 4), ValueError, "must not lie behind focus.farthest in inverse depth"),
        (RELATIVE, FocusBand(0.2, 2), ValueError, "focus.farthest must be a relative depth"),
        (METRIC, FocusBand(0, 2), ValueError, "focus.nearest must be a finite number"),
    ],
)
def test_wrong_focus_is_refused(depth, focus, error, message):
    with pytest.raises(error, match=message):
        coc_from_depth(depth, focus, gain=1, mapping="disparity" if depth.kind == "relative" else None)
    with pytest.raises(error, match=message):  # before there is any depth
        checked_focus(focus, depth.kind)


def test_a_lens_cannot_focus_within_its_focal_length():
    with pytest.raises(ValueError, match=r"farther away than the focal length of lens, 50 mm, got 0\.04 m"):
        coc_from_depth(METRIC, 0.04, lens=LENS)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FocusBand("1", 2), TypeError, "nearest must be a number"),
        (lambda: FocusBand(1, math.nan), ValueError, "farthest must be a finite number"),
        (lambda: FocusBand(1, -math.inf), ValueError, "farthest must be a finite number"),
        (lambda: DepthRange(0, 2), ValueError, "nearest_m must be .* got 0"),
        (lambda: DepthRange(2, 2), ValueError, "farthest_m must be .* > 2, got 2"),
        (lambda: DepthRange(1, math.nan), ValueError, "farthest_m must be a finite number > 1, got nan"),
        (lambda: DepthRange(1, None), TypeError, "farthest_m must be a number"),
        (lambda: DepthRange(math.inf, math.inf), ValueError, "nearest_m must be a finite number"),
        (lambda: DepthRange(1, np.array([2, 3])), TypeError, "farthest_m must be a number"),
    ],
)
def test_wrong_bands_and_ranges_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Existing blur


def variance(psf):
    offset = np.arange(len(psf)) - len(psf) // 2
    return float(psf.sum(axis=0, dtype=np.float64) @ offset**2)


@settings(max_examples=15)
@given(st.floats(15, 40), st.floats(15, 40))
def test_the_variances_of_both_blurs_add_up_to_that_wanted(existing, added):
    from scipy.signal import convolve

    wanted = math.hypot(existing, added)
    missing = float(missing_blur(-wanted, existing))
    assert missing == pytest.approx(-added, rel=1e-6)
    both = convolve(disk_psf(2 * existing).astype(np.float64), disk_psf(2 * abs(missing)).astype(np.float64))
    # Drawing by pixel areas adds the pixel's variance, 1/12, once more to two disks than to one
    assert variance(both) - 1 / 12 == pytest.approx(variance(disk_psf(2 * wanted)), rel=1e-3)


def test_the_variance_of_an_iris_counts():
    iris = Aperture(blades=5)
    spans = iris.spans().astype(np.float64)
    y = -1 + (2 * np.arange(256) + 1) / 256
    width = spans[:, 1] - spans[:, 0]
    unit = (width @ y**2) / width.sum()  # of a regular polygon the same along every axis
    missing = float(missing_blur(10.0, 4.0, aperture=iris))
    assert missing**2 * unit + 4.0**2 / 4 == pytest.approx(10.0**2 * unit, rel=1e-3)
    assert missing < float(missing_blur(10.0, 4.0))  # a disk of the same radius is wider


@given(
    arrays(np.float32, (3, 5), elements=st.floats(-60, 60, width=32)),
    arrays(np.float32, (3, 5), elements=st.floats(0, 60, width=32)),
)
def test_missing_blur_has_the_sign_wanted_and_no_more_size(radius, existing):
    missing = missing_blur(radius, existing)
    assert missing.dtype == np.float32
    assert missing.shape == radius.shape
    assert (missing * radius >= 0).all()
    assert (np.abs(missing) <= np.abs(radius)).all()
    np.testing.assert_array_equal(missing[existing >= np.abs(radius)], 0)
    np.testing.assert_array_equal(missing_blur(radius, 0), radius)
    np.testing.assert_array_equal(missing_blur(radius, np.abs(radius)), 0)
    np.testing.assert_array_equal(missing_blur(-radius, existing), -missing)
    together = np.square(missing, dtype=np.float64) + np.square(existing, dtype=np.float64)
    more = np.abs(radius) > existing
    np.testing.assert_allclose(together[more], np.square(radius, dtype=np.float64)[more], rtol=1e-5)


def test_missing_blur_of_numbers_and_planes():
    np.testing.assert_array_equal(missing_blur([[5.0, -13, 3]], [[3, 5, np.nan]]), [[4, -12, 3]])
    np.testing.assert_array_equal(missing_blur(5, np.array([[3.0, 4], [5, 6], [np.nan, 0]])), [[4, 3], [0, 0], [5, 5]])
    np.testing.assert_array_equal(missing_blur(np.array([[np.nan, 5]]), 3.0), [[np.nan, 4]])
    assert missing_blur(5, 3).shape == ()
    assert missing_blur(np.float32(5), math.nan) == 5
    assert float(missing_blur(LENS.coc_radius(4.0, 1000), 0)) == LENS.coc_radius(4.0, 1000)


@pytest.mark.parametrize(
    ("radius", "existing", "error", "message"),
    [
        (5, -1, ValueError, "existing must be >= 0 .pixels., got -1"),
        ([[5.0]], [[np.nan, -2]], ValueError, "existing must be a number or have the height and width"),
        (
            np.ones((2, 3)),
            np.ones((3, 2)),
            ValueError,
            r"existing must be a number or have the height and width \(2, 3\), got \(3, 2\)",
        ),
        (math.inf, 1, ValueError, "radius must hold finite numbers or NaN"),
        (1, math.inf, ValueError, "existing must hold finite numbers or NaN"),
        ("5", 1, TypeError, "radius must hold real numbers"),
        (5, True, TypeError, "existing must hold real numbers, got dtype bool"),
        (5, None, TypeError, "existing must hold real numbers"),
        (np.ones(3), 1, ValueError, r"radius must have shape \(H, W\)"),
        (np.ones((0, 3)), 1, ValueError, r"radius must have shape \(H, W\)"),
    ],
)
def test_wrong_radii_are_refused(radius, existing, error, message):
    with pytest.raises(error, match=message):
        missing_blur(radius, existing)


def test_a_wrong_aperture_is_refused():
    with pytest.raises(ValueError, match="aperture must be"):
        missing_blur(5, 3, aperture="gaussian")
