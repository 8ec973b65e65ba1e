"""Torch's operations by what they do to positions: those that keep each, those that merge them."""

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
