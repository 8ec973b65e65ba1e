"""Oracle: exit status, output and time of the book's sub-commands."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from book.bookcase import TinyBook, copy_book
from internals.book import Layout
from internals.cli import app
from internals.errors import ChapterError


@pytest.fixture
def here(tinybook: TinyBook, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("INTERNALS_BOOK", str(tinybook.layout.root))
    monkeypatch.setenv("INTERNALS_BUILD", str(tinybook.layout.output))
    return tinybook.layout


def test_nothing_to_do_is_said_and_takes_no_time(here: Layout) -> None:
    began = time.perf_counter()
    done = CliRunner().invoke(app, ["execute", "01_fine", "--seed", "7"])
    assert time.perf_counter() - began < 2
    assert done.exit_code == 0
    assert "01_fine: nothing to do" in done.output and "Every chapter is fresh" in done.output


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("01_fin", "did you mean 01_fine?"),
        ("broken", "did you mean 02_broken?"),
        ("zzz", "known are 01_fine, 02_broken"),
    ],
)
def test_an_unknown_chapter_is_named_with_the_nearest(here: Layout, name: str, remedy: str) -> None:
    done = CliRunner().invoke(app, ["execute", name])
    assert isinstance(done.exception, ChapterError)
    assert str(done.exception) == f"unknown chapter {name!r}; {remedy}"


def test_keys_are_json_for_a_matrix(here: Layout) -> None:
    done = CliRunner().invoke(app, ["execute", "--keys", "--seed", "7"])
    [fine, _] = json.loads(done.output)
    [folder] = here.store("quick", "01_fine").iterdir()
    assert fine == {"chapter": "01_fine", "key": folder.name}


def test_a_failing_chapter_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = copy_book(tmp_path)
    monkeypatch.setenv("INTERNALS_BOOK", str(tmp_path))
    (layout.chapters / "02_broken.py").write_text("# %%\nif x\n")
    done = CliRunner().invoke(app, ["execute", "02_broken"])
    assert done.exit_code == 1
    assert "chapters/02_broken.py:2: SyntaxError: expected ':'" in done.output


def test_status_tells_fresh_from_missing(here: Layout) -> None:
    lines = CliRunner().invoke(app, ["status"]).output.splitlines()
    words = [line.split()[:3] for line in lines]
    assert words == [
        ["01_fine", "quick", "fresh"], ["01_fine", "full", "missing"],
        ["02_broken", "quick", "missing"], ["02_broken", "full", "missing"],
    ]  # fmt: skip


def test_a_wrong_profile_is_a_usage_error(here: Layout) -> None:
    assert CliRunner().invoke(app, ["build", "--profile", "fast"]).exit_code == 2


@pytest.mark.slow
def test_stale_executes_only_what_the_edition_has_not_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = copy_book(tmp_path)
    (layout.chapters / "02_broken.py").unlink()
    monkeypatch.setenv("INTERNALS_BOOK", str(tmp_path))
    words = ["execute", "--stale", "--profile", "quick", "--publish"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0 and "01_fine: executed" in first.output
    # Another profile has another key, and the chapter is published nevertheless.
    again = CliRunner().invoke(app, ["execute", "--stale", "--profile", "smoke", "--publish"])
    assert again.output == "Every published chapter is fresh.\n"
    script = layout.chapters / "01_fine.py"
    script.write_text(script.read_text() + "\n# %%\nprint(1)\n")
    assert "01_fine: executed" in CliRunner().invoke(app, words).output
