"""The outputs of named layers, as they were before anything changed them in place."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.anatomy.hooks import run_until, watching
from internals.anatomy.trace import only_calls
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
        """Whether every layer has spoken, so that the rest of the pass is not needed."""
        return len(self.maps) == len(self.layers)


@contextmanager
def listening(
    model: nn.Module,
    layers: Iterable[str],
    hear: Callable[[str, Tensor], None],
    *,
    before_squashing: bool = False,
) -> Iterator[None]:
    """While the block runs, call `hear(layer, maps)` as soon as a named layer has spoken.

    `maps` (n, channels, height, width) are the layer's own: a layer after it may change them in
    place. With `before_squashing` a layer that is itself a squashing function (tanh, sigmoid, ...)
    is heard by its input: it has the same order and no ties at the ceiling.
    """
    modules = {model.get_submodule(layer): layer for layer in layers}
    squashing = {m: p for m, p in modules.items() if before_squashing and squashes(m)}

    def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        hear(squashing[module], _as_maps(inputs[0] if inputs else next(iter(named.values()))))

    def see(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module in modules and module not in squashing:
            hear(modules[module], _as_maps(output))

    # Their own hooks, because torch's global ones are not shown what is passed by keyword.
    handles = [module.register_forward_pre_hook(note, with_kwargs=True) for module in squashing]
    try:
        with watching(model, see):
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
    """Whether `module` is a squashing function, by its class or by its own word."""
    return isinstance(module, _SQUASHING) or getattr(module, "squashes", False)


def capture(
    model: nn.Module, images: Float[Tensor, "n c h w"], layers: Iterable[str]
) -> dict[str, Float[Tensor, "n channels y x"]]:
    """The outputs of `layers` for a batch of normalised `images`, in evaluation mode.

    Outputs of fully connected layers have height and width 1. The model is left as it was found.
    Raises `LayerError` for a layer that the model lacks or calls twice.
    """
    layers = tuple(layers)
    only_calls(model, layers, images.shape[1:])
    with evaluating(model), torch.no_grad(), recording(model, layers) as record:
        run_until(model, as_input(model, images), record.is_full)
    return record.maps


def as_input(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A copy of `images` of the model's device and precision: a model may work in place on it."""
    like = next((p for p in model.parameters() if p.is_floating_point()), images)
    return images.to(like.device, like.dtype, copy=True)
