"""A network as a table: what each layer puts out, holds, multiplies and sees, and its time."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from internals.anatomy.copies import evaluation_copy
from internals.anatomy.fields import Field, ReceptiveField
from internals.anatomy.trace import Model, as_traced


@dataclass(frozen=True)
class LayerSummary:
    """One leaf layer.

    Args:
        name: Its module path.
        kind: Its class.
        shape: Of its output for one image, (channels, height, width) or (channels,).
        parameters: Its own trained parameters.
        multiply_adds: Products of a weight with an input, for one image.
        field: The receptive fields of its units; None where none can be stated.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: ReceptiveField | None


def summarize(model: Model, input_shape: Iterable[int] | None = None) -> list[LayerSummary]:
    """The leaf layers of a network in call order, for one image.

    A multiply-add is one product of a weight with an input; biases, pooling, normalisation and
    non-linearities have none, as in the papers' tables.

    Args:
        model: A `Network`, or a bare module.
        input_shape: (channels, height, width); by default the network's own.

    Raises:
        AnatomyError: The model cannot take the shape.
    """
    return [
        LayerSummary(
            name,
            call.module._get_name(),
            tuple(call.shape[1:]),
            sum(p.numel() for p in call.module.parameters() if p.requires_grad),
            sum(multiply_adds(call.module, shape) for shape in call.shapes),
            call.field.public() if isinstance(call.field, Field) else None,
        )
        for name, call in as_traced(model).trace(input_shape).items()
        if next(call.module.children(), None) is None
    ]


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


def connections(model: Model, input_shape: Iterable[int] | None = None) -> dict[str, int]:
    """Inputs that each unit reads, its bias among them, summed over the units of each layer.

    A weighted sum has one connection for each product and one for the bias; an average over a
    window has one for each input and one for the bias it is trained with. Layers without any are
    left out (LeCun et al., 1998, section II-B, counts 340,908 in LeNet-5).

    Args:
        model: A `Network`, or a bare module.
        input_shape: (channels, height, width); by default the network's own.
    """
    counted = {}
    for name, call in as_traced(model).trace(input_shape).items():
        if next(call.module.children(), None) is not None:
            continue
        units = sum(shape[1:].numel() for shape in call.shapes)
        count = sum(multiply_adds(call.module, shape) for shape in call.shapes)
        if count == 0:
            count = units * _window(call.module)
        if getattr(call.module, "bias", None) is not None:
            count += units
        if count:
            counted[name] = count
    return counted


def _window(module: nn.Module) -> int:
    """How many inputs an averaging unit reads."""
    kernel = getattr(module, "kernel_size", 0)
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return rows * columns


def latency(model: Model, input_shape: Sequence[int] | None = None, repeats: int = 15) -> float:
    """The median time of a forward pass for one image, in seconds.

    Measured on the model's own device with torch's present number of threads, after three passes
    that do not count.

    Args:
        model: A `Network`, or a bare module.
        input_shape: (channels, height, width); by default the network's own.
        repeats: How many passes are measured.
    """
    traced = as_traced(model)
    module, shape = evaluation_copy(traced.model), traced.shape(input_shape)
    like = next(module.parameters(), torch.empty(0))  # a pooling has none
    image = torch.zeros(1, *shape, device=like.device, dtype=like.dtype)
    times = []
    with torch.inference_mode():
        for _ in range(3 + repeats):
            _wait(image)
            began = time.perf_counter()
            module(image)
            _wait(image)
            times.append(time.perf_counter() - began)
    return sorted(times[3:])[repeats // 2]


def _wait(image: torch.Tensor) -> None:
    """A GPU answers before it has finished."""
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
