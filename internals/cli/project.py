"""`internals project`: which pictures of a folder drive a layer, and which of their pixels.

torch and matplotlib take seconds to import, so only functions import what needs them.
"""

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from internals.cli.book import Profile
from internals.cli.network import NetworkArgument, WeightsOption, open_network
from internals.environment import memory
from internals.errors import DataError, LayerError, ModelError, OutputError
from internals.figures.table import Table, number
from internals.files import write_atomically, writing
from internals.progress import clock

if TYPE_CHECKING:
    from torch import nn

    from internals.data.image_set import ImageSet
    from internals.data.normalization import Normalization
    from internals.figures.patches import ChannelPatches
    from internals.network import Network
    from internals.projection.optimise import Optimised

_FIRST = 6  # channels that are shown when none are named
_NAMED = 60  # layers that one line of error can name
# Lines of tiles, three tiles each, that a picture of 65,535 pixels (WebP: 16,383) has room for.
_DIGITS = 18  # of a channel's number, at the most: more are none
_FLOAT = (2.0**-126, 2.0**127)  # what 32 bits hold in full precision, of either sign
_LONG = 5  # seconds, from which on it is said how long work will take
_MAPS = 8  # times the space of its input, at the least, that a network takes to look into one
_ROOM = {".png": 120, ".webp": 30, ".pdf": 120, ".svg": 120}

FolderOption = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Pictures of any kind and size.")
]
PicturesOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Pictures of any kind and size.")
]
RunOption = Annotated[
    Profile | None,
    typer.Option(
        help="In place of --images: the book's own run of MODEL, and the pictures it learnt from."
    ),
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
    int | None,
    typer.Option(min=1, help="Read at most so many pictures, evenly spread; of a run its first."),
]
OptimisedOption = Annotated[
    bool,
    typer.Option("--optimised", help="Add an image made from noise to drive each channel."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


@dataclass(frozen=True)
class PanelOptions:
    """What the panel is to show: of which layer which channels, how many pictures each, and how."""

    layer: str
    channels: str
    k: int
    rule: str
    tanh: str | None
    leaky: str | None

    @property
    def rules(self) -> dict[str, Any]:
        """The keywords of `project` that say what happens at non-linearities."""
        return {"rule": self.rule, "tanh": self.tanh, "leaky": self.leaky}

    def rule_name(self) -> str:
        """The rule in words, such as "guided (tanh: agreeing)"."""
        others = {"tanh": self.tanh, "leaky": self.leaky}
        named = ", ".join(f"{key}: {value}" for key, value in others.items() if value)
        return f"{self.rule} ({named})" if named else self.rule


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("project")(project)


def project(
    network: NetworkArgument,
    out: OutOption,
    images: PicturesOption = None,
    profile: RunOption = None,
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
    optimised: OptimisedOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Draw what drives a layer's channels hardest in a folder's pictures."""
    from internals.network import as_model_error

    options = PanelOptions(layer, channels, k, rule, tanh, leaky)
    check_target(out)
    if device == "meta":
        raise ModelError("--device meta computes no numbers to draw; leave it out")
    # Neither a network that opens in seconds nor a long list shall be in the way of a refusal.
    if channels:
        check_room(out, max(map(len, _ranges(channels))), k)
    check_size(size)
    if profile and not images:
        own = {"--weights": weights, "--size": size, "--mean": mean, "--std": std}
        opened, read = _book_run(network, profile, device, limit, own)
    elif images and not profile:
        opened = open_network(
            network, weights, size=size, normalization=read_normalization(mean, std), device=device
        )
        read = partial(read_pictures, opened, images, limit)
    else:
        raise DataError("name pictures with --images FOLDER, or a run of the book with --profile")
    chosen = choose_channels(opened, options)
    check_room(out, len(chosen), k)
    pictures = read()
    if opened.random_weights:
        print(f"{network} has random weights; --weights FILE takes trained ones", file=sys.stderr)
    with as_model_error(opened.name, opened.shape()):
        top = opened.strongest(pictures, [layer], k)[layer]
        patches = opened.patches(top, chosen, **options.rules)
        made = _optimised(opened, layer, chosen, pictures) if optimised else []
    # First the panel: it stays, even if what follows cannot be printed.
    _write(out, patches, opened, options, f"{len(pictures):,} pictures in {pictures.name}", made)
    print(_listing(patches, pictures.files or list(map("picture {}".format, range(len(pictures))))))
    for channel, one in zip(chosen, made, strict=False):
        print(f"optimised: channel {channel} reaches {number(one.value)}")
    print(f"panel: {out}")


def read_pictures(network: "Network", images: Path, limit: int | None) -> "ImageSet":
    """The pictures of a folder, as `network` takes them, with their files."""
    from internals.data.folder import read_folder

    inputs, side, _ = network.shape()
    folder = read_folder(images, side, grey=inputs == 1, limit=limit)
    return replace(folder.images, files=folder.files)


def _book_run(
    name: str, profile: str, device: str, limit: int | None, own: Mapping[str, object]
) -> "tuple[Network, Callable[[], ImageSet]]":
    """A network of the book with the weights of its run, and what gives its training pictures."""
    from internals.atlas.networks import book_run
    from internals.network import Network, find_device

    for option in (option for option, value in own.items() if value):
        raise DataError(f"{option} goes with --images; a run has its own, so leave it out")
    run, splits = book_run(name, profile)
    network = Network.of(run)
    network.model.to(find_device(device))
    return network, lambda: run.pipeline.view(splits.train.head(limit))


def _optimised(
    network: "Network", layer: str, channels: Sequence[int], pictures: "ImageSet"
) -> "list[Optimised]":
    """Images made for the units in the middle of some channels' maps."""
    from internals.projection.optimise import expected_seconds, middle_units, optimise

    units = middle_units(network, layer, channels)
    seconds = expected_seconds(network, units)
    if seconds > _LONG:
        print(f"{len(units)} optimised images: about {clock(seconds)}", file=sys.stderr, flush=True)
    return optimise(network, units, pictures=pictures)


def check_target(out: Path) -> None:
    """Raise `OutputError` where `out` cannot be written, before any work is done for it."""
    from internals.figures.illustration import FORMATS

    if out.suffix.lower().removeprefix(".") not in FORMATS:
        known = ", ".join(f".{kind}" for kind in FORMATS)
        raise OutputError(f"cannot write {out} as a picture; let its name end in one of {known}")
    with writing(out):  # a name may be too long to be asked about
        if out.is_dir():
            raise OutputError(f"cannot write {out}: it is a folder; name a file")
        if out.exists() and not out.is_file():  # it would be replaced, not written to
            raise OutputError(f"cannot write {out}: it is a pipe, socket or device; name a file")
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


def check_size(size: int | None) -> None:
    """Raise `DataError` where not even one picture of `size` pixels a side could be looked into."""
    there = memory()
    if size and there and 3 * 4 * size**2 * _MAPS > there:
        raise DataError(
            f"--size {size} needs more memory than the {there / 2**30:.0f} GiB of this machine; "
            "lower it"
        )


def choose_channels(network: "Network", options: PanelOptions) -> list[int]:
    """The channels that are to be shown, checked with all that the panel depends on.

    Raises an `InternalsError` for an unknown layer or channel, a rule that the network does not
    allow, a normalisation that is missing, and an input that the network does not take.
    """
    import torch

    from internals.activations.record import Unit
    from internals.anatomy.trace import only_calls
    from internals.network import as_model_error

    shape = network.shape()
    if shape[0] not in (1, 3):
        raise DataError(f"{network.name} takes {shape[0]} channels; pictures have 1 or 3")
    if not options.layer:
        raise LayerError(f"name a layer of {network.name} with --layer: {_layers(network.model)}")
    with as_model_error(network.name, shape):
        call = only_calls(network, [options.layer])[options.layer]
        named = [number for part in _ranges(options.channels) for number in part]
        chosen = list(dict.fromkeys(named)) or list(range(min(call.shape[1], _FIRST)))
        # One black image shows now, not after the mining, what would be refused.
        last = Unit(options.layer, max(chosen))
        network.project(torch.zeros(1, *shape), [last], **options.rules)
    _ = network.normalization  # raises where it is missing
    return chosen


def _ranges(words: str) -> list[range]:
    """The ranges that `words` names, such as 0 to 2 and 8 to 8 for "0-2,8"; none for ""."""
    ranges: list[range] = []
    for part in words.split(",") if words else []:
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(end.isdecimal() and len(end) <= _DIGITS for end in ends) or (
            int(ends[0]) > int(ends[1])
        ):
            raise LayerError(f"--channels {words} is not a list of numbers and ranges like 0-5,8")
        ranges.append(range(int(ends[0]), int(ends[1]) + 1))
    return ranges


def read_normalization(mean: str | None, std: str | None) -> "Normalization | None":
    """From "0.5,0.5,0.5" and "1,1,1"; None where neither is given."""
    from internals.data.normalization import Normalization

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise DataError("give --mean and --std together")
    means, deviations = _decimals("--mean", mean), _decimals("--std", std)
    if len(means) != len(deviations):
        raise DataError(
            f"--mean {mean} and --std {std} are not as many numbers; give one a channel"
        )
    smallest, largest = _FLOAT
    if not min(deviations) > 0:
        raise DataError(f"--std {std} must be above 0")
    if min(deviations) < smallest or max(map(abs, means + deviations)) > largest:
        raise DataError(f"--mean {mean} and --std {std} are beyond what 32 bits can hold")
    return Normalization(means, deviations)


def _decimals(option: str, words: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in words.split(","))
    except ValueError:
        raise DataError(f"{option} {words} is not numbers with commas between them") from None
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{option} {words} is not finite; give finite numbers")
    return numbers


def _layers(model: "nn.Module") -> str:
    """The convolutions of `model`, else its layers, as far as one line can name them."""
    from torch import nn

    leaves = {n: m for n, m in model.named_modules() if n and not list(m.children())}
    names = [n for n, m in leaves.items() if isinstance(m, nn.Conv2d)] or list(leaves)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _listing(patches: Sequence["ChannelPatches"], files: Sequence[str]) -> str:
    """The strongest pictures of each channel with their values, as aligned text."""
    lines = [
        (
            str(row.channel),
            f"#{row.images[n]}",
            f"{'silent  ' * row.is_silent(n)}{number(row.values[n])}",
            files[row.images[n]],
        )
        for row in patches
        for n in range(len(row.images))
    ]
    header = ("channel", "picture", "value", "file")
    return Table(
        header, tuple(lines), "Strongest first.", ("right", "right", "right", "left")
    ).text()


def _write(
    out: Path,
    patches: Sequence["ChannelPatches"],
    network: "Network",
    options: PanelOptions,
    mined: str,
    made: Sequence["Optimised"],
) -> None:
    """Draw the panel with its caption and write it to `out`."""
    from internals.figures.illustration import on_paper
    from internals.figures.patches import panels
    from internals.figures.portraits import Portrait, with_portraits

    shown = max(len(row.images) for row in patches)
    random = " Random weights." if network.random_weights else ""
    caption = (
        f"{network.name}, layer {options.layer}: for each channel the {shown} of the {mined} that "
        f"drive it hardest. Each projection, by the rule {options.rule_name()}, shows what in its "
        f"patch did so; grey is zero. #n is the number of the picture.{random}"
    )
    if made:
        caption += (
            f" Below, what the unit in the middle of each channel's map would draw itself: an "
            f"image made from noise (seed {made[0].seed}) in {made[0].steps} steps, with the value "
            "it reaches. No picture that the network has seen, and one of many."
        )
    alt = (
        f"Projections and patches for {len(patches)} channels of layer {options.layer} of "
        f"{network.name}, {shown} pictures each."
    )
    panel = panels(patches, caption=caption, alt=alt)
    drawn = [
        Portrait(f"channel {row.channel}", one.picture.numpy() / 255, number(one.value))
        for row, one in zip(patches, made, strict=bool(made))
    ]
    illustration = with_portraits(panel, drawn, "optimised") if drawn else panel
    write_atomically(out, on_paper(illustration, out.suffix.lower().removeprefix(".")))
