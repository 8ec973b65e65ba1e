"""Weights from a file of anybody's making, read without running anything in it."""

import base64
import hashlib
import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from internals.errors import CheckpointError

_STATE_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
)  # under which training scripts save the weights
_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before each name
_COUNTER = "num_batches_tracked"  # for training only, and older files have none


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds, read once.

    Args:
        path: The file.
        state: Tensors by name.
        facts: What this package has written beside its own; empty for the files of others.
    """

    path: Path
    state: dict[str, Any]
    facts: dict[str, Any]

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What weights trained by this package record of their making; None for any other file."""
        record = self.facts.get("provenance")
        is_ours = isinstance(record, dict) and isinstance(record.get("recipe"), dict)
        return record if is_ours else None

    @property
    def statistics(self) -> dict[str, Tensor] | None:
        """The statistics of the images that they were trained on; None for any other file."""
        packed = self.facts.get("statistics")
        return unpack_tensors(packed) if isinstance(packed, str) else None


def open_weights(path: Path | str) -> WeightsFile:
    """Read a file of weights without running anything in it.

    Args:
        path: A .safetensors file, or what `torch.save` wrote of a state dict, alone or under
            "state_dict".

    Raises:
        CheckpointError: The file is missing or damaged, or holds no weights.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return _open_safetensors(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; name a file of weights") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than weights; save model.state_dict() alone"
        ) from error
    except (
        SafetensorError, OSError, RuntimeError, EOFError, KeyError, ValueError, AttributeError,
        IndexError, TypeError, AssertionError, struct.error, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise CheckpointError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    for key in _STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    is_state = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not is_state or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict; save model.state_dict()")
    return WeightsFile(path, dict(content), {})


def _open_safetensors(path: Path) -> WeightsFile:
    """Tensors, and the facts of a file of ours, whose checksum is that of all it holds."""
    with safetensors.safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    if "provenance" not in metadata:
        return WeightsFile(path, state, {})
    stated = metadata.pop("sha256", None)
    if stated != checksum(state, metadata):
        raise CheckpointError(
            f"{path} is damaged (its checksum differs); train again, or fetch it again"
        )
    return WeightsFile(path, state, {name: json.loads(fact) for name, fact in metadata.items()})


def fill(model: nn.Module, weights: WeightsFile, *, unused: Iterable[str] = ()) -> None:
    """Fill a network with the weights of a file.

    Args:
        model: The network to fill.
        weights: The file, opened.
        unused: Tensors whose names begin with one of these are passed over.

    Raises:
        CheckpointError: The weights are those of another network; the message names the first
            tensor that does not fit, and the network is unchanged.
    """
    path, state = weights.path, _unwrapped(weights.state, model)
    skipped = tuple(unused)
    state = {name: value for name, value in state.items() if not name.startswith(skipped)}
    _check_fit(path, model, state)
    complete = model.state_dict()  # with the versions of its modules, which a bare file lacks
    complete.update(state)
    try:
        model.load_state_dict(complete)
    except (RuntimeError, ValueError) as error:  # raised by a module of the user's own
        raise CheckpointError(f"{path} does not fit: {_first_line(error)}") from error


def _unwrapped(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """`state` without the prefixes that wrappers of the network put before each name."""
    own_names = model.state_dict()
    for prefix in _WRAPPERS:
        wrapped = all(name.startswith(prefix) for name in state)
        if wrapped and not all(name.startswith(prefix) for name in own_names):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _check_fit(path: Path, model: nn.Module, state: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for the first tensor that `model` and `state` do not share."""
    model_shapes, file_shapes = _shapes(model.state_dict()), _shapes(state)
    for name in dict.fromkeys([*model_shapes, *file_shapes]):
        in_model, in_file = model_shapes.get(name), file_shapes.get(name)
        if in_model == in_file or (in_file is None and name.endswith(_COUNTER)):
            continue
        if in_file is None:
            difference = f"{name!r} is missing"
        elif in_model is None:
            difference = f"{name!r} is in the file only"
        else:
            difference = f"{name!r} is {in_file} in the file and {in_model} in the network"
        raise CheckpointError(
            f"{path} holds weights of another network than {type(model).__name__}: {difference}"
        )


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}


def _first_line(error: Exception) -> str:
    """The first line of torch's message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def pack_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Small tensors as text, for the facts of a file."""
    state = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    return base64.b64encode(safetensors.torch.save(state)).decode()


def unpack_tensors(text: str) -> dict[str, Tensor]:
    """The inverse of `pack_tensors`.

    Raises:
        CheckpointError: When `text` is something else.
    """
    try:
        return safetensors.torch.load(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"packed tensors cannot be read ({error}); train again") from error


def hash_tensors(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the tensors' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous().cpu()
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checksum(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of everything a file of tensors holds: names, types, shapes, facts and numbers."""
    described = {
        name: (str(tensor.dtype), list(tensor.shape)) for name, tensor in sorted(state.items())
    }
    words = json.dumps([described, dict(metadata)], sort_keys=True)
    return hashlib.sha256((words + hash_tensors(state)).encode()).hexdigest()
