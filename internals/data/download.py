"""Data sets fetched by torchvision, which checks their checksums."""

import contextlib
import http
import http.client
import io
import os
import shutil
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from internals.data import imagenette
from internals.data.mnist import verify_mnist
from internals.errors import DataError
from internals.files import new_folder

PATIENCE = 10.0  # seconds after which a host that does not answer counts as unreachable

_NO_ANSWER = "no answer within {:.0f} s"
_UNTRUSTED = "certificate verify failed"

# What a network can do to a transfer; other errors of the system are the disk's.
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def download(name: str, root: Path) -> None:
    """Download a data set, whole or not at all.

    Args:
        name: One of `DATASETS`.
        root: The folder that it goes into.

    Raises:
        DataError: No host can be reached within 10 s, or the transfer fails its checksum.
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
        with _transfer("MNIST", draft):
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
        with _transfer("Imagenette", draft):
            download_and_extract_archive(address, draft, md5=md5, remove_finished=True)
        for split in imagenette.SPLITS:
            os.replace(draft / folder.name / split, draft / split)
        shutil.rmtree(draft / folder.name)
    imagenette.fingerprint(folder)


def _require_answer(name: str, addresses: Sequence[str], files: str) -> None:
    """Raise `DataError` with each one's cause unless the host of one of the `addresses` answers."""
    causes = []
    for address in addresses:
        cause = obstacle(address)
        if not cause:
            return
        causes.append(f"{address}{_proxy(address)}: {cause}")
    if any(_UNTRUSTED in cause for cause in causes):
        remedy = "let SSL_CERT_FILE name the certificate of the mirror or of the proxy, set"
    else:
        remedy = "set"
    raise DataError(
        f"{name} cannot be downloaded ({'; '.join(causes)}); {remedy} INTERNALS_DATA to a folder "
        f"with {files}, or use --data embedded"
    )


def _proxy(address: str) -> str:
    """By which proxy the system reaches `address`, without its password."""
    parts = urllib.parse.urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" by the proxy {proxy.rpartition('@')[2].rpartition('//')[2]}"


@contextlib.contextmanager
def _transfer(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong with torchvision's transfer of `name` into one line."""
    try:
        with _patience(), contextlib.redirect_stdout(io.StringIO()):
            yield
    except (RuntimeError, *_NETWORK) as error:
        reason = " ".join(str(error).split())  # torchvision's is on several lines
        if page := next(filter(_is_web_page, folder.rglob("*gz")), None):
            reason = f"a web page came instead of {page.name}, a proxy's perhaps"
        raise DataError(
            f"{name}'s download failed: {reason}; try `internals data fetch {name.lower()}` again, "
            "or use --data embedded"
        ) from error


def _is_web_page(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(100).lstrip().startswith(b"<")


def obstacle(address: str) -> str:
    """Why the host of `address` is out of reach; "" where it answers, with whatever status.

    A proxy that refuses to ask the host is an obstacle.
    """
    found: list[str] = []

    def request_head() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            found.append("")
        except urllib.error.HTTPError as error:
            asked = error.code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            found.append("the proxy wants a name and a password" if asked else "")
        except (OSError, ValueError, http.client.HTTPException) as error:
            found.append(_cause(error))

    # A name server that hangs ignores socket time limits; a thread of its own can be left behind.
    thread = threading.Thread(target=request_head, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return found[0] if found else _NO_ANSWER.format(PATIENCE)


def _cause(error: Exception) -> str:
    """What has really happened, in words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{_UNTRUSTED} ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return _NO_ANSWER.format(PATIENCE)
    if isinstance(error, http.client.HTTPException):
        return f"its answer is not HTTP ({type(error).__name__})"
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Bound every wait of the download, whose own code sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
