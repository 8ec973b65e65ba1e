"""Data sets fetched by torchvision, which checks their checksums."""

import contextlib
import http.client
import io
import os
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from internals.data import imagenette
from internals.data.mnist import verify_mnist
from internals.errors import DataError
from internals.files import new_folder

PATIENCE = 10.0  # seconds after which a host that does not answer counts as unreachable

# What a network can do to a transfer; other errors of the system are the disk's.
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def download(name: str, root: Path) -> None:
    """Download a data set, whole or not at all.

    Args:
        name: One of `DATASETS`.
        root: The folder that it goes into.

    Raises:
        DataError: No host answers within 10 s, or the transfer fails its checksum.
        OutputError: The disk is full or the folder cannot be written.
    """
    if name == "mnist":
        _download_mnist(root)
    elif name == "imagenette":
        _download_imagenette(root)
    else:
        raise DataError(f"no download is known for data set {name!r}")


def _download_mnist(root: Path) -> None:
    from torchvision.datasets import MNIST

    _require_answer("MNIST", MNIST.mirrors, "MNIST/raw/*")
    with new_folder(root / "MNIST") as draft:
        with _transfer("MNIST"):
            MNIST(str(draft), download=True)
        os.replace(draft / "MNIST" / "raw", draft / "raw")
        (draft / "MNIST").rmdir()
        for archive in (draft / "raw").glob("*.gz"):
            archive.unlink()
    verify_mnist(root)


def _download_imagenette(root: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    address, md5 = imagenette.ARCHIVE
    _require_answer("Imagenette", [address], "imagenette2/train and val")
    folder = root / "imagenette2-320"
    with new_folder(folder) as draft:
        with _transfer("Imagenette"):
            download_and_extract_archive(address, draft, md5=md5, remove_finished=True)
        for split in imagenette.SPLITS:
            os.replace(draft / folder.name / split, draft / split)
        shutil.rmtree(draft / folder.name)
    imagenette.fingerprint(folder)


def _require_answer(name: str, addresses: Sequence[str], files: str) -> None:
    if not any(answers(address) for address in addresses):
        raise DataError(
            f"{name} cannot be downloaded: none of {', '.join(addresses)} answers within "
            f"{PATIENCE:.0f} s; set INTERNALS_DATA to a folder with {files}, "
            "or use --data embedded"
        )


@contextlib.contextmanager
def _transfer(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with torchvision's transfer of `name` into one line."""
    try:
        with _patience(), contextlib.redirect_stdout(io.StringIO()):
            yield
    except (RuntimeError, *_NETWORK) as error:
        reason = " ".join(str(error).split())  # torchvision's is on several lines
        raise DataError(
            f"{name}'s download failed: {reason}; try `internals data fetch {name.lower()}` again, "
            "or use --data embedded"
        ) from error


def answers(address: str) -> bool:
    """Whether the host of `address` answers at all, with whatever status, within ten seconds."""
    answered = threading.Event()

    def request_head() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError, http.client.HTTPException):
            return
        else:
            answered.set()

    # A name server that hangs ignores socket time limits; a thread of its own can be left behind.
    thread = threading.Thread(target=request_head, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Bound every wait of the download, whose own code sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
