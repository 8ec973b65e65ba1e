"""Stored runs: sealed, read, compared with the script as it is now, pruned.

A run that is not what was stored, in any of its files, counts as damaged and is shown nowhere.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from internals.book.keys import Key, cell_hash, source_part
from internals.book.layout import PUBLISHED, Layout
from internals.book.outputs import FIGURE, picture_files
from internals.book.script import Script
from internals.errors import ChapterError
from internals.files import put_back, sweep_folder, write_atomically
from internals.fingerprint import digest

RECORD = "run.json"
_KEPT_RUNS = 2  # a chapter and profile


class Status(Enum):
    """How a stored run relates to the chapter as it is written now."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"
    DAMAGED = "damaged"


class DamagedRunError(ChapterError):
    """A stored run that is not what was stored."""


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
        """The run's picture files: sheets, and all others in light and dark."""
        stored = self.record.get("files")
        pictures = sorted(self.folder.glob("*.webp"))
        return [path for path in pictures if stored is None or path.name in stored]

    def notebook(self) -> Any:
        """The executed notebook.

        Raises:
            DamagedRunError: The file is missing or damaged.
        """
        import nbformat

        path = self.folder / f"{self.record['chapter']}.ipynb"
        invalid: dict[str, Any] = {}
        try:
            text = path.read_text(encoding="utf-8")
            notebook = nbformat.reads(text, as_version=4, capture_validation_error=invalid)
        except Exception as error:  # nbformat raises anything on JSON of another form
            raise DamagedRunError(f"{path.name} cannot be read") from error
        if invalid:
            raise DamagedRunError(f"{path.name} is no notebook")
        return notebook


def seal(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a run, with a checksum of each file and one of its own.

    Args:
        folder: The folder with the run's notebook and pictures.
        record: What `run.json` tells of the run: key, settings, versions, times, metrics.

    Raises:
        OutputError: The file cannot be written.
    """
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    record = {**record, "files": files}
    record["checksum"] = digest(record)
    text = json.dumps(record, indent=1, sort_keys=True)
    write_atomically(folder / RECORD, text + "\n")


def read_run(folder: Path) -> StoredRun | None:
    """The run stored in `folder`; None where there is none, or a damaged one."""
    try:
        return _checked_run(folder)
    except DamagedRunError:
        return None


def _checked_run(folder: Path) -> StoredRun | None:
    """The run stored in `folder`, or None; raises `DamagedRunError`."""
    if not folder.exists():
        put_back(folder.parent)
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DamagedRunError(f"{RECORD} cannot be read") from None
    if not _has_form(record):
        raise DamagedRunError(f"{RECORD} is not the record of a run")
    run = StoredRun(folder, record)
    if "files" in record:
        _check_sums(folder, record)
    else:
        _check_pictures(run)
    return run


def _has_form(record: Any) -> bool:
    """Whether `record` has all that a page is made of, each of its type."""
    try:
        texts = [record[name] for name in ("chapter", "key", "source_key", "machine", "commit")]
        environment = record["environment"]
        for parts in (environment["packages"], environment["data"]):
            texts += [text for pair in parts.items() for text in pair]
        texts += [record["profile"], environment["python"], *record["metrics"]]
        cells = record["cells"]
        numbers = [cell[name] for cell in cells for name in ("line", "seconds")]
        numbers += [record["seconds"], record["seed"]]
        datetime.fromisoformat(record["when"])
        files = record.get("files", {}).items()
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    texts += [text for pair in files for text in pair]
    return (
        all(isinstance(text, str) and text.strip() for text in texts)
        and all(isinstance(number, int | float) and abs(number) < 2**64 for number in numbers)
        and Path(record["chapter"]).name == record["chapter"]
        and isinstance(record["metrics"], dict)
    )


def _check_sums(folder: Path, record: Mapping[str, Any]) -> None:
    sealed = {name: part for name, part in record.items() if name != "checksum"}
    if record.get("checksum") != digest(sealed):
        raise DamagedRunError(f"{RECORD} is not what was stored")
    for name, wanted in record["files"].items():
        try:
            found = _sha256(folder / name)
        except OSError:
            raise DamagedRunError(f"{name} cannot be read") from None
        if found != wanted:
            raise DamagedRunError(f"{name} is not what was stored")


def _check_pictures(run: StoredRun) -> None:
    """Of a run without checksums: the notebook can be read, and its pictures are whole."""
    outputs = [output for cell in run.notebook().cells for output in cell.get("outputs", [])]
    figures = [output.data[FIGURE] for output in outputs if FIGURE in output.get("data", {})]
    for name in [name for texts in figures for name in picture_files(texts).values()]:
        try:
            content = (run.folder / name).read_bytes()
        except OSError:
            raise DamagedRunError(f"{name} cannot be read") from None
        # WebP begins with RIFF, the number of bytes that follow, and WEBP.
        length = int.from_bytes(content[4:8], "little") + 8
        if content[:4] + content[8:12] != b"RIFFWEBP" or length > len(content):
            raise DamagedRunError(f"{name} is no whole picture")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def has_run(layout: Layout, profile: str, chapter: str, key: Key, *, publish: bool = False) -> bool:
    """Whether a run under exactly this `key` is stored.

    Raises:
        DamagedRunError: One is, but not as it was stored.
    """
    run = _checked_run(layout.run_folder(profile, chapter, key.digest, publish=publish))
    return run is not None and run.record["key"] == key.digest


def latest(layout: Layout, profile: str, script: Script) -> tuple[StoredRun | None, Status]:
    """The run to show for `script`, and whether it is fresh.

    It is the newest run of the script as it is now, else the newest of all. Only the source part
    of the key decides: the reader's own packages and data do not make a page stale.
    """
    folders = [layout.edition / script.name]
    if profile != PUBLISHED:
        folders = _folders(layout.store(profile, script.name))
    runs, damaged = [], False
    for folder in folders:
        try:
            if run := _checked_run(folder):
                runs.append(run)
        except DamagedRunError:
            damaged = True
    if not runs:
        return None, Status.DAMAGED if damaged else Status.MISSING
    runs.sort(key=lambda run: run.record["when"])
    source_key = digest(source_part(script))
    fresh = [run for run in runs if run.record["source_key"] == source_key]
    return (fresh[-1], Status.FRESH) if fresh else (runs[-1], Status.STALE)


def _folders(store: Path) -> list[Path]:
    put_back(store)
    return [folder for folder in store.glob("[!.]*") if folder.is_dir()]


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
    store = layout.store(profile, chapter)
    sweep_folder(store)
    folders = _folders(store)
    folders.sort(key=lambda folder: (folder.name == keep, folder.stat().st_mtime))
    for folder in folders[:-_KEPT_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
