import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

from fastrefocus import PsfGrid, disk_psf, fit_psf, fit_psf_grid


def random_psfs(rows, columns, height, width):
    psfs = np.random.default_rng(3).random((rows, columns, height, width), np.float32)
    return psfs / psfs.sum(axis=(2, 3), keepdims=True)


PSFS = random_psfs(2, 3, 7, 5)
GRID = PsfGrid(PSFS, radius=2.5)


def centroid(psf):
    """In pixels from the centre."""
    y, x = np.indices(psf.shape) - (np.array(psf.shape) // 2)[:, np.newaxis, np.newaxis]
    return np.array([(psf * y).sum(), (psf * x).sum()]) / psf.sum(dtype=np.float64)


def test_grid_holds_a_copy_that_nobody_can_change():
    psfs = PSFS.copy()
    grid = PsfGrid(psfs)
    psfs[:] = 0
    np.testing.assert_array_equal(grid.psfs, PSFS)
    with pytest.raises(ValueError, match="read-only"):
        grid.psfs[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        grid.at(0, 0)[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.radius = 3


def test_grid_takes_lists_and_float64():
    grid = PsfGrid(PSFS.astype(np.float64).tolist(), radius=np.float32(2.5))
    assert grid.psfs.dtype == np.float32
    np.testing.assert_array_equal(grid.psfs, PSFS)
    assert grid.radius == 2.5
    assert grid.shape == (2, 3)


def test_cells_go_down_the_rows_and_along_the_columns():
    for row, column in np.ndindex(2, 3):
        np.testing.assert_array_equal(GRID.at(row, column), PSFS[row, column])


def test_scaling_by_1_changes_nothing():
    np.testing.assert_array_equal(GRID.at(1, 2, radius=2.5), PSFS[1, 2])


def supersampled(psf, scale, shape):
    """The PSF's pixels enlarged by `scale` about its centre, by counting samples."""
    samples = 200
    scaled = np.zeros(shape)
    share = [np.zeros((n, k)) for n, k in zip(shape, psf.shape, strict=True)]
    for s, n, k in zip(share, shape, psf.shape, strict=True):
        for j in range(k):
            places = ((j + (np.arange(samples) + 0.5) / samples) - k / 2) * scale + n / 2
            np.add.at(s[:, j], np.floor(places).astype(int), 1 / samples)
    for i, j in np.ndindex(psf.shape):
        scaled += psf[i, j] * np.outer(share[0][:, i], share[1][:, j])
    return scaled


@pytest.mark.parametrize(("radius", "shape"), [(1, (3, 3)), (2.6, (9, 7)), (5, (15, 11)), (0.3, (1, 1))])
def test_scaling_moves_each_pixels_area(radius, shape):
    scaled = GRID.at(0, 1, radius=radius)
    assert scaled.dtype == np.float32
    assert scaled.shape == shape
    np.testing.assert_allclose(scaled, supersampled(PSFS[0, 1], radius / 2.5, shape), atol=2e-3)


@settings(deadline=None)
@given(st.floats(1e-6, 100))
def test_scaling_keeps_the_sum_and_scales_the_centroid(radius):
    psf = np.zeros((5, 7), np.float32)
    psf[0, 4:] = 0.2, 0.7, 0.1  # off-centre
    scaled = PsfGrid(psf[np.newaxis, np.newaxis], radius=4).at(0, 0, radius=radius)
    assert scaled.shape[0] % 2 == scaled.shape[1] % 2 == 1
    assert (scaled >= 0).all()
    np.testing.assert_allclose(scaled.sum(dtype=np.float64), 1, rtol=1e-6)
    rounding = 0.5 if radius < 4 else 0.125 * 4 / radius  # of places to whole pixels
    np.testing.assert_allclose(centroid(scaled), centroid(psf) * radius / 4, atol=rounding + 1e-5)


@pytest.mark.parametrize("radius", [2, 4.5, 6, 9, 20])
def test_a_scaled_disk_is_near_the_disk_of_that_radius(radius):
    scaled = PsfGrid(disk_psf(21)[np.newaxis, np.newaxis], radius=10.5).at(0, 0, radius=radius)
    disk = disk_psf(2 * radius)
    missing = np.subtract(scaled.shape, disk.shape) // 2
    disk = np.pad(disk, [(n, n) for n in missing])
    assert np.abs(scaled - disk).sum() < 0.1
    np.testing.assert_allclose(scaled.max(), disk.max(), rtol=0.01)


PHOTO = np.random.default_rng(0).random((50, 71), np.float32)


def test_each_cell_is_fitted_by_itself():
    left = convolve(PHOTO, disk_psf(3))
    right = convolve(PHOTO, disk_psf(7))
    blurred = np.where(np.arange(71) < 35, left, right)
    grid = fit_psf_grid(PHOTO, blurred, shape=(3, 2), size=7, radius=2, linearize=False)
    assert grid.shape == (3, 2)
    assert grid.radius == 2
    for row, rows in enumerate([slice(0, 16), slice(16, 33), slice(33, 50)]):
        for column, columns in enumerate([slice(0, 35), slice(35, 71)]):
            fit = fit_psf(PHOTO[rows, columns], blurred[rows, columns], size=7, linearize=False)
            np.testing.assert_array_equal(grid.at(row, column), fit.psf)
            np.testing.assert_allclose(fit.psf, disk_psf(7) if column else np.pad(disk_psf(3), 2), atol=0.02)


def test_fit_takes_colour_and_8_bits_and_linearizes():
    photo = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    grid = fit_psf_grid(photo, photo, shape=(1, 2), size=3)
    np.testing.assert_array_equal(grid.at(0, 1), fit_psf(photo[:, 30:], photo[:, 30:], size=3).psf)
    assert grid.radius is None


ONE = np.ones((1, 1, 3, 3), np.float32) / 9


@pytest.mark.parametrize(
    ("psfs", "radius", "error", "message"),
    [
        (ONE[0], None, ValueError, r"psfs must have shape \(rows, columns, h, w\), got \(1, 3, 3\)"),
        (ONE[:0], None, ValueError, r"psfs must have shape \(rows, columns, h, w\), got \(0, 1, 3, 3\)"),
        (None, None, TypeError, "psfs must hold real numbers, got dtype object"),
        (random_psfs(1, 2, 4, 3), None, ValueError, r"psfs\[0, 0\] must be 2-D with an odd height .* \(4, 3\)"),
        (random_psfs(1, 2, 3, 6), None, ValueError, r"psfs\[0, 0\] must be 2-D with an odd height .* \(3, 6\)"),
        (np.stack([ONE[0], np.nan * ONE[0]]), None, ValueError, r"psfs\[1, 0\] must hold finite numbers .* got nan"),
        (np.stack([ONE[0], 0 * ONE[0]]), None, ValueError, r"psfs\[1, 0\] must have a positive sum .* got 0"),
        ([[np.ones((3, 3)), np.ones((5, 5))]], None, TypeError, "psfs must be an array of numbers"),
        (np.ma.masked_less(ONE, 1), None, ValueError, "psfs must not have masked elements"),
        (ONE > 0, None, TypeError, r"psfs must hold real numbers, got dtype bool"),
        (ONE, 0, ValueError, "radius must be a finite number >= 0.01, got 0"),
        (ONE, -1, ValueError, "radius must be a finite number >= 0.01, got -1"),
        (ONE, np.inf, ValueError, "radius must be a finite number >= 0.01, got inf"),
        (ONE, "2", TypeError, "radius must be a number >= 0.01, got '2'"),
    ],
)
def test_wrong_grids_are_refused(psfs, radius, error, message):
    with pytest.raises(error, match=message):
        PsfGrid(psfs, radius)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GRID.at(2, 0), ValueError, "row must be < 2, got 2"),
        (lambda: GRID.at(0, 3), ValueError, "column must be < 3, got 3"),
        (lambda: GRID.at(-1, 0), ValueError, "row must be >= 0, got -1"),
        (lambda: GRID.at(0, 0.5), TypeError, r"column must be an int >= 0, got 0\.5"),
        (lambda: GRID.at(0, 0, radius=0), ValueError, "radius must be a finite number > 0, got 0"),
        (lambda: GRID.at(0, 0, radius=np.nan), ValueError, "radius must be a finite number > 0, got nan"),
        (lambda: GRID.at(0, 0, radius="4"), TypeError, "radius must be a number > 0, got '4'"),
        (lambda: PsfGrid(PSFS).at(0, 0, radius=4), ValueError, "this PsfGrid has no radius"),
    ],
)
def test_wrong_cells_and_radii_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


PARTLY_FLAT = np.where(np.arange(71) < 35, PHOTO, np.float32(0.5))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((PHOTO, PHOTO.T), {}, ValueError, r"defocused must have the image's shape \(50, 71\), got \(71, 50\)"),
        ((PHOTO, PHOTO), {"shape": 2}, ValueError, r"shape must be \(rows, columns\), got 2"),
        ((PHOTO, PHOTO), {"shape": None}, ValueError, r"shape must be \(rows, columns\), got None"),
        ((PHOTO, PHOTO), {"shape": (1, 2, 3)}, ValueError, r"shape must be \(rows, columns\), got \(1, 2, 3\)"),
        ((PHOTO, PHOTO), {"shape": (0, 2)}, ValueError, r"shape\[0\] must be >= 1, got 0"),
        ((PHOTO, PHOTO), {"shape": (1, 1.5)}, TypeError, r"shape\[1\] must be an int >= 1, got 1\.5"),
        (
            (PHOTO, PHOTO),
            {"shape": (51, 2)},
            ValueError,
            r"size must be smaller than the grid's cells \(0, 35\), got 5",
        ),
        (
            (PHOTO, PHOTO),
            {"shape": (10, 2)},
            ValueError,
            r"size must be smaller than the grid's cells \(5, 35\), got 5",
        ),
        ((PHOTO, PHOTO), {"size": 0}, ValueError, "size must be >= 1, got 0"),
        ((PHOTO, PHOTO), {"size": 4}, ValueError, r"size must be odd .* got 4"),
        ((PHOTO, PHOTO), {"radius": 0}, ValueError, "radius must be a finite number >= 0.01, got 0"),
        ((PHOTO, PHOTO), {"linearize": 1}, TypeError, "linearize must be True or False, got 1"),
        ((PARTLY_FLAT, PHOTO), {}, ValueError, "focused must have some texture to fit a PSF to, got a constant photo"),
    ],
)
def test_wrong_photos_and_sizes_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fit_psf_grid(*arguments, **{"shape": (1, 2), "size": 5, **options})


def test_psfs_scaled_to_almost_nothing_are_one_pixel():
    np.testing.assert_array_equal(PsfGrid(ONE, radius=1).at(0, 0, radius=5e-324), [[1]])


def test_psfs_are_not_scaled_beyond_all_measure():
    with pytest.raises(
        ValueError, match=r"radius must be at most 1364\.67 for PSFs of \(3, 3\) measured at 1, got 10000"
    ):
        PsfGrid(ONE, radius=1).at(0, 0, radius=10_000)
