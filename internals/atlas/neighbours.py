"""The same channel elsewhere: which channels of other networks answer the same pictures.

Two channels are as near as the correlation of their largest values on each picture, over all that
were mined. It is sought among the channels that are shown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from internals.atlas.stored import MAXIMA, NEIGHBOURS, Neighbour, find_atlases
from internals.files import write_atomically

COUNT = 3  # of each channel
_DIGITS = 3  # of a correlation: more would differ from machine to machine
_BLOCK = 512  # channels that are compared with all others at a time


@dataclass(frozen=True)
class Responses:
    """What the shown channels of one layer answer to each picture.

    Args:
        network: Its name.
        layer: Its module path.
        maxima: The largest value of each channel on each picture.
    """

    network: str
    layer: str
    maxima: Float[np.ndarray, "channels pictures"]


def nearest(layers: Sequence[Responses], count: int = COUNT) -> dict[str, list[list[Neighbour]]]:
    """For each channel its nearest ones in other networks, the nearest first.

    Equal correlations are in the order of `layers`. A channel that answers all pictures alike has
    no neighbours and is nobody's.

    Args:
        layers: Of several networks, all over the same pictures.
        count: Neighbours a channel.

    Returns:
        By "network/layer" a row for each channel.
    """
    where = [(one, channel) for one in layers for channel in range(len(one.maxima))]
    unit = np.concatenate([_standardised(one.maxima) for one in layers])
    networks = np.array([one.network for one, _ in where])
    alive = np.abs(unit).max(axis=1) > 0
    rows: list[list[Neighbour]] = []
    for start in range(0, len(where), _BLOCK):
        block = np.round(unit[start : start + _BLOCK] @ unit.T, _DIGITS)
        block[:, ~alive] = -np.inf
        block[networks[start : start + _BLOCK, None] == networks[None]] = -np.inf
        block[~alive[start : start + _BLOCK]] = -np.inf
        order = np.argsort(-block, axis=1, kind="stable")[:, :count]
        for values, places in zip(block, order, strict=True):
            found = [place for place in places if np.isfinite(values[place])]
            rows.append([_neighbour(where[place], float(values[place])) for place in found])
    result: dict[str, list[list[Neighbour]]] = {}
    for (one, _), row in zip(where, rows, strict=True):
        result.setdefault(f"{one.network}/{one.layer}", []).append(row)
    return result


def find_neighbours(atlases: Path, work: Path) -> None:
    """Find those of all stored atlases whose maxima are kept, and write them beside the atlases.

    Networks are compared that were shown the same pictures.

    Args:
        atlases: The folder of all atlases.
        work: The folder with the work folder of each network.

    Raises:
        InternalsError: An atlas is damaged, or the file cannot be written.
    """
    sets: dict[str, list[Responses]] = {}
    found: dict[str, list[list[Neighbour]]] = {}
    for atlas in find_atlases(atlases):
        maxima = _kept_maxima(work / atlas.network / MAXIMA, atlas.record["key"])
        if maxima is None:  # made elsewhere: what was found there stays
            found |= {f"{atlas.network}/{name}": rows for name, rows in atlas.neighbours.items()}
            continue
        sets.setdefault(atlas.pictures.fingerprint, []).extend(
            Responses(atlas.network, layer.name, maxima[layer.name][: layer.shown])
            for layer in atlas.main
        )
    for layers in sets.values():
        if len({one.network for one in layers}) > 1:
            found |= nearest(layers)
    if found or (atlases / NEIGHBOURS).exists():
        text = json.dumps(found, sort_keys=True, separators=(",", ":"))
        write_atomically(atlases / NEIGHBOURS, text + "\n")


def _kept_maxima(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """Those of the run that made an atlas, by layer; None where there are none."""
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _standardised(maxima: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1, so that products are correlations; constant rows become 0."""
    rows = maxima.astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    constant = length <= 1e-9 * np.abs(maxima).max(axis=1, initial=0)[:, None]
    return np.where(constant, 0.0, rows / np.where(constant, 1.0, length))


def _neighbour(where: tuple[Responses, int], correlation: float) -> Neighbour:
    one, channel = where
    return one.network, one.layer, channel, correlation
