"""Chapters executed where a result is missing, and kept whole under their content key."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from internals.book.keys import Key, Settings, data_part, key_of
from internals.book.layout import Layout
from internals.book.script import Script, read_script
from internals.book.stored import RECORD, has_run, prune
from internals.environment import commit, cores, machine, memory
from internals.errors import InternalsError
from internals.files import new_folder, write_atomically

_NEEDED = 6 * 2**30  # bytes of memory that the hungriest chapter takes at quick
_CORES = 2  # that one chapter makes good use of where there are four or more

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Turn:
    """A chapter's share of the machine: how many `cores`, all if None; `stop` ends it early."""

    cores: int | None = None
    stop: Event = field(default_factory=Event)

    def environment(self) -> dict[str, str]:
        """The variables that hold a kernel to its share."""
        if self.cores is None:
            return {}
        return {"INTERNALS_CORES": str(self.cores), "OMP_NUM_THREADS": str(self.cores)}


ALONE = Turn()


def most_at_once() -> int:
    """How many chapters are worth executing at once, memory permitting.

    One for two cores, and two on two: half of a chapter's time, drawing above all, keeps one core
    busy whatever there is.
    """
    have = memory()
    wanted = max(min(cores(), 2), cores() // _CORES)
    return max(1, min(wanted, 1 if have is None else have // _NEEDED))


def at_once(
    paths: Sequence[Path], jobs: int, run: Callable[[Path, Turn], Result]
) -> dict[Path, Result]:
    """What `run(path, turn)` returns for each of `paths`, `jobs` of them at a time, in this order.

    A single one is run in this thread and has all cores. On Ctrl-C those that run are told by
    their turn's `stop`, and no other is begun.
    """
    jobs = min(jobs, len(paths))
    if jobs <= 1:
        return {path: run(path, ALONE) for path in paths}
    turn = Turn(max(1, cores() // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            waiting = {path: pool.submit(run, path, turn) for path in paths}
            return {path: future.result() for path, future in waiting.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # first, or one that ends is followed
            turn.stop.set()
            raise


_SLOW = 5.0  # seconds after which a finished cell is worth a plain line


class Reporter:
    """Tells a person at a terminal, or a log, which chapter and which cell is being executed."""

    def __init__(self, console: Console | None = None, *, live: bool = True) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live = live and self._console.is_terminal
        self._name = self._cell = self._line = ""
        self._began = 0.0

    def beside(self) -> "Reporter":
        """A reporter for one of several chapters executed at once, by plain lines."""
        return Reporter(self._console, live=False)

    @contextmanager
    def chapter(self, name: str, profile: str) -> Iterator[None]:
        """Around the execution of one chapter."""
        self._name, self._cell, self._line = name, "", ""
        self._began = time.perf_counter()
        if not self._live:
            self._say(f"{name}: executing at {profile}")
            yield
            return
        with self._console.status(self):
            yield

    def cell(self, number: int, total: int, line: int) -> None:
        """The next code cell starts: the `number`-th of `total`, at `line` of the file."""
        self._cell = f"cell {number}/{total} (line {line})"
        self._line = ""

    def cell_ended(self, seconds: float) -> None:
        """The cell has ended; a log hears of those that took long."""
        if not self._live and seconds > _SLOW:
            self._say(f"{self._name}: {self._cell} took {seconds:.1f} s")

    def printed(self, text: str) -> None:
        """The chapter printed `text`."""
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
        if not self._live:
            for line in lines:
                self._say(f"{self._name} | {line}")
        elif lines:
            self._line = lines[-1].strip()

    def kept(self, name: str, folder: Path, seconds: float) -> None:
        """The chapter's run was stored in `folder`."""
        with suppress(ValueError):
            folder = folder.relative_to(Path.cwd())
        self._say(f"{name}: executed in {seconds:.1f} s, kept in {folder}")

    def fresh(self, name: str) -> None:
        """The chapter's run is kept already."""
        self._say(f"{name}: nothing to do")

    def failed(self, name: str, message: str) -> None:
        """The chapter stopped, for the reason in `message`."""
        self._say(message, style="red")
        self._say(f"{name}: failed, nothing kept")

    def warning(self, place: str, text: str) -> None:
        """The chapter wrote to stderr, and readers will see it."""
        self._say(f"{place}: warning on the page: {text.strip().splitlines()[0]}", style="yellow")

    def _since(self) -> float:
        return time.perf_counter() - self._began

    def __rich__(self) -> Text:
        """The live line; drawn anew several times a second, so that the seconds run."""
        parts = [self._name, self._cell, f"{self._since():.0f} s", self._line]
        headline = Text(" · ".join(part for part in parts if part))
        headline.truncate(max(20, self._console.width - 4), overflow="ellipsis")
        return headline

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False)


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
    from internals.book.kernel import Watch, run_cells
    from internals.book.script import describe

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
