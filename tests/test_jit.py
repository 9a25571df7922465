import os
import subprocess
import sys
import warnings

import pytest

from fastrefocus.native import jit


def test_kernels_are_compiled_without_a_cache_where_no_folder_is_writable(monkeypatch):
    def njit(cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: lambda *arguments: function(*arguments) + 1

    monkeypatch.setattr(jit, "_njit", njit)
    jit._warn_of_no_cache.cache_clear()
    with pytest.warns(
        RuntimeWarning, match="cannot be kept on disk; .* NUMBA_CACHE_DIR to a writable folder"
    ) as record:
        assert jit.kernel(len)([1, 2]) == 3
    assert len(record) == 1
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jit.kernel(len)  # once is enough for all kernels


DECONVOLVE = """
import hashlib
import numpy as np
from fastrefocus import deconvolve, disk_psf
image = np.random.default_rng(0).random((40, 52, 3), np.float32)
results = [deconvolve(image, disk_psf(5), lam=1e-3, num_iter=5, tol=0, tv=tv) for tv in ("vector", "isotropic")]
print([hashlib.sha256(result.image.tobytes()).hexdigest() for result in results])
"""


def test_the_process_that_compiles_and_those_that_load_give_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", DECONVOLVE], env=environment, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second
