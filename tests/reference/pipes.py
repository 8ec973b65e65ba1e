"""Pipes in the place of files: whoever opens one to read it waits for a writer."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RESCUE = 5  # seconds after which a reader is given an end of file


@contextmanager
def pipe_at(path: Path) -> Iterator[None]:
    """A pipe at `path`; the test fails if the block waits for it."""
    os.mkfifo(path)
    rescue = subprocess.Popen(["sh", "-c", 'sleep "$1"; : > "$2"', "sh", str(_RESCUE), str(path)])
    began = time.monotonic()
    try:
        yield
    finally:
        rescue.kill()
        rescue.wait()
        path.unlink()
    assert time.monotonic() - began < _RESCUE - 1, f"{path} was waited for"
