"""Torch's operations by name and kind: which of them are linear, which are rectifiers.

What is not named here counts as something else. So an operation that nobody has thought of is
refused, and never taken for linear.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

UNBOUNDED = float("inf")

# Linear in what they move, whatever the positions are.
_MOVING = frozenset(
    """view _unsafe_view reshape _reshape_alias permute transpose t slice select unsqueeze squeeze
    alias detach clone contiguous _to_copy to lift lift_fresh lift_fresh_copy cat stack split
    split_with_sizes chunk tensor_split unbind narrow flip roll rot90 pixel_shuffle pixel_unshuffle
    channel_shuffle native_channel_shuffle as_strided unfold im2col col2im constant_pad_nd
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d pad expand repeat repeat_interleave tile movedim diagonal copy slice_scatter
    select_scatter resolve_conj resolve_neg set_data split_copy unbind_copy view_copy permute_copy
    expand_copy slice_copy select_copy squeeze_copy unsqueeze_copy transpose_copy""".split()
)
# Linear in each of what they add or average.
_ADDING = frozenset(
    """add sub rsub neg negative sum mean nansum cumsum avg_pool1d avg_pool2d avg_pool3d
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d mkldnn_adaptive_avg_pool2d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d
    upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa
    upsample_trilinear3d""".split()
)
# They choose, each output from a window of inputs; a picture goes back to the chosen ones.
_CHOOSING = frozenset(
    """max_pool2d max_pool2d_with_indices mkldnn_max_pool2d adaptive_max_pool2d
    fractional_max_pool2d max_unpool2d""".split()
)
# So do these, as long as they choose among places. Among channels, or among several maps of one
# place, a choice is a rectifier of some kind.
_CHOOSING_ALONG = frozenset(["amax", "amin", "max", "min"])
# Linear in each of these operands alone, by position: one of them may come from the image.
_FACTORS = {
    **dict.fromkeys(
        """mul mm bmm mv dot matmul linear convolution _convolution convolution_overrideable
        mkldnn_convolution cudnn_convolution miopen_convolution conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d _conv_depthwise2d conv_depthwise3d
        _slow_conv2d_forward slow_conv3d slow_conv_transpose2d mkldnn_linear kron outer""".split(),
        (0, 1),
    ),
    **dict.fromkeys("addmm addbmm baddbmm addmv addr addcmul".split(), (1, 2)),
}
# These operands decide what is done with the others, and so none of them may come from the image.
_DECIDING = {
    **dict.fromkeys(
        """div true_divide index index_put _index_put_impl masked_fill masked_scatter
        grid_sampler grid_sampler_2d grid_sampler_3d embedding""".split(),
        (1,),
    ),
    **dict.fromkeys(
        "gather scatter scatter_add index_select index_add index_copy index_fill lerp".split(), (2,)
    ),
    "where": (0,),
    "dropout": (),
    "native_dropout": (),
}
# With statistics that were trained they are linear. Those that they take from the image itself
# make no rectifier of them: like every operation with a derivative of its own they are sent back
# through by it.
NORMALISATIONS = frozenset(
    """batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _native_batch_norm_legit_functional cudnn_batch_norm miopen_batch_norm
    _batch_norm_with_update _batch_norm_no_update _batch_norm_impl_index layer_norm
    native_layer_norm group_norm native_group_norm instance_norm local_response_norm rms_norm
    _fused_rms_norm normalize""".split()
)
# What they put out does not depend on the numbers that they are given.
_NUMBERLESS = frozenset(
    """empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty
    new_zeros new_ones new_full new_empty_strided zero fill is_same_size
    _has_same_storage_numel""".split()
)

_RECTIFIERS = frozenset(["relu", "relu6", "clamp", "clip", "clamp_min", "hardtanh", "threshold"])


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, key: str, default: Any):
    """The argument at `index`, or the one called `key`, or else its `default`."""
    return args[index] if len(args) > index else kwargs.get(key, default)


def operation_name(func: Callable[..., Any]) -> str:
    """What an operation is called, in every spelling: "add" for `+`, `add_`, `aten.add.Tensor`."""
    return full_name(func).strip("_") or str(func)


def full_name(func: Callable[..., Any]) -> str:
    """The same with its underscores, of which one at the end says that it works in place."""
    if isinstance(func, torch._ops.OpOverload):
        return func._schema.name.rpartition("::")[2]
    name = getattr(func, "__name__", "")
    if name == "__get__":  # of an attribute, such as x.T
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    return name


def is_in_place(func: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
    """Whether an operation changes its first operand."""
    name = full_name(func)
    return bool(kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def is_numberless(name: str) -> bool:
    """Whether what the operation puts out depends on no number, but on shapes alone."""
    return name.removesuffix("_") in _NUMBERLESS


def is_linear(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    depends: Callable[[Tensor], bool],
) -> bool:
    """Whether torch's operation, by its name in `torch.ops`, is linear in what it is given.

    Args:
        name: Such as "add", "add_" or "convolution".
        args: Its operands.
        kwargs: Those that are named, which are numbers and words.
        depends: Whether an operand comes from the image; of those that do not, nothing is asked.
    """
    plain = name.removesuffix("_")
    if plain in _MOVING | _ADDING | _CHOOSING | NORMALISATIONS:
        return True
    if plain in _CHOOSING_ALONG:
        return _is_along_places(args)
    if kwargs.get("rounding_mode") is not None:
        return False
    from_image = [any(depends(tensor) for tensor in tensors_of(arg)) for arg in args]
    if plain in _FACTORS:
        return sum(from_image[position] for position in _FACTORS[plain]) <= 1
    return plain in _DECIDING and not any(from_image[n] for n in _DECIDING[plain])


def _is_along_places(args: Sequence[Any]) -> bool:
    """Whether a maximum is taken over rows and columns, or over all there is."""
    if len(args) < 2:
        return True
    dims = (args[1],) if isinstance(args[1], int) else args[1]
    first = max(2, args[0].ndim - 2)
    return all(isinstance(dim, int) and dim % args[0].ndim >= first for dim in dims)


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors in `value`, which may be a tensor, or hold some in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_of(item)]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_of(item)]
    return []


def is_rectifier(name: str) -> bool:
    """Whether the operation can be a rectifier; `ceiling` says of a call whether it is one."""
    return name in _RECTIFIERS


def ceiling(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """Where a rectifier is cut off above (infinity: nowhere), or None for all else.

    Args:
        name: As `operation_name` gives it.
        args: Of the call.
        kwargs: Likewise.
    """
    if name not in _RECTIFIERS:
        return None
    read = partial(argument, args, kwargs)
    if name == "relu":
        return UNBOUNDED
    if name == "relu6":
        return 6.0
    if name == "threshold":
        zero = read(1, "threshold", None) == 0 and read(2, "value", None) == 0
        return UNBOUNDED if zero else None
    if name == "hardtanh":
        low, high = read(1, "min_val", -1.0), read(2, "max_val", 1.0)
    else:
        low, high = read(1, "min", None), read(2, "max", None)
    if isinstance(low, Tensor) or isinstance(high, Tensor) or low != 0:
        return None
    return UNBOUNDED if high is None else float(high)
