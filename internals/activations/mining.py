"""Which images drive each channel hardest: one pass over all images, for all layers at once."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.activations.ranking import Strongest, merged
from internals.activations.recording import as_input, listening
from internals.activations.sharding import Devices, in_parallel, replicas
from internals.anatomy.trace import only_calls
from internals.anatomy.watch import evaluating, run_until
from internals.errors import DataError, LayerError
from internals.progress import Progress

_PIXELS = 2**20  # in a batch: its activations then stay within a few hundred megabytes
_BATCH = 256


@runtime_checkable
class Images(Protocol):
    """Normalised images: a float tensor (n, c, h, w), or what gives one when sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor: ...


def strongest(
    model: nn.Module,
    images: Images,
    layers: Iterable[str],
    k: int = 9,
    *,
    batch: int | None = None,
    devices: Devices | None = None,
) -> dict[str, Strongest]:
    """For every channel of `layers`, the `k` of `images` that it answers hardest, and where.

    One position an image, so that no image fills a row; border positions take part; equal values
    are ordered by image. A squashing layer (tanh, sigmoid) is ranked by its input, because
    hundreds of its outputs tie exactly at the ceiling. Fewer than `k` images give that many. One
    `batch` of images is in memory at a time, by default one that suits their size. With `devices`
    the images are shared out over copies of the model on each, to the same result; by default it
    works where it is. The model is left as it was found. Raises `LayerError` for unknown layers
    and values that are not numbers, and `DataError` for an empty set or k < 1.
    """
    if len(images) == 0 or k < 1:
        raise DataError(f"cannot choose the strongest {k} of {len(images)} images; need 1 or more")
    layers = tuple(dict.fromkeys(layers))
    _, channels, height, width = images[:1].shape
    only_calls(model, layers, (channels, height, width))
    batch = batch or max(1, min(_BATCH, _PIXELS // (height * width)))
    starts = range(0, len(images), batch)
    # Whole batches and as many as there are: the same numbers to the last bit as on one device.
    each = -(-len(starts) // min(len(devices or [0]), len(starts)))
    shares = [starts[first : first + each] for first in range(0, len(starts), each)]
    with Progress("strongest", len(images), "image", quiet=10) as bar:
        lock = Lock()

        def mine(copy: nn.Module, share: range) -> dict[str, Strongest]:
            return _mine(copy, images, layers, k, share, told)

        def told(count: int) -> None:
            with lock:
                bar.advance(count)

        found = in_parallel(replicas(model, (devices or [])[: len(shares)]), shares, mine)
    return {layer: merged([tables[layer] for tables in found], k) for layer in layers}


def _mine(
    model: nn.Module,
    images: Images,
    layers: tuple[str, ...],
    k: int,
    starts: range,
    told: Callable[[int], None],
) -> dict[str, Strongest]:
    """The strongest of the batches of images that begin at `starts`."""
    leaders = {layer: _Leaders(layer, k) for layer in layers}
    first, heard = 0, set()

    def hear(layer: str, maps: Tensor) -> None:
        leaders[layer].add(maps, first)
        heard.add(layer)

    with (
        evaluating(model),
        torch.inference_mode(),
        listening(model, layers, hear, before_squashing=True),
    ):
        for first in starts:
            heard.clear()
            part = as_input(model, images[first : first + starts.step])
            run_until(model, part, lambda: len(heard) == len(layers))
            told(len(part))
    return {layer: leaders[layer].result() for layer in layers}


class _Leaders:
    """The best k so far of every channel of one layer, on the model's device."""

    def __init__(self, layer: str, k: int) -> None:
        self.layer, self.k = layer, k
        self.columns = 0
        self.value: Float[Tensor, "channels k"] | None = None
        self.image: Int64[Tensor, "channels k"]
        self.place: Int64[Tensor, "channels k"]

    def add(self, maps: Float[Tensor, "n channels y x"], first: int) -> None:
        """Take in the maps of images number `first` and on; they may change afterwards."""
        self.columns = maps.shape[3]
        value = maps.amax(dim=(2, 3)).T
        if bool(value.isnan().any()):
            number = first + int(value.isnan().any(dim=0).nonzero()[0])
            raise LayerError(f"layer {self.layer!r} answers image {number} with NaN")
        image = torch.arange(first, first + len(maps), device=maps.device).expand_as(value)
        place = torch.zeros_like(image)
        if self.value is not None:
            value = torch.cat([self.value, value], dim=1)
            image = torch.cat([self.image, image], dim=1)
            place = torch.cat([self.place, place], dim=1)
        # Images come in order, so a stable sort breaks ties by image.
        order = value.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.value, self.image = value.gather(1, order), image.gather(1, order)
        self.place = place.gather(1, order)
        self._find_places(maps, first)

    def _find_places(self, maps: Float[Tensor, "n channels y x"], first: int) -> None:
        """Where the newcomers are strongest: few, once the first images have been seen."""
        channel, rank = (self.image >= first).nonzero(as_tuple=True)
        chosen = maps[self.image[channel, rank] - first, channel].flatten(1)
        # The first of equal positions wins: argmax promises that, max does not.
        self.place[channel, rank] = chosen.argmax(dim=1)

    def result(self) -> Strongest:
        assert self.value is not None
        return Strongest(
            layer=self.layer,
            image=self.image.cpu(),
            row=(self.place // self.columns).cpu(),
            column=(self.place % self.columns).cpu(),
            value=self.value.cpu(),
        )
