"""Oracle: a git repository made by the test, and the installed versions as pip knows them."""

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from internals import environment


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
    found = environment.versions(["numpy", "no-such-package-anywhere", "torch"])
    assert found == {name: metadata.version(name) for name in ("numpy", "torch")}


def test_build_folder_can_be_named(monkeypatch):
    monkeypatch.setenv("INTERNALS_BUILD", "/somewhere/else")
    assert environment.build_folder() == Path("/somewhere/else")
    monkeypatch.delenv("INTERNALS_BUILD")
    assert environment.build_folder() == environment.ROOT / "build"
