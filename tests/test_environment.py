"""Oracle: a git repository made by the test, and the installed versions as pip knows them."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from internals import environment
from internals.errors import OutputError


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty git repository that environment takes for this project's."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*words: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        done = subprocess.run(
            ["git", *name, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return tmp_path, git


def test_commit_is_the_head_with_a_plus_after_a_change(checkout):
    folder, git = checkout
    assert environment.commit() == "unknown"
    git("init")
    assert environment.commit() == "unknown"
    (folder / "f").write_text("1")
    git("add", "f")
    git("commit", "-m", "one")
    assert environment.commit() == git("rev-parse", "HEAD")[:10]
    (folder / "not tracked").write_text("")
    assert not environment.commit().endswith("+")
    (folder / "f").write_text("2")
    assert environment.commit() == git("rev-parse", "HEAD")[:10] + "+"


def test_versions_are_the_installed_ones():
    versions = environment.versions(["numpy", "no-such-package-anywhere", "torch"])
    assert versions == {name: metadata.version(name) for name in ("numpy", "torch")}


def test_build_folder_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERNALS_BUILD", "/somewhere/else")
    assert environment.build_folder() == Path("/somewhere/else")
    monkeypatch.delenv("INTERNALS_BUILD")
    assert environment.build_folder() == environment.ROOT / "build"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERNALS_BUILD", "out")
    assert environment.build_folder() == tmp_path / "out"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INTERNALS_BUILD", "~/made")
    assert environment.build_folder() == tmp_path / "made"


@pytest.mark.parametrize("named", ["~no-such-user/x", "~no-such-user", "file", "file/below/it"])
def test_a_build_folder_that_can_be_none_is_refused_by_its_variable(monkeypatch, tmp_path, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERNALS_BUILD", named)
    with pytest.raises(OutputError, match=f"^INTERNALS_BUILD={named} .*; correct it, or unset it$"):
        environment.build_folder()


def test_folders_that_variables_name_are_the_same_from_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERNALS_BUILD", "made")
    monkeypatch.setenv("INTERNALS_DATA", "~/data")
    monkeypatch.setenv("INTERNALS_BOOK", "")
    found = environment.named_folders()
    assert found == {"INTERNALS_BUILD": str(tmp_path / "made"), "INTERNALS_DATA": "~/data"}
    monkeypatch.setenv("INTERNALS_DATA", "/data")
    assert environment.named_folders()["INTERNALS_DATA"] == "/data"


@pytest.mark.parametrize(
    ("named", "cores"), [("", 8), ("3", 3), ("8", 8), ("99", 8), ("0", 8), ("two", 8), ("-1", 8)]
)
def test_cores_are_those_of_this_process_or_as_many_as_are_named(monkeypatch, named, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setenv("INTERNALS_CORES", named)
    assert environment.cores() == cores
    assert environment.machine().endswith(f", {cores} cores")


def test_cores_where_the_system_does_not_say(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.delenv("INTERNALS_CORES", raising=False)
    assert environment.cores() == 6


def test_memory_is_what_the_kernel_says(monkeypatch):
    lines = Path("/proc/meminfo")
    if not lines.exists():
        pytest.skip("needs Linux")
    kilobytes = int(lines.read_text().split()[1])
    assert environment.memory() == pytest.approx(kilobytes * 1024, rel=0.01)
    monkeypatch.delattr("os.sysconf")
    assert environment.memory() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_not_cleared_again_and_again():
    """Page faults of an array made and freed 20 times, in a process of its own."""
    script = (
        "import resource\n"
        "from internals.environment import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "bytearray(b'1') * 2**24\n"
        "begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): bytearray(b'1') * 2**24\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)"
    )
    variables = {k: v for k, v in os.environ.items() if k != "MALLOC_MMAP_MAX_"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=variables | {"PYTHONPATH": str(environment.ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 2**24 // 4096  # the pages of one of the 20


@pytest.mark.parametrize(
    ("origin", "page"),
    [
        ("https://github.com/me/my.book.git", "https://github.com/me/my.book"),
        ("https://me:secret@github.com/me/book/", "https://github.com/me/book"),
        ("git@github.com:me/book.git", "https://github.com/me/book"),
        ("ssh://git@github.com/me/book", "https://github.com/me/book"),
        ("https://elsewhere.example/me/book.git", ""),
        ("/home/me/github.com/me/book", ""),
        (None, ""),
    ],
)
def test_the_repository_is_the_one_on_github_that_was_cloned(tmp_path, monkeypatch, origin, page):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=tmp_path, check=True)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.repository() == page
