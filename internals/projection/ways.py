"""The ways back through a rectifier: what each rule makes of the signal that arrives at one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Slope = float | Tensor


class Way(NamedTuple):
    """One way back: what it keeps of the input, and what it makes of a signal with that."""

    keep: Callable[[Tensor], Tensor | None]
    send: Callable[[Tensor, Any], Tensor]


class Ruled(torch.autograd.Function):
    """`forward_pass(source)` forward, `way` backward.

    What is kept is never the input or the output: something may work in place on either.
    """

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, forward_pass: Callable, way: Way, in_place: bool
    ) -> Tensor:
        """What the network itself computes."""
        ctx.save_for_backward(way.keep(source))
        ctx.send = way.send
        output = forward_pass(source)
        if in_place:
            ctx.mark_dirty(source)
        return output

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        """The signal as the way back sends it on."""
        return ctx.send(signals[0], ctx.saved_tensors[0]), None, None, None


def _nothing(source: Tensor) -> None:
    return None


STRAIGHT = Way(_nothing, lambda signal, _: signal)
AGREEING = Way(torch.sign, lambda signal, sign: signal * (signal * sign > 0))
POSITIVE = Way(_nothing, lambda signal, _: signal.clamp(min=0))


def positive_where_active(ceiling: float) -> Way:
    """relu(g) where 0 < a < `ceiling`: the guided rule."""

    def active(source: Tensor) -> Tensor:
        return source > 0 if ceiling == float("inf") else (source > 0) & (source < ceiling)

    return Way(active, lambda signal, mask: signal.clamp(min=0).mul_(mask))


def leaking(slope: Slope) -> Way:
    """f(g), f being the rectifier itself, with its `slope` below zero: the deconvnet rule."""
    return Way(_nothing, lambda signal, _: _leak(signal, slope))


def leaking_where_active(slope: Slope) -> Way:
    """f(g) f'(x): the guided rule."""

    def send(signal: Tensor, active: Tensor) -> Tensor:
        leaked = _leak(signal, slope)
        return torch.where(active, leaked, leaked * slope)

    return Way(lambda source: source > 0, send)


def _leak(signal: Tensor, slope: Slope) -> Tensor:
    return torch.where(signal > 0, signal, signal * slope)
