"""A trained network: found on disk if these very weights were made before, trained if not."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from internals import fingerprint
from internals.data.images import ImageSet, Splits
from internals.data.normalization import Normalization
from internals.environment import build_folder
from internals.errors import CheckpointError
from internals.files import write_atomically, writing
from internals.models.catalogue import MODELS, build
from internals.training.checkpoint import load_weights, save_weights
from internals.training.device import best_precision, make_fabric
from internals.training.history import History
from internals.training.loop import train
from internals.training.losses import Loss, build_loss
from internals.training.metrics import Metrics, evaluate
from internals.training.provenance import Provenance
from internals.training.recipe import Recipe

# Modules that cannot change a number: editing them is no reason to train again.
_NO_NUMBERS = ("", "errors", "files", "progress", "environment", "fingerprint")


@dataclass(frozen=True)
class Run:
    """A network with its weights, how they were made, and what they score on the test images."""

    model: nn.Module
    recipe: Recipe
    loss: Loss
    normalization: Normalization
    history: History
    test: Metrics
    provenance: Provenance


def trained(recipe: Recipe, splits: Splits, *, seed: int = 0, folder: Path | None = None) -> Run:
    """The network of `recipe` trained on `splits`; a second call finds the weights and is quick.

    Weights lie in `folder`, by default `build/weights/<network>-<key>`, where the key covers the
    network's code, the recipe, the training code, the data and the seed. A run that was killed goes
    on from its last epoch. Raises `TrainingError`, `CheckpointError` or `OutputError`.
    """
    code = code_key(recipe.network)
    folder = folder or weights_folder(recipe, splits, seed)
    torch.manual_seed(seed)
    model = build(recipe.network)
    loss, normalization = build_loss(recipe), Normalization.from_range(*recipe.input_range)
    weights, epochs = folder / "weights.safetensors", folder / "history.json"
    if weights.exists():
        provenance = load_weights(weights, model)
        _check_same_run(weights, provenance, recipe, splits, seed)
        history = _read_history(epochs, provenance.epochs)
        test = evaluate(model, loss, splits.test, normalization)
        return Run(model, recipe, loss, normalization, history, test, provenance)

    with writing(folder):  # told before the work, not after its first epoch
        folder.mkdir(parents=True, exist_ok=True)
    fabric = make_fabric()
    checkpoint = folder / "checkpoint.pt"
    history = train(
        model, recipe, splits.train, splits.validation, fabric, seed=seed, checkpoint=checkpoint
    )
    model.to("cpu")
    test = evaluate(model, loss, splits.test, normalization)
    provenance = _account(
        recipe, splits, history, test, seed=seed, code=code, device=str(fabric.device)
    )
    write_atomically(epochs, json.dumps(history.to_rows(), indent=1))
    save_weights(weights, model, provenance)
    checkpoint.unlink()  # last: killed before this line, the next run ends in the same weights
    return Run(model, recipe, loss, normalization, history, test, provenance)


def _account(
    recipe: Recipe, splits: Splits, history: History, test: Metrics, **facts: Any
) -> Provenance:
    return Provenance.now(
        network=recipe.network,
        recipe={**asdict(recipe), "paper": dict(recipe.paper)},
        data=splits.train.name,
        data_fingerprint=splits.train.fingerprint,
        precision=best_precision(),
        threads=torch.get_num_threads(),
        epochs=len(history.epochs),
        best_epoch=history.best.number,
        seconds=round(sum(history.column("seconds")), 1),
        metrics=test.numbers(),
        **facts,
    )


def weights_folder(recipe: Recipe, splits: Splits, seed: int) -> Path:
    """Where the weights that `recipe` gives are kept."""
    return build_folder() / "weights" / f"{recipe.network}-{weights_key(recipe, splits, seed)}"


def weights_key(recipe: Recipe, splits: Splits, seed: int) -> str:
    """A name for the weights that `recipe` gives; other code, data or seeds give another."""
    parts = asdict(recipe)
    del parts["paper"]  # what the paper did does not change what we do
    images = [splits.train.fingerprint, _content(splits.train), _content(splits.validation)]
    return fingerprint.digest([parts, code_key(recipe.network), images, seed])


def _content(images: ImageSet) -> str:
    """A hash of pixels and labels: two hold-outs of one data set differ in nothing else."""
    found = hashlib.sha256(images.images.contiguous().numpy().data)
    found.update(images.labels.contiguous().numpy().data)
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


def _check_same_run(
    path: Path, provenance: Provenance, recipe: Recipe, splits: Splits, seed: int
) -> None:
    """A folder named by hand may hold the weights of another run: refuse them."""
    wanted = {name: value for name, value in asdict(recipe).items() if name != "paper"}
    found = {name: value for name, value in provenance.recipe.items() if name != "paper"}
    same = (provenance.seed, provenance.data_fingerprint) == (seed, splits.train.fingerprint)
    if not same or found != json.loads(json.dumps(wanted)):
        raise CheckpointError(
            f"{path} was trained with another recipe, seed or data; name another folder"
        )


def _read_history(path: Path, epochs: int) -> History:
    try:
        history = History.from_rows(json.loads(path.read_text()))
        if len(history.epochs) != epochs:
            raise ValueError(f"{len(history.epochs)} epochs, not {epochs}")
        return history
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}); delete its folder to train again"
        ) from error
