"""Training on images as an adversary would have them, as a choice of a recipe."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.attacks.gradient_sign import fgsm, pgd, random_start
from internals.data.normalization import InputMap
from internals.errors import TrainingError


@dataclass(frozen=True)
class FGSM:
    """Part of each batch takes one step of the fast gradient sign method (Goodfellow et al. 2015).

    Args:
        epsilon: The most a pixel changes; black to white is 1.
        share: The part of each batch that is attacked. With one half a step sees as much of the
            images as of what fools the network about them (section 6 of the paper).
    """

    epsilon: float
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise TrainingError(
                f"epsilon={self.epsilon} of an adversary must be above 0, 1 at most"
            )
        if not 0 < self.share <= 1:
            raise TrainingError(f"share={self.share} of an adversary must be above 0, 1 at most")

    def perturb(
        self,
        model: nn.Module,
        pixels: Float[Tensor, "n channels size size"],
        labels: Int64[Tensor, " n"],
        normalization: InputMap,
        loss: Callable[[Tensor, Tensor], Tensor],
        start: Float[Tensor, "n channels size size"],
    ) -> Float[Tensor, "n channels size size"]:
        """The attacked `pixels`, in [0, 1]; `start`, a random place in the ball, is not used."""
        return fgsm(model, pixels, labels, self.epsilon, normalization=normalization, loss=loss)

    def attack_batch(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "share channels size size"],
        labels: Int64[Tensor, " share"],
        positions: Int64[Tensor, " share"],
        normalization: InputMap,
        loss: Callable[[Tensor, Tensor], Tensor],
        seed: tuple[int, int],
    ) -> Float[Tensor, "share channels size size"]:
        """`inputs`, those of them attacked whose turn it is by their `positions` in the batch.

        The attack is made in evaluation mode, so that it draws no dropout mask and moves no
        statistics of a batch normalisation. Its random starts depend on `seed` and an image's
        position in the batch alone: a run that is resumed, or that several processes share, meets
        the same adversary.

        Args:
            model: The network as it stands.
            inputs: This process's part of the batch, normalised.
            labels: Their classes.
            positions: Where each of them stands in the whole batch, on the CPU.
            normalization: The map from pixels to inputs.
            loss: What the network is trained to make small.
            seed: The run's seed and the number of the step.
        """
        chosen = attacked_positions(positions, self.share)
        if not chosen.any():
            return inputs
        rows = chosen.nonzero().flatten().to(inputs.device)
        # There and back a black pixel may come out a rounding error below 0.
        pixels = normalization.invert(inputs[rows]).clamp(0, 1)
        run_seed, step = seed
        digest = hashlib.sha256(repr((run_seed, "adversary", step)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        attacked = positions[chosen]
        shape = torch.Size((int(attacked.max()) + 1, *pixels.shape[1:]))
        starts = random_start(shape, self.epsilon, generator)[attacked].to(pixels)
        perturbed = self.perturb(model, pixels, labels[rows], normalization, loss, starts)
        return inputs.index_copy(0, rows, normalization.apply(255 * perturbed))


@dataclass(frozen=True)
class PGD(FGSM):
    """Part of each batch takes many projected steps from a random start (Madry et al. 2018).

    Args:
        epsilon: The most a pixel changes; black to white is 1.
        share: The part of each batch that is attacked; 1 is the paper's.
        steps: How many steps, each 2.5 epsilon / steps long.
    """

    steps: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise TrainingError(f"steps={self.steps} of an adversary must be 1 or more")

    def perturb(
        self,
        model: nn.Module,
        pixels: Float[Tensor, "n channels size size"],
        labels: Int64[Tensor, " n"],
        normalization: InputMap,
        loss: Callable[[Tensor, Tensor], Tensor],
        start: Float[Tensor, "n channels size size"],
    ) -> Float[Tensor, "n channels size size"]:
        """The attacked `pixels`, in [0, 1], the first step taken from `pixels + start`."""
        return pgd(
            model, pixels, labels, self.epsilon, steps=self.steps,
            normalization=normalization, loss=loss, start=start,
        )  # fmt: skip


def attacked_positions(positions: Int64[Tensor, " share"], share: float) -> Tensor:
    """Which of the `positions` in a batch are attacked: the share of them, evenly spread."""
    return ((positions + 1) * share).floor() > (positions * share).floor()
