"""Oracle: records written here, whose numbers are known to have moved or not."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from internals.book import seal
from internals.cli import app
from internals.errors import ChapterError

RECORD = {
    "chapter": "01_lenet5", "key": "k", "source_key": "s", "machine": "m", "commit": "c",
    "environment": {"packages": {}, "data": {}, "python": "3.11"}, "profile": "quick",
    "data": "embedded", "metrics": {}, "cells": [], "seconds": 1, "seed": 0,
    "when": "2026-11-22T00:00:00+00:00",
}  # fmt: skip
NUMBERS = {"test_top1": 0.90, "test_loss": 10.0, "name": "conv2", "train_seconds": 3.0}


def store(folder: Path, metrics: dict[str, object], **changes: str) -> None:
    folder.mkdir(parents=True)
    seal(folder, {**RECORD, "metrics": metrics, **changes})


def compare(before: Path, after: Path, *options: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["compare", str(before), str(after), *options])


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"test_top1": 0.904, "test_loss": 10.04, "train_seconds": 30.0, "new": 1}, []),
        ({"test_top1": 0.91}, ["test_top1 was 0.9, is 0.91"]),
        ({"test_loss": 10.1}, ["test_loss was 10, is 10.1"]),
        ({"name": "conv3"}, ["name was conv2, is conv3"]),
        ({"test_top1": float("nan")}, ["test_top1 was 0.9, is nan"]),
        ({"test_top1": None}, ["test_top1 was 0.9, is gone"]),
    ],
)
def test_numbers_that_moved_are_named_and_fail_the_command(tmp_path, changes, lines):
    store(tmp_path / "before" / "01_lenet5" / "k", NUMBERS)
    after = {name: value for name, value in (NUMBERS | changes).items() if value is not None}
    store(tmp_path / "after" / "01_lenet5" / "k", after)
    done = compare(tmp_path / "before", tmp_path / "after")
    assert done.stdout.splitlines() == [
        *(f"01_lenet5: {line}" for line in lines), f"{len(lines)} of 3 numbers moved",
    ]  # fmt: skip
    assert done.exit_code == bool(lines)


def test_how_far_a_number_may_move_is_an_option(tmp_path):
    store(tmp_path / "before" / "k", {"test_top1": 0.9})
    store(tmp_path / "after" / "k", {"test_top1": 0.95})
    for tolerance, status in [("0", 1), ("0.04", 1), ("0.06", 0)]:
        done = compare(tmp_path / "before", tmp_path / "after", "--tolerance", tolerance)
        assert done.exit_code == status


def test_of_several_runs_of_a_chapter_the_newest_counts(tmp_path):
    store(tmp_path / "before" / "a", {"test_top1": 0.5}, when="2026-11-23T00:00:00+00:00")
    store(tmp_path / "before" / "b", {"test_top1": 0.9}, when="2026-11-22T00:00:00+00:00")
    store(tmp_path / "after" / "c", {"test_top1": 0.5})
    assert compare(tmp_path / "before", tmp_path / "after").exit_code == 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"profile": "full"},
            "01_lenet5: was executed at quick on embedded data with seed 0, then at full on "
            "embedded data with seed 0",
        ),
        ({"chapter": "02_alexnet"}, "01_lenet5: not in {after}"),
    ],
)
def test_what_cannot_be_compared_is_said_and_fails_the_command(tmp_path, changes, line):
    store(tmp_path / "before" / "k", {"test_top1": 0.9})
    store(tmp_path / "after" / "k", {"test_top1": 0.1}, **changes)
    done = compare(tmp_path / "before", tmp_path / "after")
    assert done.stdout.splitlines()[0] == line.format(after=tmp_path / "after")
    assert done.exit_code == 1


def test_a_folder_without_runs_and_a_damaged_run_are_one_line(tmp_path):
    store(tmp_path / "before" / "k", {"test_top1": 0.9})
    done = compare(tmp_path / "before", tmp_path / "nowhere")
    assert isinstance(done.exception, ChapterError)
    assert "nowhere holds no stored run" in str(done.exception)
    path = tmp_path / "before" / "k" / "run.json"
    path.write_text(path.read_text().replace("0.9", "0.8"))
    done = compare(tmp_path / "before", tmp_path / "before")
    assert isinstance(done.exception, ChapterError) and "damaged run" in str(done.exception)
