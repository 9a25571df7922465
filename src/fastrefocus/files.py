"""Files that are written whole, or not at all."""

import os
import secrets
import shutil
from pathlib import Path


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
