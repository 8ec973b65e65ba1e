"""Receptive fields, and how each of torch's operations changes them.

Along each axis a field is three numbers, size, stride and start, and every operation maps them to
three others. An operation is known by its name ("add", "add_" and "__add__" are one). What is not
known here yields `Unclear`, which is an error only for the layers that depend on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from internals.anatomy.operations import argument, tensors_of


def two(value: Any) -> tuple[Any, Any]:
    """Rows and columns of a size that may be one number for both."""
    if isinstance(value, tuple | list):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return value, value


Pair = int | tuple[int, int]  # one number for both axes, or (rows, columns), as torch writes sizes
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The field of unit (row, column) of a layer: `size` pixels from `start` + row x `stride`.

    Araujo, Norris and Sim, Distill 2019: r_0, S_0 and u_0.

    Args:
        size: In pixels of the input, as all three: one int where rows and columns agree, and
            (rows, columns) where not.
        stride: From one unit to the next; 0 means that the layer has one position.
        start: Negative where padding is seen.
    """

    size: Pair
    stride: Pair
    start: Pair

    def __post_init__(self) -> None:
        for name in ("size", "stride", "start"):
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] == value[1]:
                object.__setattr__(self, name, value[0])

    def box(self, row: int, column: int) -> Box:
        """The field of unit (row, column) as (top, left, bottom, right), bottom and right excluded.

        It is not clipped: it reaches beyond the image where the unit sees padding.
        """
        top, left = (
            start + position * stride
            for start, stride, position in zip(
                _both(self.start), _both(self.stride), (row, column), strict=True
            )
        )
        height, width = _both(self.size)
        return top, left, top + height, left + width


def clip(box: Box, height: int, width: int) -> Box:
    """The part of a box that lies on an image; it may be empty.

    Args:
        box: (top, left, bottom, right), bottom and right excluded.
        height: Of the image in pixels.
        width: Likewise.
    """
    top, left, bottom, right = box
    top, left = min(max(top, 0), height), min(max(left, 0), width)
    return top, left, max(min(bottom, height), top), max(min(right, width), left)


def _both(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Axis:
    """The field along one axis: position i sees [start + i stride, start + i stride + size).

    Args:
        size: In pixels of the input, as all three.
        stride: From one position to the next; 0 where there is one position only.
        start: Negative where padding is seen.
        local: Whether a position depends on nothing but those pixels: not on how large the image
            is, and not on where in it they lie, but for the padding at its borders.
    """

    size: int
    stride: int
    start: int
    local: bool = True

    def slide(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Axis":
        """After a window of `kernel` taps, `dilation` apart (Araujo et al., eq. 2 and 3)."""
        reach = (kernel - 1) * dilation
        return Axis(
            self.size + reach * self.stride,
            self.stride * stride,
            self.start - padding * self.stride,
            self.local,
        )

    def collapse(self, length: int) -> "Axis":
        """After all `length` positions have become one."""
        return Axis(self.size + (length - 1) * self.stride, 0, self.start, local=False)

    def anywhere(self) -> "Axis":
        """The same where the image's size or the place in it matters as well."""
        return replace(self, local=False)

    def shift(self, positions: int) -> "Axis":
        """After the axis has lost its first `positions` (negative: gained some by padding)."""
        return replace(self, start=self.start + positions * self.stride)

    def join(self, other: "Axis") -> "Axis | None":
        """The smallest field that holds both branches, or None where their strides differ."""
        if self.stride != other.stride:
            return None
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Axis(end - start, self.stride, start, self.local and other.local)


class Field(NamedTuple):
    """The receptive field of a tensor's units along both axes."""

    rows: Axis
    columns: Axis

    @property
    def local(self) -> bool:
        """Whether a window of the image gives its units the same values as the whole image."""
        return self.rows.local and self.columns.local

    def anywhere(self) -> "Field":
        """The same where the image's size or the place in it matters as well."""
        return Field(self.rows.anywhere(), self.columns.anywhere())

    def public(self) -> ReceptiveField:
        """The same as the library's users see it."""
        pairs = zip(*((axis.size, axis.stride, axis.start) for axis in self), strict=True)
        return ReceptiveField(*pairs)


PIXELS = Field(Axis(1, 1, 0), Axis(1, 1, 0))  # the field of the image itself


ELEMENTWISE = frozenset(
    """relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh
    hardsigmoid hardswish hardshrink softshrink tanhshrink logsigmoid threshold sigmoid tanh clamp
    clip clamp_min clamp_max add sub subtract mul multiply div divide true_divide rsub radd rmul
    rtruediv iadd isub imul itruediv truediv pow square sqrt rsqrt exp log log1p abs absolute neg
    negative sign minimum maximum where lerp sin cos erf reciprocal float double half bfloat16 to
    type clone detach contiguous copy dropout dropout1d dropout2d dropout3d alpha_dropout
    feature_dropout feature_alpha_dropout local_response_norm layer_scale requires_grad
    fill zero nan_to_num gt ge lt le eq ne heaviside sgn fmax fmin masked_fill zeros_like
    ones_like""".split()
)
REDUCTIONS = frozenset(["mean", "sum", "amax", "amin", "max", "min", "std", "var", "logsumexp"])


@dataclass(frozen=True)
class Unclear:
    """A tensor whose field cannot be stated, and why."""

    why: str


Known = Field | Unclear
Rule = Callable[[str, list[tuple[Tensor, Known]], tuple[Any, ...], dict[str, Any]], Known]


def propagate(
    name: str, sources: list[tuple[Tensor, Known]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Known:
    """The field of what operation `name` makes of `sources`, the arguments whose field is known."""
    for _, known in sources:
        if isinstance(known, Unclear):
            return known
    fields = [known for _, known in sources if isinstance(known, Field)]
    if name in ELEMENTWISE or all(axis.stride == 0 for field in fields for axis in field):
        # Where there is one position left, whatever is computed from it sees the same pixels.
        return _meet(name, sources, (args, kwargs))
    if name in REDUCTIONS:
        return _reduce(name, sources, args, kwargs)
    rule = _RULES.get(name)
    if rule is None:
        return Unclear(f"operation {name!r}")
    if rule is not _concatenate and not _is_first_alone(sources, args, kwargs):
        return Unclear(f"operands of {name!r} that are computed from the image")
    return rule(name, sources, args, kwargs)


def _is_first_alone(
    sources: Sequence[tuple[Tensor, Known]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Whether the first operand comes from the image and no other does."""
    given = tensors_of((args, kwargs))
    return len(sources) == 1 and bool(given) and sources[0][0] is given[0]


def _meet(name: str, sources: Sequence[tuple[Tensor, Known]], operands: Any) -> Known:
    """Branches joined; where another tensor takes part that has positions, place matters too."""
    joined = _join(name, sources)
    ours = {id(tensor) for tensor, _ in sources}
    others = [part for part in tensors_of(operands) if id(part) not in ours]
    placed = name != "prelu" and any(max(other.shape[-2:], default=1) > 1 for other in others)
    return joined.anywhere() if placed and isinstance(joined, Field) else joined


def _join(name: str, sources: Sequence[tuple[Tensor, Known]]) -> Known:
    """The union of branches that meet position by position."""
    first, joined = sources[0]
    for tensor, other in sources[1:]:
        assert isinstance(joined, Field) and isinstance(other, Field)
        if joined.rows.stride and tensor.shape[-2:] != first.shape[-2:]:
            return Unclear(f"maps of different sizes meeting in {name!r}")
        rows, columns = joined.rows.join(other.rows), joined.columns.join(other.columns)
        if rows is None or columns is None:
            return Unclear(f"branches with different strides meeting in {name!r}")
        joined = Field(rows, columns)
    return joined


def _conv(name, sources, args, kwargs) -> Known:
    stride, padding, dilation = (
        argument(args, kwargs, index, key, default)
        for index, key, default in [(3, "stride", 1), (4, "padding", 0), (5, "dilation", 1)]
    )
    weight = argument(args, kwargs, 1, "weight", None)
    field, kernel = sources[0][1], tuple(weight.shape[2:])
    if padding == "valid":
        padding = 0
    elif padding == "same":
        # torch puts the odd pixel of "same" padding behind: the front gets the smaller half.
        padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, two(dilation), strict=True))
    return _slide(field, kernel, two(stride), two(padding), two(dilation))


def _pool(name, sources, args, kwargs) -> Known:
    after = 2 if name.startswith("lp") else 1  # its second argument is the norm
    kernel = two(argument(args, kwargs, after, "kernel_size", None))
    stride = argument(args, kwargs, after + 1, "stride", None)
    padding = 0 if name.startswith("lp") else argument(args, kwargs, 3, "padding", 0)
    dilation = argument(args, kwargs, 4, "dilation", 1) if name.startswith("max") else 1
    return _slide(
        sources[0][1], kernel, two(kernel if stride in (None, ()) else stride),
        two(padding), two(dilation),
    )  # fmt: skip


def _slide(field, kernel, strides, paddings, dilations) -> Field:
    return Field(
        *(
            axis.slide(k, s, p, d)
            for axis, k, s, p, d in zip(field, kernel, strides, paddings, dilations, strict=True)
        )
    )


def _adaptive_pool(name, sources, args, kwargs) -> Known:
    tensor, field = sources[0]
    sizes = two(argument(args, kwargs, 1, "output_size", None))
    axes = []
    for axis, length, out in zip(field, tensor.shape[-2:], sizes, strict=True):
        out = length if out is None else out
        if out == 1:
            axes.append(axis.collapse(length))
        elif length % out == 0:
            axes.append(axis.slide(length // out, length // out, 0).anywhere())
        else:
            return Unclear(f"{name!r} from {length} to {out} positions, whose windows differ")
    return Field(*axes)


def _concatenate(name, sources, args, kwargs) -> Known:
    dim = argument(args, kwargs, 1, "dim", 0)
    tensor = sources[0][0]
    if dim % tensor.ndim >= tensor.ndim - 2:
        return Unclear(f"{name!r} along the image")
    return _meet(name, sources, (args, kwargs))


def _batch_norm(name, sources, args, kwargs) -> Known:
    if argument(args, kwargs, 5, "training", False):
        return Unclear("statistics of the whole batch")
    return sources[0][1]


def _pad(name, sources, args, kwargs) -> Known:
    mode = argument(args, kwargs, 2, "mode", "constant")
    if mode != "constant":
        return Unclear(f"padding of mode {mode!r}")
    amounts = [*argument(args, kwargs, 1, "pad", ()), 0, 0, 0, 0]
    field = sources[0][1]
    moved = Field(field.rows.shift(-amounts[2]), field.columns.shift(-amounts[0]))
    return moved if min(amounts) >= 0 else moved.anywhere()


def _flatten(name, sources, args, kwargs) -> Known:
    """One long axis: each of its units may be any position, so its field is the union of all."""
    tensor, field = sources[0]
    if argument(args, kwargs, 2, "end_dim", -1) % tensor.ndim < tensor.ndim - 2:
        return field
    return _collapse(tensor, field)


def _collapse(tensor: Tensor, field: Field) -> Known:
    if tensor.ndim < 2:
        return Unclear("a tensor of fewer than two axes")
    height, width = tensor.shape[-2:]
    return Field(field.rows.collapse(height), field.columns.collapse(width))


def _reshape(name, sources, args, kwargs) -> Known:
    tensor = sources[0][0]
    shape = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
    shape = kwargs.get("shape", kwargs.get("size", shape))
    if tensor.ndim >= 4 and tuple(shape[-2:]) == tuple(tensor.shape[-2:]) and len(shape) >= 3:
        return sources[0][1]  # channels are regrouped, the image is left alone
    if len(shape) == 2:
        return _collapse(*sources[0])
    return Unclear(f"{name!r} of an image's axes")


def _transpose(name, sources, args, kwargs) -> Known:
    tensor = sources[0][0]
    dims = {argument(args, kwargs, n + 1, f"dim{n}", kwargs.get(f"axis{n}", 0)) for n in (0, 1)}
    if any(dim % tensor.ndim >= tensor.ndim - 2 for dim in dims):
        return Unclear(f"{name!r} of an image's axes")
    return sources[0][1]


def _unsqueeze(name, sources, args, kwargs) -> Known:
    """A new axis before the image's two."""
    tensor, field = sources[0]
    axis = argument(args, kwargs, 1, "dim", None) % (tensor.ndim + 1)
    return field if axis <= tensor.ndim - 2 else Unclear(f"{name!r} of an image's axes")


def _linear(name, sources, args, kwargs) -> Known:
    tensor, field = sources[0]
    return field if tensor.ndim == 2 else Unclear(f"{name!r} along the image")


def _split(name, sources, args, kwargs) -> Known:
    dim = argument(args, kwargs, 2, "dim", 0)
    tensor, field = sources[0]
    return field if dim % tensor.ndim < tensor.ndim - 2 else Unclear(f"{name!r} along the image")


def _index(name, sources, args, kwargs) -> Known:
    """Slices with steps, as in x[:, :, ::2, ::2]."""
    tensor, field = sources[0]
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    gap = next((n for n, part in enumerate(index) if part is Ellipsis), None)
    if gap is not None:
        missing = tensor.ndim - len(index) + 1
        index = (*index[:gap], *[slice(None)] * missing, *index[gap + 1 :])
    index = (*index, *[slice(None)] * (tensor.ndim - len(index)))
    plain = all(isinstance(part, slice) for part in index[2:])
    odd = any(part is None or getattr(part, "dtype", None) == torch.bool for part in index)
    if tensor.ndim != 4 or odd or not plain:
        return Unclear("indexing of an image's axes")
    axes: list[Axis] = []
    for axis, part, length in zip(field, index[2:], tensor.shape[2:], strict=True):
        start, _, step = part.indices(length)
        moved = axis.shift(start).slide(1, step, 0)
        counted_from_the_front = part.stop is None and (part.start or 0) >= 0
        axes.append(moved if counted_from_the_front else moved.anywhere())
    return Field(*axes)


def _reduce(name, sources, args, kwargs) -> Known:
    tensor, field = sources[0]
    dims = argument(args, kwargs, 1, "dim", None)
    if isinstance(dims, Tensor):  # the two-tensor maximum and minimum
        return _join(name, sources)
    if dims is None:
        return _collapse(tensor, field)
    gone = {dim % tensor.ndim for dim in ([dims] if isinstance(dims, int) else dims)}
    image = {tensor.ndim - 2, tensor.ndim - 1}
    if image <= gone:
        return _collapse(tensor, field)
    return Unclear(f"{name!r} over one axis of the image") if image & gone else field


_RULES: dict[str, Rule] = {
    **dict.fromkeys(["conv2d", "convolution"], _conv),
    **dict.fromkeys(["max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "lp_pool2d"], _pool),
    **dict.fromkeys(["adaptive_avg_pool2d", "adaptive_max_pool2d"], _adaptive_pool),
    **dict.fromkeys(["cat", "concat", "concatenate"], _concatenate),
    **dict.fromkeys(["view", "reshape"], _reshape),
    **dict.fromkeys(["transpose", "swapaxes"], _transpose),
    **dict.fromkeys(["chunk", "split", "split_with_sizes"], _split),
    "pad": _pad,
    "batch_norm": _batch_norm,
    "flatten": _flatten,
    "linear": _linear,
    "unsqueeze": _unsqueeze,
    "getitem": _index,
}
