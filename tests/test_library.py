"""`PatchLibrary`: what it holds, its file, and what it refuses."""

import copy
import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import patches as reference

import fastrefocus as fr
from fastrefocus.synthesis import library as module
from fastrefocus.synthesis import search

H, W = 14, 17
RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (H, W, 3), np.uint8)
GREY = COLOUR[..., 1].copy()
DARK = RNG.integers(0, 12, (W, H, 3), np.uint8)  # where the sRGB curve is steepest
MASK = np.ones((H, W), bool)
MASK[6:9, 9:11] = False
ASYMMETRIC = np.array([[0, 0.05, 0.1, 0, 0.4], [0, 0, 0.2, 0.05, 0], [0.15, 0, 0, 0, 0.05]])
PSF = fr.disk_psf(3)


# Patches


def _to_light(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _from_light(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def slow_blur(photo, psf, linearize):
    """An 8-bit photo, mirrored at its borders, convolved by summing shifted copies; float64, 0..255."""
    photo = photo.reshape(*photo.shape[:2], -1) / 255
    light = _to_light(photo) if linearize else photo
    height, width = psf.shape
    padded = np.pad(light, [(height // 2, height // 2), (width // 2, width // 2), (0, 0)], mode="symmetric")
    total = np.zeros_like(light)
    for i in range(height):
        for j in range(width):  # light from a pixel above goes where the PSF says below
            top, left = height - 1 - i, width - 1 - j
            total += psf[i, j] * padded[top : top + photo.shape[0], left : left + photo.shape[1]]
    return 255 * (_from_light(total) if linearize else total)


def assert_holds(library, photos, masks, psf, size, linearize=True):
    """Every patch, in order, is cut from the photos inside their masks; blurred ones within a grey level."""
    sharp, blurred, positions = [], [], []
    for i, (photo, mask) in enumerate(zip(photos, masks, strict=True)):
        pixels = photo.reshape(*photo.shape[:2], -1)
        patches, where = reference.gather_patches(pixels, mask, size)
        sharp.append(patches)
        blurred.append(reference.gather_patches(slow_blur(photo, psf, linearize), mask, size)[0])
        positions.append(np.column_stack([np.full(len(where), i), where]))
    np.testing.assert_array_equal(library.patches, np.concatenate(sharp))
    np.testing.assert_array_equal(library.positions, np.concatenate(positions))
    np.testing.assert_allclose(library.blurred, np.concatenate(blurred), rtol=0, atol=0.51)
    assert library.patches.dtype == library.blurred.dtype == np.uint8
    assert library.positions.dtype == np.int32
    assert len(library) == len(library.positions) > 0


@pytest.mark.parametrize("linearize", [True, False])
@pytest.mark.parametrize("psf", [PSF, ASYMMETRIC, fr.disk_psf(11), np.ones((1, 1))], ids=np.shape)
@pytest.mark.parametrize("photo", [COLOUR, GREY, DARK], ids=["colour", "grey", "dark"])
def test_patches_are_cut_from_the_photo_and_from_the_blurred_photo(photo, psf, linearize):
    library = fr.PatchLibrary(photo, psf, linearize=linearize)
    assert_holds(library, [photo], [None], psf, 5, linearize)
    assert library.channels == (3 if photo.ndim == 3 else 1)


@pytest.mark.parametrize("size", [1, 3, 7, 13])
def test_other_patch_sizes(size):
    assert_holds(fr.PatchLibrary(COLOUR, ASYMMETRIC, patch_size=size), [COLOUR], [None], ASYMMETRIC, size)


def test_several_photos_with_and_without_masks():
    photos = [COLOUR, DARK, COLOUR[2:11]]
    masks = [MASK, None, MASK[2:11]]
    assert_holds(fr.PatchLibrary(photos, ASYMMETRIC, masks=masks), photos, masks, ASYMMETRIC, 5)


@pytest.mark.parametrize(
    "mask", [MASK, MASK.astype(np.uint8) * 255, [MASK], (MASK,)], ids=["bool", "uint8", "list", "tuple"]
)
def test_patches_lie_wholly_inside_the_mask(mask):
    library = fr.PatchLibrary(GREY, ASYMMETRIC, masks=mask)
    assert_holds(library, [GREY], [MASK], ASYMMETRIC, 5)
    for _, row, column in library.positions:
        assert MASK[row - 2 : row + 3, column - 2 : column + 3].all()


def test_light_from_outside_the_mask_counts():
    photo = np.zeros((H, W), np.uint8)
    photo[7, 10] = 255  # outside the mask
    library = fr.PatchLibrary(photo, fr.disk_psf(5), masks=MASK)
    assert library.patches.max() == 0
    assert library.blurred.max() > 0
    assert_holds(library, [photo], [MASK], fr.disk_psf(5), 5)


def test_a_photo_without_patches_beside_one_with_some():
    library = fr.PatchLibrary([COLOUR, DARK], PSF, masks=[np.zeros((H, W)), None])
    assert (library.positions[:, 0] == 1).all()
    assert_holds(library, [COLOUR, DARK], [np.zeros((H, W), bool), None], PSF, 5)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_other_dtypes_are_rounded_to_8_bits(dtype):
    scale = 257 if dtype == np.uint16 else 1 / 255
    library = fr.PatchLibrary((COLOUR * np.float64(scale)).astype(dtype), PSF)
    assert_holds(library, [COLOUR], [None], PSF, 5)


def test_strided_and_read_only_photos():
    strided = np.repeat(COLOUR, 2, axis=0)[::2]
    strided.flags.writeable = False
    assert_holds(fr.PatchLibrary(strided, np.asfortranarray(ASYMMETRIC)), [COLOUR], [None], ASYMMETRIC, 5)


def test_what_is_done_to_the_arguments_afterwards_changes_nothing():
    photo, mask, psf = COLOUR / np.float32(255), MASK.copy(), PSF.copy()
    library = fr.PatchLibrary(photo, psf, masks=mask)
    photo[:], mask[:], psf[:] = 0, False, 0
    assert_holds(library, [COLOUR], [MASK], PSF, 5)


def test_colours_and_rows_apart():
    library = fr.PatchLibrary([COLOUR, DARK], PSF, masks=[MASK, None])
    centres = library.patches[:, 36:39].astype(np.int64)
    np.testing.assert_array_equal(library.colours, centres @ [1, 256, 65536])
    index = {tuple(position): i for i, position in enumerate(library.positions.tolist())}
    above, below = library.rows_apart
    for i, (photo, row, column) in enumerate(library.positions.tolist()):
        assert above[i] == index.get((photo, row - 1, column), -1)
        assert below[i] == index.get((photo, row + 1, column), -1)


# Files


@pytest.fixture
def library():
    return fr.PatchLibrary([COLOUR, DARK], ASYMMETRIC, masks=[MASK, None], patch_size=3)


def assert_same(loaded, library):
    for name in ("patches", "blurred", "positions"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(library, name), strict=True)
    assert loaded.patch_size == library.patch_size
    result, expected = (fr.synthesize(COLOUR, own, candidates=5) for own in (loaded, library))
    np.testing.assert_array_equal(result.source, expected.source)
    np.testing.assert_array_equal(result.confidence, expected.confidence)


def test_a_library_comes_back_from_its_file(library, tmp_path):
    library.save(tmp_path / "a.patches")  # no ending is added
    assert [path.name for path in tmp_path.iterdir()] == ["a.patches"]
    loaded = fr.PatchLibrary.load(str(tmp_path / "a.patches"))
    assert_same(loaded, library)
    assert loaded.centroids is None


def test_the_trained_index_comes_back_too(library, tmp_path):
    expected = fr.synthesize(COLOUR, library, search="faiss-ivf")
    library.save(tmp_path / "a.npz")
    loaded = fr.PatchLibrary.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.centroids, library.centroids, strict=True)
    np.testing.assert_array_equal(fr.synthesize(COLOUR, loaded, search="faiss-ivf").source, expected.source)
    np.testing.assert_array_equal(loaded.centroids, library.centroids, strict=True)  # not trained again
    loaded.save(tmp_path / "b.npz")
    assert_same(fr.PatchLibrary.load(tmp_path / "b.npz"), library)


def test_the_file_is_as_documented(library, tmp_path):
    library.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    names = [f"{name}_{i}" for i in range(2) for name in ("sharp", "blurred", "mask")]
    assert sorted(arrays) == sorted(["format", "version", "patch_size", *names])
    np.testing.assert_array_equal(arrays["sharp_1"], DARK)
    np.testing.assert_array_equal(arrays["mask_0"], MASK)
    assert arrays["patch_size"] == 3
    assert arrays["version"] == 1


@pytest.mark.parametrize("where", ["replace", "write"])
def test_a_save_that_fails_leaves_the_old_file(where, library, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    library.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(*{"replace": ("os.replace", fail), "write": ("shutil.copymode", fail)}[where])
    with pytest.raises(OSError, match="disk full"):
        fr.PatchLibrary(GREY, PSF).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_as_a_whole(library, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"x" * 100_000)
    library.save(path)
    assert_same(fr.PatchLibrary.load(path), library)


@pytest.mark.parametrize("place", ["", "missing/a.npz"], ids=["folder", "missing folder"])
def test_where_nothing_can_be_saved(place, library, tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        library.save(tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(OSError, match=r"a\.npz"):
        fr.PatchLibrary.load(tmp_path / "a.npz")
    with pytest.raises(OSError, match=tmp_path.name):
        fr.PatchLibrary.load(tmp_path)


def assert_refused(path, message="is not a patch library"):
    with pytest.raises(fr.LibraryError, match=message) as caught:
        fr.PatchLibrary.load(path)
    assert str(path) in str(caught.value)


def file_of(writer, *arrays, **named):
    stream = io.BytesIO()
    writer(stream, *arrays, **named)
    return stream.getvalue()


def zip_of(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy_of(header):
    """An .npy file of this header and no data."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


HUGE = npy_of("{'descr': '|b1', 'fortran_order': False, 'shape': (100000000, 10000000), }\n")

FOREIGN = {
    "empty": b"",
    "text": b"patches\n" * 100,
    "zip without arrays": zip_of({"a.txt": "hello"}),
    "empty zip": zip_of({}),
    "array alone": file_of(np.save, COLOUR),
    "pickle": file_of(lambda stream: np.save(stream, np.array([{}], object), allow_pickle=True)),
    "other arrays": file_of(np.savez, COLOUR, mask=MASK),
}


@pytest.mark.parametrize(
    "data",
    [pytest.param(data, id=kind) for kind, data in FOREIGN.items()],
)
def test_foreign_files_are_refused(data, tmp_path):
    (tmp_path / "a.npz").write_bytes(data)
    assert_refused(tmp_path / "a.npz")


def saved(**changes):
    """The arrays of a library's file, some of them changed, or left out (None)."""
    parts = {"sharp_0": COLOUR, "blurred_0": COLOUR, "mask_0": MASK}
    arrays = {"format": "fastrefocus patch library", "version": 1, "patch_size": 5, **parts, **changes}
    return {name: array for name, array in arrays.items() if array is not None}


def test_the_arrays_that_are_changed_below_are_a_library_before(tmp_path):
    np.savez(tmp_path / "a.npz", **saved())
    assert len(fr.PatchLibrary.load(tmp_path / "a.npz")) == len(fr.PatchLibrary(COLOUR, PSF, masks=MASK))


WRONG = {
    **{f"no {name}": ({name: None}, name) for name in ("format", "version", "patch_size", "blurred_0", "mask_0")},
    "no photo": ({"sharp_0": None}, "no photo"),
    "a photo missing": ({"sharp_2": COLOUR}, "sharp_1"),
    "other format": ({"format": "fastrefocus lens"}, "fastrefocus lens"),
    "format of bytes": ({"format": np.frombuffer(b"abc", np.uint8)}, "format"),
    "next version": ({"version": 2}, "version 2"),
    "versions": ({"version": np.array([1, 1])}, "is not a patch library"),
    "version NaN": ({"version": np.nan}, "is not a patch library"),
    "photo float": ({"sharp_0": COLOUR / 255}, "float64"),
    "photo int8": ({"sharp_0": COLOUR.view(np.int8)}, "int8"),
    "photo of objects": ({"sharp_0": COLOUR.astype(object)}, "is not a patch library"),
    "photo 2-D": ({"sharp_0": GREY}, r"\(14, 17\)"),
    "photo of two channels": ({"sharp_0": COLOUR[..., :2], "blurred_0": COLOUR[..., :2]}, r"\(14, 17, 2\)"),
    "photo empty": ({"sharp_0": COLOUR[:0], "blurred_0": COLOUR[:0], "mask_0": MASK[:0]}, "smaller than a patch"),
    "grey and colour": ({"sharp_1": GREY[..., None], "blurred_1": GREY[..., None], "mask_1": MASK}, r"\(14, 17, 1\)"),
    "blurred of another shape": ({"blurred_0": COLOUR[:, 1:]}, r"\(14, 16, 3\)"),
    "blurred float": ({"blurred_0": COLOUR.astype(np.float32)}, "float32"),
    "mask of another shape": ({"mask_0": MASK.T}, r"\(17, 14\)"),
    "mask uint8": ({"mask_0": MASK.astype(np.uint8)}, "uint8"),
    "mask 0-D": ({"mask_0": np.True_}, r"shape \(\)"),
    "mask empty": ({"mask_0": np.zeros_like(MASK)}, "at least one patch"),
    "mask without room for a patch": ({"mask_0": np.eye(H, W, dtype=bool)}, "at least one patch"),
    "patch size even": ({"patch_size": 4}, "odd"),
    "patch size 0": ({"patch_size": 0}, ">= 1"),
    "patch size -5": ({"patch_size": -5}, ">= 1"),
    "patch size of a giant": ({"patch_size": 2**62 + 1}, "at most"),
    "patch size larger than the photo": ({"patch_size": 15}, "smaller than a patch"),
    "patch size NaN": ({"patch_size": np.nan}, "is not a patch library"),
    "patch size text": ({"patch_size": "five"}, "is not a patch library"),
    "patch sizes": ({"patch_size": np.array([5, 5])}, "is not a patch library"),
    "centroids float64": ({"centroids": np.zeros((2, 75))}, "centroids"),
    "centroids of other dimensions": ({"centroids": np.zeros((2, 27), np.float32)}, "centroids"),
    "centroids 1-D": ({"centroids": np.zeros(75, np.float32)}, "centroids"),
    "centroids NaN": ({"centroids": np.full((2, 75), np.nan, np.float32)}, "centroids"),
    "photo 0-D": ({"sharp_0": np.uint8(3)}, "is not a patch library"),
    "patch size infinite": ({"patch_size": np.inf}, "is not a patch library"),
    "version infinite": ({"version": np.inf}, "is not a patch library"),
    "patch size 5.7": ({"patch_size": 5.7}, "patch_size"),
    "patch size in text": ({"patch_size": "5"}, "patch_size"),
    "version 1.5": ({"version": 1.5}, "1.5"),
    "no centroid": ({"centroids": np.zeros((0, 75), np.float32)}, "centroids"),
}


@pytest.mark.parametrize(("changes", "message"), [pytest.param(*case, id=kind) for kind, case in WRONG.items()])
def test_files_with_wrong_arrays_are_refused(changes, message, tmp_path):
    np.savez(tmp_path / "a.npz", **saved(**changes))
    assert_refused(tmp_path / "a.npz", message)


@pytest.mark.parametrize(
    "member",
    [b"", b"\xff\xd8\xff\xe0", HUGE, npy_of("(" * 3000), npy_of("{'descr': (")],
    ids=["empty", "not an array", "larger than memory", "deep header", "open header"],
)
def test_files_with_broken_members_are_refused(member, tmp_path):
    members = {f"{name}.npy": file_of(np.save, array) for name, array in saved().items()}
    (tmp_path / "a.npz").write_bytes(zip_of(members | {"mask_0.npy": member}))
    assert_refused(tmp_path / "a.npz")


def test_files_cut_short_are_refused(library, tmp_path):
    library.save(tmp_path / "a.npz")
    data = (tmp_path / "a.npz").read_bytes()
    for length in (1, 2, 4, 30, len(data) // 3, len(data) // 2, len(data) - 22, len(data) - 1):
        (tmp_path / "a.npz").write_bytes(data[:length])
        assert_refused(tmp_path / "a.npz")


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_a_damaged_byte_is_refused_or_does_no_harm(bits, tmp_path):
    path = tmp_path / "a.npz"
    fr.PatchLibrary(GREY[:6, :7], PSF).save(path)
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ bits]) + data[i + 1 :])
        try:
            fr.PatchLibrary.load(path)
        except fr.LibraryError as error:
            assert str(path) in str(error)  # noqa: PT017 - most are refused, some do no harm


@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.npz"
    for start in (b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00"):
        path.write_bytes(start + data)
        assert_refused(path)


# Arguments


REFUSED = [
    ({"focused": []}, ValueError, "focused must be a photo or at least one of them"),
    ({"focused": "photo.png"}, TypeError, "focused must hold real numbers"),
    ({"focused": None}, TypeError, "focused must hold real numbers"),
    ({"focused": COLOUR.astype(int)}, TypeError, "focused must be uint8, uint16 or float"),
    ({"focused": COLOUR > 9}, TypeError, "focused must hold real numbers, got dtype bool"),
    ({"focused": np.full((9, 9), np.nan)}, ValueError, "focused must hold finite numbers"),
    ({"focused": np.full((9, 9), 200.0)}, ValueError, "focused, a float image, must hold values of 0..1"),
    ({"focused": COLOUR[..., :2]}, ValueError, r"focused must have shape \(H, W\) or \(H, W, 3\)"),
    ({"focused": COLOUR[:0]}, ValueError, r"focused must have shape \(H, W\) or \(H, W, 3\) with H, W >= 1"),
    ({"focused": [COLOUR, GREY]}, ValueError, "focused must be all grey or all RGB"),
    ({"focused": [COLOUR, COLOUR / np.nan]}, ValueError, r"focused\[1\] must hold finite numbers"),
    ({"focused": COLOUR[:4]}, ValueError, r"focused of shape \(4, 17, 3\) is smaller than a patch of 5 x 5"),
    ({"focused": [COLOUR, COLOUR[:4]]}, ValueError, r"focused of shape \(4, 17, 3\) is smaller than a patch"),
    ({"psf": np.ones((2, 3))}, ValueError, "psf must be 2-D with an odd height and width"),
    ({"psf": np.ones(3)}, ValueError, "psf must be 2-D with an odd height and width"),
    ({"psf": np.ones((15, 3))}, ValueError, r"psf of shape \(15, 3\) is larger than the image \(14, 17\)"),
    ({"psf": np.full((3, 3), np.nan)}, ValueError, "psf must hold finite numbers"),
    ({"psf": np.zeros((3, 3))}, ValueError, "psf must have a positive sum"),
    ({"psf": "disk:9"}, TypeError, "psf must hold real numbers"),
    ({"focused": [COLOUR, COLOUR[:6]], "psf": np.ones((7, 7))}, ValueError, "psf .* is larger than the image"),
    ({"masks": MASK.T}, ValueError, r"masks must have the image's height and width \(14, 17\), got \(17, 14\)"),
    ({"masks": [MASK, None]}, ValueError, "masks must be as many as the photos, 1, got 2"),
    ({"masks": []}, ValueError, "masks must be as many as the photos, 1, got 0"),
    ({"masks": np.full((H, W), np.nan)}, ValueError, "masks must hold finite numbers"),
    ({"masks": "mask.png"}, TypeError, "masks must hold real numbers"),
    ({"focused": [COLOUR, DARK], "masks": [None, MASK]}, ValueError, r"masks\[1\] must have the image's height"),
    ({"focused": [COLOUR, DARK], "masks": MASK}, ValueError, "masks must be as many as the photos, 2, got 1"),
    ({"patch_size": 4}, ValueError, "patch_size must be odd"),
    ({"patch_size": 0}, ValueError, "patch_size must be >= 1"),
    ({"patch_size": -5}, ValueError, "patch_size must be >= 1"),
    ({"patch_size": 15}, ValueError, "smaller than a patch of 15 x 15"),
    ({"patch_size": 101}, ValueError, "patch_size must leave a patch at most 30000 values"),
    ({"patch_size": 5.0}, TypeError, "patch_size must be an int"),
    ({"patch_size": True}, TypeError, "patch_size must be an int"),
    ({"patch_size": None}, TypeError, "patch_size must be an int"),
    ({"masks": np.zeros((H, W))}, ValueError, "masks must leave at least one patch"),
    ({"masks": np.eye(H, W)}, ValueError, "masks must leave at least one patch"),
    ({"linearize": "no"}, TypeError, "linearize must be True or False"),
    ({"linearize": None}, TypeError, "linearize must be True or False"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    REFUSED,
)
def test_what_is_refused_before_any_work(arguments, error, message, monkeypatch):
    def work(*_):
        raise AssertionError("work began")

    monkeypatch.setattr(module, "_blur", work)
    arguments = {"focused": COLOUR, "psf": PSF} | arguments
    with pytest.raises(error, match=message):
        fr.PatchLibrary(arguments.pop("focused"), arguments.pop("psf"), **arguments)


# Search


class LastOfTies:
    """Stands for the index of FAISS, which may keep any of equally near patches: here the last ones."""

    def __init__(self, patches):
        self._patches = patches.astype(np.int64) - 128

    def search(self, queries, count):
        distances = np.square(queries.astype(np.int64)[:, np.newaxis] - self._patches).sum(axis=2)
        last = np.argsort(distances[:, ::-1], axis=1, kind="stable")[:, :count]
        ids = len(self._patches) - 1 - last
        return np.take_along_axis(distances, ids, axis=1).astype(np.float32), np.ascontiguousarray(ids)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_brute_force_does_not_depend_on_which_ties_are_kept(count):
    library = fr.PatchLibrary(COLOUR // 128, PSF, patch_size=3, linearize=False)
    queries = RNG.permutation(library.blurred)[:40]
    distances, patches = library.blurred_tree.nearest_colours(queries, count)
    brute_force = search._FlatSearch(library)
    brute_force._index = LastOfTies(library.blurred)
    found = search.Found(np.empty_like(distances), np.empty_like(patches))
    brute_force(queries, found)
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.patches, patches)


def test_a_copy_or_a_pickle_finds_the_same():
    library = fr.PatchLibrary(COLOUR, PSF, masks=MASK)
    expected = fr.synthesize(COLOUR, library).source
    for other in (copy.deepcopy(library), pickle.loads(pickle.dumps(library))):
        np.testing.assert_array_equal(fr.synthesize(COLOUR, other).source, expected)
