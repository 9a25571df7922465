import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter
from scipy.optimize import nnls

from fastrefocus import disk_psf, fit_psf
from fastrefocus.light import decode, encode
from fastrefocus.optics.psf_fit import _SMOOTHNESS, _gram

H, W = 60, 75


def texture(seed):
    noise = np.random.default_rng(seed).random((H, W))
    return (0.1 + 0.8 * (gaussian_filter(noise, 0.7) > 0.5)).astype(np.float32)


GREY = texture(0)
COLOUR = np.stack([texture(seed) for seed in range(3)], axis=-1)


def off_centre_psf():
    """An asymmetric PSF whose centroid is far from its centre."""
    psf = np.zeros((7, 7), np.float32)
    psf[:4, 3:] = np.random.default_rng(5).random((4, 4))
    return psf / psf.sum()


def blur(image, psf):
    return convolve(image, psf if image.ndim == 2 else psf[..., np.newaxis], mode="mirror")


def shifted_photos(focused, size):
    """F, a row for each inner pixel p and a column for each pixel i of the PSF: f(p - i). Float64."""
    h = size // 2
    rows = [
        focused[y - h : y + h + 1, x - h : x + h + 1][::-1, ::-1].ravel()
        for y in range(h, focused.shape[0] - h)
        for x in range(h, focused.shape[1] - h)
    ]
    return np.array(rows, np.float64)


def inner(image, size):
    h = size // 2
    return image[h : len(image) - h, h : image.shape[1] - h].astype(np.float64)


def centred_equations(focused, defocused, size):
    """F and d of all channels, one below the other, with each channel's means taken out."""
    equations = []
    for c in range(focused.shape[2]):
        f, d = shifted_photos(focused[..., c], size), inner(defocused[..., c], size).ravel()
        equations.append((f - f.mean(axis=0), d - d.mean()))
    return tuple(np.concatenate(parts) for parts in zip(*equations, strict=True))


def neighbour_differences(size):
    """A row for each pair of neighbours in the PSF, what lies outside it being 0."""
    rows = []
    for i in range(size):
        for j in range(size + 1):
            for transposed in (False, True):
                row = np.zeros((size + 2, size + 2))
                row[i + 1, j], row[i + 1, j + 1] = -1, 1
                rows.append((row.T if transposed else row)[1:-1, 1:-1].ravel())
    return np.array(rows)


@pytest.mark.parametrize(("shape", "size"), [((9, 12), 1), ((9, 12), 3), ((12, 9), 5), ((8, 9), 7), ((21, 14), 7)])
def test_gram_matrix_equals_brute_force(shape, size):
    photo = np.random.default_rng(size).normal(size=shape)
    f = shifted_photos(photo, size)
    np.testing.assert_allclose(_gram(photo, size), f.T @ f, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_fit_is_the_smooth_non_negative_least_squares_one(image, size):
    noise = np.random.default_rng(1).normal(scale=0.02, size=image.shape)
    defocused = (0.8 * blur(image, disk_psf(5)) + 0.05 + noise).astype(np.float32)
    fit = fit_psf(image, defocused, size=size, linearize=False)

    f, d = centred_equations(np.atleast_3d(image), np.atleast_3d(defocused), size)
    smooth = np.sqrt(_SMOOTHNESS * np.square(f).sum() / size**2) * neighbour_differences(size)
    p, _ = nnls(np.concatenate([f, smooth]), np.concatenate([d, np.zeros(len(smooth))]))
    np.testing.assert_allclose(fit.gain, p.sum(), rtol=1e-6)
    np.testing.assert_allclose(fit.psf.ravel(), p / p.sum(), atol=1e-6)
    np.testing.assert_allclose(fit.residual, np.sqrt(np.mean((d - f @ p) ** 2)), rtol=1e-6)
    assert fit.psf.dtype == np.float32
    assert (fit.psf >= 0).all()
    np.testing.assert_allclose(fit.psf.sum(dtype=np.float64), 1, rtol=1e-6)


PSFS = {"disk": disk_psf(7), "off-centre": off_centre_psf(), "shift": np.eye(49, dtype=np.float32)[12].reshape(7, 7)}


@pytest.mark.parametrize("psf", PSFS.values(), ids=PSFS)
@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_finds_the_psf_the_gain_and_the_offset(image, psf):
    defocused = 1.3 * blur(image, psf) + 0.05
    fit = fit_psf(image, defocused, size=7, linearize=False)
    np.testing.assert_allclose(fit.psf, psf, atol=0.015)  # the smoothness takes 0.011 from a single pixel
    np.testing.assert_allclose(fit.gain, 1.3, rtol=0.01)
    np.testing.assert_allclose(fit.offset, 0.05, atol=0.005)
    assert fit.residual < 0.01


def test_unpenalised_fit_equals_least_squares(monkeypatch):
    monkeypatch.setattr("fastrefocus.optics.psf_fit._SMOOTHNESS", 0)
    psf = gaussian_filter(off_centre_psf(), 1)[1:6, 1:6] + 0.01  # no pixel of it comes near the bound
    defocused = 0.7 * blur(GREY, psf / psf.sum()) + 0.1 + np.random.default_rng(2).normal(scale=1e-3, size=(H, W))
    fit = fit_psf(GREY, defocused, size=5, linearize=False)
    f, d = shifted_photos(GREY, 5), inner(defocused.astype(np.float32), 5).ravel()
    columns = np.column_stack([f, np.ones(len(d))])
    solution, squares, _, _ = np.linalg.lstsq(columns, d)
    assert (solution > 0).all()
    np.testing.assert_allclose(fit.gain * fit.psf.ravel(), solution[:-1], atol=1e-6)
    np.testing.assert_allclose(fit.offset, solution[-1], atol=1e-9)
    np.testing.assert_allclose(fit.residual, np.sqrt(squares[0] / len(d)), rtol=1e-9)


def test_psf_is_that_of_a_convolution():
    psf = off_centre_psf()
    mirrored = fit_psf(GREY[::-1, ::-1], blur(GREY, psf)[::-1, ::-1], size=7, linearize=False).psf
    np.testing.assert_allclose(mirrored, psf[::-1, ::-1], atol=0.01)
    transposed = fit_psf(GREY.T, blur(GREY, psf).T, size=7, linearize=False).psf
    np.testing.assert_allclose(transposed, psf.T, atol=0.01)


def test_what_lies_outside_the_photo_does_not_matter():
    defocused = blur(GREY, disk_psf(7))
    fit = fit_psf(GREY, defocused, size=7, linearize=False)
    defocused[:3], defocused[-3:], defocused[:, :3], defocused[:, -3:] = 1, 0, 1, 0
    again = fit_psf(GREY, defocused, size=7, linearize=False)
    np.testing.assert_array_equal(again.psf, fit.psf)
    assert (again.gain, again.offset, again.residual) == (fit.gain, fit.offset, fit.residual)


def test_offset_of_a_colour_photo_is_the_mean_of_its_channels():
    shades = np.array([0, 0.03, 0.12], np.float32)
    fit = fit_psf(COLOUR, blur(COLOUR, disk_psf(5)), size=7, linearize=False)
    shaded = fit_psf(COLOUR, blur(COLOUR, disk_psf(5)) + shades, size=7, linearize=False)
    np.testing.assert_allclose(shaded.psf, fit.psf, atol=1e-5)
    np.testing.assert_allclose(shaded.offset, fit.offset + 0.05, atol=1e-6)
    np.testing.assert_allclose(shaded.residual, fit.residual, rtol=1e-3)


def test_light_is_linearized_unless_told_not_to():
    focused = np.random.default_rng(4).random((H, W, 3), np.float32)  # of two values each would be as good a line
    defocused = encode(blur(decode(focused), disk_psf(7)))
    fit = fit_psf(focused, defocused, size=7)
    np.testing.assert_allclose(fit.psf, disk_psf(7), atol=0.005)
    np.testing.assert_allclose(fit.gain, 1, atol=0.005)
    assert fit_psf(focused, defocused, size=7, linearize=False).residual > 10 * fit.residual


def test_8_bits_are_the_same_numbers():
    focused, defocused = (np.round(255 * image).astype(np.uint8) for image in (COLOUR, blur(COLOUR, disk_psf(5))))
    fit = fit_psf(focused, defocused, size=7)
    same = fit_psf(focused / np.float32(255), defocused / np.float32(255), size=7)
    np.testing.assert_array_equal(fit.psf, same.psf)
    assert (fit.gain, fit.offset, fit.residual) == (same.gain, same.offset, same.residual)


@pytest.mark.parametrize("size", [5, 9])
def test_noise_does_not_disturb_it(size):
    psf = np.pad(disk_psf(5), (size - 5) // 2)
    noise = np.random.default_rng(9).normal(scale=0.02, size=COLOUR.shape)
    fit = fit_psf(COLOUR, blur(COLOUR, disk_psf(5)) + noise, size=size, linearize=False)
    np.testing.assert_allclose(fit.psf, psf, atol=0.015)
    np.testing.assert_allclose(fit.residual, 0.02, rtol=0.05)


def test_any_integer_is_a_size():
    fit = fit_psf(GREY, GREY, size=np.uint8(21), linearize=False)  # its square is beyond uint8
    assert fit.psf.shape == (21, 21)
    assert fit.psf[10, 10] > 0.9


FLAT = np.full_like(GREY, 0.7)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((GREY, COLOUR), {}, ValueError, r"defocused must have the image's shape \(60, 75\), got \(60, 75, 3\)"),
        ((GREY, GREY.T), {}, ValueError, r"defocused must have the image's shape \(60, 75\), got \(75, 60\)"),
        ((np.full_like(GREY, np.nan), GREY), {}, ValueError, "focused must hold finite numbers"),
        ((GREY, GREY > 0.5), {}, TypeError, "defocused must hold real numbers, got dtype bool"),
        ((GREY[:0], GREY[:0]), {}, ValueError, r"focused must have shape .* got \(0, 75\)"),
        ((255 * GREY, GREY), {}, ValueError, "focused, a float image, must hold values of 0..1"),
        ((GREY, GREY), {"size": 4}, ValueError, r"size must be odd and smaller than the photos \(60, 75\), got 4"),
        ((GREY, GREY), {"size": 61}, ValueError, r"size must be odd and smaller than the photos \(60, 75\), got 61"),
        ((GREY[:5], GREY[:5]), {}, ValueError, r"size must be .* smaller than the photos \(5, 75\), got 5"),
        ((GREY, GREY), {"size": 0}, ValueError, "size must be >= 1, got 0"),
        ((GREY, GREY), {"size": 5.0}, TypeError, r"size must be an int >= 1, got 5\.0"),
        ((GREY, GREY), {"linearize": "no"}, TypeError, "linearize must be True or False, got 'no'"),
        ((FLAT, GREY), {}, ValueError, "focused must have some texture to fit a PSF to, got a constant photo"),
        ((GREY, FLAT), {}, ValueError, "defocused must have some texture to fit a PSF to, got a constant photo"),
        ((FLAT, FLAT), {}, ValueError, "focused must have some texture"),
        ((GREY, 1 - GREY), {"size": 1}, ValueError, "defocused must be a blurred version .* no PSF >= 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fit_psf(*arguments, **{"size": 5, **options})


def test_psfs_with_more_pixels_than_there_are_equations_are_refused():
    with pytest.raises(ValueError, match=r"got 39 for photos of \(40, 60\), which leaves 44 for 1521"):
        fit_psf(np.zeros((40, 60)), np.zeros((40, 60)), size=39)
