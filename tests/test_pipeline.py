"""refocus: the whole way."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import fastrefocus as fr
from fastrefocus import pipeline
from fastrefocus.depth import estimate
from fastrefocus.light import decode, encode
from fastrefocus.samples import load_sample

HEIGHT, WIDTH = 60, 90


@pytest.fixture(scope="module")
def photo():
    return load_sample("coffee").pixels[100 : 100 + HEIGHT, 150 : 150 + WIDTH]


@pytest.fixture(scope="module")
def ramp():
    """Relative depth that grows from left to right."""
    return fr.DepthMap(np.repeat([np.linspace(0, 1, WIDTH)], HEIGHT, axis=0), kind="relative")


def detail(image):
    """Mean gradient of each third from left to right."""
    return [np.abs(np.diff(part, axis=1)).mean() for part in np.array_split(image, 3, axis=1)]


@pytest.mark.parametrize(
    ("focus", "sharpest"), [((0.05, 0.5), 0), ((0.5, 0.5), 1), ((0.95, 0.5), 2), (0.0, 0), (1.0, 2)]
)
def test_focus_point_or_depth_stays_sharp_and_the_rest_blurs(ramp, focus, sharpest):
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    result = fr.refocus(noise, depth=ramp, focus=focus, max_blur_px=5, deblur=False)
    assert np.argmax(detail(result.image)) == sharpest


def test_coc_is_signed_and_reaches_the_largest_radius(photo, ramp):
    coc = fr.refocus(photo, depth=ramp, focus=0.25, max_blur_px=6, deblur=False).coc
    assert coc[0, 0] < 0 < coc[0, -1]
    assert coc[0, -1] == pytest.approx(6)
    assert coc[0, 0] == pytest.approx(-2, rel=1e-5)


@pytest.mark.parametrize(("max_blur", "levels"), [(0.7, 2), (3, 6), (9.5, 16)])
def test_each_pixel_gets_the_nearest_of_the_blurred_copies(photo, max_blur, levels):
    depth = fr.DepthMap(np.random.default_rng(1).random((HEIGHT, WIDTH)), "relative")
    result = fr.refocus(photo, depth=depth, focus=0.5, max_blur_px=max_blur, deblur=False, rendering="paper")
    radii = np.linspace(0, max_blur, levels + 1)
    linear = decode(photo)
    copies = [gaussian_filter(linear, radius / 2, mode="mirror", axes=(0, 1)) for radius in radii]
    nearest = np.abs(np.abs(result.coc) - radii[:, None, None]).argmin(axis=0)
    expected = np.take_along_axis(np.array(copies), nearest[None, ..., None], axis=0)[0]
    np.testing.assert_allclose(result.image, encode(expected), atol=1e-5)


@pytest.mark.parametrize("rendering", ["defocus", "paper"])
@pytest.mark.parametrize(("depth", "focus"), [(1.0, 0.0), (0.0, 1.0)])
def test_point_source_spreads_as_a_disk_of_the_radius_does(depth, focus, rendering):
    point = np.zeros((41, 61), np.float32)
    point[20, 30] = 1
    everywhere = fr.DepthMap(np.full(point.shape, depth), "relative")
    result = fr.refocus(point, depth=everywhere, focus=focus, max_blur_px=6, deblur=False, rendering=rendering)
    light = decode(result.image)
    rows, columns = np.indices(point.shape)
    assert light.sum() == pytest.approx(1, rel=1e-3)
    assert np.sqrt((light * (rows - 20) ** 2).sum()) == pytest.approx(3, rel=0.01)  # radius / 2 along an axis
    assert np.sqrt((light * (columns - 30) ** 2).sum()) == pytest.approx(3, rel=0.01)


def test_papers_blur_clips_light_before_it_is_spread():
    image = np.full((20, 30), 0.2, np.float32)
    image[10, 5], image[10, 25] = -0.4, 10  # 10 as encoded is over 200 times the light of white
    far = fr.DepthMap(np.ones(image.shape), "relative")
    result = fr.refocus(image, depth=far, focus=0.0, max_blur_px=2, deblur=False, rendering="paper")
    light = decode(result.image)
    others = decode(np.where(np.abs(image) < 0.3, image, 0))
    others[10, 25] = 16
    np.testing.assert_allclose(light, gaussian_filter(others, 1, mode="mirror"), atol=1e-4)


def test_focus_point_is_x_and_y():
    order = fr.DepthMap(np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH), "relative")
    result = fr.refocus(np.zeros((HEIGHT, WIDTH)), depth=order, focus=(0.8, 0.1), max_blur_px=2, deblur=False)
    np.testing.assert_array_equal(np.argwhere(result.coc == 0), [[0.1 * HEIGHT, 0.8 * WIDTH]])


def test_focus_point_is_the_median_over_a_hundredth_of_the_longer_side():
    depth = np.full((200, 400), 0.2)
    depth[98:103, 198:203] = 0.8  # 5 x 5, of which ...
    depth[99:102, 200] = depth[100, 199:202] = 0.2  # ... 5 of the inner 3 x 3 are wrong
    result = fr.refocus(
        np.zeros(depth.shape), depth=fr.DepthMap(depth, "relative"), focus=(0.501, 0.501), max_blur_px=1, deblur=False
    )
    np.testing.assert_array_equal(result.coc == 0, depth == 0.8)


def test_threads_are_passed_on(photo, monkeypatch):
    seen = {}

    def listen(name, function):
        return lambda *args, **options: [seen.update({name: options["threads"]}), function(*args, **options)][1]

    monkeypatch.setattr(estimate, "estimate_depth", listen("depth", estimate.estimate_depth))
    monkeypatch.setattr(pipeline, "deblur_photo", listen("deblur", pipeline.deblur_photo))
    monkeypatch.setattr(pipeline, "refine", listen("refine", pipeline.refine))
    monkeypatch.setattr(pipeline, "render_defocus", listen("defocus", pipeline.render_defocus))
    fr.refocus(photo, focus=0.5, threads=3)
    assert seen == {"depth": 3, "refine": 3, "deblur": 3, "defocus": 3}


def test_kinds_of_depth_agree_on_what_is_behind(photo):
    metres = np.repeat([np.linspace(1, 5, WIDTH, dtype=np.float32)], HEIGHT, axis=0)
    metric = fr.refocus(photo, depth=fr.DepthMap(metres, "metric"), focus=2.0, max_blur_px=4, deblur=False)
    inverse = fr.refocus(photo, depth=fr.DepthMap(3 / metres + 1, "inverse"), focus=2.5, max_blur_px=4, deblur=False)
    np.testing.assert_allclose(metric.coc, inverse.coc, atol=1e-4)
    np.testing.assert_allclose(metric.image, inverse.image, atol=1e-3)


def test_default_blur_is_a_share_of_the_longer_side(photo, ramp):
    coc = fr.refocus(photo, depth=ramp, focus=0.0, deblur=False).coc
    assert np.abs(coc).max() == pytest.approx(0.015 * WIDTH)
    tiny = fr.DepthMap([[0.0, 1.0]], kind="relative")
    coc = fr.refocus(np.full((1, 2, 3), 0.5), depth=tiny, focus=0.0, deblur=False).coc
    assert coc.max() == pytest.approx(0.015 * 2)  # the channels are no side


@pytest.mark.parametrize("rendering", ["defocus", "paper"])
def test_no_blur_wanted_gives_the_photo_back_bit_for_bit(photo, ramp, rendering):
    result = fr.refocus(photo, depth=ramp, focus=0.5, max_blur_px=0, deblur=False, rendering=rendering)
    np.testing.assert_array_equal(result.image, photo)
    flat = fr.DepthMap(np.full((HEIGHT, WIDTH), 0.5), kind="relative")
    result = fr.refocus(photo, depth=flat, focus=0.5, deblur=False, rendering=rendering)
    np.testing.assert_array_equal(result.image, photo)


def test_unknown_depth_is_taken_from_the_nearest_known_pixel(photo, ramp):
    values = ramp.values.copy()
    values[10:13, 60:63] = np.nan
    result = fr.refocus(photo, depth=fr.DepthMap(values, "relative"), focus=0.0, max_blur_px=5, deblur=False)
    whole = fr.refocus(photo, depth=ramp, focus=0.0, max_blur_px=5, deblur=False)
    np.testing.assert_allclose(result.coc, whole.coc, atol=2 * 5 / (WIDTH - 1) + 1e-5)
    assert np.isnan(result.depth.values[11, 61])
    with pytest.raises(ValueError, match="unknown"):
        fr.refocus(photo, depth=fr.DepthMap(np.full_like(values, np.nan), "relative"), focus=0.5)


def test_focus_on_unknown_depth_takes_the_nearest(photo, ramp):
    values = ramp.values.copy()
    values[:, :30] = np.nan
    result = fr.refocus(photo, depth=fr.DepthMap(values, "relative"), focus=(0.1, 0.5), max_blur_px=5, deblur=False)
    np.testing.assert_array_equal(result.coc[:, :30], 0)
    np.testing.assert_array_equal(result.image[:, :26], photo[:, :26])  # light of the rest comes a little further


def test_depth_is_estimated_where_it_is_not_given(photo):
    result = fr.refocus(photo, focus=(0.5, 0.9), deblur=False)
    assert result.depth.kind == "relative"
    assert result.depth.values.shape == photo.shape[:2]
    assert set(result.timings) == {"depth", "blur"}


def test_estimated_depth_follows_the_blur_of_the_photo():
    sharp = load_sample("camera").pixels[60:260, 120:380]
    blurred = sharp.copy()
    blurred[:, :130] = gaussian_filter(sharp, 2.5)[:, :130]
    options = {"focus": (0.8, 0.5), "deblur": False, "refine_depth": False}
    depths = [fr.refocus(photo, **options).depth.values for photo in (blurred, sharp)]
    beyond = [np.median(values[:, 10:110]) - np.median(values[:, 150:250]) for values in depths]
    assert abs(beyond[0] - beyond[1]) > 0.5


def test_the_largest_blur_is_that_of_the_photo_itself():
    sharp = load_sample("camera").pixels[60:260, 120:380]
    blurred = sharp.copy()
    blurred[:, :130] = gaussian_filter(sharp, 2)[:, :130]
    largest = {name: np.abs(fr.refocus(photo, focus=(0.8, 0.5)).coc).max() for name, photo in
               {"sharp": sharp, "blurred": blurred}.items()}  # fmt: skip
    assert largest["sharp"] == pytest.approx(0.015 * 260, rel=1e-3)
    given = np.zeros(sharp.shape)
    given[:, :130] = 2.5
    given[0, 0] = 40
    largest["given"] = np.abs(fr.refocus(sharp, focus=(0.8, 0.5), existing_radius=given, deblur=False).coc).max()
    assert largest["given"] == pytest.approx(2.5, rel=1e-3)
    assert abs(largest["blurred"] - 4) < 1


def test_deblurring_comes_before_the_blur(ramp):
    sharp = load_sample("camera").pixels[100:260, 150:350]
    blurred = gaussian_filter(sharp, 1.5)
    depth = fr.DepthMap(np.zeros(sharp.shape), "relative")
    result = fr.refocus(blurred, depth=depth, focus=0.0)
    assert set(result.timings) == {"deblur", "blur"}
    assert np.mean((result.sharp - sharp) ** 2) < np.mean((blurred - sharp) ** 2)
    np.testing.assert_array_equal(result.image, result.sharp)


def test_sharp_photo_survives_the_default(photo, ramp):
    result = fr.refocus(load_sample("coffee").pixels, focus=(0.5, 0.75))
    assert np.mean((result.sharp - load_sample("coffee").pixels) ** 2) < 1e-4


@settings(max_examples=5, deadline=None)
@given(threads=st.integers(2, 5), grey=st.booleans())
def test_threads_change_nothing(threads, grey):
    image = load_sample("astronaut").pixels[:50, :70]
    image = image[..., 0] if grey else image
    one = fr.refocus(image, focus=(0.5, 0.5), threads=1)
    many = fr.refocus(image, focus=(0.5, 0.5), threads=threads)
    np.testing.assert_array_equal(one.image, many.image)
    np.testing.assert_array_equal(one.coc, many.coc)


def test_constant_photo_stays_constant(ramp):
    image = np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    for rendering in ("defocus", "paper"):
        result = fr.refocus(image, depth=ramp, focus=0.3, max_blur_px=7, rendering=rendering)
        np.testing.assert_allclose(result.image, image, atol=1e-5)


@pytest.mark.parametrize(("rendering", "last"), [("defocus", "defocus"), ("paper", "blur")])
def test_callback_reports_every_stage_and_cancels(photo, rendering, last):
    stages, options = [], {"focus": (0.5, 0.5), "rendering": rendering}
    fr.refocus(photo, **options, callback=lambda stage, done, total: stages.append((stage, done, total)))
    assert {"depth", "deblur", last} <= {stage for stage, _, _ in stages}
    assert all(0 <= done <= total for _, done, total in stages)
    assert [done / total for stage, done, total in stages if stage == last] == sorted(
        done / total for stage, done, total in stages if stage == last
    )
    assert stages[-1][0] == last
    assert stages[-1][1] == stages[-1][2]
    with pytest.raises(fr.Cancelled, match=last):
        fr.refocus(photo, **options, deblur=False, callback=lambda stage, *_: stage != last)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"focus": (0.5, 1.5)}, ValueError, r"focus\[1\] \(y\).*0 to 1"),
        ({"focus": (0.5, 0.5, 0.5)}, ValueError, r"point \(x, y\)"),
        ({"focus": "left"}, TypeError, "focus"),
        ({"focus": float("nan")}, ValueError, "focus"),
        ({"focus": 7}, ValueError, r"^focus must be a relative depth, 0 \(nearest\) to 1 \(farthest\), got 7"),
        ({"focus": 0, "depth": fr.DepthMap(np.ones((HEIGHT, WIDTH)), "metric")}, ValueError, "^focus must be .* got 0"),
        ({"focus": 1e99, "depth": fr.DepthMap(np.ones((HEIGHT, WIDTH)), "inverse")}, ValueError, "^focus"),
        ({"focus": 0.5, "max_blur_px": -1}, ValueError, "max_blur_px"),
        ({"focus": 0.5, "max_blur_px": 1025}, ValueError, "^max_blur_px .* < 1000"),
        ({"focus": 0.5, "depth": np.zeros((HEIGHT, WIDTH))}, TypeError, "DepthMap"),
        ({"focus": 0.5, "depth": fr.DepthMap(np.zeros((3, 4)), "relative")}, ValueError, "height and width"),
        ({"focus": [(0.5, 0.5), (0.5, 2)]}, ValueError, r"focus\[1\] \(y\).*0 to 1"),
        ({"focus": []}, ValueError, "^focus must be a point"),
        ({"focus": fr.FocusBand(0.5, 0.2)}, ValueError, "^focus.nearest must not lie behind focus.farthest"),
        ({"focus": fr.FocusBand(0.5, 2)}, ValueError, "^focus.farthest must be a relative depth"),
        ({"focus": 0.5, "deblur": 1}, TypeError, "^deblur must be True or False"),
        ({"focus": 0.5, "aperture": "hexagon"}, ValueError, "^aperture"),
        ({"focus": 0.5, "aperture": 5}, TypeError, "^aperture"),
        ({"focus": 0.5, "quality": "best"}, ValueError, "^quality must be one of"),
        ({"focus": 0.5, "rendering": "gather"}, ValueError, "^rendering must be one of 'defocus', 'paper'"),
        ({"focus": 0.5, "refine_depth": 1}, TypeError, "^refine_depth must be True or False"),
        ({"focus": 0.5, "existing_radius": -2}, ValueError, "^existing"),
        ({"focus": 0.5, "existing_radius": np.ones((3, 4))}, ValueError, "^existing"),
        ({"focus": 0.5, "existing_radius": True}, TypeError, "^existing"),
        ({"focus": 0.5, "threads": 0}, ValueError, "threads"),
        ({"focus": 0.5, "callback": 3}, TypeError, "callback"),
    ],
)
def test_bad_arguments_are_named(photo, arguments, error, message):
    work = []
    with pytest.raises(error, match=message):
        fr.refocus(photo, **{"callback": lambda *step: work.append(step), **arguments})
    assert work == []


def test_blur_is_that_of_render_defocus(photo, ramp):
    options = {"depth": ramp, "focus": 0.4, "max_blur_px": 9, "deblur": False}
    iris = fr.Aperture(blades=5, rotation=0.2)
    triangle = np.tri(15)
    for aperture, quality in (("disk", "default"), (iris, "fast"), (triangle, "default"), ("disk", "reference")):
        result = fr.refocus(photo, **options, aperture=aperture, quality=quality)
        coc = fr.coc_from_depth(ramp, 0.4, max_radius=9, mapping="disparity")
        np.testing.assert_array_equal(result.coc, coc)
        np.testing.assert_array_equal(result.image, fr.render_defocus(photo, coc, aperture=aperture, quality=quality))
        assert set(result.timings) == {"blur"}


def test_focus_on_several_points_or_a_band(photo, ramp):
    options = {"depth": ramp, "max_blur_px": 6, "deblur": False}
    points = fr.refocus(photo, **options, focus=[(0.3, 0.5), (0.6, 0.2)])
    sharp = np.arange(int(0.3 * WIDTH), int(0.6 * WIDTH) + 1)
    np.testing.assert_array_equal(np.flatnonzero(points.coc[0] == 0), sharp)
    assert points.coc[0, 0] < 0 < points.coc[0, -1] == 6
    inner = np.s_[:, sharp[8] : sharp[-8]]
    np.testing.assert_array_equal(points.image[inner], photo[inner])
    near, far = ramp.values[0, sharp[[0, -1]]].tolist()
    band = fr.refocus(photo, **options, focus=fr.FocusBand(near, far))
    np.testing.assert_allclose(band.coc, points.coc, atol=1e-5)
    one = fr.refocus(photo, **options, focus=[(0.3, 0.5)])
    np.testing.assert_array_equal(one.image, fr.refocus(photo, **options, focus=(0.3, 0.5)).image)


@pytest.mark.parametrize(
    ("given", "rendering", "refine_depth", "refined"),
    [
        (False, "defocus", None, True),
        (False, "paper", None, False),
        (False, "defocus", False, False),
        (True, "defocus", None, False),
        (True, "defocus", True, True),
        (True, "paper", True, True),
    ],
)
def test_depth_is_refined_where_it_is_estimated(photo, ramp, monkeypatch, given, rendering, refine_depth, refined):
    seen = []

    def refine(depth, image, *, threads):
        seen.append(image)
        return fr.DepthMap(depth.values * np.float32(0.5), depth.kind)

    monkeypatch.setattr(pipeline, "refine", refine)
    options = {"focus": 0.25, "deblur": False, "rendering": rendering, "max_blur_px": 3}
    result = fr.refocus(photo, depth=ramp if given else None, refine_depth=refine_depth, **options)
    assert len(seen) == refined
    assert all((image == photo).all() for image in seen)
    assert ("depth" in result.timings) == (refined or not given)
    if given:
        np.testing.assert_array_equal(result.depth.values, ramp.values * np.float32(0.5 if refined else 1))
    used = fr.coc_from_depth(result.depth, 0.25, max_radius=3, mapping="disparity")
    np.testing.assert_array_equal(result.coc, used)


def test_refined_depth_is_that_of_refine_depth(photo, ramp):
    result = fr.refocus(photo, depth=ramp, focus=0.5, deblur=False, refine_depth=True)
    np.testing.assert_array_equal(result.depth.values, fr.refine_depth(ramp, photo).values)


@pytest.mark.parametrize("grey", [False, True])
def test_only_missing_blur_is_added_and_to_the_photo_as_it_is(ramp, monkeypatch, grey):
    rng = np.random.default_rng(0)
    photo = rng.random((HEIGHT, WIDTH) if grey else (HEIGHT, WIDTH, 3), np.float32)
    sharp = rng.random(photo.shape, np.float32)
    monkeypatch.setattr(pipeline, "deblur_photo", lambda *args, **options: fr.deblur(sharp, sigmas=[0.5]))
    expected_sharp = fr.deblur(sharp, sigmas=[0.5]).image
    existing = np.full((HEIGHT, WIDTH), 2.0)
    existing[:20] = np.nan
    for aperture in ("disk", fr.Aperture(blades=5)):
        result = fr.refocus(
            photo, depth=ramp, focus=0.5, max_blur_px=5, existing_radius=existing, aperture=aperture, quality="fast"
        )
        np.testing.assert_array_equal(result.sharp, expected_sharp)
        known = np.nan_to_num(existing)
        enough = known <= np.abs(result.coc)
        less = np.abs(result.coc) <= 0.75 * known
        missing = fr.missing_blur(result.coc, known, aperture=aperture)
        added = fr.render_defocus(photo, missing, aperture=aperture, quality="fast")
        again = fr.render_defocus(expected_sharp, result.coc, aperture=aperture, quality="fast")
        np.testing.assert_array_equal(result.image[enough], added[enough])
        np.testing.assert_array_equal(result.image[less & ~enough], again[less & ~enough])
        np.testing.assert_array_less(result.image, np.maximum(added, again) + 1e-6)
        np.testing.assert_array_less(np.minimum(added, again) - 1e-6, result.image)
        assert enough[30:].any()
        assert less[30:].any()
        assert enough[:20].all()


@pytest.mark.parametrize("deblur", [False, True])
def test_no_line_is_drawn_where_the_blur_wanted_is_the_blur_there_is(monkeypatch, deblur):
    photo = load_sample("coffee").pixels[:60, 150:450]
    depth = fr.DepthMap(np.tile(np.linspace(0, 1, 300), (60, 1)), "relative")
    blurred = fr.render_defocus(photo, np.full(photo.shape[:2], 6, np.float32))
    monkeypatch.setattr(pipeline, "deblur_photo", lambda *args, **options: fr.deblur(photo, sigmas=[0.5]))
    result = fr.refocus(blurred, depth=depth, focus=0.0, max_blur_px=12, existing_radius=6.0, deblur=deblur)
    around = np.s_[140:160]  # the blur is 6 pixels in the middle
    found, before = (image.mean(axis=(0, 2))[around] for image in (result.image, blurred))
    assert np.abs(np.diff(found - before)).max() < 0.002


def test_what_is_more_blurred_than_wanted_stays_so_without_deblurring(photo, ramp):
    result = fr.refocus(photo, depth=ramp, focus=0.0, max_blur_px=5, existing_radius=9.0, deblur=False)
    np.testing.assert_array_equal(result.image, photo)


@pytest.mark.parametrize(
    ("sigma", "radius"), [(1.5, None), (None, np.tile(np.linspace(0, 4, WIDTH, dtype=np.float32), (HEIGHT, 1)))]
)
def test_the_blur_that_deblur_finds_is_not_added_again(ramp, monkeypatch, sigma, radius):
    photo = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    found = replace(fr.deblur(photo, sigmas=[0.5]), sigma=sigma, blur_radius=radius)
    monkeypatch.setattr(pipeline, "deblur_photo", lambda *args, **options: found)
    options = {"depth": ramp, "focus": 0.0, "max_blur_px": 5}
    result = fr.refocus(photo, **options)
    known = fr.refocus(photo, **options, existing_radius=3.0 if radius is None else radius)
    np.testing.assert_array_equal(result.image, known.image)
    from_sharp = fr.refocus(found.image, **options, deblur=False)
    assert detail(result.image)[2] > 1.1 * detail(from_sharp.image)[2]


@pytest.mark.parametrize("rendering", ["defocus", "paper"])
def test_existing_blur_of_one_radius(photo, ramp, rendering):
    options = {"depth": ramp, "focus": 0.0, "max_blur_px": 5, "deblur": False, "rendering": rendering}
    plain, none = fr.refocus(photo, **options), fr.refocus(photo, **options, existing_radius=0)
    np.testing.assert_array_equal(plain.image, none.image)
    some = fr.refocus(photo, **options, existing_radius=3.0)
    np.testing.assert_array_equal(some.coc, plain.coc)
    assert detail(some.image)[2] > detail(plain.image)[2]


def test_the_papers_blur_knows_no_aperture_and_no_quality(photo, ramp):
    options = {"depth": ramp, "focus": 0.3, "max_blur_px": 5, "deblur": False, "rendering": "paper"}
    plain = fr.refocus(photo, **options)
    other = fr.refocus(photo, **options, aperture=fr.Aperture(blades=5), quality="reference")
    np.testing.assert_array_equal(plain.image, other.image)
    assert np.abs(plain.image - fr.refocus(photo, **{**options, "rendering": "defocus"}).image).max() > 0.01
