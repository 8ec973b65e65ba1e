"""Many runs side by side, each kept as soon as it is over: a sweep that is killed goes on."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from internals import fingerprint
from internals.ablations.plan import Factor, Settings
from internals.ablations.single_run import Outcome
from internals.ablations.statistics import ArmResult
from internals.data.image_set import ImageSet, Splits
from internals.environment import ROOT, build_folder, cores
from internals.errors import AblationError
from internals.files import write_atomically
from internals.progress import Progress
from internals.training.batches import first
from internals.training.checkpoint import save_tensors
from internals.training.provenance import content

# Modules that cannot change a number: editing them is no reason to train again.
_NO_NUMBERS = ("", "errors", "files", "progress", "environment", "fingerprint", "ablations")


def runs_folder(train: ImageSet, test: ImageSet) -> Path:
    """The folder of all runs on these images by the code as it is now."""
    reach = fingerprint.reach(modules=["internals.ablations.single_run"])
    code = {
        name: tree
        for name, tree in reach.modules.items()
        if name.removeprefix("internals").removeprefix(".") not in _NO_NUMBERS
    }
    key = fingerprint.digest([code, content(train), content(test)])
    return build_folder() / "ablations" / key


def run_file(folder: Path, settings: Settings, seed: int) -> Path:
    """The file in `folder` for one arm and seed; what two factors share is one file."""
    return folder / f"{fingerprint.digest([asdict(settings), seed])}.json"


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Keep `outcome` at `path`: whole or not at all."""
    write_atomically(path, json.dumps(asdict(outcome), indent=1))


def read_outcome(path: Path) -> Outcome | None:
    """What `write_outcome` kept; None where there is no such file or it is damaged."""
    try:
        return Outcome(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


Job = tuple[Settings, int, Path]


@dataclass(frozen=True)
class Sweep:
    """The outcome of every arm with every seed."""

    outcomes: Mapping[tuple[Settings, int], Outcome]
    seeds: tuple[int, ...]
    tested: int  # test images that each accuracy is a share of

    def result(self, name: str, settings: Settings) -> ArmResult:
        """The accuracies of an arm, one a seed, under the name it is shown with."""
        return ArmResult(name, tuple(run.accuracy for run in self.runs(settings)))

    def errors(self, factor: Factor) -> dict[str, tuple[float, ...]]:
        """The share of test images misread, one a seed, by level; at least half an image's."""
        least = 0.5 / self.tested  # a logarithmic scale has no 0
        return {
            level: tuple(max(1 - run.accuracy, least) for run in self.runs(settings))
            for level, settings in factor.levels
        }

    def runs(self, settings: Settings) -> tuple[Outcome, ...]:
        """The outcomes of an arm in the order of `seeds`."""
        return tuple(self.outcomes[settings, seed] for seed in self.seeds)


def sweep(
    arms: Sequence[Settings],
    seeds: Sequence[int],
    splits: Splits,
    *,
    images: int | None = None,
    tested: int | None = None,
    processes: int | None = None,
) -> Sweep:
    """Run every arm with every seed, on the first `images` training and `tested` test images.

    What was run before by the same code on the same images is not run again. The numbers do not
    depend on `processes`, by default one a core. Raises `AblationError` when a process dies, and
    what a run raises.
    """
    train, test = first(splits.train, images), first(splits.test, tested)
    folder = runs_folder(train, test)
    # Seeds in the outer loop: where a sweep is cut short, all arms have had the same ones.
    wanted = [(arm, seed, run_file(folder, arm, seed)) for seed in seeds for arm in arms]
    missing = [job for job in wanted if read_outcome(job[2]) is None]
    if missing:
        count = min(processes or cores(), len(missing))
        with Progress("ablations", len(wanted), "run") as bar:
            bar.start_at(len(wanted) - len(missing))
            for _ in _made(missing, train, test, count):
                bar.advance()
    outcomes = {(arm, seed): read_outcome(path) for arm, seed, path in wanted}
    found = {run: outcome for run, outcome in outcomes.items() if outcome is not None}
    if len(found) < len(outcomes):
        raise AblationError(f"{folder} lost files while runs were made; run the sweep again")
    return Sweep(found, tuple(seeds), len(test))


def _made(jobs: Sequence[Job], train: ImageSet, test: ImageSet, count: int) -> Iterator[None]:
    """Make `jobs` in `count` processes, and say so after each one."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # None: a process that died
    with _shared(train, test) as images, _workers(images, count) as workers:
        for worker in workers:
            threading.Thread(target=_feed, args=(worker, waiting, answers), daemon=True).start()
        for _ in jobs:
            answer = answers.get()
            if answer is None:
                raise AblationError(
                    "a process of the sweep died; run it again, what is finished is kept"
                )
            if answer:
                raise AblationError(answer)
            yield


def _feed(
    worker: subprocess.Popen[str],
    waiting: "queue.SimpleQueue[Job]",
    answers: "queue.SimpleQueue[str | None]",
) -> None:
    """Hand one run after another to `worker`, as fast as it takes them."""
    assert worker.stdin is not None and worker.stdout is not None
    while True:
        try:
            settings, seed, path = waiting.get_nowait()
        except queue.Empty:
            return
        job = {"settings": asdict(settings), "seed": seed, "path": str(path)}
        try:
            worker.stdin.write(json.dumps(job) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        except (OSError, ValueError):
            line = ""
        answers.put(json.loads(line) if line else None)
        if not line:
            return


@contextmanager
def _shared(train: ImageSet, test: ImageSet) -> Iterator[Path]:
    """A file with the images, for processes that have nothing else in common."""
    with tempfile.TemporaryDirectory(prefix="internals-") as folder:
        path = Path(folder) / "images.safetensors"
        tensors = {
            f"{name}_{part}": getattr(images, part).contiguous()
            for name, images in (("train", train), ("test", test))
            for part in ("images", "labels")
        }
        save_tensors(path, tensors, class_names=train.class_names)
        yield path


@contextmanager
def _workers(images: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """`count` processes with one thread each; they are gone when the block is left."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "internals.ablations.worker", str(images)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | alone,
                )
            )
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
