import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastrefocus import disk_psf, gaussian_psf, polygon_psf
from fastrefocus.optics.psf import psf_of_sigma

SAMPLES = 400  # a pixel and axis; the share of a pixel on the rim is then right to about 1e-4


def supersampled(inside, half):
    """The share of each pixel's area where inside(x, y), by counting samples; y grows upwards. Not normalised."""
    size = 2 * half + 1
    x = (np.arange(size * SAMPLES) + 0.5) / SAMPLES - size / 2
    shares = [inside(x, -y[:, np.newaxis]).reshape(SAMPLES, size, SAMPLES).mean(axis=(0, 2)) for y in np.split(x, size)]
    return np.array(shares)


def inside_polygon(diameter, blades, rotation):
    """Whether a point is on the inner side of every edge of the regular polygon."""
    normals = rotation + 2 * np.pi * (np.arange(blades) + 0.5) / blades
    apothem = diameter / 2 * np.cos(np.pi / blades)

    def inside(x, y):
        return np.logical_and.reduce([x * np.cos(n) + y * np.sin(n) <= apothem for n in normals])

    return inside


def second_moment(psf, axis):
    offset = np.arange(len(psf)) - len(psf) // 2
    return float(psf.sum(axis=1 - axis, dtype=np.float64) @ offset**2)


PSFS = {
    "gaussian": gaussian_psf(2.3),
    "small gaussian": gaussian_psf(0.05),
    "disk": disk_psf(7.6),
    "tiny disk": disk_psf(1e-200),
    "large disk": disk_psf(301.5),
    "polygon": polygon_psf(9.3, blades=5, rotation=0.4),
    "tiny polygon": polygon_psf(1e-200, blades=3),
    "much turned polygon": polygon_psf(9, blades=5, rotation=1e300),
}


@pytest.mark.parametrize("psf", PSFS.values(), ids=PSFS)
def test_psfs_are_float32_odd_square_and_sum_to_1(psf):
    assert psf.dtype == np.float32
    assert psf.shape == (len(psf), len(psf))
    assert len(psf) % 2 == 1
    assert (psf >= 0).all()
    np.testing.assert_allclose(psf.sum(dtype=np.float64), 1, rtol=1e-6)


@pytest.mark.parametrize("diameter", [1.3, 2, 3, 4.7, 7])
def test_disk_equals_supersampling(diameter):
    psf = disk_psf(diameter)
    shares = supersampled(lambda x, y: x**2 + y**2 <= (diameter / 2) ** 2, len(psf) // 2)
    area = np.pi * diameter**2 / 4
    np.testing.assert_allclose(shares.sum(), area, rtol=1e-4)
    np.testing.assert_allclose(psf, shares / area, atol=1e-4 / area)


@settings(deadline=None)
@given(st.floats(0.01, 60))
@example(39.75375311159066)  # its half, squared by Python and by NumPy, differs in the last bit
def test_disk_covers_its_area_and_looks_alike_from_all_sides(diameter):
    psf = disk_psf(diameter)
    half = len(psf) // 2
    assert half - 0.5 <= max(diameter / 2, 0.5) <= half + 0.5  # just large enough
    np.testing.assert_allclose(psf, np.rot90(psf), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(psf, psf.T, rtol=1e-5, atol=1e-9)
    if diameter >= np.sqrt(2):  # the centre pixel is covered whole, so it is 1 / area
        np.testing.assert_allclose(1 / psf[half, half], np.pi * diameter**2 / 4, rtol=1e-5)


@pytest.mark.parametrize("diameter", [6, 10.4, 33, 90])
def test_standard_deviation_of_a_disk_is_a_quarter_of_its_diameter(diameter):
    expected = (diameter / 4) ** 2 + 1 / 12  # a pixel's own width adds 1/12
    for axis in (0, 1):
        np.testing.assert_allclose(second_moment(disk_psf(diameter), axis), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize(("blades", "rotation"), [(3, 0), (4, 0), (5, 0.3), (6, -7), (7, 1e6)])
def test_polygon_equals_supersampling(blades, rotation):
    diameter = 6.7
    psf = polygon_psf(diameter, blades=blades, rotation=rotation)
    shares = supersampled(inside_polygon(diameter, blades, rotation), 3)
    area = blades / 2 * (diameter / 2) ** 2 * np.sin(2 * np.pi / blades)
    np.testing.assert_allclose(shares.sum(), area, rtol=1e-3)
    np.testing.assert_allclose(psf, shares / area, atol=2e-3 / area)
    np.testing.assert_allclose(1 / psf[3, 3], area, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.floats(1, 15), st.integers(3, 9), st.floats(-4, 4))
def test_polygon_turns_with_its_rotation(diameter, blades, rotation):
    def psf(angle):
        return polygon_psf(diameter, blades=blades, rotation=rotation + angle)

    np.testing.assert_allclose(psf(2 * np.pi / blades), psf(0), atol=1e-6)
    np.testing.assert_allclose(psf(np.pi), psf(0)[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(psf(np.pi / 2), np.rot90(psf(0)), atol=1e-6)  # counter-clockwise


def test_triangle_points_to_the_right():
    row = polygon_psf(9, blades=3)[4]
    assert row[:2].sum() == 0
    assert row[-1] > 0


def test_polygon_of_many_blades_is_a_disk():
    np.testing.assert_allclose(polygon_psf(6.5, blades=200), disk_psf(6.5), atol=1e-4)


@pytest.mark.parametrize(("sigma", "radius"), [(0.7, None), (2, None), (2, 3), (0.5, 0), (1e-200, 2), (500, 1)])
def test_gaussian_is_sampled_separable_and_cut_at_4_sigma(sigma, radius):
    psf = gaussian_psf(sigma, radius=radius)
    half = round(4 * sigma) if radius is None else radius
    assert psf.shape == (2 * half + 1,) * 2
    profile = psf[half] / psf[half, half]
    np.testing.assert_allclose(psf, np.outer(profile, profile) * psf[half, half], rtol=1e-5, atol=1e-30)
    distances = [abs(i - half) / sigma for i in range(2 * half + 1)]
    np.testing.assert_allclose(profile, [np.exp(-0.5 * min(d, 1e9) ** 2) for d in distances], rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("shape", ["gaussian", "disk"])
def test_psf_of_sigma_has_that_standard_deviation(shape):
    np.testing.assert_allclose(second_moment(psf_of_sigma(5, shape), 1), 25, rtol=5e-3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian_psf(0), ValueError, r"sigma must be a finite number > 0 and < 511\.75, got 0"),
        (lambda: gaussian_psf(np.nan), ValueError, "sigma must be a finite number .* got nan"),
        (lambda: gaussian_psf(1e308), ValueError, r"sigma must be .* got 1e\+308"),
        (lambda: gaussian_psf("2"), TypeError, "sigma must be a number .* got '2'"),
        (lambda: gaussian_psf(2, radius=-1), ValueError, "radius must be >= 0, got -1"),
        (lambda: gaussian_psf(2, radius=2048), ValueError, "radius must be <= 2047, got 2048"),
        (lambda: gaussian_psf(2, radius=1.5), TypeError, r"radius must be an int >= 0, got 1\.5"),
        (lambda: disk_psf(0), ValueError, "diameter must be a finite number > 0 and < 4095, got 0"),
        (lambda: disk_psf(-3), ValueError, "diameter must be .* got -3"),
        (lambda: disk_psf(1e308), ValueError, r"diameter must be .* got 1e\+308"),
        (lambda: disk_psf(np.inf), ValueError, "diameter must be .* got inf"),
        (lambda: disk_psf(None), TypeError, "diameter must be a number .* got None"),
        (lambda: polygon_psf(5, blades=2), ValueError, "blades must be >= 3, got 2"),
        (lambda: polygon_psf(5, blades=5.0), TypeError, r"blades must be an int >= 3, got 5\.0"),
        (lambda: polygon_psf(np.nan, blades=5), ValueError, "diameter must be .* got nan"),
        (lambda: polygon_psf(5, blades=5, rotation=np.inf), ValueError, "rotation must be a finite number, got inf"),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
