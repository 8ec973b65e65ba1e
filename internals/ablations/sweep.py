"""Many runs side by side, each kept as soon as it is over: a sweep that is stopped goes on."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from internals import fingerprint
from internals.ablations.plan import Factor
from internals.ablations.statistics import ArmResult
from internals.ablations.worker import Outcome
from internals.data.image_set import ImageSet, Splits
from internals.environment import ROOT, build_folder, cores
from internals.errors import AblationError
from internals.files import temporary_beside, writing
from internals.progress import Progress
from internals.training.checkpoint import serialized
from internals.training.launch import hidden_launchers
from internals.training.provenance import code_key, hash_code, hash_images
from internals.training.recipe import Recipe, plain

Job = tuple[Recipe, int, Path]


@dataclass(frozen=True)
class Sweep:
    """The outcome of every arm with every seed.

    Args:
        outcomes: By arm and seed.
        seeds: In the order in which scores are given.
        tested: Test images that each accuracy is a share of.
    """

    outcomes: Mapping[tuple[Recipe, int], Outcome]
    seeds: tuple[int, ...]
    tested: int

    def result(self, name: str, arm: Recipe) -> ArmResult:
        """The accuracies of an arm, one a seed, under the name it is shown with."""
        runs = self.runs(arm)
        return ArmResult(name, tuple(run.accuracy for run in runs), tuple(run.lost for run in runs))

    def errors(self, factor: Factor) -> dict[str, tuple[float, ...]]:
        """The share of test images misread, one a seed, by level; at least half an image's."""
        least = 0.5 / self.tested  # a logarithmic scale has no 0
        return {
            level: tuple(max(1 - outcome.accuracy, least) for outcome in self.runs(arm))
            for level, arm in factor.levels
        }

    def runs(self, arm: Recipe) -> tuple[Outcome, ...]:
        """The outcomes of an arm in the order of `seeds`."""
        return tuple(self.outcomes[arm, seed] for seed in self.seeds)


def sweep(
    arms: Sequence[Recipe],
    seeds: Sequence[int],
    splits: Splits,
    *,
    images: int | None = None,
    tested: int | None = None,
    processes: int | None = None,
) -> Sweep:
    """Train every arm with every seed.

    What was trained before by the same code on the same images is not trained again.

    Args:
        arms: Recipes; those of a `Plan`, for example.
        seeds: Each arm is trained once with each.
        splits: Digits padded to 32 x 32; the hold-out is not used.
        images: Train on the first so many images.
        tested: Score on the first so many test images.
        processes: How many runs at a time, by default one a core; the numbers do not depend on it.

    Raises:
        AblationError: When a process dies, or a run cannot be carried out.
    """
    train, test = splits.train.head(images), splits.test.head(tested)
    folder = build_folder() / "ablations"
    name = [hash_images(train), hash_images(test), hash_code(["internals.ablations.worker"])]
    codes = {arm: code_key(arm) for arm in dict.fromkeys(arms)}
    # Seeds in the outer loop: where a sweep is cut short, all arms have had the same ones.
    jobs = [
        (arm, seed, folder / f"{fingerprint.digest([plain(arm), codes[arm], seed, name])}.json")
        for seed in seeds
        for arm in arms
    ]
    missing = [job for job in jobs if _read_outcome(job[2]) is None]
    if missing:
        count = min(processes or cores(), len(missing))
        with Progress("ablations", len(jobs), "run") as bar:
            bar.start_at(len(jobs) - len(missing))
            for _ in _carry_out(missing, train, test, count):
                bar.advance()
    outcomes: dict[tuple[Recipe, int], Outcome] = {}
    for arm, seed, path in jobs:
        outcome = _read_outcome(path)
        if outcome is None:
            raise AblationError(f"{path} vanished while the sweep ran; run it again")
        outcomes[arm, seed] = outcome
    return Sweep(outcomes, tuple(seeds), len(test))


def _read_outcome(path: Path) -> Outcome | None:
    """What a worker kept; None where there is no such file or it is damaged."""
    try:
        outcome = Outcome(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    numbers = (outcome.accuracy, outcome.lost, outcome.loss, outcome.seconds)
    return outcome if all(isinstance(number, float | int) for number in numbers) else None


def _carry_out(jobs: Sequence[Job], train: ImageSet, test: ImageSet, count: int) -> Iterator[None]:
    """Carry out `jobs` in `count` processes, and yield after each one."""
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
            arm, seed, path = waiting.get_nowait()
        except queue.Empty:
            return
        job = {"arm": plain(arm), "seed": seed, "path": str(path)}
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
    """A file with the images, for processes that have nothing else in common.

    It is a draft that never takes its name: after a sweep that was killed the next one sweeps it.
    """
    tensors = {
        f"{name}_{part}": getattr(images, part)
        for name, images in (("train", train), ("test", test))
        for part in ("images", "labels")
    }
    content = serialized(tensors, class_names=train.class_names)
    path = build_folder() / "ablations" / "images.safetensors"
    with ExitStack() as stack:
        with writing(path):
            draft = stack.enter_context(temporary_beside(path))
            draft.write_bytes(content)
        yield draft


@contextmanager
def _workers(images: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """`count` processes with one thread each; they are gone when the block is left."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    workers: list[subprocess.Popen[str]] = []
    try:
        with hidden_launchers():
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
