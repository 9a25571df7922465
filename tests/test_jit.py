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
