"""The cost of one ADMM iteration on one thread, as a multiple of peers and of the bare transforms.

    FASTREFOCUS_FFT=pyfftw pytest benchmarks/admm.py

The columns are time / ours: above 1, we are faster. sporco and scico come with the bench extra and are left out
where they are not installed.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyfftw
import pytest
from reference import admm as textbook

from fastrefocus import deconvolve, gaussian_psf
from fastrefocus.deconvolution.admm import AdmmOptions, _Group
from fastrefocus.deconvolution.canvas import make_canvas
from fastrefocus.deconvolution.problem import Problem
from fastrefocus.fft import RealFFT2, backend_name

SHAPES = [(540, 540), (1024, 1024), (1024, 1024, 3)]
LAM = 0.002
OPTIONS = AdmmOptions(lam=LAM, rho=25 * LAM, doublings=(), relaxation=1.8, num_iter=1, tol=0.0, tv="isotropic")
PATHS = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "tests")}
PEER_STEPS = 5  # iterations a call of a peer with a solver object of its own


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("one_cpu")
def test_iteration(compare, shape):
    pyfftw.forget_wisdom()  # peers plan by measurement, and FFTW would use what they have learned
    planes = np.random.default_rng(0).random((shape[2] if len(shape) == 3 else 1, *shape[:2]), dtype=np.float32)
    psf = gaussian_psf(3)
    channels = iterations(planes, psf, "periodic")
    textbooks = [textbook.iterations(plane, psf, LAM, 25 * LAM, isotropic=True) for plane in planes]
    peers = {
        "the same transforms, bare": bare_transforms(planes),
        f"rfft2 + irfft2 of {backend_name()}": library_transforms(planes),
        "textbook NumPy": lambda: [next(iteration) for iteration in textbooks],
        **sporco_peers(planes, psf),
        **scico_peers(planes, psf),
    }
    steps = {name: PEER_STEPS for name in peers if name.startswith(("sporco", "scico"))}
    compare("one iteration", " x ".join(map(str, shape)), lambda: [c.iterate() for c in channels], peers, steps=steps)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("one_cpu")
def test_boundaries(compare, shape):
    """The canvas is wider where the photo does not wrap, and what is unknown takes two more transforms."""
    planes = np.random.default_rng(0).random((shape[2] if len(shape) == 3 else 1, *shape[:2]), dtype=np.float32)
    ours, *others = (iterations(planes, gaussian_psf(3), boundary) for boundary in ("periodic", "reflect", "masked"))
    peers = {
        name: lambda channels=channels: [c.iterate() for c in channels]
        for name, channels in zip(("reflect", "masked"), others, strict=True)
    }
    compare("one iteration, periodic", " x ".join(map(str, shape)), lambda: [c.iterate() for c in ours], peers)


def iterations(planes, psf, boundary):
    """Return each channel, ready to iterate."""
    canvas = make_canvas(planes[0].shape, psf.shape, boundary)
    weights = np.ones((1, *planes[0].shape), np.float32) if boundary == "masked" else None
    problem = Problem(list(planes), [psf], weights, None, canvas)
    return [_Group(problem, slice(i, i + 1), OPTIONS) for i in range(len(planes))]


def test_threads(compare):
    image = np.random.default_rng(0).random((1024, 1024, 3), dtype=np.float32)
    psf = gaussian_psf(3)

    def run(threads):
        return lambda: deconvolve(image, psf, lam=LAM, num_iter=30, tol=0, threads=threads)

    compare("deconvolve, one thread", "1024 x 1024 x 3, 30 iterations", run(1), {"all threads": run(None)}, rounds=5)


MEMORY = {
    "ours": "from fastrefocus import deconvolve; deconvolve(image, psf, lam=0.002, num_iter=5, threads=1)",
    "sporco": "from sporco.admm.tvl2 import TVL2Deconv; "
    "TVL2Deconv(psf[..., None], image, 0.002, TVL2Deconv.Options({'MaxMainIter': 5})).solve()",
    "textbook NumPy": "from reference import admm; "
    "[admm.deconvolve(image[..., i], psf, 0.002, 0.05, 5) for i in range(3)]",
}

#: What imports and compilers hold does not count: a small image goes first, then the peak is set back.
MEMORY_SCRIPT = """
import numpy as np
from fastrefocus import gaussian_psf

def run(image):
    {code}

def kilobytes(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1])

psf = gaussian_psf(3)
run(np.ones((64, 64, 3), np.float32))
image = np.ones((1024, 1024, 3), np.float32)
before = kilobytes("VmRSS")
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
run(image)
print((kilobytes("VmHWM") - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read as Linux tells it")
def test_memory(add_row):
    cells = {}
    for name, code in MEMORY.items():
        script = MEMORY_SCRIPT.format(code=code)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=PATHS)
        cells[f"{name}, MB"] = f"{float(done.stdout):.0f}" if done.returncode == 0 else "-"
    add_row("peak memory beyond the image", "1024 x 1024 x 3 (12 MB)", cells)


def bare_transforms(planes):
    transforms = [RealFFT2(plane.shape) for plane in planes]
    return lambda: [transform.filter(lambda block, columns: None) for transform in transforms]


def library_transforms(planes):
    """Return the forward and inverse transform with the library's own two-dimensional plans."""
    if backend_name() == "scipy":
        import scipy.fft

        return lambda: [scipy.fft.irfft2(scipy.fft.rfft2(plane), s=plane.shape) for plane in planes]
    plans = []
    for plane in planes:
        image = pyfftw.zeros_aligned(plane.shape, np.float32)
        spectrum = pyfftw.zeros_aligned((plane.shape[0], plane.shape[1] // 2 + 1), np.complex64)
        destroying = ("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT")
        plans.append(pyfftw.FFTW(image, spectrum, axes=(0, 1), flags=("FFTW_ESTIMATE",)))
        plans.append(pyfftw.FFTW(spectrum, image, axes=(0, 1), direction="FFTW_BACKWARD", flags=destroying))
    return lambda: [plan.execute() for plan in plans]


def sporco_peers(planes, psf):
    """Return sporco's solver with a fixed rho and its fast solve: no statistics, no residuals."""
    try:
        import sporco.fft
        from sporco.admm.tvl2 import TVL2Deconv
    except ImportError:
        return {}
    sporco.fft.pyfftw_threads = 1
    image = planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)
    options = TVL2Deconv.Options({
        "MaxMainIter": PEER_STEPS, "rho": 25 * LAM, "AutoRho": {"Enabled": False}, "FastSolve": True, "Verbose": False,
    })  # fmt: skip
    solver = TVL2Deconv(psf if len(planes) == 1 else psf[..., None], image, LAM, options)
    return {"sporco, fast solve": solver.solve}


def scico_peers(planes, psf):
    """Return scico's ADMM with its diagonal Fourier solver, jitted."""
    try:
        from scico import functional, linop, loss
        from scico.numpy import array
        from scico.optimize.admm import ADMM, CircularConvolveSolver
    except ImportError:
        return {}
    shape = planes[0].shape
    convolution = linop.CircularConvolve(array(psf), shape, h_center=array([n // 2 for n in psf.shape]))
    difference = linop.FiniteDifference(input_shape=shape, circular=True)
    solvers = [
        ADMM(
            f=loss.SquaredL2Loss(y=array(plane), A=convolution), g_list=[LAM * functional.L21Norm()],
            C_list=[difference], rho_list=[25 * LAM], x0=array(plane), maxiter=PEER_STEPS,
            subproblem_solver=CircularConvolveSolver(), itstat_options={"display": False},
        )
        for plane in planes
    ]  # fmt: skip
    return {"scico": lambda: [solver.solve().block_until_ready() for solver in solvers]}
