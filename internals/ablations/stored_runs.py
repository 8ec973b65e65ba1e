"""Where the outcome of each run is kept, and under which name."""

import json
from dataclasses import asdict
from pathlib import Path

from internals import fingerprint
from internals.ablations.settings import Settings
from internals.ablations.single_run import Outcome
from internals.data.images import ImageSet
from internals.environment import build_folder
from internals.files import write_atomically
from internals.training.identity import content

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
