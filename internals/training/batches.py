"""The images of each optimiser step: which, in which order, augmented by which random numbers."""

import hashlib
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from internals.data.augment import augment_digits
from internals.data.image_set import ImageSet
from internals.data.pipeline import Pipeline
from internals.training.recipe import DigitAugmentation

_SMALLEST_GROUP = 16  # images: fewer at a time cost more to augment
_GROUPS = 8  # of a large batch: among so many processes it can be shared out
_SHARE_OF_MEMORY = 0.5  # of what a GPU has free, for the pixels of all training images


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """The stored bytes on `device` where they fit there with room to work, else where they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if pixels.nbytes > _SHARE_OF_MEMORY * free:
            return pixels
    return pixels.to(device)


def micro_batches(
    inputs: Float[Tensor, "n channels size size"], labels: Int64[Tensor, " n"], most: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch in parts of at most `most` images, as equal as can be; None: the batch itself."""
    count = math.ceil(len(inputs) / (most or len(inputs)))
    yield from zip(inputs.tensor_split(count), labels.tensor_split(count), strict=True)


class Batches:
    """Training batches of uint8 images, read as they are needed, made inputs by a `Pipeline`.

    The images of a step are augmented in groups, each by random numbers of its own that depend on
    (seed, epoch, step, group) alone. So a run that is resumed sees the same pictures, and so do
    several processes that share the groups of each batch. Before the pipeline sees them digits are
    moved and turned. With duplicates an epoch has each of n images twice: as number 0 to n - 1 as
    it is, as number n to 2 n - 1 augmented.

    Args:
        images: The training images.
        batch_size: Images a step, all processes together.
        seed: Decides order and augmentation.
        device: Where inputs are made.
        rank: The number of this process.
        world_size: How many processes there are.
        augment: What moves digits, if anything.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        augment: DigitAugmentation | None = None,
    ) -> None:
        self.augment = augment
        duplicate = augment is not None and augment.duplicate
        self.images, self.count = len(images), len(images) * (1 + duplicate)
        self.first_augmented = self.images * duplicate
        self.batch_size, self.seed = batch_size, seed
        self.device, self.rank, self.world_size = device, rank, world_size
        self.pixels = on_device(images.images, device)
        self.labels = images.labels.to(device)
        self.group = max(_SMALLEST_GROUP, -(-batch_size // _GROUPS))

    def order(self, epoch: int) -> Iterator[Int64[Tensor, " batch"]]:
        """The numbers of the images of each step of `epoch`; all processes get the same."""
        generator = torch.Generator().manual_seed((self.seed * 100_003 + epoch) % 2**63)
        yield from torch.randperm(self.count, generator=generator).split(self.batch_size)

    def inputs(
        self, numbers: Int64[Tensor, " batch"], pipeline: Pipeline, epoch: int, step: int
    ) -> tuple[Float[Tensor, "share channels size size"], Int64[Tensor, " share"], float]:
        """This process's share of one batch.

        Args:
            numbers: The numbers of the images of the whole batch.
            pipeline: What makes inputs of them.
            epoch: The number of the epoch, counted from 1.
            step: The number of the step within the epoch, counted from 0.

        Returns:
            The inputs, their labels, and one image's weight in the mean over the batch, 1 / batch.
            A process for which nothing is left of a short batch gets its first image with weight
            0, for all processes must take part in every step.
        """
        groups = list(enumerate(numbers.split(self.group)))[self.rank :: self.world_size]
        weight = 1 / len(numbers) if groups else 0.0
        groups = groups or [(0, numbers[:1])]
        parts = [self._augmented(group, pipeline, (epoch, step, index)) for index, group in groups]
        share = torch.cat([group for _, group in groups]).to(self.device)
        labels = self.labels[share % self.images]
        return parts[0] if len(parts) == 1 else torch.cat(parts), labels, weight

    def positions(self, count: int) -> Int64[Tensor, " share"]:
        """Where the images of this process's share stand in a batch of `count`."""
        groups = torch.arange(count).split(self.group)[self.rank :: self.world_size]
        return torch.cat(groups) if groups else torch.zeros(1, dtype=torch.int64)

    def _augmented(self, group: Tensor, pipeline: Pipeline, place: tuple[int, int, int]) -> Tensor:
        digest = hashlib.sha256(repr((self.seed, *place)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        rows = (group % self.images).to(self.pixels.device)
        pixels = self.pixels[rows].to(self.device, non_blocking=True)
        if self.augment is not None:
            # Of the two of a pair, the second; without pairs, all.
            chosen = (group >= self.first_augmented).nonzero().flatten().to(self.device)
            moved = augment_digits(
                pixels[chosen], self.augment.shift, self.augment.rotation, generator
            )
            pixels = pixels.index_copy(0, chosen, moved)
        return pipeline.training(pixels, generator)
