"""An ONNX file before it is opened: whether it can be a model, and what its bytes tell."""

import re
import struct
from pathlib import Path

from fastrefocus.depth.networks.model_cards import CARDS
from fastrefocus.errors import ModelError

#: Protobuf, of which an ONNX file consists, has no larger messages.
_LARGEST_FILE = 2**31 - 1

#: In a protobuf file, the key "location" of a tensor whose data lie in another file, behind its length 8.
#: (A length may also be written with superfluous bytes, of which the last is 0.)
_EXTERNAL_DATA = re.compile(rb"[\x08\x00]location")

#: What onnxruntime takes for the file name of weights that are in memory already.
_ADDRESS = b"_ORT_MEM_ADDR_"

#: ImageNet's mean and standard deviation of red, green and blue, for values of 0..1 and of 0..255.
_NORMALISATIONS = [
    struct.pack("<3f", *(scale * value for value in colour))
    for colour in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for scale in (1, 255)
]


def state_of(path: Path) -> tuple[int, ...]:
    """Return what changes where a file does; raise FileNotFoundError or ModelError if it is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"model file not found: {path}; model is 'builtin', a path to an ONNX file, or CARD:PATH "
            f"with a card of {', '.join(CARDS)}"
        ) from None
    except OSError as error:  # a loop of links, among others
        raise ModelError(f"model {path} cannot be read: {error.strerror}") from None
    if not path.is_file():
        kind = "directory" if path.is_dir() else "special file"
        raise ModelError(f"model must be an ONNX file, got the {kind} {path}")
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_model(path: Path) -> bytes:
    """Read a file, and refuse it if it cannot be a model."""
    if path.stat().st_size > _LARGEST_FILE:
        raise ModelError(f"{path} is larger than an ONNX file can be (2 GiB)")
    data = path.read_bytes()
    if not data:
        raise ModelError(f"{path} is empty, not an ONNX model")
    if _ADDRESS in data:
        raise ModelError(f"{path} names an address in memory as the place of its weights")
    return data


def has_external_data(data: bytes) -> bool:
    """Say whether a model's weights may lie in other files."""
    return _EXTERNAL_DATA.search(data) is not None


def has_normalisation(data: bytes) -> bool:
    """Say whether a model holds the constants of ImageNet's normalisation."""
    return any(constants in data for constants in _NORMALISATIONS)
