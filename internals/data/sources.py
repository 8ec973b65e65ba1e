"""Where a data set lies on this machine, and which one would be used; torch is not needed.

The order of look-up: the folder named by `INTERNALS_DATA`, the user's cache folder, a download
into that cache, and, only in mode `auto`, the embedded stand-in. A folder that holds the data set
in part, or damaged, is an error: other data are never taken in silence.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from internals.data import imagenette
from internals.data.mnist import digits_fingerprint, verify_mnist
from internals.data.shapes import dataset as shapes
from internals.data.store import cache_folder
from internals.errors import DataError, OutputError
from internals.files import write_atomically

MODES = ("auto", "real", "embedded")
DATASETS = {"mnist": "digits", "imagenette": "shapes"}  # each data set and its embedded stand-in

_RETRY_SECONDS = 3600


@dataclass(frozen=True)
class Source:
    """The data set that would be used.

    Args:
        name: One of `DATASETS`, or its stand-in.
        root: The folder that holds it; None: it is embedded.
        fingerprint: Changes whenever the data do.
    """

    name: str
    root: Path | None
    fingerprint: str

    def __str__(self) -> str:
        where = f"from {self.root}" if self.root else "embedded in the installed packages"
        return f"{self.name} ({where})"


def identify(name: str, mode: str = "auto") -> str:
    """The fingerprint of the data that `load` would use now, without loading them.

    Args:
        name: As for `load`.
        mode: As for `load`.

    Raises:
        DataError: The name or mode is unknown, or no usable data can be had.
    """
    return find_source(name, mode).fingerprint


def find_source(name: str, mode: str = "auto") -> Source:
    """Find a data set in the order of look-up, downloading it if that is its turn.

    Args:
        name: As for `load`.
        mode: As for `load`.

    Raises:
        DataError: The name or mode is unknown, files are damaged, or, in mode "real", the data are
            not here and cannot be downloaded.
    """
    if mode not in MODES:
        raise DataError(f"unknown data mode {mode!r}; choose one of {', '.join(MODES)}")
    if name in DATASETS.values():
        return _embedded(name)
    if name not in DATASETS:
        known = ", ".join([*DATASETS, *DATASETS.values()])
        raise DataError(f"unknown data set {name!r}; known are {known}")
    if mode == "embedded":
        return _embedded(DATASETS[name])
    if source := find_on_disk(name):
        return source
    return _download_or_stand_in(name, mode)


def find_on_disk(name: str) -> Source | None:
    """The data set in `INTERNALS_DATA` or the cache folder.

    Args:
        name: One of `DATASETS`.

    Returns:
        The data set; None where neither folder has it.

    Raises:
        DataError: Its files are damaged (MNIST) or incomplete.
    """
    for folder in _folders():
        if name == "imagenette":
            if root := imagenette.folder_in(folder):
                return Source(name, root, imagenette.fingerprint(root))
        elif (folder / "MNIST").exists():
            return Source(name, folder, verify_mnist(folder))
    return None


def _folders() -> list[Path]:
    """The data folders in order; an `INTERNALS_DATA` that holds no data set at all is an error."""
    folders = []
    if named := os.environ.get("INTERNALS_DATA"):
        try:
            folder = _absolute(named)
            if not folder.is_dir():
                raise DataError(f"INTERNALS_DATA={named} is not a folder; correct it, or unset it")
            if not (folder / "MNIST").exists() and not imagenette.folder_in(folder):
                raise DataError(
                    f"INTERNALS_DATA={named} holds neither MNIST nor an imagenette2* folder; "
                    "put MNIST/raw/* or imagenette2/train and val there, or unset it to download"
                )
        except OSError as error:
            raise DataError(
                f"INTERNALS_DATA={named} cannot be read: {error.strerror}; correct it, or unset it"
            ) from error
        folders.append(folder)
    return [*folders, cache_folder()]


def _absolute(named: str) -> Path:
    """The folder that `INTERNALS_DATA` names, here and in processes that work elsewhere.

    A relative path is one of the folder in which this process was when it first looked, so its
    absolute form is put into the environment, which a chapter's kernel inherits.
    """
    try:
        folder = Path(named).expanduser().absolute()
    except RuntimeError as error:  # expanduser's, for want of such a user
        raise DataError(
            f"INTERNALS_DATA={named} names the home of nobody; correct it, or unset it"
        ) from error
    os.environ["INTERNALS_DATA"] = str(folder)
    return folder


def _embedded(name: str) -> Source:
    if name == "shapes":
        return Source(name, None, shapes.fingerprint())
    return Source(name, None, digits_fingerprint())


def _download_or_stand_in(name: str, mode: str) -> Source:
    """Try the download; in mode `auto` remember a failure for an hour and use the stand-in."""
    marker = cache_folder() / f"{name}.unreachable"
    if (
        mode == "auto"
        and marker.is_file()
        and time.time() - marker.stat().st_mtime < _RETRY_SECONDS
    ):
        return _embedded(DATASETS[name])

    from internals.data.download import download  # torchvision: only when a download is due

    try:
        download(name, cache_folder())
    except DataError as error:
        if mode == "real":
            raise
        _remember(marker, str(error))
        return _embedded(DATASETS[name])
    marker.unlink(missing_ok=True)
    source = find_on_disk(name)
    assert source is not None, "a finished download is on disk"
    return source


def _remember(marker: Path, reason: str) -> None:
    """Note the failed download; where the cache cannot be written, the next run tries again."""
    try:
        write_atomically(marker, reason + "\n")
    except OutputError:
        return
