"""Data sets fetched by torchvision, which checks their checksums."""

import contextlib
import http.client
import io
import os
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

from internals.data.sources import verify_mnist
from internals.errors import DataError
from internals.files import new_folder

PATIENCE = 10.0  # seconds after which a host that does not answer counts as unreachable

# What a network can do to a transfer; other errors of the system are the disk's.
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def download(name: str, root: Path) -> None:
    """Download the data set `name` into the folder `root`, whole or not at all.

    Raises `DataError` when no host answers within 10 s or the transfer fails its checksum.
    """
    if name != "mnist":
        raise DataError(f"no download is known for data set {name!r}")
    from torchvision.datasets import MNIST

    if not any(answers(mirror) for mirror in MNIST.mirrors):
        raise DataError(
            f"MNIST cannot be downloaded: none of {', '.join(MNIST.mirrors)} answers within "
            f"{PATIENCE:.0f} s; set INTERNALS_DATA to a folder with MNIST/raw/*, "
            "or use --data embedded"
        )
    with new_folder(root / "MNIST") as draft:
        try:
            with _patience(), contextlib.redirect_stdout(io.StringIO()):
                MNIST(str(draft), download=True)
        except (RuntimeError, *_NETWORK) as error:
            reason = " ".join(str(error).split())  # torchvision's is on several lines
            raise DataError(
                f"MNIST's download failed: {reason}; try `internals data fetch mnist` again, "
                "or use --data embedded"
            ) from error
        os.replace(draft / "MNIST" / "raw", draft / "raw")
        (draft / "MNIST").rmdir()
        for archive in (draft / "raw").glob("*.gz"):
            archive.unlink()
    verify_mnist(root)


def answers(address: str) -> bool:
    """Whether the host of `address` answers at all, with whatever status, within ten seconds."""
    answered = threading.Event()

    def ask() -> None:
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
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()


@contextlib.contextmanager
def _patience():
    """Bound every wait of the download, whose own code sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
