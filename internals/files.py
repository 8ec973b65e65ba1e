"""Files appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from internals.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into one `OutputError` line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}; free some space, or name a folder you may write to"
        ) from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises `OutputError` when the disk is full or the folder cannot be written; the old file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    with writing(path), temporary_beside(path) as draft:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A draft file name on the same disk as `path`, removed if it is still there at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    draft.chmod(0o644)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A draft folder that takes the name `path` when the block ends well, and vanishes when not.

    Raises `OutputError` when the disk is full or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            yield draft
            draft.chmod(0o755)
            if path.exists():
                # A folder cannot be replaced in one step: the old one steps aside first.
                aside = Path(
                    tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent)
                )
                os.replace(path, aside / "old")
                try:
                    os.replace(draft, path)
                except BaseException:
                    os.replace(aside / "old", path)
                    raise
                finally:
                    shutil.rmtree(aside)
            else:
                os.replace(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
