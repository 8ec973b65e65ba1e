"""Stored runs: read, compared with the script as it is now, pruned."""

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

RECORD = "run.json"
_KEPT_RUNS = 2  # a chapter and profile


class Status(Enum):
    """How a stored run relates to the chapter as it is written now."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class StoredRun:
    """A chapter's stored run.

    Attributes:
        folder: The folder with the executed notebook, the pictures and `run.json`.
        record: The content of `run.json`: key, settings, versions, times, metrics.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def pictures(self) -> list[Path]:
        """The run's picture files, light and dark."""
        return sorted(self.folder.glob("*.webp"))

    def notebook(self) -> Any:
        """The executed notebook.

        Raises:
            ChapterError: The file is missing or damaged.
        """
        import nbformat

        path = self.folder / f"{self.record['chapter']}.ipynb"
        try:
            return nbformat.read(path, as_version=4)
        except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
            raise ChapterError(f"cannot read {path}: {error}; execute the chapter again") from error


def read_run(folder: Path) -> StoredRun | None:
    """The run stored in `folder`; None where there is none, or none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return StoredRun(folder, record)


def has_run(layout: Layout, profile: str, chapter: str, key: Key, *, publish: bool = False) -> bool:
    """Whether a run under exactly this `key` is stored."""
    run = read_run(layout.run_folder(profile, chapter, key.digest, publish=publish))
    return run is not None and run.record["key"] == key.digest


def latest(layout: Layout, profile: str, script: Script) -> tuple[StoredRun | None, Status]:
    """The run to show for `script`, and whether it is fresh.

    It is the newest run of the script as it is now, else the newest of all. Only the source part
    of the key decides: the reader's own packages and data do not make a page stale.
    """
    folders = [layout.edition / script.name]
    if profile != PUBLISHED:
        store = layout.store(profile, script.name)
        folders = [f for f in store.glob("[!.]*") if f.is_dir()]
    runs = [run for folder in folders if (run := read_run(folder))]
    if not runs:
        return None, Status.MISSING
    runs.sort(key=lambda run: run.record["when"])
    source_key = digest(source_part(script))
    fresh = [run for run in runs if run.record["source_key"] == source_key]
    return (fresh[-1], Status.FRESH) if fresh else (runs[-1], Status.STALE)


def with_outputs(script: Script, run: StoredRun) -> Any:
    """The script's notebook with the stored outputs of each code cell that has not changed."""
    notebook = script.notebook
    executed_cells: dict[str, list[Any]] = {}
    for cell in run.notebook().cells:
        if cell.cell_type == "code" and cell.source.strip():
            executed_cells.setdefault(cell_hash(cell.source), []).append(cell)
    for index, source in script.code():
        if same_source := executed_cells.get(cell_hash(source)):
            executed = same_source.pop(0)
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
