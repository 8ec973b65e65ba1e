"""`internals project`: which pictures of a folder drive a layer, and which of their pixels."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from internals.cli.network import (
    NetworkArgument,
    WeightsOption,
    find_device,
    has_random_weights,
    input_shape,
    normalization,
    open_network,
    tell_which,
)

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
    from internals.cli import panel
    from internals.data.picture_folder import read_folder
    from internals.projection.rules import Choice

    choice = Choice(rule, tanh, leaky)
    asked = panel.Question(network, layer, k, choice, has_random_weights(network, weights))
    panel.check_target(out)
    tell_which(network, weights)
    model = open_network(network, weights).to(find_device(device))
    shape = input_shape(network, model, size, weights)
    fed = normalization(network, shape, mean, std, weights)
    chosen = panel.choose_channels(model, asked, shape, channels)
    panel.check_room(out, len(chosen), k)
    pictures = read_folder(images, shape[1], grey=shape[0] == 1, limit=limit)
    if asked.random:
        print(f"{network} has random weights; --weights FILE takes trained ones", file=sys.stderr)
    rows = panel.gather(model, asked, chosen, pictures.images, fed)
    print(panel.listing(rows, pictures.files))
    panel.write(out, rows, asked, pictures.images)
    print(f"panel: {out}")
