"""``fastrefocus repair``, as a user calls it."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve, shift

import fastrefocus as fr
from fastrefocus import cli
from fastrefocus.light import decode, encode

PROVENANCE = np.uint8([[0, 0, 1, 1], [2, 2, 2, 2]])  # kept, deconvolved, copied
SECOND_PHOTO = np.s_[1, 3:]  # the pixels that are copied from it; the others are from the first


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with a photo, (100, 120, 3), blurred by a disk of 7 px inside a mask, and what is sharp of it."""
    sharp = skimage.data.chelsea()[80:180, 130:250] / np.float32(255)
    mask = np.zeros(sharp.shape[:2], np.float32)
    mask[20:80, 20:100] = 1
    blurred = encode(convolve(decode(sharp), fr.disk_psf(7)[..., np.newaxis], mode="mirror"))
    pictures = {
        "missed": np.where(mask[..., np.newaxis] > 0, blurred, sharp),
        "near": shift(sharp, (3, -5, 0), mode="mirror"),
        "same": sharp,
        "flat": np.full_like(sharp, 0.5),
        "mask": mask,
    }
    for name, pixels in pictures.items():
        fr.write_photo(tmp_path / f"{name}.png", pixels)
    monkeypatch.chdir(tmp_path)
    return {name: fr.read_photo(f"{name}.png").pixels for name in pictures}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with three photos of (2, 4) pixels: in.png in grey, a.png and b.png in colour."""
    monkeypatch.chdir(tmp_path)
    fr.write_photo("in.png", np.float32([[0, 0.2, 0.4, 0.6], [0, 0.5, 1, 1]]))
    for name in ("a.png", "b.png"):
        fr.write_photo(name, np.zeros((2, 4, 3), np.float32))


def result_of(provenance):
    """Return the result of a repair, as if by two photos, of which nothing was found."""
    origin = np.where(provenance[..., np.newaxis] == fr.Provenance.COPIED, 0, np.full((2, 4, 3), -1))
    origin[SECOND_PHOTO] = np.minimum(origin[SECOND_PHOTO] + 1, 1)
    found = fr.ExamplePhoto("", 0.9, 0.01, 0.02, fr.disk_psf(9), 0.5)
    unused = fr.ExamplePhoto("it shows another scene", 0.0, np.nan, np.nan, np.ones((1, 1), np.float32), np.nan)
    return fr.RepairResult(
        image=np.full((2, 4), 0.25, np.float32),
        confidence=np.where(provenance > 0, np.float32(0.6), np.float32(np.nan)),
        provenance=provenance,
        origin=origin.astype(np.int32),
        mask=provenance > 0,
        photos=(found, unused),
    )


def give(monkeypatch, result, message=None):
    """Return the list of the calls of the public function, which gives this result from now on, and warns."""
    calls = []

    def refocus_from_examples(*photos, **options):
        calls.append((photos, options))
        if message is not None:
            warnings.warn(message, fr.RegistrationWarning, stacklevel=2)
        return result

    monkeypatch.setattr(fr, "refocus_from_examples", refocus_from_examples)
    return calls


def repair(*arguments):
    return cli.main(["repair", *arguments])


def test_repair_is_the_public_function(scene, monkeypatch, capsys):
    results, function = [], fr.refocus_from_examples
    monkeypatch.setattr(fr, "refocus_from_examples", lambda *a, **k: results.append(function(*a, **k)) or results[0])
    assert repair("missed.png", "out.png", "--from", "near.png", "--mask", "mask.png", "--json") == 0
    result = fr.read_photo("out.png").pixels
    np.testing.assert_allclose(result, np.clip(results[0].image, 0, 1), atol=0.51 / 255)
    assert np.mean((result - scene["same"]) ** 2) < 0.3 * np.mean((scene["missed"] - scene["same"]) ** 2)
    captured = capsys.readouterr()
    assert captured.err.startswith("fastrefocus repair: missed.png: 40% of the photo restored, of that ")
    assert "% copied, from near.png" in captured.err
    assert captured.err.count("\n") == 1
    report = json.loads(captured.out)
    assert report["restored"] == 0.4
    assert report["copied"] + report["deconvolved"] == pytest.approx(1)
    (photo,) = report["focused"]
    assert photo["photo"] == "near.png"
    assert photo["problem"] is None
    assert photo["psf_radius"] == pytest.approx(3.5, abs=0.4)
    assert photo["residual"] < photo["residual_before"]
    assert report["seconds"]["repair"] > 0


def test_paper_method_is_synthesize(scene, capsys):
    options = ["--mask", "mask.png", "--focused-mask", "mask.png"]
    assert repair("missed.png", "a.png", "--from", "same.png", "--method", "paper", "--json", *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["restored"], report["copied"], report["focused"]) == (0.4, 1, [])
    assert cli.main(["synthesize", "missed.png", "b.png", "--focused", "same.png", *options]) == 0
    np.testing.assert_array_equal(fr.read_photo("a.png").pixels, fr.read_photo("b.png").pixels)


def test_psf_is_not_fitted_by_the_paper_to_photos_of_different_shapes(small, scene, capsys):
    assert repair("missed.png", "out.png", "--from", "a.png", "--method", "paper") == 1
    assert "--psf fit compares photos of the same view and shape" in capsys.readouterr().err


def test_photo_that_is_not_used_is_told_by_its_name_and_is_no_failure(scene, capsys):
    options = ["--mask", "mask.png", "--psf", "disk:7", "--json"]
    assert repair("missed.png", "out.png", "--from", "flat.png", *options) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "fastrefocus repair: missed.png: flat.png is not used: the focused photo has no texture",
        "fastrefocus repair: missed.png: 40% of the photo restored, by deconvolution",
    ]
    (photo,) = json.loads(captured.out)["focused"]
    assert photo["problem"] == "the focused photo has no texture"
    assert photo["residual"] is photo["psf_radius"] is None


def test_each_photo_is_told_by_its_own_name(small, monkeypatch, capsys):
    give(monkeypatch, result_of(PROVENANCE), "focused[1] is not used: why")
    assert repair("in.png", "out.png", "--from", "sample:camera", "./b.png") == 0
    assert "in.png: b.png is not used: why\n" in capsys.readouterr().err
    assert repair("in.png", "out.png", "--force", "--from", "a.png", "../" + Path.cwd().name + "/a.png") == 0
    assert f"in.png: ../{Path.cwd().name}/a.png is not used: why\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        (0 * PROVENANCE, "nothing was found that could be restored; the photo is as it was"),
        (PROVENANCE % 2, "25% of the photo restored, by deconvolution"),
        (PROVENANCE, "75% of the photo restored, of that 66.7% copied, from a.png, b.png; the rest by deconvolution"),
        (PROVENANCE // 2 * 2, "50% of the photo restored, of that 100% copied, from a.png, b.png"),
        (np.uint8([[0, 0, 0, 0], [0, 0, 0, 2]]), "12.5% of the photo restored, of that 100% copied, from b.png"),
    ],
)
def test_what_was_done_is_said(small, monkeypatch, capsys, provenance, sentence):
    give(monkeypatch, result_of(provenance))
    assert repair("in.png", "out.png", "--from", "a.png", "b.png") == 0
    assert capsys.readouterr().err == f"fastrefocus repair: in.png: {sentence}\n"


def test_photo_that_most_is_copied_from_comes_first(small, monkeypatch, capsys):
    result = result_of(PROVENANCE)
    result.origin[1, 1:3, 0] = 1
    give(monkeypatch, result)
    assert repair("in.png", "out.png", "--from", "a.png", "b.png") == 0
    assert "copied, from b.png, a.png;" in capsys.readouterr().err


def test_report_counts_what_was_done(small, monkeypatch, capsys):
    give(monkeypatch, result_of(PROVENANCE))
    assert repair("in.png", "out.png", "--from", "a.png", "b.png", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [report[share] for share in ("restored", "copied", "deconvolved")] == [0.75, 0.6667, 0.3333]
    used, unused = report["focused"]
    assert used["psf_radius"] == pytest.approx(4.5, abs=0.1)
    assert {name: used[name] for name in ("photo", "score", "residual", "residual_before", "problem")} == {
        "photo": "a.png",
        "score": 0.9,
        "residual": 0.01,
        "residual_before": 0.02,
        "problem": None,
    }
    assert (unused["photo"], unused["problem"], unused["blur_radius"]) == ("b.png", "it shows another scene", None)


def test_maps_are_written_beside(small, monkeypatch):
    give(monkeypatch, result_of(PROVENANCE))
    assert repair("in.png", "out.png", "--from", "a.png", "b.png", "--maps", "maps") == 0
    colours = fr.read_photo("maps/out_provenance.png").pixels
    kept, deconvolved, first, second = colours[0, :2], colours[0, 2:], colours[1, 1:3], colours[SECOND_PHOTO]
    assert np.ptp(kept, axis=1).max() == 0
    assert 0 < kept[0, 0] < kept[1, 0] < 0.5  # darker than the photo, where that is not black
    assert (deconvolved.argmax(axis=1) == 2).all()
    assert (first.argmax(axis=1) == 1).all()
    assert (second.argmax(axis=1) == 0).all()
    assert (deconvolved[1] > deconvolved[0])[1:].all()  # the brighter pixel
    confidence = fr.read_photo("maps/out_confidence.png").pixels
    np.testing.assert_allclose(confidence, np.where(PROVENANCE > 0, 0.6, 0), atol=0.51 / 255)


def test_repair_gets_its_options(small, monkeypatch):
    calls = give(monkeypatch, result_of(PROVENANCE))
    mask, larger = np.float32([[0, 0, 1, 1], [0, 1, 1, 1]]), np.eye(3, 5, dtype=np.float32)
    for name, pixels in {"m.png": mask, "b.png": np.zeros((3, 5, 3), np.float32), "bm.png": larger}.items():
        fr.write_photo(name, pixels)
    options = ["--mask", "m.png", "--focused-mask", "m.png", "bm.png", "--psf", "gaussian:1.5", "--threads", "2"]
    assert repair("in.png", "out.png", "--from", "a.png", "b.png", *options) == 0
    (defocused, focused), call = calls[0]
    assert (defocused.shape, [photo.shape for photo in focused]) == ((2, 4), [(2, 4, 3), (3, 5, 3)])
    for given, expected in zip([call["mask"], *call["focused_masks"]], [mask, mask, larger], strict=True):
        np.testing.assert_array_equal(given, expected > 0)
    np.testing.assert_array_equal(call["psf"], fr.gaussian_psf(1.5))
    assert (call["method"], call["threads"], call["callback"]) == ("auto", 2, None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert repair("in.png", "out.png", "--from", "a.png", "b.png", "--force") == 0
    _, call = calls[1]
    assert (call["mask"], call["focused_masks"], call["psf"]) == (None, None, "fit")
    assert callable(call["callback"])


def test_photos_of_a_burst_have_the_same_focused_ones(small, monkeypatch):
    calls = give(monkeypatch, result_of(PROVENANCE))
    fr.write_photo("again.png", np.ones((2, 4), np.float32))
    assert repair("in.png", "again.png", "done", "--from", "a.png", "b.png", "--maps", "done") == 0
    assert [(photos[0][0, 0], len(photos[1])) for photos, _ in calls] == [(0, 2), (1, 2)]
    maps = [f"done/{photo}_{name}.png" for photo in ("in", "again") for name in ("provenance", "confidence")]
    for name in ("done/in.png", "done/again.png", *maps):
        assert fr.read_photo(name).pixels.shape[:2] == (2, 4)


@pytest.mark.parametrize("target", ["in.png", "b.png"])
def test_neither_photo_is_overwritten_unasked(small, target, capsys):
    before = fr.read_photo(target).pixels
    assert repair("in.png", target, "--from", "a.png", "b.png") == 1
    assert f"{target} exists; --force overwrites it" in capsys.readouterr().err
    np.testing.assert_array_equal(fr.read_photo(target).pixels, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "a.png", "missing.png"], "missing.png"),
        (["--from", "a.png", "--mask", "large.png"], "--mask large.png must have the photo's height and width (2, 4)"),
        (["--from", "a.png", "--focused-mask", "large.png"], "--focused-mask large.png must have the photo's height"),
    ],
)
def test_what_cannot_be_used_is_named(small, options, message, capsys):
    fr.write_photo("large.png", np.ones((5, 6), np.float32))
    assert repair("in.png", "out.png", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastrefocus repair: in.png: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("verb", "option"), [("repair", "--from"), ("synthesize", "--focused")])
def test_focused_masks_are_as_many_as_the_photos(verb, option, capsys):
    assert cli.main([verb, "in.png", "out.png", option, "a.png", "b.png", "--focused-mask", "m.png"]) == 2
    assert "--focused-mask must be given for each focused photo: 2, got 1" in capsys.readouterr().err
