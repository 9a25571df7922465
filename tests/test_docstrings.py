"""Every example in a docstring of the installed package runs, and every public function has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import fastrefocus as fr

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fr.__path__, prefix="fastrefocus.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_functions_have_an_example():
    functions = [getattr(fr, name) for name in fr.__all__ if inspect.isfunction(getattr(fr, name))]
    assert functions
    assert [function.__name__ for function in functions if ">>>" not in function.__doc__] == []
