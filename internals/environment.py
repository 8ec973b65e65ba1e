"""Where a result was made: versions, machine, commit."""

import ctypes
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from internals.errors import OutputError
from internals.files import writing

ROOT = Path(__file__).resolve().parent.parent

_FOLDERS = ("INTERNALS_BOOK", "INTERNALS_BUILD", "INTERNALS_DATA")  # variables that name one

WEIGHTS_NOTE = "INTERNALS_WEIGHTS_NOTE"  # names the file in which `note_weights` notes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # from glibc's malloc.h
_NEVER = 2**31 - 1


def versions(packages: list[str]) -> dict[str, str]:
    """The installed version of each of `packages`; those not installed are left out."""
    installed = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def machine() -> str:
    """The system, processor family and number of usable cores, e.g. `Linux x86_64, 2 cores`."""
    return f"{platform.system()} {platform.machine()}, {cores()} cores"


def cores() -> int:
    """How many processor cores this process may use; `INTERNALS_CORES` may say fewer."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not say
        usable = os.cpu_count() or 1
    most = os.environ.get("INTERNALS_CORES", "")
    return min(usable, int(most)) if most.isdecimal() and int(most) else usable


def memory() -> int | None:
    """Bytes of physical memory, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, instead of giving it back to the system.

    Activations are freed and asked for again at each training step, and a system that has to clear
    their pages each time takes a third of VGG-16's step at 64 pixels. Only on Linux with glibc; an
    environment that says what glibc shall do is left to it.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_MAX_" in os.environ:
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def commit() -> str:
    """The checked-out commit, `+` if files were changed since, or `unknown` outside a checkout."""
    head = _git("rev-parse", "--short=10", "HEAD")
    if not head:
        return "unknown"
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def repository() -> str:
    """The page of the repository on GitHub that this checkout was cloned from; "" for any other."""
    known = re.fullmatch(
        r"(?:https://(?:[^@/]*@)?|(?:ssh://)?git@)github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?",
        _git("remote", "get-url", "origin"),
    )
    return f"https://github.com/{known[1]}" if known else ""


def _git(*words: str) -> str:
    try:
        result = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def build_folder() -> Path:
    """Where made things go: `build/` in the checkout, or what `INTERNALS_BUILD` names.

    Raises:
        OutputError: It names the home of nobody, or what can be no folder.
    """
    named = os.environ.get("INTERNALS_BUILD")
    if not named:
        return ROOT / "build"
    try:
        folder = Path(named).expanduser().absolute()
    except RuntimeError as error:  # expanduser's, for want of such a user
        raise OutputError(
            f"INTERNALS_BUILD={named} names the home of nobody; correct it, or unset it"
        ) from error
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not there.is_dir():
        raise OutputError(
            f"INTERNALS_BUILD={named} can be no folder: {there} is a file; correct it, or unset it"
        )
    return folder


def weights_folder() -> Path:
    """Where the weights of trained networks are kept, a folder each."""
    return build_folder() / "weights"


def fetched_folder() -> Path:
    """Where weights are kept that were fetched, under the names that their makers gave them."""
    return weights_folder() / "fetched"


def note_weights(folder: Path) -> None:
    """Note that the weights in `folder` were used, where a chapter is executed that records it."""
    if note := os.environ.get(WEIGHTS_NOTE):
        with writing(Path(note)), Path(note).open("a", encoding="utf-8") as file:
            file.write(f"{folder}\n")


def named_folders() -> dict[str, str]:
    """The variables that name a folder, with absolute paths: for a process that runs elsewhere."""
    named = {name: os.environ.get(name, "") for name in _FOLDERS}
    # Whose home `~` is does not depend on where a process runs.
    return {
        name: path if path.startswith("~") else str(Path(path).absolute())
        for name, path in named.items()
        if path
    }
