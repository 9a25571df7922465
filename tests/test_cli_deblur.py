"""``fastrefocus deblur``, as a user calls it."""

import functools
import json

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter

import fastrefocus as fr
from fastrefocus import cli

SHARP = skimage.data.camera()[100:260, 120:320] / np.float32(255)


@pytest.fixture
def blurred(tmp_path):
    """A grey photo file, (160, 200), the right half of which is blurred by a Gaussian of 2 pixels."""
    image = SHARP.copy()
    image[:, 100:] = gaussian_filter(SHARP, 2)[:, 100:]
    fr.write_photo(tmp_path / "in.png", image)
    return tmp_path / "in.png"


@pytest.fixture
def halves(tmp_path):
    """A map: black on the left, white on the right."""
    values = np.repeat([np.repeat(np.float32([0, 1]), 100)], 160, axis=0)
    fr.write_photo(tmp_path / "halves.png", values)
    return tmp_path / "halves.png"


def deblur(photo, *options):
    """Return what the file written holds."""
    target = photo.with_name("out.png")
    assert cli.main(["deblur", str(photo), str(target), "--force", *map(str, options)]) == 0
    return fr.read_photo(target).pixels


def test_map_of_the_radius(blurred, halves, capsys):
    result = deblur(blurred, "--blur-map", halves, "--blur-max", 4, "--psf-shape", "gaussian", "--encoded")
    before = fr.read_photo(blurred).pixels
    np.testing.assert_array_equal(result[:, :100], before[:, :100])
    inside = np.s_[8:-8, 108:-8]
    assert np.mean((result[inside] - SHARP[inside]) ** 2) < 0.5 * np.mean((before[inside] - SHARP[inside]) ** 2)
    assert "in.png: 50% blurred, by a radius of 4.0 to 4.0 pixels; lam " in capsys.readouterr().err


def test_depth_and_its_unknown_pixels(blurred, halves, monkeypatch):
    calls = []
    original = fr.deblur
    monkeypatch.setattr(fr, "deblur", lambda *args, **options: [calls.append(options), original(*args, **options)][1])
    deblur(blurred, "--depth", halves, "--zero-unknown")
    depth = calls[0]["depth"]
    assert depth.kind == "relative"
    assert np.isnan(depth.values[:, :100]).all()
    np.testing.assert_array_equal(depth.values[:, 100:], 1)


def test_maps_are_written_beside(blurred, halves, tmp_path):
    deblur(blurred, "--blur-map", halves, "--blur-max", 4, "--psf-shape", "gaussian", "--maps", tmp_path / "maps")
    radius, destroyed, residual = (
        fr.read_photo(tmp_path / "maps" / f"out_{name}.png").pixels for name in ("radius", "destroyed", "residual")
    )
    np.testing.assert_allclose(radius[:, 100:], 4 / 20, atol=1 / 255)
    assert destroyed[:, :100].max() < 0.05 < destroyed[:, 100:].min()
    np.testing.assert_allclose(residual[:, :100].mean(), 0.5, atol=0.05)


def test_existing_maps_stay_unless_force_is_given(blurred, halves, tmp_path, capsys):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "out_radius.png").write_bytes(b"mine")
    options = ["--blur-map", str(halves), "--blur-max", "4", "--maps", str(tmp_path / "maps")]
    assert cli.main(["deblur", str(blurred), str(tmp_path / "out.png"), *options]) == 1
    assert "out_radius.png exists; --force overwrites it" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_sharp_photo_is_left_alone_and_that_is_said(tmp_path, capsys):
    fr.write_photo(tmp_path / "in.png", np.full((40, 50), 0.5, np.float32))
    np.testing.assert_array_equal(deblur(tmp_path / "in.png", "--json"), fr.read_photo(tmp_path / "in.png").pixels)
    captured = capsys.readouterr()
    assert "no blur found that could be undone; the photo is as it was" in captured.err
    assert json.loads(captured.out)["sigma"] == 0


def test_what_one_psf_was_found_is_said(tmp_path, capsys):
    fr.write_photo(tmp_path / "in.png", gaussian_filter(SHARP, 2))
    deblur(tmp_path / "in.png", "--sigmas", "1,2,3", "--psf-shape", "gaussian", "--encoded")
    assert "in.png: Gaussian of 2.00 pixels, lam " in capsys.readouterr().err


def test_warning_of_the_residual_is_said(blurred, halves, capsys):
    deblur(blurred, "--blur-map", halves, "--blur-max", 12, "--encoded")
    assert "the blur found does not explain the photo" in capsys.readouterr().err


def test_refocus_says_what_its_deblurring_warns_of(blurred, monkeypatch, capsys):
    wrong = functools.partial(fr.deblur, blur_radius=np.full(SHARP.shape, 12, np.float32), linearize=False)
    monkeypatch.setattr("fastrefocus.pipeline.deblur_photo", wrong)
    target = blurred.with_name("out.png")
    assert cli.main(["refocus", str(blurred), str(target), "--focus", "0.5,0.5"]) == 0
    said = capsys.readouterr().err
    assert "in.png: the blur found does not explain the photo" in said
    assert "ResidualWarning" not in said
    assert "result.reblur_residual" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--blur-max", "3"], "--blur-max is the radius that white means in --blur-map, and needs it"),
        (["--blur-map", "m.png"], "--blur-map needs --blur-max"),
        (["--zero-unknown"], "--zero-unknown is about --depth or --blur-map, and needs one of them"),
        (["--blur-map", "m.png", "--blur-max", "3", "--sigmas", "1"], "--sigmas is for one PSF for the whole photo"),
        (["--blur-map", "m.png", "--blur-max", "3", "--depth", "d.png"], "--depth and --blur-map both say"),
    ],
)
def test_options_that_do_not_fit_are_refused(blurred, options, message, capsys):
    assert cli.main(["deblur", str(blurred), "out.png", *options]) == 2
    assert message in capsys.readouterr().err
