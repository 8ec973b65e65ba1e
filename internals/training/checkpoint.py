"""Weights and unfinished runs on disk: written whole, read without running anything."""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from internals.errors import CheckpointError
from internals.files import temporary_beside, write_atomically, writing
from internals.training.provenance import Provenance

_CHECKSUM = 32  # bytes of a SHA-256


class _Summed:
    """A file that knows the SHA-256 of what was written to it, so that none of it is kept twice."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self.sum.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write an unfinished run's `state` (tensors, numbers, strings) to `path`, atomically.

    Raises `OutputError` when it cannot be written; the checkpoint before it stays.
    """
    with writing(path), temporary_beside(path) as draft:
        with draft.open("wb") as file:
            summed = _Summed(file)
            torch.save(state, cast(IO[bytes], summed))
            # torch reads a tensor with a flipped bit without a word: a checksum stands at the end.
            file.write(summed.sum.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)


def tensor_bytes(state: object) -> int:
    """The size of all tensors in a checkpoint's `state`, or in a part of it."""
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(tensor_bytes, state.values())) if isinstance(state, dict) else 0


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; nothing but tensors and plain values is unpickled.

    Raises `CheckpointError` when the file is damaged.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    view = memoryview(stored)
    content, checksum = view[:-_CHECKSUM], view[-_CHECKSUM:]
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
    save_tensors(path, model.state_dict(), provenance=provenance.to_dict())


def load_weights(path: Path, model: nn.Module) -> Provenance:
    """Fill `model` with the weights at `path` and return where they came from.

    Raises `CheckpointError` when the file is missing, damaged, without provenance, or of another
    network; the model is then unchanged.
    """
    state, facts = _read_tensors(path)
    if "provenance" not in facts:
        raise CheckpointError(f"{path} does not say where its weights came from; train again")
    try:
        provenance = Provenance.from_dict(json.loads(facts["provenance"]))
    except ValueError as error:
        raise CheckpointError(f"{path} has a broken provenance ({error}); train again") from error
    _check_fit(path, model, state)
    _check_sum(path, state, facts)
    model.load_state_dict(state)
    return provenance


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """Write named `tensors` as safetensors, atomically, with `facts` and a checksum beside them."""
    state = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    metadata = {name: json.dumps(fact) for name, fact in facts.items()}
    write_atomically(
        path, safetensors.torch.save(state, metadata={**metadata, "sha256": _sha256(state)})
    )


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts that `save_tensors` wrote to `path`.

    Raises `CheckpointError` when the file is missing or damaged.
    """
    state, facts = _read_tensors(path)
    _check_sum(path, state, facts)
    try:
        return state, {k: json.loads(v) for k, v in facts.items() if k != "sha256"}
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete its folder") from error


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; train the network first") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to train again") from error


def _check_sum(path: Path, state: dict[str, Tensor], facts: dict[str, str]) -> None:
    if facts.get("sha256") != _sha256(state):
        raise CheckpointError(f"{path} is damaged (its checksum differs); delete it to train again")


def _sha256(state: dict[str, Tensor]) -> str:
    """Of the tensors' bytes, in the order of their names: safetensors itself has no checksum."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_fit(path: Path, model: nn.Module, state: dict[str, Tensor]) -> None:
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
