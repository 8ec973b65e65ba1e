"""A network as a table: shape, parameters, multiply-adds and receptive field a layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from internals.anatomy.field import Field, ReceptiveField
from internals.anatomy.trace import trace


@dataclass(frozen=True)
class LayerSummary:
    """One leaf layer: output shape (c, h, w), its own parameters, products for one image.

    `field` is None where no receptive field can be stated.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: ReceptiveField | None


def summarize(model: nn.Module, input_shape: Iterable[int]) -> list[LayerSummary]:
    """The leaf layers of `model` in call order, for one image of `input_shape` (c, h, w).

    A multiply-add is one product of a weight with an input; biases, pooling, normalisation and
    non-linearities have none, as in the papers' tables. Parameters count those that are trained.
    Raises `AnatomyError` when the model cannot take the shape.
    """
    rows = []
    for name, call in trace(model, input_shape).items():
        if next(call.module.children(), None) is not None:
            continue
        rows.append(
            LayerSummary(
                name,
                call.module._get_name(),
                tuple(call.shape[1:]),
                sum(p.numel() for p in call.module.parameters() if p.requires_grad),
                sum(multiply_adds(call.module, shape) for shape in call.shapes),
                call.field.public() if isinstance(call.field, Field) else None,
            )
        )
    return rows


def multiply_adds(module: nn.Module, output: torch.Size) -> int:
    """Products of weights with inputs for one image and an `output` of shape (n, c, ...).

    A module of the user's own may say its number by a method `multiply_adds(output)`.
    """
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.weight[0].numel() * output[1:].numel()
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return module.weight.numel() * _read_positions(module, output)
    if isinstance(module, nn.Linear):
        return module.in_features * output[1:].numel()
    count = getattr(module, "multiply_adds", None)
    return count(output) if callable(count) else 0


def _read_positions(module: Any, output: torch.Size) -> int:
    """How many positions a transposed convolution has read to put out maps of shape `output`."""
    geometry = zip(
        output[2:], module.kernel_size, module.stride, module.padding, module.dilation, strict=True
    )
    return prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in geometry)
