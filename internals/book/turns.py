"""Several chapters executed at once, the cores divided among them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypeVar

from internals.environment import cores, memory

_NEEDED = 6 * 2**30  # bytes of memory that the hungriest chapter takes at quick
_CORES = 2  # that one chapter makes good use of where there are four or more

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Turn:
    """A chapter's share of the machine: how many `cores`, all if None; `stop` ends it early."""

    cores: int | None = None
    stop: Event = field(default_factory=Event)

    def environment(self) -> dict[str, str]:
        """The variables that hold a kernel to its share."""
        if self.cores is None:
            return {}
        return {"INTERNALS_CORES": str(self.cores), "OMP_NUM_THREADS": str(self.cores)}


ALONE = Turn()


def most_at_once() -> int:
    """How many chapters are worth executing at once, memory permitting.

    One for two cores, and two on two: half of a chapter's time, drawing above all, keeps one core
    busy whatever there is.
    """
    have = memory()
    wanted = max(min(cores(), 2), cores() // _CORES)
    return max(1, min(wanted, 1 if have is None else have // _NEEDED))


def at_once(
    paths: Sequence[Path], jobs: int, run: Callable[[Path, Turn], Result]
) -> dict[Path, Result]:
    """What `run(path, turn)` returns for each of `paths`, `jobs` of them at a time, in this order.

    A single one is run in this thread and has all cores. On Ctrl-C those that run are told by
    their turn's `stop`, and no other is begun.
    """
    jobs = min(jobs, len(paths))
    if jobs <= 1:
        return {path: run(path, ALONE) for path in paths}
    turn = Turn(max(1, cores() // jobs))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            waiting = {path: pool.submit(run, path, turn) for path in paths}
            return {path: future.result() for path, future in waiting.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # first, or one that ends is followed
            turn.stop.set()
            raise
