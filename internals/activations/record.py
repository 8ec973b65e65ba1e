"""The outputs of named layers, as they were before anything changed them in place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.anatomy.copies import evaluation_copy
from internals.anatomy.hooks import as_input, find_layer, run_until, watching
from internals.anatomy.trace import Model, Pictures, as_traced, only_calls
from internals.errors import LayerError
from internals.models.lenet5 import Subsampling


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


def check_unit(unit: Unit, shape: Sequence[int]) -> None:
    """Raise `LayerError` unless `unit` is one of its layer's, whose maps are of `shape`.

    Args:
        unit: A layer, a channel and a place.
        shape: (images, channels, rows, columns) or (images, channels) of what the layer puts out.
    """
    channels, rows, columns = (*shape[1:], 1, 1)[:3]
    check_channel(unit.layer, unit.channel, channels)
    for name, position, limit in (("row", unit.row, rows), ("column", unit.column, columns)):
        if not 0 <= position < limit:
            raise LayerError(
                f"layer {unit.layer!r} has no {name} {position}; its {name}s are 0 to {limit - 1}"
            )


# Modules that squash: far from zero they give one and the same number for many inputs.
_SQUASHING = (nn.Tanh, nn.Sigmoid, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid)
# Modules whose outputs tie as well where they pool what was squashed.
_POOLING = (
    nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, Subsampling,
)  # fmt: skip


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
    copied: nn.Module,
    layers: Iterable[str],
    receive: Callable[[str, Tensor], None],
    *,
    before_squashing: bool = False,
) -> Iterator[None]:
    """While the block runs, call `receive(layer, maps)` as soon as a named layer has put them out.

    Args:
        copied: The `evaluation_copy` that runs.
        layers: Module paths.
        receive: Is given maps (n, channels, height, width) that are the layer's own: a layer after
            it may change them in place.
        before_squashing: Whether a layer that is itself a squashing function (tanh, sigmoid, ...)
            is represented by its input, which has the same order and no ties at the ceiling, and a
            pooling of what was squashed by the same pooling of the squashing's input.
    """
    modules = {layer: find_layer(copied, layer) for layer in layers}
    early = [layer for layer, m in modules.items() if before_squashing and squashes(m)]
    late = [layer for layer in modules if layer not in early]
    squashed: list[Tensor] = []  # the input of the last squashing, and its output

    def take_input(layer: str) -> Callable[..., None]:
        return lambda module, inputs, words: receive(layer, _as_maps(_first(inputs, words)))

    def take(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if squashed and inputs and inputs[0] is squashed[1] and isinstance(module, _POOLING):
            output = cast(Any, module).forward(squashed[0])
        receive(path, _as_maps(output))

    def note(module: nn.Module, inputs: tuple[Any, ...], words: dict[str, Any], out: Any) -> None:
        squashed[:] = [_first(inputs, words), out]

    handles = [
        modules[layer].register_forward_pre_hook(take_input(layer), with_kwargs=True)
        for layer in early
    ]
    if before_squashing and any(isinstance(module, _POOLING) for module in modules.values()):
        squashing = [module for module in copied.modules() if squashes(module)]
        handles += [module.register_forward_hook(note, with_kwargs=True) for module in squashing]
    try:
        with watching(copied, take, late):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _first(inputs: tuple[Any, ...], words: dict[str, Any]) -> Tensor:
    """What a module was given, by position or by keyword."""
    return inputs[0] if inputs else next(iter(words.values()))


@contextmanager
def recording(copied: nn.Module, layers: Iterable[str]) -> Iterator[Recording]:
    """While the block runs, keep what the named layers of an `evaluation_copy` put out."""
    record = Recording(dict.fromkeys(layers))
    with listening(copied, record.layers, record.keep):
        yield record


def _as_maps(value: Tensor) -> Tensor:
    """Units of a fully connected layer are maps of one position."""
    return value.view(*value.shape[:2], *(value.shape[2:] or (1, 1)))


def squashes(module: nn.Module) -> bool:
    """Whether `module` is a squashing function, by its class or its attribute `squashes`."""
    return isinstance(module, _SQUASHING) or getattr(module, "squashes", False)


def is_mined_by_output(module: nn.Module | None) -> bool:
    """Whether `strongest` ranks a layer by what it puts out, not by what was there before."""
    return module is not None and not squashes(module) and not isinstance(module, _POOLING)


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
    copied = evaluation_copy(traced.model)
    batches = [inputs]
    if len(inputs) > 1 and not traced.keeps_images_apart(layers, inputs):
        batches = list(inputs.split(1))
    maps: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with torch.no_grad(), recording(copied, layers) as record:
        for batch in batches:
            record.maps.clear()
            run_until(copied, as_input(copied, batch), record.is_full)
            for layer in layers:
                maps[layer].append(record.maps[layer])
    return {layer: torch.cat(parts) for layer, parts in maps.items()}
