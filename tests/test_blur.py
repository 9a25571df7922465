import numpy as np
import pytest

from fastrefocus import disk_psf, gaussian_psf
from fastrefocus.deconvolution.blur import LayeredBlur, UniformBlur
from fastrefocus.deconvolution.tiles import Tile, Window, tiles

H, W = 20, 31
RADIUS = np.linspace(0, 5, H * W, dtype=np.float32).reshape(H, W)
LEVELS = [0.5, 1.5, 4.0]


def psf_of(radius, cell):
    return disk_psf(2 * radius)


def whole(shape=(H, W)):
    window = Window(slice(0, shape[0]), slice(0, shape[1]))
    return Tile(window, window)


def shares(radius, levels):
    """Return each level's share in a pixel, as slowly as can be."""
    result = np.zeros((len(levels), *radius.shape))
    for pixel, r in np.ndenumerate(radius):
        r = min(max(r, levels[0]), levels[-1])
        for k, level in enumerate(levels):
            if r == level:
                result[(k, *pixel)] = 1
            elif k and levels[k - 1] < r < level:
                result[(k, *pixel)] = (r - levels[k - 1]) / (level - levels[k - 1])
                result[(k - 1, *pixel)] = (level - r) / (level - levels[k - 1])
    return result


def test_uniform_blur_is_one_psf_everywhere():
    psf = gaussian_psf(1.5)
    blur = UniformBlur(psf)
    assert blur.psf_shape == psf.shape
    assert blur.cells == (1, 1)
    layers = blur.within(Tile(Window(slice(3, 9), slice(4, 14)), Window(slice(4, 8), slice(5, 13))))
    assert layers.psfs == [psf]
    assert layers.psf_shape == psf.shape
    np.testing.assert_array_equal(layers.weights, np.ones((1, 6, 10), np.float32))


def test_each_pixel_has_its_two_nearest_levels_in_proportion():
    layers = LayeredBlur(RADIUS, LEVELS, psf_of).within(whole())
    assert layers.weights.dtype == np.float32
    np.testing.assert_allclose(layers.weights, shares(RADIUS, LEVELS), atol=1e-6)
    np.testing.assert_allclose(layers.weights.sum(axis=0), 1, atol=1e-6)
    for psf, level in zip(layers.psfs, LEVELS, strict=True):
        np.testing.assert_array_equal(psf, disk_psf(2 * level))


@pytest.mark.parametrize("rows", [slice(0, 2), slice(7, 9), slice(17, 20)])
def test_a_tile_has_only_the_levels_that_occur_in_its_window(rows):
    window = Window(rows, slice(0, W))
    layers = LayeredBlur(RADIUS, LEVELS, psf_of).within(Tile(window, window))
    expected = shares(RADIUS[rows], LEVELS)
    occurring = [k for k in range(len(LEVELS)) if expected[k].any()]
    assert len(occurring) < len(LEVELS)
    assert [psf.shape for psf in layers.psfs] == [disk_psf(2 * LEVELS[k]).shape for k in occurring]
    np.testing.assert_allclose(layers.weights, expected[occurring], atol=1e-6)


def test_hard_layers_do_not_mix():
    radius = np.select([RADIUS > 4, RADIUS > 2], [3.0, 1.0], 0.0).astype(np.float32)
    layers = LayeredBlur(radius, [0.0, 1.0, 3.0], lambda r, cell: np.full((1, 1), r, np.float32)).within(whole())
    assert [float(psf[0, 0]) for psf in layers.psfs] == [0, 1, 3]
    for level, weight in zip((0, 1, 3), layers.weights, strict=True):
        np.testing.assert_array_equal(weight, radius == level)


def test_one_level_is_one_psf():
    layers = LayeredBlur(np.full((H, W), 2, np.float32), [2.0], psf_of).within(whole())
    assert len(layers.psfs) == 1
    np.testing.assert_array_equal(layers.weights, 1)


def test_the_largest_psf_of_any_cell_counts():
    sizes = {(0, 0): (3, 7), (0, 1): (5, 3)}
    blur = LayeredBlur(RADIUS, LEVELS, lambda radius, cell: np.ones(sizes[cell], np.float32), (1, 2))
    assert blur.psf_shape == (5, 7)


def test_every_tile_has_the_psfs_of_its_cell():
    def psf_of_cell(radius, cell):
        return np.full((3, 3), 10 * cell[0] + cell[1], np.float32)

    blur = LayeredBlur(np.full((61, 50), 2, np.float32), [2.0], psf_of_cell, (2, 3))
    parts = tiles((61, 50), blur.psf_shape, side=40, cells=blur.cells)
    assert len(parts) >= 6
    for tile in parts:
        (psf,) = blur.within(tile).psfs
        row, column = divmod(int(psf[0, 0]), 10)
        assert 61 * row // 2 <= tile.core.rows.start < tile.core.rows.stop <= 61 * (row + 1) // 2
        assert 50 * column // 3 <= tile.core.columns.start < tile.core.columns.stop <= 50 * (column + 1) // 3


def test_a_value_of_the_psf_is_interpolated_to_a_map():
    blur = LayeredBlur(RADIUS, LEVELS, lambda radius, cell: np.full((1, 1), radius + 100 * cell[1], np.float32), (1, 3))
    values = blur.interpolate(lambda psf: float(psf[0, 0]))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, 100 + RADIUS.clip(LEVELS[0], LEVELS[-1]), rtol=1e-6)
