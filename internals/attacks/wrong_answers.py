"""How near the best wrong answer is to the right one: a loss that no saturated layer flattens."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def margin(scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean of (best wrong score - right score), which is above 0 for a mistake.

    With logits this is f6 of Carlini and Wagner (2017), without its floor. Its gradient stays as
    large when the network is sure, where that of a cross-entropy vanishes.
    """
    right = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    return (_wrong(scores, labels).amax(dim=1) - right).mean()


def runner_up(
    scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """The wrong class with the best score, for each image."""
    return _wrong(scores, labels).argmax(dim=1)


def _wrong(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.scatter(1, labels.unsqueeze(1), -torch.inf)
