import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrefocus import ThinLens, read_photo
from fastrefocus.exif import LensFacts, read_lens

F_NUMBER, DISTANCE, FOCAL_LENGTH, FOCAL_LENGTH_35MM = 33437, 37382, 37386, 41989
SHORT, LONG, RATIONAL, SIGNED_RATIONAL, FLOAT, DOUBLE = 3, 4, 5, 10, 11, 12
TAGS = {
    FOCAL_LENGTH: (RATIONAL, 85, 10),
    F_NUMBER: (RATIONAL, 18, 10),
    FOCAL_LENGTH_35MM: (SHORT, 51),
    DISTANCE: (RATIONAL, 1250, 1000),
}
FULL_FRAME = {**TAGS, FOCAL_LENGTH: (RATIONAL, 50, 1), FOCAL_LENGTH_35MM: (SHORT, 50)}


def block_of(tags, order="<"):
    """An EXIF block whose directory 0 has a pointer to the Exif directory and nothing else."""
    codes = {SHORT: "H", LONG: "I", RATIONAL: "I", SIGNED_RATIONAL: "i", FLOAT: "f", DOUBLE: "d"}
    start = 8 + 2 + 12 + 4
    at = start + 2 + 12 * len(tags) + 4
    entries, data = b"", b""
    for tag, (kind, *numbers) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}{codes[kind]}", *numbers)
        count = len(numbers) // (2 if kind in (RATIONAL, SIGNED_RATIONAL) else 1)
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", at + len(data))
            data += value
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    pointer = struct.pack(f"{order}HHHIII", 1, 34665, LONG, 1, start, 0)
    return head + pointer + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0) + data


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_facts_in_both_byte_orders(order):
    block = block_of(TAGS, order)
    assert read_lens(block) == LensFacts(8.5, 1.8, 51.0, 1.25)
    assert read_lens(b"Exif\0\0" + block) == read_lens(block)
    assert all(type(fact) is float for fact in vars(read_lens(block)).values())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", TAGS)
def test_each_may_be_absent(tag, order):
    facts = read_lens(block_of({other: value for other, value in TAGS.items() if other != tag}, order))
    assert [value for value in vars(facts).values() if value is None] == [None]
    assert read_lens(block_of({tag: TAGS[tag]}, order)) != LensFacts()


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        (F_NUMBER, (RATIONAL, 0, 1), None),
        (F_NUMBER, (RATIONAL, 0, 0), None),
        (F_NUMBER, (RATIONAL, 28, 0), None),
        (F_NUMBER, (RATIONAL, 0xFFFFFFFF, 1), None),
        (F_NUMBER, (RATIONAL, 28, 10, 4, 1), None),  # two numbers
        (F_NUMBER, (SIGNED_RATIONAL, -28, 10), None),
        (F_NUMBER, (SHORT, 4), 4.0),
        (F_NUMBER, (FLOAT, 5.5), 5.5),
        (F_NUMBER, (DOUBLE, math.nan), None),
        (F_NUMBER, (DOUBLE, math.inf), None),
        (DISTANCE, (DOUBLE, -2.0), None),
        (DISTANCE, (DOUBLE, math.inf), math.inf),
        (FOCAL_LENGTH, (LONG, 70), 70.0),
        (FOCAL_LENGTH, (RATIONAL, 425, 100), 4.25),
        (FOCAL_LENGTH_35MM, (SHORT, 0), None),
        (FOCAL_LENGTH_35MM, (LONG, 28), 28.0),
        (FOCAL_LENGTH_35MM, (SHORT, 28, 28), None),
        (DISTANCE, (RATIONAL, 0, 1), None),
        (DISTANCE, (RATIONAL, 0xFFFFFFFF, 1), math.inf),
        (DISTANCE, (RATIONAL, 0xFFFFFFFF, 0xFFFFFFFF), math.inf),
        (DISTANCE, (RATIONAL, 0xFFFFFFFF, 0), math.inf),
        (DISTANCE, (RATIONAL, 0xFFFFFFFE, 0), None),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_unusual_values(tag, value, expected, order):
    facts = read_lens(block_of({tag: value}, order))
    name = {
        F_NUMBER: "f_number",
        FOCAL_LENGTH: "focal_length_mm",
        FOCAL_LENGTH_35MM: "focal_length_35mm",
        DISTANCE: "subject_distance_m",
    }[tag]
    assert facts == LensFacts(**{name: expected})


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0", b"GIF89a..", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_blocks_have_no_facts(block):
    assert read_lens(block) == LensFacts()


@pytest.mark.parametrize("length", range(len(block_of(TAGS))))
def test_truncated_blocks_never_raise(length):
    facts = read_lens(block_of(TAGS)[:length])
    whole = LensFacts(8.5, 1.8, 51.0, 1.25)
    assert all(fact in (None, getattr(whole, name)) for name, fact in vars(facts).items())


@given(st.sampled_from("<>"), st.lists(st.tuples(st.integers(0, 115), st.integers(0, 255)), max_size=6))
def test_damaged_bytes_never_raise(order, changes):
    block = bytearray(block_of(TAGS, order))
    for at, value in changes:
        block[at % len(block)] = value
    for fact in vars(read_lens(bytes(block))).values():
        assert fact is None or fact > 0


def test_as_pillow_writes_it():
    image = pytest.importorskip("PIL.Image")
    rational = pytest.importorskip("PIL.TiffImagePlugin").IFDRational
    exif = image.Exif()
    exif.get_ifd(34665).update({F_NUMBER: 2.8, FOCAL_LENGTH: rational(71, 2), FOCAL_LENGTH_35MM: 53, DISTANCE: 3.25})
    assert read_lens(exif.tobytes()) == LensFacts(35.5, 2.8, 53.0, 3.25)


# The lens from the facts


@pytest.mark.parametrize(
    ("shape", "width"), [((2400, 3600), 36), ((3600, 2400, 3), 24), ((100, 100), 43.2666 / 2**0.5)]
)
def test_a_full_frame_photo(shape, width):
    lens = ThinLens.from_exif(block_of(FULL_FRAME), shape)
    assert (lens.focal_length_mm, lens.f_number, lens.focus_distance_m) == (50, 1.8, 1.25)
    assert lens.sensor_width_mm == pytest.approx(width, rel=1e-5)


def test_a_small_sensor_has_the_crop_factor_of_its_diagonal():
    lens = ThinLens.from_exif(block_of(TAGS), (3000, 4000))  # factor 6, 4:3
    assert lens.sensor_width_mm == pytest.approx(43.2666 / 6 * 0.8, rel=1e-5)


def test_what_is_given_comes_first():
    given = {"focal_length_mm": 35.0, "f_number": 4, "focus_distance_m": math.inf, "sensor_width_mm": 23.5}
    assert ThinLens.from_exif(block_of(TAGS), (20, 30), **given) == ThinLens(35.0, 4, math.inf, 23.5)
    assert ThinLens.from_exif(None, (20, 30), **given) == ThinLens(35.0, 4, math.inf, 23.5)
    lens = ThinLens.from_exif(block_of(FULL_FRAME), (20, 30), focal_length_mm=25)  # the 35-mm equivalent stays
    assert lens.sensor_width_mm == pytest.approx(18)


def test_a_photo_focused_at_infinity():
    block = block_of({**TAGS, DISTANCE: (RATIONAL, 0xFFFFFFFF, 1)})
    assert ThinLens.from_exif(block, (20, 30)).focus_distance_m == math.inf


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        ([F_NUMBER], "f_number"),
        ([DISTANCE], "focus_distance_m"),
        ([FOCAL_LENGTH_35MM], "sensor_width_mm"),
        ([FOCAL_LENGTH], "focal_length_mm, sensor_width_mm"),
        ([F_NUMBER, DISTANCE, FOCAL_LENGTH_35MM], "f_number, focus_distance_m, sensor_width_mm"),
        (list(TAGS), "focal_length_mm, f_number, focus_distance_m, sensor_width_mm"),
    ],
)
def test_missing_facts_are_named_and_how_to_give_them(absent, names):
    block = block_of({tag: value for tag, value in TAGS.items() if tag not in absent})
    with pytest.raises(ValueError, match=f"EXIF does not give {names}; give {names.replace(', ', '=, ')}="):
        ThinLens.from_exif(block, (20, 30))


@pytest.mark.parametrize(
    ("shape", "given", "error", "message"),
    [
        ((20,), {}, ValueError, r"image_shape must be \(H, W\) or \(H, W, 3\), got \(20,\)"),
        (20, {}, ValueError, "image_shape must be"),
        ((20, 0), {}, ValueError, "image_shape must be >= 1, got 0"),
        ((20, 3.5), {}, TypeError, "image_shape must be an int >= 1, got 3.5"),
        ((20, 30), {"focal_length_mm": 0}, ValueError, "focal_length_mm must be .* > 0, got 0"),
        ((20, 30), {"f_number": "2.8"}, TypeError, "f_number must be a number"),
        ((20, 30), {"focus_distance_m": 0.001}, ValueError, "focus_distance_m must be larger than the focal length"),
    ],
)
def test_wrong_arguments_are_refused(shape, given, error, message):
    with pytest.raises(error, match=message):
        ThinLens.from_exif(block_of(TAGS), shape, **given)


def test_real_photos(shared):
    photos = [read_photo(path) for path in sorted((shared / "data" / "stacks" / "toys").glob("*.jpg"))]
    blocks = [(photo.exif, photo.pixels.shape) for photo in photos if photo.exif]
    if not blocks:
        pytest.skip("none of the photos has EXIF")
    for block, shape in blocks:
        assert read_lens(block) == LensFacts(focal_length_mm=5.8125, f_number=2.6)
        lens = ThinLens.from_exif(block, shape, focus_distance_m=0.5, sensor_width_mm=5.76)
        assert (lens.focal_length_mm, lens.f_number) == (5.8125, 2.6)


def test_a_block_of_another_type_is_refused():
    with pytest.raises(TypeError, match=r"block must be bytes or None, got str"):
        ThinLens.from_exif("II*", (400, 600))


@pytest.mark.parametrize("equivalent", [1, 60_000])
def test_an_impossible_35_mm_equivalent_counts_as_none(equivalent):
    block = block_of({**TAGS, FOCAL_LENGTH_35MM: (SHORT, equivalent)})
    with pytest.raises(ValueError, match="does not give sensor_width_mm"):
        ThinLens.from_exif(block, (400, 600))
