"""How long a network takes for one image."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from internals.anatomy.fields import Field, ReceptiveField
from internals.anatomy.trace import trace
from internals.models.evaluation import evaluating


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


def connections(model: nn.Module, input_shape: Iterable[int]) -> dict[str, int]:
    """Inputs that each unit reads, its bias among them, summed over the units of each layer.

    `input_shape` is (c, h, w). A weighted sum has one connection for each product and one for the
    bias; an average over a window has one for each input and one for the bias it is trained with.
    Layers without any are left out (section II-B counts 340,908 in LeNet-5).
    """
    counted = {}
    for name, call in trace(model, input_shape).items():
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


def latency(model: nn.Module, input_shape: Sequence[int], repeats: int = 15) -> float:
    """Seconds of one forward pass for one image of `input_shape` (c, h, w): the median.

    Measured on the model's own device with torch's present number of threads, after three passes
    that do not count.
    """
    like = next(model.parameters())
    image = torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype)
    times = []
    with evaluating(model), torch.inference_mode():
        for _ in range(3 + repeats):
            _wait(image)
            began = time.perf_counter()
            model(image)
            _wait(image)
            times.append(time.perf_counter() - began)
    return sorted(times[3:])[repeats // 2]


def _wait(image: torch.Tensor) -> None:
    """A GPU answers before it has finished."""
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
