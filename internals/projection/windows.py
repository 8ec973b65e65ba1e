"""No more of an image than a unit can see, and no more of a map than its signal reaches.

A unit is computed on the smallest window of its image that gives it the same value, and many such
windows share a batch. On the way back its signal begins at one position and spreads by a kernel a
layer, so that on most of each map it is 0 until the first layers are reached. What is skipped is a
sum of zeros; what is left is the same convolution's own backward pass, on a part of the map.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import fold
from torch.overrides import TorchFunctionMode

from internals.activations.record import Unit
from internals.anatomy.fields import Axis, Field
from internals.anatomy.hooks import batch_size
from internals.anatomy.trace import TracedModule


class Cut(NamedTuple):
    """A window along one axis: pixels [start, start + length), and the unit's position in it."""

    start: int
    length: int
    position: int


def cut_window(axis: Axis, length: int, position: int) -> Cut:
    """The window along one axis of `length` pixels for the unit at `position` of its layer.

    Windows have one of two lengths, so that many units can share a batch: one for fields that end
    on the image, and a shorter one for those that reach beyond its far border.
    """
    if not axis.local or axis.stride == 0:
        return Cut(0, length, position)
    ahead = max(0, -(axis.start // axis.stride))  # whole strides kept before the field
    needed = axis.start + ahead * axis.stride + axis.size
    start = max((position - ahead) * axis.stride, 0)
    if start + needed <= length:
        return Cut(start, needed, position - start // axis.stride)
    # The first start from which a field reaches the far border serves all that do.
    start = max(((length - needed) // axis.stride + 1) * axis.stride, 0)
    return Cut(start, length - start, position - start // axis.stride)


def unit_windows(
    field: Field | None, size: tuple[int, int], row: int, column: int
) -> tuple[Cut, Cut]:
    """The windows along rows and columns of an image of `size`, for the unit at (row, column).

    They are the whole image where `field` is None (unknown) or not local.
    """
    if field is None or not field.local:
        return Cut(0, size[0], row), Cut(0, size[1], column)
    return cut_window(field.rows, size[0], row), cut_window(field.columns, size[1], column)


def smallest_windows(
    traced: TracedModule, unit: Unit, field: Field | None, shape: tuple[int, ...]
) -> tuple[Cut, Cut]:
    """The windows of `unit` if the network's geometry is the same on them, else the whole image.

    Args:
        traced: The network.
        unit: The unit that is to have the same value on the window.
        field: Its layer's receptive field; None if unknown.
        shape: (channels, height, width) of an image.
    """
    height, width = shape[1:]
    rows, columns = unit_windows(field, (height, width), unit.row, unit.column)
    window = (shape[0], rows.length, columns.length)
    if window == shape or traced.has_same_geometry(unit.layer, shape, window):
        return rows, columns
    return Cut(0, height, unit.row), Cut(0, width, unit.column)


def stack_size(rows: Cut, columns: Cut) -> int:
    """How many windows to run at a time; 1 where they are so large that a stack gains nothing.

    Measured on two cores: as many as fit up to 64 x 64 pixels, nine up to 128 x 128, one above.
    """
    pixels = rows.length * columns.length
    if pixels > 128 * 128:
        return 1
    fit = batch_size(rows.length, columns.length, backward=True)
    return fit if pixels <= 64 * 64 else min(fit, 9)


_NARROW = 0.75  # of a map: above it, cutting costs as much as it saves
# Input channels, and products a position, for which a matrix product and `fold` are 2 to 3 times
# faster on a CPU than torch's own backward pass: the first layers of all networks.
_FEW_CHANNELS, _FEW_PRODUCTS = 4, 512


class NarrowedBackward(TorchFunctionMode):
    """While active, `conv2d` on a CPU or another device sends back no more than it must.

    Forward values are bit for bit the same, and signals differ by no more than rounding.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == len(_Call._fields):
            call = _Call(*args)
            if call.is_plain():
                return Narrowed.apply(call.source, call.weight, call)
        return func(*args, **(kwargs or {}))


class _Call(NamedTuple):
    """The arguments of `torch.conv2d`, as `nn.Conv2d` gives them."""

    source: Any
    weight: Any
    bias: Any
    stride: Any
    padding: Any
    dilation: Any
    groups: Any

    def is_plain(self) -> bool:
        """Whether it is a batch of maps, and weights that do not depend on the image."""
        numbers = (self.stride, self.padding, self.dilation)
        return (
            all(isinstance(pair, tuple) and len(pair) == 2 for pair in numbers)
            and self.source.ndim == 4
            and self.source.requires_grad
            and all(t is None or t.is_leaf for t in (self.weight, self.bias))
            and not torch.is_autocast_enabled(self.source.device.type)
        )


class Narrowed(torch.autograd.Function):
    """A convolution as it is, and its adjoint for signals that are mostly 0."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, weight: Tensor, call: _Call) -> Tensor:
        """The convolution `call`."""
        ctx.save_for_backward(weight)
        ctx.shape = source.shape
        ctx.call = call._replace(source=None, weight=None, bias=None)
        return torch.conv2d(*call)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        """The signal at the convolution's input."""
        weight = ctx.saved_tensors[0]
        with torch._C.DisableTorchFunction():
            return _adjoint(signals[0], weight, ctx.call, ctx.shape), None, None


def _adjoint(signal: Tensor, weight: Tensor, call: _Call, shape: torch.Size) -> Tensor:
    """What arrives at the input of `shape`."""
    nonzero = (signal.amax(dim=1) != 0) | (signal.amin(dim=1) != 0)
    tops, height = _extent(nonzero.any(dim=2))
    lefts, width = _extent(nonzero.any(dim=1))
    few = weight.shape[1] <= _FEW_CHANNELS and weight[0].numel() <= _FEW_PRODUCTS
    few = few and signal.device.type == "cpu" and call.groups == 1
    if height * width > _NARROW * signal.shape[2] * signal.shape[3]:
        if not few:
            return _convolution_backward(signal, weight, call, shape)
        (height, width), tops, lefts = signal.shape[2:], [0] * len(signal), [0] * len(signal)
    part = torch.stack(
        [
            one[:, top : top + height, left : left + width]
            for one, top, left in zip(signal, tops, lefts, strict=True)
        ]
    )
    reached = tuple(
        (n - 1) * stride + (kernel - 1) * dilation + 1
        for n, stride, kernel, dilation in zip(
            (height, width), call.stride, weight.shape[2:], call.dilation, strict=True
        )
    )
    if few:
        columns = weight.flatten(1).T @ part.flatten(2)
        patches = fold(columns, reached, weight.shape[2:], call.dilation, 0, call.stride)
    else:
        inside = torch.Size((*shape[:2], *reached))
        patches = _convolution_backward(part, weight, call._replace(padding=(0, 0)), inside)
    starts = [
        (top * call.stride[0] - call.padding[0], left * call.stride[1] - call.padding[1])
        for top, left in zip(tops, lefts, strict=True)
    ]
    return _pasted(patches, starts, shape)


def _extent(nonzero: Tensor) -> tuple[list[int], int]:
    """Along one axis, (n, length): where each sample's signal begins, and the longest of all."""
    length = nonzero.shape[1]
    first = nonzero.int().argmax(dim=1)
    end = length - nonzero.flip(1).int().argmax(dim=1)
    longest = max(int(((end - first) * nonzero.any(dim=1)).max()), 1)
    return first.clamp(max=length - longest).tolist(), longest


def _convolution_backward(signal: Tensor, weight: Tensor, call: _Call, shape: torch.Size) -> Tensor:
    source = signal.new_empty(shape)  # only its shape counts
    return torch.ops.aten.convolution_backward(
        signal, source, weight, None, call.stride, call.padding, call.dilation, False, (0, 0),
        call.groups, (True, False, False),
    )[0]  # fmt: skip


def _pasted(patches: Tensor, starts: list[tuple[int, int]], shape: torch.Size) -> Tensor:
    """Each patch in its place on a map of `shape`; what lies on the padding is left out."""
    whole = patches.new_zeros(shape)
    (height, width), (rows, columns) = patches.shape[2:], shape[2:]
    for onto, patch, (y, x) in zip(whole, patches, starts, strict=True):
        top, left = max(y, 0), max(x, 0)
        bottom, right = max(min(y + height, rows), top), max(min(x + width, columns), left)
        onto[:, top:bottom, left:right] = patch[:, top - y : bottom - y, left - x : right - x]
    return whole
