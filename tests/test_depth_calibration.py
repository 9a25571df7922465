"""Depth in metres: by distances that are known, and by the blur of a lens that is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import fastrefocus as fr

SHAPE = (60, 80)
METRES = 1 / np.tile(np.linspace(1.0, 0.1, 80), (60, 1))  # 1 m at the left to 10 m at the right
KINDS = {  # the same scene, as far as a map of each kind can tell it
    "relative": fr.DepthMap(np.tile(np.linspace(0, 1, 80), (60, 1)), "relative"),
    "inverse": fr.DepthMap(7 + 130 / METRES, "inverse"),
    "metric": fr.DepthMap(1 / (0.3 / METRES + 0.05), "metric"),
}
POINTS = [(0.05, 0.5), (0.3, 0.2), (0.5, 0.8), (0.7, 0.1), (0.95, 0.5)]
DISTANCES = [float(METRES[int(y * 60), int(x * 80)]) for x, y in POINTS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 5])
def test_true_distances_give_true_metres(kind, count):
    chosen = np.linspace(0, 4, count).astype(int)
    found = fr.calibrate_depth(KINDS[kind], [POINTS[i] for i in chosen], [DISTANCES[i] for i in chosen])
    assert found.depth.kind == "metric"
    np.testing.assert_allclose(found.depth.values, METRES, rtol=2e-4)
    np.testing.assert_allclose(found.residuals_m, 0, atol=2e-3)
    np.testing.assert_allclose(found.gain * KINDS[kind].disparity() + found.shift, 1 / METRES, rtol=2e-4)
    assert found.residuals_px is None


@given(
    st.floats(0.01, 100),
    st.floats(-1e4, 1e4),
    st.floats(0.05, 50),
    st.floats(1.2, 100),
)
def test_gain_shift_and_unit_of_the_map_do_not_matter(gain, shift, nearest, ratio):
    inverse = np.linspace(1 / nearest, 1 / (nearest * ratio), 80)
    values = shift + gain * inverse
    if np.ptp(values) < 1e-3 * np.abs(values).max():  # lost in float32
        return
    depth = fr.DepthMap(np.tile(values, (60, 1)), "inverse")
    found = fr.calibrate_depth(depth, [(0, 0.5), (0.5, 0.5), (1, 0.5)], 1 / inverse[[0, 40, 79]])
    np.testing.assert_allclose(1 / found.depth.values[0], inverse, rtol=0, atol=1e-3 * inverse[0])


@pytest.mark.parametrize("wrong", range(5))
@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_one_wrong_distance_of_five_is_outvoted(wrong, factor):
    distances = np.array(DISTANCES)
    distances[wrong] *= factor
    found = fr.calibrate_depth(KINDS["inverse"], POINTS, distances)
    right = np.arange(5) != wrong
    error = 1 / found.depth.values - 1 / METRES
    assert np.abs(error).max() < 0.05  # of 1.0 to 0.1
    plain = np.polyfit([KINDS["inverse"].disparity()[int(y * 60), int(x * 80)] for x, y in POINTS], 1 / distances, 1)
    least_squares = np.polyval(plain, KINDS["inverse"].values) - 1 / METRES
    assert np.abs(error).max() < 0.7 * np.abs(least_squares).max()
    relative = np.abs(found.residuals_m / distances)
    assert relative[wrong] > 2 * relative[right].max()  # the residuals say which


def farthest_off(chosen, factors, rng):
    """Return the largest error of 1 / z, in parts of its range; the distances are true to 1 %, times factors."""
    disparity = np.linspace(1, 0.1, 200)
    depth = fr.DepthMap(np.tile(disparity, (10, 1)), "inverse")
    distances = factors / disparity[list(chosen)] * rng.normal(1, 0.01, len(chosen))
    found = fr.calibrate_depth(depth, [((i + 0.5) / 200, 0.5) for i in chosen], distances)
    return np.abs(1 / found.depth.values[0] - disparity).max() / 0.9


@pytest.mark.parametrize(
    "chosen", [(10, 50, 100, 150, 190), (10, 125, 160, 175, 187), (5, 100, 140, 170, 195), (9, 70, 130, 190)]
)
@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_the_wrong_distance_may_be_any_one_of_four_or_five(chosen, factor):
    rng = np.random.default_rng(0)
    for wrong in range(len(chosen)):
        factors = np.where(np.arange(len(chosen)) == wrong, factor, 1)
        assert farthest_off(chosen, factors, rng) < 0.04


def test_the_only_point_at_its_depth_is_believed():
    rng = np.random.default_rng(0)
    errors = [farthest_off((10, 180, 182, 184, 186), np.ones(5), rng) for _ in range(20)]
    assert max(errors) < 0.04


def test_one_wrong_distance_of_three_is_outvoted_where_the_shift_is_known():
    distances = np.array(DISTANCES[:3]) * [1, 4, 1]
    found = fr.calibrate_depth(fr.DepthMap(5 / METRES, "inverse"), POINTS[:3], distances, shift=0)
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-4)


def test_a_hundred_points_with_a_third_of_them_wrong():
    rng = np.random.default_rng(0)
    assert farthest_off(rng.choice(200, 100), np.where(np.arange(100) < 33, 4, 1), rng) < 0.02


def test_points_that_are_nearly_equally_far_are_enough():
    found = fr.calibrate_depth(KINDS["inverse"], [(0.5, 0.5), (0.56, 0.5)], [METRES[30, 40], METRES[30, 44]])
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-2)


def test_inexact_distances_give_their_residuals():
    distances = np.array(DISTANCES) * [1.02, 0.98, 1.02, 0.98, 1.02]
    found = fr.calibrate_depth(KINDS["inverse"], POINTS, distances)
    assert 0.005 < np.abs(found.residuals_m / distances).max() < 0.1
    at_points = [found.depth.values[int(y * 60), int(x * 80)] for x, y in POINTS]
    np.testing.assert_allclose(found.residuals_m, np.array(at_points) - distances, atol=1e-4)


def test_one_distance_needs_a_shift_and_takes_it():
    depth = fr.DepthMap(5 / METRES, "inverse")  # known but for its unit: GDepth in feet, say
    with pytest.raises(ValueError, match="one distance gives no shift: give the distance at a second point"):
        fr.calibrate_depth(depth, [POINTS[0]], [DISTANCES[0]])
    found = fr.calibrate_depth(depth, [POINTS[0]], [DISTANCES[0]], shift=0)
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-5)
    assert found.shift == 0
    found = fr.calibrate_depth(KINDS["relative"], [POINTS[0]], [DISTANCES[0]], shift=0.1)  # the farthest is 10 m away
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-5)


def test_infinity_may_be_known():
    depth = fr.DepthMap(3 + 2 / METRES, "inverse")
    sky = depth.values.copy()
    sky[:10] = 3
    found = fr.calibrate_depth(fr.DepthMap(sky, "inverse"), [POINTS[0], (0.5, 0.05)], [DISTANCES[0], np.inf])
    np.testing.assert_allclose(found.depth.values[10:], METRES[10:], rtol=1e-4)
    assert (found.depth.values[:10] > 1e5).all()


def test_what_lies_behind_infinity_is_very_far():
    depth = fr.DepthMap(np.tile(np.linspace(0, 1, 80), (60, 1)), "inverse")
    found = fr.calibrate_depth(depth, [(0.999, 0.5), (0.5, 0.5)], [1.0, 10.0])
    assert found.shift < 0
    np.testing.assert_array_equal(found.depth.values[:, :30], np.float32(1e6))


def test_a_speck_does_not_make_all_else_equally_far():
    metres = np.tile(np.linspace(1, 5, 100), (100, 1))
    speck = metres.copy()
    speck[0, 0] = 0.001
    found = fr.calibrate_depth(fr.DepthMap(speck, "metric"), [(0.2, 0.5), (1.0, 0.5)], [metres[50, 20], 5.0])
    np.testing.assert_allclose(found.depth.values[1:], metres[1:], rtol=1e-4)
    speck[0, 0] = 1e-37  # the nearest that a map holds
    found = fr.calibrate_depth(fr.DepthMap(speck, "metric"), [(0.2, 0.5), (1.0, 0.5)], [2.0, 6.0])
    assert found.depth.values[0, 0] == np.float32(1e-6)


@pytest.mark.parametrize("unit", [1e-30, 1e-16, 1e30])
def test_the_unit_of_inverse_depth_may_be_any(unit):
    found = fr.calibrate_depth(fr.DepthMap(unit / METRES, "inverse"), POINTS, DISTANCES)
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-3)
    found = fr.calibrate_depth(fr.DepthMap(unit / METRES, "inverse"), POINTS[:1], DISTANCES[:1], shift=0)
    np.testing.assert_allclose(found.depth.values, METRES, rtol=1e-3)


def test_unknown_pixels_stay_so_and_give_no_distance():
    values = KINDS["inverse"].values.copy()
    values[:30, :40] = np.nan
    depth = fr.DepthMap(values, "inverse")
    found = fr.calibrate_depth(depth, [(0.7, 0.2), (0.1, 0.9)], [METRES[12, 56], METRES[54, 8]])
    np.testing.assert_array_equal(np.isnan(found.depth.values), np.isnan(values))
    with pytest.raises(ValueError, match=r"unknown \(NaN\) around the point \(0\.2, 0\.2\)"):
        fr.calibrate_depth(depth, [(0.2, 0.2), (0.1, 0.9)], [1.0, 2.0])


@pytest.mark.parametrize(
    ("points", "distances", "message"),
    [
        ([], [], "points must be pairs"),
        (POINTS[0], [1.0, 2.0], "points must be pairs"),
        ([(0.1, 0.2, 0.3)], [1.0], "points must be pairs"),
        ([(0.1, 0.2), (1.1, 0.5)], [1.0, 2.0], "fractions of width and height"),
        ([(0.1, 0.2), (np.nan, 0.5)], [1.0, 2.0], "fractions of width and height"),
        (POINTS[:2], [1.0], "one distance for each of 2 points"),
        (POINTS[:2], [1.0, 0.0], "metres > 0"),
        (POINTS[:2], [1.0, -2.0], "metres > 0"),
        (POINTS[:2], [1.0, np.nan], "metres > 0"),
        (POINTS[:2], [1e-310, 1.0], r"metres > 0 \(at least 1e-06\)"),
        (POINTS[:2], np.ma.masked_array([1.0, 2.0], [True, False]), "masked"),
        (np.ma.masked_array(POINTS[:2], [[True, False]] * 2), [1.0, 2.0], "masked"),
        (POINTS[:2], [np.inf, np.inf], "not all of them infinite"),
        ([(0.5, 0.2), (0.5, 0.8)], [1.0, 2.0], "equally far in the depth map"),
        ([POINTS[0], POINTS[4]], [3.0, 1.0], "the distances contradict the depth map"),
        ([POINTS[0], POINTS[4]], [3.0, 3.0], "the distances contradict the depth map"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(points, distances, message):
    with pytest.raises(ValueError, match=message):
        fr.calibrate_depth(KINDS["inverse"], points, distances)


def test_other_arguments_are_checked():
    with pytest.raises(TypeError, match="depth must be a DepthMap"):
        fr.calibrate_depth(METRES, POINTS, DISTANCES)
    with pytest.raises(TypeError, match="shift must be a number"):
        fr.calibrate_depth(KINDS["inverse"], POINTS, DISTANCES, shift="0")
    with pytest.raises(TypeError, match="points must be an array of numbers"):
        fr.calibrate_depth(KINDS["inverse"], [(0.1, 0.2), (0.3,)], [1.0, 2.0])
    with pytest.raises(TypeError, match="distances_m must hold real numbers"):
        fr.calibrate_depth(KINDS["inverse"], POINTS[:2], ["1", "2"])
    for complex_or_text in ([1 + 2j, 2], np.array(["1", "2"]), "12"):
        with pytest.raises(TypeError, match="distances_m must hold real numbers"):
            fr.calibrate_depth(KINDS["inverse"], POINTS[:2], complex_or_text)
    with pytest.raises(TypeError, match="points must hold real numbers"):
        fr.calibrate_depth(KINDS["inverse"], [("0.1", "0.2"), ("0.3", "0.4")], [1.0, 2.0])
    with pytest.raises(ValueError, match="contradict"):
        fr.calibrate_depth(KINDS["relative"], POINTS[:1], [5.0], shift=1.0)


# By blur

EXIF = {33437: IFDRational(18, 10), 37382: IFDRational(25, 10), 37386: IFDRational(50), 41989: 50}


@pytest.fixture
def lens():
    block = Image.Exif()
    block.get_ifd(34665).update(EXIF)
    return fr.ThinLens.from_exif(block.tobytes().removeprefix(b"Exif\0\0"), (2000, 3000))


def blur_of(lens, width=3000):
    return np.abs(lens.coc_radius(METRES, width)) * 80 / width  # of a copy of 80 pixels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("focus", [1.02, 2.5, 9.5])
def test_the_blur_of_a_lens_by_exif_gives_metres(kind, focus, lens):
    strong = fr.ThinLens(lens.focal_length_mm, lens.f_number / 30, focus, lens.sensor_width_mm)
    radius = blur_of(strong)
    found = fr.calibrate_depth_by_blur(KINDS[kind], radius, strong)
    np.testing.assert_allclose(1 / found.depth.values, 1 / METRES, atol=2e-3)
    assert found.residuals_m is None
    assert np.abs(found.residuals_px).max() < 0.05


def test_wrong_and_unknown_radii_are_outvoted(lens):
    strong = fr.ThinLens(lens.focal_length_mm, lens.f_number / 30, lens.focus_distance_m, lens.sensor_width_mm)
    rng = np.random.default_rng(0)
    radius = 30 * blur_of(lens) + rng.normal(0, 0.5, SHAPE)
    radius[rng.random(SHAPE) < 0.15] = 40
    radius[rng.random(SHAPE) < 0.3] = np.nan
    found = fr.calibrate_depth_by_blur(KINDS["inverse"], radius, strong)
    np.testing.assert_allclose(1 / found.depth.values, 1 / METRES, atol=0.03)


def test_a_lens_focused_at_infinity_and_a_subject_only_in_front(lens):
    far = fr.ThinLens(50, 0.06, np.inf, 36)
    found = fr.calibrate_depth_by_blur(KINDS["inverse"], far.coc_radius(METRES, 80), far)
    np.testing.assert_allclose(1 / found.depth.values, 1 / METRES, atol=2e-3)


def test_the_depth_calibrated_makes_the_f_number_physical(lens):
    found = fr.calibrate_depth(KINDS["relative"], POINTS, DISTANCES)
    wide = fr.ThinLens(50, 1.4, 2.0)
    radius = fr.coc_from_depth(found.depth, 2.0, lens=wide)
    np.testing.assert_allclose(radius, wide.coc_radius(METRES, 80), atol=1e-3)
    stopped = fr.coc_from_depth(found.depth, 2.0, lens=fr.ThinLens(50, 2.8, 2.0))
    np.testing.assert_allclose(stopped, radius / 2, rtol=1e-5)


def test_blur_that_gives_nothing_is_told(lens):
    depth = KINDS["inverse"]
    with pytest.raises(ValueError, match="does not vary with depth"):
        fr.calibrate_depth_by_blur(depth, np.full(SHAPE, 3.0), lens)
    with pytest.raises(ValueError, match="does not vary with depth"):
        fr.calibrate_depth_by_blur(fr.DepthMap(np.ones(SHAPE), "inverse"), blur_of(lens), lens)
    with pytest.raises(ValueError, match="no pixel has both"):
        fr.calibrate_depth_by_blur(depth, np.full(SHAPE, np.nan), lens)
    with pytest.raises(ValueError, match="height and width"):
        fr.calibrate_depth_by_blur(depth, np.ones((3, 3)), lens)
    with pytest.raises(TypeError, match="lens must be a ThinLens"):
        fr.calibrate_depth_by_blur(depth, blur_of(lens), None)
    with pytest.raises(TypeError, match="depth must be a DepthMap"):
        fr.calibrate_depth_by_blur(METRES, blur_of(lens), lens)


@pytest.mark.parametrize(("radius", "deviation"), [(5, 0.001), (0.3, 0.001), (0.4, 0.01), (5, 1), (5, 10)])
def test_blur_without_depth_in_it_gives_no_metres(radius, deviation, lens):
    radii = np.abs(np.random.default_rng(0).normal(radius, deviation, SHAPE))
    for kind in KINDS.values():
        with pytest.raises(ValueError, match="blur_radius does not vary with depth"):
            fr.calibrate_depth_by_blur(kind, radii, lens)


def test_blur_too_weak_to_be_seen_gives_no_metres(lens):
    radius = blur_of(lens)
    weak = 0.4 * radius / radius.max()
    with pytest.raises(ValueError, match=r"or by less than 0\.5 pixels"):
        fr.calibrate_depth_by_blur(KINDS["inverse"], weak, lens)


def test_no_map_from_deblur_is_told(lens):
    with pytest.raises(TypeError, match="got None: deblur found one blur for the whole photo, or none"):
        fr.calibrate_depth_by_blur(KINDS["inverse"], None, lens)


@pytest.mark.parametrize("scene", ["motorcycle", "nyu_basement"])
def test_a_sharp_photo_gives_no_metres(scene, lens, shared):
    folder = shared / "data/rgbd" / scene
    depth = fr.read_depth(folder / "depth.png", kind="metric")
    radius = fr.estimate_blur(fr.read_photo(next(folder.glob("rgb.*"))).pixels).radius
    with pytest.raises(ValueError, match="blur_radius does not vary with depth"):
        fr.calibrate_depth_by_blur(depth, radius, lens)


def test_measured_depth_comes_back_from_its_disparity(shared):
    folder = shared / "data/rgbd/motorcycle"
    metres = fr.read_depth(folder / "depth.png", kind="metric").values
    disparity = fr.read_depth(folder / "disparity.png", kind="inverse", zero_unknown=True)
    height, width = metres.shape
    both = ~np.isnan(metres) & ~np.isnan(disparity.values)
    order = np.argsort(np.where(both, metres, np.nan).ravel())[: both.sum()]
    picks = [np.unravel_index(order[int(q * (both.sum() - 1))], metres.shape) for q in (0.1, 0.5, 0.9)]
    points = [((column + 0.5) / width, (row + 0.5) / height) for row, column in picks]
    found = fr.calibrate_depth(disparity, points, [float(metres[pick]) for pick in picks])
    relative = np.abs(found.depth.values / metres - 1)[both]
    assert np.median(relative) < 0.02
