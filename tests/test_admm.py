"""ADMM with several PSFs, pixels that are not known, clipped pixels, a range of values and vector TV."""

from dataclasses import dataclass

import numpy as np
import pytest
from reference import joint_admm as reference

from fastrefocus.arrays import fill_unknown, join_channels, split_channels
from fastrefocus.deconvolution.blur import Layers
from fastrefocus.deconvolution.canvas import make_canvas
from fastrefocus.deconvolution.data_terms import SPLIT_PENALTY
from fastrefocus.deconvolution.priors import _RANGE_PENALTY
from fastrefocus.deconvolution.solver import DOUBLINGS, PENALTY_RATIO, Solver

SHAPE = (22, 31)
LAM = 2e-3


def random_psf(shape, seed):
    psf = np.random.default_rng(seed).random(shape).astype(np.float32)  # without any symmetry
    return psf / psf.sum()


PSFS = [random_psf((5, 7), 0), random_psf((3, 3), 1), random_psf((1, 5), 2)]


def soft_weights(shape, count):
    """Weights that vary over the photo, with a sum of 1, of which some are 0."""
    position = np.linspace(0, count - 1, shape[1])
    weights = np.maximum(0, 1 - np.abs(position - np.arange(count)[:, np.newaxis]))
    return np.repeat(weights[:, np.newaxis], shape[0], axis=1).astype(np.float32)


def hard_weights(shape, count):
    return (soft_weights(shape, count) > 0.5).astype(np.float32)


@dataclass
class FixedLayers:
    psfs: list
    weights: np.ndarray
    cells, layers = (1, 1), 3

    @property
    def psf_shape(self):
        return tuple(max(psf.shape[axis] for psf in self.psfs) for axis in (0, 1))

    def within(self, tile):
        return Layers(self.psfs, self.weights[:, *tile.window])


def photo(shape=SHAPE):
    """A blurred picture of flat patches with some noise, as it goes on outside, 0..1."""
    small = np.random.default_rng(1).random((-(-shape[0] // 6) + 2, -(-shape[1] // 6) + 2, *shape[2:]))
    sharp = np.repeat(np.repeat(small, 6, axis=0), 6, axis=1)
    offsets = [(i, j) for i in range(5) for j in range(5)]
    blurred = np.mean([sharp[i : i + shape[0], j : j + shape[1]] for i, j in offsets], axis=0)
    return np.clip(blurred + np.random.default_rng(2).normal(scale=0.02, size=shape), 0, 1).astype(np.float32)


HOLES = (np.random.default_rng(3).random(SHAPE) > 0.1).astype(np.float32)
ONE = np.ones((1, *SHAPE), np.float32)
CASES = {
    "masked border": {},
    "masked border, anisotropic": {"tv": "anisotropic"},
    "three PSFs, soft": {"psfs": PSFS, "weights": soft_weights(SHAPE, 3)},
    "three PSFs, hard": {"psfs": PSFS, "weights": hard_weights(SHAPE, 3)},
    "three PSFs, periodic": {"psfs": PSFS, "weights": soft_weights(SHAPE, 3), "boundary": "periodic"},
    "mask": {"trust": HOLES},
    "mask, periodic": {"trust": HOLES, "boundary": "periodic"},
    "more or less trusted": {"trust": HOLES * np.linspace(0, 2, SHAPE[1], dtype=np.float32)},
    "saturation": {"saturation": 0.8},
    "range": {"value_range": (0.1, 0.9)},
    "range and mask, periodic": {"value_range": (0.1, 0.9), "trust": HOLES, "boundary": "periodic"},
    "vector": {"tv": "vector", "colour": True},
    "colour by channels": {"colour": True},
    "all at once": {
        "psfs": PSFS,
        "weights": soft_weights(SHAPE, 3),
        "trust": HOLES,
        "saturation": 0.8,
        "value_range": (0, np.inf),
        "tv": "vector",
        "colour": True,
    },
}


def library(
    num_iter, *, psfs=PSFS[:1], weights=ONE, trust=None, saturation=None, colour=False, relaxation=1.8, lam=LAM,
    threads=1, **options,
):  # fmt: skip
    """Return the photo and the result."""
    image = photo((*SHAPE, 3)) if colour else photo()
    if trust is not None:  # where the iteration starts from
        image = join_channels([fill_unknown(np.where(trust > 0, p, np.nan), "photo") for p in split_channels(image)])
    if "value_range" in options:
        image = image.clip(*options["value_range"])
    solver = Solver(num_iter=num_iter, tol=0, relaxation=relaxation, **options)
    clipped = None if saturation is None else image >= saturation
    return image, solver.run(
        image,
        FixedLayers(psfs, weights),
        lam,
        trust=trust,
        clipped=clipped,
        threads=threads,
        progress=lambda done: None,
    )


def textbook(
    image, num_iter, *, psfs=PSFS[:1], weights=ONE, trust=None, colour=False, relaxation=1.8, lam=LAM,
    tv="isotropic", boundary="masked", saturation=np.inf, value_range=None,
):  # fmt: skip
    """Return the image and the histories as the library has them."""
    canvas = make_canvas(SHAPE, FixedLayers(psfs, weights).psf_shape, boundary)
    prior = reference.tv_prior(
        lam, PENALTY_RATIO * lam, canvas.shape, isotropic=tv != "anisotropic", image_shape=SHAPE, reach=canvas.reach
    )
    planes = split_channels(image)
    results = [
        reference.deconvolve(
            reference.lay_out(
                np.stack(group).astype(float), psfs, weights, canvas.shape, trust=trust, saturation=saturation
            ),
            prior,
            np.stack([canvas.extend(plane) for plane in group]).astype(float),
            SHAPE,
            num_iter,
            mu=SPLIT_PENALTY,
            alpha=relaxation,
            doublings=DOUBLINGS if saturation == np.inf else (),
            value_range=value_range,
            range_penalty=0.0 if value_range is None else _RANGE_PENALTY,
        )
        for group in ([planes] if tv == "vector" else [[plane] for plane in planes])
    ]
    image = join_channels([canvas.crop(plane) for result in results for plane in result.x])
    return image if value_range is None else image.clip(*value_range), results


@pytest.mark.parametrize("relaxation", [1.0, 1.8])
@pytest.mark.parametrize("case", CASES)
def test_admm_makes_the_textbooks_iterates(case, relaxation):
    options = {"relaxation": relaxation} | CASES[case]
    for num_iter in (1, 2, 3, 16, 37):
        image, result = library(num_iter, **options)
        expected, groups = textbook(image, num_iter, **options)
        np.testing.assert_allclose(result.image, expected, atol=5e-6)
        np.testing.assert_allclose(result.objective, np.sum([g.objective for g in groups], axis=0), rtol=1e-5)
        assert result.num_iter == num_iter
        if len(groups) == 1:
            np.testing.assert_allclose(result.reblur_residual, join_channels(groups[0].error), atol=1e-5)
            np.testing.assert_allclose(result.residual, groups[0].residual, rtol=1e-4)
            np.testing.assert_allclose(result.change, groups[0].change, rtol=1e-3)


@pytest.mark.parametrize("case", ["masked border", "three PSFs, soft", "mask", "saturation", "range", "vector"])
def test_admm_comes_to_the_minimum(case):
    options = CASES[case] | {"lam": 5e-3}
    image, result = library(400, **options)
    _, (group,) = textbook(image, 1000, **options)
    assert result.objective[0] > 1.1 * group.objective[-1]
    np.testing.assert_allclose(result.objective[-1], group.objective[-1], rtol=1e-4)


@pytest.mark.parametrize("case", ["masked border", "three PSFs, soft", "more or less trusted", "saturation"])
def test_nothing_near_the_result_is_better(case):
    options = CASES[case] | {"lam": 5e-3}
    image, result = library(300, **options)
    _, (group,) = textbook(image, 300, **options)  # for what the library estimates outside, and does not return
    psfs, weights = options.get("psfs", PSFS[:1]), options.get("weights", ONE).astype(float)
    canvas = make_canvas(SHAPE, FixedLayers(psfs, weights).psf_shape, "masked")
    prior = reference.tv_prior(options["lam"], 1.0, canvas.shape, image_shape=SHAPE, reach=canvas.reach)
    doubts = {name: options[name] for name in ("trust", "saturation") if name in options}
    known = reference.lay_out(image[np.newaxis].astype(float), psfs, weights, canvas.shape, **doubts)
    x = group.x.copy()
    x[0, : SHAPE[0], : SHAPE[1]] = result.image
    least = reference.objective(x, known, prior)
    np.testing.assert_allclose(least, result.objective[-1], rtol=1e-4)
    random = np.random.default_rng(0)
    for scale in (0.1, 0.01, 1e-3):
        for axis in (0, 1, 2):  # noise, and steps of all that lies right of or below a pixel
            step = random.normal(size=x.shape) if axis == 0 else (np.indices(x.shape)[axis] > 9) * random.normal()
            assert reference.objective(x + scale * step, known, prior) > least * (1 - 1e-6)


@pytest.mark.parametrize("options", [{}, {"value_range": (0.1, 0.9)}], ids=["free", "range"])
def test_all_known_on_a_periodic_canvas_is_the_circular_problem(options):
    options = options | {"boundary": "periodic", "lam": 5e-3}
    image, circular = library(1000, **options)
    _, joint = library(1000, trust=np.ones(SHAPE, np.float32), **options)
    _, (group,) = textbook(image, 1000, **options)
    np.testing.assert_allclose(circular.objective[-1], group.objective[-1], rtol=1e-6)
    np.testing.assert_allclose(joint.objective[-1], group.objective[-1], rtol=1e-6)
    np.testing.assert_allclose(circular.image, joint.image, atol=1e-4)


def test_constant_images_stay_under_any_weights():
    for weights in (soft_weights(SHAPE, 3), hard_weights(SHAPE, 3)):
        solver = Solver(num_iter=5, tol=0, value_range=(0, 1), tv="vector")
        image = np.full((*SHAPE, 3), [0.2, 0.6, 1], np.float32)
        blur = FixedLayers(PSFS, weights)
        result = solver.run(image, blur, 0.01, trust=HOLES, progress=lambda done: None)
        np.testing.assert_allclose(result.image, image, atol=1e-5)


@pytest.mark.parametrize("case", ["three PSFs, soft", "saturation", "vector", "all at once"])
def test_same_bits_at_any_thread_count(case):
    options = CASES[case]
    expected = library(6, **options)[1]
    for threads in (1, 2, 3, None):
        again = library(6, threads=threads, **options)[1]
        np.testing.assert_array_equal(again.image, expected.image)
        np.testing.assert_array_equal(again.objective, expected.objective)
        np.testing.assert_array_equal(again.change, expected.change)
