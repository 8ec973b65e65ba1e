"""Whether what drives a channel is of one class."""

import copy
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.activations.record import Unit, as_input, listening
from internals.anatomy.hooks import run_until
from internals.anatomy.trace import only_calls
from internals.data.image_set import Images
from internals.errors import DataError, LayerError
from internals.models.evaluation import evaluating
from internals.progress import Progress

Devices = Sequence[str | torch.device]
Worker = TypeVar("Worker")
Share = TypeVar("Share")
Result = TypeVar("Result")


def replicas(model: nn.Module, devices: Devices | None) -> list[nn.Module]:
    """A copy of `model` on each of `devices`, or `model` itself where none are named.

    A device may be named twice; `model` is not changed.
    """
    if not devices:
        return [model]
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False):
        return [copy.deepcopy(model).to(device) for device in devices]


def in_parallel(
    workers: Sequence[Worker], shares: Sequence[Share], work: Callable[[Worker, Share], Result]
) -> list[Result]:
    """`work(worker, share)` for every worker and its share, at the same time, results in order.

    What the first of them raises is raised, when all have ended.
    """
    if len(workers) == 1:
        return [work(workers[0], shares[0])]
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(work, workers, shares))


@dataclass(frozen=True)
class Strongest:
    """The k images that drive each channel of `layer` hardest, one position an image.

    `image` (its number in the set), `row`, `column` and `value` are of shape (channels, k) and
    on the CPU, the strongest first; equal values are in the order of their images.
    """

    layer: str
    image: Int64[Tensor, "channels k"]
    row: Int64[Tensor, "channels k"]
    column: Int64[Tensor, "channels k"]
    value: Float[Tensor, "channels k"]

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return len(self.image)

    def units(self, channel: int) -> list[Unit]:
        """The strongest units of `channel`; raises `LayerError` when it is out of range."""
        if not 0 <= channel < self.channels:
            raise LayerError(
                f"layer {self.layer!r} has no channel {channel}; "
                f"its channels are 0 to {self.channels - 1}"
            )
        return [
            Unit(self.layer, channel, int(row), int(column))
            for row, column in zip(self.row[channel], self.column[channel], strict=True)
        ]


def merged(tables: Sequence[Strongest], k: int) -> Strongest:
    """The `k` strongest of all `tables` of one layer, whose images are in ascending order."""
    if len(tables) == 1:
        return tables[0]
    value = torch.cat([table.value for table in tables], dim=1)
    # A stable sort breaks ties by image: it keeps the order of the tables and of their rows.
    order = value.sort(dim=1, descending=True, stable=True).indices[:, :k]
    image, row, column = (
        torch.cat([getattr(table, name) for table in tables], dim=1).gather(1, order)
        for name in ("image", "row", "column")
    )
    return Strongest(tables[0].layer, image, row, column, value.gather(1, order))


_PIXELS = 2**20  # in a batch: its activations then stay within a few hundred megabytes
_BATCH = 256


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


def class_purity(images: Int64[Tensor, "rows k"], labels: Int64[Tensor, " n"]) -> float:
    """The share of the commonest class among the k image numbers of a row, the mean over all rows.

    `images` may be `Strongest.image`, a row a channel; `labels` are those of all n images. 1 where
    every row holds one class only, and what chance gives is that of rows drawn blindly.
    """
    counts = torch.nn.functional.one_hot(labels[images]).sum(dim=1)
    return counts.amax(dim=1).double().mean().item() / images.shape[1]
