"""The command line's blur: method, aperture, depth, lens, focus, and focus sweeps."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import fastrefocus as fr
from fastrefocus import cli

F_NUMBER, DISTANCE, FOCAL_LENGTH, FOCAL_LENGTH_35MM = 33437, 37382, 37386, 41989
FACTS = {FOCAL_LENGTH: IFDRational(30), F_NUMBER: IFDRational(18, 10), FOCAL_LENGTH_35MM: 45, DISTANCE: IFDRational(2)}
SENSOR_WIDTH = 4 / 5 * math.hypot(36, 24) / 1.5  # of a photo of 60 x 80
DEPTH = np.repeat([np.linspace(1.0, 4.0, 80)], 60, axis=0)  # metres
DEPTH[20:30, 40:50] = np.nan


def write_photo(path, facts):
    block = Image.Exif()
    block.get_ifd(34665).update(facts)
    pixels = np.random.default_rng(0).random((60, 80, 3), np.float32)
    exif = block.tobytes().removeprefix(b"Exif\0\0") if facts else None
    fr.write_photo(path, pixels, like=fr.Photo(pixels, bit_depth=16, exif=exif))
    return path


def write_grey(path, values, bit_depth=16):
    fr.write_photo(path, values, like=fr.Photo(np.asarray(values, np.float32), bit_depth=bit_depth))
    return path


@pytest.fixture
def plain(tmp_path):
    """A photo file without EXIF, (60, 80, 3)."""
    return write_photo(tmp_path / "plain.png", {})


@pytest.fixture
def photo(tmp_path):
    """The same with EXIF that gives the lens and the subject's distance."""
    return write_photo(tmp_path / "photo.png", FACTS)


@pytest.fixture
def metres(tmp_path):
    """A depth file, 1 to 4 m in millimetres, with a hole of 0."""
    return write_grey(tmp_path / "metres.png", np.nan_to_num(np.rint(1000 * DEPTH)) / 65535)


@pytest.fixture
def ramp(tmp_path):
    """A depth file that grows from 0 at the left to 1 at the right."""
    return write_grey(tmp_path / "ramp.png", np.repeat([np.linspace(0, 1, 80)], 60, axis=0))


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command of one photo; return the exit code, what was said, and what --json reported."""

    def command(verb, source, *options, out="out.png"):
        try:
            code = cli.main([verb, str(source), str(tmp_path / out), "--json", *map(str, options)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.err, json.loads(captured.out) if captured.out else None

    return command


def listen(monkeypatch, name, function=None):
    """Return the list of the arguments with which a public function is called from now on."""
    calls = []
    function = function or getattr(fr, name)

    def heard(*args, **options):
        calls.append({"args": args, **options})
        return function(*args, **options)

    monkeypatch.setattr(fr, name, heard)
    return calls


def result_of(tmp_path, name="out.png"):
    return fr.read_photo(tmp_path / name).pixels


# The two methods


def test_blur_is_the_public_functions(run, plain, ramp, tmp_path):
    code, said, report = run("blur", plain, "--depth", ramp, "--focus", "0.25", "--max-blur", "4")
    assert (code, said) == (0, "")
    assert set(report) == {"input", "output", "seconds", "seconds_total"}
    assert set(report["seconds"]) == {"depth", "blur"}
    depth = fr.DepthMap(fr.read_photo(ramp).pixels, "relative")
    radius = fr.coc_from_depth(depth, 0.25, max_radius=4, mapping="disparity")
    expected = fr.render_defocus(fr.read_photo(plain).pixels, radius)
    np.testing.assert_allclose(result_of(tmp_path), np.clip(expected, 0, 1), atol=0.51 / 65535)


def test_blur_gets_its_options(run, plain, ramp, monkeypatch):
    calls = listen(monkeypatch, "render_defocus")
    options = ["--existing", "1.5", "--highlights", "3", "--quality", "fast", "--threads", "1"]
    assert run("blur", plain, "--depth", ramp, "--focus", "0.5", *options)[0] == 0
    got = {name: calls[0][name] for name in ("existing_radius", "highlight_gain", "quality", "threads")}
    assert got == {"existing_radius": 1.5, "highlight_gain": 3, "quality": "fast", "threads": 1}
    assert run("blur", plain, "--depth", ramp, "--focus", "0.5", "--force")[0] == 0
    got = {name: calls[1][name] for name in ("existing_radius", "highlight_gain", "quality", "threads")}
    assert got == {"existing_radius": None, "highlight_gain": 1, "quality": "default", "threads": None}
    assert np.abs(calls[1]["args"][1]).max() == pytest.approx(0.015 * 80)  # where --max-blur is not given


def test_refocus_gets_its_options(run, plain, ramp, monkeypatch):
    calls = listen(monkeypatch, "refocus")
    options = ["--focus", "0.2,0.9", "--max-blur", "3", "--no-deblur", "--threads", "1", "--depth", ramp]
    assert run("refocus", plain, *options, "--existing", "2", "--quality", "fast", "--aperture", "6")[0] == 0
    (call,) = calls
    assert call.pop("depth").kind == "relative"
    assert call.pop("aperture").blades == 6
    del call["args"]
    assert call == {
        "focus": (0.2, 0.9),
        "max_blur_px": 3,
        "deblur": False,
        "quality": "fast",
        "rendering": "defocus",
        "refine_depth": False,
        "existing_radius": 2,
        "threads": 1,
        "callback": None,
    }
    assert run("refocus", plain, *options, "--force", "--method", "paper")[0] == 0
    assert calls[1]["rendering"] == "paper"


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("blur", ["--sigmas", "2,3"], "--sigmas is an option of --method paper"),
        ("blur", ["--side", "near"], "--side is an option of --method paper"),
        ("blur", ["--method", "paper", "--focus", "0.5"], "--focus is an option of --method defocus"),
        ("blur", ["--method", "paper", "--aperture", "6"], "--aperture is an option of --method defocus"),
        ("blur", ["--method", "paper", "--max-blur", "6"], "--max-blur is an option of --method defocus"),
        ("blur", ["--method", "paper", "--existing", "0"], "--existing is an option of --method defocus"),
        ("blur", ["--method", "paper", "--highlights", "2"], "--highlights is an option of --method defocus"),
        ("blur", ["--method", "paper", "--depth-range", "1,2"], "--depth-range is an option of --method defocus"),
        ("blur", ["--method", "paper", "--f-number", "2"], "--f-number is an option of --method defocus"),
        ("refocus", ["--method", "paper", "--roundness", "0"], "--roundness is an option of --method defocus"),
        ("refocus", ["--method", "paper", "--quality", "fast"], "--quality is an option of --method defocus"),
        ("blur", [], "--focus must be given: a point X,Y"),
        ("refocus", [], "--focus must be given"),
        ("refocus", ["--focus", "7"], "--focus: focus must be a relative depth"),
        ("blur", ["--focus", "0.8:0.2"], "--focus: focus.nearest must not lie behind"),
        ("blur", ["--focus", "0.8:inf"], "--focus: focus.farthest"),
        ("blur", ["--focus", "0.5,0.5", "--focus", "0.3"], "--focus may be given several times for points"),
        ("blur", ["--focus", "0.5", "--rotation", "30"], "--rotation is for blades or a picture"),
        ("blur", ["--focus", "0.5", "--aperture", "disk", "--rotation", "0"], "--rotation is for blades"),
        ("stack", ["--roundness", "0.5"], "--roundness is that of blades"),
        ("stack", ["--aperture", "mask.png", "--roundness", "0.5"], "--roundness is that of blades"),
        ("stack", ["--depth-kind", "metric"], "--depth-kind is about a file of the depth, and needs --depth"),
        ("blur", ["--method", "paper", "--depth-kind", "inverse"], "--depth-kind is about a file"),
        ("stack", ["--zero-unknown"], "--zero-unknown is about a file"),
        ("stack", ["--depth", "d.png", "--focal-px", "900"], "--focal-px is for a model"),
        ("stack", ["--depth", "d.png", "--depth-unit", "0.01"], "--depth-unit is for --depth-kind metric"),
        ("stack", ["--depth", "d.png", "--depth-kind", "metric", "--zero-unknown"], "0 always is unknown"),
        ("stack", ["--depth", "d.png", "--depth-kind", "metric", "--depth-range", "1,2"], "--depth-range is for rel"),
        ("stack", ["--depth", "d.png", "--depth-kind", "inverse", "--depth-range", "1,2"], "--depth-range is for rel"),
        ("stack", ["--f-number", "2"], "--f-number is of use with depth in metres only"),
        ("refocus", ["--focus", "0.5", "--sensor-width", "36"], "--sensor-width is of use with depth in metres only"),
        ("stack", ["--depth-range", "1,2", "--max-blur", "5", "--f-number", "2"], "--max-blur: give one"),
    ],
)
def test_options_that_do_not_fit_together(verb, options, message, run, tmp_path):
    code, said, report = run(verb, "missing.png", *options, out="out")
    assert (code, report) == (2, None)
    assert said.startswith(f"fastrefocus {verb}: ")
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--focus", "1:2:3"),
        ("--focus", "nan"),
        ("--focus", "nan:1"),
        ("--focus", "a:b"),
        ("--max-blur", "1000"),
        ("--max-blur", "0"),
        ("--aperture", "4"),
        ("--aperture", "10"),
        ("--rotation", "inf"),
        ("--roundness", "1.5"),
        ("--cat-eye", "-0.1"),
        ("--highlights", "0.5"),
        ("--highlights", "1000"),
        ("--existing", "-1"),
        ("--existing", "inf"),
        ("--quality", "best"),
        ("--method", "gather"),
        ("--depth-kind", "disparity"),
        ("--depth-unit", "0"),
        ("--depth-range", "2"),
        ("--depth-range", "2,1"),
        ("--depth-range", "0,1"),
        ("--f-number", "0"),
        ("--focal-length", "-5"),
        ("--sensor-width", "wide"),
        ("--steps", "1"),
        ("--steps", "2.5"),
    ],
)
def test_values_out_of_range(option, value, run):
    verb = "stack" if option == "--steps" else "blur"
    code, said, _ = run(verb, "missing.png", option, value)
    assert code == 2
    assert f"argument {option}: " in said
    assert repr(value) in said


# Aperture


def test_an_aperture_that_is_nothing_known_is_refused(run, plain):
    code, said, _ = run("blur", plain, "--focus", "0.5,0.5", "--aperture", "hex")
    assert code != 0
    assert "--aperture hex: neither disk, 5 to 9 blades, nor a file that exists" in said


@pytest.mark.parametrize("verb", ["refocus", "blur", "stack"])
def test_aperture_by_blades(verb, run, plain, ramp, monkeypatch):
    function = {"refocus": "refocus", "blur": "render_defocus", "stack": "render_focus_sweep"}[verb]
    calls = listen(monkeypatch, function)
    options = ["--aperture", "7", "--rotation", "-30", "--roundness", "0.25", "--cat-eye", "0.5", "--depth", ramp]
    options += {"refocus": ["--focus", "0.5", "--no-deblur"], "blur": ["--focus", "0.5"], "stack": []}[verb]
    assert run(verb, plain, *options, out="out" if verb == "stack" else "out.png")[0] == 0
    aperture = calls[0]["aperture"]
    assert (aperture.blades, aperture.roundness, aperture.cat_eye) == (7, 0.25, 0.5)
    assert aperture.rotation == pytest.approx(-math.pi / 6)


def test_aperture_by_a_picture(run, plain, ramp, tmp_path, monkeypatch):
    mask = np.zeros((12, 12), np.float32)
    mask[2:10, 4:8] = 1
    calls = listen(monkeypatch, "render_defocus")
    options = ["--depth", ramp, "--focus", "0.5", "--aperture", write_grey(tmp_path / "mask.png", mask, 8)]
    assert run("blur", plain, *options, "--rotation", "10")[0] == 0
    np.testing.assert_array_equal(calls[0]["aperture"].mask, mask > 0)
    assert calls[0]["aperture"].rotation == pytest.approx(math.radians(10))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "mask.png"),
        (np.zeros((8, 8)), "--aperture {}: mask must hold values > 0"),
        (np.ones((8, 9)), "--aperture {}: mask must be square"),
        (np.ones((8, 8, 3)), "--aperture {} must be a grey picture, got colour"),
    ],
)
def test_a_bad_picture_of_the_aperture_is_told_first(mask, message, run, tmp_path):
    path = tmp_path / "mask.png"
    if mask is not None:
        fr.write_photo(path, mask)
    code, said, _ = run("blur", "missing.png", "--focus", "0.5", "--aperture", path)
    assert code == 1
    assert message.format(path) in said
    assert "missing.png" not in said


# Depth


def depth_of(run, monkeypatch, source, *options):
    """Return the depth that ``stack`` takes."""
    seen = []
    filled = fr.DepthMap.filled
    monkeypatch.setattr(fr.DepthMap, "filled", lambda depth: [seen.append(depth), filled(depth)][1])
    assert run("stack", source, "--steps", "2", "--force", *options, out="out")[0] == 0
    monkeypatch.undo()
    return seen[0]


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_zero_is_a_depth_unless_it_is_unknown(kind, run, plain, ramp, monkeypatch):
    values = fr.read_photo(ramp).pixels
    options = ["--depth", ramp, "--depth-kind", kind]
    depth = depth_of(run, monkeypatch, plain, *options)
    assert depth.kind == kind
    np.testing.assert_array_equal(depth.values, values)
    depth = depth_of(run, monkeypatch, plain, *options, "--zero-unknown")
    np.testing.assert_array_equal(depth.values, np.where(values == 0, np.nan, values))
    assert np.isnan(depth.values).sum() == 60


@pytest.mark.parametrize(("options", "factor"), [([], 1), (["--depth-unit", "0.0002"], 0.2)])
def test_metric_depth_counts_steps(options, factor, run, photo, metres, monkeypatch):
    depth = depth_of(run, monkeypatch, photo, "--depth", metres, "--depth-kind", "metric", *options)
    assert depth.kind == "metric"
    np.testing.assert_allclose(depth.values, np.rint(1000 * DEPTH) / 1000 * factor, rtol=1e-6)  # NaN for 0


def test_relative_depth_in_metres(run, photo, ramp, monkeypatch):
    values = fr.read_photo(ramp).pixels.astype(np.float64)
    depth = depth_of(run, monkeypatch, photo, "--depth", ramp, "--depth-range", "2,8")
    assert depth.kind == "metric"
    np.testing.assert_allclose(depth.values, 1 / ((1 - values) / 2 + values / 8), rtol=1e-5)
    depth = depth_of(run, monkeypatch, photo, "--depth", ramp, "--depth-range", "2,inf")
    np.testing.assert_allclose(depth.values[:, :-1], 2 / (1 - values[:, :-1]), rtol=1e-4)
    assert depth.values.max() >= 1e5


@pytest.mark.parametrize(
    ("values", "bit_depth", "message"),
    [
        (np.ones((60, 80)), 8, "--depth {} must have 16 bits to hold metric depth, got 8"),
        (np.ones((60, 70)), 16, "--depth: the depth's height and width (60, 70) do not have the photo's proportions"),
        (np.tile([1, 0.5, 0], (60, 80, 1)), 16, "--depth {} must be a grey picture, got colour"),
        (np.zeros((60, 80)), 16, "unknown (NaN) everywhere"),
    ],
)
def test_bad_depth(values, bit_depth, message, run, photo, tmp_path):
    path = write_grey(tmp_path / "depth.png", values, bit_depth)
    code, said, _ = run("blur", photo, "--depth", path, "--depth-kind", "metric")
    assert code == 1
    assert message.format(path) in said
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("verb", "options", "refined"),
    [
        *((verb, [], True) for verb in ("refocus", "blur", "stack")),
        *((verb, ["--no-refine"], False) for verb in ("refocus", "blur", "stack")),
        *((verb, ["--depth"], False) for verb in ("refocus", "blur", "stack")),
        *((verb, ["--depth", "--refine"], True) for verb in ("refocus", "blur", "stack")),
        *((verb, ["--method", "paper"], False) for verb in ("refocus", "blur")),
        *((verb, ["--method", "paper", "--refine"], True) for verb in ("refocus", "blur")),
    ],
)
def test_estimated_depth_is_refined(verb, options, refined, run, plain, ramp, monkeypatch):
    calls = listen(monkeypatch, "refine_depth")
    depth = fr.DepthMap(fr.read_photo(ramp).pixels, "relative")
    monkeypatch.setattr(fr, "estimate_depth", lambda *_, **__: depth)
    given = [part for option in options for part in ([option, ramp] if option == "--depth" else [option])]
    if verb == "refocus":
        given.append("--no-deblur")
    if verb != "stack" and ("paper" not in options or verb == "refocus"):
        given += ["--focus", "0.5"]
    assert run(verb, plain, *given, "--threads", "1", out="out" if verb == "stack" else "out.png")[0] == 0
    assert [call["threads"] for call in calls] == ([1] if refined else [])


# Focus


@pytest.mark.parametrize(
    ("options", "focus"),
    [
        (["0.2,0.9"], (0.2, 0.9)),
        (["0.2,0.9", "0.8,0.1"], [(0.2, 0.9), (0.8, 0.1)]),
        (["0.25"], 0.25),
        (["0.25:0.5"], fr.FocusBand(0.25, 0.5)),
    ],
)
def test_focus(options, focus, run, plain, ramp, monkeypatch):
    calls = listen(monkeypatch, "coc_from_depth")
    wanted = [part for option in options for part in ("--focus", option)]
    assert run("blur", plain, "--depth", ramp, *wanted)[0] == 0
    assert calls[0]["args"][1] == focus
    assert calls[0]["mapping"] == "disparity"


def test_focus_in_metres_may_be_infinite(run, photo, metres, monkeypatch):
    calls = listen(monkeypatch, "coc_from_depth")
    options = ["--depth", metres, "--depth-kind", "metric", "--focus"]
    assert run("blur", photo, *options, "inf")[0] == 0
    assert run("blur", photo, *options, "2:inf", "--force")[0] == 0
    assert [call["args"][1] for call in calls] == [math.inf, fr.FocusBand(2, math.inf)]


# The lens


def test_lens_and_focus_by_exif(run, photo, metres, monkeypatch):
    calls = listen(monkeypatch, "coc_from_depth")
    code, said, report = run("blur", photo, "--depth", metres, "--depth-kind", "metric")
    assert code == 0
    assert said == (
        f"fastrefocus blur: {photo}: from its EXIF: focal length 30 mm, f-number 1.8, sensor width 23.08 mm\n"
        f"fastrefocus blur: {photo}: from its EXIF: focus on the subject, 2 m away\n"
    )
    assert report["lens"] == {
        "focal_length_mm": {"value": 30, "source": "exif"},
        "f_number": {"value": 1.8, "source": "exif"},
        "sensor_width_mm": {"value": pytest.approx(SENSOR_WIDTH, abs=1e-4), "source": "exif"},
        "focus_distance_m": {"value": 2, "source": "exif"},
    }
    assert calls[0]["args"][1] == 2
    lens = calls[0]["lens"]
    assert (lens.focal_length_mm, lens.f_number) == (30, 1.8)
    assert lens.sensor_width_mm == pytest.approx(SENSOR_WIDTH, rel=1e-5)


def test_lens_by_options(run, photo, plain, metres, monkeypatch):
    calls = listen(monkeypatch, "coc_from_depth")
    depth = ["--depth", metres, "--depth-kind", "metric", "--focus", "2"]
    code, said, report = run("blur", photo, *depth, "--f-number", "4", "--sensor-width", "20")
    assert code == 0
    assert said == f"fastrefocus blur: {photo}: from its EXIF: focal length 30 mm\n"
    assert {name: fact["source"] for name, fact in report["lens"].items()} == {
        "focal_length_mm": "exif",
        "f_number": "option",
        "sensor_width_mm": "option",
    }
    options = ["--f-number", "4", "--sensor-width", "20", "--focal-length", "30", "--force"]
    assert run("blur", plain, *depth, *options)[:2] == (0, "")
    assert calls[0]["lens"] == calls[1]["lens"] == fr.ThinLens(30, 4, math.inf, 20)


def test_largest_blur_takes_the_place_of_the_lens(run, photo, metres, monkeypatch):
    calls = listen(monkeypatch, "coc_from_depth")
    code, said, report = run("blur", photo, "--depth", metres, "--depth-kind", "metric", "--max-blur", "3")
    assert code == 0
    assert "lens" not in calls[0]
    assert calls[0]["max_radius"] == 3
    assert said.count("\n") == 1  # about the focus
    assert report["lens"] == {"focus_distance_m": {"value": 2, "source": "exif"}}


def test_refocus_has_the_blur_of_the_lens(run, photo, metres, monkeypatch):
    calls = listen(monkeypatch, "render_defocus")
    results = []
    refocus = fr.refocus
    monkeypatch.setattr(fr, "refocus", lambda *a, **k: [results.append(refocus(*a, **k)), results[-1]][1])
    options = ["--depth", metres, "--depth-kind", "metric"]
    assert run("blur", photo, *options)[0] == 0
    code, _, report = run("refocus", photo, *options, "--no-deblur", "--force")
    assert code == 0
    assert set(report["lens"]) == {"focal_length_mm", "f_number", "sensor_width_mm", "focus_distance_m"}
    radius = calls[0]["args"][1]
    lens = fr.ThinLens(30, 1.8, 2.0, SENSOR_WIDTH)
    known = ~np.isnan(DEPTH)
    np.testing.assert_allclose(radius[known], lens.coc_radius(DEPTH, 80)[known], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(results[0].coc, radius, rtol=1e-5, atol=1e-6)


def test_a_subject_at_infinity(run, metres, tmp_path):
    source = write_photo(tmp_path / "far.tif", {**FACTS, DISTANCE: IFDRational(0xFFFFFFFF, 1)})
    code, _, report = run("blur", source, "--depth", metres, "--depth-kind", "metric")
    assert code == 0
    assert report["lens"]["focus_distance_m"] == {"value": "infinity", "source": "exif"}


@pytest.mark.parametrize(
    ("absent", "options", "message"),
    [
        ([DISTANCE], [], "does not give the subject's distance: give --focus"),
        ([F_NUMBER], [], "does not give the whole lens: give --f-number, or --max-blur"),
        ([FOCAL_LENGTH_35MM], [], "give --sensor-width, or"),
        ([FOCAL_LENGTH], ["--f-number", "2"], "give --focal-length, or"),
        (list(FACTS), ["--focus", "2"], "give --focal-length, --f-number, --sensor-width, or --max-blur"),
    ],
)
@pytest.mark.parametrize("verb", ["refocus", "blur"])
def test_facts_that_are_missing(verb, absent, options, message, run, metres, tmp_path, monkeypatch):
    source = write_photo(tmp_path / "some.png", {tag: FACTS[tag] for tag in FACTS if tag not in absent})
    code, said, _ = run(verb, source, "--depth", metres, "--depth-kind", "metric", *options)
    assert code == 1
    assert message in said


def test_a_lens_with_too_much_blur(run, photo, metres):
    depth = ["--depth", metres, "--depth-kind", "metric", "--depth-unit", "0.00006"]
    code, said, _ = run("blur", photo, *depth, "--focus", "0.2", "--sensor-width", "0.1")
    assert code == 1
    assert "more than 1000" in said
    assert "--max-blur" in said


# The focus sweep


def test_stack_is_a_focus_sweep(run, plain, metres, tmp_path, monkeypatch):
    calls = listen(monkeypatch, "render_focus_sweep")
    options = ["--depth", metres, "--depth-kind", "metric", "--max-blur", "3", "--steps", "4"]
    code, said, report = run("stack", plain, *options, out="frames")
    assert (code, said) == (0, "")
    names = [f"plain_{step:02}.png" for step in range(4)]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == names
    assert report["output"] == str(tmp_path / "frames")
    assert report["files"] == [str(tmp_path / "frames" / name) for name in names]
    assert set(report["seconds"]) == {"depth", "blur"}
    near, far = 1 / np.nanpercentile(DEPTH, [2, 98])
    np.testing.assert_allclose(report["focus"], 1 / np.linspace(near, far, 4), rtol=1e-2)
    sharp = fr.read_photo(plain)
    depth = fr.DepthMap(np.rint(1000 * DEPTH) / 1000, "metric")
    gain = 3 / (1 - 1 / report["focus"][-1])  # the largest radius is at 1 m in the last frame
    _, radius, offsets = calls[0]["args"]
    frames = fr.render_focus_sweep(sharp.pixels, radius, offsets)
    for focus, offset, expected, name in zip(report["focus"], offsets, frames, names, strict=True):
        np.testing.assert_allclose(radius + offset, fr.coc_from_depth(depth, focus, gain=gain), atol=1e-3)
        frame = fr.read_photo(tmp_path / "frames" / name)
        assert frame.bit_depth == 16
        np.testing.assert_allclose(frame.pixels, np.clip(expected, 0, 1), atol=0.51 / 65535)


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_largest_blur_is_that_of_all_frames(kind, run, plain, ramp, monkeypatch):
    calls = listen(monkeypatch, "render_focus_sweep")
    options = ["--depth", ramp, "--depth-kind", kind, "--max-blur", "5", "--aperture", "6", "--quality", "fast"]
    code, _, report = run("stack", plain, *options, "--threads", "1", out="frames")
    assert code == 0
    assert len(report["files"]) == 9
    (call,) = calls
    _, radius, offsets = call["args"]
    frames = np.add.outer(offsets, radius)
    assert np.abs(frames).max() == pytest.approx(5)
    assert (call["quality"], call["threads"]) == ("fast", 1)
    ends = (0.02, 0.98) if kind == "relative" else (0.98, 0.02)
    np.testing.assert_allclose(report["focus"], np.linspace(*ends, 9), atol=0.02)
    nearest, farthest = np.abs(frames[[0, -1]]).mean(axis=1).argmin(axis=1)  # the columns in focus
    assert (nearest < 10 and farthest > 70) if kind == "relative" else (nearest > 70 and farthest < 10)


def test_stack_by_the_lens(run, photo, metres, monkeypatch):
    calls = listen(monkeypatch, "render_focus_sweep")
    options = ["--depth", metres, "--depth-kind", "metric", "--steps", "3"]
    code, said, report = run("stack", photo, *options, out="frames")
    assert code == 0
    assert said.count("from its EXIF") == 1
    assert set(report["lens"]) == {"focal_length_mm", "f_number", "sensor_width_mm"}
    _, radius, offsets = calls[0]["args"]
    known = ~np.isnan(DEPTH)
    for focus, offset, tolerance in zip(report["focus"], offsets, (0.03, 0.002, 0.03), strict=True):
        expected = fr.ThinLens(30, 1.8, focus, SENSOR_WIDTH).coc_radius(
            DEPTH, 80
        )  # the middle one's gain is that of all
        np.testing.assert_allclose((radius + offset)[known], expected[known], rtol=tolerance, atol=0.005)


def test_a_stack_of_flat_depth_is_the_photo(run, plain, tmp_path):
    flat = write_grey(tmp_path / "flat.png", np.full((60, 80), 0.5))
    assert run("stack", plain, "--depth", flat, "--steps", "2", out="frames")[0] == 0
    for name in ("plain_00.png", "plain_01.png"):
        np.testing.assert_array_equal(result_of(tmp_path / "frames", name), result_of(tmp_path, "plain.png"))


def test_stack_of_several_photos(photo, plain, ramp, tmp_path, capsys):
    folder = tmp_path / "new" / "frames"
    command = ["stack", str(photo), "sample:nobody", str(plain), str(folder), "--steps", "101", "--depth", str(ramp)]
    assert cli.main([*command, "--json", "--max-blur", "0.4"]) == 1
    captured = capsys.readouterr()
    assert "no sample photo" in captured.err
    reports = [json.loads(line) for line in captured.out.splitlines()]
    assert [report["input"] for report in reports] == [str(photo), str(plain)]
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{stem}_{step:03}.png" for stem in ("photo", "plain") for step in range(101)}


def test_stack_checks_all_files_first(run, plain, ramp, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "plain_02.png").write_bytes(b"keep me")
    options = ["--depth", ramp, "--steps", "3"]
    code, said, _ = run("stack", plain, *options, out="frames")
    assert code == 1
    assert re.search(r"plain_02\.png exists; --force", said)
    assert [path.name for path in folder.iterdir()] == ["plain_02.png"]
    assert (folder / "plain_02.png").read_bytes() == b"keep me"
    assert run("stack", plain, *options, "--force", out="frames")[0] == 0
    assert fr.read_photo(folder / "plain_02.png").pixels.shape == (60, 80, 3)


def test_stack_is_put_into_a_folder(run, plain, capsys, tmp_path):
    code, said, _ = run("stack", plain, out="plain.png")
    assert code == 2
    assert "is not a folder, and stack writes several files" in said
    assert cli.main(["stack", "a.jpg", "other/a.png", str(tmp_path / "frames")]) == 2
    assert "same file name" in capsys.readouterr().err


def test_interrupted_stack_keeps_what_is_whole(run, plain, ramp, tmp_path, monkeypatch):
    write, written = fr.write_photo, []

    def interrupt(target, *args, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(target)
        write(target, *args, **options)

    monkeypatch.setattr(fr, "write_photo", interrupt)
    code, said, report = run("stack", plain, "--depth", ramp, "--steps", "5", out="frames")
    assert (code, report) == (1, None)
    assert said.endswith("plain_02.png to plain_04.png were not written\n")
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["plain_00.png", "plain_01.png"]
    for target in written:
        assert fr.read_photo(target).pixels.shape == (60, 80, 3)
