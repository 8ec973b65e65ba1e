"""Runs that were kept: read, compared with the script as it is now, pruned."""

import json
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from internals.book.keys import Key, cell_hash, source_part
from internals.book.layout import PUBLISHED, Layout
from internals.book.script import Script
from internals.errors import ChapterError
from internals.fingerprint import digest

_KEPT_RUNS = 2
RECORD = "run.json"


class Status(Enum):
    """How a kept run relates to the chapter as it is written now."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class Run:
    """A chapter's kept run: its folder, with notebook, pictures and `run.json`."""

    folder: Path
    record: dict[str, Any]

    @property
    def pictures(self) -> list[Path]:
        """The run's picture files, light and dark."""
        return sorted(self.folder.glob("*.webp"))

    def notebook(self) -> Any:
        """The executed notebook. Raises `ChapterError` when it cannot be read."""
        import nbformat

        path = self.folder / f"{self.record['chapter']}.ipynb"
        try:
            return nbformat.read(path, as_version=4)
        except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
            raise ChapterError(f"cannot read {path}: {error}; execute the chapter again") from error


def read_run(folder: Path) -> Run | None:
    """The run kept in `folder`, or None where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Run(folder, record)


def has_run(layout: Layout, profile: str, chapter: str, key: Key, *, publish: bool = False) -> bool:
    """Whether a run under exactly this `key` is kept."""
    run = read_run(layout.run_folder(profile, chapter, key.digest, publish=publish))
    return run is not None and run.record["key"] == key.digest


def latest(layout: Layout, profile: str, script: Script) -> tuple[Run | None, Status]:
    """The run to show for `script`: the newest made from the script as it is, else the newest.

    A run is fresh when its source part is; the reader's own packages and data do not matter.
    """
    folders = [layout.edition / script.name]
    if profile != PUBLISHED:
        store = layout.store(profile, script.name)
        folders = [f for f in store.glob("[!.]*") if f.is_dir()]
    runs = [run for folder in folders if (run := read_run(folder))]
    if not runs:
        return None, Status.MISSING
    runs.sort(key=lambda run: run.record["when"])
    wanted = digest(source_part(script))
    fresh = [run for run in runs if run.record["source_key"] == wanted]
    return (fresh[-1], Status.FRESH) if fresh else (runs[-1], Status.STALE)


def with_outputs(script: Script, run: Run) -> Any:
    """The script's notebook, prose as it is now, each unchanged code cell with its kept outputs."""
    notebook = script.notebook
    kept: dict[str, list[Any]] = {}
    for cell in run.notebook().cells:
        if cell.cell_type == "code" and cell.source.strip():
            kept.setdefault(cell_hash(cell.source), []).append(cell)
    for index, source in script.code():
        if matching := kept.get(cell_hash(source)):
            executed = matching.pop(0)
            notebook.cells[index].outputs = executed.outputs
            notebook.cells[index].execution_count = executed.execution_count
    return notebook


def prune(layout: Layout, profile: str, chapter: str, keep: str) -> None:
    """Delete a chapter's older runs; the run under the key `keep` and the one before it stay."""
    if profile == PUBLISHED:
        return
    folders = [f for f in layout.store(profile, chapter).glob("[!.]*") if f.is_dir()]
    folders.sort(key=lambda folder: (folder.name == keep, folder.stat().st_mtime))
    for folder in folders[:-_KEPT_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
