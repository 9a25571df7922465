"""Change the focus of a photograph after it was taken.

The public names stand in ``__init__.pyi``; each is imported when it is first used. Only the compiled
core is imported at once, so that a broken installation says so here and not in the middle of a job.
"""

from importlib.metadata import version as _version

import lazy_loader as _lazy

try:
    from fastrefocus.native import _candidates, _core, _patches  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastrefocus is installed without its compiled core "
        f"({error}); reinstall it, from a source checkout with 'pip install .'"
    ) from error

__version__ = _version("fastrefocus")
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
