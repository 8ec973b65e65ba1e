"""The strongest images of every channel, kept in a file with what they were found in."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from safetensors import SafetensorError

from internals.activations.ranking import Strongest
from internals.errors import DataError
from internals.files import write_atomically

_FIELDS = ("image", "row", "column", "value")


def save_strongest(path: Path, found: Mapping[str, Strongest], about: Mapping[str, str]) -> None:
    """Write what `strongest` found to `path` as safetensors, atomically.

    `about` says where it comes from: the model and its weights, the images, the versions. Raises
    `OutputError` when it cannot be written.
    """
    tensors = {
        f"{layer}/{field}": getattr(table, field).contiguous()
        for layer, table in found.items()
        for field in _FIELDS
    }
    metadata = {"layers": json.dumps(list(found)), "about": json.dumps(dict(about))}
    write_atomically(path, safetensors.torch.save(tensors, metadata=metadata))


def load_strongest(path: Path) -> tuple[dict[str, Strongest], dict[str, str]]:
    """Read what `save_strongest` wrote: the tables by layer, and what was said about them.

    Raises `DataError` when the file is missing, damaged or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            layers, about = json.loads(metadata["layers"]), json.loads(metadata["about"])
            tables = {
                layer: Strongest(layer, *(file.get_tensor(f"{layer}/{f}") for f in _FIELDS))
                for layer in layers
            }
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; save what strongest() found first") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is damaged or no file of strongest images; delete it and mine again"
        ) from error
    return tables, about
