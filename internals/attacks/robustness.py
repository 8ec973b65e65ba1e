"""How a network stands attacks on a whole set of images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from internals.anatomy.watch import evaluating
from internals.data.images import ImageSet
from internals.data.normalization import InputMap
from internals.errors import AttackError

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
