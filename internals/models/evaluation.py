"""Evaluation mode for a while.

A file of its own because training needs it: all weights are keyed by the code that trained them,
and that of hooks and traces, which change more often, is no part of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While the block runs every module is in evaluation mode; afterwards each is as it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, training in before:
            module.training = training
