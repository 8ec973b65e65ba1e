"""Attacks by name: how many steps, on whose gradient, and what they are after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from internals.attacks.gradient_sign import MeanLoss, fgsm, pgd
from internals.data.image_set import ImageSet
from internals.data.normalization import InputMap
from internals.errors import AttackError
from internals.models.evaluation import evaluating


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


_BATCH = 250  # images: whose feature maps stay in a processor's cache


@runtime_checkable
class Victim(Protocol):
    """What is attacked: a network, what it reads, and how its outputs are read. A `Run` is one."""

    @property
    def model(self) -> nn.Module:
        """The network."""

    @property
    def normalization(self) -> InputMap:
        """The map from pixels to its input."""

    @property
    def loss(self) -> Any:
        """(outputs, labels) -> mean loss, with `scores` and `probabilities` of outputs."""


# (victim, pixels in [0, 1], labels, epsilon) -> pixels in [0, 1]; for targeted success, the
# classes to be reached stand in the place of the labels.
Attack = Callable[[Victim, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Answers:
    """What a network says of n images: `predicted` (n,) and `confidence` (n,), its posterior."""

    predicted: np.ndarray
    confidence: np.ndarray


def attacked(
    victim: Victim, images: ImageSet, epsilon: float, attack: Attack
) -> Float[Tensor, "n channels height width"]:
    """Every one of `images` after `attack`, as pixels in [0, 1] in the processor's memory."""
    device = _device(victim)
    found = [
        attack(victim, pixels.to(device), labels.to(device), epsilon).cpu()
        for pixels, labels in _batches(images)
    ]
    return torch.cat(found)


def outputs(
    victim: Victim, pixels: Float[Tensor, "n channels height width"]
) -> Float[Tensor, "n classes"]:
    """What the network's last layer makes of `pixels` in [0, 1], in evaluation mode."""
    found = []
    with evaluating(victim.model), torch.no_grad():
        for part in pixels.split(_BATCH):
            read = victim.normalization.apply(255 * part.to(_device(victim)))
            found.append(victim.model(read).to(pixels.device))
    return torch.cat(found)


def answers(victim: Victim, pixels: Float[Tensor, "n channels height width"]) -> Answers:
    """What the network says of `pixels` in [0, 1]."""
    found = outputs(victim, pixels)
    best = victim.loss.scores(found).argmax(dim=1, keepdim=True)
    confidence = victim.loss.probabilities(found).gather(1, best)
    return Answers(best[:, 0].cpu().numpy(), confidence[:, 0].cpu().numpy())


def withstands(
    victim: Victim,
    images: ImageSet,
    epsilons: Sequence[float],
    attacks: Sequence[Attack],
    *,
    nested: bool = False,
) -> Bool[np.ndarray, "epsilons n"]:
    """Whether each image is still read rightly after every one of `attacks`, for each epsilon.

    The mean over images is the accuracy under attack. With `nested` an image that is fooled at one
    epsilon counts as fooled at every larger one and is not attacked again: what fooled it lies in
    the larger ball too. So the accuracy can only fall, which `epsilons` must rise for. Without
    `nested` each epsilon stands for itself. Raises `AttackError` when nested epsilons fall.
    """
    if nested and any(one > two for one, two in pairwise(epsilons)):
        raise AttackError(f"epsilons={list(epsilons)} must rise where they are nested")
    right = np.zeros((len(epsilons), len(images)), dtype=bool)
    standing = np.ones(len(images), dtype=bool)
    for row, epsilon in enumerate(epsilons):
        standing = standing.copy() if nested else np.ones(len(images), dtype=bool)
        for attack in attacks:
            left = np.flatnonzero(standing)
            if not len(left):
                break
            part = images.subset(torch.from_numpy(left))
            said = answers(victim, attacked(victim, part, epsilon, attack)).predicted
            standing[left] = said == part.labels.numpy()
        right[row] = standing
    return right


def targeted_success(
    victim: Victim, images: ImageSet, epsilon: float, attack: Attack
) -> Float[np.ndarray, "classes classes"]:
    """The share of the images of each class (row) that `attack` gets read as each other (column).

    `attack` is given the class to be reached where others are given the right one. The diagonal,
    where there is nothing to reach, is NaN, and so is the row of a class without images.
    """
    classes = len(images.class_names)
    shares = np.full((classes, classes), np.nan)
    for target in range(classes):
        others = images.subset((images.labels != target).nonzero().flatten())
        aimed = ImageSet(
            others.images, torch.full_like(others.labels, target), others.class_names,
            others.name, others.fingerprint,
        )  # fmt: skip
        reached = answers(victim, attacked(victim, aimed, epsilon, attack)).predicted == target
        for true in others.labels.unique().tolist():
            shares[true, target] = reached[others.labels.numpy() == true].mean()
    return shares


def _batches(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        yield images.images[part].float() / 255, images.labels[part]


def _device(victim: Victim) -> torch.device:
    return next(victim.model.parameters()).device


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
