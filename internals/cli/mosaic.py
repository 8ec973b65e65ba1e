"""`internals mosaic`: a wall of what a network's layers answer to, from edges to objects."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from internals.cli.network import NetworkArgument, WeightsOption, open_network
from internals.cli.project import (
    DeviceOption,
    FolderOption,
    LeakyOption,
    LimitOption,
    RuleOption,
    SizeOption,
    TanhOption,
    check_size,
)
from internals.errors import AnatomyError, DataError, LayerError, OutputError
from internals.files import write_atomically, writing

if TYPE_CHECKING:
    from internals.activations.strongest import Strongest
    from internals.figures.mosaic import Band
    from internals.figures.patches import ChannelPatches
    from internals.network import Network

_LAYERS = 6  # that are shown when none are named
_CHOICE = 9  # strongest pictures of a channel, one of which is shown
_QUALITY = 46  # of the WebP: tiles are looked at from afar

OutOption = Annotated[Path, typer.Option(help="The picture to write: .webp.")]
LayersOption = Annotated[
    str, typer.Option(help="Such as conv2,conv5; by default six convolutions, evenly spread.")
]
LengthOption = Annotated[int, typer.Option(min=60, max=4000, help="Height of the picture.")]
LinesOption = Annotated[int, typer.Option(min=2, max=40, help="Of tiles a layer; an even number.")]
UprightOption = Annotated[
    Path | None,
    typer.Option(help="A second picture, for narrow pages: half of it, with depth downwards."),
]


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("mosaic")(mosaic)


def mosaic(
    network: NetworkArgument,
    images: FolderOption,
    out: OutOption,
    layers: LayersOption = "",
    length: LengthOption = 720,
    lines: LinesOption = 4,
    upright: UprightOption = None,
    rule: RuleOption = "guided",
    tanh: TanhOption = None,
    leaky: LeakyOption = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Draw a wall of projections and patches, ordered by depth, from a folder's pictures.

    Of each layer the first channels that fire are shown, each with one of its nine strongest
    pictures: the strongest that no channel before it shows and that holds the whole field.
    """
    from internals.data.folder import read_folder
    from internals.figures.mosaic import bands
    from internals.network import as_model_error

    if lines % 2:
        raise DataError(f"--lines {lines} is odd; half of the tiles are patches")
    targets = [out, *([upright] if upright else [])]
    for target in targets:
        _check_target(target)
    check_size(size)
    opened = open_network(network, weights, size=size, device=device)
    chosen = _layers(opened, layers)
    inputs, side, _ = opened.shape()
    if inputs not in (1, 3):
        raise DataError(f"{network} takes {inputs} channels; pictures have 1 or 3")
    if opened.random_weights:
        print(f"{network} has random weights; --weights FILE takes trained ones", file=sys.stderr)
    rules: dict[str, Any] = {"tanh": tanh, "leaky": leaky}
    _try_out(opened, chosen, rule, rules)
    plan = bands(len(chosen), length, lines)
    pictures = read_folder(images, side, grey=inputs == 1, limit=limit)
    with as_model_error(opened.name, opened.shape()):
        found = opened.strongest(pictures, chosen, _CHOICE)
        rows = []
        for layer, band in zip(chosen, plan, strict=True):
            top = _shown(opened, found[layer], band.pairs(length))
            rows.append(opened.patches(top, top.channels, rule, **rules))
    for target in targets:
        _write(target, plan, rows, length, upright=target is upright)
    for layer, channels in zip(chosen, rows, strict=True):
        print(f"{layer}: channels {_numbers([row.channel for row in channels])}")
    for target in targets:
        print(f"mosaic: {target}")


def _try_out(network: "Network", layers: Sequence[str], rule: str, rules: dict[str, Any]) -> None:
    """Refuse on a black image, not after the mining, what would be refused."""
    import torch

    from internals.activations.record import Unit
    from internals.network import as_model_error

    with as_model_error(network.name, network.shape()):
        for layer in layers:
            black = torch.zeros(1, *network.shape())
            network.project(black, [Unit(layer, 0)], rule, **rules)
    _ = network.normalization  # raises where it is missing


def _check_target(out: Path) -> None:
    if out.suffix.lower() != ".webp":
        raise OutputError(f"cannot write {out} as a mosaic; let its name end in .webp")
    with writing(out):
        if out.is_dir() or not out.absolute().parent.is_dir():
            raise OutputError(f"cannot write {out}; name a file in a folder that is there")


def _layers(network: "Network", names: str) -> list[str]:
    """The named layers, or convolutions evenly spread from the second to the last.

    The patches of the first one are too small to show anything but a colour.
    """
    from torch import nn

    if names:
        return list(dict.fromkeys(name.strip() for name in names.split(",")))
    found = [name for name, m in network.model.named_modules() if isinstance(m, nn.Conv2d)]
    found = found[1:] or found
    if not found:
        raise LayerError(f"{network.name} has no convolution; name its layers with --layers")
    steps = max(1, min(_LAYERS, len(found)) - 1)
    return list(dict.fromkeys(found[(len(found) - 1) * n // steps] for n in range(steps + 1)))


def _shown(network: "Network", top: "Strongest", count: int) -> "Strongest":
    """Of the first `count` channels that fire the one unit that is shown."""
    import torch

    inside = _inside(network, top)
    seen: set[int] = set()
    rows: list[int] = []
    ranks: list[int] = []
    for row, silent in enumerate(top.silent.tolist()):
        firing = [rank for rank, is_silent in enumerate(silent) if not is_silent]
        if not firing or len(rows) == count:
            continue
        images = top.image[row].tolist()
        rank = min(firing, key=lambda r: (images[r] in seen, not inside[row][r], r))
        seen.add(images[rank])
        rows.append(row)
        ranks.append(rank)
    if not rows:
        raise LayerError(f"no channel of layer {top.layer!r} fires; leave it out of --layers")
    taken, index = top[rows], torch.tensor(ranks)[:, None]
    return replace(
        taken,
        image=taken.image.gather(1, index),
        row=taken.row.gather(1, index),
        column=taken.column.gather(1, index),
        value=taken.value.gather(1, index),
    )


def _inside(network: "Network", top: "Strongest") -> list[list[bool]]:
    """Whether each unit's field lies within its image; of a field that is unclear, none does."""
    height, width = network.shape()[1:]
    try:
        field = network.receptive_field(top.layer)
    except AnatomyError:
        return [[False] * len(row) for row in top.image]
    return [
        [
            min(box[:2]) >= 0 and box[2] <= height and box[3] <= width
            for box in map(field.box, rows, columns)
        ]
        for rows, columns in zip(top.row.tolist(), top.column.tolist(), strict=True)
    ]


def _write(
    out: Path,
    plan: Sequence["Band"],
    rows: Sequence[Sequence["ChannelPatches"]],
    length: int,
    *,
    upright: bool,
) -> None:
    from internals.figures.mosaic import mosaic as drawn
    from internals.figures.sheets import to_webp

    if upright:  # the page is narrow: half of the lines, of at least one pair
        plan = [replace(band, lines=max(2, band.lines // 4 * 2)) for band in plan]
    pixels = drawn(list(zip(plan, rows, strict=True)), length, upright=upright)
    largest = max(band.tile for band in plan)
    write_atomically(out, to_webp(pixels, (largest, largest), _QUALITY))


def _numbers(channels: Sequence[int]) -> str:
    """`0-5, 8` for the numbers of the channels."""
    ranges: list[list[int]] = []
    for channel in channels:
        if ranges and channel == ranges[-1][1] + 1:
            ranges[-1][1] = channel
        else:
            ranges.append([channel, channel])
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in ranges)
