"""Weights from a file of anybody's making, read without running anything in it."""

import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from internals.errors import CheckpointError

_INSIDE = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before each name
_COUNTER = "num_batches_tracked"  # for training only, and older files have none


def fill(model: nn.Module, path: Path, *, unused: Iterable[str] = ()) -> None:
    """Fill `model` with the weights in the file at `path`.

    The file is .safetensors, or what `torch.save` wrote of a state dict, alone or under
    "state_dict". Names that begin with one of `unused` are passed over. Raises `CheckpointError`
    when the file is missing, damaged or of another network, naming the first tensor that does not
    fit; the model is then unchanged.
    """
    state = _unwrapped(_read(path), model)
    skipped = tuple(unused)
    state = {name: value for name, value in state.items() if not name.startswith(skipped)}
    _check_fit(path, model, state)
    complete = model.state_dict()  # with its notes on layout, which a bare file lacks
    complete.update(state)
    try:
        model.load_state_dict(complete)
    except (RuntimeError, ValueError) as error:  # what a module of the user's own may ask for
        raise CheckpointError(f"{path} does not fit: {_line(error)}") from error


def read_provenance(path: Path) -> dict[str, Any] | None:
    """What a file of weights trained by this package says of its making; None for any other."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})["provenance"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("recipe"), dict) else None


def _read(path: Path) -> dict[str, Any]:
    """The state dict in the file at `path`."""
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; name a file of weights") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than weights; save model.state_dict() alone"
        ) from error
    except (
        SafetensorError, OSError, RuntimeError, EOFError, KeyError, ValueError, AttributeError,
        IndexError, TypeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise CheckpointError(f"{path} cannot be read as weights: {_line(error)}") from error
    for key in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path} holds no state dict; save model.state_dict()")
    return dict(content)


def _unwrapped(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """The state with the names that the bare network has."""
    ours = model.state_dict()
    for prefix in _WRAPPERS:
        wrapped = all(name.startswith(prefix) for name in state)
        if wrapped and not all(name.startswith(prefix) for name in ours):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _check_fit(path: Path, model: nn.Module, state: Mapping[str, Any]) -> None:
    ours, theirs = _shapes(model.state_dict()), _shapes(state)
    for name in dict.fromkeys([*ours, *theirs]):
        here, there = ours.get(name), theirs.get(name)
        if here == there or (there is None and name.endswith(_COUNTER)):
            continue
        if there is None:
            how = f"{name!r} is missing"
        elif here is None:
            how = f"{name!r} is in the file only"
        else:
            how = f"{name!r} is {there} in the file and {here} in the network"
        raise CheckpointError(
            f"{path} holds weights of another network than {type(model).__name__}: {how}"
        )


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}


def _line(error: Exception) -> str:
    """The first sentence of what torch says, on one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
