"""Exceptions that callers may want to tell apart from a plain ValueError, and warnings."""

import sys
import warnings


class FastRefocusError(Exception):
    """Base of the exceptions that this library defines."""


class PhotoError(FastRefocusError, ValueError):
    """A file is not a photo that can be read, or cannot be written as one."""


class DepthFileError(FastRefocusError, ValueError):
    """A file holds no depth that can be read, or cannot hold the depth that is to be written."""


class ModelError(FastRefocusError, ValueError):
    """An ONNX file is broken, or is not a depth model of the form expected."""


class LibraryError(FastRefocusError, ValueError):
    """A file is not a patch library that can be loaded."""


class Cancelled(FastRefocusError):
    """The caller's ``callback`` returned False."""


class ConvergenceWarning(UserWarning):
    """An iteration ended at its last step, not because it had converged."""


class ResidualWarning(UserWarning):
    """The blur assumed does not explain the photo: what is left over is not noise."""


class RegistrationWarning(UserWarning):
    """A focused photo was not used, since nothing in it could be told to be what the misfocused one shows."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the caller's line: the nearest that is not in this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
