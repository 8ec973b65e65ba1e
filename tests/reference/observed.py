"""Optimisers that let a test see, or end, the steps of a training run."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from internals.training import OptimizerChoice


class Interrupted(BaseException):
    """Stands for a power cut between two lines."""


def observed(
    choice: OptimizerChoice, observe: Callable[[int, nn.Module, Tensor], Any]
) -> OptimizerChoice:
    """`choice`, which hands the number, the network and the inputs of each step to `observe`.

    It goes by the name of `choice`, so that a run it ends goes on with `choice` itself.
    """

    class Observed(type(choice)):
        def before_step(self, optimizer, model, loss, inputs, step, first_inputs):
            super().before_step(optimizer, model, loss, inputs, step, first_inputs)
            observe(step, model, inputs)

    Observed.__name__ = type(choice).__name__
    return Observed(**vars(choice))


def interrupted(choice: OptimizerChoice, at: int) -> OptimizerChoice:
    """`choice`, whose run ends before step number `at`, counted from 0."""

    def end(step: int, model: nn.Module, inputs: Tensor) -> None:
        if step == at:
            raise Interrupted

    return observed(choice, end)
