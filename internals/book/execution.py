"""Chapters executed where a result is missing, and kept whole under their content key."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from internals.book.keys import Key, Settings, data_part, key_of
from internals.book.layout import Layout
from internals.book.report import Reporter
from internals.book.script import Script, read_script
from internals.book.stored import RECORD, has_run, prune
from internals.environment import commit, machine
from internals.errors import InternalsError
from internals.files import new_folder, write_atomically


@dataclass(frozen=True)
class Outcome:
    """How one chapter went: "fresh", "executed" or "failed", and the line that says why."""

    chapter: str
    status: str
    message: str = ""


def execute(
    scripts: list[Path],
    settings: Settings,
    layout: Layout,
    *,
    force: bool = False,
    timeout: int | None = None,
    reporter: Reporter | None = None,
) -> list[Outcome]:
    """Execute each chapter of `scripts` whose run is not kept, or each of them with `force`.

    `timeout` is in seconds a cell. A chapter that fails is reported and keeps nothing; the others
    go on.
    """
    reporter = reporter or Reporter()
    outcomes = []
    for path in scripts:
        try:
            outcome = _chapter(path, settings, layout, force, timeout, reporter)
        except InternalsError as error:
            outcome = Outcome(path.stem, "failed", str(error))
        if outcome.status == "failed":
            reporter.failed(outcome.chapter, outcome.message)
        outcomes.append(outcome)
    return outcomes


def _chapter(
    path: Path,
    settings: Settings,
    layout: Layout,
    force: bool,
    timeout: int | None,
    reporter: Reporter,
) -> Outcome:
    script = read_script(path)
    key = key_of(script, settings)
    if not force and has_run(layout, settings.profile, script.name, key):
        reporter.fresh(script.name)
        return Outcome(script.name, "fresh")
    failure, seconds = _run(script, settings, layout, timeout, reporter)
    failed = layout.failed(settings.profile, script.name)
    if failure:
        import nbformat

        write_atomically(failed, nbformat.writes(script.notebook))
        return Outcome(script.name, "failed", failure)
    failed.unlink(missing_ok=True)
    # A data set that was downloaded by the run itself has another fingerprint than before.
    key = key.with_data(data_part(script, settings))
    _keep(script, key, settings, layout, seconds, reporter)
    return Outcome(script.name, "executed")


def _run(
    script: Script, settings: Settings, layout: Layout, timeout: int | None, reporter: Reporter
) -> tuple[str, dict[int, float]]:
    """Execute the script's notebook in place; return the failure's line, or "", and the times."""
    from internals.book.failure import describe
    from internals.book.kernel import Watch, run_cells

    environment = {
        "INTERNALS_EXECUTING": "1",
        "INTERNALS_CHAPTER": script.name,
        "INTERNALS_PROFILE": settings.profile,
        "INTERNALS_DATA_MODE": settings.data,
        "INTERNALS_SEED": str(settings.seed),
        "MPLBACKEND": "agg",
    }
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}
    cells = [index for index, _ in script.code()]

    def start(index: int) -> None:
        started[index] = time.perf_counter()
        if index in cells:
            reporter.cell(cells.index(index) + 1, len(cells), script.first_lines[index])

    def end(index: int) -> None:
        seconds[index] = time.perf_counter() - started[index]
        reporter.cell_ended(seconds[index])

    with reporter.chapter(script.name, settings.profile):
        try:
            watch = Watch(start, end, reporter.printed)
            run_cells(script.notebook, layout.root, environment, timeout, watch)
        except Exception as error:  # nbclient's errors share no base, a kernel may fail in any way
            at = max(started, default=0)
            return describe(script, script.notebook, error, at), seconds
    return "", seconds


def _keep(
    script: Script,
    key: Key,
    settings: Settings,
    layout: Layout,
    seconds: dict[int, float],
    reporter: Reporter,
) -> None:
    """Store notebook, pictures and `run.json` as one new folder."""
    import nbformat

    from internals.book.outputs import harvest

    folder = layout.run_folder(settings.profile, script.name, key.digest)
    with new_folder(folder) as draft:
        found = harvest(script.notebook, draft, script.places)
        record = {
            "chapter": script.name,
            "key": key.digest,
            "source_key": key.source_digest,
            **asdict(settings),
            **{name: dict(part) for name, part in asdict(key).items()},
            "commit": commit(),
            "machine": machine(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(sum(seconds.values()), 1),
            "cells": [
                {"line": script.first_lines[index], "seconds": round(taken, 2)}
                for index, taken in sorted(seconds.items())
                if script.notebook.cells[index].cell_type == "code"
            ],
            "metrics": found.metrics,
        }
        write_atomically(draft / f"{script.name}.ipynb", nbformat.writes(script.notebook))
        write_atomically(draft / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    prune(layout, settings.profile, script.name, keep=key.digest)
    for place, text in found.stderr:
        reporter.warning(place, text)
    reporter.kept(script.name, folder, record["seconds"])


def key_matrix(scripts: list[Path], settings: Settings) -> list[dict[str, str]]:
    """Chapter and key of each script, for a matrix of parallel jobs."""
    return [
        {"chapter": path.stem, "key": key_of(read_script(path), settings).digest}
        for path in scripts
    ]
