"""Which images drive each channel hardest: one pass over all images, for all layers at once."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.activations.ranking import Strongest
from internals.activations.recording import as_input, recording
from internals.anatomy.trace import only_calls
from internals.anatomy.watch import evaluating, run_until
from internals.errors import DataError, LayerError
from internals.progress import Progress

_BATCH = 256


@runtime_checkable
class Images(Protocol):
    """Normalised images: a float tensor (n, c, h, w), or what gives one when sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor: ...


def strongest(
    model: nn.Module, images: Images, layers: Iterable[str], k: int = 9, *, batch: int = _BATCH
) -> dict[str, Strongest]:
    """For every channel of `layers`, the `k` of `images` that it answers hardest, and where.

    One position an image, so that no image fills a row; border positions take part; equal values
    are ordered by image. A squashing layer (tanh, sigmoid) is ranked by its input, because
    hundreds of its outputs tie exactly at the ceiling. Fewer than `k` images give that many. The
    model is left as it was found. Raises `LayerError` for unknown layers and values that are not
    numbers, and `DataError` for an empty set or k < 1.
    """
    if len(images) == 0 or k < 1:
        raise DataError(f"cannot choose the strongest {k} of {len(images)} images; need 1 or more")
    layers = tuple(dict.fromkeys(layers))
    only_calls(model, layers, images[:1].shape[1:])
    leaders = {layer: _Leaders(layer, min(k, len(images))) for layer in layers}
    with (
        evaluating(model),
        torch.inference_mode(),
        Progress("strongest", len(images), "image", quiet=10) as bar,
    ):
        for start in range(0, len(images), batch):
            part = as_input(model, images[start : start + batch])
            with recording(model, layers, before_squashing=True) as record:
                run_until(model, part, record.is_full)
            for layer in layers:
                leaders[layer].add(record.maps[layer], start)
            bar.advance(len(part))
    return {layer: leaders[layer].result() for layer in layers}


class _Leaders:
    """The best k so far of every channel of one layer, on the model's device."""

    def __init__(self, layer: str, k: int) -> None:
        self.layer, self.k = layer, k
        self.columns: int = 0
        self.value: Tensor | None = None
        self.image: Tensor
        self.place: Tensor

    def add(self, maps: Float[Tensor, "n channels y x"], first: int) -> None:
        """Take in the maps of images number `first` and on."""
        self.columns = maps.shape[3]
        # The first of equal positions wins: argmax promises that, max does not.
        place = maps.flatten(2).argmax(dim=2)
        value = maps.flatten(2).gather(2, place.unsqueeze(2)).squeeze(2)
        if bool(value.isnan().any()):
            number = first + int(value.isnan().any(dim=1).nonzero()[0])
            raise LayerError(f"layer {self.layer!r} answers image {number} with NaN")
        image = torch.arange(first, first + len(maps), device=maps.device)
        self._merge(value.T, image.expand(value.shape[1], -1), place.T)

    def _merge(
        self,
        value: Float[Tensor, "channels n"],
        image: Int64[Tensor, "channels n"],
        place: Int64[Tensor, "channels n"],
    ) -> None:
        if self.value is not None:
            value = torch.cat([self.value, value], dim=1)
            image = torch.cat([self.image, image], dim=1)
            place = torch.cat([self.place, place], dim=1)
        # Images come in order, so a stable sort breaks ties by image.
        value, order = value.sort(dim=1, descending=True, stable=True)
        self.value = value[:, : self.k]
        self.image = image.gather(1, order[:, : self.k])
        self.place = place.gather(1, order[:, : self.k])

    def result(self) -> Strongest:
        assert self.value is not None
        return Strongest(
            layer=self.layer,
            image=self.image.cpu(),
            row=(self.place // self.columns).cpu(),
            column=(self.place % self.columns).cpu(),
            value=self.value.cpu(),
        )
