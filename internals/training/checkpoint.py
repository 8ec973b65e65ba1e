"""Weights and unfinished runs on disk: written whole, read without running anything."""

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from internals.errors import CheckpointError
from internals.files import write_atomically
from internals.training.provenance import Provenance

_CHECKSUM = 32  # bytes of a SHA-256


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write an unfinished run's `state` (tensors, numbers, strings) to `path`, atomically.

    Raises `OutputError` when it cannot be written; the checkpoint before it stays.
    """

    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    # torch reads a tensor with a flipped bit without a word, so a checksum stands at the end.
    write_atomically(path, content + hashlib.sha256(content).digest())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; nothing but tensors and plain values is unpickled.

    Raises `CheckpointError` when the file is damaged.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    content, checksum = stored[:-_CHECKSUM], stored[-_CHECKSUM:]
    try:
        if hashlib.sha256(content).digest() != checksum:
            raise ValueError("the checksum does not fit")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint of ours; delete it to train from the start"
        ) from error


def save_weights(path: Path, model: nn.Module, provenance: Provenance) -> None:
    """Write the model's weights as safetensors with their `provenance` in its metadata."""
    state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    metadata = {"provenance": json.dumps(provenance.to_dict()), "sha256": _sha256(state)}
    write_atomically(path, safetensors.torch.save(state, metadata=metadata))


def load_weights(path: Path, model: nn.Module) -> Provenance:
    """Fill `model` with the weights at `path` and return where they came from.

    Raises `CheckpointError` when the file is missing, damaged, without provenance, or of another
    network; the model is then unchanged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; train the network first") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to train again") from error
    if "provenance" not in metadata:
        raise CheckpointError(f"{path} does not say where its weights came from; train again")
    try:
        provenance = Provenance.from_dict(json.loads(metadata["provenance"]))
    except ValueError as error:
        raise CheckpointError(f"{path} has a broken provenance ({error}); train again") from error
    _check_fit(path, model, state)
    if metadata.get("sha256") != _sha256(state):
        raise CheckpointError(f"{path} is damaged (its checksum differs); delete it to train again")
    model.load_state_dict(state)
    return provenance


def _sha256(state: dict[str, torch.Tensor]) -> str:
    """Of the tensors' bytes, in the order of their names: safetensors itself has no checksum."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_fit(path: Path, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    ours = {name: tensor.shape for name, tensor in model.state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in state.items()}
    if ours != theirs:
        odd = sorted(
            name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
        )
        raise CheckpointError(
            f"{path} holds weights of another network than {type(model).__name__}: "
            f"{odd[0]!r} differs; name the network it was trained as"
        )
