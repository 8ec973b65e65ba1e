"""The book's sub-commands: execute, build, status."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from internals.book.layout import PUBLISHED, Layout
from internals.environment import ROOT
from internals.errors import ChapterError

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
    for command in (execute, build, status):
        app.command()(command)


def execute(
    chapters: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="Such as 01_lenet5; all.")
    ] = None,
    profile: ProfileOption = "quick",
    data: DataOption = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Execute even what is fresh.")] = False,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Keep the run in the published edition at any profile."),
    ] = False,
    timeout: Annotated[
        int | None, typer.Option(min=1, help="Seconds a cell may take; no limit if left out.")
    ] = None,
    jobs: JobsOption = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Only print chapters and keys, as JSON.")
    ] = False,
) -> None:
    """Execute the chapters whose results are missing, and keep what they show."""
    from internals.book.execution import execute as execute_chapters
    from internals.book.execution import key_matrix, most_at_once
    from internals.book.keys import Settings

    layout = Layout.here()
    scripts = layout.find(chapters or [])
    settings = Settings(profile, data, seed)
    if keys:
        typer.echo(json.dumps(key_matrix(scripts, settings)))
        return
    # At full a chapter may want a whole GPU, and what it says of time should not depend on others.
    jobs = jobs or (1 if profile == PUBLISHED or publish else most_at_once())
    outcomes = execute_chapters(
        scripts, settings, layout, force=force, publish=publish, timeout=timeout, jobs=jobs
    )
    if all(outcome.status == "fresh" for outcome in outcomes):
        typer.echo(f"Every chapter is fresh at {profile}; --force executes it again.")
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def build(
    profile: Annotated[
        Profile, typer.Option(help="Whose results to publish; full is the committed edition.")
    ] = "full",
    strict: Annotated[bool, typer.Option("--strict", help="Fail on any warning.")] = False,
) -> None:
    """Build the site from results that are kept; nothing is executed."""
    layout = Layout.here()
    site = layout.site(profile)
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    command += ["--config-file", str(layout.root / "mkdocs.yml")]
    command += ["--strict"] if strict else []
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    environment = {**os.environ, **quiet, "INTERNALS_EDITION": profile}
    made = subprocess.run(
        command, cwd=layout.root, env=environment, check=False, text=True, stderr=subprocess.PIPE
    )
    for line in made.stderr.splitlines():
        if not line.startswith("INFO") or "internals execute" in line:
            typer.echo(line, err=True)
    if made.returncode:
        raise ChapterError("the site was not built; mkdocs says why above")
    typer.echo(f"The site is in {_short(site)}; look at it with")
    typer.echo(f"  python -m http.server --bind 127.0.0.1 --directory {_short(site)}")


def status(profile: ProfileOption = "quick") -> None:
    """Say of each chapter whether its results are fresh, stale or missing."""
    from internals.book.pages import run_summary
    from internals.book.script import read_script
    from internals.book.stored import latest

    layout = Layout.here()
    shown = [profile] if profile == PUBLISHED else [profile, PUBLISHED]
    for path in layout.find([]):
        script = read_script(path)
        for edition in shown:
            run, state = latest(layout, edition, script)
            note = f"  {run_summary(run.record)}" if run else ""
            typer.echo(f"{script.name:24} {edition:6} {state.value:8}{note}")


def _short(path: Path) -> Path:
    try:
        return path.relative_to(ROOT) if Path.cwd() == ROOT else path
    except ValueError:
        return path
