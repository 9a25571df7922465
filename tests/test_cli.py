"""The command line, as a user calls it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

import fastrefocus as fr
from fastrefocus import cli
from fastrefocus.cli import inputs

PHOTO_VERBS = {  # the verbs that change a photo, with the options that make them quick
    "refocus": ["--focus", "0.5", "--no-deblur"],
    "blur": ["--focus", "0.5"],
    "deblur": ["--sigmas", "1", "--lam", "0.01"],
    "repair": ["--from", "sample:coffee"],
}
VERBS = {**PHOTO_VERBS, "depth": []}


@pytest.fixture
def picture(tmp_path):
    """A small photo file, (60, 80, 3)."""
    path = tmp_path / "in.png"
    image = np.random.default_rng(0).random((60, 80, 3), np.float32)
    fr.write_photo(path, image)
    return path


@pytest.fixture
def ramp(tmp_path):
    """A file of 16-bit depth, (60, 80), that grows from left to right."""
    path = tmp_path / "ramp.png"
    values = np.repeat([np.linspace(0, 1, 80, dtype=np.float32)], 60, axis=0)
    fr.write_photo(path, values, like=fr.Photo(values, bit_depth=16))
    return path


def listen(monkeypatch, name, function=None):
    """Return the list of the keyword arguments with which a public function is called from now on."""
    calls = []
    function = function or getattr(fr, name)
    monkeypatch.setattr(fr, name, lambda *args, **options: [calls.append(options), function(*args, **options)][1])
    return calls


def run_program(*arguments, **options):
    command = [sys.executable, "-m", "fastrefocus", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_module_is_the_program(picture, tmp_path):
    result = run_program("refocus", picture, tmp_path / "out.png", "--focus", "0.5,0.5", "--no-deblur")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")  # silent in a pipe
    assert fr.read_photo(tmp_path / "out.png").pixels.shape == (60, 80, 3)


def test_refocus_is_the_public_function(picture, tmp_path):
    target = tmp_path / "out.png"
    assert cli.main(["refocus", str(picture), str(target), "--focus", "0.2,0.9", "--max-blur", "3", "--no-deblur"]) == 0
    expected = fr.refocus(fr.read_photo(picture).pixels, focus=(0.2, 0.9), max_blur_px=3, deblur=False).image
    np.testing.assert_allclose(fr.read_photo(target).pixels, np.clip(expected, 0, 1), atol=0.51 / 255)


@pytest.fixture
def pair(tmp_path):
    """Files of a photo blurred by a disk of 5 px inside a mask, of the sharp one, and of the mask; (44, 60, 3)."""
    sharp = skimage.data.chelsea()[100:144, 150:210] / np.float32(255)
    mask = np.zeros(sharp.shape[:2], np.float32)
    mask[4:40, 10:50] = 1
    library = fr.PatchLibrary(sharp, fr.disk_psf(5))
    blurred = np.where(mask[..., np.newaxis] > 0, library._sources[0].blurred / np.float32(255), sharp)
    for name, pixels in {"defocused": blurred, "focused": sharp, "mask": mask}.items():
        fr.write_photo(tmp_path / f"{name}.png", pixels)
    return tmp_path / "defocused.png", tmp_path / "focused.png", tmp_path / "mask.png"


def test_synthesize_is_the_public_function(pair, tmp_path, capsys):
    defocused, focused, mask = map(str, pair)
    out = tmp_path / "out.png"
    command = [
        "synthesize",
        defocused,
        str(out),
        "--focused",
        focused,
        "--mask",
        mask,
        "--focused-mask",
        mask,
        "--json",
    ]
    assert cli.main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["psf"] == "disk:5"
    assert report["patches"] == 32 * 36
    inside = fr.read_photo(mask).pixels > 0.5
    assert report["pixels"] == inside.sum()
    library = fr.PatchLibrary(fr.read_photo(focused).pixels, fr.disk_psf(5), masks=inside)
    expected = fr.synthesize(fr.read_photo(defocused).pixels, library, mask=inside).image
    np.testing.assert_allclose(fr.read_photo(out).pixels, expected, atol=0.5 / 255)


def test_synthesize_gets_its_options(pair, tmp_path, monkeypatch):
    defocused, focused, mask = map(str, pair)
    calls, libraries = listen(monkeypatch, "synthesize"), []
    build = fr.PatchLibrary
    monkeypatch.setattr(fr, "PatchLibrary", lambda *a, **k: [libraries.append((a, k)), build(*a, **k)][1])
    monkeypatch.setattr("fastrefocus.synthesis.synthesize.PatchLibrary", build)
    options = ["--psf", "gaussian:1.5", "--patch-size", "3", "--encoded", "--candidates", "7", "--order", "random"]
    options += ["--neighbourhood", "causal", "--texture-weight", "2.5", "--passes", "1", "--search", "faiss-flat"]
    command = ["synthesize", defocused, str(tmp_path / "out.png"), "--focused", focused, focused, *options]
    assert cli.main([*command, "--focused-mask", mask, mask, "--threads", "1"]) == 0
    call = calls[0]
    assert (call["candidates"], call["order"], call["neighbourhood"]) == (7, "random", "causal")
    assert (call["texture"], call["texture_weight"], call["passes"]) == (True, 2.5, 1)
    assert (call["search"], call["threads"], call["mask"]) == ("faiss-flat", 1, None)
    (photos, psf), keywords = libraries[0]
    assert len(photos) == len(keywords["masks"]) == 2
    np.testing.assert_array_equal(psf, fr.gaussian_psf(1.5))
    assert (keywords["patch_size"], keywords["linearize"]) == (3, False)
    command = ["synthesize", defocused, str(tmp_path / "out.png"), "--focused", focused, "--psf", "disk:3"]
    assert cli.main([*command, "--no-texture", "--force"]) == 0
    assert calls[1]["texture"] is False


def test_psf_is_not_fitted_to_photos_of_different_shapes(pair, picture, tmp_path, capsys):
    command = ["synthesize", str(pair[0]), str(tmp_path / "out.png"), "--focused", str(picture)]
    assert cli.main(command) == 1
    assert "--psf fit compares photos of the same view and shape" in capsys.readouterr().err
    assert cli.main([*command, "--psf", "disk:3"]) == 0


def test_depth_writes_16_bits(picture, tmp_path):
    assert cli.main(["depth", str(picture), str(tmp_path / "depth.png")]) == 0
    photo = fr.read_photo(tmp_path / "depth.png")
    assert photo.bit_depth == 16
    assert photo.pixels.shape == (60, 80)
    expected = fr.postprocess_depth(fr.estimate_depth(fr.read_photo(picture).pixels)).values
    np.testing.assert_allclose(photo.pixels, expected, atol=0.51 / 65535)


def test_depth_can_be_given_as_a_picture(picture, ramp, tmp_path):
    options = ["--depth", str(ramp), "--focus", "0", "--no-deblur", "--max-blur", "5"]
    assert cli.main(["refocus", str(picture), str(tmp_path / "far.png"), *options]) == 0
    assert cli.main(["refocus", str(picture), str(tmp_path / "near.png"), "--depth-kind", "inverse", *options]) == 0
    far, near = (fr.read_photo(tmp_path / name).pixels for name in ("far.png", "near.png"))
    assert far[:, :20].std() > far[:, -20:].std()  # white is farthest: the left is in focus
    assert near[:, :20].std() > near[:, -20:].std()  # white is nearest, and 0 is farthest: the left again


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"sigmas": (2, 3, 5, 8), "thresholds": (0.8, 0.83, 0.86, 0.97)}),
        (["--side", "near"], {"sigmas": (2, 3, 5, 8), "thresholds": (0.2, 0.17, 0.14, 0.03), "side": "near"}),
        (
            ["--side", "near", "--sigmas", "1,4", "--thresholds", "0.9,0.5"],
            {"sigmas": (1, 4), "thresholds": (0.9, 0.5), "side": "near"},
        ),
    ],
)
def test_paper_blur_is_paper_a(picture, ramp, tmp_path, options, expected):
    command = ["blur", str(picture), str(tmp_path / "out.png"), "--method", "paper", "--depth", str(ramp), *options]
    assert cli.main(command) == 0
    wanted = fr.blur_by_depth(fr.read_photo(picture).pixels, fr.read_photo(ramp).pixels, **expected)
    np.testing.assert_allclose(fr.read_photo(tmp_path / "out.png").pixels, wanted, atol=0.51 / 255)


@pytest.mark.parametrize("verb", PHOTO_VERBS)
def test_all_that_a_photo_holds_is_kept(verb, tmp_path):
    rng = np.random.default_rng(0)
    pixels, alpha = rng.random((60, 80, 3), np.float32), rng.integers(0, 65536, (60, 80)) / np.float32(65535)
    block = Image.Exif()
    block[0x10F] = "Makers"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = fr.Photo(pixels, alpha.astype(np.float32), 16, block.tobytes().removeprefix(b"Exif\0\0"), profile)
    fr.write_photo(tmp_path / "in.png", pixels, like=photo)
    assert cli.main([verb, str(tmp_path / "in.png"), str(tmp_path / "out.png"), *PHOTO_VERBS[verb]]) == 0
    back = fr.read_photo(tmp_path / "out.png")
    np.testing.assert_array_equal(back.alpha, photo.alpha)
    assert (back.bit_depth, back.icc_profile) == (16, profile)
    assert b"Makers" in back.exif


def test_deblur_gets_its_options(picture, tmp_path, monkeypatch):
    calls = listen(monkeypatch, "deblur")
    options = ["--channels", "edges", "--psf-shape", "gaussian", "--sigmas", "1,2", "--lam", "0.01", "--threads", "1"]
    assert cli.main(["deblur", str(picture), str(tmp_path / "out.png"), *options]) == 0
    expected = {"channels": "edges", "psf_shape": "gaussian", "sigmas": (1, 2), "lams": [0.01], "threads": 1}
    assert calls == [{**expected, "linearize": True, "callback": None}]


@pytest.mark.parametrize("verb", ["refocus", "depth", "blur", "stack"])
def test_depth_is_by_the_model_wanted(verb, picture, tmp_path, monkeypatch):
    depth = fr.DepthMap(np.linspace(0, 1, 4800).reshape(60, 80), "relative")
    calls = listen(monkeypatch, "estimate_depth", lambda *_, **__: depth)
    monkeypatch.setattr("fastrefocus.depth.estimate.model_kind", lambda *_: "relative")
    options = ["--model", "mine.onnx", "--focal-px", "900", "--threads", "3", *VERBS.get(verb, [])]
    target = tmp_path / ("out" if verb == "stack" else "out.png")
    assert cli.main([verb, str(picture), str(target), *options]) == 0
    assert calls == [{"model": "mine.onnx", "focal_px": 900, "threads": 3}]


@pytest.mark.parametrize("given", [False, True])
def test_refocus_reports_the_time_of_each_stage(picture, ramp, tmp_path, capsys, monkeypatch, given):
    for name in ("resize_depth", "estimate_depth"):  # neither is too quick to be measured
        slow = getattr(fr, name)
        monkeypatch.setattr(fr, name, lambda *args, f=slow, **options: [time.sleep(0.03), f(*args, **options)][1])
    depth = ["--depth", str(ramp)] if given else []
    options = ["--focus", "0.5", "--no-deblur", "--json", *depth]
    assert cli.main(["refocus", str(picture), str(tmp_path / "out.png"), *options]) == 0
    seconds = json.loads(capsys.readouterr().out)["seconds"]
    assert set(seconds) == {"depth", "blur"}
    assert seconds["depth"] >= 0.02


def test_sample_is_the_photo_of_scikit_image():
    np.testing.assert_array_equal(inputs.read("sample:camera").pixels, skimage.data.camera() / np.float32(255))


def test_deblur_reports_what_was_chosen(picture, tmp_path, capsys):
    arguments = ["deblur", str(picture), str(tmp_path / "out.png"), "--sigmas", "1,2", "--lam", "0.01", "--json"]
    assert cli.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sigma"] in (0.0, 1.0, 2.0)
    assert report["output"].endswith("out.png")
    assert report["seconds"]["deblur"] >= 0
    assert report["seconds_total"] >= report["seconds"]["deblur"]


def test_existing_file_needs_force(picture, tmp_path, capsys):
    target = tmp_path / "depth.png"
    target.write_bytes(b"keep me")
    assert cli.main(["depth", str(picture), str(target)]) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes() == b"keep me"
    assert cli.main(["depth", str(picture), str(target), "--force"]) == 0
    assert fr.read_photo(target).pixels.shape == (60, 80)


def test_several_inputs_go_into_a_folder_and_one_failure_does_not_stop_the_rest(picture, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_text("no photo")
    folder = tmp_path / "results" / "today"
    assert cli.main(["depth", str(broken), str(picture), "sample:camera", str(folder), "--json"]) == 1
    captured = capsys.readouterr()
    assert sorted(path.name for path in folder.iterdir()) == ["camera.png", "in.png"]
    assert "broken.png" in captured.err
    assert len(captured.out.splitlines()) == 2


def test_inputs_of_the_same_name_are_refused(picture, tmp_path, capsys):
    assert cli.main(["depth", str(picture), str(picture), str(tmp_path / "out")]) == 2
    assert "same file name" in capsys.readouterr().err
    assert cli.main(["depth", "a.jpg", "folder/a.tif", str(tmp_path / "out")]) == 2  # both a.png
    assert "same file name" in capsys.readouterr().err
    assert cli.main(["depth", str(picture), "sample:camera", str(picture)]) == 2
    assert "not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("target", "message"), [("out.gif", "must end in one of"), ("no/out.png", "no folder")])
def test_output_is_checked_before_any_work(verb, target, message, tmp_path, capsys):
    assert cli.main([verb, "missing.png", str(tmp_path / target), *VERBS[verb]]) == 1
    assert message in capsys.readouterr().err  # and not that the input is missing


def test_depth_of_any_photo_is_png_in_a_folder(picture, tmp_path):
    jpeg = tmp_path / "photo.v2.jpg"
    fr.write_photo(jpeg, fr.read_photo(picture).pixels)
    assert cli.main(["depth", str(picture), str(jpeg), str(tmp_path / "results")]) == 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["in.png", "photo.v2.png"]
    assert fr.read_photo(tmp_path / "results" / "photo.v2.png").bit_depth == 16


def test_folder_that_cannot_be_made_is_one_line(picture, capsys):
    assert cli.main(["depth", str(picture), "sample:camera", str(picture / "results")]) == 1
    error = capsys.readouterr().err
    assert "results" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sharpen", "a.png", "b.png"],
        ["refocus", "a.png", "b.png", "--focus", "left"],
        ["refocus", "a.png", "b.png", "--focus", "1,2,3"],
        ["refocus", "a.png", "b.png", "--focus", "0.5,7"],
        ["refocus", "a.png", "b.png", "--focus", "0.5", "--max-blur", "0"],
        ["refocus", "a.png", "b.png", "--focus", "0.5", "--max-blur", "nan"],
        ["refocus", "a.png", "b.png", "--focus", "0.5", "--max-blur", "wide"],
        ["refocus", "a.png", "b.png", "--focus", "0.5", "--depth", "d.png", "--model", "m.onnx"],
        ["blur", "a.png", "b.png", "--sigmas", "1;2"],
        ["repair", "a.png", "b.png"],
        ["repair", "a.png", "b.png", "--from"],
        ["repair", "a.png", "b.png", "--from", "c.png", "--method", "dynamic"],
        ["synthesize", "a.png", "b.png"],
        ["synthesize", "a.png", "b.png", "--focused", "c.png", "--psf", "9"],
        ["synthesize", "a.png", "b.png", "--focused", "c.png", "--psf", "disk:0"],
        ["synthesize", "a.png", "b.png", "--focused", "c.png", "--psf", "polygon:5"],
        ["blur", "a.png", "b.png", "--depth", "d.png", "--model", "m.onnx"],
        ["depth", "a.png", "b.png", "--threads", "0"],
        ["deblur", "a.png", "b.png", "--threads", "1.5"],
    ],
)
def test_usage_errors_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["depth", "missing.png", "out.png"], "missing.png"),
        (["depth", "sample:nobody", "out.png"], "no sample photo"),
        (["depth", "sample:camera", "out.gif"], "out.gif"),
        (["depth", "sample:camera", "out.png", "--model", "missing.onnx"], "missing.onnx"),
        (["blur", "sample:camera", "out.png", "--focus", "0.5", "--depth", "sample:coffee"], "sample:coffee"),
        (["synthesize", "sample:camera", "out.png", "--focused", "missing.png"], "missing.png"),
        (["synthesize", "sample:camera", "out.png", "--focused", "sample:coffee", "--psf", "disk:3"], "RGB"),
    ],
)
def test_failures_exit_with_1_and_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "options", "stages"),
    [
        ("refocus", ["--focus", "0.5", "--no-deblur"], ["depth", "defocus"]),
        ("refocus", ["--focus", "0.5", "--no-deblur", "--method", "paper"], ["depth", "blur"]),
        ("blur", ["--focus", "0.5"], ["depth", "defocus"]),
        ("blur", ["--method", "paper"], ["depth", "blur"]),
        ("depth", [], ["depth"]),
        ("stack", ["--steps", "2"], ["depth", "defocus"]),
    ],
)
def test_progress_bar_is_drawn_on_a_terminal_only(verb, options, stages, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert cli.main([verb, str(picture), str(tmp_path / ("out" if verb == "stack" else "out.png")), *options]) == 0
    drawn = capsys.readouterr().err
    assert [stage for stage in stages if f"in.png: {stage}:" not in drawn] == []


def test_progress_bar_advances(capsys):
    with cli._progress_bar("in.png", True) as callback:
        for done in (1, 5, 9):
            callback("deblur", done, 10)
            time.sleep(0.12)  # a bar is drawn at most ten times a second
    drawn = capsys.readouterr().err
    assert " 5/10 " in drawn
    assert " 9/10 " in drawn


def test_interrupt_ends_the_run_with_one_line(picture, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fr, "deblur", interrupt)
    try:
        assert cli.main(["deblur", str(picture), "sample:camera", str(tmp_path / "results")]) == 1
    except KeyboardInterrupt:  # it would end pytest, too
        pytest.fail("the interrupt was not caught")
    error = capsys.readouterr().err
    assert error == f"fastrefocus deblur: interrupted; {tmp_path / 'results' / 'in.png'} was not written\n"


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_ctrl_c_leaves_no_file(tmp_path):
    big = tmp_path / "big.png"
    fr.write_photo(big, np.tile(skimage.data.camera() / np.float32(255), (4, 4)))
    halves = tmp_path / "halves.png"
    fr.write_photo(halves, np.repeat([np.linspace(0, 1, 2048, dtype=np.float32)], 2048, axis=0))
    command = [sys.executable, "-m", "fastrefocus", "deblur", str(big), str(tmp_path / "out.png")]
    command += ["--blur-map", str(halves), "--blur-max", "9"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) != 0
    assert "interrupted" in process.stderr.read() or process.returncode == -signal.SIGINT
    process.stderr.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.png", "halves.png"]
