"""What a user of the installed package can rely on."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import fastrefocus as fr

HEAVY = ["numba", "pyfftw", "faiss", "onnxruntime", "scipy", "skimage", "pyvips", "tqdm", "pooch"]


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_import_loads_nothing_heavy():
    code = f"import sys, fastrefocus; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"


def test_every_public_name_can_be_had_and_is_documented():
    for name in fr.__all__:
        assert getattr(fr, name) is not None
        assert name == name.upper() or name == "Callback" or getattr(fr, name).__doc__, name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="refocuss"):
        fr.refocuss  # noqa: B018


def test_missing_core_says_so():
    code = "import sys; sys.modules['fastrefocus.native._core'] = None; import fastrefocus"
    result = run_python(code)
    assert result.returncode == 1
    assert "without its compiled core" in result.stderr


def test_types_are_shipped():
    package = Path(fr.__file__).parent
    for name in ("py.typed", "__init__.pyi", "native/_core.pyi", "native/_patches.pyi", "depth/builtin.onnx"):
        assert (package / name).is_file(), name


def test_heavy_peers_are_no_test_requirement():
    test_extra = [line for line in requires("fastrefocus") if "extra == 'test'" in line or 'extra == "test"' in line]
    assert test_extra
    assert not any(peer in line for line in test_extra for peer in ("sporco", "scico", "jax"))


def test_unwritable_numba_cache_warns_and_works(tmp_path):
    code = (
        "import numba.core.caching as caching\n"
        "caching._CacheLocator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError('read-only'))\n"
        "import numpy as np, fastrefocus as fr\n"
        "print(fr.deconvolve(np.full((20, 30), 0.5), fr.gaussian_psf(1), lam=0.01, num_iter=1).image.shape)"
    )
    result = run_python(code)
    assert result.stdout.strip() == "(20, 30)", result.stderr
    assert result.stderr.count("RuntimeWarning") == 1


def test_scipy_can_take_the_place_of_fftw():
    code = (
        "import sys, numpy as np, fastrefocus as fr\n"
        "fr.deconvolve(np.full((20, 30), 0.5), fr.gaussian_psf(1), lam=0.01, num_iter=1)\n"
        "print('pyfftw' in sys.modules)"
    )
    assert run_python(code, FASTREFOCUS_FFT="scipy").stdout.strip() == "False"
    assert run_python(code, FASTREFOCUS_FFT="pyfftw").stdout.strip() == "True"
    assert "must be one of" in run_python(code, FASTREFOCUS_FFT="fftpack").stderr


def test_missing_fftw_names_the_way_out():
    code = (
        "import sys; sys.modules['pyfftw'] = None\n"
        "import numpy as np, fastrefocus as fr\n"
        "fr.deconvolve(np.full((20, 30), 0.5), fr.gaussian_psf(1), lam=0.01)"
    )
    assert "FASTREFOCUS_FFT=scipy" in run_python(code, FASTREFOCUS_FFT="pyfftw").stderr


def test_onnxruntime_sends_no_telemetry(tmp_path):
    code = (
        "import os; os.environ.pop('CI', None)\n"
        "import numpy as np, fastrefocus as fr\n"
        "fr.estimate_depth(np.full((20, 30), 0.5))\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    result = run_python(code, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert result.stdout.strip() == "1", result.stderr
    assert not list(tmp_path.rglob("Microsoft"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_after_use_works():
    code = (
        "import os, numpy as np, fastrefocus as fr\n"
        "run = lambda: fr.deconvolve(np.full((40, 30, 3), 0.5), fr.gaussian_psf(1), lam=0.01, threads=2)\n"
        "run()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    run(); os._exit(0)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    assert run_python(code).stdout.strip() == "0"


@pytest.mark.parametrize("name", ["fastrefocus.native._core", "fastrefocus.native._patches"])
def test_compiled_modules_are_documented(name):
    assert importlib.import_module(name).__doc__
