"""The outputs of named layers, as they were before anything changed them in place."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.anatomy.hooks import as_input, run_until, watching
from internals.anatomy.trace import Model, Pictures, as_traced, only_calls
from internals.errors import LayerError
from internals.models.evaluation import evaluating


class Unit(NamedTuple):
    """The unit of `layer` at (`channel`, `row`, `column`) of its feature maps.

    Units of a fully connected layer have row and column 0.
    """

    layer: str
    channel: int
    row: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.layer}[{self.channel}, {self.row}, {self.column}]"


def parse_channel(text: str) -> tuple[str, int]:
    """("conv5", 7) of "conv5:7"; raises `LayerError` for what is not written so."""
    layer, _, channel = text.rpartition(":")
    if not layer or not channel.isdecimal():
        raise LayerError(
            f"{text!r} names no channel; write layer:channel, such as 'conv5:7', or give a Unit"
        )
    return layer, int(channel)


def check_channel(layer: str, channel: int, channels: int) -> None:
    """Raise `LayerError` unless `channel` is one of the `channels` of `layer`."""
    if not 0 <= channel < channels:
        raise LayerError(
            f"layer {layer!r} has no channel {channel}; its channels are 0 to {channels - 1}"
        )


# Modules that squash: far from zero they give one and the same number for many inputs.
_SQUASHING = (nn.Tanh, nn.Sigmoid, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid)


class Recording:
    """The maps of the layers named, (n, channels, height, width), filled as a pass goes on."""

    def __init__(self, layers: Iterable[str]) -> None:
        self.layers = tuple(layers)
        self.maps: dict[str, Tensor] = {}

    def keep(self, layer: str, maps: Tensor) -> None:
        """Copy the maps of `layer`: what comes later may work in place."""
        self.maps[layer] = maps.clone()

    def is_full(self) -> bool:
        """Whether all layers have run, so that the rest of the pass is not needed."""
        return len(self.maps) == len(self.layers)


@contextmanager
def listening(
    model: nn.Module,
    layers: Iterable[str],
    receive: Callable[[str, Tensor], None],
    *,
    before_squashing: bool = False,
) -> Iterator[None]:
    """While the block runs, call `receive(layer, maps)` as soon as a named layer has put them out.

    Args:
        model: The network that runs.
        layers: Module paths.
        receive: Is given maps (n, channels, height, width) that are the layer's own: a layer after
            it may change them in place.
        before_squashing: Whether a layer that is itself a squashing function (tanh, sigmoid, ...)
            is represented by its input, which has the same order and no ties at the ceiling.
    """
    paths = {model.get_submodule(layer): layer for layer in layers}
    squashing = {m: path for m, path in paths.items() if before_squashing and squashes(m)}

    def take_input(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        source = inputs[0] if inputs else next(iter(keywords.values()))
        receive(squashing[module], _as_maps(source))

    def take_output(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module in paths and module not in squashing:
            receive(paths[module], _as_maps(output))

    # Their own hooks, because torch's global ones are not shown what is passed by keyword.
    handles = [
        module.register_forward_pre_hook(take_input, with_kwargs=True) for module in squashing
    ]
    try:
        with watching(model, take_output):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recording(model: nn.Module, layers: Iterable[str]) -> Iterator[Recording]:
    """While the block runs, keep what the named layers of `model` put out."""
    record = Recording(dict.fromkeys(layers))
    with listening(model, record.layers, record.keep):
        yield record


def _as_maps(value: Tensor) -> Tensor:
    """Units of a fully connected layer are maps of one position."""
    return value.view(*value.shape[:2], *(value.shape[2:] or (1, 1)))


def squashes(module: nn.Module) -> bool:
    """Whether `module` is a squashing function, by its class or its attribute `squashes`."""
    return isinstance(module, _SQUASHING) or getattr(module, "squashes", False)


def capture(
    model: Model, images: Pictures, layers: Iterable[str]
) -> dict[str, Float[Tensor, "n channels y x"]]:
    """The outputs of some layers for one batch of images, in evaluation mode.

    The model is left as it was found.

    Args:
        model: A `Network`, or a bare module.
        images: One batch, (n, channels, height, width): bytes for a network that knows how they
            are normalised, or normalised inputs.
        layers: Module paths.

    Returns:
        The maps of each layer, (n, channels, rows, columns), on the model's device; those of fully
        connected layers have one row and one column.

    Raises:
        LayerError: The model lacks a layer, or calls it twice.
    """
    traced, layers = as_traced(model), tuple(layers)
    inputs = traced.inputs(images)[:]
    only_calls(traced, layers, inputs.shape[1:])
    module = traced.model
    with evaluating(module), torch.no_grad(), recording(module, layers) as record:
        run_until(module, as_input(module, inputs), record.is_full)
    return record.maps
