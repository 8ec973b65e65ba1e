"""Oracle: an HTTP server of the test's own on 127.0.0.1, which serves, lies, stalls or hangs."""

import functools
import gzip
import hashlib
import http.server
import io
import socket
import tarfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from internals.data import cache_folder, download, find_source, imagenette, load, mnist
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette
from tests.reference.certificate import CERTIFICATE, server_context
from tests.reference.tiny_mnist import check_content, facts, idx_files

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_opener():
    """urllib keeps the first one that it makes, with the proxies and certificates of that time."""
    urllib.request.install_opener(None)
    yield
    urllib.request.install_opener(None)


@pytest.fixture
def tiny_mnist(monkeypatch, no_real_data):
    monkeypatch.setattr(mnist, "MNIST_FILES", facts())
    monkeypatch.setattr(download, "PATIENCE", 1.0)


@contextmanager
def serving(monkeypatch, spoil=None, tls=None):
    """A mirror of the tiny MNIST; `spoil(handler, name, archive)` may answer instead.

    It is reached by https where `tls` is a folder for its certificate.
    """
    archives = {f"{name}.gz": gzip.compress(content) for name, content in idx_files().items()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)  # the real mirrors refuse their folder's listing as well

        def do_GET(self):
            name = self.path.strip("/")
            if spoil and spoil(self, name, archives[name]):
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archives[name])))
            self.end_headers()
            self.wfile.write(archives[name])

        def log_message(self, *_):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = server_context(tls).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(MNIST, "mirrors", [address])
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    monkeypatch.setattr(MNIST, "resources", resources)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def _nothing_is_left() -> bool:
    folder = cache_folder()
    return not folder.exists() or all(p.name == "mnist.unreachable" for p in folder.iterdir())


@pytest.mark.parametrize("mode", ["auto", "real"])
def test_downloads_once_and_reads_what_was_served(tiny_mnist, monkeypatch, mode):
    with serving(monkeypatch):
        check_content(load("mnist", mode))
    check_content(load("mnist", mode))  # the server is gone
    raw = cache_folder() / "MNIST" / "raw"
    assert {p.name for p in raw.iterdir()} == set(idx_files())
    assert [p.name for p in raw.parent.parent.iterdir()] == ["MNIST"]


def _corrupt(handler, name, archive):
    if name != "t10k-images-idx3-ubyte.gz":
        return False
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(archive[:-5] + b"wrong")
    return True


def _stop_half_way(handler, name, archive):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(archive)))
    handler.end_headers()
    handler.wfile.write(archive[: len(archive) // 2])
    return True


def _stall_half_way(handler, name, archive):
    _stop_half_way(handler, name, archive)
    handler.wfile.flush()
    time.sleep(3)
    return True


def _reset(handler, name, archive):
    handler.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )
    handler.connection.close()
    handler.wfile = handler.rfile = io.BytesIO()
    return True


def _refuse(handler, name, archive):
    handler.send_error(503)
    return True


def _babble(handler, name, archive):
    handler.wfile.write(b"this is not HTTP\r\n\r\n")
    return True


@pytest.mark.parametrize(
    "spoil", [_corrupt, _stop_half_way, _stall_half_way, _reset, _refuse, _babble]
)
def test_a_failed_transfer_leaves_nothing_and_auto_takes_the_digits(tiny_mnist, monkeypatch, spoil):
    with serving(monkeypatch, spoil):
        with pytest.raises(DataError, match=r"MNIST's download failed: .*try `internals data") as e:
            load("mnist", "real")
        assert "\n" not in str(e.value)
        assert _nothing_is_left()
        assert load("mnist", "auto").train.name == "digits train"
    assert _nothing_is_left()


def test_a_full_disk_is_no_reason_for_other_data(tiny_mnist, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with serving(monkeypatch):
        monkeypatch.setattr(MNIST, "download", full)
        with pytest.raises(OutputError, match=r"cannot write .*MNIST: No space left on device"):
            load("mnist", "auto")
    assert _nothing_is_left()


def _refusing() -> int:
    """A port at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


def test_nobody_listens(tiny_mnist, monkeypatch):
    address = f"http://127.0.0.1:{_refusing()}/"
    monkeypatch.setattr(MNIST, "mirrors", [address])
    with pytest.raises(DataError) as caught:
        load("mnist", "real")
    assert str(caught.value) == (
        f"MNIST cannot be downloaded ({address}: Connection refused); set INTERNALS_DATA to a "
        "folder with MNIST/raw/*, or use --data embedded"
    )
    assert load("mnist", "auto").train.name == "digits train"


def test_a_certificate_that_is_not_trusted_is_named_and_the_remedy_works(
    tiny_mnist, monkeypatch, tmp_path
):
    with serving(monkeypatch, tls=tmp_path) as address:
        with pytest.raises(DataError) as caught:
            load("mnist", "real")
        assert str(caught.value) == (
            f"MNIST cannot be downloaded ({address}: certificate verify failed (self-signed "
            "certificate)); let SSL_CERT_FILE name the certificate of the mirror or of the proxy, "
            "set INTERNALS_DATA to a folder with MNIST/raw/*, or use --data embedded"
        )
        (tmp_path / "mirror.pem").write_text(CERTIFICATE)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mirror.pem"))
        check_content(load("mnist", "real"))


def test_each_mirror_has_its_own_cause(tiny_mnist, monkeypatch, tmp_path):
    """A name that nobody has, a port that speaks no TLS, and a certificate of another host."""
    resolve = socket.getaddrinfo

    def resolved(host, *rest, **options):
        if host == "mirror.invalid":
            raise socket.gaierror(-2, "Name or service not known")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with serving(monkeypatch) as plain, serving(monkeypatch, tls=tmp_path) as secure:
        no_tls = plain.replace("http:", "https:")
        other = secure.replace("127.0.0.1", "localhost")
        (tmp_path / "mirror.pem").write_text(CERTIFICATE)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mirror.pem"))
        monkeypatch.setattr(MNIST, "mirrors", ["http://mirror.invalid/", no_tls, other])
        with pytest.raises(DataError) as caught:
            load("mnist", "real")
    causes = str(caught.value).partition("(")[2].split("; ")
    assert causes[0] == "http://mirror.invalid/: Name or service not known"
    assert causes[1].startswith(f"{no_tls}: ") and "SSL" in causes[1]
    assert causes[2].startswith(f"{other}: certificate verify failed (Hostname mismatch")
    assert "\n" not in str(caught.value)


@contextmanager
def proxy(monkeypatch, status, body=b""):
    """A proxy that gives one answer to whatever it is asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = do_CONNECT = answer  # noqa: N815

        def log_message(self, *_):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:secret@127.0.0.1:{server.server_port}")
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "scheme", "cause"),
    [
        (407, "http", "the proxy wants a name and a password"),
        (407, "https", "Tunnel connection failed: 407 Proxy Authentication Required"),
        (403, "https", "Tunnel connection failed: 403 Forbidden"),
        (502, "https", "Tunnel connection failed: 502 Bad Gateway"),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_password(
    tiny_mnist, monkeypatch, status, scheme, cause
):
    address = f"{scheme}://mirror.invalid/"
    monkeypatch.setattr(MNIST, "mirrors", [address])
    with proxy(monkeypatch, status) as where, pytest.raises(DataError) as caught:
        load("mnist", "real")
    assert f"({address} by the proxy {where}: {cause}); set" in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (403, b"", "HTTP Error 403: Forbidden"),
        (200, b"<!DOCTYPE html><html>Log in</html>", "a web page came instead of train-images-idx"),
        (200, b"\n <html>", "a web page came instead of train-images-idx3-ubyte.gz, a proxy's per"),
        (200, b"", "File not found or corrupted"),
    ],
    ids=["forbidden", "page", "another page", "nothing"],
)
def test_what_comes_instead_of_a_file_is_named(tiny_mnist, monkeypatch, status, body, cause):
    monkeypatch.setattr(MNIST, "mirrors", ["http://mirror.invalid/"])
    with proxy(monkeypatch, status, body), pytest.raises(DataError) as caught:
        load("mnist", "real")
    assert str(caught.value).startswith("MNIST's download failed: ")
    assert cause in str(caught.value) and "\n" not in str(caught.value)
    assert _nothing_is_left()


def test_a_web_page_instead_of_the_photographs_is_named(served):
    (served / ARCHIVE_NAME).write_bytes(b"<html>Log in</html>")
    with pytest.raises(DataError, match=f"failed: a web page came instead of {ARCHIVE_NAME}, a"):
        load("imagenette", "real")


def test_a_host_that_accepts_and_never_answers_is_unreachable_within_the_patience(
    tiny_mnist, monkeypatch
):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        began = time.monotonic()
        with pytest.raises(DataError, match="no answer within 1 s"):
            load("mnist", "real")
        assert time.monotonic() - began < 2.5


def test_a_name_server_that_hangs_is_not_waited_for(tiny_mnist, monkeypatch):
    """It ignores the time limits of sockets."""
    awake = threading.Event()

    def hang(*_, **__):
        awake.wait(20)
        raise OSError("no such host")

    monkeypatch.setattr(download.urllib.request, "urlopen", hang)
    began = time.monotonic()
    assert download.obstacle("http://mirror.invalid/") == "no answer within 1 s"
    assert time.monotonic() - began < 2.5
    awake.set()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_host_that_answers_rubbish_is_unreachable_without_a_trace(tiny_mnist):
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()

        def babble():
            connection, _ = host.accept()
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        address = f"http://127.0.0.1:{host.getsockname()[1]}/"
        assert download.obstacle(address) == "its answer is not HTTP (BadStatusLine)"


def test_the_time_limit_of_sockets_is_put_back(tiny_mnist, monkeypatch):
    before = socket.getdefaulttimeout()
    with serving(monkeypatch, _corrupt), pytest.raises(DataError):
        load("mnist", "real")
    assert socket.getdefaulttimeout() == before


def test_other_data_cannot_be_downloaded(tmp_path):
    with pytest.raises(DataError, match="no download is known for data set 'cifar'"):
        download.download("cifar", tmp_path)


# Imagenette

ARCHIVE_NAME = "imagenette2-320.tgz"


def archive() -> bytes:
    """The tiny data set packed as the published one is, with a table beside its two splits."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        table = {"noisy_imagenette.csv": b"path\n"}
        for path, content in (tiny_imagenette.files() | table).items():
            entry = tarfile.TarInfo(f"imagenette2-320/{path}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        return


@pytest.fixture
def served(tmp_path, monkeypatch, no_real_data):
    """The folder that is served; the data set is expected to be what `archive` says."""
    (tmp_path / "served").mkdir()
    content = archive()
    (tmp_path / "served" / ARCHIVE_NAME).write_bytes(content)
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{ARCHIVE_NAME}"
    monkeypatch.setattr(imagenette, "ARCHIVE", (address, hashlib.md5(content).hexdigest()))
    yield tmp_path / "served"
    server.shutdown()
    server.server_close()


def imagenette_left_over() -> list[Path]:
    folder = cache_folder()
    return [p for p in folder.glob("*") if p.name != "imagenette.unreachable"]


def test_imagenette_is_downloaded_once_and_keeps_the_pictures_only(served):
    tiny_imagenette.check_content(load("imagenette", "real", size=16))
    (served / ARCHIVE_NAME).unlink()
    tiny_imagenette.check_content(load("imagenette", "auto", size=20))
    folder = cache_folder() / "imagenette2-320"
    assert {p.name for p in folder.iterdir()} == {"train", "val"}
    assert {p.name for p in folder.parent.iterdir()} == {"imagenette2-320", "decoded"}


def test_another_archive_than_the_published_is_refused_and_nothing_stays(served):
    (served / ARCHIVE_NAME).write_bytes(archive()[:-1] + b"x")
    with pytest.raises(DataError, match=r"Imagenette's download failed: .*corrupted.*; try `int"):
        load("imagenette", "real")
    assert imagenette_left_over() == []
    assert find_source("imagenette", "auto").name == "shapes"


def test_a_full_disk_is_no_reason_for_other_pictures(served, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", full)
    with pytest.raises(OutputError, match=r"cannot write .*imagenette2-320: No space left on dev"):
        find_source("imagenette", "auto")
    assert imagenette_left_over() == []


def test_a_host_that_does_not_answer_is_remembered(served, monkeypatch):
    address = f"http://127.0.0.1:{_refusing()}/{ARCHIVE_NAME}"
    monkeypatch.setattr(imagenette, "ARCHIVE", (address, "0" * 32))
    with pytest.raises(
        DataError,
        match=r"Imagenette cannot be downloaded \(http://127.*: Connection refused\); set",
    ):
        find_source("imagenette", "real")
    assert find_source("imagenette", "auto").name == "shapes"
    monkeypatch.setattr(download, "download", lambda *_: pytest.fail("asked again"))
    assert find_source("imagenette", "auto").name == "shapes"


def test_address_and_checksum_are_torchvisions():
    """Its class for the data set is asked, by a name of its own, what it would fetch."""
    from torchvision.datasets import Imagenette

    assert Imagenette._ARCHIVES["320px"] == imagenette.ARCHIVE
