"""Depth files: what is written comes back, what others wrote is read as they meant it, what is broken is refused."""

import io
import json
import os
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import fastrefocus as fr

EXACT = [".npy", ".pfm"]
PICTURES = [".png", ".tif", ".TIFF"]
HOLED = np.array([[1.5, 2.0, np.nan], [4.0, 80.0, 3.25]], np.float32)


def kind_argument(suffix, kind):
    return {"kind": kind} if suffix in EXACT else {}


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).random((6, 7, 3), np.float32)
    return fr.Photo(pixels)


# Round trips

depths = st.sampled_from(["relative", "inverse", "metric"]).flatmap(
    lambda kind: arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(
            *{"relative": (0, 1), "inverse": (-1000, 1000), "metric": (0.125, 100)}[kind],
            width=32,
            allow_subnormal=False,
        ),
    ).map(lambda values: fr.DepthMap(values, kind))
)


@pytest.mark.parametrize("suffix", [*PICTURES, *EXACT, ".jpg"])
@settings(max_examples=40)
@given(depth=depths)
def test_a_round_trip_loses_less_than_one_step_of_16_bits(suffix, depth, tmp_path_factory):
    path = tmp_path_factory.mktemp("depth") / f"depth{suffix}"
    fr.write_depth(path, depth, photo=fr.Photo(np.zeros(depth.values.shape, np.float32)))
    back = fr.read_depth(path, **kind_argument(suffix, depth.kind))
    assert back.kind == depth.kind
    span = 1.0 if depth.kind == "relative" else float(np.ptp(depth.values.astype(np.float64)))
    rounding = 2e-7 * float(np.abs(depth.values).max())  # of float32
    loss = np.abs(back.values.astype(np.float64) - depth.values).max()
    assert loss <= (0 if suffix in EXACT else 0.6 * span / 65535 + rounding)


@pytest.mark.parametrize("kind", ["relative", "inverse", "metric"])
@pytest.mark.parametrize("suffix", [*PICTURES, *EXACT])
def test_unknown_pixels_stay_unknown(suffix, kind, tmp_path):
    values = HOLED / 100 if kind == "relative" else HOLED
    fr.write_depth(tmp_path / f"depth{suffix}", fr.DepthMap(values, kind))
    back = fr.read_depth(tmp_path / f"depth{suffix}", **kind_argument(suffix, kind))
    np.testing.assert_array_equal(np.isnan(back.values), np.isnan(values))
    np.testing.assert_allclose(back.values, values, atol=80 / 65534, rtol=0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_metres_up_to_infinity_keep_what_is_near(suffix, tmp_path):
    values = np.array([[0.5, 0.51, 3.0, 1e6]], np.float32)  # in equal steps of 15 m only the last would be left
    fr.write_depth(tmp_path / f"depth{suffix}", fr.DepthMap(values, "metric"))
    back = fr.read_depth(tmp_path / f"depth{suffix}").values
    np.testing.assert_allclose(1 / back, 1 / values, atol=2 / 65535)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_constant_depth_comes_back_as_it_was(suffix, tmp_path):
    fr.write_depth(tmp_path / f"depth{suffix}", fr.DepthMap(np.full((2, 3), 2.5), "metric"))
    np.testing.assert_array_equal(fr.read_depth(tmp_path / f"depth{suffix}").values, np.float32(2.5))


def test_relative_depth_is_a_picture_black_nearest_and_white_farthest(tmp_path):
    values = np.array([[0.25, 0.5, 0.75]], np.float32)
    fr.write_depth(tmp_path / "depth.png", fr.DepthMap(values, "relative"))
    picture = fr.read_photo(tmp_path / "depth.png")
    assert picture.bit_depth == 16
    np.testing.assert_allclose(picture.pixels, values, atol=0.51 / 65535)


def test_kind_and_range_stand_in_the_file_for_others_to_read(tmp_path):
    depth = fr.DepthMap(HOLED, "metric")
    for name in ("depth.png", "depth.tif"):
        fr.write_depth(tmp_path / name, depth)
    with Image.open(tmp_path / "depth.png") as png:
        text = png.text["Description"]
    with tifffile.TiffFile(tmp_path / "depth.tif") as tiff:
        assert tiff.pages[0].description == text
    note = {"kind": "metric", "start": 1.5, "end": 80.0, "reciprocal": False, "zero_unknown": True}
    assert json.loads(text) == {"fastrefocus_depth": note}


def test_npy_and_pfm_hold_the_numbers_themselves(tmp_path):
    fr.write_depth(tmp_path / "depth.npy", fr.DepthMap(HOLED, "metric"))
    np.testing.assert_array_equal(np.load(tmp_path / "depth.npy"), HOLED)
    fr.write_depth(tmp_path / "depth.pfm", fr.DepthMap(HOLED, "metric"))
    header, size, scale, data = (tmp_path / "depth.pfm").read_bytes().split(b"\n", 3)
    assert (header, size, float(scale)) == (b"Pf", b"3 2", -1)
    np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(2, 3)[::-1], HOLED)


# What others wrote


def write_grey(path, samples):
    if path.suffix == ".npy":
        np.save(path, samples)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, samples)
    else:
        Image.fromarray(samples).save(path)
    return path


@pytest.mark.parametrize("name", ["depth.png", "depth.tif", "depth.npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers_are_fractions_of_white(name, dtype, tmp_path):
    white = np.iinfo(dtype).max
    path = write_grey(tmp_path / name, np.array([[0, white // 5, white]], dtype))
    for kind in ("relative", "inverse"):
        depth = fr.read_depth(path, kind=kind)
        assert depth.kind == kind
        np.testing.assert_allclose(depth.values, [[0, 0.2, 1]], rtol=1e-6)
    holed = fr.read_depth(path, kind="inverse", zero_unknown=True).values
    np.testing.assert_allclose(holed, [[np.nan, 0.2, 1]], rtol=1e-6)


@pytest.mark.parametrize("name", ["depth.png", "depth.tif", "depth.npy"])
def test_metric_whole_numbers_are_millimetres_unless_said_otherwise(name, tmp_path):
    path = write_grey(tmp_path / name, np.array([[0, 1500, 65535]], np.uint16))
    np.testing.assert_allclose(fr.read_depth(path, kind="metric").values, [[np.nan, 1.5, 65.535]])
    np.testing.assert_allclose(fr.read_depth(path, kind="metric", unit_m=0.1).values, [[np.nan, 150, 6553.5]])


@pytest.mark.parametrize(("name", "dtype"), [("a.tif", np.float32), ("a.npy", np.float32), ("a.npy", np.float16)])
def test_floats_are_taken_as_they_are(name, dtype, tmp_path):
    path = write_grey(tmp_path / name, np.array([[0, 0.25, np.nan]], dtype))
    np.testing.assert_array_equal(fr.read_depth(path, kind="relative").values, [[0, 0.25, np.nan]])
    np.testing.assert_array_equal(fr.read_depth(path, kind="metric").values, [[np.nan, 0.25, np.nan]])
    np.testing.assert_array_equal(fr.read_depth(path, kind="metric", unit_m=2).values, [[np.nan, 0.5, np.nan]])


def test_doubles_and_other_byte_orders_of_npy_are_read(tmp_path):
    for dtype in (">f8", ">f4", "<f2"):
        path = write_grey(tmp_path / "depth.npy", np.array([[1, 2]], dtype))
        np.testing.assert_array_equal(fr.read_depth(path, kind="metric").values, [[1, 2]])
    path = write_grey(tmp_path / "depth.npy", np.asfortranarray(np.array([[1, 2], [3, 4]], ">u2")))
    np.testing.assert_allclose(fr.read_depth(path, kind="metric").values, [[0.001, 0.002], [0.003, 0.004]])


@pytest.mark.parametrize(("scale", "order"), [(b"-1", "<f4"), (b"1.000000", ">f4"), (b"-0.0039215689", "<f4")])
def test_pfm_of_either_byte_order(scale, order, tmp_path):
    rows = np.array([[np.inf, 2, 3], [4, 5, 6]], np.float32)
    (tmp_path / "disparity.pfm").write_bytes(b"Pf\n3 2\n" + scale + b"\n" + rows[::-1].astype(order).tobytes())
    depth = fr.read_depth(tmp_path / "disparity.pfm", kind="inverse")
    np.testing.assert_array_equal(depth.values, [[np.nan, 2, 3], [4, 5, 6]])  # Middlebury: infinite is unknown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_depth_is_turned_as_its_photo_would_be(suffix, orientation, tmp_path):
    path, samples = tmp_path / f"depth{suffix}", np.arange(1, 7, dtype=np.uint16).reshape(2, 3)
    if suffix == ".tif":
        tifffile.imwrite(path, samples, extratags=[(274, 3, 1, orientation, True)])
    else:
        block = Image.Exif()
        block[274] = orientation
        Image.fromarray(samples).save(path, exif=block)
    depth = fr.read_depth(path, kind="relative").values
    assert depth.shape == ((2, 3) if orientation < 5 else (3, 2))
    np.testing.assert_array_equal(depth, fr.read_photo(path).pixels)


def test_unknown_pixels_of_a_float16_tiff_stay_unknown(tmp_path):
    path = write_grey(tmp_path / "depth.tif", np.array([[1, np.nan, 2]], np.float16))
    np.testing.assert_array_equal(fr.read_depth(path, kind="metric").values, [[1, np.nan, 2]])


def test_unknown_pixels_of_grey_saved_as_colour_are_no_colour(tmp_path):
    grey = np.array([[1, np.nan, 2]], np.float32)
    tifffile.imwrite(tmp_path / "depth.tif", np.dstack([grey] * 3), photometric="rgb")
    np.testing.assert_array_equal(fr.read_depth(tmp_path / "depth.tif", kind="metric").values, grey)
    tifffile.imwrite(tmp_path / "depth.tif", np.dstack([grey, grey, np.ones_like(grey)]), photometric="rgb")
    with pytest.raises(fr.DepthFileError, match="got colour"):
        fr.read_depth(tmp_path / "depth.tif", kind="metric")


def test_a_tiff_of_float64_is_not_called_damaged(tmp_path):
    tifffile.imwrite(tmp_path / "depth.tif", np.ones((2, 3)))
    with pytest.raises(fr.DepthFileError, match="more than 32 bits, as float64 has; one of uint8, uint16 or float32"):
        fr.read_depth(tmp_path / "depth.tif", kind="metric")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("suffix", [*PICTURES, *EXACT, ".jpg"])
def test_depth_from_a_pipe(suffix, photo, tmp_path):
    depth = fr.DepthMap(np.random.default_rng(0).random((6, 7)), "relative")
    fr.write_depth(tmp_path / f"depth{suffix}", depth, photo=photo)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / f"depth{suffix}").read_bytes())
    )
    writer.start()
    found = fr.read_depth(tmp_path / "pipe", **kind_argument(suffix, "relative"))
    writer.join()
    np.testing.assert_allclose(found.values, depth.values, atol=1 / 65535)


def test_the_content_and_not_the_name_gives_the_format(tmp_path):
    fr.write_depth(tmp_path / "depth.pfm", fr.DepthMap(HOLED, "metric"))
    (tmp_path / "depth.pfm").rename(tmp_path / "depth.png")
    np.testing.assert_array_equal(fr.read_depth(tmp_path / "depth.png", kind="metric").values, HOLED)


def test_grey_saved_as_colour_is_read_and_colour_is_not(tmp_path):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = write_grey(tmp_path / "depth.png", np.dstack([grey] * 3))
    np.testing.assert_allclose(fr.read_depth(path, kind="inverse").values * 255, grey, rtol=1e-6)
    path = write_grey(tmp_path / "depth.png", np.dstack([grey] * 3 + [np.full_like(grey, 255)]))
    np.testing.assert_allclose(fr.read_depth(path, kind="inverse").values * 255, grey, rtol=1e-6)
    write_grey(path, np.dstack([grey, grey + 1, grey + 2]))  # rounded, as JPEG does it
    np.testing.assert_allclose(fr.read_depth(path, kind="inverse").values * 255, grey, rtol=1e-6)
    write_grey(tmp_path / "depth.png", np.dstack([grey, grey, grey + 9]))
    with pytest.raises(fr.DepthFileError, match="must be a grey picture, got colour"):
        fr.read_depth(path, kind="inverse")
    write_grey(tmp_path / "depth.png", np.dstack([grey] * 3 + [grey]))
    with pytest.raises(fr.DepthFileError, match="transparent"):
        fr.read_depth(path, kind="inverse")


# The kind is declared


def test_the_kind_is_never_guessed(tmp_path):
    path = write_grey(tmp_path / "depth.png", np.array([[0, 1]], np.uint16))
    with pytest.raises(fr.DepthFileError, match=r"depth\.png does not say what its values mean: give its kind"):
        fr.read_depth(path)
    fr.write_depth(tmp_path / "depth.npy", fr.DepthMap(HOLED, "metric"))
    with pytest.raises(fr.DepthFileError, match="give its kind"):
        fr.read_depth(tmp_path / "depth.npy")


def test_what_the_file_says_cannot_be_overruled(tmp_path):
    fr.write_depth(tmp_path / "depth.png", fr.DepthMap(HOLED, "metric"))
    assert fr.read_depth(tmp_path / "depth.png", kind="metric").kind == "metric"
    with pytest.raises(fr.DepthFileError, match="says that its depth is metric, and kind is 'inverse'"):
        fr.read_depth(tmp_path / "depth.png", kind="inverse")
    for options in ({"unit_m": 1.0}, {"zero_unknown": True}):
        with pytest.raises(fr.DepthFileError, match="says itself what its values mean"):
            fr.read_depth(tmp_path / "depth.png", **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "depth"}, ValueError, "kind must be one of"),
        ({"kind": "metric", "unit_m": 0}, ValueError, "unit_m must be a finite number > 0"),
        ({"kind": "metric", "unit_m": "mm"}, TypeError, "unit_m must be a number"),
        ({"kind": "inverse", "unit_m": 1}, ValueError, "unit_m is for kind 'metric'"),
        ({"kind": "inverse", "zero_unknown": 1}, TypeError, "zero_unknown must be True or False"),
    ],
)
def test_arguments_are_checked(options, error, message, tmp_path):
    path = write_grey(tmp_path / "depth.png", np.array([[0, 1]], np.uint16))
    with pytest.raises(error, match=message):
        fr.read_depth(path, **options)


def test_metres_in_8_bits_are_refused(tmp_path):
    path = write_grey(tmp_path / "depth.png", np.array([[0, 1]], np.uint8))
    with pytest.raises(fr.DepthFileError, match="must have 16 bits"):
        fr.read_depth(path, kind="metric")


# Broken and hostile files


def ihdr(width, height):
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


def npy_header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no depth file"),
        (b"GIF89a" + bytes(20), "is no depth file"),
        (b"PF\n1 1\n-1\n" + bytes(12), "grey PFM"),
        (ihdr(40_000, 40_000), "claims 40000 x 40000 pixels"),
        (ihdr(4, 4), "may be damaged or cut short"),
        (b"II*\0" + bytes(30), "may be damaged or cut short"),
        (b"Pf\n2 2\n-1\n" + bytes(15), "has 1 byte less than its 2 x 2 pixels take"),
        (b"Pf\n2 2\n-1\n" + bytes(18), "has 2 bytes more than its 2 x 2 pixels take"),
        (b"Pf\n999999999 999999999\n-1\n", "claims 999999999 x 999999999 pixels"),
        (b"Pf\n99999999999999999999 2\n-1\n", "no PFM header"),
        (b"Pf\n0 2\n-1\n", "claims 0 x 2 pixels"),
        (b"Pf\n2 -2\n-1\n", "no PFM header"),
        (b"Pf\n1 1\n0\n" + bytes(4), "whose sign should give the byte order"),
        (b"Pf\n1 1\n1e999\n" + bytes(4), "whose sign should give the byte order"),
        (b"Pf\n1 1\n--\n" + bytes(4), "whose sign should give the byte order"),
        (b"\x93NUMPY", "cannot be read"),
        (npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}\n") + bytes(15), "cannot be read"),
        (npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 9999999)}\n"), "cannot be read"),
        (npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}\n") + bytes(16), "depth.xyz"),
        (npy_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}\n") + bytes(64), "cannot be read"),
        (npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 1)}\n") + bytes(16), "must have shape"),
        (npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2)}\n"), "depth.xyz"),
        (npy_header(b"{'descr': '<c8', 'fortran_order': False, 'shape': (1, 2)}\n") + bytes(16), "must hold float"),
        (npy_header(b"{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2)}\n") + bytes(8), "must hold float"),
        (npy_header(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2)}\n") + bytes(8), "must hold"),
        (npy_header(b"{'descr': '<f4', " * 500), "cannot be read"),
        (npy_header(b"(" * 4000), "cannot be read"),
        (npy_header(b"{'descr': '\xff"), "cannot be read"),
    ],
)
def test_a_broken_file_is_a_clear_error(content, message, tmp_path):
    path = tmp_path / "depth.xyz"
    path.write_bytes(content)
    with pytest.raises(fr.DepthFileError, match=message) as caught:
        fr.read_depth(path, kind="metric")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".pfm", ".jpg"])
def test_a_file_cut_short_anywhere_is_an_error(suffix, photo, tmp_path):
    depth = fr.DepthMap(np.random.default_rng(0).random((6, 7)), "relative")
    fr.write_depth(tmp_path / f"depth{suffix}", depth, photo=photo)
    data = (tmp_path / f"depth{suffix}").read_bytes()
    # A JPEG photo may be cut in its pixels, which are not looked at, and a PNG file in its last chunk.
    end = {".jpg": data.rfind(b"\xff\xda"), ".png": len(data) - 12}.get(suffix, len(data))
    for length in np.linspace(0, end - 1, 60).astype(int):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(fr.DepthFileError):
            fr.read_depth(tmp_path / "cut", **kind_argument(suffix, "relative"))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("relative", 1.5, "relative depth must be in 0"),
        ("relative", 1.0000001, r"got 1\.0000001 at index"),
        ("metric", -1.0, "metric depth must be in metres and > 0"),
        ("metric", np.inf, "finite"),
        ("inverse", -np.inf, "finite"),
        ("relative", np.inf, "finite"),
    ],
)
def test_values_that_are_no_such_depth_are_refused(kind, value, message, tmp_path):
    path = write_grey(tmp_path / "depth.npy", np.array([[0.5, value]]))
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(path, kind=kind)


@pytest.mark.parametrize(
    "note",
    [
        [],
        5,
        {},
        {"kind": "metric", "start": 0, "end": 1, "reciprocal": False, "zero_unknown": False},
        {"kind": "metric", "start": 1, "end": "2", "reciprocal": False, "zero_unknown": False},
        {"kind": "metric", "start": 1, "end": float("nan"), "reciprocal": False, "zero_unknown": False},
        {"kind": "inverse", "start": 0, "end": 1, "reciprocal": True, "zero_unknown": False},
        {"kind": ["metric"], "start": 1, "end": 2, "reciprocal": False, "zero_unknown": False},
        {"kind": "metric", "start": 1, "end": 1e300, "reciprocal": False, "zero_unknown": False},
        {"kind": "metric", "start": 1, "end": 2, "reciprocal": False, "zero_unknown": 1e400},
        {"kind": "relative", "start": 0, "end": 2, "reciprocal": False, "zero_unknown": False},
    ],
)
def test_a_note_that_makes_no_sense_is_refused(note, tmp_path):
    samples = np.array([[0, 65535]], np.uint16)
    tifffile.imwrite(tmp_path / "depth.tif", samples, description=json.dumps({"fastrefocus_depth": note}))
    with pytest.raises(fr.DepthFileError):
        fr.read_depth(tmp_path / "depth.tif")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '"fastrefocus_depth"', "null", "{}"])
def test_descriptions_by_others_say_nothing(text, tmp_path):
    tifffile.imwrite(tmp_path / "depth.tif", np.array([[0, 65535]], np.uint16), description=text, metadata=None)
    np.testing.assert_array_equal(fr.read_depth(tmp_path / "depth.tif", kind="relative").values, [[0, 1]])


def test_a_description_in_another_encoding_says_nothing(tmp_path):
    write_grey(tmp_path / "depth.png", np.array([[0, 65535]], np.uint16))
    data = (tmp_path / "depth.png").read_bytes()
    for text in ("Description\0Tiefe, grün", "Größe\0"):
        (tmp_path / "depth.png").write_bytes(data[:33] + chunk(b"tEXt", text.encode("latin-1")) + data[33:])
        np.testing.assert_array_equal(fr.read_depth(tmp_path / "depth.png", kind="relative").values, [[0, 1]])


def test_signalling_nan_is_unknown_like_any_other(tmp_path):
    values = np.array([[0x7F800001, 0x3F800000]], np.uint32).view(np.float32)
    np.save(tmp_path / "depth.npy", values)
    fr.write_depth(tmp_path / "depth.pfm", fr.DepthMap(values, "metric"))
    for name in ("depth.npy", "depth.pfm"):
        np.testing.assert_array_equal(fr.read_depth(tmp_path / name, kind="metric").values, [[np.nan, 1]])


def test_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        fr.read_depth(tmp_path / "depth.png")
    with pytest.raises(fr.DepthFileError, match="is a directory"):
        fr.read_depth(tmp_path)


# Writing


def test_what_cannot_be_written_is_told(photo, tmp_path):
    depth = fr.DepthMap([[0.0, 1.0]], "relative")
    with pytest.raises(ValueError, match=r"path must end in one of \.png"):
        fr.write_depth(tmp_path / "depth.exr", depth)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fr.write_depth(tmp_path / "no" / "depth.png", depth)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(fr.DepthFileError, match="is a directory"):
        fr.write_depth(tmp_path / "folder.png", depth)
    with pytest.raises(TypeError, match="depth must be a DepthMap"):
        fr.write_depth(tmp_path / "depth.png", depth.values)
    with pytest.raises(fr.DepthFileError, match="give photo"):
        fr.write_depth(tmp_path / "depth.jpg", depth)
    with pytest.raises(TypeError):
        fr.write_depth(tmp_path / "depth.jpg", depth, photo=5)
    unknown = fr.DepthMap([[np.nan, np.nan]], "relative")
    with pytest.raises(fr.DepthFileError, match="unknown"):
        fr.write_depth(tmp_path / "depth.png", unknown)
    with pytest.raises(
        fr.DepthFileError,
        match=r"depth\.jpg cannot be written: GDepth has no sign for unknown .* fill it first \(Depth",
    ):
        fr.write_depth(tmp_path / "depth.jpg", fr.DepthMap(HOLED, "metric"), photo=photo)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photo_cut_short_in_its_pixels_is_refused(progressive, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", progressive=progressive)
    data = (tmp_path / "photo.jpg").read_bytes()
    depth = fr.DepthMap(np.zeros((60, 70)), "relative")
    fr.write_depth(tmp_path / "whole.jpg", depth, photo=tmp_path / "photo.jpg")
    for length in (len(data) // 2, len(data) - 2):
        (tmp_path / "photo.jpg").write_bytes(data[:length])
        with pytest.raises(fr.DepthFileError, match="is not a whole JPEG file: its pixels are cut short"):
            fr.write_depth(tmp_path / "depth.jpg", depth, photo=tmp_path / "photo.jpg")
    assert not (tmp_path / "depth.jpg").exists()


def test_a_failed_write_leaves_the_older_file(photo, tmp_path):
    (tmp_path / "depth.jpg").write_bytes(b"keep me")
    with pytest.raises(fr.DepthFileError):
        fr.write_depth(tmp_path / "depth.jpg", fr.DepthMap(HOLED, "metric"), photo=photo)
    assert (tmp_path / "depth.jpg").read_bytes() == b"keep me"


def test_depth_of_all_benchmarks_is_read(shared):
    depth = fr.read_depth(shared / "data/rgbd/motorcycle/depth.png", kind="metric")
    assert 1 < np.nanmedian(depth.values) < 10
    disparity = fr.read_depth(shared / "data/rgbd/motorcycle/disparity.png", kind="inverse", zero_unknown=True)
    known = ~np.isnan(depth.values) & ~np.isnan(disparity.values)
    assert np.corrcoef(1 / depth.values[known], disparity.values[known])[0, 1] > 0.99


def test_a_claim_of_pixels_takes_no_memory(tmp_path):
    claim = npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (16000, 16000)}\n")
    (tmp_path / "depth.npy").write_bytes(claim + bytes(100))
    tracemalloc.start()
    with pytest.raises(fr.DepthFileError):
        fr.read_depth(tmp_path / "depth.npy", kind="metric")
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


def test_png_text_is_no_bomb(tmp_path):
    text = b"Description\0\0" + zlib.compress(b" " * 50_000_000, 9)
    stream = io.BytesIO()
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(stream, "png")
    data = stream.getvalue()
    (tmp_path / "depth.png").write_bytes(data[:33] + chunk(b"zTXt", text) + data[33:])
    np.testing.assert_array_equal(fr.read_depth(tmp_path / "depth.png", kind="relative").values, [[0, 1]])
