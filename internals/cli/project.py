"""`internals project`: which pictures of a folder drive a layer, and which of their pixels."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from internals.activations.record import Unit
from internals.activations.strongest import strongest
from internals.anatomy.trace import only_calls
from internals.cli.network import (
    NetworkArgument,
    Shape,
    WeightsOption,
    find_device,
    foreign,
    has_random_weights,
    input_shape,
    normalization,
    open_network,
    tell_which,
)
from internals.data.image_set import ImageSet
from internals.data.normalization import InputMap, Normalized
from internals.errors import DataError, LayerError, OutputError
from internals.figures.illustration import FORMATS, on_paper
from internals.figures.patches import Evidence, panels
from internals.figures.table import Table, number
from internals.files import write_atomically
from internals.progress import Progress
from internals.projection.patches import gather_evidence
from internals.projection.project import project as project_units
from internals.projection.rules import Choice

_FIRST = 6  # channels that are shown when none are named
_NAMED = 60  # layers that one line of error can name
_TOGETHER = 8  # channels projected between two steps of the progress bar
_PIXELS = 32 * 224 * 224  # of a batch for mining: the first layers of VGG-16 then fit in 2 GB
# Lines of tiles, three tiles each, that a picture of 65,535 pixels (WebP: 16,383) has room for.
_ROOM = {".png": 120, ".webp": 30, ".pdf": 120, ".svg": 120}


@dataclass(frozen=True)
class Question:
    """What is asked of a network: of which layer, how many pictures a channel, by which rules."""

    network: str
    layer: str
    k: int
    choice: Choice
    random: bool  # whether the weights are


def check_target(out: Path) -> None:
    """Raise `OutputError` where `out` cannot be written, before any work is done for it."""
    if out.suffix.lower().removeprefix(".") not in FORMATS:
        known = ", ".join(f".{kind}" for kind in FORMATS)
        raise OutputError(f"cannot write {out} as a picture; let its name end in one of {known}")
    if out.is_dir():
        raise OutputError(f"cannot write {out}: it is a folder; name a file")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {out}: {above} is no folder that may be written to")


def check_room(out: Path, channels: int, k: int) -> None:
    """Raise `OutputError` where a panel of `channels` with `k` pictures each would be too high."""
    fit = _ROOM[out.suffix.lower()] // -(-k // 3)
    if channels > fit:
        raise OutputError(
            f"{out.suffix} has no room for {channels} channels of {k} pictures, "
            f"but for {fit}; name fewer with --channels, or lower --k"
        )


def choose_channels(model: nn.Module, asked: Question, shape: Shape, words: str) -> list[int]:
    """The channels that `words` ("0-5,8") names, the first six for none, checked with all the rest.

    Raises an `InternalsError` for an unknown layer or channel, a rule that the layer's network does
    not allow, and an input of `shape` that it does not take.
    """
    if shape[0] not in (1, 3):
        raise DataError(f"{asked.network} takes {shape[0]} channels; pictures have 1 or 3")
    if not asked.layer:
        raise LayerError(f"name a layer of {asked.network} with --layer: {_layers(model)}")
    with foreign(asked.network, shape):
        call = only_calls(model, [asked.layer], shape)[asked.layer]
        count = call.shape[1]
        chosen = _numbers(words) if words else list(range(min(count, _FIRST)))
        # One black image shows now, not after the mining, what would be refused.
        last = Unit(asked.layer, max(chosen))
        project_units(model, torch.zeros(1, *shape), [last], **asked.choice._asdict())
    return chosen


def gather(
    model: nn.Module,
    asked: Question,
    channels: Sequence[int],
    images: ImageSet,
    fed: InputMap,
) -> list[Evidence]:
    """The strongest units of `channels` in `images`, projected."""
    batch = max(1, min(256, _PIXELS // images.images[0, 0].numel()))
    inputs = Normalized(images, fed)
    found = strongest(model, inputs, [asked.layer], asked.k, batch=batch)[asked.layer]
    rows: list[Evidence] = []
    with Progress("projecting", len(channels), "channel", quiet=10) as bar:
        for start in range(0, len(channels), _TOGETHER):
            part = channels[start : start + _TOGETHER]
            rows += gather_evidence(model, images, fed, found, part, **asked.choice._asdict())
            bar.advance(len(part))
    return rows


def listing(rows: Sequence[Evidence], files: Sequence[str]) -> str:
    """The strongest pictures of each channel with their values, as aligned text."""
    lines = [
        (str(row.channel), f"#{image}", number(value), files[image])
        for row in rows
        for image, value in zip(row.images, row.values, strict=True)
    ]
    header = ("channel", "picture", "value", "file")
    return Table(
        header, tuple(lines), "Strongest first.", ("right", "right", "right", "left")
    ).text()


def write(out: Path, rows: Sequence[Evidence], asked: Question, images: ImageSet) -> None:
    """Draw the panel with its caption and write it to `out`."""
    shown = max(len(row.images) for row in rows)
    rule, *others = asked.choice
    named = [f"{key}: {way}" for key, way in zip(("tanh", "leaky"), others, strict=True) if way]
    by = f"{rule} ({', '.join(named)})" if named else rule
    of = f"{shown} of the {len(images):,} pictures in {images.name}"
    caption = (
        f"{asked.network}, layer {asked.layer}: for each channel the {of} that drive it hardest. "
        f"Each projection, by the rule {by}, shows what in its patch did so; "
        f"grey is zero. #n is the number of the picture.{' Random weights.' * asked.random}"
    )
    alt = (
        f"Projections and patches for {len(rows)} channels of layer {asked.layer} of "
        f"{asked.network}, {shown} pictures each."
    )
    illustration = panels(rows, caption=caption, alt=alt)
    write_atomically(out, on_paper(illustration, out.suffix.lower().removeprefix(".")))


def _numbers(words: str) -> list[int]:
    """ "0-2,8" as [0, 1, 2, 8]; each number once, in the order given."""
    chosen: list[int] = []
    for part in words.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(end.isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
            raise LayerError(f"--channels {words} is not a list of numbers and ranges like 0-5,8")
        chosen += range(int(ends[0]), int(ends[1]) + 1)
    return list(dict.fromkeys(chosen))


def _layers(model: nn.Module) -> str:
    """The convolutions of `model`, else its layers, as far as one line can name them."""
    leaves = {n: m for n, m in model.named_modules() if n and not list(m.children())}
    names = [n for n, m in leaves.items() if isinstance(m, nn.Conv2d)] or list(leaves)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


FolderOption = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Pictures of any kind and size.")
]
OutOption = Annotated[Path, typer.Option(help="The panel to write: .png, .webp, .pdf or .svg.")]
LayerOption = Annotated[
    str, typer.Option(help="Whose channels; left out, an error names those there are.")
]
ChannelsOption = Annotated[str, typer.Option(help="Such as 0-5,8; by default the first six.")]
CountOption = Annotated[int, typer.Option(min=1, help="Pictures a channel.")]
RuleOption = Annotated[str, typer.Option(help="guided, deconvnet or gradient.")]
TanhOption = Annotated[
    str | None, typer.Option(help="Where there is tanh: gradient, straight or agreeing.")
]
LeakyOption = Annotated[
    str | None, typer.Option(help="Where rectifiers leak: gradient, rectified or leaking.")
]
SizeOption = Annotated[
    int | None, typer.Option(min=1, help="Side in pixels; by default 224, or the network's.")
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B", help="Of pixels in 0..1; by default ImageNet's, or the network's."
    ),
]
StdOption = Annotated[str | None, typer.Option(metavar="R,G,B", help="Goes with --mean.")]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Read at most so many pictures, evenly spread.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("project")(project)


def project(
    network: NetworkArgument,
    images: FolderOption,
    out: OutOption,
    layer: LayerOption = "",
    channels: ChannelsOption = "",
    k: CountOption = 9,
    rule: RuleOption = "guided",
    tanh: TanhOption = None,
    leaky: LeakyOption = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Draw what drives a layer's channels hardest in a folder's pictures."""
    from internals.data.folder import read_folder
    from internals.projection.rules import Choice

    choice = Choice(rule, tanh, leaky)
    asked = Question(network, layer, k, choice, has_random_weights(network, weights))
    check_target(out)
    tell_which(network, weights)
    model = open_network(network, weights).to(find_device(device))
    shape = input_shape(network, model, size, weights)
    fed = normalization(network, shape, mean, std, weights)
    chosen = choose_channels(model, asked, shape, channels)
    check_room(out, len(chosen), k)
    pictures = read_folder(images, shape[1], grey=shape[0] == 1, limit=limit)
    if asked.random:
        print(f"{network} has random weights; --weights FILE takes trained ones", file=sys.stderr)
    rows = gather(model, asked, chosen, pictures.images, fed)
    print(listing(rows, pictures.files))
    write(out, rows, asked, pictures.images)
    print(f"panel: {out}")
