"""`internals summary`: a network as a table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from internals.cli.network import NetworkArgument, WeightsOption, open_network
from internals.errors import DataError
from internals.figures.table import TIMES

if TYPE_CHECKING:
    from torch import nn

    from internals.anatomy.fields import Pair
    from internals.anatomy.summary import LayerSummary

_HEADER = (
    "layer", "kind", "output", "parameters", "multiply-adds", "field", "stride", "start"
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("summary")(summary)


def summary(
    network: NetworkArgument,
    size: Annotated[
        str | None,
        typer.Option("--input", metavar="C,H,W", help="Shape of one image, such as 3,224,224."),
    ] = None,
    weights: WeightsOption = None,
) -> None:
    """Show a network's layers: shapes, parameters, multiply-adds and receptive fields."""
    from internals.figures.table import Table
    from internals.network import as_model_error

    shape = _shape(size) if size else None
    # A table of sizes needs no numbers in the network.
    opened = open_network(network, weights, input_shape=shape, device="meta")
    with as_model_error(network, opened.shape()):
        layers = opened.summary()
    products = sum(layer.multiply_adds for layer in layers)
    trained = sum(p.numel() for p in opened.model.parameters() if p.requires_grad)
    total = ("total", "", "", trained, products, "", "", "")
    title = f"{network}, one image of {_times(opened.shape())}; field, stride and start in pixels"
    print(title)
    print(Table.of(_HEADER, [*map(_row, layers), total], title).text())
    for note in _notes(opened.model, trained - sum(layer.parameters for layer in layers)):
        print(note)


def _shape(words: str) -> tuple[int, int, int]:
    """(c, h, w) from "3,224,224"; raises `DataError` for anything else."""
    parts = words.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise DataError(f"--input {words} is not channels,height,width such as 3,224,224")
    channels, height, width = map(int, parts)
    return channels, height, width


def _row(layer: "LayerSummary") -> tuple[object, ...]:
    field = layer.field
    pixels = (field.size, field.stride, field.start) if field else (None, None, None)
    return (
        layer.name,
        layer.kind,
        _times(layer.shape),
        layer.parameters,
        layer.multiply_adds,
        *map(_pair, pixels),
    )


def _pair(value: "Pair | None") -> object:
    return _times(value) if isinstance(value, tuple) else value


def _times(sizes: Iterable[int]) -> str:
    return f" {TIMES} ".join(map(str, sizes))


def _notes(model: "nn.Module", elsewhere: int) -> list[str]:
    """What the table cannot show: parameters that belong to no layer, or are not trained."""
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    notes = {
        "of the parameters belong to no layer that was run": elsewhere,
        "parameters are frozen and not counted": frozen,
    }
    return [f"{count:,} {what}" for what, count in notes.items() if count]
