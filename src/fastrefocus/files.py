"""Files that are written whole, or not at all."""

import os
import secrets
import shutil
from pathlib import Path


def resolve_target(target: Path, error: type[Exception]) -> Path:
    """Return the file that `replace_file` is to write: that to which a symbolic link points.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    error
        If it is a directory.
    """
    real = Path(os.path.realpath(target))
    if real.is_dir():
        raise error(f"{target} cannot be written: it is a directory")
    if not real.parent.is_dir():
        raise FileNotFoundError(f"{target} cannot be written: there is no folder {real.parent}")
    return real


def replace_file(target: Path, data: bytes) -> None:
    """Put `data` where `target` is, with its permissions, or leave it as it was."""
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            if os.name == "posix" and target.exists():
                shutil.copymode(target, temporary)  # before the data, which may be private
            stream.write(data)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
