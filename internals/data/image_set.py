"""A labelled set of images, uint8 in memory."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional

from internals.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Labelled images as they were recorded: `images` uint8 (N, C, H, W), `labels` int64 (N,).

    `files` are the names of the files that the images come from, where they come from files.
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
        """The images at `indices`, in that order; image ids then count within the subset.

        Images that follow one another are not copied: both sets then share their memory.
        """
        rows = _slice_or_indices(indices, len(self))
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            name=name or self.name,
            files=tuple(self.files[index] for index in indices.tolist()) if self.files else (),
        )

    def padded(self, margin: int) -> "ImageSet":
        """The images in a frame of `margin` background (0) pixels on every side."""
        return replace(self, images=functional.pad(self.images, (margin,) * 4))

    def hold_out(self, count: int, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Split into (the rest, `count` held out), class by class in proportion, by `seed`.

        Raises `DataError` when fewer than `count` + 1 images are there.
        """
        if not 0 < count < len(self):
            raise DataError(f"cannot hold out {count} of {len(self)} images of {self.name}")
        held = _stratified(self.labels, count, seed)
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[held] = True
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
    exact = sizes.double() * count / len(labels)
    take = exact.floor().long()
    missing = count - int(take.sum())
    take[(exact - take).argsort(descending=True, stable=True)[:missing]] += 1
    chosen = []
    for label, quota in zip(classes, take, strict=True):
        members = (labels == label).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:quota]])
    return torch.cat(chosen).sort().values


@runtime_checkable
class Images(Protocol):
    """Normalised images: a float tensor (n, c, h, w), or what gives one when sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor: ...
