"""Training on images as an adversary would have them."""

import hashlib

import torch
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn

from internals.attacks.gradient_sign import fgsm, pgd, random_start
from internals.data.pipeline import Pipeline
from internals.training.losses import Loss
from internals.training.recipe import Recipe


class Adversary:
    """What a recipe's `adversary` makes of a training batch, for the weights as they stand.

    With a share of one half each step sees, as in Goodfellow et al. (2015, section 6), as much of
    the images as of what fools the network about them; with a share of 1 it sees the latter only
    (Madry et al. 2018, section 2). The attack is made in evaluation mode, so that it draws no
    dropout mask and moves no statistics of a batch normalisation. Its random starts depend on
    (seed, step) and an image's place in the batch alone: a run that goes on after a kill, or that
    several processes share, meets the same adversary.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, loss: Loss, seed: int) -> None:
        self.recipe, self.model, self.loss, self.seed = recipe, model, loss, seed

    def altered(
        self,
        inputs: Float[Tensor, "share channels size size"],
        labels: Int64[Tensor, " share"],
        pipeline: Pipeline,
        places: Int64[Tensor, " share"],
        step: int,
        fabric: Fabric,
    ) -> Float[Tensor, "share channels size size"]:
        """`inputs` with those attacked whose turn it is by their `places` in the whole batch.

        Every image or every other one, as the share says: then all processes have equal work.
        """
        chosen = self.chosen(places)
        if self.recipe.adversary == "none" or not chosen.any():
            return inputs
        normalization, epsilon = pipeline.normalization, self.recipe.adversary_epsilon
        rows = chosen.nonzero().flatten().to(inputs.device)
        # There and back a black pixel may come out a rounding error below 0.
        pixels = normalization.invert(inputs[rows]).clamp(0, 1)
        with fabric.autocast():
            if self.recipe.adversary == "fgsm":
                found = fgsm(
                    self.model, pixels, labels[rows], epsilon,
                    normalization=normalization, loss=self.loss,
                )  # fmt: skip
            else:
                found = pgd(
                    self.model, pixels, labels[rows], epsilon, steps=self.recipe.adversary_steps,
                    normalization=normalization, loss=self.loss,
                    start=self._starts(places[chosen], pixels, step),
                )  # fmt: skip
        return inputs.index_copy(0, rows, normalization.apply(255 * found))

    def chosen(self, places: Int64[Tensor, " share"]) -> Tensor:
        """Which of the `places` in a batch are attacked: the share of them, evenly spread."""
        share = self.recipe.adversary_share
        return ((places + 1) * share).floor() > (places * share).floor()

    def _starts(self, places: Tensor, like: Tensor, step: int) -> Tensor:
        drawn = hashlib.sha256(repr((self.seed, "adversary", step)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(drawn[:4], "big"))
        shape = torch.Size((int(places.max()) + 1, *like.shape[1:]))
        whole = random_start(shape, self.recipe.adversary_epsilon, generator)
        return whole[places].to(like)
