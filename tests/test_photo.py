"""Photos: made here with Pillow, tifffile or libvips, and read back by another than the one under test."""

import contextlib
import io
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, JpegImagePlugin
from PIL.TiffImagePlugin import IFDRational

from fastrefocus import exif, photo
from fastrefocus.errors import PhotoError
from fastrefocus.photo import Photo, check_target, read_photo, write_photo

ORIENTED = {  # EXIF orientation -> how a viewer turns the picture
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
SUFFIXES = [".png", ".jpg", ".tif"]
H, W = 21, 34


@pytest.fixture(scope="module")
def rgb():
    return np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)


def make_exif(orientation=1, endian=">"):
    """An EXIF block of everything that may go wrong on its way into a file of another byte order."""
    block = Image.Exif()
    block.endian = endian
    block.update({0x10F: "Makers", 0x132: "2020:01:02 03:04:05", 0x112: orientation})
    block.update({0x11A: 300.0, 0x11B: 300.0, 0x128: 2})
    details = block.get_ifd(0x8769)
    details.update({0x829D: IFDRational(14, 5), 0x920A: 50.0, 0xA405: 75, 0x9206: 1.5, 0x9204: IFDRational(-1, 2)})
    details.update({0xA432: (24.0, 70.0, 2.8, 4.0), 0x9101: b"\1\2\3\0", 0x927C: b"maker\x00note!" * 9})
    details.update({0xA005: {1: "R98", 2: b"0100"}})
    block.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.5)})
    return block.tobytes()


def exif_tags(data):
    """All that Pillow finds: {tag: value} of directory 0, Exif, Interoperability and GPS, without pointers."""
    block = Image.Exif()
    block.load(data)
    directories = [dict(block), *(block.get_ifd(pointer) for pointer in (0x8769, 0xA005, 0x8825))]
    pointers = (0x8769, 0xA005, 0x8825)
    return [{tag: value for tag, value in found.items() if tag not in pointers} for found in directories]


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def encode(array, fmt, **options):
    with io.BytesIO() as stream:
        Image.fromarray(array).save(stream, fmt, **options)
        return stream.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Pixels


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_lossless_formats_return_what_was_written(tmp_path, suffix, bit_depth, channels, alpha):
    rng = np.random.default_rng(0)
    maximum = 2**bit_depth - 1
    samples = rng.integers(0, maximum + 1, (H, W, *channels)).astype(f"u{bit_depth // 8}")
    opacity = rng.integers(0, maximum + 1, (H, W)).astype(np.float32) / np.float32(maximum) if alpha else None
    original = Photo(samples / np.float32(maximum), opacity, bit_depth)
    path = tmp_path / f"x{suffix}"

    write_photo(path, original.pixels, like=original)
    back = read_photo(path)

    assert back.bit_depth == bit_depth
    assert back.pixels.dtype == np.float32
    assert back.pixels.flags.c_contiguous
    np.testing.assert_array_equal(back.pixels, original.pixels)
    assert (back.alpha is None) == (opacity is None)
    if alpha:
        np.testing.assert_array_equal(back.alpha, opacity)
    assert (back.exif, back.icc_profile) == (None, None)


@given(hnp.arrays(np.uint16, st.one_of(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), st.just((4, 7, 3)))))
def test_any_16_bit_image_survives(tmp_path_factory, samples):
    path = tmp_path_factory.getbasetemp() / "any.png"
    write_photo(path, samples, like=Photo(samples / np.float32(65535), bit_depth=16))
    np.testing.assert_array_equal(read_photo(path).pixels, samples / np.float32(65535))


@pytest.mark.parametrize(("mode", "shape"), [("L", (H, W)), ("RGB", (H, W, 3)), ("RGBA", (H, W, 4)), ("LA", (H, W, 2))])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pillow_and_we_agree_on_8_bits(tmp_path, rgb, suffix, mode, shape):
    picture = Image.fromarray(rgb).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(rgb[..., 1]))
    picture.save(tmp_path / f"theirs{suffix}")
    samples = np.asarray(picture)
    assert samples.shape == shape

    theirs = read_photo(tmp_path / f"theirs{suffix}")
    write_photo(tmp_path / f"ours{suffix}", theirs.pixels, like=theirs)

    colour = samples[..., 0] if mode == "LA" else samples[..., :3] if mode == "RGBA" else samples
    np.testing.assert_array_equal(theirs.pixels, colour.astype(np.float32) / np.float32(255))
    with Image.open(tmp_path / f"ours{suffix}") as ours:
        assert ours.mode == mode
        np.testing.assert_array_equal(np.asarray(ours), samples)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tifffile_and_we_agree_on_16_bits(tmp_path, channels, byteorder):
    samples = np.random.default_rng(2).integers(0, 65536, (H, W, channels), np.uint16)
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=extra, byteorder=byteorder)
    theirs = read_photo(tmp_path / "a.tif")
    write_photo(tmp_path / "b.tif", theirs.pixels, like=theirs)
    np.testing.assert_array_equal(theirs.pixels, samples[..., :3].astype(np.float32) / np.float32(65535))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.asarray(), samples)
        assert file.pages[0].extrasamples == ((2,) if channels == 4 else ())  # 2: alpha, not premultiplied


def test_jpeg_is_written_at_quality_95_with_full_colour_resolution(tmp_path):
    ramp = np.linspace(0, 1, 64 * 48 * 3, dtype=np.float32).reshape(64, 48, 3)
    write_photo(tmp_path / "x.jpeg", ramp, like=Photo(ramp, np.ones((64, 48), np.float32), 16))
    back = read_photo(tmp_path / "x.jpeg")
    assert back.bit_depth == 8
    assert back.alpha is None
    np.testing.assert_allclose(back.pixels, ramp, atol=0.02)
    with (
        Image.open(tmp_path / "x.jpeg") as ours,
        Image.open(io.BytesIO(encode(np.zeros((8, 8, 3), np.uint8), "JPEG", quality=95))) as theirs,
    ):
        assert JpegImagePlugin.get_sampling(ours) == 0  # 4:4:4
        assert ours.quantization == theirs.quantization


def test_values_are_clipped_and_rounded_to_nearest(tmp_path):
    values = np.array([[-0.4, 0.0, 0.49 / 255, 0.51 / 255, 99.6 / 255, 1.0, 3.0]], np.float32)
    before = values.copy()
    write_photo(tmp_path / "x.png", values)
    np.testing.assert_array_equal(values, before)
    with Image.open(tmp_path / "x.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), [[0, 0, 0, 1, 100, 255, 255]])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_pixel(tmp_path, suffix):
    write_photo(tmp_path / f"x{suffix}", [[0.2]])
    assert read_photo(tmp_path / f"x{suffix}").pixels == pytest.approx(0.2)


def test_uint_pixels_and_awkward_memory(tmp_path, rgb):
    view = rgb[::-1, ::2]
    view.flags.writeable = False
    write_photo(tmp_path / "x.png", view)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.png").pixels, view / np.float32(255))


def test_palette_and_few_bits_are_expanded(tmp_path, rgb):
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "p.png")
    black_and_white = Image.fromarray(rgb[..., 0] > 99)
    black_and_white.save(tmp_path / "b.png")
    black_and_white.save(tmp_path / "b.tif")
    np.testing.assert_array_equal(
        read_photo(tmp_path / "p.png").pixels, np.asarray(palette.convert("RGB")) / np.float32(255)
    )
    for name in ("b.png", "b.tif"):
        read = read_photo(tmp_path / name)
        assert read.bit_depth == 8
        np.testing.assert_array_equal(read.pixels, rgb[..., 0] > 99)


def test_real_jpeg():
    from skimage import data

    path = Path(data.__file__).parent / "rocket.jpg"
    np.testing.assert_allclose(read_photo(path).pixels, data.rocket() / np.float32(255), atol=2.5 / 255)


def test_real_16_bit_photo(shared):
    path = shared / "data/defocus/pixel4_001/blurry.png"
    read = read_photo(path)
    assert read.bit_depth == 16
    with Image.open(path) as picture:
        np.testing.assert_array_equal(read.pixels, np.asarray(picture).astype(np.float32) / np.float32(65535))


# EXIF and ICC


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_is_applied_once(tmp_path, rgb, orientation, suffix, endian):
    save(tmp_path / f"stored{suffix}", rgb)
    save(tmp_path / f"turned{suffix}", rgb, exif=make_exif(orientation, endian))
    wanted = ORIENTED[orientation](read_photo(tmp_path / f"stored{suffix}").pixels)

    turned = read_photo(tmp_path / f"turned{suffix}")
    write_photo(tmp_path / "again.png", turned.pixels, like=turned)
    again = read_photo(tmp_path / "again.png")

    for read in (turned, again):
        np.testing.assert_array_equal(read.pixels, wanted, strict=True)
        assert exif_tags(read.exif)[0][0x112] == 1


def test_alpha_is_turned_with_the_pixels(tmp_path):
    samples = np.random.default_rng(3).integers(0, 256, (H, W, 4), np.uint8)
    read = read_photo(save(tmp_path / "x.png", samples, exif=make_exif(6)))
    np.testing.assert_array_equal(read.alpha, np.rot90(samples[..., 3], -1) / np.float32(255))


@pytest.mark.parametrize("orientation", [0, 9])
def test_orientations_that_do_not_exist_change_nothing(tmp_path, rgb, orientation):
    read = read_photo(save(tmp_path / "x.png", rgb, exif=make_exif(orientation)))
    np.testing.assert_array_equal(read.pixels, rgb / np.float32(255))
    assert exif_tags(read.exif)[0][0x112] == 1


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_exif_is_kept_from_any_format_to_any(tmp_path, rgb, source, target, endian):
    block = make_exif(endian=endian)
    read = read_photo(save(tmp_path / f"a{source}", rgb, exif=block))
    write_photo(tmp_path / f"b{target}", read.pixels, like=read)
    back = read_photo(tmp_path / f"b{target}")
    wanted = exif_tags(block)
    if source == ".tif":
        wanted[2] = {}  # into TIFF, Pillow writes a pointer to no directory
    assert exif_tags(read.exif) == wanted
    assert exif_tags(back.exif) == wanted
    if ".tif" not in (source, target):
        assert back.exif == block.removeprefix(b"Exif\0\0")  # byte for byte


def test_other_programs_see_the_exif_of_our_tiff(tmp_path, rgb):
    read = read_photo(save(tmp_path / "a.jpg", rgb, exif=make_exif()))
    write_photo(tmp_path / "b.tif", read.pixels, like=read)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        tags = file.pages[0].tags
        assert len(file.pages) == 1
        assert tags["Make"].value == "Makers"
        assert tags["ExifTag"].value["FNumber"] == (14, 5)
        assert tags["ExifTag"].value["ExposureBiasValue"] == (-1, 2)
        assert tags["GPSTag"].value["GPSLatitudeRef"] == "N"
        assert [tag.code for tag in tags] == sorted(tag.code for tag in tags)
        assert all(tag.valueoffset % 2 == 0 for tag in tags if tag.valuebytecount > 4)
        assert file.pages[0].offset % 2 == 0


def test_thumbnail_is_left_out(tmp_path, rgb):
    block = make_exif().removeprefix(b"Exif\0\0")
    (offset,) = struct.unpack_from(">I", block, 4)
    (count,) = struct.unpack_from(">H", block, offset)
    with_thumbnail = bytearray(block)
    struct.pack_into(">I", with_thumbnail, offset + 2 + 12 * count, len(block))
    with_thumbnail += struct.pack(">HHHIII", 1, 259, 3, 1, 6 << 16, 0)
    read = read_photo(save(tmp_path / "x.jpg", rgb, exif=b"Exif\0\0" + bytes(with_thumbnail)))
    assert read.exif[: len(block)] == block


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\0", b"nonsense", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\xff\xff\xff\xff\0\0"],
    ids=["empty", "short", "nonsense", "too many entries", "far away"],
)
def test_damaged_exif_does_not_lose_the_photo(tmp_path, rgb, block, capfd):
    payload = b"Exif\0\0" + block
    jpeg = encode(rgb, "JPEG")
    (tmp_path / "x.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:])
    read = read_photo(tmp_path / "x.jpg")
    assert read.exif is None
    assert read.pixels.shape == rgb.shape
    assert capfd.readouterr() == ("", "")


@given(st.data())
def test_any_damage_to_a_block_is_survived(data):
    block = bytearray(make_exif().removeprefix(b"Exif\0\0"))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(4, len(block) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(block[: data.draw(st.integers(0, len(block)))])
    tiff = encode(np.zeros((2, 3), np.uint8), "TIFF")
    for call in (lambda: exif.upright(damaged), lambda: exif.from_tiff(damaged), lambda: exif.into_tiff(tiff, damaged)):
        with contextlib.suppress(ValueError):
            call()


def test_entries_that_share_their_bytes_do_not_multiply():
    number, size = 500, 20000
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 7, size, 0) for tag in range(number))
    directory = struct.pack("<H", number) + entries + bytes(4)
    zeroth = struct.pack("<HHHIII", 1, 34665, 4, 1, 26, 0)
    block = b"II*\0\x08\0\0\0" + zeroth + directory + bytes(size)
    _, copied = exif.from_tiff(block)
    assert len(copied) < 2 * len(block)


def test_icc_profile_is_kept(tmp_path, rgb):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in SUFFIXES:
        read = read_photo(save(tmp_path / f"a{suffix}", rgb, icc_profile=profile))
        assert read.icc_profile == profile
        for target in SUFFIXES:
            write_photo(tmp_path / f"b{target}", read.pixels, like=read)
            assert read_photo(tmp_path / f"b{target}").icc_profile == profile
            write_photo(tmp_path / f"b{target}", read.pixels[..., 0], like=read)  # not for grey
            assert read_photo(tmp_path / f"b{target}").icc_profile is None


def test_exif_too_large_for_jpeg(tmp_path, rgb):
    read = read_photo(save(tmp_path / "a.png", rgb, exif=make_exif()))
    large = Photo(read.pixels, exif=make_exif().removeprefix(b"Exif\0\0") + bytes(66000))
    write_photo(tmp_path / "b.png", read.pixels, like=large)
    with pytest.raises(PhotoError, match=r"b\.jpg cannot be written: its EXIF of 66\d+ bytes is larger"):
        write_photo(tmp_path / "b.jpg", read.pixels, like=large)


# What is refused


def bad_files(folder, rgb):
    """Files that are no photos: name -> reason given."""
    big_header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + big_header + png_chunk(b"IDAT", zlib.compress(bytes(999))) + png_chunk(b"IEND", b"")
    lossless = {"compression": "tiff_lzw"}
    raw = io.BytesIO()
    tifffile.imwrite(raw, rgb, photometric="rgb", subfiletype=1)
    big_tiff = io.BytesIO()
    tifffile.imwrite(big_tiff, rgb, photometric="rgb", bigtiff=True)
    halves = {
        "half.png": encode(rgb, "PNG"),
        "half.jpg": encode(rgb, "JPEG"),
        "half.tif": encode(rgb, "TIFF"),
        "half_lzw.tif": encode(rgb, "TIFF", **lossless),
    }
    contents = {name: (data[: len(data) // 2], "damaged or cut short") for name, data in halves.items()} | {
        "magic.png": (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        "magic.jpg": (b"\xff\xd8\xff", "damaged or cut short"),
        "magic.tif": (b"II*\0", "damaged or cut short"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"This is no picture at all.", "not a PNG, JPEG or TIFF photo"),
        "gif.png": (encode(rgb[..., 0], "GIF"), "not a PNG, JPEG or TIFF photo"),
        "svg.png": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not a PNG"),
        "big.tif": (big_tiff.getvalue(), "not a PNG"),
        "bomb.png": (bomb, "claims 60000 x 60000 pixels; at most 268435456 are read"),
        "float.tif": (encode(rgb[..., 0].astype(np.float32), "TIFF"), "samples of type float"),
        "int.tif": (encode(rgb[..., 0].astype(np.int32), "TIFF"), "samples of type int"),
        "preview.dng": (raw.getvalue(), "camera raw"),
    }
    for mode, name in (("CMYK", "cmyk.jpg"), ("CMYK", "cmyk.tif")):
        Image.fromarray(rgb).convert(mode).save(folder / name)
        contents[name] = ((folder / name).read_bytes(), "4 channels of kind 'cmyk'")
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    return {name: reason for name, (_, reason) in contents.items()} | {"folder.png": "is a directory"}


def test_bad_files_give_one_clear_error_and_print_nothing(tmp_path, rgb, capfd):
    for name, reason in bad_files(tmp_path, rgb).items():
        with pytest.raises(PhotoError) as caught:
            read_photo(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(str(tmp_path / name))
        assert reason in message
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_bad_files_print_nothing_outside_pytest(tmp_path, rgb):
    names = [str(tmp_path / name) for name in bad_files(tmp_path, rgb)]
    script = """if True:
        import sys
        from fastrefocus.photo import read_photo
        for name in sys.argv[1:]:
            try:
                read_photo(name)
            except ValueError:
                continue
            raise SystemExit(name)
        """
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_cut_is_noticed(tmp_path, rgb):
    for fmt, spare in (("PNG", 16), ("JPEG", 0), ("TIFF", 0)):  # a PNG ends in a checksum and an empty chunk
        data = encode(rgb[:5, :7], fmt)
        for length in range(1, len(data) - spare, 7):
            (tmp_path / "cut").write_bytes(data[:length])
            with pytest.raises(PhotoError):
                read_photo(tmp_path / "cut")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        read_photo(tmp_path / "nothing.png")


@pytest.mark.parametrize("path", [3, b"x.png", None])
def test_path_of_wrong_type(path):
    with pytest.raises(TypeError):
        read_photo(path)
    with pytest.raises(TypeError):
        write_photo(path, [[0.5]])


def test_pixel_limit_is_exact(tmp_path, rgb, monkeypatch):
    save(tmp_path / "x.png", rgb)
    monkeypatch.setattr(photo, "MAX_PIXELS", H * W)
    read_photo(tmp_path / "x.png")
    monkeypatch.setattr(photo, "MAX_PIXELS", H * W - 1)
    with pytest.raises(PhotoError, match="claims 34 x 21 pixels"):
        read_photo(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x", "x.gif", "x.png.bak", "png", ".png"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in one of \.png, \.jpg, \.jpeg, \.tif, \.tiff, got .*" + name):
        write_photo(tmp_path / name, [[0.5]])


def test_wrong_arguments_of_write(tmp_path, rgb):
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match="pixels must have shape"):
        write_photo(path, np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="pixels must hold finite"):
        write_photo(path, [[np.nan]])
    with pytest.raises(TypeError, match="like must be a Photo or None, got str"):
        write_photo(path, rgb, like="other.png")
    with pytest.raises(ValueError, match=r"like must have the height and width of pixels \(21, 34\), got \(34, 21\)"):
        write_photo(path, rgb, like=Photo(np.zeros((W, H), np.float32)))
    with pytest.raises(PhotoError, match=r"like\.alpha must have"):
        write_photo(path, rgb, like=Photo(rgb / np.float32(255), np.zeros((W, H), np.float32)))
    with pytest.raises(ValueError, match="bit_depth must be 8 or 16, got 12"):
        Photo(np.zeros((2, 3), np.float32), bit_depth=12)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_photo(tmp_path / "none" / "x.png", rgb)
    (tmp_path / "d.png").mkdir()
    with pytest.raises(PhotoError, match="it is a directory"):
        write_photo(tmp_path / "d.png", rgb)
    with pytest.raises(PhotoError, match=r"wide\.jpg cannot be written: JPEG cannot hold it"):
        write_photo(tmp_path / "wide.jpg", np.zeros((1, 70000), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["d.png"]


# Files


@pytest.mark.parametrize("name", ["grün 写真 [1].png", "x[page=2].tif", "[strip].jpg", "a b.png"])
@pytest.mark.parametrize("kind", [str, Path])
def test_names_are_only_names(tmp_path, name, kind):
    write_photo(kind(tmp_path / name), np.full((3, 5), 0.6))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    np.testing.assert_allclose(read_photo(kind(tmp_path / name)).pixels, 0.6, atol=0.01)


def test_format_is_told_from_the_content(tmp_path, rgb):
    (tmp_path / "really.jpg").write_bytes(encode(rgb, "PNG"))
    np.testing.assert_array_equal(read_photo(tmp_path / "really.jpg").pixels, rgb / np.float32(255))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwritten_file_is_read_anew(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for level in range(0, 240, 12):  # one colour: all files have the same size, so buffers come back
        write_photo(path, np.full((8, 16), level, np.uint8))
        np.testing.assert_allclose(read_photo(path).pixels * 255, level, atol=1)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failed_write_leaves_the_old_file(tmp_path, rgb, monkeypatch, error):
    path = save(tmp_path / "x.png", rgb)
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        write_photo(path, 1 - rgb / np.float32(255))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="signals to oneself")
def test_interrupt_stops_libvips_and_leaves_the_old_file(tmp_path, rgb, monkeypatch):
    path = save(tmp_path / "x.png", rgb)
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 2**16, (3000, 4000), np.uint16)
    like = Photo(np.broadcast_to(np.float32(0), noise.shape), bit_depth=16)

    interrupted_at, killed = [], []
    set_kill = pyvips.Image.set_kill
    monkeypatch.setattr(pyvips.Image, "set_kill", lambda self, kill: [killed.append(kill), set_kill(self, kill)])

    def interrupt_when_libvips_works():
        while not any(thread.name.startswith("fastrefocus-call") for thread in threading.enumerate()):
            time.sleep(0.001)
        interrupted_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_libvips_works)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        write_photo(path, noise, like=like)
    assert time.monotonic() - interrupted_at[0] < 1
    watcher.join()
    assert killed == [True]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_new_file_has_ordinary_permissions_and_links_stay(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    write_photo(tmp_path / "link.png", [[0.5]])
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_overwritten_file_keeps_its_permissions(tmp_path, monkeypatch):
    path = tmp_path / "private.png"
    (tmp_path / "link.png").symlink_to(path)
    path.touch()
    path.chmod(0o600)
    replace, modes_before = os.replace, []
    monkeypatch.setattr(os, "replace", lambda a, b: [modes_before.append(Path(a).stat().st_mode), replace(a, b)])
    write_photo(tmp_path / "link.png", [[0.5]])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(modes_before[0]) == 0o600  # at no time can others read it


def test_target_is_checked_by_itself(tmp_path):
    assert check_target(tmp_path / "x.TIF") == Path(os.path.realpath(tmp_path)) / "x.TIF"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "x.png")


def test_texts_in_other_encodings_are_passed_over(tmp_path):
    write_photo(tmp_path / "in.png", [[0.0, 1.0]])
    png = (tmp_path / "in.png").read_bytes()
    text = b"tEXt" + "Größe\0groß".encode("latin-1")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (tmp_path / "in.png").write_bytes(png[:33] + chunk + png[33:])
    np.testing.assert_array_equal(read_photo(tmp_path / "in.png").pixels, [[0, 1]])


def test_photo_is_frozen():
    with pytest.raises(AttributeError):
        Photo(np.zeros((2, 3), np.float32)).bit_depth = 16
