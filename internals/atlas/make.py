"""Making the atlas of one network: its pictures are mined once, and each layer drawn on sheets.

What is done is kept in a work folder, a piece of mining and a layer at a time, under a name that
covers all that decides it. The atlas itself appears whole, when all of its parts are there.
"""

import inspect
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from internals import environment, fingerprint
from internals.activations.record import Unit
from internals.activations.strongest import Strongest
from internals.anatomy.fields import Field
from internals.anatomy.trace import Call, TracedModule, only_calls
from internals.atlas.mining import Mined, mine
from internals.atlas.stored import (
    MAXIMA,
    MINING,
    OVERVIEW,
    RECORD,
    AtlasLayer,
    DamagedAtlasError,
    PictureList,
    code_key,
    prune_pictures,
    read_atlas,
    seal_atlas,
    write_pictures,
)
from internals.data.image_set import ImageSet
from internals.errors import InternalsError, LayerError
from internals.figures.inks import natural
from internals.figures.patches import ChannelPatches
from internals.figures.sheets import (
    Frame,
    patch_tile,
    projection_tiles,
    reduced,
    sheet,
    tile_size,
    to_webp,
)
from internals.files import new_folder, sweep_folder, write_atomically
from internals.models.weights_file import hash_tensors
from internals.network import Network
from internals.progress import Progress, silenced
from internals.projection.optimise import Optimised, middle_units, optimise
from internals.projection.optimise import expected_seconds as optimising_seconds
from internals.projection.project import project
from internals.projection.sanity import drawn_again

TILE, WHOLE_IMAGE, OVERVIEW_TILE, OVERVIEW_COLUMNS = 64, 96, 32, 16  # pixels; the last a count
PATCH_QUALITY, PROJECTION_QUALITY = 45, 55  # of WebP: a projection's faint noise may go
CONTROL_QUALITY = 40  # of noise nobody looks at the grain
_FOLLOWED = 16  # channels of a layer, from the first, whose maxima are kept at the least
_PACKAGES = ["torch", "torchvision", "numpy", "pillow"]


@dataclass(frozen=True)
class Subject:
    """What an atlas is made of, and how.

    Args:
        name: Of the folder: "resnet18".
        title: For headings: "ResNet-18".
        network: With its weights and its way to be fed.
        pictures: As it sees them.
        notice: Whose they are.
        layers: What is drawn, by module path; by default every convolution. The others are
            numbers only.
        shown: How many channels of each are drawn, from the first; None for all.
        controlled: How many of these are shown under random weights as well.
        k: Pictures a channel.
        rules: The keywords of `project`: rule, tanh, leaky.
        optimised: Layers, of those drawn, whose shown channels also have an image made for their
            middle unit.
        steps: Of making one.
        show_images: Whether whole pictures may be shown.
        untrained: Gives a network of other random weights; by default each layer draws its own
            again.
        facts: What else the record shall say: profile, recipe, score, command.
    """

    name: str
    title: str
    network: Network
    pictures: ImageSet
    notice: str = ""
    layers: Sequence[str] | None = None
    shown: int | None = 16
    controlled: int = 4
    k: int = 9
    rules: Mapping[str, Any] = field(default_factory=lambda: {"rule": "guided"})
    optimised: Sequence[str] = ()
    steps: int = 256
    show_images: bool = False
    untrained: Callable[[], nn.Module] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def picture_list(self) -> PictureList:
        """The pictures by name."""
        pictures = self.pictures
        names = pictures.files or tuple(f"picture {n}" for n in range(len(pictures)))
        labels = tuple(pictures.labels.tolist())
        return PictureList(pictures.name, pictures.class_names, names, labels, self.notice)


def convolutions(network: TracedModule) -> dict[str, Call]:
    """The convolutions of a network that can be looked into, in the order of their calls.

    Others are named on standard error, in one line each.
    """
    modules = dict(network.model.named_modules())
    usable: dict[str, Call] = {}
    for layer in network.trace():
        if not isinstance(modules.get(layer), nn.Conv2d):
            continue
        try:
            usable |= only_calls(network, [layer])
        except LayerError as error:
            print(f"skipped: {error}", file=sys.stderr)
    return usable


@dataclass(frozen=True)
class _Keys:
    """Names for all that decides what is kept: taken once, since code may be edited meanwhile.

    Args:
        code: That of the package.
        weights: The numbers.
        mined: What the pass over the pictures depends on.
        drawn: What a layer's sheets depend on.
        whole: What the atlas depends on.
    """

    code: str
    weights: str
    mined: str
    drawn: str
    whole: str

    @classmethod
    def of(cls, subject: Subject, layers: Sequence[str], drawn: Sequence[str]) -> "_Keys":
        pictures, network = subject.pictures, subject.network
        middle = pictures.images[:, :, pictures.images.shape[2] // 2].contiguous()
        weights = hash_tensors(network.model.state_dict())
        mined = fingerprint.digest(
            [
                code_key(MINING),
                _model_code(network.model),
                weights,
                _normalization_hash(network),
                subject.picture_list().fingerprint,
                pictures.fingerprint,
                hash_tensors({"middle": middle}),
                list(pictures.images.shape),
                list(layers),
                _followed(subject, drawn),
                subject.k,
            ]
        )
        rules = {name: value for name, value in subject.rules.items() if value}
        code = code_key()
        ways = [rules, subject.shown, subject.controlled, subject.show_images, subject.steps]
        sheets = fingerprint.digest([mined, code, *ways])
        facts = {name: fact for name, fact in subject.facts.items() if name != "command"}
        whole = fingerprint.digest(
            [sheets, list(drawn), list(subject.optimised), subject.title, facts]
        )
        return cls(code, weights, mined, sheets, whole)


def _followed(subject: Subject, drawn: Sequence[str]) -> dict[str, int]:
    """The layers whose maxima are kept, and of how many channels."""
    most = sys.maxsize if subject.shown is None else max(_FOLLOWED, subject.shown)
    calls = only_calls(subject.network, drawn)
    return {layer: min(calls[layer].shape[1], most) for layer in drawn}


def expected_seconds(subject: Subject) -> float:
    """About how long the atlas takes, by the time of one unit of the last layer, tried twice."""
    shape = subject.network.shape()
    drawn = list(convolutions(subject.network) if subject.layers is None else subject.layers)
    black, unit = torch.zeros(1, *shape), Unit(drawn[-1], 0)
    for _ in range(2):  # the first time is longer
        began = time.monotonic()
        project(subject.network, black, [unit], **subject.rules)
        seconds = time.monotonic() - began
    channels = [call.shape[1] for call in only_calls(subject.network, drawn).values()]
    units = sum(min(count, subject.shown or count) for count in channels) * subject.k
    making = 0.0
    for layer in subject.optimised:
        shown = range(subject.shown or only_calls(subject.network, [layer])[layer].shape[1])
        making += len(shown) * optimising_seconds(
            subject.network, middle_units(subject.network, layer, [0]), steps=subject.steps
        )
    return seconds * (units / 2 + len(subject.pictures) / 3) + making


def make_atlas(subject: Subject, atlases: Path, work: Path) -> Path:
    """Make the atlas of one network, or leave it as it is where nothing would change.

    Args:
        subject: What of.
        atlases: The folder of all atlases; this one's is below it.
        work: A folder for what is done so far, in which a stopped run goes on.

    Returns:
        The atlas's folder.

    Raises:
        InternalsError: The network, the pictures or the rules do not allow it, or a file cannot be
            written.
    """
    folder, began = atlases / subject.name, time.monotonic()
    calls = convolutions(subject.network)
    drawn = list(calls) if subject.layers is None else list(subject.layers)
    calls |= only_calls(subject.network, [layer for layer in drawn if layer not in calls])
    if not drawn:
        raise LayerError(f"{subject.title} has no convolution that can be looked into")
    keys = _Keys.of(subject, list(calls), drawn)
    if _is_made(folder, keys.whole):
        return folder
    sweep_folder(work)
    _forget(work, keys)
    sheets = work / f"drawn-{keys.drawn}"
    mined = _mined(subject, calls, drawn, work / f"mined-{keys.mined}")
    layers = _drawn(subject, calls, drawn, mined, sheets)
    layers = [_with_optimised(subject, layer, sheets) for layer in layers]
    names = subject.picture_list()
    write_pictures(atlases, names)
    record = {
        **subject.facts,
        "network": subject.name,
        "title": subject.title,
        "key": keys.whole,
        "code": keys.code,
        "weights": keys.weights,
        "pictures": names.fingerprint,
        "mined": len(names.files),
        "input": list(subject.network.shape()),
        "rules": dict(subject.rules),
        "k": subject.k,
        "shown": subject.shown,
        "random": subject.network.random_weights,
        "versions": environment.versions(_PACKAGES),
        "machine": environment.machine(),
        "commit": environment.commit(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "seconds": round(time.monotonic() - began, 1),
    }
    maxima = {layer: values.contiguous() for layer, values in mined.maxima.items()}
    write_atomically(work / MAXIMA, save(maxima, {"key": keys.whole}))
    with new_folder(folder) as draft:
        for name in (name for layer in layers for name in layer.sheets.values()):
            shutil.copyfile(sheets / name, draft / name)
        write_atomically(draft / OVERVIEW, _overview(subject, layers))
        seal_atlas(draft, record, layers)
    prune_pictures(atlases)
    return folder


def _forget(work: Path, keys: _Keys) -> None:
    """Remove what earlier runs of other code, weights or pictures have left in the work folder."""
    for path in [*work.glob("mined-*"), *work.glob("drawn-*")]:
        if path.name not in (f"mined-{keys.mined}", f"drawn-{keys.drawn}"):
            shutil.rmtree(path, ignore_errors=True)


def _is_made(folder: Path, key: str) -> bool:
    if not (folder / RECORD).exists():
        return False
    try:
        return read_atlas(folder).record.get("key") == key
    except DamagedAtlasError:
        return False


# Mining


def _mined(
    subject: Subject, calls: Mapping[str, Call], drawn: Sequence[str], folder: Path
) -> Mined:
    title = f"{subject.title}: mining"
    with Progress(title, len(subject.pictures), "picture", quiet=5) as bar, silenced():
        return mine(
            subject.network,
            subject.pictures,
            list(calls),
            subject.k,
            followed=_followed(subject, drawn),
            folder=folder,
            bar=bar,
        )


def _normalization_hash(network: TracedModule) -> str:
    """Of what becomes of a picture, whatever makes it."""
    ramp = torch.arange(256, dtype=torch.uint8).repeat(network.shape()[0], 1)[None, :, None, :]
    normalization = network.normalization
    image = getattr(normalization, "image", None)
    if image is not None:
        return hash_tensors({"image": image})
    assert normalization is not None
    return hash_tensors({"ramp": normalization.apply(ramp)})


def _model_code(model: nn.Module) -> list[str]:
    """Of the files that define the network's own modules; torch's are known by its version."""
    files = set()
    for kind in {type(module) for module in model.modules()}:
        if kind.__module__.partition(".")[0] in ("torch", "torchvision"):
            continue
        try:
            files.add(inspect.getsourcefile(kind))
        except (TypeError, OSError):
            continue
    hashes = [
        fingerprint.tree_hash(Path(file).read_text(encoding="utf-8")) for file in files if file
    ]
    return [str(environment.versions(["torch", "torchvision"])), *sorted(hashes)]


# Drawing


def _drawn(
    subject: Subject,
    calls: Mapping[str, Call],
    drawn: Sequence[str],
    mined: Mined,
    folder: Path,
) -> list[AtlasLayer]:
    """All layers, those in `drawn` with their sheets in `folder`."""
    shown = {layer: min(calls[layer].shape[1], subject.shown or sys.maxsize) for layer in drawn}
    k = mined.strongest[drawn[0]].image.shape[1]
    units = {layer: k * (count + min(count, subject.controlled)) for layer, count in shown.items()}
    control = _Control(subject)
    paths = {layer: folder / f"{layer}.json" for layer in drawn}
    done = [layer for layer in drawn if paths[layer].exists()]
    layers = []
    with Progress(f"{subject.title}: projecting", sum(units.values()), "unit", quiet=5) as bar:
        bar.start_at(sum(units[layer] for layer in done))
        for layer, call in calls.items():
            facts: dict[str, Any] = {"sheets": {}, "scales": (), "control_scales": ()}
            if layer in units:
                if layer not in done:
                    with silenced():
                        top = mined.strongest[layer]
                        _draw(subject, layer, call, top, shown[layer], control, folder)
                    bar.advance(units[layer])
                facts = json.loads(paths[layer].read_text(encoding="utf-8"))
            layers.append(_layer(subject, layer, call, mined, facts, main=layer in units))
    return layers


def _layer(
    subject: Subject,
    name: str,
    call: Call,
    mined: Mined,
    facts: Mapping[str, Any],
    *,
    main: bool,
) -> AtlasLayer:
    top, size = mined.strongest[name], subject.network.shape()
    known = call.field.public() if isinstance(call.field, Field) else None
    whole = _is_whole(call, size)
    field_size = size[1:] if whole or known is None else _pair(known.size)
    fires, excited = mined.fires.get(name), mined.excited.get(name)
    return AtlasLayer(
        name=name,
        kind=_kind(call),
        channels=call.shape[1],
        map=tuple((*call.shape[2:], 1, 1)[:2]),
        field=None
        if known is None
        else {part: _pair(getattr(known, part)) for part in ("size", "stride", "start")},
        whole=whole,
        tile=tile_size((field_size[0], field_size[1]), TILE),
        grey=size[0] == 1,
        rectified=call.is_rectified,
        normaliser=mined.normalisers.get(name, ""),
        scales=tuple(map(tuple, facts["scales"])),
        control_scales=tuple(map(tuple, facts["control_scales"])),
        sheets=facts["sheets"],
        main=main,
        image_size=(size[1], size[2]),
        image=top.image.numpy(),
        row=top.row.numpy(),
        column=top.column.numpy(),
        value=top.value.numpy(),
        fires=None if fires is None else fires.numpy(),
        excited=None if excited is None else excited[: len(facts["scales"])].numpy(),
    )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _is_whole(call: Call, shape: Sequence[int]) -> bool:
    """Whether tiles are whole images: `patches` shows them where a field exceeds the image."""
    if not isinstance(call.field, Field):
        return True
    height, width = _pair(call.field.public().size)
    return height > shape[1] or width > shape[2]


def _kind(call: Call) -> str:
    """A layer in words: "3 x 3 depthwise convolution, stride 2"."""
    module = call.module
    if not isinstance(module, nn.Conv2d):
        return type(module).__name__
    kernel, stride = (f"{a} x {b}" for a, b in (module.kernel_size, module.stride))
    sort = ""
    if module.groups > 1:
        sort = "depthwise " if module.groups == module.in_channels else "grouped "
    words = f"{kernel} {sort}convolution"
    if max(module.stride) > 1:
        square = module.stride[0] == module.stride[1]
        words += f", stride {module.stride[0] if square else stride}"
    return words + (f", dilation {module.dilation[0]}" if max(module.dilation) > 1 else "")


class _Control:
    """The network with other random weights, made when it is first needed."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._network: TracedModule | None = None
        self._failed = False

    def project(self, top: Strongest, whole: bool) -> list[np.ndarray] | None:
        """The units of `top` as pixels; None where the network draws no weights, or bad ones."""
        if self._failed:
            return None
        subject = self._subject
        images, units = top.image.flatten().tolist(), top.units()
        try:
            network = self._network = self._network or self._made()
            projections = project(
                network, subject.pictures, units, image_index=images, **subject.rules
            )
        except InternalsError as error:
            self._failed = True
            print(f"no control under random weights: {error}", file=sys.stderr)
            return None
        return [(p.full() if whole else p.pixels).numpy() for p in projections]

    def _made(self) -> TracedModule:
        subject = self._subject
        if subject.untrained is not None:
            return subject.network.with_model(subject.untrained())
        weighted = [
            path
            for path, module in subject.network.model.named_modules()
            if path and next(module.parameters(recurse=False), None) is not None
        ]
        other = drawn_again(subject.network.model, weighted, seed=1).eval()
        return subject.network.with_model(other.to(subject.network.device))


def _draw(
    subject: Subject,
    layer: str,
    call: Call,
    top: Strongest,
    shown: int,
    control: _Control,
    folder: Path,
) -> None:
    """Write the sheets of one layer, and last what is told of them."""
    rows = subject.network.patches(top, range(shown), **subject.rules)
    whole = _is_whole(call, subject.network.shape())
    tile, k = tile_size(rows[0].size, TILE), len(rows[0].images)
    frames = [_frames(row, tile) for row in rows]
    patches = [
        patch_tile(frame, patch)
        for row, own in zip(rows, frames, strict=True)
        for frame, patch in zip(own, row.patches, strict=True)
    ]
    projected = [
        projection_tiles(own, row.projections) for row, own in zip(rows, frames, strict=True)
    ]
    sheets = {
        "patches": to_webp(sheet(patches, tile, k), tile, PATCH_QUALITY, photographs=True),
        "projections": _projection_sheet(projected, tile, k, PROJECTION_QUALITY),
    }
    controlled = min(shown, subject.controlled)
    pixels = control.project(top[:controlled], whole)
    control_scales: list[tuple[float, bool]] = []
    if pixels is not None:
        others = [
            projection_tiles(own, pixels[start : start + k])
            for own, start in zip(frames[:controlled], range(0, len(pixels), k), strict=True)
        ]
        sheets["control"] = _projection_sheet(others, tile, k, CONTROL_QUALITY)
        control_scales = [(full, exceeded) for _, full, exceeded in others]
    if subject.show_images:
        sheets["images"] = _image_sheet(subject.pictures, [row.images[0] for row in rows])
    files = {kind: f"{layer}.{kind}.webp" for kind in sheets}
    for kind, content in sheets.items():
        write_atomically(folder / files[kind], content)
    facts = {
        "sheets": files,
        "scales": [(full, exceeded) for _, full, exceeded in projected],
        "control_scales": control_scales,
    }
    write_atomically(folder / f"{layer}.json", json.dumps(facts))


def _with_optimised(subject: Subject, layer: AtlasLayer, folder: Path) -> AtlasLayer:
    """The layer, with a sheet of an image for each shown channel where the subject has one."""
    if layer.name not in subject.optimised:
        return layer
    facts, name = folder / f"{layer.name}.optimised.json", f"{layer.name}.optimised.webp"
    if not facts.exists():
        units = middle_units(subject.network, layer.name, range(layer.shown))
        made = optimise(subject.network, units, pictures=subject.pictures, steps=subject.steps)
        tiles = [_made_tile(layer, one) for one in made]
        content = to_webp(sheet(tiles, layer.tile, 1), layer.tile, PATCH_QUALITY, photographs=True)
        write_atomically(folder / name, content)
        write_atomically(facts, json.dumps([one.value for one in made]))
    values = json.loads(facts.read_text(encoding="utf-8"))
    return replace(layer, sheets={**layer.sheets, "optimised": name}, optimised=tuple(values))


def _made_tile(layer: AtlasLayer, made: Optimised) -> np.ndarray:
    """The made image on its field, as a patch is on its own; whole where patches are."""
    whole = layer.whole or layer.field is None
    picture = made.full() if whole else made.picture
    size = layer.image_size if layer.field is None or whole else layer.field["size"]
    height, width = picture.shape[1:]
    offset = (0, 0) if whole else made.offset(size)
    frame = Frame(size, layer.tile, offset, (height, width))
    return patch_tile(frame, picture.float().div(255).numpy())


def _frames(row: ChannelPatches, tile: tuple[int, int]) -> list[Frame]:
    return [
        Frame(row.size, tile, offset, patch.shape[1:])
        for offset, patch in zip(row.offsets, row.patches, strict=True)
    ]


def _projection_sheet(
    channels: Iterable[tuple[list[np.ndarray], float, bool]],
    tile: tuple[int, int],
    k: int,
    quality: int,
) -> bytes:
    tiles = [content for contents, _, _ in channels for content in contents]
    return to_webp(sheet(tiles, tile, k), tile, quality)


def _image_sheet(pictures: ImageSet, numbers: Sequence[int]) -> bytes:
    """Whole pictures, one below the other."""
    height, width = pictures.images.shape[2:]
    tile = tile_size((height, width), WHOLE_IMAGE)
    tiles = [
        natural(reduced(pictures.images[number].float().div(255).numpy(), tile))
        for number in numbers
    ]
    return to_webp(sheet(tiles, tile, 1), tile, PATCH_QUALITY, photographs=True)


def _overview(subject: Subject, layers: Iterable[AtlasLayer]) -> bytes:
    """A row for each drawn layer: of its first channels the strongest patch."""
    tile, tiles = (OVERVIEW_TILE, OVERVIEW_TILE), []
    blank = patch_tile(Frame(tile, tile, (0, 0), tile), np.full((1, *tile), 128 / 255, np.float32))
    for layer in layers:
        if not layer.main:
            continue
        shown = [
            _overview_tile(subject, layer, c) for c in range(min(layer.shown, OVERVIEW_COLUMNS))
        ]
        tiles += shown + [blank] * (OVERVIEW_COLUMNS - len(shown))
    return to_webp(sheet(tiles, tile, OVERVIEW_COLUMNS), tile, PATCH_QUALITY, photographs=True)


def _overview_tile(subject: Subject, layer: AtlasLayer, channel: int) -> np.ndarray:
    top, left, bottom, right = layer.box(channel, 0)
    height, width = layer.image_size
    image = subject.pictures.images[int(layer.image[channel, 0])]
    piece = image[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    frame = Frame(
        (bottom - top, right - left),
        (OVERVIEW_TILE, OVERVIEW_TILE),
        (max(-top, 0), max(-left, 0)),
        (piece.shape[1], piece.shape[2]),
    )
    return patch_tile(frame, piece.float().div(255).numpy())
