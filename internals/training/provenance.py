"""Names for weights: two runs that could differ in one bit never share one."""

import hashlib
import platform
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from internals import environment, fingerprint
from internals.data.image_set import ImageSet, Splits
from internals.environment import build_folder
from internals.errors import CheckpointError
from internals.models.lookup import MODELS
from internals.training.recipe import Recipe

PACKAGES = ["torch", "torchvision", "lightning-fabric", "numpy"]


@dataclass(frozen=True)
class Provenance:
    """All that went into a set of weights, and what they reached on the test data (shares)."""

    network: str
    recipe: dict[str, Any]
    seed: int
    data: str
    data_fingerprint: str
    images: list[str]  # a hash each of those trained on and those held out
    code: str
    device: str
    devices: int
    precision: str
    threads: int
    epochs: int
    best_epoch: int
    seconds: float
    images_per_second: float
    metrics: dict[str, float]
    versions: dict[str, str]
    python: str
    machine: str
    commit: str
    finished: str

    @classmethod
    def now(cls, **facts: Any) -> "Provenance":
        """The given facts, with those of this machine and moment added."""
        return cls(
            versions=environment.versions(PACKAGES),
            python=platform.python_version(),
            machine=environment.machine(),
            commit=environment.commit(),
            finished=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            **facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Provenance":
        """The inverse of `to_dict`; raises `CheckpointError` when a fact is missing."""
        names = {field.name for field in fields(cls)}
        if names - values.keys():
            raise CheckpointError(
                f"provenance lacks {', '.join(sorted(names - values.keys()))}; train again"
            )
        return cls(**{name: values[name] for name in names})


# Modules that cannot change a number: editing them is no reason to train again.
_NO_NUMBERS = ("", "errors", "files", "progress", "environment", "fingerprint")


def weights_folder(recipe: Recipe, splits: Splits, seed: int) -> Path:
    """Where the weights that `recipe` gives are kept."""
    return build_folder() / "weights" / f"{recipe.network}-{weights_key(recipe, splits, seed)}"


def weights_key(recipe: Recipe, splits: Splits, seed: int) -> str:
    """A name for the weights that `recipe` gives; other code, data or seeds give another."""
    images = [content(splits.train), content(splits.validation)]
    return fingerprint.digest([deciding(recipe), code_key(recipe.network), images, seed])


def deciding(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the weights: what the paper did changes nothing that we do."""
    return {name: value for name, value in asdict(recipe).items() if name != "paper"}


def content(images: ImageSet) -> str:
    """A hash that tells apart the sets of one data set: hold-outs, halves, orders, sizes.

    The fingerprint stands for the pixels of the data set as a whole, so of each image its shape,
    its label and its middle row are enough, and a set of gigabytes is told in a moment.
    """
    middle = images.images[:, :, images.images.shape[2] // 2]
    found = hashlib.sha256(repr((images.fingerprint, tuple(images.images.shape))).encode())
    found.update(images.labels.contiguous().numpy().data)
    found.update(middle.contiguous().numpy().data)
    return found.hexdigest()


def code_key(network: str) -> str:
    """A hash of all code that decides the weights: the network's, the loop's, their imports'."""
    reach = fingerprint.reach(modules=[MODELS[network][0], "internals.training.loop"])
    return fingerprint.digest(
        {
            name: code
            for name, code in reach.modules.items()
            if name.removeprefix("internals").removeprefix(".") not in _NO_NUMBERS
        }
    )
