"""The images that drive each channel of a layer hardest, and where in them.

One pass over all images serves all layers. Of every channel the best k are kept, one position an
image, ranked before a squashing function has made ties of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from internals.activations.record import Unit, check_channel, listening, parse_channel
from internals.anatomy.copies import evaluation_copy
from internals.anatomy.hooks import Devices, as_input, batch_size, in_parallel, replicas, run_until
from internals.anatomy.trace import Model, Pictures, as_traced, only_calls
from internals.data.image_set import Images
from internals.errors import DataError, LayerError
from internals.progress import Progress

# What is told of each layer: its name, its maps of some images, and the number of the first.
See = Callable[[str, Tensor, int], None]


@dataclass(frozen=True)
class Strongest:
    """The k images that drive each channel of a layer hardest, the strongest first.

    Equal values are in the order of their images. All tensors are on the CPU. An index takes some
    of the channels (`top[3]`, `top[:6]`, `top[[0, 7]]`), and `head` the first of the images.

    Args:
        layer: The module path.
        image: The images' numbers in the set.
        row: Where in the image's map the channel is strongest.
        column: Likewise.
        value: What it reaches there.
        channels: The number of each row's channel; by default all from 0 on.
        pictures: What was mined; image numbers count within it.
        is_rectified: Whether a rectifier gives these values or is given them, so that a unit whose
            value is not above 0 is silent.
    """

    layer: str
    image: Int64[Tensor, "channels k"]
    row: Int64[Tensor, "channels k"]
    column: Int64[Tensor, "channels k"]
    value: Float[Tensor, "channels k"]
    channels: tuple[int, ...] = ()
    pictures: Pictures | None = field(default=None, repr=False, compare=False)
    is_rectified: bool = False

    def __post_init__(self) -> None:
        if not self.channels:
            object.__setattr__(self, "channels", tuple(range(len(self.image))))

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> "Iterator[Strongest]":
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int]) -> "Strongest":
        rows = list(range(len(self))[index]) if isinstance(index, slice) else index
        rows = [rows] if isinstance(rows, int) else list(rows)
        if not all(0 <= row < len(self) for row in rows):
            raise LayerError(
                f"layer {self.layer!r} has no channel {index} here; "
                f"there are {len(self)}, from 0 to {len(self) - 1}"
            )
        return replace(
            self,
            image=self.image[rows],
            row=self.row[rows],
            column=self.column[rows],
            value=self.value[rows],
            channels=tuple(self.channels[row] for row in rows),
        )

    def head(self, count: int) -> "Strongest":
        """The strongest `count` images of each channel."""
        return replace(
            self,
            image=self.image[:, :count],
            row=self.row[:, :count],
            column=self.column[:, :count],
            value=self.value[:, :count],
        )

    @property
    def silent(self) -> Bool[Tensor, "channels k"]:
        """Which units are silent: the strongest there are, and yet no evidence of anything."""
        return (self.value <= 0) & self.is_rectified

    def units(self, channel: int | None = None) -> list[Unit]:
        """The strongest units of a channel, or of all channels one after the other.

        Args:
            channel: Its number in the layer.

        Raises:
            LayerError: The layer has no such channel, or it is not among these.
        """
        if channel is None:
            return [unit for number in self.channels for unit in self.units(number)]
        if channel not in self.channels:
            numbers = self.channels
            listed = (
                f"{numbers[0]} to {numbers[-1]}"
                if numbers == tuple(range(numbers[0], numbers[-1] + 1))
                else ", ".join(map(str, numbers))
            )
            raise LayerError(
                f"layer {self.layer!r} has no channel {channel}; its channels are {listed}"
            )
        index = self.channels.index(channel)
        return [
            Unit(self.layer, channel, int(row), int(column))
            for row, column in zip(self.row[index], self.column[index], strict=True)
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


def strongest(
    model: Model,
    images: Pictures,
    layers: Iterable[str],
    k: int = 9,
    *,
    batch: int | None = None,
    devices: Devices | None = None,
    see: See | None = None,
) -> dict[str, Strongest]:
    """For every channel of some layers, the images that it answers hardest, and where.

    One position an image, so that no image fills a row; border positions take part; equal values
    are ordered by image. A squashing layer (tanh, sigmoid) is ranked by its input, because
    hundreds of its outputs tie exactly at the ceiling. The model is left as it was found.

    Args:
        model: A `Network`, or a bare module.
        images: An `ImageSet`, a `PictureFolder` or bytes for a network that knows how they are
            normalised; normalised inputs, a tensor (n, channels, height, width) or `Normalized`,
            for any.
        layers: Module paths.
        k: Images a channel; where there are fewer, all.
        batch: Images in memory at a time; by default as many as suits their size.
        devices: The images are shared out over a copy of the model on each, to the same result;
            by default the model works where it is.
        see: Is called with each layer's name, its maps of some images, which may change
            afterwards, and the number of the first; where `devices` share the work, from several
            threads.

    Returns:
        A `Strongest` for each layer, which remembers `images`.

    Raises:
        LayerError: A layer that the model lacks or calls twice, or that puts out NaN.
        DataError: There are no images, k < 1, or they are bytes and no normalisation is known.
    """
    traced = as_traced(model)
    inputs = traced.inputs(images)
    if len(inputs) == 0 or k < 1:
        raise DataError(f"cannot choose the strongest {k} of {len(inputs)} images; need 1 or more")
    layers = tuple(dict.fromkeys(layers))
    first = inputs[:1]
    _, channels, height, width = first.shape
    calls = only_calls(traced, layers, (channels, height, width))
    apart = traced.keeps_images_apart(layers, first)
    del first  # it may hold the batch that it was cut from
    starts = range(0, len(inputs), (batch or batch_size(height, width)) if apart else 1)
    # Whole batches and as many as there are: the same numbers to the last bit as on one device.
    each = -(-len(starts) // min(len(devices or [0]), len(starts)))
    shares = [starts[first : first + each] for first in range(0, len(starts), each)]
    with Progress("strongest", len(inputs), "image", quiet=10) as bar:
        lock = Lock()

        def advance(count: int) -> None:
            with lock:
                bar.advance(count)

        def mine_share(copied: nn.Module, share: range) -> dict[str, Strongest]:
            return _mine(copied, inputs, layers, k, share, advance, see)

        models = replicas(traced.model, (devices or [])[: len(shares)])
        tables = in_parallel(models, shares, mine_share)
    return {
        layer: replace(
            merged([part[layer] for part in tables], k),
            pictures=images,
            is_rectified=calls[layer].is_rectified,
        )
        for layer in layers
    }


def best_units(
    model: Model, images: Pictures, channels: Sequence[str], image_index: Sequence[int]
) -> tuple[list[Unit], list[float]]:
    """For each image named, the strongest unit of the channel that goes with it, and its value.

    Args:
        model: A `Network`, or a bare module.
        images: As for `strongest`.
        channels: One for each unit, written "conv5:7".
        image_index: The image that each unit is on.

    Raises:
        LayerError: What is written names no channel of the model.
    """
    traced = as_traced(model)
    inputs = traced.inputs(images)
    names = [parse_channel(text) for text in channels]
    layers = tuple(dict.fromkeys(layer for layer, _ in names))
    calls = only_calls(traced, layers, inputs[:1].shape[1:])
    for layer, channel in names:
        check_channel(layer, channel, calls[layer].shape[1])
    places: dict[int, list[int]] = {}
    for place, number in enumerate(image_index):
        places.setdefault(number, []).append(place)
    copied, units = evaluation_copy(traced.model), dict[int, Unit]()
    maps: dict[str, Tensor] = {}
    reached: dict[int, float] = {}

    def receive(layer: str, values: Tensor) -> None:
        maps[layer] = values.clone()

    with (
        torch.inference_mode(),
        listening(copied, layers, receive, before_squashing=True),
    ):
        for number, wanted in places.items():
            maps.clear()
            image = as_input(copied, inputs[number : number + 1])
            run_until(copied, image, lambda: len(maps) == len(layers))
            for place in wanted:
                layer, channel = names[place]
                values = maps[layer][0, channel]
                # The first of equal positions wins: argmax promises that, max does not.
                row, column = divmod(int(values.flatten().argmax()), values.shape[1])
                units[place] = Unit(layer, channel, row, column)
                reached[place] = values[row, column].item()
    count = range(len(names))
    return [units[place] for place in count], [reached[place] for place in count]


def _mine(
    copied: nn.Module,
    images: Images,
    layers: tuple[str, ...],
    k: int,
    starts: range,
    advance: Callable[[int], None],
    see: See | None,
) -> dict[str, Strongest]:
    """The strongest of the batches of images that begin at `starts`."""
    tables = {layer: _TopK(layer, k) for layer in layers}
    first, finished = 0, set()

    def receive(layer: str, maps: Tensor) -> None:
        tables[layer].add(maps, first)
        if see is not None:
            see(layer, maps, first)
        finished.add(layer)

    with (
        torch.inference_mode(),
        listening(copied, layers, receive, before_squashing=True),
    ):
        for first in starts:
            finished.clear()
            batch = as_input(copied, images[first : first + starts.step])
            run_until(copied, batch, lambda: len(finished) == len(layers))
            advance(len(batch))
    return {layer: tables[layer].result() for layer in layers}


class _TopK:
    """The best k so far of every channel of one layer, on the model's device."""

    def __init__(self, layer: str, k: int) -> None:
        self.layer, self.k = layer, k
        self.map_width = 0
        self.value: Float[Tensor, "channels k"] | None = None
        self.image: Int64[Tensor, "channels k"]
        self.position: Int64[Tensor, "channels k"]

    def add(self, maps: Float[Tensor, "n channels y x"], first: int) -> None:
        """Take in the maps of images number `first` and on; they may change afterwards."""
        self.map_width = maps.shape[3]
        value = maps.amax(dim=(2, 3)).T
        if bool(value.isnan().any()):
            number = first + int(value.isnan().any(dim=0).nonzero()[0])
            raise LayerError(f"layer {self.layer!r} answers image {number} with NaN")
        image = torch.arange(first, first + len(maps), device=maps.device).expand_as(value)
        position = torch.zeros_like(image)
        if self.value is not None:
            value = torch.cat([self.value, value], dim=1)
            image = torch.cat([self.image, image], dim=1)
            position = torch.cat([self.position, position], dim=1)
        # Images come in order, so a stable sort breaks ties by image.
        order = value.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.value, self.image = value.gather(1, order), image.gather(1, order)
        self.position = position.gather(1, order)
        self._locate(maps, first)

    def _locate(self, maps: Float[Tensor, "n channels y x"], first: int) -> None:
        """Where the newcomers are strongest: few, once the first images have been seen."""
        channel, rank = (self.image >= first).nonzero(as_tuple=True)
        chosen = maps[self.image[channel, rank] - first, channel].flatten(1)
        # The first of equal positions wins: argmax promises that, max does not.
        self.position[channel, rank] = chosen.argmax(dim=1)

    def result(self) -> Strongest:
        assert self.value is not None
        return Strongest(
            layer=self.layer,
            image=self.image.cpu(),
            row=(self.position // self.map_width).cpu(),
            column=(self.position % self.map_width).cpu(),
            value=self.value.cpu(),
        )


def class_counts(
    images: Int64[Tensor, "rows k"], labels: Int64[Tensor, " n"]
) -> Int64[Tensor, " rows"]:
    """From how many classes the images of each row come.

    Args:
        images: Image numbers, such as `Strongest.image`, a row a channel.
        labels: Those of all images.
    """
    return (torch.nn.functional.one_hot(labels[images]).sum(dim=1) > 0).sum(dim=1)


def class_purity(images: Int64[Tensor, "rows k"], labels: Int64[Tensor, " n"]) -> float:
    """The share of the commonest class among the images of a row, the mean over all rows.

    1 where every row holds one class only; what chance gives is that of rows drawn blindly.

    Args:
        images: Image numbers, such as `Strongest.image`, a row a channel.
        labels: Those of all images.
    """
    counts = torch.nn.functional.one_hot(labels[images]).sum(dim=1)
    return counts.amax(dim=1).double().mean().item() / images.shape[1]
