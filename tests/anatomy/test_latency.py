"""Oracle: a module that sleeps for a known time, and a count of the passes."""

import time

import torch
from torch import nn

from internals.anatomy.summary import latency


class Sleeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.naps = [0.5, 0.5, 0.5, 0.01, 0.01, 0.6]  # three that do not count, one outlier
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x):
        self.seen.append((*x.shape, self.training))
        time.sleep(self.naps[len(self.seen) - 1])
        return x * self.weight


def test_the_median_of_the_passes_that_count_in_evaluation_mode():
    model = Sleeper().train()
    found = latency(model, (3, 5, 7), repeats=3)
    assert 0.01 <= found < 0.5
    assert model.seen == [(1, 3, 5, 7, False)] * 6 and model.training
