"""A labelled set of images, uint8 in memory."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional

from internals.errors import DataError


@runtime_checkable
class Images(Protocol):
    """Normalised images: a float tensor (n, c, h, w), or what gives one when sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor: ...


@dataclass(frozen=True)
class ImageSet:
    """Labelled images as they were recorded.

    Args:
        images: The pixels, (N, C, H, W), 0..255.
        labels: The class number of each image, (N,).
        class_names: The name of each class number.
        name: What the set is called in messages and captions.
        fingerprint: Changes whenever the data do.
        files: The file that each image was read from; empty where they come from none.

    Raises:
        DataError: The lengths differ, or a label lies outside the classes.
    """

    images: UInt8[Tensor, "images channels height width"]
    labels: Int64[Tensor, " images"]
    class_names: tuple[str, ...]
    name: str
    fingerprint: str
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"{self.name}: {len(self.images)} images but {len(self.labels)} labels")
        if self.files and len(self.files) != len(self.images):
            raise DataError(f"{self.name}: {len(self.images)} images but {len(self.files)} files")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(
            self.class_names
        ):
            raise DataError(
                f"{self.name}: a label lies outside its {len(self.class_names)} classes"
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Int64[Tensor, " chosen"], name: str | None = None) -> "ImageSet":
        """Some of the images; image ids then count within the subset.

        Args:
            indices: The images to take, in the order in which they are wanted.
            name: What the subset is called; by default as the whole.

        Returns:
            The subset. It shares its memory with this set where the indices are consecutive.
        """
        rows = _slice_or_indices(indices, len(self))
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            name=name or self.name,
            files=tuple(self.files[index] for index in indices.tolist()) if self.files else (),
        )

    def head(self, count: int | None = None, name: str | None = None) -> "ImageSet":
        """The first images, sharing their memory with this set.

        Args:
            count: How many to take; None, or more than there are: all.
            name: What they are called; by default as the whole.
        """
        return replace(
            self,
            images=self.images[:count],
            labels=self.labels[:count],
            name=name or self.name,
            files=self.files[:count],
        )

    def padded(self, margin: int) -> "ImageSet":
        """The images in a frame of background (0).

        Args:
            margin: Width of the frame on every side (unit: pixels).
        """
        return replace(self, images=functional.pad(self.images, (margin,) * 4))

    def hold_out(self, count: int, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Split into two, every class in proportion.

        Args:
            count: How many images to hold out.
            seed: Chooses them.

        Returns:
            The rest, and the images held out.

        Raises:
            DataError: `count` is not above zero, or leaves no image.
        """
        if not 0 < count < len(self):
            raise DataError(f"cannot hold out {count} of {len(self)} images of {self.name}")
        held_out = _stratified(self.labels, count, seed)
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[held_out] = True
        return self.subset((~mask).nonzero().flatten()), self.subset(mask.nonzero().flatten())


class Splits(NamedTuple):
    """Training images, a hold-out of them that chooses epochs, and test images used once."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


def _slice_or_indices(indices: Int64[Tensor, " chosen"], count: int) -> slice | Tensor:
    """A slice where `indices` below `count` are consecutive: what it takes is a view."""
    if not len(indices) or not bool((indices.diff() == 1).all()):
        return indices
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if 0 <= first <= last < count else indices


def _stratified(
    labels: Int64[Tensor, " images"], count: int, seed: int
) -> Int64[Tensor, " chosen"]:
    """Choose `count` indices so that every class gives its share, the largest remainders first."""
    generator = torch.Generator().manual_seed(seed)
    classes, sizes = labels.unique(return_counts=True)
    shares = sizes.double() * count / len(labels)
    quotas = shares.floor().long()
    missing = count - int(quotas.sum())
    quotas[(shares - quotas).argsort(descending=True, stable=True)[:missing]] += 1
    chosen = []
    for label, quota in zip(classes, quotas, strict=True):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:quota]])
    return torch.cat(chosen).sort().values
