import numpy as np
import pytest
from reference import admm as reference

from fastrefocus.native import proximal

H, W = 9, 14
KERNELS = ("_relax_row", "_split_row", "_divergence_row", "dual_update", "x_update")


@pytest.fixture(params=["compiled", "interpreted"], autouse=True)
def kernels(request, monkeypatch):
    """Run each test on the compiled kernels, and on the Python that they are compiled from."""
    if request.param == "interpreted":
        for name in KERNELS:
            monkeypatch.setattr(proximal, name, getattr(proximal, name).py_func)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def dual_update(x, v, *, t=0.3, alpha=1.0, isotropic=True):
    """Return the new v and D'(z - u), both for float32 copies of the arguments, and the three sums."""
    vy, vx = v.copy()
    out = np.empty_like(x)
    sums = proximal.dual_update(x, vy, vx, out, np.float32(t), np.float32(alpha), isotropic)
    return np.stack([vy, vx]), out, sums


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("alpha", [1.0, 1.8, 0.5])
@pytest.mark.parametrize("shape", [(H, W), (1, 7), (7, 1), (1, 1)])
def test_dual_update_equals_the_textbook(shape, alpha, isotropic):
    x, v, t = normal(*shape), normal(2, *shape, seed=1), 0.3
    x64, v64 = x.astype(float), v.astype(float)
    z = reference.shrink(v64, t, isotropic)
    u = v64 - z
    gradient = reference.differences(x64)
    relaxed = alpha * gradient + (1 - alpha) * z
    new_z = reference.shrink(relaxed + u, t, isotropic)
    new_u = u + relaxed - new_z

    new_v, divergence, sums = dual_update(x, v, t=t, alpha=alpha, isotropic=isotropic)
    np.testing.assert_allclose(new_v, new_z + new_u, atol=2e-6)
    np.testing.assert_allclose(divergence, reference.adjoint_differences(new_z - new_u), atol=4e-6)
    expected = reference.total_variation(gradient, isotropic), np.sum((gradient - z) ** 2), np.sum(gradient**2)
    np.testing.assert_allclose(sums, expected, rtol=2e-6)


@pytest.mark.parametrize("isotropic", [True, False])
def test_divergence_is_the_adjoint_of_the_differences(isotropic):
    x, w = normal(H, W), normal(2, H, W, seed=1)
    zero = np.zeros_like(w)
    gradient, _, _ = dual_update(x, zero, isotropic=isotropic)  # v <- 0 + (D x - 0)
    _, divergence, _ = dual_update(x, w, t=1e-15, alpha=0, isotropic=isotropic)  # D'(v - 2 clip(v, 0))
    np.testing.assert_allclose(np.sum(gradient * w), np.sum(x * divergence), rtol=1e-5)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("t", [1e-18, 1e18])
def test_dual_update_at_the_ends_of_float32(t, isotropic):
    x, v = np.zeros((H, W), np.float32), normal(2, H, W)
    v[:, ::2] = 0
    new_v, divergence, _ = dual_update(x, v, t=t, alpha=0, isotropic=isotropic)
    np.testing.assert_array_equal(new_v, v)
    sign = 1 if t < 1 else -1  # all of v is z, or all of it is u
    np.testing.assert_allclose(divergence, sign * reference.adjoint_differences(v.astype(float)), atol=1e-6)


def test_x_update_solves_the_normal_equations():
    columns = 5
    otf, observed, block = (normal(columns, H, seed=s) + 1j * normal(columns, H, seed=s + 9) for s in range(3))
    ly, lx = normal(H) ** 2, normal(columns, seed=1) ** 2
    rho, scale = 0.7, 0.25
    right_side = np.conj(otf) * observed + rho * block
    expected = right_side / (np.abs(otf) ** 2 + rho * (ly + lx[:, np.newaxis]))

    errors = proximal.x_update(block, otf, observed, ly, lx, np.float32(rho), np.float32(scale))
    np.testing.assert_allclose(block, scale * expected, rtol=2e-5)
    assert errors.dtype == np.float64
    np.testing.assert_allclose(errors, np.sum(np.abs(otf * expected - observed) ** 2, axis=1), rtol=2e-5)
