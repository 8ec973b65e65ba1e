"""A trained network: found on disk if these very weights were made before, trained if not."""

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from internals.data.image_set import Splits
from internals.data.normalization import InputMap
from internals.data.pipeline import Pipeline
from internals.errors import CheckpointError
from internals.files import write_atomically, writing
from internals.models.lookup import build
from internals.training.batches import first
from internals.training.checkpoint import load_tensors, load_weights, save_tensors, save_weights
from internals.training.distributed import from_first, make_fabric
from internals.training.evaluate import Metrics, evaluate
from internals.training.loop import History, train
from internals.training.losses import Loss, build_loss
from internals.training.provenance import Provenance, code_key, content, deciding, weights_folder
from internals.training.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """A network with its weights, how they were made, and what they score on the test images."""

    model: nn.Module
    recipe: Recipe
    loss: Loss
    pipeline: Pipeline
    history: History
    test: Metrics
    provenance: Provenance

    @property
    def normalization(self) -> InputMap:
        """The map from pixels to the network's input."""
        return self.pipeline.normalization


def trained(
    recipe: Recipe,
    splits: Splits,
    *,
    seed: int = 0,
    folder: Path | None = None,
    fabric: Fabric | None = None,
) -> Run:
    """The network of `recipe` trained on `splits`; a second call finds the weights and is quick.

    Weights, input statistics and test answers lie in `folder`, by default
    `build/weights/<network>-<key>`, where the key covers the network's code, the recipe, the
    training code, the data and the seed. A run that was killed goes on from its last checkpoint.
    `fabric` says on which devices, by default the fastest one; of several processes (`on_devices`)
    each calls this. Raises `TrainingError`, `CheckpointError` or `OutputError`.
    """
    folder = folder or weights_folder(recipe, splits, seed)
    torch.manual_seed(seed)
    model = build(recipe.network, **dict(recipe.arguments))
    if not (folder / "weights.safetensors").exists():
        fabric = fabric or make_fabric()
        # Told before the work, not after its first epoch.
        from_first(fabric, lambda: _made(folder))
        _make(model, recipe, splits, seed, folder, fabric)
    return _found(model, recipe, splits, seed, folder)


def _made(folder: Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _make(
    model: nn.Module, recipe: Recipe, splits: Splits, seed: int, folder: Path, fabric: Fabric
) -> None:
    """Train, test, and write all that a later call needs; the weights last but one."""
    code = code_key(recipe.network)  # as it is before the work: it may be edited meanwhile
    checkpoint = folder / "checkpoint.pt"
    history, pipeline = train(
        model, recipe, splits.train, splits.validation, fabric, seed=seed, checkpoint=checkpoint
    )

    def finish() -> None:
        test = _test(model, recipe, splits, pipeline, fabric)
        provenance = _account(recipe, splits, history, test, fabric, seed=seed, code=code)
        save_tensors(folder / "statistics.safetensors", pipeline.state())
        _write_test(folder, test, splits)
        write_atomically(folder / "history.json", json.dumps(history.to_rows(), indent=1))
        model.to("cpu")
        save_weights(folder / "weights.safetensors", model, provenance)
        # Last: killed before this line, the next run ends in the same weights.
        checkpoint.unlink(missing_ok=True)

    from_first(fabric, finish)
    model.to("cpu")


def _found(model: nn.Module, recipe: Recipe, splits: Splits, seed: int, folder: Path) -> Run:
    """The run whose weights are in `folder`, as if it had just been made."""
    provenance = load_weights(folder / "weights.safetensors", model)
    _check_same_run(folder / "weights.safetensors", provenance, recipe, splits, seed)
    # As a network that was built, not trained: results that follow have the same last bits.
    model.to(memory_format=torch.contiguous_format)
    statistics, _ = load_tensors(folder / "statistics.safetensors")
    pipeline = Pipeline.from_state(recipe.pipeline, recipe.size, statistics)
    history = _read_history(folder / "history.json", provenance.epochs)
    test = _read_test(folder, splits)
    if test is None:  # other test images than those of the run that made the weights
        test = _test(model, recipe, splits, pipeline, make_fabric())
    return Run(model, recipe, build_loss(recipe), pipeline, history, test, provenance)


def _test(
    model: nn.Module, recipe: Recipe, splits: Splits, pipeline: Pipeline, fabric: Fabric
) -> Metrics:
    images = first(splits.test, recipe.most_tested)
    precision = fabric.autocast() if recipe.test_precision == "as trained" else nullcontext()
    model.to(fabric.device)
    with precision:
        found = evaluate(model, build_loss(recipe), images, pipeline, crops=recipe.crops)
    model.to("cpu")
    return found


def _write_test(folder: Path, test: Metrics, splits: Splits) -> None:
    arrays = {"predicted": test.predicted, "confidence": test.confidence}
    save_tensors(
        folder / "test.safetensors",
        {name: torch.from_numpy(array) for name, array in arrays.items()},
        images=content(splits.test),
        numbers={"loss": test.loss, "top1": test.top1, "top_k": test.top_k, "k": test.k},
        confusion=test.confusion.tolist(),
    )


def _read_test(folder: Path, splits: Splits) -> Metrics | None:
    """What the network answered; None where it was asked about other images."""
    tensors, facts = load_tensors(folder / "test.safetensors")
    if facts["images"] != content(splits.test):
        return None
    return Metrics(
        confusion=np.array(facts["confusion"]),
        predicted=tensors["predicted"].numpy(),
        confidence=tensors["confidence"].numpy(),
        **facts["numbers"],
    )


def _account(
    recipe: Recipe, splits: Splits, history: History, test: Metrics, fabric: Fabric, **facts: Any
) -> Provenance:
    speeds = history.column("images_per_second")
    return Provenance.now(
        network=recipe.network,
        recipe={**asdict(recipe), "paper": dict(recipe.paper)},
        data=splits.train.name,
        data_fingerprint=splits.train.fingerprint,
        images=[content(splits.train), content(splits.validation)],
        device=str(fabric.device),
        devices=fabric.world_size,
        precision=fabric.strategy.precision.precision,
        threads=torch.get_num_threads(),
        epochs=len(history.epochs),
        best_epoch=history.best.number,
        seconds=round(sum(history.column("seconds")), 1),
        images_per_second=round(median(speeds), 1),
        metrics=test.numbers(),
        **facts,
    )


def _check_same_run(
    path: Path, provenance: Provenance, recipe: Recipe, splits: Splits, seed: int
) -> None:
    """A folder named by hand may hold the weights of another run: refuse them."""
    found = {name: value for name, value in provenance.recipe.items() if name != "paper"}
    images = [content(splits.train), content(splits.validation)]
    same = (provenance.seed, provenance.images) == (seed, images)
    if not same or found != json.loads(json.dumps(deciding(recipe))):
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
