"""Oracle: an HTTP server of the test's own on 127.0.0.1, which serves, lies or is full of air."""

import functools
import hashlib
import http.server
import io
import socket
import tarfile
import threading
from pathlib import Path

import pytest

from internals.data import download, sources
from internals.data.load import load
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette

NAME = "imagenette2-320.tgz"


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


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        return


@pytest.fixture
def served(tmp_path, monkeypatch, no_real_data):
    """The folder that is served; the data set is expected to be what `archive` says."""
    (tmp_path / "served").mkdir()
    content = archive()
    (tmp_path / "served" / NAME).write_bytes(content)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{NAME}"
    monkeypatch.setattr(download, "IMAGENETTE", (address, hashlib.md5(content).hexdigest()))
    yield tmp_path / "served"
    server.shutdown()
    server.server_close()


def left_over() -> list[Path]:
    folder = sources.cache_folder()
    return [p for p in folder.glob("*") if p.name != "imagenette.unreachable"]


def test_downloads_once_and_keeps_the_pictures_only(served):
    tiny_imagenette.check_content(load("imagenette", "real", size=16))
    (served / NAME).unlink()
    tiny_imagenette.check_content(load("imagenette", "auto", size=20))
    folder = sources.cache_folder() / "imagenette2-320"
    assert {p.name for p in folder.iterdir()} == {"train", "val"}
    assert {p.name for p in folder.parent.iterdir()} == {"imagenette2-320", "decoded"}


def test_another_archive_than_the_published_is_refused_and_nothing_stays(served):
    (served / NAME).write_bytes(archive()[:-1] + b"x")
    with pytest.raises(DataError, match=r"Imagenette's download failed: .*corrupted.*; try `int"):
        load("imagenette", "real")
    assert left_over() == []
    assert sources.resolve("imagenette", "auto").name == "shapes"


def test_a_full_disk_is_no_reason_for_other_data(served, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", full)
    with pytest.raises(OutputError, match=r"cannot write .*imagenette2-320: No space left on dev"):
        sources.resolve("imagenette", "auto")
    assert left_over() == []


def test_a_host_that_does_not_answer_is_remembered(served, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
    monkeypatch.setattr(download, "IMAGENETTE", (address, "0" * 32))
    with pytest.raises(DataError, match=r"Imagenette cannot be downloaded: none of http://127.*"):
        sources.resolve("imagenette", "real")
    assert sources.resolve("imagenette", "auto").name == "shapes"
    monkeypatch.setattr(download, "download", lambda *_: pytest.fail("asked again"))
    assert sources.resolve("imagenette", "auto").name == "shapes"


def test_address_and_checksum_are_torchvisions():
    """Its class for the data set is asked, by a name of its own, what it would fetch."""
    from torchvision.datasets import Imagenette

    assert Imagenette._ARCHIVES["320px"] == download.IMAGENETTE
