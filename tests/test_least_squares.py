import numpy as np
import pytest
from reference import joint_admm as reference

from fastrefocus.deconvolution.canvas import make_canvas
from fastrefocus.fft import RealFFT2
from fastrefocus.native import least_squares

SHAPES = [(9, 14), (1, 7), (7, 1), (1, 1)]
MU = 0.06


@pytest.fixture(params=["compiled", "interpreted"], autouse=True)
def kernels(request, monkeypatch):
    """Run each test on the compiled kernels, and on the Python that they are compiled from."""
    if request.param == "interpreted":
        for name, function in list(vars(least_squares).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(least_squares, name, function.py_func)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def spectrum(*shape, seed=0):
    return normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 9)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_circular_update_solves_the_normal_equations(shape, channels):
    otf, observed, block = spectrum(*shape), spectrum(channels, *shape, seed=1), spectrum(channels, 1, *shape, seed=2)
    quadratic, scale = normal(*shape) ** 2 + np.float32(0.1), 0.25
    expected = (np.conj(otf) * observed + block[:, 0]) / (np.abs(otf) ** 2 + quadratic)

    errors = least_squares.circular_update(block, otf, observed, quadratic, np.float32(scale))
    np.testing.assert_allclose(block[:, 0], scale * expected, rtol=2e-5)
    assert errors.dtype == np.float64
    np.testing.assert_allclose(errors, np.sum(np.abs(otf * expected - observed) ** 2, axis=(0, 2)), rtol=2e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_joint_update_solves_the_normal_equations(shape, channels, count):
    otfs, block = spectrum(count, *shape), spectrum(channels, 1 + count, *shape, seed=2)
    quadratic, scale = normal(*shape) ** 2 + 0.1, 0.25
    right_side = block[:, 0] + MU * np.sum(np.conj(otfs) * block[:, 1:], axis=1)
    total = MU * np.sum(np.abs(otfs) ** 2, axis=0) + quadratic
    expected = right_side / total

    least_squares.joint_update(block, otfs, (1 / total).astype(np.float32), np.float32(MU), np.float32(scale))
    np.testing.assert_allclose(block[:, 0], scale * expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(block[:, 1:], scale * otfs * expected[:, np.newaxis], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.8])
@pytest.mark.parametrize("clipping", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_split_update_equals_the_textbook(shape, channels, count, clipping, alpha):
    weights = np.abs(normal(count, *shape))
    weights[0, ::2] = 0
    weights[:, :, ::3] = 0  # not observed
    observed = normal(channels, *shape, seed=1) * weights.any(axis=0)
    clipped = (observed > 0.2) if clipping else np.zeros(observed.shape, bool)
    stack, q = normal(channels, 1 + count, *shape, seed=2), normal(channels, count, *shape, seed=3)
    convolved = stack[:, 1:].astype(float)
    known = weights.astype(float), observed.astype(float), clipped
    y = reference.explain(q.astype(float), *known, MU)
    dual = q - y
    relaxed = alpha * convolved + (1 - alpha) * y
    new_y = reference.explain(relaxed + dual, *known, MU)
    new_dual = dual + relaxed - new_y

    most = np.where(clipped, 0, np.inf).astype(np.float32) if clipping else np.empty((channels, 0, 0), np.float32)
    out = np.full_like(stack, 7)
    misfit = least_squares.split_update(stack, q, out, weights, observed, most, np.float32(MU), np.float32(alpha))
    np.testing.assert_allclose(q, new_y + new_dual, atol=2e-5)
    np.testing.assert_allclose(out[:, 1:], new_y - new_dual, atol=2e-5)
    np.testing.assert_allclose(misfit, np.sum(reference.errors(convolved, *known) ** 2), rtol=1e-5)
    assert (out[:, 0] == 7).all()


def test_joint_update_holds_the_operator_and_its_adjoint():
    """A x = sum_k w_k (c_k * x), and A' y = sum_k c_k' * (w_k y) as the right side of the normal equations has it."""
    count, canvas = 3, make_canvas((9, 14), (5, 3), "masked")
    otfs = np.stack([canvas.otf(normal(5, 3, seed=k)) for k in range(count)])
    weights = np.abs(normal(count, *canvas.shape)) * (normal(*canvas.shape, seed=5) > 0)
    x, y = normal(*canvas.shape, seed=6), normal(*canvas.shape, seed=7)
    one, scale = np.ones(otfs.shape[1:], np.float32), np.float32(1 / x.size)

    def solve(first, others):
        transform = RealFFT2(canvas.shape, 1 + count)
        transform.input[0], transform.input[1:] = first, others
        transform.filter(
            lambda block, columns: least_squares.joint_update(
                block[np.newaxis], otfs[:, columns], one[columns], np.float32(1), scale
            )
        )
        return transform.output

    blurred = np.sum(weights * solve(x, 0)[1:], axis=0)
    np.testing.assert_allclose(np.sum(blurred * y), np.sum(x * solve(0, weights * y)[0]), rtol=1e-4)
    full = np.fft.fft2(x) * np.stack([reference.transfer_function(normal(5, 3, seed=k), x.shape) for k in range(count)])
    np.testing.assert_allclose(blurred, np.sum(weights * np.fft.ifft2(full).real, axis=0), atol=2e-5)
