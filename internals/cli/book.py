"""The book's sub-commands: execute, compare, build, pdf, status. They need the extra `book`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Literal

import typer

from internals.book.layout import LARGEST_SEED, PUBLISHED, Layout
from internals.environment import ROOT, named_folders
from internals.errors import ChapterError, InternalsError
from internals.files import new_folder, scratch_folder

Profile = Literal["smoke", "quick", "full"]
DataMode = Literal["auto", "real", "embedded"]

ProfileOption = Annotated[
    Profile, typer.Option(help="smoke (for tests), quick (minutes) or full (hours).")
]
DataOption = Annotated[
    DataMode, typer.Option(help="Real data, their embedded stand-in, or what can be had (auto).")
]

JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many chapters at once. By default one for every 2 cores, but two on two, and for "
        "every 6 GiB of memory; at full one after the other.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the book's sub-commands to `app`."""
    for command in (execute, compare, build, pdf, status):
        app.command()(needs_book_extra(command))


def needs_book_extra(command: Callable[..., None], name: str = "") -> Callable[..., None]:
    """`command`, with one line for whoever installed the package without the book's tools."""
    name = name or command.__name__

    @wraps(command)
    def run(*args: object, **options: object) -> None:
        try:
            command(*args, **options)
        except ModuleNotFoundError as error:
            raise InternalsError(
                f"`internals {name}` needs {error.name}, which is not installed; "
                "pip install 'cnn-internals[book]'"
            ) from error

    return run


def execute(
    chapters: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="Such as 01_lenet5; all.")
    ] = None,
    profile: ProfileOption = "quick",
    data: DataOption = "auto",
    seed: Annotated[
        int,
        typer.Option(min=-LARGEST_SEED, max=LARGEST_SEED, help="Seed of every random choice."),
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Execute even what is fresh.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only chapters whose published run is not fresh.")
    ] = False,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Store the run in the published edition at any profile."),
    ] = False,
    timeout: Annotated[
        int | None, typer.Option(min=1, help="Seconds a cell may take; no limit if left out.")
    ] = None,
    jobs: JobsOption = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Only print chapters and keys, as JSON.")
    ] = False,
) -> None:
    """Execute the chapters whose results are missing, and store what they show."""
    from internals.book.execution import execute as execute_chapters
    from internals.book.execution import key_matrix, most_parallel
    from internals.book.keys import ExecutionSettings

    layout = Layout.here()
    scripts = layout.find(chapters or [])
    if stale:
        scripts = [path for path in scripts if not _is_published(layout, path)]
        if not scripts:
            print("Every published chapter is fresh.")
            return
    settings = ExecutionSettings(profile, data, seed)
    if keys:
        print(json.dumps(key_matrix(scripts, settings)))
        return
    # At full a chapter may need a whole GPU, and the times it reports must not depend on others.
    jobs = jobs or (1 if profile == PUBLISHED or publish else most_parallel())
    outcomes = execute_chapters(
        scripts, settings, layout, force=force, publish=publish, timeout=timeout, jobs=jobs
    )
    if all(outcome.status == "fresh" for outcome in outcomes):
        print(f"Every chapter is fresh at {profile}; --force executes it again.")
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _is_published(layout: Layout, path: Path) -> bool:
    """Whether the published run of a chapter is one of the chapter as it is now."""
    from internals.book.script import read_script
    from internals.book.stored import Status, latest

    return latest(layout, PUBLISHED, read_script(path))[1] is Status.FRESH


def compare(
    before: Annotated[Path, typer.Argument(help="A folder with stored runs.")],
    after: Annotated[
        Path, typer.Argument(help="Another, such as build/quick/chapters after --force.")
    ],
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="How far a number may move, or what share of itself."),
    ] = 0.005,
) -> None:
    """Print which numbers that the chapters recorded have moved.

    The exit status is 1 if any has, or if a chapter cannot be compared.
    """
    from internals.book.comparison import compare as compare_runs

    comparison = compare_runs(before, after, tolerance)
    for line in [*comparison.apart, *map(str, comparison.moves)]:
        print(line)
    print(f"{len(comparison.moves)} of {comparison.compared} numbers moved")
    if comparison.moves or comparison.apart:
        raise typer.Exit(1)


def build(
    profile: Annotated[
        Profile, typer.Option(help="Whose results to publish; full is the committed edition.")
    ] = "full",
    strict: Annotated[bool, typer.Option("--strict", help="Fail on any warning.")] = False,
) -> None:
    """Build the site from stored results; nothing is executed."""
    import mkdocs  # noqa: F401 (the process below could not say that it is missing)

    layout = Layout.here()
    site = layout.site(profile).resolve()
    # What a disk is mounted on cannot be exchanged: such a folder is filled in place.
    with nullcontext(site) if site.is_mount() else new_folder(site) as draft:
        _run_mkdocs(layout, profile, draft, strict)
    print(f"The site is in {_short(site)}; look at it with")
    print(f"  python -m http.server --bind 127.0.0.1 --directory {_short(site)}")


def pdf(
    profile: Annotated[
        Profile, typer.Option(help="Whose results to print; full is the committed edition.")
    ] = "full",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="By default build/cnn-internals.pdf.", dir_okay=False),
    ] = None,
) -> None:
    """Print the book from stored results as one PDF, with the system's Chromium."""
    import mkdocs  # noqa: F401 (as for build)

    from internals.book.pdf import find_browser, join_pages, print_pdf

    layout = Layout.here()
    out = out or layout.build("" if profile == PUBLISHED else profile) / "cnn-internals.pdf"
    find_browser()  # rather than after the site has been built
    with scratch_folder() as folder:
        _run_mkdocs(layout, profile, folder, strict=False)
        print_pdf(join_pages(layout, folder), folder, out)
    print(f"The book is in {_short(out.resolve())}, {out.stat().st_size / 1e6:.1f} MB")


def _run_mkdocs(layout: Layout, profile: str, site: Path, strict: bool) -> None:
    """Build the site into the folder `site`; raises `ChapterError` where MkDocs fails."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    command += ["--config-file", str(layout.root / "mkdocs.yml")]
    command += ["--strict"] if strict else []
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    environment = {**os.environ, **named_folders(), **quiet, "INTERNALS_EDITION": profile}
    process = subprocess.run(
        command, cwd=layout.root, env=environment, check=False, text=True, errors="replace",
        stderr=subprocess.PIPE,
    )  # fmt: skip
    messages, _, trace = process.stderr.partition("Traceback (most recent call last):\n")
    if not process.returncode or os.environ.get("INTERNALS_DEBUG"):
        messages = process.stderr
    for line in messages.splitlines():
        if not line.startswith("INFO") or "internals execute" in line:
            print(line, file=sys.stderr)
    if process.returncode:
        reason = ": " + _last_error(trace) if trace else "; mkdocs says why above"
        raise ChapterError(f"the site was not built{reason}")


def _last_error(trace: str) -> str:
    """What a traceback ends with, such as `OSError: No space left on device`."""
    lines = [line for line in trace.splitlines() if re.match(r"[A-Za-z_][\w.]*(: |$)", line)]
    return lines[-1].removeprefix("internals.errors.") if lines else "mkdocs failed"


def status(profile: ProfileOption = "quick") -> None:
    """Print whether the results of each chapter, and each atlas, are fresh, stale or missing."""
    from internals.atlas.networks import NETWORKS
    from internals.atlas.stored import atlas_state
    from internals.book.script import read_script
    from internals.book.stored import latest
    from internals.book.summaries import run_summary

    layout = Layout.here()
    shown = [profile] if profile == PUBLISHED else [profile, PUBLISHED]
    for path in layout.find([]):
        try:
            script = read_script(path)
            runs = {edition: latest(layout, edition, script) for edition in shown}
        except ChapterError as error:
            print(f"{path.stem:24} {error}")
            continue
        for edition, (run, state) in runs.items():
            note = f"  {run_summary(run.record)}" if run else ""
            print(f"{script.name:24} {edition:6} {state.value:8}{note}")
    for edition in shown:
        atlases = (layout.edition if edition == PUBLISHED else layout.build(edition)) / "atlas"
        chapters = [path.stem.partition("_")[2] for path in layout.scripts()]
        for network in (name for name in chapters if name in NETWORKS):
            print(f"{f'atlas of {network}':24} {edition:6} {atlas_state(atlases / network)}")


def _short(path: Path) -> Path:
    try:
        return path.relative_to(ROOT) if Path.cwd() == ROOT else path
    except ValueError:
        return path
