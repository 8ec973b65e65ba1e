"""What an execution says while it runs: one live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

_SLOW = 5.0  # seconds after which a finished cell is worth a plain line


class Reporter:
    """Tells a person at a terminal, or a log, which chapter and which cell is being executed."""

    def __init__(self, console: Console | None = None, *, live: bool = True) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live = live and self._console.is_terminal
        self._name = self._cell = self._line = ""
        self._began = 0.0

    def beside(self) -> "Reporter":
        """A reporter for one of several chapters executed at once, by plain lines."""
        return Reporter(self._console, live=False)

    @contextmanager
    def chapter(self, name: str, profile: str) -> Iterator[None]:
        """Around the execution of one chapter."""
        self._name, self._cell, self._line = name, "", ""
        self._began = time.perf_counter()
        if not self._live:
            self._say(f"{name}: executing at {profile}")
            yield
            return
        with self._console.status(self):
            yield

    def cell(self, number: int, total: int, line: int) -> None:
        """The next code cell starts: the `number`-th of `total`, at `line` of the file."""
        self._cell = f"cell {number}/{total} (line {line})"
        self._line = ""

    def cell_ended(self, seconds: float) -> None:
        """The cell has ended; a log hears of those that took long."""
        if not self._live and seconds > _SLOW:
            self._say(f"{self._name}: {self._cell} took {seconds:.1f} s")

    def printed(self, text: str) -> None:
        """The chapter printed `text`."""
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
        if not self._live:
            for line in lines:
                self._say(f"{self._name} | {line}")
        elif lines:
            self._line = lines[-1].strip()

    def kept(self, name: str, folder: Path, seconds: float) -> None:
        """The chapter's run was stored in `folder`."""
        with suppress(ValueError):
            folder = folder.relative_to(Path.cwd())
        self._say(f"{name}: executed in {seconds:.1f} s, kept in {folder}")

    def fresh(self, name: str) -> None:
        """The chapter's run is kept already."""
        self._say(f"{name}: nothing to do")

    def failed(self, name: str, message: str) -> None:
        """The chapter stopped, for the reason in `message`."""
        self._say(message, style="red")
        self._say(f"{name}: failed, nothing kept")

    def warning(self, place: str, text: str) -> None:
        """The chapter wrote to stderr, and readers will see it."""
        self._say(f"{place}: warning on the page: {text.strip().splitlines()[0]}", style="yellow")

    def _since(self) -> float:
        return time.perf_counter() - self._began

    def __rich__(self) -> Text:
        """The live line; drawn anew several times a second, so that the seconds run."""
        parts = [self._name, self._cell, f"{self._since():.0f} s", self._line]
        headline = Text(" · ".join(part for part in parts if part))
        headline.truncate(max(20, self._console.width - 4), overflow="ellipsis")
        return headline

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False)
