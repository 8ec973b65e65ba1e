"""Oracle: IDX files that the test wrote byte by byte, and folders broken on purpose."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from internals.data import cache_folder, find_source, identify, load, mnist
from internals.errors import DataError
from tests.reference.pipes import pipe_at
from tests.reference.tiny_mnist import check_content, facts, idx_files


def write_mnist(folder: Path) -> Path:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in idx_files().items():
        (raw / name).write_bytes(content)
    return raw


@pytest.fixture
def tiny(monkeypatch, no_real_data):
    """The tiny files are what is taken for MNIST; the network is never asked."""
    monkeypatch.setattr(mnist, "MNIST_FILES", facts())
    monkeypatch.setattr("internals.data.download.download", _unreachable)


def _unreachable(name, root):
    raise DataError("MNIST cannot be downloaded: the test says so")


@pytest.mark.parametrize("mode", ["auto", "real"])
def test_reads_exactly_what_is_in_the_named_folder(tiny, tmp_path, monkeypatch, mode, capsys):
    write_mnist(tmp_path)
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    splits = load("mnist", mode)
    check_content(splits)
    assert splits.train.name == "MNIST train"
    assert "22 + 2 of MNIST train, 5 of MNIST test" in capsys.readouterr().out


def test_reads_the_cache_folder_and_says_so(tiny, capsys):
    write_mnist(cache_folder())
    check_content(load("mnist", "real"))
    assert str(find_source("mnist")) == f"mnist (from {cache_folder()})"


def test_the_named_folder_comes_before_the_cache(tiny, tmp_path, monkeypatch):
    write_mnist(cache_folder())
    write_mnist(tmp_path / "named")
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "named"))
    assert find_source("mnist").root == tmp_path / "named"


def test_a_named_folder_without_mnist_leaves_it_to_the_cache(tiny, tmp_path, monkeypatch):
    write_mnist(cache_folder())
    (tmp_path / "named" / "imagenette2-320").mkdir(parents=True)
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "named"))
    assert find_source("mnist").root == cache_folder()


def test_fingerprint_is_of_the_content_not_of_the_place(tiny, tmp_path, monkeypatch):
    write_mnist(tmp_path / "a")
    write_mnist(tmp_path / "b")
    fingerprints = set()
    for folder in "ab":
        monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / folder))
        fingerprints.add(identify("mnist"))
    assert len(fingerprints) == 1
    assert fingerprints != {identify("digits")}


def _missing(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()  # even root cannot read a folder as a file


@pytest.mark.parametrize("mode", ["auto", "real"])
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_missing, "is missing"),
        (_truncate, r"has [\d,]+ bytes, not [\d,]+"),
        (_change, "is damaged: MD5"),
        (_make_unreadable, "cannot be read: Is a directory"),
    ],
)
def test_damage_is_one_line_naming_file_and_remedy(
    tiny, tmp_path, monkeypatch, mode, file, damage, reason
):
    raw = write_mnist(tmp_path)
    damage(raw / file)
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=reason) as caught:
        load("mnist", mode)
    message = str(caught.value)
    assert str(raw / file) in message
    assert message.endswith("; put the original file there")
    assert "\n" not in message


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(
    tiny, tmp_path, monkeypatch, file
):
    raw = write_mnist(tmp_path)
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    (raw / file).unlink()
    with (
        pipe_at(raw / file),
        pytest.raises(DataError, match=f"{file} cannot be read: it is no file; put the original"),
    ):
        load("mnist")
    (raw / file).symlink_to("/dev/zero")
    with pytest.raises(DataError, match=f"{file} cannot be read: it is no file; put the original"):
        load("mnist")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("~nosuchuser/x", "names the home of nobody; correct it, or unset it"),
        ("x" * 300, "cannot be read: File name too long; correct it, or unset it"),
        ("a/" * 3000, "cannot be read: File name too long; correct it, or unset it"),
    ],
    ids=["no user", "long name", "long path"],
)
def test_names_that_no_folder_can_have_are_one_line(tiny, monkeypatch, named, reason):
    monkeypatch.setenv("INTERNALS_DATA", named)
    with pytest.raises(DataError, match=rf"INTERNALS_DATA=.* {reason}") as caught:
        load("mnist")
    assert "\n" not in str(caught.value)


def test_a_relative_name_means_the_place_where_it_was_first_looked_up(tiny, tmp_path, monkeypatch):
    """In this process and in those that it starts, whatever folder they work in."""
    write_mnist(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERNALS_DATA", "data")
    assert find_source("mnist").root == tmp_path / "data"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_source("mnist").root == tmp_path / "data"
    told = [sys.executable, "-c", "import os; print(os.environ['INTERNALS_DATA'])"]
    child = subprocess.run(told, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == str(tmp_path / "data")


def test_damage_in_the_cache_has_its_own_remedy(tiny):
    _change(write_mnist(cache_folder()) / "t10k-images-idx3-ubyte")
    with pytest.raises(DataError, match=r"delete .*MNIST, then run `internals data fetch mnist`"):
        load("mnist")


def test_folders_that_are_none_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"INTERNALS_DATA=.*nowhere is not a folder; correct it"):
        load("mnist")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="is not a folder"):
        load("mnist")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "empty"))
    with pytest.raises(DataError, match="empty holds neither MNIST nor an imagenette2"):
        load("mnist")


@pytest.mark.parametrize("where", ["MNIST as a file", "raw missing"])
def test_a_half_made_folder_is_not_passed_over(tiny, tmp_path, monkeypatch, where):
    if where == "MNIST as a file":
        (tmp_path / "MNIST").write_text("")
    else:
        (tmp_path / "MNIST").mkdir()
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load("mnist", "auto")


def test_auto_falls_back_to_digits_and_real_never_does(tiny, monkeypatch, capsys):
    assert load("mnist", "auto").train.name == "digits train"
    assert "digits train" in capsys.readouterr().out
    with pytest.raises(DataError, match="cannot be downloaded: the test says so"):
        load("mnist", "real")


def test_an_empty_name_of_the_folder_counts_as_none(tiny, monkeypatch):
    monkeypatch.setenv("INTERNALS_DATA", "")
    assert load("mnist", "auto").train.name == "digits train"


def test_a_failed_download_is_remembered_for_an_hour_by_auto_only(tiny, monkeypatch):
    tries = []

    def fail(name, root):
        tries.append(name)
        _unreachable(name, root)

    monkeypatch.setattr("internals.data.download.download", fail)
    for _ in range(3):
        find_source("mnist", "auto")
    assert len(tries) == 1
    with pytest.raises(DataError):
        find_source("mnist", "real")
    assert len(tries) == 2
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    find_source("mnist", "auto")
    assert len(tries) == 3


def test_embedded_never_looks_at_the_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "nowhere"))
    assert find_source("mnist", "embedded").name == "digits"
    assert find_source("digits", "real").root is None


def test_unknown_names_are_refused_with_the_known():
    with pytest.raises(
        DataError, match="unknown data set 'cifar'; known are mnist, imagenette, dig"
    ):
        load("cifar")
    with pytest.raises(DataError, match="unknown data mode 'best'; choose one of auto, real"):
        load("mnist", "best")


def test_a_download_is_imported_only_when_one_is_due():
    """torchvision imports torch."""
    code = (
        "import sys; from internals.data.sources import identify; identify('mnist', 'embedded'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
