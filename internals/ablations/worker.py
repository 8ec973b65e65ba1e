"""A process of the sweep: it reads one run a line, makes it, and answers with one line.

It is started as `python -m internals.ablations.worker IMAGES`, not forked or spawned, so that a
chapter need not be guarded against being imported by its own children.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from internals.ablations.plan import Settings
from internals.ablations.single_run import run_once
from internals.ablations.sweep import write_outcome
from internals.data.image_set import ImageSet
from internals.errors import InternalsError
from internals.training.checkpoint import load_tensors


def main() -> None:
    """Work through standard input; an expected failure is answered, not raised."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    tensors, facts = load_tensors(Path(sys.argv[1]))
    train, test = (_images(tensors, name, facts["class_names"]) for name in ("train", "test"))
    for line in sys.stdin:
        job = json.loads(line)
        try:
            outcome = run_once(Settings(**job["settings"]), train, test, job["seed"])
            write_outcome(Path(job["path"]), outcome)
            answer = ""
        except InternalsError as error:
            answer = str(error)
        print(json.dumps(answer), flush=True)


def _images(tensors: dict[str, Tensor], name: str, class_names: list[str]) -> ImageSet:
    images, labels = tensors[f"{name}_images"], tensors[f"{name}_labels"]
    return ImageSet(images, labels, tuple(class_names), name, fingerprint="")


if __name__ == "__main__":
    main()
