from .errors import Cancelled, FastRefocusError, ModelError, PhotoError

__version__: str

__all__ = [
    "Cancelled",
    "FastRefocusError",
    "ModelError",
    "PhotoError",
]
