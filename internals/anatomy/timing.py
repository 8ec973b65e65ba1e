"""How long a network takes for one image."""

import time
from collections.abc import Sequence

import torch
from torch import nn

from internals.anatomy.watch import evaluating


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
