"""Oracle: the bytes and names on the disk before and after each failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from internals.environment import ROOT
from internals.errors import OutputError
from internals.files import new_folder, sweep_drafts, temporary_beside, write_atomically
from tests.reference.small_disk import largest_file, small_disk


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


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_and_folders_are_as_private_as_the_user_wants_them(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "f", b"new")
        with new_folder(tmp_path / "g") as draft:
            (draft / "part").write_bytes(b"")
        with temporary_beside(tmp_path / "h") as draft:
            assert draft.stat().st_mode & 0o777 == 0o666 & ~mask
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "g").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path):
    write_atomically(tmp_path / "f", b"old")
    with largest_file(1000), pytest.raises(OutputError, match="f: File too large; free some space"):
        write_atomically(tmp_path / "f", bytes(2000))
    assert _everything(tmp_path) == {"f": b"old"}


_DRAFTS = """
import sys
from pathlib import Path
from internals.files import new_folder, temporary_beside
file = temporary_beside(Path("f"))
folder = new_folder(Path("g"))
file.__enter__().write_text("half")
(folder.__enter__() / "part").write_text("half")
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is in the middle of writing the file f and the folder g."""
    process = subprocess.Popen(
        [sys.executable, "-c", _DRAFTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path, writer):
    drafts = set(_everything(tmp_path))
    assert len(drafts) == 3  # two drafts, and a part in one of them
    write_atomically(tmp_path / "f", b"new")
    with new_folder(tmp_path / "g") as draft:
        (draft / "whole").write_text("1")
    assert set(_everything(tmp_path)) == drafts | {"f", "g", "g/whole"}
    writer.kill()
    writer.wait()
    write_atomically(tmp_path / "h", b"of another name")
    assert drafts < set(_everything(tmp_path))
    write_atomically(tmp_path / "f", b"newer")
    with new_folder(tmp_path / "g"):
        pass
    assert _everything(tmp_path) == {"f": b"newer", "g": None, "h": b"of another name"}


def test_sweeping_needs_no_write(tmp_path, writer):
    writer.kill()
    writer.wait()
    sweep_drafts(tmp_path / "f")
    sweep_drafts(tmp_path / "g")
    sweep_drafts(tmp_path / "no" / "such folder")
    assert _everything(tmp_path) == {}


def test_what_only_looks_like_a_draft_stays(tmp_path, writer):
    """Of another machine, of a name that ends alike, or what somebody called so."""
    writer.kill()
    writer.wait()
    (file,) = tmp_path.glob(".f.*")
    host = file.name.split(".")[2].partition("-")[0]
    others = {
        file.name.replace(host, f"{int(host, 16) ^ 1:08x}"),
        file.name.replace(".f.", ".old.f."),
        file.name.removesuffix(".part"),
        ".f.part",
    }
    for name in others:
        (tmp_path / name).write_text("")
    write_atomically(tmp_path / "f", b"new")
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".g.")}
    assert names == others | {"f"}


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
def disk(tmp_path):
    """A disk of 64 KiB, where this user may mount one."""
    with small_disk(tmp_path / "disk", "64k") as folder:
        yield folder


def test_a_disk_that_is_really_full(disk):
    write_atomically(disk / "f", b"old")
    with pytest.raises(OutputError, match="f: No space left on device"):
        write_atomically(disk / "f", bytes(100_000))
    assert _everything(disk) == {"f": b"old"}
    with (
        pytest.raises(OutputError, match="g: No space left"),
        new_folder(disk / "g") as draft,
    ):
        (draft / "part").write_bytes(bytes(100_000))
    assert _everything(disk) == {"f": b"old"}


def test_a_disk_that_may_only_be_read(disk):
    write_atomically(disk / "f", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OutputError, match="f: Read-only file system; free some space, or name a"):
        write_atomically(disk / "f", b"new")
    with pytest.raises(OutputError, match="Read-only"), new_folder(disk / "g"):
        pytest.fail("the block must not run")
    assert _everything(disk) == {"f": b"old"}


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
