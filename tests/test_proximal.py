import numpy as np
import pytest
from reference import admm as reference

from fastrefocus.deconvolution.half_quadratic import BETAS
from fastrefocus.native import proximal

H, W = 9, 14
SHAPES = [(H, W), (1, 7), (7, 1), (1, 1), (2, 2)]


@pytest.fixture(params=["compiled", "interpreted"], autouse=True)
def kernels(request, monkeypatch):
    """Run each test on the compiled kernels, and on the Python that they are compiled from."""
    if request.param == "interpreted":
        for name, function in list(vars(proximal).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(proximal, name, function.py_func)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ones(shape):
    """Return what counts everything along both axes of a shape."""
    return tuple(np.ones((2, n), np.float32) for n in shape)


def seamed(shape):
    """Return what leaves out a row and a column in the middle and their differences, and a seam after the last ones."""
    counted = ones(shape)
    for weight, n in zip(counted, shape, strict=True):
        weight[:, n // 2] = 0
        weight[0, [n // 2 - 1, n - 1]] = 0
    return counted


def weights(rows, columns):
    """Return the weight of each difference, (2, H, W): down and along."""
    return np.stack([rows[0][:, np.newaxis] * columns[1], rows[1][:, np.newaxis] * columns[0]])


def clip_factor(v, counted, t):
    """Return s, what scales v (channels, 2, H, W) to u where TV is isotropic."""
    length = reference.pixel_lengths(weights(*(ones(v.shape[2:]) if counted is None else counted)) * v)
    return (t / np.maximum(length, t)).astype(np.float32)


def variation_update(x, v, *, previous=None, counted=None, t=0.3, rho=1.0, alpha=1.0, isotropic=True):
    """Return the new v, rho D'(z - u) and the sums, for copies of x (channels, H, W) in a stack and of v."""
    scale = clip_factor(v, counted, t)
    rows, columns = ones(x.shape[1:]) if counted is None else counted
    stack = np.stack([x, np.full_like(x, np.nan)], axis=1)
    out = np.full_like(stack, 7)
    new_v = v.copy()
    previous = np.zeros_like(x) if previous is None else previous
    numbers = (np.float32(number) for number in (t, rho, alpha))
    sums = proximal.variation_update(stack, previous, new_v, scale, out, rows, columns, *numbers, isotropic)
    assert sums.dtype == np.float64
    if isotropic:
        np.testing.assert_allclose(scale, clip_factor(new_v, counted, t), rtol=2e-6)
    assert (out[:, 1] == 7).all()
    return new_v, out[:, 0], sums


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("alpha", [1.0, 1.8, 0.5])
@pytest.mark.parametrize("seam", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_variation_update_equals_the_textbook(shape, channels, seam, alpha, isotropic):
    x, v, t, rho = normal(channels, *shape), normal(channels, 2, *shape, seed=1), 0.3, 0.7
    parts = seamed(shape) if seam else ones(shape)
    counted = weights(*parts)

    def shrink(v):  # what is not counted costs nothing, and is not shrunk
        return counted * reference.shrink(counted * v, t, isotropic) + (1 - counted) * v

    z = shrink(v.astype(float))
    u = v - z
    gradient = reference.differences(x.astype(float))
    relaxed = alpha * gradient + (1 - alpha) * z
    new_z = shrink(relaxed + u)
    new_u = u + relaxed - new_z

    new_v, divergence, sums = variation_update(x, v, counted=parts, t=t, rho=rho, alpha=alpha, isotropic=isotropic)
    np.testing.assert_allclose(new_v, new_z + new_u, atol=2e-6)
    np.testing.assert_allclose(divergence, rho * reference.adjoint_differences(new_z - new_u), atol=4e-6)
    variation = reference.total_variation(counted * gradient, isotropic)
    violation, power = np.sum((gradient - z) ** 2), np.sum((counted * gradient) ** 2)
    np.testing.assert_allclose(sums[:3], (variation, violation, power), rtol=2e-6)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_halving_the_dual_keeps_the_split(shape, channels, isotropic):
    v, t = normal(channels, 2, *shape, seed=1), 0.3
    parts = seamed(shape)
    counted = weights(*parts)

    def clip(v, t):
        return counted * (counted * v - reference.shrink(counted * v, t, isotropic))

    new_v, scale = v.copy(), clip_factor(v, parts, t)
    proximal.halve_dual(new_v, scale, *parts, np.float32(t), isotropic)
    u = clip(v.astype(float), t)
    np.testing.assert_allclose(new_v - clip(new_v, t / 2), v - u, atol=2e-6)
    np.testing.assert_allclose(clip(new_v, t / 2), u / 2, atol=2e-6)
    if isotropic:
        np.testing.assert_allclose(scale, clip_factor(new_v, parts, t / 2), rtol=2e-6)


@pytest.mark.parametrize("image_shape", [(H, W), (5, 8), (1, 1)])
def test_variation_update_measures_the_change_in_the_image_only(image_shape):
    image = np.s_[:, : image_shape[0], : image_shape[1]]
    x, previous = normal(3, H, W), normal(3, *image_shape, seed=1)
    difference = x[image] - previous
    _, _, sums = variation_update(x, np.zeros((3, 2, H, W), np.float32), previous=previous)
    np.testing.assert_allclose(sums[3:], (np.sum(difference**2), np.sum(x[image] ** 2)), rtol=1e-6)
    np.testing.assert_array_equal(previous, x[image])


@pytest.mark.parametrize("isotropic", [True, False])
def test_divergence_is_the_adjoint_of_the_differences(isotropic):
    x, w = normal(2, H, W), normal(2, 2, H, W, seed=1)
    gradient, _, _ = variation_update(x, np.zeros_like(w), isotropic=isotropic)  # v <- 0 + (D x - 0)
    _, divergence, _ = variation_update(x, w, t=1e-15, alpha=0, isotropic=isotropic)  # D'(v - 2 clip(v, 0))
    np.testing.assert_allclose(np.sum(gradient * w), np.sum(x * divergence), rtol=1e-5)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("t", [1e-18, 1e18])
def test_variation_update_at_the_ends_of_float32(t, isotropic):
    x, v = np.zeros((1, H, W), np.float32), normal(1, 2, H, W)
    v[..., ::2, :] = 0
    new_v, divergence, _ = variation_update(x, v, t=t, alpha=0, isotropic=isotropic)
    np.testing.assert_array_equal(new_v, v)
    sign = 1 if t < 1 else -1  # all of v is z, or all of it is u
    np.testing.assert_allclose(divergence, sign * reference.adjoint_differences(v.astype(float)), atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.8])
@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.8), (0, np.inf)])
@pytest.mark.parametrize("shape", SHAPES)
def test_range_update_equals_the_textbook(shape, low, high, alpha):
    stack, q, mu = normal(3, 2, *shape), normal(3, *shape, seed=1), 0.3
    out = normal(3, 2, *shape, seed=2)
    s = np.clip(q.astype(float), low, high)
    dual = q - s
    relaxed = alpha * stack[:, 0] + (1 - alpha) * s
    new_s = np.clip(relaxed + dual, low, high)
    new_dual = dual + relaxed - new_s
    expected = out.astype(float)
    expected[:, 0] += mu * (new_s - new_dual)

    proximal.range_update(stack, q, out, *(np.float32(number) for number in (low, high, mu, alpha)))
    np.testing.assert_allclose(q, new_s + new_dual, atol=1e-6)
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("beta", [*BETAS, 1e-3, 1e5])
@pytest.mark.parametrize("shape", SHAPES)
def test_hyper_laplacian_update_takes_the_best_differences(shape, beta):
    x, weight = normal(*shape), 0.4
    x[:, ::3] *= 0.05
    out = np.full_like(x, np.nan)
    proximal.hyper_laplacian_update(x, out, np.float32(beta), np.float32(weight))
    best = reference.shrink_hyper_laplacian(reference.differences(x.astype(float)), beta)
    np.testing.assert_allclose(out, weight * reference.adjoint_differences(best), atol=1e-5)


def test_hyper_laplacian_of_nothing_is_nothing():
    out = np.full((H, W), np.nan, np.float32)
    proximal.hyper_laplacian_update(np.full((H, W), 0.3, np.float32), out, np.float32(1), np.float32(0.4))
    np.testing.assert_array_equal(out, 0)
