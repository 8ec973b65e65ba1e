"""What the network no longer sees when a square of the image is covered."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.record import capture, check_channel, recording
from internals.anatomy.copies import evaluation_copy
from internals.anatomy.hooks import as_input, batch_size, run_until
from internals.anatomy.trace import Model, Pictures, as_traced
from internals.data.image_set import Images
from internals.errors import ProjectionError
from internals.progress import Progress
from internals.projection.attribution import (
    Classes,
    Score,
    Scored,
    as_exact,
    class_scores,
    image_shape,
    refuse_non_numbers,
)

Pair = int | tuple[int, int]
Fill = int | float | Sequence[int | float] | Tensor


def occlusion(
    model: Model,
    images: Pictures,
    classes: Classes = None,
    *,
    size: Pair,
    stride: Pair = 1,
    fill: Fill = 0.0,
    score: Score | None = None,
) -> Float[Tensor, "n rows columns"]:
    """The class score with a square over the image, at each position of the square.

    A low value says that the class needs what lies there. Squares begin at the top left; those of
    the last row and column reach the border and may be cut off by it. (Zeiler and Fergus, 2014,
    section 4.2, figure 7d.)

    Args:
        model: A `Network`, or a bare module.
        images: As for `saliency`.
        classes: As for `saliency`; None: the class with the highest score for the whole image.
        size: Of the square in pixels: one number, or (height, width).
        stride: Between positions in pixels.
        fill: What the square is filled with, normalised as images are: a number, one a channel, or
            a picture (channels, height, width) that is seen through it. 0 is the mean grey of
            images normalised to mean 0.
        score: As for `saliency`: `lambda y: y.softmax(1)` gives the probability that the paper
            shows.

    Returns:
        Entry (row, column) is the score with the square's corner at (row, column) times `stride`;
        on the CPU.

    Raises:
        ProjectionError: Sizes, shapes or classes do not fit.
        DataError: The images are bytes, and no normalisation is known.
    """
    scored = Scored(model, images, classes, score)
    squares = _Squares(scored.shape, size, stride, fill)
    labels = scored.predicted()

    def measure(inputs: Tensor, number: int) -> Tensor:
        label = labels[number].expand(len(inputs))
        return class_scores(scored.model, inputs, label, scored.score)[0]

    apart = scored.traced.keeps_images_apart([""], scored.images[:1])
    with torch.no_grad():
        return squares.slide(scored.model, scored.images, measure, None if apart else 1)


def occluded_activity(
    model: Model,
    images: Pictures,
    layer: str,
    channel: int | None = None,
    *,
    size: Pair,
    stride: Pair = 1,
    fill: Fill = 0.0,
) -> Float[Tensor, "n rows columns"]:
    """The total activation of one map with a square over the image, as `occlusion`.

    (Zeiler and Fergus, 2014, section 4.2, figure 7b.)

    Args:
        model: A `Network`, or a bare module.
        images: As for `saliency`.
        layer: A module path.
        channel: The map's; None: for each image that with the largest total when nothing is
            covered.
        size: As for `occlusion`.
        stride: Likewise.
        fill: Likewise.

    Raises:
        LayerError: The model lacks the layer or the channel, or calls the layer twice.
        ProjectionError: Sizes or shapes do not fit.
    """
    traced = as_traced(model)
    copied, inputs = evaluation_copy(traced.model), traced.inputs(images)
    squares = _Squares(image_shape(inputs), size, stride, fill)
    channels = [
        _strongest(capture(traced, inputs[n : n + 1], [layer])[layer], layer, channel)
        for n in range(len(inputs))
    ]

    def measure(covered: Tensor, number: int) -> Tensor:
        with recording(copied, [layer]) as record:
            run_until(copied, covered, record.is_full)
        totals = record.maps[layer][:, channels[number]].sum(dim=(1, 2))
        refuse_non_numbers(totals, f"the activation of layer {layer!r}")
        return totals

    apart = traced.keeps_images_apart([layer], inputs[:1])
    with torch.no_grad():
        return squares.slide(copied, inputs, measure, None if apart else 1)


def _strongest(maps: Tensor, layer: str, channel: int | None) -> int:
    if channel is None:
        return int(maps[0].sum(dim=(1, 2)).argmax())
    check_channel(layer, channel, maps.shape[1])
    return channel


def occlusion_map(
    covered: Float[Tensor, "n rows columns"],
    whole: Float[Tensor, " n"],
    image_size: tuple[int, int],
    *,
    size: Pair,
    stride: Pair = 1,
) -> Float[Tensor, "n height width"]:
    """What is lost when a pixel is covered: the mean over the squares that lie on it.

    Pixels that no square reaches, at a stride above the size, have 0.

    Args:
        covered: What `occlusion` or `occluded_activity` returned.
        whole: The same number of each image left whole.
        image_size: (height, width).
        size: Of the squares, as it was for `covered`.
        stride: Likewise.

    Raises:
        ProjectionError: `covered` has other positions than these squares.
    """
    squares = _Squares((1, *image_size), size, stride, 0.0)
    if covered.shape[1:] != (squares.rows, squares.columns):
        raise ProjectionError(
            f"squares of size={size} at stride={stride} have {squares.rows} x {squares.columns} "
            f"positions on an image of {image_size}, not {tuple(covered.shape[1:])}"
        )
    lost = (whole[:, None, None] - covered).flatten(1)
    total = lost.new_zeros(len(lost), *image_size)
    times = lost.new_zeros(image_size)
    for place, window in enumerate(squares.windows(range(lost.shape[1]))):
        total[:, *window] += lost[:, place, None, None]
        times[window] += 1
    return total / times.clamp(min=1)


class _Squares:
    """The positions of a square on an image of `shape` (c, h, w), and what covers it."""

    def __init__(self, shape: tuple[int, int, int], size: Pair, stride: Pair, fill: Fill) -> None:
        self.shape = shape
        self.size, self.stride = _pair(size), _pair(stride)
        if min(self.size) < 1 or self.size[0] > shape[1] or self.size[1] > shape[2]:
            raise ProjectionError(
                f"a square of size={size} does not fit on images of {shape[1]} x {shape[2]} pixels"
            )
        if min(self.stride) < 1:
            raise ProjectionError(f"stride={stride}; give 1 or more pixels")
        self.fill = _picture(fill, shape)
        self.rows, self.columns = (
            ceil((shape[axis + 1] - self.size[axis]) / self.stride[axis]) + 1 for axis in (0, 1)
        )

    def slide(
        self,
        model: nn.Module,
        images: Images,
        measure: Callable[[Tensor, int], Tensor],
        most: int | None = None,
    ) -> Tensor:
        """`measure(inputs, image number)` at every position: (n, rows, columns).

        At `most` so many inputs are measured together, by default as many as suits their size.
        """
        places = self.rows * self.columns
        values = []
        with Progress("occlusion", len(images) * places, "square", quiet=10) as bar:
            for number in range(len(images)):
                image = as_input(model, images[number : number + 1])
                for start in range(0, places, most or batch_size(*self.shape[1:])):
                    part = range(places)[start : start + (most or batch_size(*self.shape[1:]))]
                    inputs = self._covered(image, part)
                    values.append(measure(inputs, number).cpu())
                    bar.advance(len(inputs))
        return torch.cat(values).view(len(images), self.rows, self.columns)

    def _covered(self, image: Tensor, places: Sequence[int]) -> Tensor:
        """A copy of `image` (1, c, h, w) for each of `places`, covered there."""
        copies = image.repeat(len(places), 1, 1, 1)
        fill = self.fill.to(image)
        for copy, (down, across) in zip(copies, self.windows(places), strict=True):
            copy[:, down, across] = fill[:, down, across]
        return copies

    def windows(self, places: Sequence[int]) -> Iterator[tuple[slice, slice]]:
        """The rows and columns that a square covers, at each of `places`."""
        for place in places:
            top, left = (
                index * step
                for index, step in zip(divmod(place, self.columns), self.stride, strict=True)
            )
            yield slice(top, top + self.size[0]), slice(left, left + self.size[1])


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _picture(fill: Fill, shape: tuple[int, int, int]) -> Tensor:
    """`fill` as a picture of `shape` (c, h, w)."""
    values = as_exact(fill)
    values = values.view(-1, 1, 1) if values.ndim == 1 else values
    try:
        return values.expand(shape)
    except RuntimeError as error:
        raise ProjectionError(
            f"fill of shape {tuple(as_exact(fill).shape)} does not fit images of shape "
            f"{shape}; give a number, one a channel, or a picture"
        ) from error
