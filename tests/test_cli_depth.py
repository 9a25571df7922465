"""The command line's depth: files of every format written and read, and distances."""

import json

import numpy as np
import pytest
import tiny_models
from onnx import helper
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import fastrefocus as fr
from fastrefocus import cli

SUFFIXES = [".png", ".tif", ".tiff", ".npy", ".pfm", ".jpg", ".JPEG"]
RAMP = fr.DepthMap(np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1)), "relative")
METRES = 1 / np.tile(np.linspace(1.0, 0.1, 80), (60, 1))  # what the ramp is in a scene of 1 to 10 m
POINTS = ["0.01,0.5=1", "0.5,0.2=1.82", "0.99,0.5=10"]


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command of one photo; return the exit code, what was said, and what --json reported."""

    def command(verb, source, out, *options):
        try:
            code = cli.main([verb, str(source), str(tmp_path / out), "--json", *map(str, options)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.err, json.loads(captured.out) if captured.out else None

    return command


@pytest.fixture
def jpeg(tmp_path):
    """A JPEG photo, (60, 80, 3), whose EXIF gives the lens and the subject's distance, 1 m."""
    block = Image.Exif()
    block.get_ifd(34665).update({37382: IFDRational(1), 37386: IFDRational(50), 33437: IFDRational(2), 41989: 50})
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=block.tobytes(), quality=95)
    return tmp_path / "photo.jpg"


@pytest.fixture
def ramp(tmp_path):
    fr.write_depth(tmp_path / "ramp.png", RAMP)
    return tmp_path / "ramp.png"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_written_and_read(suffix, run, jpeg, tmp_path, monkeypatch):
    monkeypatch.setattr(fr, "estimate_depth", lambda *_, **__: RAMP)
    expected = fr.postprocess_depth(RAMP).values
    code, said, report = run("depth", jpeg, f"depth{suffix}")
    kind = {"kind": "relative"} if suffix in (".npy", ".pfm") else {}
    no_place = "cannot hold the kind of its depth: give --depth-kind relative with it"
    note = f"fastrefocus depth: {jpeg}: {tmp_path / f'depth{suffix}'} {no_place}\n" if kind else ""
    assert (code, said, report["kind"]) == (0, note, "relative")
    back = fr.read_depth(tmp_path / f"depth{suffix}", **kind)
    np.testing.assert_allclose(back.values, expected, atol=1 / 65535)
    option = ["--depth-kind", "relative"] if kind else []
    seen = []
    render = fr.render_defocus
    monkeypatch.setattr(
        fr, "render_defocus", lambda *args, **options: [seen.append(args[1]), render(*args, **options)][1]
    )
    wanted = ["--focus", "0.5", "--max-blur", "4"]
    assert run("blur", jpeg, "out.png", "--depth", tmp_path / f"depth{suffix}", *option, *wanted)[0] == 0
    radius = fr.coc_from_depth(fr.DepthMap(expected, "relative"), 0.5, max_radius=4, mapping="disparity")
    np.testing.assert_allclose(seen[0], radius, atol=1e-3)


def test_a_jpeg_photo_stays_as_it_is_but_for_its_depth(run, jpeg, tmp_path):
    assert run("depth", jpeg, "copy.jpg")[0] == 0
    before, after = fr.read_photo(jpeg), fr.read_photo(tmp_path / "copy.jpg")
    np.testing.assert_array_equal(before.pixels, after.pixels)
    assert before.exif == after.exif
    assert run("depth", jpeg, "photo.jpg", "--force")[0] == 0  # in place
    assert fr.read_depth(jpeg).kind == "relative"


def test_photos_of_other_formats_become_jpegs(run, jpeg, tmp_path):
    fr.write_photo(tmp_path / "photo.png", fr.read_photo(jpeg).pixels)
    assert run("depth", tmp_path / "photo.png", "from_png.jpg")[0] == 0
    assert run("depth", "sample:camera", "from_sample.jpg")[0] == 0
    assert fr.read_photo(tmp_path / "from_png.jpg").pixels.shape == (60, 80, 3)
    assert fr.read_depth(tmp_path / "from_sample.jpg").values.shape == (512, 512)


def test_depth_is_converted(run, jpeg, ramp, tmp_path):
    assert run("depth", jpeg, "depth.jpg", "--depth", ramp)[0] == 0
    assert run("depth", tmp_path / "depth.jpg", "depth.npy", "--depth", tmp_path / "depth.jpg")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "depth.npy"), RAMP.values, atol=1 / 65535)


def test_the_kind_is_the_files_own(run, jpeg, tmp_path):
    fr.write_depth(tmp_path / "metres.tif", fr.DepthMap(METRES, "metric"))
    code, said, report = run("blur", jpeg, "out.png", "--depth", tmp_path / "metres.tif")
    assert code == 0  # by the lens and the distance of the EXIF: it is in metres
    assert "focus on the subject, 1 m away" in said
    assert report["lens"]["f_number"] == {"value": 2, "source": "exif"}
    code, said, _ = run("blur", jpeg, "out2.png", "--depth", tmp_path / "metres.tif", "--depth-range", "1,2")
    assert (code, said) == (2, "fastrefocus blur: --depth-range is for relative depth, and that of --depth is metric\n")
    code, said, _ = run("blur", jpeg, "out2.png", "--depth", tmp_path / "metres.tif", "--depth-kind", "inverse")
    assert code == 1
    assert "says that its depth is metric, and kind is 'inverse'" in said


def test_numbers_that_nothing_is_said_about_are_asked_for(run, jpeg, tmp_path):
    np.save(tmp_path / "depth.npy", METRES)
    for verb, options in (("blur", ["--focus", "0.5"]), ("depth", []), ("deblur", [])):
        code, said, _ = run(verb, jpeg, "out.png", "--depth", tmp_path / "depth.npy", *options)
        assert code == 1
        assert said.startswith(
            f"fastrefocus {verb}: --depth {tmp_path / 'depth.npy'} does not say what its values mean: give --depth-kind"
        )
    assert run("depth", jpeg, "out.png", "--depth", tmp_path / "depth.npy", "--depth-kind", "metric")[0] == 0
    np.testing.assert_allclose(fr.read_depth(tmp_path / "out.png").values, METRES, atol=9 / 65535)


def test_wrong_depth_files_are_told_in_the_options_own_words(run, jpeg, ramp, tmp_path):
    for verb in ("depth", "deblur"):
        code, said, _ = run(verb, jpeg, "out.png", "--depth", tmp_path / "none.png")
        assert (code, said) == (1, f"fastrefocus {verb}: --depth {tmp_path / 'none.png'}: there is no such file\n")
    code, said, _ = run("depth", jpeg, "out.png", "--depth", ramp, "--zero-unknown")
    assert code == 1
    assert "says what its values mean: no --depth-unit or --zero-unknown" in said


def test_a_smaller_map_is_brought_to_the_photos_size_and_refined(run, jpeg, tmp_path, monkeypatch):
    small = np.repeat([[0.2] * 10 + [0.9] * 10], 15, axis=0)
    fr.write_depth(tmp_path / "small.png", fr.DepthMap(small, "relative"))
    seen, refine = [], fr.refine_depth
    monkeypatch.setattr(
        fr, "refine_depth", lambda *args, **options: [seen.append(args[0]), refine(*args, **options)][1]
    )
    options = ["--depth", tmp_path / "small.png", "--focus", "0.5"]
    assert run("blur", jpeg, "out.png", *options)[0] == 0
    assert seen[0].values.shape == (60, 80)
    assert run("blur", jpeg, "out2.png", *options, "--no-refine")[0] == 0
    paper = ["--depth", tmp_path / "small.png", "--method", "paper"]
    assert run("blur", jpeg, "out3.png", *paper)[0] == 0
    assert len(seen) == 1


def test_deblur_takes_depth_of_any_kind(run, jpeg, tmp_path, monkeypatch):
    depth = fr.DepthMap(METRES[::2, ::2], "metric")
    fr.write_depth(tmp_path / "depth.pfm", depth)
    seen = []

    def deblur(pixels, **options):
        seen.append(options["depth"])
        raise fr.PhotoError("that is enough")

    monkeypatch.setattr(fr, "deblur", deblur)
    run("deblur", jpeg, "out.png", "--depth", tmp_path / "depth.pfm", "--depth-kind", "metric")
    assert seen[0].kind == "metric"
    assert seen[0].values.shape == (60, 80)


# Distances


def test_distances_give_metres(run, jpeg, ramp, tmp_path):
    options = [part for point in POINTS for part in ("--distance", point)]
    code, said, report = run("depth", jpeg, "metres.png", "--depth", ramp, *options)
    assert code == 0
    assert said.startswith(f"fastrefocus depth: {jpeg}: in metres; off at the points by ")
    assert said.count(" m") == 4
    depth = fr.read_depth(tmp_path / "metres.png")
    assert depth.kind == "metric"
    np.testing.assert_allclose(1 / depth.values, 1 / METRES, atol=0.01)
    assert report["kind"] == "metric"
    assert report["calibration"]["gain"] == pytest.approx(0.9, abs=0.01)
    assert report["calibration"]["shift"] == pytest.approx(0.1, abs=0.01)
    assert len(report["calibration"]["residuals_m"]) == 3


def test_the_exif_knows_one_distance(run, jpeg, ramp, tmp_path):
    options = ["--depth", ramp, "--distance", "0.01,0.5=exif"]
    code, said, _ = run("depth", jpeg, "two.png", *options, "--distance", "0.99,0.5=10")
    assert code == 0
    assert "from its EXIF: the subject is 1 m away" in said
    assert run("depth", jpeg, "shift.png", *options, "--shift", "0.1")[0] == 0
    for name in ("two.png", "shift.png"):
        np.testing.assert_allclose(1 / fr.read_depth(tmp_path / name).values, 1 / METRES, atol=0.01)
    code, said, _ = run("depth", jpeg, "one.png", *options)
    assert code == 2
    assert "one --distance says nothing about what is nearer or farther: give a second one, or --shift" in said
    fr.write_photo(tmp_path / "plain.png", fr.read_photo(jpeg).pixels)
    code, said, _ = run("depth", tmp_path / "plain.png", "one.png", *options, "--shift", "0")
    assert code == 1
    assert "EXIF does not give the subject's distance: give --distance X,Y=METRES" in said


def test_the_models_own_depth_is_calibrated_and_not_what_was_smoothed_for_paper_a(run, jpeg, tmp_path, monkeypatch):
    metres = METRES.copy()
    metres[:5, :5] = 0.3  # so few pixels that the post-processing takes them for noise
    monkeypatch.setattr(fr, "estimate_depth", lambda *_, **__: fr.DepthMap(3 + 5 / metres, "inverse"))
    assert run("depth", jpeg, "metres.npy", "--distance", POINTS[0], "--distance", POINTS[2])[0] == 0
    np.testing.assert_allclose(1 / np.load(tmp_path / "metres.npy"), 1 / metres, atol=0.05)


def test_infinity_is_told_in_words(run, ramp, tmp_path):
    block = Image.Exif()
    block.get_ifd(34665).update({37382: IFDRational(0xFFFFFFFF, 1), 37386: IFDRational(50), 33437: IFDRational(2)})
    path = tmp_path / "far.jpg"
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(path, exif=block.tobytes())
    options = ["--depth", ramp, "--distance", "0.99,0.5=exif", "--distance", "0.01,0.5=2"]
    code, said, _ = run("depth", path, "metres.png", *options)
    assert code == 0
    assert "from its EXIF: the subject is infinitely far away" in said
    code, said, _ = run("blur", path, "out.png", "--depth", ramp, "--depth-range", "1,inf", "--max-blur", "4")
    assert code == 0
    assert "focus on the subject, infinitely far away" in said


# The kind that a model gives


@pytest.fixture
def model(tmp_path):
    """Return a function that makes a network whose answer is 1 + the photo's mean colour, for a card."""

    def make(card):
        one = tiny_models.constant("one", np.float32(1))
        nodes = [
            helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
            helper.make_node("Add", ["grey", "one"], ["depth"]),
        ]
        (tmp_path / "model.onnx").write_bytes(tiny_models.make_model(nodes, [one]))
        return f"{card}:{tmp_path / 'model.onnx'}"

    return make


@pytest.mark.parametrize(("card", "kind"), [("fastdepth", "metric"), ("lite-mono", "inverse"), ("plain", "relative")])
def test_depth_has_the_kind_that_the_model_gives(card, kind, run, jpeg, model, tmp_path):
    code, said, report = run("depth", jpeg, "depth.png", "--model", model(card))
    assert (code, said, report["kind"]) == (0, "", kind)
    expected = fr.estimate_depth(fr.read_photo(jpeg), model=model(card))
    if kind == "relative":
        expected = fr.postprocess_depth(expected)
    written = fr.read_depth(tmp_path / "depth.png")
    assert written.kind == kind
    np.testing.assert_allclose(written.values, expected.values, atol=np.ptp(expected.values) / 65535)
    assert run("depth", jpeg, "depth.npy", "--model", model(card))[1].endswith(f"give --depth-kind {kind} with it\n")


@pytest.mark.parametrize("verb", ["refocus", "blur", "stack"])
def test_metres_by_a_model_have_the_blur_of_the_lens(verb, run, jpeg, model):
    deblur = ["--no-deblur"] if verb == "refocus" else []
    options = ["--f-number", "1.4", *deblur]
    code, _, report = run(verb, jpeg, "out.png", "--model", model("fastdepth"), *options)
    assert code == 0
    assert report["lens"]["f_number"] == {"value": 1.4, "source": "option"}
    focus = [] if verb == "stack" else ["--focus", "0.5,0.5"]
    code, said, _ = run(verb, jpeg, "out2.png", "--model", model("lite-mono"), *options, *focus)
    assert code == 2
    assert "--f-number is of use with depth in metres only" in said
    code, said, _ = run(verb, jpeg, "out2.png", "--model", model("fastdepth"), "--depth-range", "1,9", *deblur)
    assert (code, said) == (
        2,
        f"fastrefocus {verb}: --depth-range is for relative or inverse depth, and that of --model is metric\n",
    )


def test_a_range_makes_metres_of_a_models_inverse_depth(run, jpeg, model, monkeypatch):
    seen, coc_from_depth = [], fr.coc_from_depth
    monkeypatch.setattr(
        fr,
        "coc_from_depth",
        lambda depth, *args, **options: [seen.append(depth), coc_from_depth(depth, *args, **options)][1],
    )
    options = ["--model", model("lite-mono"), "--no-refine", "--focus", "2"]
    assert run("blur", jpeg, "out.png", *options, "--depth-range", "1,9")[0] == 0
    assert seen[0].kind == "metric"
    assert (seen[0].values.min(), seen[0].values.max()) == pytest.approx((1, 9))
    assert run("blur", jpeg, "out2.png", *options[:-1], "1.5", "--max-blur", "4")[0] == 0
    assert seen[1].kind == "inverse"


def test_paper_as_blur_takes_a_models_depth_as_paper_a_does(run, jpeg, model, monkeypatch):
    seen, blur_by_depth = [], fr.blur_by_depth
    monkeypatch.setattr(
        fr,
        "blur_by_depth",
        lambda image, depth, **options: [seen.append(depth), blur_by_depth(image, depth, **options)][1],
    )
    assert run("blur", jpeg, "out.png", "--model", model("lite-mono"), "--method", "paper")[0] == 0
    expected = fr.postprocess_depth(fr.estimate_depth(fr.read_photo(jpeg), model=model("lite-mono")))
    np.testing.assert_array_equal(seen[0].values, expected.relative().values)


def test_metres_by_a_model_stay_metres(run, jpeg, tmp_path, monkeypatch):
    monkeypatch.setattr(fr, "estimate_depth", lambda *_, **__: fr.DepthMap(METRES, "metric"))
    assert run("depth", jpeg, "metres.png")[2]["kind"] == "metric"
    np.testing.assert_allclose(fr.read_depth(tmp_path / "metres.png").values, METRES, atol=9 / 65535)


@pytest.mark.parametrize(
    "wrong", ["0.5,0.5", "0.5=2", "0.5,0.5=0", "0.5,0.5=-1", "0.5,0.5=nan", "0.5,2=1", "0.5,0.5=x", "1:2=3"]
)
def test_distances_that_cannot_be_read(wrong, run, jpeg):
    code, said, _ = run("depth", jpeg, "out.png", "--distance", wrong, "--distance", "0.1,0.1=inf")
    assert code == 2
    assert "--distance" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shift", "0"], "--shift is about --distance, and needs it"),
        (["--depth-kind", "metric"], "--depth-kind is about a file of the depth, and needs --depth"),
        (["--depth", "d.png", "--depth-unit", "1"], "--depth-unit is for --depth-kind metric"),
    ],
)
def test_options_that_do_not_fit_together(options, message, run):
    code, said, _ = run("depth", "missing.png", "out.png", *options)
    assert (code, said) == (2, f"fastrefocus depth: {message}\n")


def test_what_gdepth_cannot_hold_is_told(run, jpeg, tmp_path):
    fr.write_depth(tmp_path / "holed.tif", fr.DepthMap(np.where(METRES > 5, np.nan, METRES), "metric"))
    code, said, _ = run("depth", jpeg, "out.jpg", "--depth", tmp_path / "holed.tif")
    assert code == 1
    assert "GDepth has no sign for unknown depth" in said
    assert not (tmp_path / "out.jpg").exists()
