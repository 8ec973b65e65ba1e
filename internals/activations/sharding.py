"""Work shared out over devices: a copy of the network on each, a thread for each."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import nn

Devices = Sequence[str | torch.device]
Worker = TypeVar("Worker")
Share = TypeVar("Share")
Result = TypeVar("Result")


def replicas(model: nn.Module, devices: Devices | None) -> list[nn.Module]:
    """A copy of `model` on each of `devices`, or `model` itself where none are named.

    A device may be named twice; `model` is not changed.
    """
    if not devices:
        return [model]
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False):
        return [copy.deepcopy(model).to(device) for device in devices]


def in_parallel(
    workers: Sequence[Worker], shares: Sequence[Share], work: Callable[[Worker, Share], Result]
) -> list[Result]:
    """`work(worker, share)` for every worker and its share, at the same time, results in order.

    What the first of them raises is raised, when all have ended.
    """
    if len(workers) == 1:
        return [work(workers[0], shares[0])]
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(work, workers, shares))
