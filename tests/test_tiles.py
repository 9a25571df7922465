import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from fastrefocus import Cancelled, deconvolve, disk_psf, progress
from fastrefocus.deconvolution import solver
from fastrefocus.deconvolution.result import DeconvolutionResult
from fastrefocus.deconvolution.tiles import Mosaic, Tile, Window, tiles

SIDE = 92
PSF = disk_psf(5)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(solver, "WINDOW_SIDE", SIDE)


def photo(shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


def run(image, **options):
    return deconvolve(image, PSF, **{"lam": 0.01, "num_iter": 6, "tol": 0} | options)


# The division


lengths = st.integers(4, 300)
odd = st.integers(0, 12).map(lambda n: 2 * n + 1)
grids = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(shape=st.tuples(lengths, lengths), psf_shape=st.tuples(odd, odd), side=st.integers(1, 200), cells=grids)
def test_tiles_cover_every_pixel_once_with_a_margin(shape, psf_shape, side, cells):
    covered = np.zeros(shape, int)
    for window, core in tiles(shape, psf_shape, side=side, cells=cells):
        covered[core] += 1
        for around, kept, length, n, count in zip(window, core, shape, psf_shape, cells, strict=True):
            margin = 32 + 3 * (n // 2)
            assert 0 <= kept.start < kept.stop <= length
            assert (around.start, around.stop) == (max(kept.start - margin, 0), min(kept.stop + margin, length))
            assert around.stop - around.start <= max(side, 3 * margin)
            assert not any(kept.start < length * i // count < kept.stop for i in range(1, count))
    assert (covered == 1).all()


@given(shape=st.tuples(lengths, lengths), psf_shape=st.tuples(odd, odd), side=st.integers(1, 200))
def test_cores_are_of_nearly_equal_lengths(shape, psf_shape, side):
    for axis in (0, 1):
        sizes = {tile.core[axis].stop - tile.core[axis].start for tile in tiles(shape, psf_shape, side=side)}
        assert max(sizes) - min(sizes) <= 1


def test_a_photo_that_fits_is_one_tile():
    (tile,) = tiles((30, 72), (5, 7), side=72)
    assert tile.window == tile.core == (slice(0, 30), slice(0, 72))


def put_together(image, parts):
    mosaic, none = Mosaic(image.shape), np.empty(0)
    for tile in parts:
        part = image[tile.window]
        mosaic.add(tile, DeconvolutionResult(part, 0.1, 0, none, none, none, None, reblur_residual=-part))
    return mosaic.result()


@given(shape=st.tuples(lengths, lengths), side=st.integers(1, 200), channels=st.sampled_from([(), (3,)]))
def test_mosaic_of_the_windows_of_an_image_is_the_image(shape, side, channels):
    image = photo((*shape, *channels))
    result = put_together(image, tiles(shape, (25, 29), side=side))
    np.testing.assert_allclose(result.image, image, rtol=1e-5)
    np.testing.assert_allclose(result.reblur_residual, -image, rtol=1e-5)
    assert result.objective.size == result.num_iter == 0


def test_mosaic_of_narrow_cells_is_the_image():
    image = photo((50, 60))
    result = put_together(image, tiles((50, 60), (3, 5), side=1024, cells=(3, 4)))
    np.testing.assert_allclose(result.image, image, rtol=1e-5)


def test_one_tile_fades_into_the_next():
    mosaic, none = Mosaic((60, 100)), np.empty(0)
    first, second = tiles((60, 100), (1, 1), side=1024, cells=(1, 2))
    for tile, value in ((first, 0), (second, 1)):
        part = np.full(tile.window.shape, value, np.float32)
        mosaic.add(tile, DeconvolutionResult(part, 0.1, 0, none, none, none, None, reblur_residual=part))
    image = mosaic.result().image
    expected = np.clip((np.arange(100) + 0.5 - 50) / 24 + 0.5, 0, 1)
    np.testing.assert_allclose(image, np.broadcast_to(expected, image.shape), atol=1e-6)


def test_histories_are_the_sum_and_those_of_the_slowest_tile():
    mosaic = Mosaic((4, 6))
    for columns, steps in ((slice(0, 3), [4.0, 2.0, 1.0]), (slice(3, 6), [5.0, 3.0])):
        tile = Tile(*2 * [Window(slice(0, 4), columns)])
        history, image = np.array(steps), np.zeros((4, 3), np.float32)
        histories = 10 * history, history, history / 2, None
        mosaic.add(tile, DeconvolutionResult(image, 0.1, len(steps), *histories, reblur_residual=image))
    result = mosaic.result()
    assert result.num_iter == 3
    np.testing.assert_array_equal(result.objective, [90, 50, 40])  # a tile that has stopped keeps its last value
    np.testing.assert_array_equal(result.residual, [5, 3, 3])
    np.testing.assert_array_equal(result.change, [2.5, 1.5, 1.5])


# Deconvolution in tiles


def test_tiled_equals_untiled(monkeypatch):
    camera = skimage.data.camera() / 255
    blurred = fftconvolve(camera, PSF, mode="same")[100:240, 150:340]
    image = blurred + np.random.default_rng(0).normal(scale=0.005, size=blurred.shape)
    options = {"num_iter": 2000}
    whole = run(image, **options)
    monkeypatch.setattr(solver, "WINDOW_SIDE", 120)
    difference = np.abs(run(image, **options).image - whole.image)
    assert difference.max() > 0
    assert difference.max() < 1e-3
    assert np.sqrt(np.mean(difference**2)) < 1e-4


@pytest.mark.parametrize(
    "options", [{"boundary": "periodic"}, {"method": "wiener"}, {"method": "inverse", "lam": None}]
)
def test_what_has_an_influence_from_afar_is_not_tiled(options, monkeypatch):
    image = photo((60, 140))
    whole = run(image, **options)
    monkeypatch.setattr(solver, "WINDOW_SIDE", SIDE)
    np.testing.assert_array_equal(run(image, **options).image, whole.image)


@pytest.mark.parametrize("method", ["admm-tv", "plug-and-play", "half-quadratic"])
def test_constant_photos_stay_in_tiles(method, small_windows):
    image = np.full((60, 140), 0.6, np.float32)
    result = run(image, method=method, num_iter=None if method == "half-quadratic" else 3)
    np.testing.assert_allclose(result.image, image, atol=2e-5)
    np.testing.assert_allclose(result.reblur_residual, 0, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"tv": "vector"}, {"tol": 0.05, "num_iter": 40}, {"method": "half-quadratic"}])
def test_same_bits_at_any_thread_count_in_tiles(options, small_windows):
    image = photo((110, 140, 3))
    assert len(tiles(image.shape[:2], PSF.shape, side=SIDE)) > 5
    expected = run(image, threads=1, **options)
    for threads in (2, 3, 64, None):
        result = run(image, threads=threads, **options)
        np.testing.assert_array_equal(result.image, expected.image)
        np.testing.assert_array_equal(result.objective, expected.objective)
        np.testing.assert_array_equal(result.change, expected.change)
        assert result.num_iter == expected.num_iter


def test_callers_may_have_threads_of_their_own(small_windows):
    image = photo((110, 140))
    expected = run(image).image
    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(lambda i: run(image, threads=1 + i % 2), range(6)):
            np.testing.assert_array_equal(result.image, expected)


def test_masks_go_into_the_tiles(small_windows):
    mask = np.ones((60, 140), bool)
    mask[30:34, 40:60] = False
    image = photo(mask.shape)
    image[~mask] = 0.5
    result = run(image, mask=mask)
    np.testing.assert_array_equal(result.reblur_residual[~mask], 0)
    assert (result.reblur_residual[mask] != 0).all()


def test_with_a_reference_the_photo_is_one_piece(small_windows, monkeypatch):
    image = photo((110, 140))
    result = run(image, reference=image)
    assert result.psnr.size == result.num_iter == 6
    monkeypatch.setattr(solver, "WINDOW_SIDE", 200)
    np.testing.assert_array_equal(result.image, run(image).image)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"tol": 0.05, "num_iter": 40}, {"method": "half-quadratic", "num_iter": None}, {"method": "wiener"}],
)
def test_progress_rises_to_the_end(options, threads, small_windows, monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    calls = []
    run(photo((110, 140)), threads=threads, callback=lambda *call: calls.append(call), **options)
    stages, done, totals = zip(*calls, strict=True)
    assert set(stages) == {"deconvolve"}
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]
    assert done.count(totals[-1]) <= 2


def test_false_cancels_in_the_middle_and_leaves_no_thread(small_windows, monkeypatch):
    monkeypatch.setattr(progress, "_MIN_INTERVAL_S", 0)
    threads, calls = threading.active_count(), []

    def callback(*call):
        calls.append(call)
        return len(calls) < 10

    with pytest.raises(Cancelled):
        run(photo((110, 140)), threads=3, callback=callback)
    assert len(calls) == 10
    assert threading.active_count() == threads
