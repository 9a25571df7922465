"""The CPU time to a relative objective gap, beside peers: isotropic TV, periodic borders, a disk of 9 pixels.

    FASTREFOCUS_FFT=pyfftw pytest benchmarks/convergence.py
    FASTREFOCUS_FFT=pyfftw python benchmarks/convergence.py      # docs/figures/convergence.svg

All minimise 1/2 |c*x - b|^2 + lam TV(x), the very same function: it is evaluated in float64, outside of what is timed,
and all come to the same minimum. Ours is the time of the whole call of `deconvolve` with its default rho; of a peer
only the iterations count, not what it prepares (plans, compilation, spectra). The columns of peers are time / ours:
above 1, we are faster.

"tuned" has a fixed rho, the best of `RATIOS` for the smallest gap, and the over-relaxation 1.8. The iterations are
then those of ours with that rho, so that ours finds it. What is not installed is left out; deepinv is no part of the
bench extra.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyfftw
import pytest
import scipy.fft
from skimage import data
from skimage.transform import resize

from fastrefocus import deconvolve, disk_psf

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from reference import admm as textbook  # noqa: E402

FIGURE = ROOT / "docs" / "figures" / "convergence.svg"
PSF = disk_psf(9)
WEIGHTS = {0.01: 2e-3, 0.002: 2e-4}  # lam for each standard deviation of the noise
PHOTOS = {"camera, 512 x 512": lambda: data.camera() / 255, "brick, 1024 x 1024": lambda: enlarged(data.brick() / 255)}
GAPS = (1e-2, 1e-3, 1e-4)
RATIOS = (10, 16, 25, 40, 64)  # rho / lam
LONGEST_S = 90.0  # of CPU time for a peer
PEER_DENSITY, DENSITY = 1.1, 1.25  # ratio of the iteration counts at which the objective is looked at


class Case(NamedTuple):
    observed: np.ndarray  # b, float32
    lam: float
    rho: float  # the best fixed one
    objective: Callable[[np.ndarray], float]
    minimum: float

    def is_solved(self, objective: float) -> bool:
        """Return whether an objective is below the smallest gap, with some to spare."""
        return objective <= (1 + 0.7 * GAPS[-1]) * self.minimum


class Peer(NamedTuple):
    """A solver that is stepped from outside."""

    step: Callable[[], object]  # one iteration
    image: Callable[[], np.ndarray]  # x as it is, when all work is done


class Trace(NamedTuple):
    """What a method has reached after how much CPU time."""

    seconds: np.ndarray
    objective: np.ndarray

    def time_to(self, value: float) -> float:
        """Return when the objective falls to a value, or infinity; between two looks at it, as on a straight line."""
        least = np.minimum.accumulate(self.objective)
        return float(np.interp(-value, -least, self.seconds)) if least[-1] <= value else np.inf


@pytest.mark.parametrize("noise", WEIGHTS)
@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.usefixtures("one_cpu")
def test_time_to_gap(add_row, photo, noise):
    traces, minimum = compare_methods(make_case(photo, noise))
    ours = traces.pop("ours")
    for gap in GAPS:
        value = (1 + gap) * minimum
        own = ours.time_to(value)
        assert np.isfinite(own)
        ratios = {name: trace.time_to(value) / own for name, trace in traces.items()}
        beyond = {name: f"> {trace.seconds[-1] / own:.0f}" for name, trace in traces.items()}
        cells = {name: f"{ratio:.1f}" if np.isfinite(ratio) else beyond[name] for name, ratio in ratios.items()}
        add_row(f"CPU time to a gap of {gap:g}", f"{photo}, noise {noise}", {"ours, s": f"{own:.3f}", **cells})


def enlarged(photo):
    return resize(photo, (1024, 1024), order=3)


@cache
def make_case(photo: str, noise: float) -> Case:
    sharp = PHOTOS[photo]()
    c_ft = textbook.transfer_function(PSF, sharp.shape)[:, : sharp.shape[1] // 2 + 1]
    lam = WEIGHTS[noise]

    def blur(x):
        return scipy.fft.irfft2(c_ft * scipy.fft.rfft2(x), sharp.shape)

    noise_values = np.random.default_rng(0).normal(scale=noise, size=sharp.shape)
    observed = (blur(sharp) + noise_values).astype(np.float32)

    def objective(x):
        x = x.astype(np.float64)
        variation = textbook.total_variation(textbook.differences(x), isotropic=True)
        return 0.5 * np.square(blur(x) - observed).sum() + lam * variation

    minimum = objective(ours(observed, lam, 1000, rho=40 * lam).image)
    histories = {ratio: ours(observed, lam, 200, rho=ratio * lam).objective for ratio in RATIOS}
    rho = lam * min(RATIOS, key=lambda ratio: np.sum(histories[ratio] > (1 + GAPS[-1]) * minimum))
    return Case(observed, lam, rho, objective, minimum)


def ours(observed, lam, num_iter, rho=None):
    return deconvolve(observed, PSF, lam=lam, rho=rho, num_iter=num_iter, tol=0, boundary="periodic", threads=1)


def compare_methods(case: Case) -> tuple[dict[str, Trace], float]:
    """Return a trace of each method and the smallest objective seen; ours is measured beside every peer."""
    traces, runs = {}, [trace_ours(case)]
    for name, start in PEERS.items():
        try:
            peer = start(case)
        except ImportError:
            continue
        traces[name] = trace_peer(peer, case)
        runs.append(trace_ours(case))
    own = Trace(np.median([run.seconds for run in runs], axis=0), runs[0].objective)
    traces = {"ours": own, **traces}
    return traces, min(case.minimum, *(trace.objective.min() for trace in traces.values()))


def trace_ours(case: Case) -> Trace:
    """Call `deconvolve` anew for every number of iterations."""
    seconds, objective, count = [], [np.inf], 0
    while not case.is_solved(objective[-1]):
        count = next_count(count, DENSITY)
        pyfftw.forget_wisdom()  # peers plan by measurement, and FFTW would use what they have learned
        start = time.process_time()
        result = ours(case.observed, case.lam, count)
        seconds.append(time.process_time() - start)
        objective.append(case.objective(result.image))
    return Trace(np.array(seconds), np.array(objective[1:]))


def trace_peer(peer: Peer, case: Case) -> Trace:
    """Sum the time of the iterations up to each look at the objective."""
    seconds, objective, elapsed, done = [], [np.inf], 0.0, 0
    while not case.is_solved(objective[-1]) and elapsed < LONGEST_S:
        count = next_count(done, PEER_DENSITY)
        start = time.process_time()
        for _ in range(count - done):
            peer.step()
        image = peer.image()
        elapsed, done = elapsed + time.process_time() - start, count
        seconds.append(elapsed)
        objective.append(case.objective(image))
    return Trace(np.array(seconds), np.array(objective[1:]))


def next_count(count: int, density: float) -> int:
    """Return after how many iterations the objective is looked at again."""
    return max(count + 1, round(count * density))


def sporco_peer(case: Case, **options) -> Peer:
    """Return sporco's solver; its differences are backward, so that it gets the picture turned by 180 degrees."""
    import sporco.fft
    from sporco.admm.tvl2 import TVL2Deconv

    sporco.fft.pyfftw_threads = 1
    kernel = np.zeros_like(case.observed)
    kernel[: PSF.shape[0], : PSF.shape[1]] = PSF[::-1, ::-1]
    kernel = np.roll(kernel, (-(PSF.shape[0] // 2), -(PSF.shape[1] // 2)), axis=(0, 1))
    settings = TVL2Deconv.Options({"MaxMainIter": 1, "Verbose": False, **options})  # solve() goes on where it was
    turned = np.ascontiguousarray(case.observed[::-1, ::-1])
    TVL2Deconv(kernel, turned, case.lam, settings).solve()  # plans are made and kept
    solver = TVL2Deconv(kernel, turned, case.lam, settings)
    return Peer(solver.solve, lambda: solver.X[::-1, ::-1])


def tuned_sporco_peer(case: Case, **options) -> Peer:
    return sporco_peer(case, rho=case.rho, RelaxParam=1.8, AutoRho={"Enabled": False}, **options)


def scico_peer(case: Case) -> Peer:
    """Return scico's ADMM with its diagonal Fourier solver, jitted and compiled, without its statistics."""
    from scico import functional, linop, loss
    from scico.numpy import array
    from scico.optimize.admm import ADMM, CircularConvolveSolver

    shape, observed = case.observed.shape, array(case.observed)
    convolution = linop.CircularConvolve(array(PSF), shape, h_center=array([n // 2 for n in PSF.shape]))
    solver = ADMM(
        f=loss.SquaredL2Loss(y=observed, A=convolution), g_list=[case.lam * functional.L21Norm()],
        C_list=[linop.FiniteDifference(input_shape=shape, circular=True)], rho_list=[case.rho], alpha=1.8,
        x0=observed, subproblem_solver=CircularConvolveSolver(),
    )  # fmt: skip
    solver.step()
    solver.x, solver.u_list = observed, solver.u_init(observed)
    solver.z_list, solver.z_list_old = solver.z_init(observed)

    def image():
        solver.u_list[0].block_until_ready()
        return np.asarray(solver.x)

    return Peer(solver.step, image)


def deepinv_peer(case: Case) -> Peer:
    """Return deepinv's ADMM with its differences made periodic and the best step of those tried; its FISTA is slower.

    The 20 inner iterations of the TV prior, with a warm start, are those of its examples.
    """
    import deepinv
    import torch

    class PeriodicDenoiser(deepinv.models.TVDenoiser):
        @staticmethod
        def nabla(x):
            return torch.stack([torch.roll(x, -1, dim) - x for dim in (2, 3)], dim=-1)

        @staticmethod
        def nabla_adjoint(x):
            return sum(torch.roll(x[..., i], 1, i + 2) - x[..., i] for i in (0, 1))

    torch.set_num_threads(1)
    prior = deepinv.optim.TVPrior()
    prior.TVModel = PeriodicDenoiser(n_it_max=20, crit=1e-8)
    filtered = torch.from_numpy(PSF[np.newaxis, np.newaxis])
    physics = deepinv.physics.BlurFFT(img_size=(1, *case.observed.shape), filter=filtered)
    solver = deepinv.optim.ADMM(
        data_fidelity=deepinv.optim.L2(), prior=prior, lambda_reg=case.lam, stepsize=0.1 / case.lam
    )
    observed = torch.from_numpy(case.observed[np.newaxis, np.newaxis])
    state = solver.fixed_point.init_iterate_fn(observed, physics, None, cost_fn=None)

    @torch.no_grad()
    def step():
        nonlocal state
        state = solver.fixed_point.single_iteration(state, 0, observed, physics)

    return Peer(step, lambda: state["est"][0][0, 0].numpy())


PEERS = {
    "sporco, defaults": sporco_peer,
    "sporco, tuned": tuned_sporco_peer,
    "sporco, tuned, fast solve": partial(tuned_sporco_peer, FastSolve=True),
    "scico, tuned": scico_peer,
    "deepinv, ADMM": deepinv_peer,
}


def write_figure() -> None:
    """Plot the relative gap against the CPU time for the photo of 512 x 512."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "convergence"})  # text as text; same file again
    import matplotlib.pyplot as plt

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    photo = next(iter(PHOTOS))
    figure, axes = plt.subplots(1, len(WEIGHTS), figsize=(10, 4), sharey=True, layout="constrained")
    for ax, (noise, lam) in zip(axes, WEIGHTS.items(), strict=True):
        traces, minimum = compare_methods(make_case(photo, noise))
        for name, trace in traces.items():
            ax.loglog(trace.seconds, trace.objective / minimum - 1, label=name, linewidth=2 if name == "ours" else 1)
        ax.set(title=f"{photo}, noise {noise}, lam {lam}", xlabel="CPU time, s", ylim=(GAPS[-1] / 2, 1))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("objective / minimum - 1")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(FIGURE, metadata={"Date": None})


if __name__ == "__main__":
    write_figure()
