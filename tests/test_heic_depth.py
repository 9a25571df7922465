"""Depth in HEIC photos.

pillow-heif does not write depth images. So the tests write a photo with an alpha plane, which lies in a HEIC file as
depth does, as an auxiliary picture, and change the last letter of its type (H.265: auxid:1 is alpha, auxid:2 depth).
Depth representation facts, which only phones write, come from a stand-in for pillow-heif's documented dictionary.
"""

import io
import sys
from contextlib import suppress

import numpy as np
import pytest

import fastrefocus as fr
from fastrefocus.depth.files import heic

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")

SAMPLES = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
FRACTIONS = SAMPLES / 255


@pytest.fixture(scope="session")
def content():
    """A HEIC photo with a depth image."""
    rgb = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGBA", (96, 64), np.dstack((rgb, SAMPLES)).tobytes()).save(stream, quality=-1)
    assert stream.getvalue().count(b"urn:mpeg:hevc:2015:auxid:1") == 1
    return stream.getvalue().replace(b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:hevc:2015:auxid:2")


@pytest.fixture
def photo(content, tmp_path):
    (tmp_path / "photo.HEIC").write_bytes(content)
    return tmp_path / "photo.HEIC"


def test_depth_beside_the_photo_is_read_in_the_kind_declared(photo):
    with pytest.raises(fr.DepthFileError, match="does not say what its values mean: give its kind"):
        fr.read_depth(photo)
    depth = fr.read_depth(photo, kind="inverse")
    assert depth.kind == "inverse"
    np.testing.assert_allclose(depth.values, FRACTIONS, rtol=1e-6)


@pytest.mark.parametrize(
    ("facts", "kind", "expected"),
    [
        ({"representation_type": 1, "d_min": -0.5, "d_max": 3.5}, "inverse", -0.5 + 4 * FRACTIONS),  # phones
        ({"representation_type": 1, "d_min": None, "d_max": None}, "inverse", FRACTIONS),
        ({"representation_type": 0, "z_near": 0.5, "z_far": 4.0}, "inverse", 0.25 + 1.75 * FRACTIONS),
        ({"representation_type": 0, "z_near": None, "z_far": None}, "inverse", FRACTIONS),
        ({"representation_type": 2, "z_near": 0.5, "z_far": 4.0}, "inverse", 1 / (0.5 + 3.5 * FRACTIONS)),
        ({"representation_type": 2}, "relative", FRACTIONS),
    ],
)
def test_what_the_file_says_gives_kind_and_range(facts, kind, expected, photo, monkeypatch):
    say(monkeypatch, facts)
    depth = fr.read_depth(photo)
    assert depth.kind == kind
    np.testing.assert_allclose(depth.values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"representation_type": 3, "d_min": 0, "d_max": 1}, "representation type 3; 0, 1 and 2 are read"),
        ({"d_min": 0, "d_max": 1}, "representation type None"),
        ({"representation_type": 1, "d_min": 1.0, "d_max": 1.0}, "d_min 1 and d_max 1, not in this order"),
        ({"representation_type": 1, "d_min": 0.0, "d_max": float("nan")}, "not in this order"),
        ({"representation_type": 0, "z_near": 4.0, "z_far": 0.5}, "not in this order"),
        ({"representation_type": 2, "z_near": 0.0, "z_far": 0.5}, "should be > 0"),
        ({"representation_type": 2, "z_near": 1e-300, "z_far": 1e-299}, "finite"),
    ],
)
def test_facts_that_make_no_sense_are_refused(facts, message, photo, monkeypatch):
    say(monkeypatch, facts)
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(photo)


def say(monkeypatch, facts):
    """Let pillow-heif find these facts about the depth image."""
    opened = pillow_heif.open_heif

    def open_heif(*arguments):
        file = opened(*arguments)
        for picture in file.info["depth_images"]:
            picture.info["metadata"] = facts
        return file

    monkeypatch.setattr(pillow_heif, "open_heif", open_heif)


def test_a_photo_without_depth_says_so(tmp_path):
    pillow_heif.from_bytes("RGB", (64, 64), bytes(64 * 64 * 3)).save(tmp_path / "photo.heic")
    with pytest.raises(fr.DepthFileError, match="carries no depth image"):
        fr.read_depth(tmp_path / "photo.heic", kind="inverse")


def test_a_picture_too_large_is_not_decoded(photo, monkeypatch):
    monkeypatch.setattr(heic, "MAX_PIXELS", 64 * 96 - 1)
    with pytest.raises(fr.DepthFileError, match="claims 96 x 64 pixels of depth"):
        fr.read_depth(photo, kind="inverse")


def test_a_file_cut_short_or_damaged_is_an_error(content, tmp_path):
    path = tmp_path / "cut.heic"
    for length in np.linspace(12, len(content) // 2, 20).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(fr.DepthFileError):
            fr.read_depth(path, kind="inverse")
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(12, 700, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with suppress(fr.DepthFileError):
            fr.read_depth(path, kind="inverse")


def test_without_pillow_heif_the_extra_is_named(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImportError, match=r"pip install 'fastrefocus\[heic\]'"):
        fr.read_depth(photo, kind="inverse")
