"""Connections, the measure of size that LeCun et al. (1998) print beside the parameters."""

from collections.abc import Iterable

from torch import nn

from internals.anatomy.summary import multiply_adds
from internals.anatomy.trace import trace


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
