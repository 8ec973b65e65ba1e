"""Which axis of a tensor is which: where its channels lie, and whether images stay apart.

Tensors are followed from (n, channels, rows, columns) through operations that move axes. Of an
operation that is not known here, nothing is claimed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from internals.anatomy.fields import ELEMENTWISE, REDUCTIONS
from internals.anatomy.operations import argument


class Axes(NamedTuple):
    """The axes of a tensor of maps; that of the images is the first."""

    channels: int
    rows: int
    columns: int


CHANNELS_FIRST = Axes(1, 2, 3)

# Torch defines what these put out as (n, channels, rows, columns), whatever came before.
_CHANNELS_FIRST = frozenset(
    """conv2d convolution conv_transpose2d max_pool2d max_pool2d_with_indices avg_pool2d lp_pool2d
    adaptive_avg_pool2d adaptive_max_pool2d batch_norm group_norm instance_norm interpolate
    upsample pixel_shuffle pixel_unshuffle local_response_norm""".split()
)
_KEEPING = ELEMENTWISE | frozenset(
    "linear layer_norm rms_norm softmax log_softmax normalize roll flip pad".split()
)
_WITH_AXES = REDUCTIONS | frozenset(
    """softmax log_softmax cat concat concatenate chunk split split_with_sizes flip roll normalize
    argmax argmin""".split()
)
# These treat every image by itself, as long as the axis of the images is not among theirs.
_APART = (
    _CHANNELS_FIRST
    | _KEEPING
    | _WITH_AXES
    | frozenset(
        """view reshape flatten unflatten transpose swapaxes permute movedim unsqueeze squeeze
        getitem expand unfold scaled_dot_product_attention""".split()
    )
)


def axes_after(
    name: str,
    sources: Sequence[tuple[Tensor, Axes | None]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Tensor,
) -> Axes | None:
    """The axes of what operation `name` makes of `sources`; None where they are not known."""
    if name in _CHANNELS_FIRST and output.ndim == 4:
        return CHANNELS_FIRST
    tensor, axes = sources[0]
    if axes is None or any(other != axes for _, other in sources if other is not None):
        return None
    order = order_after(name, tensor.ndim, args, kwargs)
    if order is not None:
        return Axes(*(order.index(axis) for axis in axes))
    if output.ndim == tensor.ndim and (name in _KEEPING | _WITH_AXES or name == "getitem"):
        return axes
    if name == "einsum" and tensor.ndim == 4:
        return _after_einsum(args, axes, output)
    # Regrouped channels, as in a channel shuffle: the image's axes are left alone.
    keeps_maps = is_maps_last(axes, tensor) and output.shape[-2:] == tensor.shape[-2:]
    if keeps_maps and output.ndim > 3 and name in ("view", "reshape", "flatten", "unflatten"):
        return Axes(1, output.ndim - 2, output.ndim - 1)
    return None


def is_maps_last(axes: Axes | None, tensor: Tensor) -> bool:
    """Whether rows and columns are the last two axes, as far as is known."""
    return axes is None or axes[1:] == (tensor.ndim - 2, tensor.ndim - 1)


_MOVING = frozenset("permute transpose swapaxes swapdims movedim moveaxis t T mT adjoint".split())
_SIDES = (2, 3, 5, 7, 11, 13)  # of a tensor whose axes are told apart by their lengths


def order_after(
    name: str, ndim: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[int] | None:
    """Where each axis comes from, in an operation that changes their order; None in all others."""
    if name not in _MOVING or ndim > len(_SIDES):
        return None
    words = {key: value for key, value in kwargs.items() if key not in ("input", "self")}
    moved = getattr(torch.empty(_SIDES[:ndim], device="meta"), name)
    moved = moved(*args[1:], **words) if callable(moved) else moved
    return [_SIDES.index(length) for length in moved.shape]


def _after_einsum(args: tuple[Any, ...], axes: Axes, output: Tensor) -> Axes | None:
    """The axes of maps that are the first operand of a product that names them."""
    if not isinstance(args[0], str) or "->" not in args[0] or "." in args[0]:
        return None
    given, result = args[0].replace(" ", "").split("->")
    letters = given.split(",")[0]
    if (
        len(letters) != 4
        or output.ndim != 4
        or not {letters[0], *_named(letters, axes)} <= {*result}
    ):
        return None
    rows, columns = (result.index(letter) for letter in _named(letters, axes))
    (channels,) = {0, 1, 2, 3} - {rows, columns, result.index(letters[0])}
    return Axes(channels, rows, columns)


def _named(letters: str, axes: Axes) -> tuple[str, str]:
    return letters[axes.rows], letters[axes.columns]


def keeps_images_apart(
    name: str,
    sources: Sequence[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Tensor,
    images: int,
) -> bool:
    """Whether an operation is known to make of each image its own part of `output`.

    Args:
        name: As `operation_name` gives it.
        sources: Operands that come from the images, each with its own at every index of axis 0.
        args: Of the call.
        kwargs: Likewise.
        output: What it gave.
        images: How many there are.
    """
    if output.ndim == 0 or len(output) != images:
        return False
    if name == "matmul":
        return (len(sources) == 1 and sources[0] is args[0]) or min(t.ndim for t in sources) > 2
    if name not in _APART or (name in _CHANNELS_FIRST and len(sources) > 1):
        return False
    order = order_after(name, sources[0].ndim, args, kwargs)
    if order is not None:
        return order[0] == 0
    if name == "batch_norm":
        return not argument(args, kwargs, 5, "training", False)
    if name == "pad":
        return len(argument(args, kwargs, 1, "pad", ())) <= 2 * (sources[0].ndim - 1)
    if name == "getitem":
        first = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
        return first is Ellipsis or (isinstance(first, slice) and first == slice(None))
    return name not in _WITH_AXES or _leaves_first_axis(name, sources, args, kwargs)


def _leaves_first_axis(
    name: str, sources: Sequence[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Whether the axes that an operation works along are others than that of the images."""
    dims = argument(args, kwargs, 1, "dim", kwargs.get("dims"))
    if name in ("chunk", "split", "split_with_sizes", "roll"):
        dims = argument(args, kwargs, 2, "dim", kwargs.get("dims", 0))
    if name in ("cat", "concat", "concatenate") and dims is None:
        dims = 0
    if name == "flip" and len(args) > 2:  # its axes may be one argument, or several
        dims = args[1:]
    if isinstance(dims, Tensor):  # the two-tensor maximum and minimum
        return True
    if dims is None:
        return name == "normalize"
    dims = (dims,) if isinstance(dims, int) else dims
    return all(dim % max(t.ndim for t in sources) != 0 for dim in dims)
