"""The download of a model file, by pooch; nothing else in this library uses the network."""

import hashlib
import os
import stat
from pathlib import Path

from fastrefocus.errors import ModelError
from fastrefocus.files import resolve_target


def download_model(url: str, target: Path, sha256: str, *, overwrite: bool = False) -> None:
    """Download a file whose SHA-256 is known.

    The file appears only when it is complete and right.

    Parameters
    ----------
    url : str
        "http://..." or "https://...".
    target : Path
        The file to make, with the permissions of any new file, or of the one that it replaces.
    sha256 : str
        64 hexadecimal digits, in lower case.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If `target` exists, is another file, and is not to be replaced. (If it is that file, nothing is done.)
    FileNotFoundError
        If its folder does not exist.
    IsADirectoryError
        If it is a directory.
    ImportError
        If pooch is not installed.
    OSError
        If the download fails.
    ModelError
        If the file has another SHA-256.
    """
    target = resolve_target(target, IsADirectoryError)
    if target.exists():
        with target.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                return
        if not overwrite:
            raise FileExistsError(f"{target} exists and is another file")
    try:
        import pooch
    except ImportError:
        raise ImportError("a download needs pooch: pip install 'fastrefocus[download]'") from None
    pooch.get_logger().setLevel("WARNING")
    mode = _mode_of(target)
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(),
        )
    except ValueError as error:  # pooch's word for another hash
        raise ModelError(f"{url} is not the file wanted, and was not kept: {error}") from None
    target.chmod(mode)  # pooch's file is for its owner alone


def _mode_of(target: Path) -> int:
    """Return the permissions of a file, or those that a new one has."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)  # it is told only to who sets it
    os.umask(mask)
    return 0o666 & ~mask
