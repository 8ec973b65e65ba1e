"""Chapters executed where a result is missing, and stored whole under their content key.

Several chapters run in parallel and share the cores. A person at a terminal sees one live line, a
log plain lines. A chapter that fails stores nothing; the others go on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from internals.book.keys import ExecutionSettings, Key, data_part, key_of
from internals.book.layout import Layout
from internals.book.outputs import extract_outputs
from internals.book.script import Script, describe_failure, read_script
from internals.book.stored import DamagedRunError, has_run, prune, seal
from internals.book.weights import Asset, assets_in, trainings_in
from internals.environment import WEIGHTS_NOTE, commit, cores, machine, memory, named_folders
from internals.errors import InternalsError, OutputError
from internals.files import new_folder, scratch_folder, write_atomically

Result = TypeVar("Result")

_CHAPTER_MEMORY = 6 * 2**30  # bytes that the largest chapter takes at quick
_CHAPTER_CORES = 2  # that one chapter makes good use of where there are four or more
_LONG_CELL = 5.0  # seconds after which a finished cell gets a line in a log
# glibc then keeps the memory that a cell frees for the next one, and the system need not clear its
# pages again: a sixth of a chapter's time. Other allocators ignore these variables.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


@dataclass(frozen=True, eq=False)
class CpuShare:
    """A chapter's share of the machine.

    Attributes:
        cores: The number of cores; None for all of them.
        stop: Set to end the chapter early.
    """

    cores: int | None = None
    stop: Event = field(default_factory=Event)

    def environment(self) -> dict[str, str]:
        """The variables that hold a kernel to its share."""
        if self.cores is None:
            return {}
        return {"INTERNALS_CORES": str(self.cores), "OMP_NUM_THREADS": str(self.cores)}


WHOLE_MACHINE = CpuShare()


def most_parallel() -> int:
    """How many chapters are worth executing in parallel on this machine.

    One for every two cores, memory permitting, but two on two cores: half of a chapter's time,
    above all drawing, uses one core however many there are.
    """
    installed = memory()
    by_cores = max(min(cores(), 2), cores() // _CHAPTER_CORES)
    return max(1, min(by_cores, 1 if installed is None else installed // _CHAPTER_MEMORY))


def run_parallel(
    paths: Sequence[Path], jobs: int, run: Callable[[Path, CpuShare], Result]
) -> dict[Path, Result]:
    """Call `run(path, share)` for each path, several at a time.

    On Ctrl-C the running ones are told by their share's `stop`, and no other is begun.

    Args:
        paths: The chapters.
        jobs: How many run at a time. A single one runs in this thread and has the whole machine.
        run: What is called; its second argument says how many cores it may use.

    Returns:
        The result for each path, in the order of `paths`.
    """
    jobs = min(jobs, len(paths))
    if jobs <= 1:
        return {path: run(path, WHOLE_MACHINE) for path in paths}
    share = CpuShare(max(1, cores() // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {path: pool.submit(run, path, share) for path in paths}
            return {path: future.result() for path, future in futures.items()}
        except BaseException:
            # Cancel first: a chapter that ends would be followed by the next one.
            pool.shutdown(wait=False, cancel_futures=True)
            share.stop.set()
            raise


class Reporter:
    """Reports which chapter and cell is executed: on one live line, or in a log by plain lines."""

    def __init__(self, console: Console | None = None, *, live: bool = True) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live = live and self._console.is_terminal
        self._name = self._cell = self._line = ""
        self._start = 0.0

    def in_parallel(self) -> "Reporter":
        """A reporter of plain lines, for one of several chapters that run in parallel."""
        return Reporter(self._console, live=False)

    @contextmanager
    def chapter(self, name: str, profile: str) -> Iterator[None]:
        """Report one chapter, which is executed within this context."""
        self._name, self._cell, self._line = name, "", ""
        self._start = time.perf_counter()
        if not self._live:
            self._say(f"{name}: executing at {profile}")
            yield
            return
        with self._console.status(self):
            yield

    def cell(self, number: int, total: int, line: int) -> None:
        """Code cell `number` of `total`, at `line` of the file, starts."""
        self._cell = f"cell {number}/{total} (line {line})"
        self._line = ""

    def cell_ended(self, seconds: float) -> None:
        """The cell has ended; only long ones get a line in a log."""
        if not self._live and seconds > _LONG_CELL:
            self._say(f"{self._name}: {self._cell} took {seconds:.1f} s")

    def printed(self, text: str) -> None:
        """The chapter printed `text`."""
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
        if not self._live:
            for line in lines:
                self._say(f"{self._name} | {line}")
        elif lines:
            self._line = lines[-1].strip()

    def stored(self, name: str, folder: Path, seconds: float) -> None:
        """The chapter's run was stored in `folder`."""
        with suppress(ValueError):
            folder = folder.relative_to(Path.cwd())
        self._say(f"{name}: executed in {seconds:.1f} s, stored in {folder}")

    def fresh(self, name: str) -> None:
        """The chapter has a stored run already."""
        self._say(f"{name}: nothing to do")

    def damaged(self, name: str, reason: str) -> None:
        """The chapter has a stored run that cannot be used, for the `reason`."""
        self._say(f"{name}: the stored run is damaged ({reason}) and is made again", style="yellow")

    def failed(self, name: str, message: str) -> None:
        """The chapter stopped, for the reason in `message`."""
        self._say(message, style="red")
        self._say(f"{name}: failed, nothing stored")

    def warning(self, place: str, text: str) -> None:
        """The chapter wrote to stderr, which readers will see."""
        self._say(f"{place}: warning on the page: {text.strip().splitlines()[0]}", style="yellow")

    def __rich__(self) -> Text:
        """The live line, which rich draws several times a second."""
        elapsed = f"{time.perf_counter() - self._start:.0f} s"
        parts = [self._name, self._cell, elapsed, self._line]
        headline = Text(" · ".join(part for part in parts if part))
        headline.truncate(max(20, self._console.width - 4), overflow="ellipsis")
        return headline

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False)


@dataclass(frozen=True)
class ChapterOutcome:
    """How the execution of one chapter ended.

    Attributes:
        chapter: The chapter's name.
        status: "fresh" (a stored run exists), "executed" or "failed".
        message: Why it failed, in one line.
    """

    chapter: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class _Job:
    """What all chapters of one call of `execute` share."""

    settings: ExecutionSettings
    layout: Layout
    force: bool
    publish: bool
    timeout: int | None
    reporter: Reporter
    share: CpuShare = WHOLE_MACHINE


def execute(
    scripts: list[Path],
    settings: ExecutionSettings,
    layout: Layout,
    *,
    force: bool = False,
    publish: bool = False,
    timeout: int | None = None,
    jobs: int = 1,
    reporter: Reporter | None = None,
) -> list[ChapterOutcome]:
    """Execute each chapter that has no stored run for its present key.

    Chapters that build on what the others leave behind (`after: all` in their front matter) come
    last. A chapter that fails is reported and stores nothing; the others go on.

    Args:
        scripts: The chapters' files.
        settings: Profile, data and seed.
        layout: Where the runs are stored.
        force: Whether to execute chapters that have a stored run.
        publish: Whether the runs join the published edition at any profile; their pages say so.
        timeout: Seconds that a cell may take; None for no limit.
        jobs: How many chapters run in parallel.
        reporter: Where progress is reported; the terminal if left out.

    Returns:
        An outcome for each chapter, in the order of `scripts`.
    """
    job = _Job(settings, layout, force, publish, timeout, reporter or Reporter())
    # All keys are known before anything is executed, so that those to be executed share the cores.
    outcomes = {path: _outcome_without_execution(path, job) for path in scripts}
    missing = [path for path in scripts if outcomes[path] is None]
    last = [path for path in missing if read_script(path).meta.get("after") == "all"]
    for group in ([path for path in missing if path not in last], last):
        outcomes |= run_parallel(group, jobs, partial(_outcome, job=job))
    return [outcome for path in scripts if (outcome := outcomes[path]) is not None]


def _outcome_without_execution(path: Path, job: _Job) -> ChapterOutcome | None:
    """The outcome of a chapter that is fresh, or has no key; None if it is to be executed."""
    try:
        script = read_script(path)
        key = key_of(script, job.settings)
    except InternalsError as error:
        job.reporter.failed(path.stem, str(error))
        return ChapterOutcome(path.stem, "failed", str(error))
    profile, publish = job.settings.profile, job.publish
    try:
        if job.force or not has_run(job.layout, profile, script.name, key, publish=publish):
            return None
    except DamagedRunError as error:
        job.reporter.damaged(script.name, str(error))
        return None
    job.reporter.fresh(script.name)
    return ChapterOutcome(script.name, "fresh")


def _outcome(path: Path, share: CpuShare, *, job: _Job) -> ChapterOutcome:
    """Execute one chapter, and report its failure."""
    reporter = job.reporter if share is WHOLE_MACHINE else job.reporter.in_parallel()
    try:
        message = _execute_and_store(path, replace(job, reporter=reporter, share=share))
    except InternalsError as error:
        message = str(error)
    if message:
        reporter.failed(path.stem, message)
    return ChapterOutcome(path.stem, "failed" if message else "executed", message)


def _execute_and_store(path: Path, job: _Job) -> str:
    """Execute one chapter and store its run; the line that says why it failed, or ""."""
    import nbformat

    settings = job.settings
    script = read_script(path)
    key = key_of(script, settings)
    with scratch_folder() as scratch:
        note = scratch / "weights"
        failure, seconds = _run(script, job, note)
        weights = [] if failure else assets_in(note)
        trainings = [] if failure else trainings_in(note)
    failed = job.layout.failed(settings.profile, script.name)
    if failure:
        try:
            write_atomically(failed, nbformat.writes(script.notebook))
        except OutputError as error:
            return f"{failure}; also: {error}"
        return failure
    with suppress(OSError):
        failed.unlink(missing_ok=True)
    # Data that the run itself downloaded have another fingerprint than the stand-in before.
    _store(script, key.with_data(data_part(script, settings)), job, seconds, weights, trainings)
    return ""


def _run(script: Script, job: _Job, note: Path) -> tuple[str, dict[int, float]]:
    """Execute the script's notebook in place; the failure's line, or "", and seconds by cell.

    The folders of the weights that it uses are noted in the file `note`.
    """
    from internals.book import kernel

    environment = {
        **named_folders(),  # the kernel runs in the book's folder
        "INTERNALS_EXECUTING": "1",
        "INTERNALS_CHAPTER": script.name,
        "INTERNALS_PROFILE": job.settings.profile,
        "INTERNALS_DATA_MODE": job.settings.data,
        "INTERNALS_SEED": str(job.settings.seed),
        WEIGHTS_NOTE: str(note),
        "MPLBACKEND": "agg",
        **_KEEP_FREED_MEMORY,
        **job.share.environment(),
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
            watch = kernel.Watch(start, end, job.reporter.printed, job.share.stop.is_set)
            kernel.run_cells(script.notebook, job.layout.root, environment, job.timeout, watch)
        except Exception as error:  # nbclient's errors share no base, a kernel may fail in any way
            return describe_failure(script, error, cell=max(started, default=0)), seconds
    return "", seconds


def _store(
    script: Script,
    key: Key,
    job: _Job,
    seconds: dict[int, float],
    weights: list[Asset],
    trainings: list[dict[str, Any]],
) -> None:
    """Store notebook, pictures and `run.json` as one new folder."""
    import nbformat

    profile = job.settings.profile
    folder = job.layout.run_folder(profile, script.name, key.digest, publish=job.publish)
    with new_folder(folder) as draft:
        extracted = extract_outputs(script.notebook, draft, script.places)
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
                {"line": script.first_lines[index], "seconds": round(elapsed, 2)}
                for index, elapsed in sorted(seconds.items())
                if script.notebook.cells[index].cell_type == "code"
            ],
            "metrics": extracted.metrics,
            "weights": [asdict(asset) for asset in weights],
            "trainings": trainings,
        }
        write_atomically(draft / f"{script.name}.ipynb", nbformat.writes(script.notebook))
        seal(draft, record)
    if not job.publish:
        prune(job.layout, profile, script.name, keep=key.digest)
    for place, text in extracted.stderr:
        job.reporter.warning(place, text)
    job.reporter.stored(script.name, folder, record["seconds"])


def key_matrix(scripts: list[Path], settings: ExecutionSettings) -> list[dict[str, str]]:
    """Chapter and key of each script, for a matrix of parallel jobs."""
    return [
        {"chapter": path.stem, "key": key_of(read_script(path), settings).digest}
        for path in scripts
    ]
