"""Files appear whole or not at all, and what killed processes left is swept by the next."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from internals.errors import OutputError

# A draft says who writes it: host, process, and a random number.
_DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.part")


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

    Raises:
        OutputError: When the disk is full or the folder cannot be written; the old file stays.
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
    """A draft file on the same disk as `path`, removed if it is still there at the end.

    Drafts of `path` whose process has died are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_drafts(path)
    draft = _draft_of(path)
    draft.touch(exist_ok=False)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A draft folder that takes the name `path` when the block ends well, and vanishes when not.

    Raises:
        OutputError: When the disk is full or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_drafts(path)
        draft = _draft_of(path)
        draft.mkdir()
        try:
            yield draft
            if path.exists():
                # A folder cannot be replaced in one step: the old one steps aside first.
                aside = _draft_of(path)
                os.replace(path, aside)
                try:
                    os.replace(draft, path)
                except BaseException:
                    os.replace(aside, path)
                    raise
                shutil.rmtree(aside, ignore_errors=True)
            else:
                os.replace(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def sweep_drafts(path: Path) -> None:
    """Remove the drafts of `path` whose process, on this machine, runs no more."""
    with contextlib.suppress(OSError):
        for entry in path.parent.iterdir():
            match = _DRAFT.fullmatch(entry.name)
            if match is None or match["name"] != path.name or match["host"] != _host():
                continue
            if not _runs(int(match["process"])):
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def _host() -> str:
    """This machine in eight hexadecimal digits; a shared folder may have drafts of others."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and belongs to somebody else
        return True
    return True
