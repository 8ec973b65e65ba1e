"""Where weights came from, and the name that they have for it."""

import hashlib
import platform
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from internals import environment, fingerprint
from internals.data.image_set import ImageSet, Splits
from internals.errors import CheckpointError, TrainingError
from internals.models.lookup import MODELS
from internals.training.checkpoint import check_record
from internals.training.recipe import Recipe, plain

PACKAGES = ["torch", "torchvision", "lightning-fabric", "numpy"]

# Modules that cannot change a number: editing them is no reason to train again.
_NO_NUMBERS = {
    "internals.errors",
    "internals.files",
    "internals.progress",
    "internals.environment",
    "internals.fingerprint",
    "internals.lazy",
    "internals.models.weights_file",
    "internals.training.checkpoint",
}


@dataclass(frozen=True)
class Provenance:
    """All that went into a set of weights, and what they reached on the test images (shares)."""

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
    weights_sha256: str  # of the tensors' bytes, in the order of their names
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

    @property
    def compute(self) -> "Compute":
        """What decided the last bits besides the rest."""
        device = self.device.partition(":")[0]
        threads = self.threads if device == "cpu" else 0
        return Compute(device, self.precision, threads, self.devices)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Provenance":
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: When a fact is missing or of another type, or these are no facts.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or names - values.keys():
            missing = sorted(names - values.keys()) if isinstance(values, dict) else ["all facts"]
            raise CheckpointError(f"provenance lacks {', '.join(missing)}; train again")
        try:
            check_record(cls, values)
        except ValueError as error:
            raise CheckpointError(f"provenance is none ({error}); train again") from error
        return cls(**{name: values[name] for name in names})


@dataclass(frozen=True)
class Compute:
    """What decides the last bits of a training run besides its recipe, data, code and seed.

    Args:
        device: The kind of device: "cpu", "cuda" or "mps".
        precision: Fabric's name for it: "bf16-mixed" or "32-true".
        threads: How many threads share the sums of an operation; 0 where the device decides.
        processes: How many processes share each batch.
    """

    device: str
    precision: str
    threads: int
    processes: int

    @classmethod
    def of(cls, fabric: Fabric) -> "Compute":
        """That of `fabric` with torch's present number of threads."""
        kind = fabric.device.type
        threads = torch.get_num_threads() if kind == "cpu" else 0
        return cls(kind, str(fabric.strategy.precision.precision), threads, fabric.world_size)

    @classmethod
    def parse(cls, name: str) -> "Compute | None":
        """The one that a weights folder of this `name` ends in; None where it ends in none."""
        if (
            found := re.search(r"-(cpu|cuda|mps)-(32|bf16)(?:-(\d+)t)?(?:-x(\d+))?$", name)
        ) is None:
            return None
        device, bits, threads, processes = found.groups()
        precision = {"32": "32-true", "bf16": "bf16-mixed"}[bits]
        return cls(device, precision, int(threads or 0), int(processes or 1))

    def is_but_for_threads(self, other: "Compute") -> bool:
        """Whether a run of `other` can go on here, once it has as many threads as there."""
        return replace(self, threads=other.threads) == other

    def __str__(self) -> str:
        parts = [self.device, self.precision.partition("-")[0]]
        parts += [f"{self.threads}t"] * bool(self.threads)
        parts += [f"x{self.processes}"] * (self.processes > 1)
        return "-".join(parts)


def weights_folder(recipe: Recipe, splits: Splits, seed: int, compute: Compute) -> Path:
    """Where the weights of a run are kept: two runs that could differ share no folder."""
    key = weights_key(recipe, splits, seed)
    return environment.weights_folder() / f"{recipe.network}-{key}-{compute}"


def weights_folders(recipe: Recipe, splits: Splits, seed: int) -> list[Path]:
    """The folders of all runs of `recipe` by this code, whatever their compute; fetched ones last.

    Weights that were fetched are taken like those of this machine: the key says that they are what
    the same code makes of the same images.
    """
    name = f"{recipe.network}-{weights_key(recipe, splits, seed)}"
    return [*_folders(environment.weights_folder(), name), *fetched_folders(name)]


def fetched_folders(name: str) -> list[Path]:
    """The folders of weights that were fetched whose names begin with `name` and a hyphen."""
    return _folders(environment.fetched_folder(), name)


def all_weights_folders(network: str) -> list[Path]:
    """The folders of all runs of `network`, by whatever recipe and code."""
    return _folders(environment.weights_folder(), network)


def weights_key(recipe: Recipe, splits: Splits, seed: int) -> str:
    """A name for the weights that `recipe` gives; other code, data or seeds give another."""
    images = [hash_images(splits.train), hash_images(splits.validation)]
    return fingerprint.digest([plain(recipe), code_key(recipe), images, seed])


def code_key(recipe: Recipe) -> str:
    """A hash of all code that decides the weights: the network's, the loop's, the choices'."""
    if recipe.network not in MODELS:
        raise TrainingError(f"no network {recipe.network!r}; there are {', '.join(MODELS)}")
    choices = (recipe.optimizer, recipe.schedule, recipe.loss, recipe.adversary)
    modules = {type(choice).__module__ for choice in choices if choice is not None}
    return hash_code([MODELS[recipe.network][0], "internals.training.loop", *sorted(modules)])


def hash_code(modules: Iterable[str]) -> str:
    """A hash of the first-party code that `modules` reach, without what changes no number."""
    ours = [name for name in modules if name.partition(".")[0] == fingerprint.PACKAGE]
    reach = fingerprint.reach(modules=ours)
    packages = {name.rpartition(".")[0] for name in reach.modules}
    return fingerprint.digest(
        {
            name: code
            for name, code in reach.modules.items()
            if name not in _NO_NUMBERS and name not in packages  # whose files only name others
        }
    )


def hash_images(images: ImageSet) -> str:
    """A hash that tells apart the sets of one data set: hold-outs, halves, orders, sizes.

    The fingerprint stands for the pixels of the data set as a whole, so of each image its shape,
    its label and its middle row are enough, and a set of gigabytes is told in a moment.
    """
    middle = images.images[:, :, images.images.shape[2] // 2]
    digest = hashlib.sha256(repr((images.fingerprint, tuple(images.images.shape))).encode())
    digest.update(images.labels.contiguous().numpy().data)
    digest.update(middle.contiguous().numpy().data)
    return digest.hexdigest()


def _folders(place: Path, name: str) -> list[Path]:
    return sorted(folder for folder in place.glob(f"{name}-*") if folder.is_dir())
