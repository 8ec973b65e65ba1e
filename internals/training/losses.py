"""What a network is trained to make small, and how its outputs are read."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from internals.training.recipe import Recipe


class MapLoss(nn.Module):
    """The maximum a posteriori criterion of LeNet-5 (eq. 9), for penalties y that are distances.

    E = mean of y_correct + log(exp(-j) + sum_i exp(-y_i)); j > 0 is the penalty of a class of
    rubbish, which keeps penalties that are large already from being pushed further. With codes
    well apart the least possible value is log(1 + exp(-j)).
    """

    def __init__(self, rubbish_penalty: float) -> None:
        super().__init__()
        self.rubbish_penalty = rubbish_penalty

    def forward(
        self, penalties: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        correct = penalties.gather(1, labels.unsqueeze(1)).squeeze(1)
        return (correct + self._log_evidence(penalties)).mean()

    def scores(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The larger the likelier: the smallest penalty wins."""
        return -penalties

    def probabilities(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Posterior of each class; what is missing from a sum of 1 is the class of rubbish."""
        return (-penalties - self._log_evidence(penalties).unsqueeze(1)).exp()

    def _log_evidence(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
        rubbish = penalties.new_full((len(penalties), 1), self.rubbish_penalty)
        return torch.logsumexp(-torch.cat([penalties, rubbish], dim=1), dim=1)


class CrossEntropy(nn.Module):
    """The mean negative log-likelihood of the softmax of ten logits."""

    def forward(
        self, logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        return functional.cross_entropy(logits, labels)

    def scores(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The larger the likelier: the logits themselves."""
        return logits

    def probabilities(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The softmax of the logits."""
        return logits.softmax(dim=1)


Loss = MapLoss | CrossEntropy


def build_loss(recipe: Recipe) -> Loss:
    """The loss that `recipe` names."""
    return MapLoss(recipe.rubbish_penalty) if recipe.loss == "map" else CrossEntropy()
