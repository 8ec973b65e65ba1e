"""Data sets fetched by torchvision, which checks their checksums, and single files by SHA-256."""

import contextlib
import hashlib
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
from internals.files import new_folder, writing
from internals.progress import Progress

PATIENCE = 10.0  # seconds after which a host that does not answer counts as unreachable

_MEGABYTE = 1_000_000
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


def fetch_file(address: str, path: Path, sha256: str, size: int) -> None:
    """Download one file, whole or not at all; a transfer that broke off is gone on with.

    Args:
        address: An http or https address.
        path: Where the file shall lie.
        sha256: What its bytes must sum up to.
        size: How many bytes there are.

    Raises:
        DataError: The host cannot be reached within 10 s, the transfer breaks off, or what comes
            is something else.
        OutputError: The disk is full or the folder cannot be written.
    """
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise DataError(f"{address} is no http or https address; name one that is")
    part = path.with_name(f".{path.name}.{sha256[:16]}.fetched")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not part.exists() or part.stat().st_size < size:
            _fetch_rest(address, part, size)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            page = _is_web_page(part)
            part.unlink()
            raise DataError(
                f"{address} is another file than the one that is wanted "
                + ("(a web page, a proxy's perhaps)" if page else f"(its SHA-256 is {found})")
                + "; it was not kept"
            )
        os.replace(part, path)


def _fetch_rest(address: str, part: Path, size: int) -> None:
    """Add to `part` what it lacks of the `size` bytes at `address`."""
    if cause := obstacle(address):
        raise DataError(f"{address}{_proxy(address)} cannot be downloaded: {cause}")
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with _patience(), urllib.request.urlopen(request) as answer, part.open("ab") as file:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:  # the host sends it from the start
                file.truncate(done := 0)
            with Progress(address.rpartition("/")[2], _megabytes(size), "megabyte") as progress:
                progress.start_at(_megabytes(done))
                while done < size and (content := answer.read(min(_MEGABYTE, size - done))):
                    file.write(content)
                    progress.advance(_megabytes(done + len(content)) - _megabytes(done))
                    done += len(content)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # the file there is shorter than what came of it before
        raise DataError(f"{address} cannot be downloaded: {error.code} {error.reason}") from error
    except (ssl.SSLError, *_NETWORK) as error:
        raise DataError(
            f"{address} broke off after {done:,} of {size:,} bytes ({_cause(error)}); the same "
            "command goes on from there"
        ) from error
    if done < size:
        raise DataError(
            f"{address} broke off after {done:,} of {size:,} bytes; the same command goes on from "
            "there"
        )


def _megabytes(count: int) -> int:
    return -(-count // _MEGABYTE)


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
