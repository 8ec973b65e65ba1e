"""What a network is trained to make small, and how its outputs are read.

A loss is called with outputs and labels and gives their mean loss; `scores` and `probabilities`
read the same outputs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from internals.errors import TrainingError


@dataclass(frozen=True)
class Map:
    """The maximum a posteriori criterion of LeNet-5 (LeCun et al. 1998, eq. 9).

    E = mean of y_correct + log(exp(-j) + sum_i exp(-y_i)), for penalties y that are squared
    distances to a code for each class. With codes well apart the least possible value is
    log(1 + exp(-j)).

    Args:
        j: The penalty of the class "rubbish", 0 or more. It keeps penalties that are large already
            from being pushed further.
    """

    j: float

    def __post_init__(self) -> None:
        if not 0 <= self.j < float("inf"):
            raise TrainingError(f"j={self.j} of the MAP loss must be 0 or more and finite")

    def __call__(
        self, penalties: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """The mean of the criterion over n images."""
        correct = penalties.gather(1, labels.unsqueeze(1)).squeeze(1)
        return (correct + self._log_partition(penalties)).mean()

    def scores(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The larger the likelier: the smallest penalty wins."""
        return -penalties

    def probabilities(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The posterior of each class; what is missing from a sum of 1 is that of rubbish."""
        return (-penalties - self._log_partition(penalties).unsqueeze(1)).exp()

    def _log_partition(self, penalties: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
        rubbish = penalties.new_full((len(penalties), 1), self.j)
        return torch.logsumexp(-torch.cat([penalties, rubbish], dim=1), dim=1)


@dataclass(frozen=True)
class CrossEntropy:
    """The mean negative log-likelihood of the softmax of the logits.

    Args:
        smoothing: The share of each label that is spread evenly over all classes while training
            (Szegedy et al. 2016, section 7).
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise TrainingError(f"smoothing={self.smoothing} must be a share, 0 to below 1")

    def __call__(
        self, logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """The mean over n images."""
        return functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)

    def scores(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The larger the likelier: the logits themselves."""
        return logits

    def probabilities(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """The softmax of the logits."""
        return logits.softmax(dim=1)


Loss = Map | CrossEntropy
