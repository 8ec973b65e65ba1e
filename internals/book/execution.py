"""Chapters executed where a result is missing, and kept whole under their content key."""

import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from internals.book.keys import Key, Settings, data_part, key_of
from internals.book.layout import Layout
from internals.book.report import Reporter
from internals.book.script import Script, read_script
from internals.book.stored import RECORD, has_run, prune
from internals.book.turns import ALONE, Turn, at_once
from internals.environment import commit, machine
from internals.errors import InternalsError
from internals.files import new_folder, write_atomically

# glibc then keeps what a cell frees for the next one, whose pages the system need not clear again:
# a sixth of a chapter's time. Other allocators do not read it.
_KEEPING_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


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
    publish: bool = False,
    timeout: int | None = None,
    jobs: int = 1,
    reporter: Reporter | None = None,
) -> list[Outcome]:
    """Execute each chapter of `scripts` whose run is not kept, or each of them with `force`.

    With `publish` a run joins the published edition whatever its profile, which its page tells.
    `timeout` is in seconds a cell. At most `jobs` chapters are executed at once; those that build
    on what the others leave behind (`after: all` in their front matter) come last. A chapter that
    fails is reported and keeps nothing; the others go on.
    """
    job = _Job(settings, layout, force, publish, timeout, reporter or Reporter())
    found = {path: _before(path, job) for path in scripts}
    waiting = [path for path in scripts if found[path] is None]
    last = [path for path in waiting if _comes_last(path)]
    for group in ([path for path in waiting if path not in last], last):
        found |= at_once(group, jobs, partial(_outcome, job=job))
    return [outcome for path in scripts if (outcome := found[path]) is not None]


@dataclass(frozen=True)
class _Job:
    """What all chapters of one call share."""

    settings: Settings
    layout: Layout
    force: bool
    publish: bool
    timeout: int | None
    reporter: Reporter
    turn: Turn = ALONE


def _before(path: Path, job: _Job) -> Outcome | None:
    """The outcome of a chapter that is fresh or cannot even be read; None if it is to be executed.

    Told before anything is executed, so that those that are can share the cores among them.
    """
    try:
        script = read_script(path)
        key = key_of(script, job.settings)
    except InternalsError as error:
        job.reporter.failed(path.stem, str(error))
        return Outcome(path.stem, "failed", str(error))
    profile, publish = job.settings.profile, job.publish
    if job.force or not has_run(job.layout, profile, script.name, key, publish=publish):
        return None
    job.reporter.fresh(script.name)
    return Outcome(script.name, "fresh")


def _comes_last(path: Path) -> bool:
    return read_script(path).meta.get("after") == "all"


def _outcome(path: Path, turn: Turn, *, job: _Job) -> Outcome:
    """The outcome of a chapter that is executed, a failure reported."""
    reporter = job.reporter if turn is ALONE else job.reporter.beside()
    try:
        outcome = _chapter(path, replace(job, reporter=reporter, turn=turn))
    except InternalsError as error:
        outcome = Outcome(path.stem, "failed", str(error))
    if outcome.status == "failed":
        reporter.failed(outcome.chapter, outcome.message)
    return outcome


def _chapter(path: Path, job: _Job) -> Outcome:
    settings, layout = job.settings, job.layout
    script = read_script(path)
    key = key_of(script, settings)
    failure, seconds = _run(script, job)
    failed = layout.failed(settings.profile, script.name)
    if failure:
        import nbformat

        write_atomically(failed, nbformat.writes(script.notebook))
        return Outcome(script.name, "failed", failure)
    failed.unlink(missing_ok=True)
    # A data set that was downloaded by the run itself has another fingerprint than before.
    key = key.with_data(data_part(script, settings))
    _keep(script, key, job, seconds)
    return Outcome(script.name, "executed")


def _run(script: Script, job: _Job) -> tuple[str, dict[int, float]]:
    """Execute the script's notebook in place; return the failure's line, or "", and the times."""
    from internals.book.failure import describe
    from internals.book.kernel import Watch, run_cells

    environment = {
        "INTERNALS_EXECUTING": "1",
        "INTERNALS_CHAPTER": script.name,
        "INTERNALS_PROFILE": job.settings.profile,
        "INTERNALS_DATA_MODE": job.settings.data,
        "INTERNALS_SEED": str(job.settings.seed),
        "MPLBACKEND": "agg",
        **_KEEPING_MEMORY,
        **job.turn.environment(),
    }
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}
    cells = [index for index, _ in script.code()]

    def start(index: int) -> None:
        started[index] = time.perf_counter()
        if index in cells:
            job.reporter.cell(cells.index(index) + 1, len(cells), script.first_lines[index])

    def end(index: int) -> None:
        seconds[index] = time.perf_counter() - started[index]
        job.reporter.cell_ended(seconds[index])

    with job.reporter.chapter(script.name, job.settings.profile):
        try:
            watch = Watch(start, end, job.reporter.printed, job.turn.stop.is_set)
            run_cells(script.notebook, job.layout.root, environment, job.timeout, watch)
        except Exception as error:  # nbclient's errors share no base, a kernel may fail in any way
            at = max(started, default=0)
            return describe(script, script.notebook, error, at), seconds
    return "", seconds


def _keep(script: Script, key: Key, job: _Job, seconds: dict[int, float]) -> None:
    """Store notebook, pictures and `run.json` as one new folder."""
    import nbformat

    from internals.book.outputs import harvest

    profile = job.settings.profile
    folder = job.layout.run_folder(profile, script.name, key.digest, publish=job.publish)
    with new_folder(folder) as draft:
        found = harvest(script.notebook, draft, script.places)
        record = {
            "chapter": script.name,
            "key": key.digest,
            "source_key": key.source_digest,
            **asdict(job.settings),
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
    if not job.publish:
        prune(job.layout, profile, script.name, keep=key.digest)
    for place, text in found.stderr:
        job.reporter.warning(place, text)
    job.reporter.kept(script.name, folder, record["seconds"])


def key_matrix(scripts: list[Path], settings: Settings) -> list[dict[str, str]]:
    """Chapter and key of each script, for a matrix of parallel jobs."""
    return [
        {"chapter": path.stem, "key": key_of(read_script(path), settings).digest}
        for path in scripts
    ]
