"""Files appear whole or not at all, and what killed processes left is swept by the next."""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from internals.errors import OutputError

# A draft, or a folder that steps aside, says who left it: host, process, and a random number.
_DRAFT = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.(?P<kind>part|aside)"
)
_LONGEST_NAME = 200  # bytes, so that a draft's name fits into the 255 that most systems allow
_REMEDIES = {errno.ENAMETOOLONG: "choose a shorter name"}
# The function that swaps two names in one step: after the paths comes 2 for "exchange" in both.
_EXCHANGES = {"linux": "renameat2", "darwin": "renamex_np"}
_EXCHANGE, _HERE = 2, -100  # from linux/fs.h, sys/stdio.h, fcntl.h
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
_MOST_TRIES = 1000  # against other writers of the same folder


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into one `OutputError` line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "free some space, or name a folder you may write to"
        remedy = _REMEDIES.get(error.errno or 0, remedy)
        raise OutputError(f"cannot write {path}: {reason}; {remedy}") from error


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

    Of several writers the last one wins. Where the system can swap two names in one step the folder
    is never missing; elsewhere it is for a moment, and `put_back` mends what a kill then leaves.

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
            _take_name(draft, path)
        finally:
            _remove(draft)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder among the system's temporary files, removed at the end.

    Those of dead processes are removed first.
    """
    path = Path(tempfile.gettempdir()) / "internals"
    sweep_drafts(path)
    folder = _draft_of(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _remove(folder)


def put_back(folder: Path) -> None:
    """Give what stands aside in `folder` its name back, where a kill left that name to nobody."""
    with contextlib.suppress(OSError):
        aside = [(entry, match) for entry, match in _left_in(folder) if match["kind"] == "aside"]
        for entry, match in sorted(aside, key=lambda pair: -pair[0].lstat().st_ctime_ns):
            if not os.path.lexists(folder / match["name"]):
                os.replace(entry, folder / match["name"])


def sweep_drafts(path: Path) -> None:
    """Remove the drafts of `path` whose process, on this machine, runs no more."""
    _sweep(path.parent, _short(path.name))


def sweep_folder(folder: Path) -> None:
    """Remove all drafts in `folder` whose process, on this machine, runs no more."""
    _sweep(folder, None)


def _sweep(folder: Path, name: str | None) -> None:
    put_back(folder)
    with contextlib.suppress(OSError):
        for entry, match in _left_in(folder):
            ours = match["host"] == _host() and name in (None, match["name"])
            if ours and not _runs(int(match["process"])):
                _remove(entry)


def _left_in(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    """The drafts and the folders aside in `folder`, with what their names say."""
    matches = ((entry, _DRAFT.fullmatch(entry.name)) for entry in folder.iterdir())
    return [(entry, match) for entry, match in matches if match]


def _take_name(draft: Path, path: Path) -> None:
    """Give the folder `draft` the name `path`; what had it is under the draft's name, or removed.

    Another writer may take or leave the name between any two steps, which then begin again.
    """
    aside = _draft_of(path, "aside", path.name)
    for _ in range(_MOST_TRIES):
        try:
            if os.path.lexists(path):
                if _exchange(draft, path):
                    return
                os.replace(path, aside)
            os.replace(draft, path)
        except OSError as error:
            overtaken = error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)
            if not (overtaken and draft.exists()):
                raise
        else:
            return
        finally:
            if os.path.lexists(path):
                _remove(aside)
            else:
                put_back(path.parent)
    raise OSError(errno.EBUSY, "too many others write it")


def _exchange(one: Path, two: Path) -> bool:
    """Swap two names in one step; False where the system or the disk cannot."""
    name = _EXCHANGES.get(sys.platform)
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if function is None:
        return False
    names = os.fsencode(one), os.fsencode(two)
    linux = name == "renameat2"
    arguments = (_HERE, names[0], _HERE, names[1]) if linux else names
    if function(*arguments, _EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _CANNOT:
        return False
    raise OSError(error, os.strerror(error))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that it holds, as far as that is allowed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _draft_of(path: Path, kind: str = "part", name: str = "") -> Path:
    name = name or _short(path.name)
    return path.with_name(f".{name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.{kind}")


def _short(name: str) -> str:
    """`name`, or something shorter in its place that says which it was."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else f"{name[:20]}~{zlib.crc32(encoded):08x}"


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
