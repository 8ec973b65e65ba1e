"""Attacks by name: how many steps, on whose gradient, and what they are after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from internals.attacks.gradient_sign import MeanLoss, fgsm, pgd
from internals.attacks.robustness import Victim, outputs
from internals.attacks.wrong_answers import margin, runner_up
from internals.errors import AttackError

AIMS = ("loss", "margin", "target", "acceptance")


@dataclass(frozen=True)
class SignedSteps:
    """So many signed steps in the ball: an `Attack`. One is `fgsm`, more are `pgd`.

    `aim` is what the steps are after: "loss", a large loss of the right class, as the network was
    trained with; "margin", a wrong class with a better score than the right one; "target", a small
    loss of the class that is given in the place of the label; "acceptance", a small loss, and so a
    large posterior, of the wrong class that scores best to begin with. Many steps set out from a
    random place drawn by `seed`, the same for equal batches. `guide` is the network whose gradient
    is followed, where that is not the victim's: the attack is then transferred.
    """

    count: int = 1
    aim: Literal["loss", "margin", "target", "acceptance"] = "loss"
    seed: int = 0
    guide: Victim | None = None

    def __post_init__(self) -> None:
        if self.aim not in AIMS or self.count < 1:
            raise AttackError(
                f"count={self.count} and aim={self.aim!r} make no attack; give at least 1 step "
                f"and one of {', '.join(AIMS)}"
            )

    def __call__(
        self,
        victim: Victim,
        pixels: Float[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
        epsilon: float,
    ) -> Float[Tensor, "n channels height width"]:
        """`pixels` in [0, 1] after the steps."""
        guide = self.guide or victim
        targets = labels if self.aim == "target" else None
        if self.aim == "acceptance":
            targets = best_wrong(guide, pixels, labels)
        loss = _margin(guide) if self.aim == "margin" else guide.loss
        reads = guide.normalization
        if self.count == 1:
            return fgsm(
                guide.model,
                pixels,
                labels,
                epsilon,
                normalization=reads,
                loss=loss,
                targets=targets,
            )
        return pgd(
            guide.model, pixels, labels, epsilon, steps=self.count, normalization=reads, loss=loss,
            targets=targets, generator=torch.Generator().manual_seed(self.seed),
        )  # fmt: skip


@dataclass(frozen=True)
class CoinToss:
    """No attack but its control: every pixel goes up or down by epsilon at random."""

    seed: int = 0

    def __call__(
        self,
        victim: Victim,
        pixels: Float[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
        epsilon: float,
    ) -> Float[Tensor, "n channels height width"]:
        """`pixels` in [0, 1] after the toss, which is the same for equal batches."""
        generator = torch.Generator().manual_seed(self.seed)
        up = torch.rand(pixels.shape, generator=generator).to(pixels) < 0.5
        return torch.where(up, pixels + epsilon, pixels - epsilon).clamp(0, 1)


def best_wrong(
    victim: Victim, pixels: Float[Tensor, "n channels height width"], labels: Int64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """The wrong class that the network finds likeliest for each of `pixels`."""
    return runner_up(victim.loss.scores(outputs(victim, pixels)), labels)


def _margin(victim: Victim) -> MeanLoss:
    scores: Callable[[Tensor], Tensor] = victim.loss.scores
    return lambda outputs, labels: margin(scores(outputs), labels)
