"""Oracle: the bytes and names on the disk before and after each failure."""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from internals.environment import ROOT
from internals.errors import OutputError
from internals.files import (
    new_folder,
    put_back,
    scratch_folder,
    sweep_drafts,
    sweep_folder,
    temporary_beside,
    write_atomically,
)
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


@pytest.fixture(params=["swapped", "stepped aside"])
def way(request, monkeypatch):
    """How a folder is replaced: in one step, or as where the system or the disk cannot do that."""
    if request.param == "stepped aside":
        monkeypatch.setattr(sys, "platform", "another")
    return request.param


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    with new_folder(tmp_path / "g") as draft:
        (draft / "one").write_text("1")
    replace, count = os.replace, iter(range(9))

    def second_fails(source, target):
        if next(count) == 1:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(sys, "platform", "another")
    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OutputError, match="Input/output error"), new_folder(tmp_path / "g"):
        pass
    assert _everything(tmp_path) == {"g": None, "g/one": b"1"}


@pytest.mark.parametrize("before", ["folder", "file", "link", "empty"])
def test_whatever_had_the_name_is_replaced(tmp_path, way, before):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "one").write_text("1")
    target = tmp_path / "g"
    match before:
        case "folder":
            (target / "deep").mkdir(parents=True)
        case "file":
            target.write_text("1")
        case "link":
            target.symlink_to(tmp_path / "other")
        case "empty":
            target.mkdir()
    with new_folder(target) as draft:
        (draft / "two").write_text("2")
    kept = {"other": None, "other/one": b"1"}
    assert _everything(tmp_path) == kept | {"g": None, "g/two": b"2"}
    assert not target.is_symlink()


def test_readers_and_writers_at_once_find_a_whole_folder(tmp_path, way):
    """Two writers for a second; where names can be swapped no reader ever misses the folder."""
    target = tmp_path / "g"
    stop, failures, versions = threading.Event(), [], set()

    def write(writer):
        try:
            for count in range(10**6):
                if stop.is_set():
                    return
                with new_folder(target) as draft:
                    (draft / "whole").write_text(f"{writer} {count}")
        except BaseException as error:
            failures.append(error)

    with new_folder(target) as draft:
        (draft / "whole").write_text("0 0")
    writers = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for writer in writers:
        writer.start()
    began, missed, reads = time.monotonic(), 0, 0
    # A machine that is busy may not have let both of them write within a second.
    while (taken := time.monotonic() - began) < 1 or (not {"1", "2"} <= versions and taken < 30):
        reads += 1
        try:
            versions.add((target / "whole").read_text()[0])
        except FileNotFoundError:  # the folder that was found has been replaced since
            missed += not target.is_dir()
    stop.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert reads > 100 and {"1", "2"} <= versions
    left = {path.name for path in tmp_path.iterdir()}
    if sys.platform in ("linux", "darwin"):
        assert missed == 0 and left == {"g"}
    # What one writer has set aside another may be about to put back: the next process sweeps it.
    assert {name for name in left if not name.endswith(".aside")} == {"g"}


_WRITER = """
import sys
from pathlib import Path
import internals.files as files
if sys.argv[1] != "swapped":
    sys.platform = "another"
    replace = files.os.replace
    def slowly(source, target):  # so that a kill comes between the two steps
        replace(source, target)
        files.sys.stdout.flush()
        __import__("time").sleep(0.002)
    files.os.replace = slowly
print("begun", flush=True)
for count in range(10**6):
    with files.new_folder(Path("g")) as draft:
        (draft / "a").write_text(str(count))
        (draft / "b").write_text(str(count))
"""


@pytest.mark.slow
def test_a_kill_leaves_one_whole_version(tmp_path, way):
    rng = random.Random(0)
    with new_folder(tmp_path / "g") as draft:
        (draft / "a").write_text("0")
        (draft / "b").write_text("0")
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, way], stdout=subprocess.PIPE, text=True,
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
        if way != "swapped":
            put_back(tmp_path)
        left = _everything(tmp_path / "g")
        assert set(left) == {"a", "b"} and left["a"] == left["b"]
    with new_folder(tmp_path / "g") as draft:
        (draft / "last").write_text("1")
    assert _everything(tmp_path) == {"g": None, "g/last": b"1"}


def test_only_a_name_that_nobody_has_is_given_back(tmp_path):
    with new_folder(tmp_path / "g") as draft:
        (draft / "new").write_text("1")
        aside = tmp_path / draft.name.replace(".part", ".aside")
        lost = tmp_path / aside.name.replace(".g.", ".h.")
    for folder in (aside, lost):
        folder.mkdir()
        (folder / "old").write_text("1")
    put_back(tmp_path)
    put_back(tmp_path / "no such folder")
    found = set(_everything(tmp_path))
    assert found == {"g", "g/new", "h", "h/old", aside.name, f"{aside.name}/old"}


def test_drafts_of_every_name_are_swept_from_a_folder(tmp_path, writer):
    drafts = set(_everything(tmp_path))
    sweep_folder(tmp_path)
    assert set(_everything(tmp_path)) == drafts
    writer.kill()
    writer.wait()
    sweep_folder(tmp_path)
    assert _everything(tmp_path) == {}


def test_temporary_folders_of_the_dead_are_swept_and_are_private(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, tempfile; from internals.files import scratch_folder\n"
        "with scratch_folder() as folder: (folder / 's').write_text(''); os._exit(0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    [left] = tmp_path.iterdir()
    assert (left / "s").exists()
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder] and folder != left
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, name):
    write_atomically(tmp_path / name, b"1")
    write_atomically(tmp_path / name, b"2")
    assert _everything(tmp_path) == {name: b"2"}


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="File name too long; choose a shorter name"):
        write_atomically(tmp_path / ("x" * 300), b"1")
    assert _everything(tmp_path) == {}
