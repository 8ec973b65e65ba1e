"""What every sub-command for a network of one's own needs: how it is named, and opening it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from internals.network import Network

NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A network of torchvision (resnet18), of ours (lenet5), or package.module:callable.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(help="File of weights: .safetensors, or a state dict saved by torch."),
]


def open_network(name: str, weights: Path | None, **options: Any) -> "Network":
    """`Network.open`, which says where two networks have the name which of them is meant."""
    # torch takes seconds to import, so only functions import it.
    import torch

    from internals.environment import cores
    from internals.models.lookup import MODELS
    from internals.network import Network

    torch.set_num_threads(cores())
    network = Network.open(name, weights, **options)
    if network.resolved and network.resolved.ambiguous:
        if network.resolved.origin == "ours":
            print(f"{name} is ours here, because its weights are", file=sys.stderr)
        else:
            ours = f"internals.models:{MODELS[name][1]}"
            print(f"{name} is torchvision's here; ours is {ours}", file=sys.stderr)
    return network
