"""The images of each optimiser step: which, in which order, augmented by which random numbers."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from internals.data.augment import augment_digits
from internals.data.image_set import ImageSet
from internals.data.pipeline import Pipeline

_SMALLEST_GROUP = 16  # images: fewer at a time cost more to augment
_GROUPS = 8  # of a large batch: among so many processes it can be shared out
_SHARE_OF_MEMORY = 0.5  # of what a GPU has free, for the pixels of all training images


def first(images: ImageSet, count: int | None) -> ImageSet:
    """The first `count` of `images`, all where it is None; no pixel is copied."""
    if count is None or count >= len(images):
        return images
    part = slice(count)
    return replace(
        images, images=images.images[part], labels=images.labels[part], files=images.files[part]
    )


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
    """Training batches of uint8 `images`, read as they are needed, made inputs by a `Pipeline`.

    The images of a step are augmented in groups, each by random numbers of its own that depend on
    (seed, epoch, step, group) alone. So a run that goes on after a kill sees the same pictures,
    and so do several processes that share the groups of each batch. Before the pipeline
    sees them digits are moved and turned (`augment_digits`). With `duplicate` an epoch has each of
    n images twice: as number 0 to n - 1 as it is, as number n to 2 n - 1 moved and turned.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        of: int,
        *,
        shift: int = 0,
        rotation: float = 0.0,
        duplicate: bool = False,
    ) -> None:
        self.images, self.count = len(images), len(images) * (1 + duplicate)
        self.batch_size, self.seed = batch_size, seed
        self.shift, self.rotation, self.duplicate = shift, rotation, duplicate
        self.device, self.rank, self.of = device, rank, of
        self.pixels = on_device(images.images, device)
        self.labels = images.labels.to(device)
        self.group = max(_SMALLEST_GROUP, -(-batch_size // _GROUPS))

    def order(self, epoch: int) -> Iterator[Int64[Tensor, " batch"]]:
        """The numbers of the images of each step of `epoch`; all processes get the same."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        yield from torch.randperm(self.count, generator=generator).split(self.batch_size)

    def inputs(
        self, numbers: Int64[Tensor, " batch"], pipeline: Pipeline, epoch: int, step: int
    ) -> tuple[Float[Tensor, "share channels size size"], Int64[Tensor, " share"], float]:
        """This process's share of the images `numbers` as inputs, their labels, an image's weight.

        The weight is one image's part in the mean over the batch, 1 / batch. A process for which
        nothing is left of a short batch gets its first image with weight 0, for all processes
        must take part in every step.
        """
        groups = list(enumerate(numbers.split(self.group)))[self.rank :: self.of]
        weight = 1 / len(numbers) if groups else 0.0
        groups = groups or [(0, numbers[:1])]
        ready = [self._augmented(group, pipeline, (epoch, step, index)) for index, group in groups]
        mine = torch.cat([group for _, group in groups]).to(self.device)
        labels = self.labels[mine % self.images]
        return ready[0] if len(ready) == 1 else torch.cat(ready), labels, weight

    def places(self, count: int) -> Int64[Tensor, " share"]:
        """Where the images of this process's share stand in a batch of `count`."""
        groups = torch.arange(count).split(self.group)[self.rank :: self.of]
        return torch.cat(groups) if groups else torch.zeros(1, dtype=torch.int64)

    def _augmented(self, group: Tensor, pipeline: Pipeline, place: tuple[int, int, int]) -> Tensor:
        drawn = hashlib.sha256(repr((self.seed, *place)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(drawn[:4], "big"))
        rows = (group % self.images).to(self.pixels.device)
        pixels = self.pixels[rows].to(self.device, non_blocking=True)
        if self.shift or self.rotation:
            # Of the two of a pair, the second; without pairs, all.
            chosen = (group >= self.images * self.duplicate).nonzero().flatten().to(self.device)
            varied = augment_digits(pixels[chosen], self.shift, self.rotation, generator)
            pixels = pixels.index_copy(0, chosen, varied)
        return pipeline.training(pixels, generator)
