"""Oracle: an HTTP server of the test's own on 127.0.0.1, which serves, lies, stalls or hangs."""

import gzip
import hashlib
import http.server
import io
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from torchvision.datasets import MNIST

from internals.data import download, sources
from internals.data.load import load
from internals.errors import DataError, OutputError
from tests.reference.tiny_mnist import check_content, facts, idx_files


@pytest.fixture
def tiny_facts(monkeypatch, no_real_data):
    monkeypatch.setattr(sources, "MNIST_FILES", facts())
    monkeypatch.setattr(download, "PATIENCE", 1.0)


@contextmanager
def serving(monkeypatch, spoil=None):
    """A mirror of the tiny MNIST; `spoil(handler, name, archive)` may answer instead."""
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
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(MNIST, "mirrors", [address])
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    monkeypatch.setattr(MNIST, "resources", resources)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def _nothing_is_left() -> bool:
    folder = sources.cache_folder()
    return not folder.exists() or all(p.name == "mnist.unreachable" for p in folder.iterdir())


@pytest.mark.parametrize("mode", ["auto", "real"])
def test_downloads_once_and_reads_what_was_served(tiny_facts, monkeypatch, mode):
    with serving(monkeypatch):
        check_content(load("mnist", mode))
    check_content(load("mnist", mode))  # the server is gone
    raw = sources.cache_folder() / "MNIST" / "raw"
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
def test_a_failed_transfer_leaves_nothing_and_auto_takes_the_digits(tiny_facts, monkeypatch, spoil):
    with serving(monkeypatch, spoil):
        with pytest.raises(DataError, match=r"MNIST's download failed: .*try `internals data") as e:
            load("mnist", "real")
        assert "\n" not in str(e.value)
        assert _nothing_is_left()
        assert load("mnist", "auto").train.name == "digits train"
    assert _nothing_is_left()


def test_a_full_disk_is_no_reason_for_other_data(tiny_facts, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with serving(monkeypatch):
        monkeypatch.setattr(MNIST, "download", full)
        with pytest.raises(OutputError, match=r"cannot write .*MNIST: No space left on device"):
            load("mnist", "auto")
    assert _nothing_is_left()


def test_nobody_listens(tiny_facts, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    with pytest.raises(DataError, match=r"none of http://127.0.0.1.* answers within 1 s; set INT"):
        load("mnist", "real")
    assert load("mnist", "auto").train.name == "digits train"


def test_a_host_that_accepts_and_never_answers_is_unreachable_within_the_patience(
    tiny_facts, monkeypatch
):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        began = time.monotonic()
        with pytest.raises(DataError, match="answers within 1 s"):
            load("mnist", "real")
        assert time.monotonic() - began < 2.5


def test_a_name_server_that_hangs_is_not_waited_for(tiny_facts, monkeypatch):
    """It ignores the time limits of sockets."""
    awake = threading.Event()

    def hang(*_, **__):
        awake.wait(20)
        raise OSError("no such host")

    monkeypatch.setattr(download.urllib.request, "urlopen", hang)
    began = time.monotonic()
    assert not download.answers("http://mirror.invalid/")
    assert time.monotonic() - began < 2.5
    awake.set()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_host_that_answers_rubbish_is_unreachable_without_a_trace(tiny_facts):
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()

        def babble():
            connection, _ = host.accept()
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        assert not download.answers(f"http://127.0.0.1:{host.getsockname()[1]}/")


def test_the_time_limit_of_sockets_is_put_back(tiny_facts, monkeypatch):
    before = socket.getdefaulttimeout()
    with serving(monkeypatch, _corrupt), pytest.raises(DataError):
        load("mnist", "real")
    assert socket.getdefaulttimeout() == before


def test_other_data_cannot_be_downloaded(tmp_path):
    with pytest.raises(DataError, match="no download is known for data set 'cifar'"):
        download.download("cifar", tmp_path)
