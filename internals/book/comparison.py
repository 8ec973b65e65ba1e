"""Two executions of the book compared: which of the numbers that they recorded have moved."""

import math
from dataclasses import dataclass
from pathlib import Path

from internals.book.stored import RECORD, StoredRun, read_run
from internals.errors import ChapterError

_SETTINGS = ("profile", "data", "seed")
_TIME = "seconds"  # how long something took is no result


@dataclass(frozen=True)
class Move:
    """A result that is another than before.

    Attributes:
        chapter: Whose it is.
        name: What it is recorded as.
        before: What it was.
        after: What it is; None where it is not recorded any more.
    """

    chapter: str
    name: str
    before: float | str
    after: float | str | None

    def __str__(self) -> str:
        after = "gone" if self.after is None else _shown(self.after)
        return f"{self.chapter}: {self.name} was {_shown(self.before)}, is {after}"


@dataclass(frozen=True)
class Comparison:
    """What two executions have in common.

    Attributes:
        compared: How many numbers and texts were compared.
        moves: Those that differ.
        apart: A line for each chapter that cannot be compared, with the reason.
    """

    compared: int
    moves: list[Move]
    apart: list[str]


def compare(before: Path, after: Path, tolerance: float) -> Comparison:
    """Compare what the chapters recorded in two executions.

    Args:
        before: A folder with stored runs, at any depth; the newest of each chapter counts.
        after: Another one.
        tolerance: By how much a number may differ, or by what share of itself if that is more.

    Raises:
        ChapterError: A folder holds no stored run.
    """
    old, new = _newest(before), _newest(after)
    moves: list[Move] = []
    apart, compared = [], 0
    for chapter, run in sorted(old.items()):
        if (other := new.get(chapter)) is None:
            apart.append(f"{chapter}: not in {after}")
            continue
        if (was := _settings(run)) != (now := _settings(other)):
            apart.append(f"{chapter}: was executed {was}, then {now}")
            continue
        recorded = run.record["metrics"].items()
        numbers = {name: value for name, value in recorded if not name.endswith(_TIME)}
        compared += len(numbers)
        for name, value in numbers.items():
            found = other.record["metrics"].get(name)
            if not _alike(value, found, tolerance):
                moves.append(Move(chapter, name, value, found))
    return Comparison(compared, moves, apart)


def _newest(folder: Path) -> dict[str, StoredRun]:
    """The newest run of each chapter below `folder`."""
    runs: dict[str, StoredRun] = {}
    for path in sorted(folder.rglob(RECORD)):
        if (run := read_run(path.parent)) is None:
            raise ChapterError(f"{path.parent} holds a damaged run; execute the chapter again")
        chapter = run.record["chapter"]
        if chapter not in runs or run.record["when"] > runs[chapter].record["when"]:
            runs[chapter] = run
    if not runs:
        raise ChapterError(
            f"{folder} holds no stored run; name one that does, such as build/quick/chapters"
        )
    return runs


def _settings(run: StoredRun) -> str:
    profile, data, seed = (run.record[name] for name in _SETTINGS)
    return f"at {profile} on {data} data with seed {seed}"


def _alike(before: float | str, after: float | str | None, tolerance: float) -> bool:
    if isinstance(before, int | float) and isinstance(after, int | float):
        both_nan = math.isnan(before) and math.isnan(after)
        return both_nan or math.isclose(before, after, rel_tol=tolerance, abs_tol=tolerance)
    return before == after


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
