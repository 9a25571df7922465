import itertools
import sys

import numpy as np
import pytest

from fastrefocus import fft
from fastrefocus.fft import RealFFT2, backend_name, fast_size

# 62 and 64 columns are 32 and 33 in the spectrum: one whole block, and one more column; 2 * 67 takes three blocks
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (1, 64), (7, 11), (5, 62), (13, 64), (31, 67), (12, 134)]
each_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture(params=["pyfftw", "scipy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("FASTREFOCUS_FFT", request.param)
    return request.param


def picture(shape):
    return np.random.default_rng(shape).random(shape).astype(np.float32)


def test_fast_size_is_the_smallest_multiple_of_4_with_small_factors():
    powers = itertools.product(range(2, 11), range(7), range(5), range(4))
    smooth = sorted(2**a * 3**b * 5**c * 7**d for a, b, c, d in powers)
    for size in range(1, 1025):
        assert fast_size(size) == next(n for n in smooth if n >= size)


@each_shape
def test_forward_is_the_transposed_spectrum(shape, backend):
    image = picture(shape)
    spectrum = RealFFT2(shape).forward(image)
    assert spectrum.dtype == np.complex64
    assert spectrum.flags.c_contiguous
    expected = np.fft.rfft2(image.astype(np.float64)).T
    np.testing.assert_allclose(spectrum, expected, atol=1e-6 * np.sqrt(image.size) * np.log2(image.size + 2))


@each_shape
def test_filter_that_changes_nothing_gives_the_image_back(shape, backend):
    transform = RealFFT2(shape)
    for seed in range(2):  # the second time in used buffers
        image = picture(shape) + np.float32(seed)
        transform.input[0] = image
        transform.filter(lambda block, columns: None)
        np.testing.assert_array_equal(transform.input[0], image)
        np.testing.assert_allclose(transform.output[0] / image.size, image, rtol=1e-6, atol=1e-6)


@each_shape
def test_filter_sees_every_column_of_the_spectrum_once(shape, backend):
    transform = RealFFT2(shape)
    image = picture(shape)
    expected = transform.forward(image)
    seen = np.zeros(transform.spectrum_shape, np.complex64)
    count = np.zeros(transform.spectrum_shape, int)

    def look(block, columns):
        assert block[0].flags.c_contiguous
        seen[columns] += block[0]
        count[columns] += 1

    transform.input[0] = image
    transform.filter(look)
    np.testing.assert_array_equal(seen, expected)
    assert (count == 1).all()


@each_shape
def test_filter_multiplies_the_spectrum(shape, backend):
    image, kernel = picture(shape), picture(shape[::-1]).T
    transform = RealFFT2(shape)
    response = transform.forward(kernel) / np.float32(image.size)

    def convolve(block, columns):
        block *= response[columns]

    transform.input[0] = image
    transform.filter(convolve)
    expected = np.fft.ifft2(np.fft.fft2(image) * np.fft.fft2(kernel)).real
    np.testing.assert_allclose(transform.output[0], expected, rtol=2e-6)


@pytest.mark.parametrize("count", [2, 3, 7])
@each_shape
def test_images_transformed_together_are_those_transformed_alone(shape, count, backend):
    images = np.stack([picture(shape) * (i + 1) for i in range(count)])
    together, alone = RealFFT2(shape, count), RealFFT2(shape)
    seen = np.zeros((count, *together.spectrum_shape), np.complex64)

    def shift(block, columns):
        seen[:, columns] = block
        block[...] = np.roll(block, 1, axis=0)

    together.input[...] = images
    together.filter(shift)
    np.testing.assert_allclose(together.output / images[0].size, np.roll(images, 1, axis=0), atol=1e-6 * count)
    for spectrum, image in zip(seen, images, strict=True):
        np.testing.assert_allclose(spectrum, alone.forward(image), rtol=1e-5, atol=1e-5 * image.sum())


def test_scipy_does_without_pyfftw(monkeypatch):
    monkeypatch.setenv("FASTREFOCUS_FFT", "scipy")
    monkeypatch.setitem(sys.modules, "pyfftw", None)
    np.testing.assert_allclose(RealFFT2((3, 4)).forward(np.ones((3, 4), np.float32))[0, 0], 12)


def test_backend_is_pyfftw_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv(fft.ENVIRONMENT_VARIABLE, raising=False)
    assert backend_name() == "pyfftw"
    monkeypatch.setenv(fft.ENVIRONMENT_VARIABLE, "mkl")
    with pytest.raises(ValueError, match=r"FASTREFOCUS_FFT must be one of \['pyfftw', 'scipy'\], got 'mkl'"):
        RealFFT2((3, 4))
