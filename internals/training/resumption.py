"""An unfinished run's state, tried on a copy of the network before a run goes on from it.

A checkpoint with a right checksum holds what its writer put there, and that may have been another
version of this package, or none. What would end a run in its first step is found here, by that
step: one with no gradient, on a copy that is thrown away.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from internals.data.image_set import ImageSet
from internals.errors import CheckpointError
from internals.training.checkpoint import UNREADABLE, check_record, load_checkpoint, one_line
from internals.training.evaluate import Epoch
from internals.training.loop import ReplayedSteps
from internals.training.recipe import Recipe, plain

_MEASURED_ON = 8  # images that show the form of a pipeline's statistics


def load_state(
    path: Path, model: nn.Module, recipe: Recipe, images: ImageSet, remedy: str = ""
) -> dict[str, Any]:
    """The state of an unfinished run, of which a run by `recipe` can go on.

    Args:
        path: The checkpoint.
        model: The network of `recipe`, whatever its weights; it is left alone.
        recipe: How it is trained.
        images: The training images.
        remedy: What helps when it cannot; by default to delete it.

    Raises:
        CheckpointError: When the file is damaged, or its content cannot be continued. A
            checkpoint of another recipe is not looked into: the loop refuses it by its name.
    """
    remedy = remedy or "delete it to train from the start"
    state = load_checkpoint(path, remedy)
    try:
        _require(isinstance(state["identity"], str), "its identity is no text")
        _require(isinstance(state["compute"], str), "what computed it is no text")
        if state["identity"].startswith(f"({plain(recipe)!r}, "):
            _try(state, model, recipe, images)
    except UNREADABLE as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else one_line(error)
        raise CheckpointError(f"{path} cannot be continued ({what}); {remedy}") from error
    return state


def _try(state: dict[str, Any], model: nn.Module, recipe: Recipe, images: ImageSet) -> None:
    for kind, name in ((Epoch, "history"), (ReplayedSteps, "replays")):
        _require(isinstance(state[name], list), f"its {name} is no list")
        for row in state[name]:
            check_record(kind, row)
            kind(**row)
    numbers = [row["number"] for row in state["history"]]
    _require(numbers == [*range(1, len(numbers) + 1)] != [], f"its epochs are {numbers}")
    check_statistics(state["statistics"], recipe, images)
    trial = copy.deepcopy(model)
    for name in ("selected", "model"):
        if state[name] or name == "model":
            trial.load_state_dict(state[name])
    if recipe.average is not None:
        AveragedModel(trial, use_buffers=True).load_state_dict(state["averaged"])
    optimizer = recipe.optimizer.build(trial)
    optimizer.load_state_dict(state["optimizer"])
    if any(group.get("fused") for group in optimizer.param_groups):
        _require_shapes(optimizer)
    for parameter in trial.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def check_statistics(statistics: dict[str, Tensor], recipe: Recipe, images: ImageSet) -> None:
    """Raise `ValueError` unless they have the form of those that `recipe` takes of `images`."""
    wanted = _forms(recipe.fit_pipeline(images.head(_MEASURED_ON)).state())
    found = _forms(statistics)
    _require(found == wanted, f"its statistics are {found}, not {wanted}")


def _require_shapes(optimizer: torch.optim.Optimizer) -> None:
    """What is kept of a weight is as large as the weight: fused steps write without looking."""
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            shape = () if name == "step" else parameter.shape
            right = isinstance(value, Tensor) and value.shape == shape
            _require(right or value is None, f"the optimiser's {name} has another shape")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _forms(tensors: dict[str, Tensor]) -> dict[str, tuple[list[int], str]]:
    return {name: (list(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()}
