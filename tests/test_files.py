"""Oracle: the bytes and names on the disk before and after each failure."""

import os
import subprocess
from pathlib import Path

import pytest

from internals.errors import OutputError
from internals.files import new_folder, write_atomically


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_writes_bytes_and_text_and_makes_folders(tmp_path):
    write_atomically(tmp_path / "a" / "b", "é\n")
    write_atomically(tmp_path / "a" / "b", b"new")
    write_atomically(tmp_path / "a" / "c", "é\n")
    assert _everything(tmp_path) == {"a": None, "a/b": b"new", "a/c": b"\xc3\xa9\n"}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch, call):
    write_atomically(tmp_path / "f", b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, refuse)
    with pytest.raises(OutputError, match=r"cannot write .*f: No space left on device; free some"):
        write_atomically(tmp_path / "f", b"new")
    assert _everything(tmp_path) == {"f": b"old"}


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_atomically(tmp_path / "f" / "g", b"")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ).returncode  # fmt: skip
    if not mounted:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    write_atomically(small_disk / "f", b"old")
    with pytest.raises(OutputError, match="f: No space left on device"):
        write_atomically(small_disk / "f", bytes(100_000))
    assert _everything(small_disk) == {"f": b"old"}
    with (
        pytest.raises(OutputError, match="g: No space left"),
        new_folder(small_disk / "g") as draft,
    ):
        (draft / "part").write_bytes(bytes(100_000))
    assert _everything(small_disk) == {"f": b"old"}


def test_a_disk_that_may_only_be_read(small_disk):
    write_atomically(small_disk / "f", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match="f: Read-only file system; free some space, or name a"):
        write_atomically(small_disk / "f", b"new")
    with pytest.raises(OutputError, match="Read-only"), new_folder(small_disk / "g"):
        pytest.fail("the block must not run")
    assert _everything(small_disk) == {"f": b"old"}


def test_a_new_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "g"
    with new_folder(target) as draft:
        (draft / "one").write_text("1")
        assert not target.exists()
    assert _everything(target) == {"one": b"1"}
    with new_folder(target) as draft:
        (draft / "two").write_text("2")
        assert _everything(target) == {"one": b"1"}
    assert _everything(tmp_path) == {"deep": None, "deep/g": None, "deep/g/two": b"2"}
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_the_old_one(tmp_path, error):
    with new_folder(tmp_path / "g") as draft:
        (draft / "one").write_text("1")
    with pytest.raises(error), new_folder(tmp_path / "g") as draft:
        (draft / "two").write_text("2")
        raise error
    assert _everything(tmp_path) == {"g": None, "g/one": b"1"}


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    with new_folder(tmp_path / "g") as draft:
        (draft / "one").write_text("1")
    replace, count = os.replace, iter(range(9))

    def second_fails(source, target):
        if next(count) == 1:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OutputError, match="Input/output error"), new_folder(tmp_path / "g"):
        pass
    assert _everything(tmp_path) == {"g": None, "g/one": b"1"}
