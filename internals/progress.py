"""Progress of long work: a bar on a terminal, a few plain lines anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tqdm import tqdm

_silences = 0  # how many blocks that are silenced are running


@contextmanager
def silenced() -> Iterator[None]:
    """While the block runs, what begins shows no progress: it is a part of work that shows its own.

    For one thread at a time.
    """
    global _silences
    _silences += 1
    try:
        yield
    finally:
        _silences -= 1


class Progress:
    """Counts the steps of one piece of work.

    Args:
        label: What is being done.
        total: How many steps there are.
        unit: The noun that is counted, in the singular.
        lines: About how many lines are printed off a terminal, evenly spread; always the last.
        quiet: Seconds for which nothing is printed off a terminal.
    """

    def __init__(
        self, label: str, total: int, unit: str = "step", lines: int = 4, quiet: float = 0
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._done = 0
        self._start_time = time.monotonic()
        self._resumed_at = 0
        self._every = max(1, total // max(1, lines))
        self._printed = 0
        self._quiet = quiet
        self._shown = not _silences
        terminal = self._shown and sys.stderr.isatty()
        self._bar = (
            tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True, leave=False)
            if terminal
            else None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def start_at(self, done: int) -> None:
        """Count from `done`: steps of an earlier run, which do not count for the speed."""
        self._done = self._resumed_at = self._printed = done
        if self._bar is not None:
            self._bar.update(done)
            self._bar.unpause()

    def advance(self, steps: int = 1, *, silent: bool = False, **note: str) -> None:
        """Count more steps.

        Args:
            steps: How many.
            silent: Whether to print no line; a bar moves nevertheless.
            note: Numbers to show beside the count, such as `loss="0.0123"`.
        """
        self._done += steps
        if self._bar is not None:
            if note:
                self._bar.set_postfix(note, refresh=False)
            self._bar.update(steps)
        elif not silent and self._is_due():
            self._printed = self._done
            numbers = "".join(f", {key} {value}" for key, value in note.items())
            print(
                f"{self.label}: {self._done}/{self.total} {self.unit}s{numbers}{self._left()}",
                flush=True,
            )

    def _is_due(self) -> bool:
        if not self._shown or time.monotonic() - self._start_time < self._quiet:
            return False
        return self._done - self._printed >= self._every or self._done >= self.total

    def _left(self) -> str:
        counted = self._done - self._resumed_at
        if self._done >= self.total or counted <= 0:
            return ""
        seconds = (time.monotonic() - self._start_time) / counted * (self.total - self._done)
        return f", {clock(seconds)} left"


def clock(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
