"""The download of a model file, by pooch; nothing else in this library uses the network."""

import hashlib
from pathlib import Path

from fastrefocus.errors import ModelError


def download_model(url: str, target: Path, sha256: str, *, overwrite: bool = False) -> None:
    """Download a file whose SHA-256 is known.

    The file appears only when it is complete and right.

    Parameters
    ----------
    url : str
        "http://..." or "https://...".
    target : Path
        The file to make; its folder exists.
    sha256 : str
        64 hexadecimal digits, in lower case.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If `target` exists, is another file, and is not to be replaced. (If it is that file, nothing is done.)
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If pooch is not installed.
    OSError
        If the download fails.
    ModelError
        If the file has another SHA-256.
    """
    if target.is_dir() or not target.parent.is_dir():
        raise FileNotFoundError(f"OUT must be a file in a folder that exists, got {target}")
    if target.exists():
        with target.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                return
        if not overwrite:
            raise FileExistsError(f"{target} exists and is another file; --force overwrites it")
    try:
        import pooch
    except ImportError:
        raise ImportError("a download needs pooch: pip install 'fastrefocus[download]'") from None
    pooch.get_logger().setLevel("WARNING")
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
