"""Atlases as they lie on the disk: sealed, read, and refused where they are not what was stored.

    pictures/<fingerprint>.json.gz  the pictures mined, shared by the networks that were shown them
    neighbours.json               for shown channels the nearest ones of other networks
    <network>/atlas.json          the record, with a checksum of each file and one of its own
    <network>/channels.safetensors  of every channel of every convolution images, places and values
    <network>/<layer>.patches.webp, .projections.webp, .control.webp, .images.webp, ...: sheets
    <network>/overview.webp       of each main layer the strongest patch of the first channels

Nothing here needs torch, so that the site can be built without it.
"""

import dataclasses
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from internals.errors import OutputError
from internals.figures.sheets import Frame, Inset
from internals.files import put_back, write_atomically
from internals.fingerprint import digest, reach

RECORD, CHANNELS, OVERVIEW = "atlas.json", "channels.safetensors", "overview.webp"
PICTURES, NEIGHBOURS = "pictures", "neighbours.json"
MAXIMA = "maxima.safetensors"  # in a work folder: what neighbours are found by
FORM = 3  # of the record; one that is written otherwise has another

# The code that decides what is mined, and what is drawn of it: nothing that only shows an atlas.
MINING = (
    "internals.activations.", "internals.anatomy.", "internals.data.normalization",
    "internals.data.pipeline", "internals.atlas.mining",
)  # fmt: skip
_DECIDING = (
    *MINING, "internals.projection.", "internals.network", "internals.figures.sheets",
    "internals.figures.inks", "internals.atlas.make",
)  # fmt: skip

Box = tuple[int, int, int, int]
Size = tuple[int, int]
Neighbour = tuple[str, str, int, float]  # network, layer, channel, correlation


class DamagedAtlasError(OutputError):
    """A stored atlas that is not what was stored."""


class OldAtlasError(DamagedAtlasError):
    """A stored atlas of another form than today's."""


@dataclass(frozen=True)
class PictureList:
    """The pictures that were mined.

    Args:
        name: What the set is called.
        classes: The names of its classes.
        files: The file name of every picture, by its number.
        labels: The class number of every picture.
        notice: Whose they are, to be printed beside them.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    notice: str = ""

    @property
    def fingerprint(self) -> str:
        """Its name on the disk."""
        return digest(asdict(self))


@dataclass(frozen=True)
class AtlasLayer:
    """One layer of an atlas.

    Args:
        name: Its module path.
        kind: In words: "3 x 3 convolution, stride 2".
        channels: How many there are.
        map: Height and width of its maps.
        field: Size, stride and start of its receptive fields, two numbers each (rows, columns) in
            pixels of the image; None where none can be stated.
        whole: Whether its tiles are whole images, because the field is larger or unknown.
        tile: Height and width of its tiles (unit: their own pixels).
        grey: Whether pictures have one channel.
        rectified: Whether a unit whose value is not above 0 is silent.
        normaliser: The module path of the normalisation that is given its output; "" for none.
        scales: For each shown channel the magnitude of full ink, and whether any is larger.
        control_scales: Likewise, of the control.
        sheets: The files of its sheets: "patches", "projections", perhaps "control", "images",
            "optimised".
        main: Whether it has sheets.
        image_size: Height and width of the network's input.
        image: Numbers of the strongest pictures of each channel, (channels, k).
        row: Where in its map, likewise.
        column: Likewise.
        value: What it reaches there, likewise.
        fires: Of how many pictures of each class it is above 0 after its normalisation, (channels,
            classes); None where that has no meaning.
        excited: Of how many pictures of each class a shown channel reaches half of its largest
            value, after its normalisation, (shown, classes); None likewise.
        optimised: What each shown channel's middle unit reaches on the picture made for it; empty
            where none were made.
    """

    name: str
    kind: str
    channels: int
    map: Size
    field: Mapping[str, Size] | None
    whole: bool
    tile: Size
    grey: bool
    rectified: bool
    normaliser: str
    scales: tuple[tuple[float, bool], ...]
    control_scales: tuple[tuple[float, bool], ...]
    sheets: Mapping[str, str]
    main: bool
    image_size: Size
    image: np.ndarray = dataclasses.field(repr=False, compare=False)
    row: np.ndarray = dataclasses.field(repr=False, compare=False)
    column: np.ndarray = dataclasses.field(repr=False, compare=False)
    value: np.ndarray = dataclasses.field(repr=False, compare=False)
    fires: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
    excited: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
    optimised: tuple[float, ...] = ()

    @property
    def shown(self) -> int:
        """How many channels, from the first, have tiles."""
        return len(self.scales)

    def excitement(self, channel: int) -> np.ndarray | None:
        """`excited` of a channel that is shown; None where it has no meaning or never fires."""
        if self.excited is None or channel >= len(self.excited):
            return None
        return self.excited[channel] if self.excited[channel].any() else None

    def box(self, channel: int, place: int) -> Box:
        """(top, left, bottom, right) of the field on the image, not clipped; or the whole image."""
        if self.whole or self.field is None:
            return 0, 0, *self.image_size
        position = int(self.row[channel, place]), int(self.column[channel, place])
        (height, width), stride, start = (self.field[name] for name in ("size", "stride", "start"))
        top, left = (first + step * at for first, step, at in zip(start, stride, position))  # noqa: B905
        return top, left, top + height, left + width

    def inset(self, channel: int, place: int) -> Inset:
        """How much of a tile lies outside the image: top, right, bottom, left in its own pixels."""
        top, left, bottom, right = self.box(channel, place)
        height, width = self.image_size
        above, before = max(-top, 0), max(-left, 0)
        size = min(bottom, height) - max(top, 0), min(right, width) - max(left, 0)
        return Frame((bottom - top, right - left), self.tile, (above, before), size).inset

    def silent(self, channel: int, place: int) -> bool:
        """Whether the unit does not fire even here, where the channel is strongest."""
        return self.rectified and float(self.value[channel, place]) <= 0


@dataclass(frozen=True)
class Atlas:
    """The atlas of one network.

    Args:
        folder: Where it lies.
        record: What `atlas.json` says: how the network was made, of which pictures, when.
        pictures: Those that were mined.
        layers: By name, in the order of depth.
        neighbours: "layer" to three neighbours of each shown channel; empty where none are known.
    """

    folder: Path
    record: Mapping[str, Any]
    pictures: PictureList
    layers: Mapping[str, AtlasLayer]
    neighbours: Mapping[str, list[list[Neighbour]]]

    @property
    def network(self) -> str:
        """The network's name, which is the folder's."""
        return self.folder.name

    @property
    def main(self) -> list[AtlasLayer]:
        """The layers that have sheets."""
        return [layer for layer in self.layers.values() if layer.main]


_TABLES = ("image", "row", "column", "value", "fires", "excited")
_LISTED = [f.name for f in fields(AtlasLayer) if f.name not in (*_TABLES, "image_size")]


def code_key(deciding: tuple[str, ...] = _DECIDING) -> str:
    """A hash of the code that decides what is in an atlas, the network's own aside.

    Args:
        deciding: What the names of its modules begin with.
    """
    modules = reach(modules=["internals.atlas.make"]).modules
    return digest({name: code for name, code in modules.items() if name.startswith(deciding)})


def atlas_state(folder: Path) -> str:
    """How a network's stored atlas relates to the code of today.

    Returns:
        "fresh", "stale", "missing" or "damaged".
    """
    if not (folder / RECORD).exists():
        return "missing"
    try:
        return "fresh" if read_atlas(folder).record.get("code") == code_key() else "stale"
    except OldAtlasError:
        return "stale"
    except DamagedAtlasError:
        return "damaged"


def seal_atlas(folder: Path, record: Mapping[str, Any], layers: Iterable[AtlasLayer]) -> None:
    """Write the tables and the record of an atlas whose sheets are in `folder` already.

    Args:
        folder: The folder of one network.
        record: What is told of it; `input` is (channels, height, width) of its pictures, and
            `pictures` the fingerprint of a `PictureList` beside it.
        layers: In the order of depth.

    Raises:
        OutputError: A file cannot be written.
    """
    from safetensors.numpy import save

    layers = list(layers)
    tables = {
        f"{layer.name}/{name}": np.ascontiguousarray(_packed(name, table))
        for layer in layers
        for name in _TABLES
        if (table := getattr(layer, name)) is not None
    }
    write_atomically(folder / CHANNELS, save(tables))
    names = sorted(path.name for path in folder.iterdir() if path.name != RECORD)
    listed = [{name: _plain(getattr(layer, name)) for name in _LISTED} for layer in layers]
    sealed = {
        **{name: part for name, part in record.items() if name != "checksum"},
        "form": FORM,
        "layers": listed,
        "files": {name: _sha256(folder / name) for name in names},
    }
    sealed["checksum"] = digest(sealed)
    write_atomically(folder / RECORD, json.dumps(sealed, indent=1, sort_keys=True) + "\n")


def write_pictures(atlases: Path, pictures: PictureList) -> None:
    """Write the list of the pictures mined into the folder of all atlases."""
    path = _list_file(atlases, pictures.fingerprint)
    if not path.exists():
        write_atomically(path, gzip.compress(json.dumps(asdict(pictures)).encode(), mtime=0))


def _list_file(atlases: Path, fingerprint: str) -> Path:
    return atlases / PICTURES / f"{fingerprint}.json.gz"


def prune_pictures(atlases: Path) -> None:
    """Remove the lists of pictures that no atlas names any more."""
    used = set()
    for path in atlases.glob(f"[!.]*/{RECORD}"):
        try:
            used.add(json.loads(path.read_text(encoding="utf-8"))["pictures"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return  # whose pictures these are is not known
    wanted = {_list_file(atlases, fingerprint) for fingerprint in used}
    for path in (atlases / PICTURES).glob("[!.]*"):
        if path not in wanted:
            path.unlink(missing_ok=True)


def find_atlases(atlases: Path) -> list[Atlas]:
    """The atlases in the folder of all, in the order of their names; none where it is missing.

    Raises:
        DamagedAtlasError: One of them is not what was stored.
    """
    put_back(atlases)
    return [read_atlas(path.parent) for path in sorted(atlases.glob(f"[!.]*/{RECORD}"))]


def read_atlas(folder: Path) -> Atlas:
    """The atlas of one network.

    Raises:
        DamagedAtlasError: There is none, or it is not what was stored.
    """
    if not folder.exists():
        put_back(folder.parent)
    record = _checked_record(folder)
    try:
        pictures = _read_pictures(folder.parent, record["pictures"])
        layers = _read_layers(folder, record)
        _check_numbers(layers, pictures)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedAtlasError(f"{folder / RECORD} is not the record of an atlas") from error
    neighbours = _read_neighbours(folder.parent, folder.name)
    return Atlas(folder, record, pictures, layers, neighbours)


def layer_json(atlas: Atlas, name: str) -> dict[str, Any]:
    """One layer as plain values: of every channel pictures, places, values and classes.

    Returns:
        `channels` has for each channel the numbers of its pictures in `files`, strongest first,
        their rows and columns on the layer's map, and values; `fires` of how many pictures of each
        of `classes` it is above 0, and if it is shown `excited` of how many it reaches half of its
        largest value.
    """
    layer, pictures = atlas.layers[name], atlas.pictures
    numbers = np.unique(layer.image)
    places = {int(number): place for place, number in enumerate(numbers)}
    channels = []
    for channel in range(layer.channels):
        entry: dict[str, Any] = {
            "images": [places[int(number)] for number in layer.image[channel]],
            "rows": layer.row[channel].tolist(),
            "columns": layer.column[channel].tolist(),
            "values": [float(f"{value:.6g}") for value in layer.value[channel]],
        }
        if layer.fires is not None:
            entry["fires"] = layer.fires[channel].tolist()
        if (excited := layer.excitement(channel)) is not None:
            entry["excited"] = excited.tolist()
        channels.append(entry)
    return {
        "network": atlas.network,
        "layer": name,
        "kind": layer.kind,
        "map": list(layer.map),
        "field": _plain(layer.field),
        "pictures": pictures.name,
        "mined": len(pictures.files),
        "classes": list(pictures.classes),
        "files": [pictures.files[number] for number in numbers],
        "labels": [pictures.labels[number] for number in numbers],
        "channels": channels,
    }


def _checked_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedAtlasError(
            f"{folder} holds no atlas; make one with `internals atlas`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedAtlasError(f"{path} cannot be read; make it again") from error
    if not isinstance(record, dict) or not isinstance(record.get("form"), int):
        raise DamagedAtlasError(f"{path} is not the record of an atlas; make it again")
    if record["form"] != FORM:
        raise OldAtlasError(f"{path} is not the record of an atlas of today; make it again")
    unsealed = {name: part for name, part in record.items() if name != "checksum"}
    if record.get("checksum") != digest(unsealed):
        raise DamagedAtlasError(f"{path} is not what was stored; make it again")
    for name, wanted in record["files"].items():
        try:
            found = _sha256(folder / name)
        except OSError:
            raise DamagedAtlasError(f"{folder / name} cannot be read; make it again") from None
        if found != wanted:
            raise DamagedAtlasError(f"{folder / name} is not what was stored; make it again")
    return record


def _read_pictures(atlases: Path, fingerprint: str) -> PictureList:
    path = _list_file(atlases, fingerprint)
    try:
        values = json.loads(gzip.decompress(path.read_bytes()))
        classes, files, labels = (tuple(values[name]) for name in ("classes", "files", "labels"))
        pictures = PictureList(values["name"], classes, files, labels, values["notice"])
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, RecursionError):
        raise DamagedAtlasError(f"{path} cannot be read; make it again") from None
    if pictures.fingerprint != fingerprint:
        raise DamagedAtlasError(f"{path} is not what was stored; make it again")
    return pictures


def _read_layers(folder: Path, record: Mapping[str, Any]) -> dict[str, AtlasLayer]:
    from safetensors.numpy import load

    tables = load((folder / CHANNELS).read_bytes())
    size = tuple(record["input"][1:])
    layers = {}
    for listed in record["layers"]:
        values: dict[str, Any] = {name: _tupled(listed[name]) for name in _LISTED}
        own: dict[str, Any] = {name: tables.get(f"{listed['name']}/{name}") for name in _TABLES}
        own |= {name: own[name].astype(np.int64) for name in ("image", "row", "column")}
        layers[listed["name"]] = AtlasLayer(**values, **own, image_size=size)
    return layers


def _check_numbers(layers: Mapping[str, AtlasLayer], pictures: PictureList) -> None:
    """Raise `ValueError` where a picture's number is none of those listed."""
    for layer in layers.values():
        shapes = {getattr(layer, name).shape for name in ("image", "row", "column", "value")}
        if len(shapes) != 1 or shapes.pop()[0] != layer.channels:
            raise ValueError("tables of different shapes")
        if layer.image.size and int(layer.image.max()) >= len(pictures.files):
            raise ValueError("a picture that is not listed")


def _read_neighbours(atlases: Path, network: str) -> dict[str, list[list[Neighbour]]]:
    """Those of a network's layers; nothing where they are missing, which is no damage."""
    try:
        known = json.loads((atlases / NEIGHBOURS).read_text(encoding="utf-8"))
        own = {key: rows for key, rows in known.items() if key.partition("/")[0] == network}
        return {
            key.partition("/")[2]: [[tuple(one) for one in row] for row in rows]
            for key, rows in own.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        path = atlases / NEIGHBOURS
        raise DamagedAtlasError(f"{path} cannot be read; make it again") from None


def _packed(name: str, table: np.ndarray) -> np.ndarray:
    """A table in as few bytes as hold its numbers."""
    if name == "value":
        return table.astype(np.float32)
    return table.astype(np.min_scalar_type(int(table.max(initial=0))))


def _plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value


def _tupled(value: Any) -> Any:
    """The inverse of `_plain`, but for lists that were none before."""
    if isinstance(value, dict):
        return {name: _tupled(part) for name, part in value.items()}
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
