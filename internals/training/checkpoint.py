"""Weights and unfinished runs on disk: written whole, summed whole, read without running anything.

Two kinds of file. A *checkpoint* is what `torch.save` makes of an unfinished run's state, with a
SHA-256 at its end. *Tensors* are safetensors with facts in their metadata, under one SHA-256 that
covers names, shapes, facts and numbers alike: safetensors itself has no checksum.
"""

import errno
import hashlib
import io
import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, BinaryIO, cast, get_args, get_origin

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from internals.errors import CheckpointError
from internals.files import temporary_beside, write_atomically, writing
from internals.models.weights_file import checksum

_CHECKSUM = 32  # bytes of a SHA-256

# What the values of a field may be once they have been in a file.
_WRITTEN: dict[Any, tuple[type, ...]] = {float: (float, int), tuple: (tuple, list)}

# What torch and safetensors raise for content that is not what it should be.
UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError,
    AttributeError, AssertionError, ArithmeticError, struct.error, zipfile.BadZipFile,
    SafetensorError,
)  # fmt: skip


class _Summed:
    """A file that knows the SHA-256 of what was written to it, so that none of it is kept twice.

    torch turns an error of the file system into one of its own that does not say what happened;
    `error` remembers the true one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        self.sum.update(content)
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        try:
            self.file.flush()
        except OSError as error:
            self.error = error
            raise


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write an unfinished run's state, atomically.

    Args:
        path: The file; what was there before stays until the new one is whole.
        state: Tensors, numbers and strings, in dictionaries and lists.

    Raises:
        OutputError: When it cannot be written, on a full disk for example.
    """
    with writing(path), temporary_beside(path) as draft:
        # Buffered: what a disk that fills up takes of a bare write may be less than it was given.
        with draft.open("wb") as file:
            summed = _Summed(file)
            try:
                torch.save(state, cast(IO[bytes], summed))
            except RuntimeError:
                if summed.error is not None:
                    raise summed.error from None
                raise
            # torch reads a tensor with a flipped bit without a word: a checksum stands at the end.
            file.write(summed.sum.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)


def load_checkpoint(path: Path, remedy: str = "") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; nothing but tensors and plain values is unpickled.

    Args:
        path: The file.
        remedy: What helps when it is damaged; by default to delete it, for an unfinished run.

    Raises:
        CheckpointError: When the file cannot be read or is damaged.
    """
    remedy = remedy or "delete it to train from the start"
    try:
        _require_file(path)
        stored = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    view = memoryview(stored)
    content, checksum = view[:-_CHECKSUM], view[-_CHECKSUM:]
    try:
        if hashlib.sha256(content).digest() != checksum:
            raise ValueError("the checksum does not fit")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint of ours; {remedy}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of ours; {remedy}")
    return state


def _require_file(path: Path) -> None:
    """Raise `OSError` for what is no file: a pipe of this name would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))


def tensor_bytes(state: object) -> int:
    """The size of all tensors in a checkpoint's `state`, or in a part of it."""
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(tensor_bytes, state.values())) if isinstance(state, dict) else 0


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """Write named tensors as safetensors, atomically.

    Args:
        path: The file.
        tensors: What to write, from any device.
        facts: Whatever JSON can hold, kept in the file's metadata.

    Raises:
        OutputError: When it cannot be written.
    """
    write_atomically(path, serialized(tensors, **facts))


def serialized(tensors: Mapping[str, Tensor], **facts: Any) -> bytes:
    """What `save_tensors` writes."""
    state = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    metadata = {name: json.dumps(fact, sort_keys=True) for name, fact in facts.items()}
    metadata["sha256"] = checksum(state, metadata)
    return safetensors.torch.save(state, metadata=metadata)


def load_tensors(path: Path, remedy: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts that `save_tensors` wrote.

    Args:
        path: The file.
        remedy: What helps when it is damaged; by default to delete it, for what `trained` makes.

    Raises:
        CheckpointError: When the file is missing or damaged, in whatever part of it.
    """
    remedy = remedy or "delete it and it is made again"
    try:
        _require_file(path)
        with safetensors.safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; train the network first") from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}; {remedy}"
        ) from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged ({one_line(error)}); {remedy}") from error
    stated = metadata.pop("sha256", None)
    try:
        if stated != checksum(state, metadata):
            raise ValueError("its checksum differs")
        return state, {name: json.loads(fact) for name, fact in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({one_line(error)}); {remedy}") from error


def check_record(kind: type, values: Any) -> None:
    """Raise `ValueError` unless `values` are what `dataclasses.asdict` gave for a `kind`."""
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__} is {values!r}, not named values")
    for field in fields(kind):
        if field.name not in values:
            raise ValueError(f"{kind.__name__} lacks {field.name}")
        form: Any = get_origin(field.type) or field.type
        value = values[field.name]
        right = isinstance(value, _WRITTEN.get(form, form))
        if right and isinstance(value, tuple | list):
            right = all(isinstance(part, get_args(field.type)[0]) for part in value)
        if not right:
            raise ValueError(f"{field.name} of {kind.__name__} is {value!r}")


def one_line(error: Exception) -> str:
    """What a library below says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def save_weights(path: Path, model: nn.Module, **facts: Any) -> None:
    """Write the weights of `model` with `facts`, such as their provenance: see `save_tensors`."""
    save_tensors(path, model.state_dict(), **facts)


def load_weights(path: Path, model: nn.Module, remedy: str = "") -> dict[str, Any]:
    """Fill `model` with the weights at `path` and return the facts that are kept with them.

    Args:
        path: The file.
        model: A network of the kind that was saved.
        remedy: As for `load_tensors`.

    Raises:
        CheckpointError: When the file is missing, damaged, or of another network; the model is
            then unchanged.
    """
    state, facts = load_tensors(path, remedy)
    _check_fit(path, model, state)
    model.load_state_dict(state)
    return facts


def _check_fit(path: Path, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    ours = {name: tensor.shape for name, tensor in model.state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in state.items()}
    if ours != theirs:
        different = sorted(
            name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
        )
        raise CheckpointError(
            f"{path} holds weights of another network than {type(model).__name__}: "
            f"{different[0]!r} differs; name the network it was trained as"
        )
