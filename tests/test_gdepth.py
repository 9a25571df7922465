"""Depth in a JPEG photo's XMP: files as the specifications show them, our own, and broken ones."""

import base64
import hashlib
import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fastrefocus as fr
from fastrefocus.depth.files.xmp import JpegFile

STANDARD, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
NAMESPACES = (
    'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
    'xmlns:GImage="http://ns.google.com/photos/1.0/image/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
TERMS = {"Format": "RangeInverse", "Near": "0.5", "Far": "8", "Mime": "image/png"}
SAMPLES = np.array([[0, 13107, 32768], [50000, 65535, 7]], np.uint16)
FRACTIONS = SAMPLES / 65535


def png(samples, file_format="png"):
    stream = io.BytesIO()
    Image.fromarray(samples).save(stream, file_format, quality=100)
    return base64.b64encode(stream.getvalue()).decode()


def rdf(attributes="", elements=""):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {NAMESPACES} {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def terms(**changed):
    return " ".join(f'GDepth:{name}="{value}"' for name, value in {**TERMS, **changed}.items() if value is not None)


def segment(payload, marker=0xE1):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def extended_segments(whole, guid, size=100, total=None):
    return [
        segment(EXTENDED + guid.encode() + struct.pack(">II", total or len(whole), at) + whole[at : at + size])
        for at in range(0, len(whole), size)
    ]


def plain_jpeg(**options):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)).save(stream, "jpeg", **options)
    return stream.getvalue()


def write_jpeg(path, *segments, jpeg=None):
    jpeg = jpeg or plain_jpeg()
    path.write_bytes(jpeg[:2] + b"".join(segments) + jpeg[2:])
    return path


def one_packet(path, attributes, data=None):
    """A file whose depth fits into one segment."""
    return write_jpeg(path, segment(STANDARD + rdf(f'{attributes} GDepth:Data="{data or png(SAMPLES)}"')))


# Files as the specifications show them


def test_range_inverse(tmp_path):
    depth = fr.read_depth(one_packet(tmp_path / "a.jpg", terms()))
    assert depth.kind == "metric"  # metres are GDepth's default
    np.testing.assert_allclose(
        depth.values, 8 * 0.5 / (8 - FRACTIONS * (8 - 0.5)), rtol=1e-6
    )  # the reference's formula


def test_range_linear(tmp_path):
    depth = fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Format="RangeLinear")))
    np.testing.assert_allclose(depth.values, 0.5 + FRACTIONS * (8 - 0.5), rtol=1e-6)


def test_units(tmp_path):
    metres = fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Units="m"))).values
    millimetres = fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Units="mm", Near="500", Far="8000"))).values
    np.testing.assert_allclose(millimetres, metres, rtol=1e-6)
    feet = fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Units="ft")))
    assert feet.kind == "inverse"  # known but for the unit
    np.testing.assert_allclose(feet.values, 1 / metres, rtol=1e-6)


def test_a_distance_of_nothing_is_unknown(tmp_path):
    depth = fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Format="RangeLinear", Near="0"))).values
    np.testing.assert_array_equal(np.isnan(depth), SAMPLES == 0)


def test_8_bits_as_jpeg_and_as_colour(tmp_path):
    samples = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[None], 16, axis=0)
    expected = 0.5 + samples / 255 * 7.5
    for data, error in (
        (png(samples), 1e-6),
        (png(samples, "jpeg"), 0.06),
        (png(np.dstack([samples] * 3), "jpeg"), 0.06),
    ):
        path = one_packet(tmp_path / "a.jpg", terms(Format="RangeLinear", Mime="image/jpeg"), data)
        np.testing.assert_allclose(fr.read_depth(path).values, expected, atol=error)


def test_properties_may_be_elements_and_data_unpadded_and_in_lines(tmp_path):
    data = png(SAMPLES).rstrip("=")
    lines = "\n".join(data[at : at + 20] for at in range(0, len(data), 20))
    elements = "".join(f"<GDepth:{name}>{value}</GDepth:{name}>" for name, value in {**TERMS, "Data": lines}.items())
    path = write_jpeg(tmp_path / "a.jpg", segment(STANDARD + rdf(elements=elements)))
    np.testing.assert_allclose(fr.read_depth(path).values, 4 / (8 - FRACTIONS * 7.5), rtol=1e-6)


def extended_file(path, *, shuffle=False, drop=None, guid=None, total=None, mention=True, damage=False):
    whole = rdf(f'GDepth:Data="{png(SAMPLES)}"')
    right = hashlib.md5(whole).hexdigest().upper()
    if damage:
        whole = whole.replace(b"iVBOR", b"iVBOS")
    note = f'xmpNote:HasExtendedXMP="{right}"' if mention else ""
    parts = extended_segments(whole, guid or right, total=total)
    if drop is not None:
        del parts[drop]
    if shuffle:
        parts.reverse()
    other = extended_segments(b"<other/>", "0" * 32)
    return write_jpeg(path, segment(STANDARD + rdf(f"{terms()} {note}")), *other, *parts)


@pytest.mark.parametrize("shuffle", [False, True])
def test_extended_xmp_is_put_together_in_any_order(shuffle, tmp_path):
    path = extended_file(tmp_path / "a.jpg", shuffle=shuffle)
    np.testing.assert_allclose(fr.read_depth(path).values, 4 / (8 - FRACTIONS * 7.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": 0}, "lacks parts of its extended XMP"),
        ({"drop": 2}, "lacks parts of its extended XMP"),
        ({"drop": -1}, "lacks parts of its extended XMP"),
        ({"drop": slice(None)}, "lacks parts of its extended XMP"),
        ({"guid": "1" * 32}, "lacks parts of its extended XMP"),
        ({"total": 2**32 - 1}, "lacks parts of its extended XMP"),
        ({"damage": True}, "its MD5 sum is not"),
        ({"mention": False}, "has no GDepth:Data"),
    ],
)
def test_broken_extended_xmp_is_told(options, message, tmp_path):
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(extended_file(tmp_path / "a.jpg", **options))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Format": "RangeLog"}, "Format 'RangeLog'; RangeInverse and RangeLinear"),
        ({"Format": None}, "Format None"),
        ({"Near": None}, "finite number for Near of its depth, got ''"),
        ({"Near": "8"}, "Near 8 and Far 8"),
        ({"Near": "9"}, "Near 9 and Far 8"),
        ({"Near": "0"}, "RangeInverse needs 0 < Near < Far"),
        ({"Near": "-1", "Format": "RangeLinear"}, "RangeLinear needs 0 <= Near < Far"),
        ({"Far": "nan"}, "finite number for Far"),
        ({"Far": "inf"}, "finite number for Far"),
        ({"Far": "1e999"}, "finite number for Far"),
        ({"Far": "8 m"}, "finite number for Far"),
        ({"Far": "1e300", "Format": "RangeLinear"}, "finite"),
        ({"MeasureType": "OpticRay"}, "MeasureType 'OpticRay'"),
    ],
)
def test_terms_that_make_no_sense_are_refused(changed, message, tmp_path):
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(one_packet(tmp_path / "a.jpg", terms(**changed)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("!!!", "not base64"),
        ("ä", "not base64"),
        ("A", "not base64"),
        ("AAAA", "is not a PNG, TIFF or JPEG picture"),
        (png(SAMPLES)[:40], "damaged or cut short"),
        (png(np.zeros((4, 4, 3), np.uint8) + np.uint8([0, 9, 99])), "got colour"),
    ],
)
def test_data_that_is_no_picture_is_refused(data, message, tmp_path):
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(one_packet(tmp_path / "a.jpg", terms(), data))


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><x>&c;</x>'


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (BOMB, "not plain well-formed XML"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "not plain well-formed XML"),
        (BOMB.decode().encode("utf-16"), "not plain well-formed XML"),
        (b"<x", "not plain well-formed XML"),
        (b"<x/>", "without rdf:RDF"),
        (rdf()[:-20], "not plain well-formed XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><x/>', "not plain well-formed XML"),
        (rdf("nobody:Data='x'"), "not plain well-formed XML"),
        (rdf(), "carries no depth"),
        (b"", "carries no depth"),
        (rdf(elements="<dc:a>" * 5000 + "</dc:a>" * 5000), "carries no depth"),
    ],
)
def test_hostile_xmp_is_refused(packet, message, tmp_path):
    with pytest.raises(fr.DepthFileError, match=message):
        fr.read_depth(write_jpeg(tmp_path / "a.jpg", segment(STANDARD + packet)))


def test_a_photo_without_depth_says_so(tmp_path):
    (tmp_path / "a.jpg").write_bytes(plain_jpeg())
    with pytest.raises(fr.DepthFileError, match="carries no depth: its XMP has no GDepth:Data"):
        fr.read_depth(tmp_path / "a.jpg")


def test_only_what_the_file_has_is_taken(tmp_path):
    path = one_packet(tmp_path / "a.jpg", terms())
    assert fr.read_depth(path, kind="metric").kind == "metric"
    with pytest.raises(fr.DepthFileError, match="says that its depth is metric, and kind is 'relative'"):
        fr.read_depth(path, kind="relative")


# Written by us


def write(tmp_path, depth, jpeg=None):
    (tmp_path / "photo.jpg").write_bytes(jpeg or plain_jpeg())
    fr.write_depth(tmp_path / "depth.jpg", depth, photo=tmp_path / "photo.jpg")
    return tmp_path / "depth.jpg"


def packets_of(data):
    """Return the standard packet, and the extended one with its GUID, as another program would find them."""
    payloads = [payload for marker, payload in JpegFile.split(data, "").segments if marker == 0xE1]
    (standard,) = (payload[len(STANDARD) :] for payload in payloads if payload.startswith(STANDARD))
    parts = [payload[len(EXTENDED) :] for payload in payloads if payload.startswith(EXTENDED)]
    (guid,) = {part[:32] for part in parts}
    whole = b"".join(part[40:] for part in sorted(parts, key=lambda part: part[36:40]))
    assert {struct.unpack(">I", part[32:36])[0] for part in parts} == {len(whole)}
    return standard, whole, guid.decode()


def test_pixels_and_metadata_of_the_photo_stay(tmp_path):
    exif = Image.Exif()
    exif[0x10F] = "Makers"
    jpeg = plain_jpeg(exif=exif.tobytes(), icc_profile=b"profile" * 20_000, comment=b"hello")
    written = write(tmp_path, fr.DepthMap([[1.0, 2.0]], "metric"), jpeg).read_bytes()
    ours = [s for s in JpegFile.split(written, "").segments if s.payload.startswith((STANDARD, EXTENDED))]
    assert len(ours) == 2
    for _, payload in ours:
        written = written.replace(segment(payload), b"")
    assert written == jpeg


def test_xmp_stands_before_what_may_hold_offsets(tmp_path):
    exif = Image.Exif()
    exif[0x10F] = "Makers"
    jpeg = plain_jpeg(exif=exif.tobytes(), icc_profile=b"profile")  # in APP2, as the index of several pictures is
    written = JpegFile.split(write(tmp_path, fr.DepthMap([[1.0, 2.0]], "metric"), jpeg).read_bytes(), "")
    kinds = [bytes(payload[:8]) for _, payload in written.segments[:5]]
    assert kinds == [
        b"JFIF\0\1\1\0",
        *(start[:8] for start in (b"Exif\0\0" + exif.tobytes()[6:], STANDARD, EXTENDED)),
        b"ICC_PROF",
    ]


def test_the_depth_is_written_as_the_specifications_have_it(tmp_path):
    values = np.random.default_rng(0).uniform(0.7, 5, (200, 300)).astype(np.float32)
    data = write(tmp_path, fr.DepthMap(values, "metric")).read_bytes()
    standard, whole, guid = packets_of(data)
    assert hashlib.md5(whole).hexdigest().upper() == guid
    assert f'xmpNote:HasExtendedXMP="{guid}"'.encode() in standard
    for term in ("Format", "RangeLinear"), ("Units", "m"), ("Mime", "image/png"), ("MeasureType", "OpticalAxis"):
        assert 'GDepth:{}="{}"'.format(*term).encode() in standard
    assert all(len(payload) <= 65533 for _, payload in JpegFile.split(data, "").segments)
    assert sum(payload.startswith(EXTENDED) for _, payload in JpegFile.split(data, "").segments) > 1
    xmp = Image.open(io.BytesIO(data)).getxmp()["xmpmeta"]["RDF"]["Description"]  # by another reader
    near, far = (next(float(part[term]) for part in xmp if term in part) for term in ("Near", "Far"))
    assert (near, far) == (values.min(), values.max())
    picture = base64.b64decode(whole.split(b'GDepth:Data="')[1].split(b'"')[0])
    fractions = np.asarray(Image.open(io.BytesIO(picture))) / 65535
    np.testing.assert_allclose(near + fractions * (far - near), values, atol=(far - near) / 65535)


def test_far_distances_are_written_in_equal_steps_of_their_reciprocals(tmp_path):
    path = write(tmp_path, fr.DepthMap([[0.5, 0.51, 3.0], [1e6, 7, 0.9]], "metric"))
    assert b'"RangeInverse"' in path.read_bytes()
    expected = [[2, 1 / 0.51, 1 / 3], [1e-6, 1 / 7, 1 / 0.9]]
    np.testing.assert_allclose(1 / fr.read_depth(path).values, expected, atol=2 / 65535)


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_depth_without_distances_is_not_taken_for_metres(kind, tmp_path):
    values = np.array([[0.125, 0.5, 0.875]], np.float32)
    path = write(tmp_path, fr.DepthMap(values, kind))
    standard, whole, _ = packets_of(path.read_bytes())
    assert b'GDepth:Units="arbitrary"' in standard
    assert b'GDepth:Format="RangeInverse"' in standard
    picture = base64.b64decode(whole.split(b'GDepth:Data="')[1].split(b'"')[0])
    samples = np.asarray(Image.open(io.BytesIO(picture))).astype(int)
    assert (np.diff(samples) > 0).all() if kind == "relative" else (np.diff(samples) < 0).all()  # white is farthest
    np.testing.assert_allclose(fr.read_depth(path).values, values, atol=1 / 65535)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_depth_turns_with_the_photo(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x112] = orientation
    jpeg = plain_jpeg(exif=exif.tobytes())
    height, width = (8, 12) if orientation < 5 else (12, 8)
    values = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)
    path = write(tmp_path, fr.DepthMap(values, "relative"), jpeg)
    np.testing.assert_allclose(fr.read_depth(path).values, values, atol=1 / 65535)
    assert fr.read_photo(path).pixels.shape[:2] == values.shape
    _, whole, _ = packets_of(path.read_bytes())
    picture = base64.b64decode(whole.split(b'GDepth:Data="')[1].split(b'"')[0])
    stored = np.asarray(Image.open(io.BytesIO(picture)))
    assert stored.shape == (8, 12)  # as the pixels are stored
    upright = fr.photo.turn(stored, orientation)
    np.testing.assert_allclose(upright / 65535, values, atol=1 / 65535)


def test_other_xmp_stays_and_older_depth_goes(tmp_path):
    kept = 'dc:format="kept &amp; whole" GImage:Mime="image/jpeg"'
    whole = rdf(f'GImage:Data="QUJD" GDepth:Data="{png(SAMPLES)}"', "<dc:title>ünïcode</dc:title>")
    guid = hashlib.md5(whole).hexdigest().upper()
    standard = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>' + rdf(
        f'{terms()} {kept} xmpNote:HasExtendedXMP="{guid}"'
    )
    path = write_jpeg(
        tmp_path / "in.jpg", segment(STANDARD + standard + b'<?xpacket end="w"?>'), *extended_segments(whole, guid)
    )
    values = np.array([[1.0, 2.0]], np.float32)
    fr.write_depth(path, fr.DepthMap(values, "metric"), photo=path)  # in place
    np.testing.assert_allclose(fr.read_depth(path).values, values, atol=1e-5)
    standard, whole, _ = packets_of(path.read_bytes())
    assert kept.split()[0].encode() in standard
    assert b'GImage:Mime="image/jpeg"' in standard
    assert standard.count(b"GDepth:Near") == 1
    assert standard.count(b"HasExtendedXMP") == 1
    assert b'GImage:Data="QUJD"' in whole
    assert "<dc:title>ünïcode</dc:title>".encode() in whole
    assert whole.count(b"GDepth:Data") == 1


def test_writing_over_depth_of_another_kind_leaves_nothing_of_it(tmp_path):
    path = write(tmp_path, fr.DepthMap([[0.0, 1.0]], "relative"))
    fr.write_depth(path, fr.DepthMap([[1.0, 2.0]], "metric"), photo=path)
    assert fr.read_depth(path).kind == "metric"


def test_a_photo_of_another_format_becomes_a_jpeg(tmp_path):
    pixels = np.random.default_rng(0).random((8, 12, 3), np.float32)
    profile = b"\0" * 16 + b"RGB " + bytes(200)
    photo = fr.Photo(pixels, bit_depth=16, icc_profile=profile)
    fr.write_depth(tmp_path / "depth.jpg", fr.DepthMap([[0.0, 1.0]], "relative"), photo=photo)
    fr.write_photo(tmp_path / "photo.jpg", pixels, like=photo)
    back, expected = (fr.read_photo(tmp_path / name) for name in ("depth.jpg", "photo.jpg"))
    np.testing.assert_array_equal(back.pixels, expected.pixels)
    fr.write_photo(tmp_path / "photo.png", pixels)
    fr.write_depth(tmp_path / "again.jpg", fr.DepthMap([[0.0, 1.0]], "relative"), photo=tmp_path / "photo.png")
    assert fr.read_photo(tmp_path / "again.jpg").pixels.shape == pixels.shape
    (tmp_path / "photo.txt").write_text("no photo")
    with pytest.raises(fr.DepthFileError, match=r"photo\.txt is not a PNG, JPEG or TIFF photo"):
        fr.write_depth(tmp_path / "depth.jpg", fr.DepthMap([[0.0, 1.0]], "relative"), photo=tmp_path / "photo.txt")


def test_xmp_that_leaves_no_room_is_told(tmp_path):
    jpeg = plain_jpeg(xmp=rdf(f'dc:format="{"x" * 64_800}"'))
    with pytest.raises(fr.DepthFileError, match=r"has XMP of 6\d+ bytes; a JPEG file holds 65502 beside depth"):
        write(tmp_path, fr.DepthMap([[1.0, 2.0]], "metric"), jpeg)


def test_xmp_nested_too_deeply_is_told(tmp_path):
    jpeg = plain_jpeg(xmp=rdf(elements="<dc:a>" * 4000 + "</dc:a>" * 4000))
    with pytest.raises(fr.DepthFileError, match="nested too deeply"):
        write(tmp_path, fr.DepthMap([[1.0, 2.0]], "metric"), jpeg)


@settings(max_examples=200)
@given(data=st.data())
def test_no_damage_to_a_file_does_more_than_an_error(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(write(folder, fr.DepthMap([[1.0, 2.0], [3.0, 4.0]], "metric")).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(3, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "damaged.jpg").write_bytes(content)
    with suppress(fr.DepthFileError):
        fr.read_depth(folder / "damaged.jpg")


def test_a_large_map_takes_no_longer_than_its_picture(tmp_path):
    values = np.random.default_rng(0).uniform(1, 9, (1400, 2100)).astype(np.float32)  # noise: 6 MB
    path = write(tmp_path, fr.DepthMap(values, "metric"))
    np.testing.assert_allclose(fr.read_depth(path).values, values, atol=8 / 65535)


@pytest.mark.parametrize("shape", [(12, 8), (3, 12)])
def test_depth_of_another_photo_is_not_put_beside_this_one(shape, tmp_path):
    with pytest.raises(fr.DepthFileError, match=r"do not have the photo's proportions \(8, 12\)"):
        write(tmp_path, fr.DepthMap(np.ones(shape), "metric"))
    assert not (tmp_path / "depth.jpg").exists()


@pytest.mark.parametrize("values", [[[1e-10, 1e10]], [[3.4e38, 3.4e38]], [[2.0, 2.0]]])
def test_any_distances_that_are_written_can_be_read(values, tmp_path):
    depth = fr.DepthMap(np.repeat(np.repeat(values, 8, axis=0), 6, axis=1), "metric")
    np.testing.assert_allclose(fr.read_depth(write(tmp_path, depth)).values, depth.values, rtol=1e-4)


def test_a_note_counts_only_beside_the_terms_it_was_written_with(tmp_path):
    path = write(tmp_path, fr.DepthMap(np.tile([0.25, 0.75], (8, 6)), "inverse"))
    changed = path.read_bytes().replace(b'GDepth:Units="arbitrary"', b'GDepth:Units="m"        ')
    path.write_bytes(changed)
    assert fr.read_depth(path).kind == "metric"


def test_a_distance_without_reciprocal_is_an_error(tmp_path):
    with pytest.raises(fr.DepthFileError, match="needs 0 < Near < Far"):
        fr.read_depth(one_packet(tmp_path / "a.jpg", terms(Near="1e-320")))


def test_writing_again_does_not_grow_the_file(tmp_path):
    depth = fr.DepthMap(np.tile([0.25, 0.75], (8, 6)), "inverse")
    path = write(tmp_path, depth)
    size = path.stat().st_size
    for _ in range(3):
        fr.write_depth(path, depth, photo=path)
    assert path.stat().st_size == size
    assert fr.read_depth(path).kind == "inverse"


def test_white_space_of_other_properties_is_kept(tmp_path):
    elements = "<dc:title>a&#13;b\nc</dc:title>"
    source = write_jpeg(tmp_path / "a.jpg", segment(STANDARD + rdf('dc:source="1&#10;2&#9;3&#13;4"', elements)))
    fr.write_depth(tmp_path / "b.jpg", fr.DepthMap(np.ones((8, 12)), "metric"), photo=source)
    standard, _, _ = packets_of((tmp_path / "b.jpg").read_bytes())
    assert b'dc:source="1&#10;2&#9;3&#13;4"' in standard
    assert b"<dc:title>a&#13;b\nc</dc:title>" in standard


def test_the_other_pictures_of_a_file_are_still_found(tmp_path):
    first, second = (
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)) for seed in (0, 1)
    )
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], xmp=rdf('dc:source="x"'))
    target = tmp_path / "b.jpg"
    for source in (tmp_path / "a.jpg", target):
        fr.write_depth(target, fr.DepthMap(np.ones((8, 12)), "metric"), photo=source)
        with Image.open(tmp_path / "a.jpg") as before, Image.open(target) as after:
            assert after.n_frames == 2
            for frame in (0, 1):
                before.seek(frame)
                after.seek(frame)
                np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
            sizes = [entry["Size"] for entry in after.mpinfo[0xB002]]
        assert sum(sizes) == target.stat().st_size


@pytest.mark.parametrize("payload", [b"MPF\0", b"MPF\0II*\0", b"MPF\0II*\0\xff\xff\xff\xff", b"MPF\0XX*\0\0\0\0\0"])
def test_an_index_of_pictures_that_makes_no_sense_stays(payload, tmp_path):
    source = write_jpeg(tmp_path / "a.jpg", segment(payload, 0xE2))
    fr.write_depth(tmp_path / "b.jpg", fr.DepthMap(np.ones((8, 12)), "metric"), photo=source)
    assert segment(payload, 0xE2) in (tmp_path / "b.jpg").read_bytes()
