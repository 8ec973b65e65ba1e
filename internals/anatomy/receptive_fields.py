"""The receptive field of any layer of any graph."""

from collections.abc import Iterable

from torch import nn

from internals.anatomy.field import ReceptiveField
from internals.anatomy.trace import only_calls, stated


def receptive_field(model: nn.Module, layer: str, input_shape: Iterable[int]) -> ReceptiveField:
    """Size, stride and start of the receptive fields of the units of `layer`, in input pixels.

    `input_shape` is (channels, height, width). Where branches meet, the field is the smallest box
    that holds all of them (Araujo, Norris and Sim, Distill 2019). Raises `LayerError` for a layer
    the model lacks or calls more than once, and `AnatomyError` where the field cannot be stated.
    """
    call = only_calls(model, [layer], input_shape)[layer]
    return stated(layer, call.field).public()
