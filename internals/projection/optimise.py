"""What a unit would draw itself: an image made from noise that drives it as hard as it can.

Activation maximisation (Erhan et al. 2009), as it is done since Olah et al. 2017 ("Feature
Visualization"): the image is a spectrum of decorrelated colours, in which all frequencies learn at
one rate, and it is shifted, turned and scaled at every step, so that nothing is left in it that
holds at one place only. The result is no picture that the network has seen, and one of many.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from internals.activations.record import (
    Unit,
    check_channel,
    check_unit,
    parse_channel,
    squashes,
)
from internals.anatomy.copies import evaluation_copy
from internals.anatomy.fields import Box, Field, clip
from internals.anatomy.hooks import Stop, batch_size, eagerly, find_layer
from internals.anatomy.trace import Model, TracedModule, as_traced, only_calls
from internals.data.image_set import ImageSet
from internals.data.normalization import ColourSums, InputMap
from internals.errors import DataError, ProjectionError
from internals.progress import Progress, silenced
from internals.projection.attribution import class_scores, differentiating, one_class_each
from internals.projection.windows import Cut, smallest_windows

CLASS = "class:"  # before the number or name of a class, in a target
_STILL = 16  # pixels: smaller pictures are neither shifted nor turned
_SHIFT, _TURN, _SCALE = 1 / 16, math.radians(5), 0.05  # of the side; at the most, either way
_LOOKED_AT = 8  # every so many steps: what the picture reaches where it lies
_NOISE = 0.01  # deviation of each part of the first spectrum
_GAIN = 0.25  # as in Lucid: from spectrum to logit
# What has no slope, or hardly one, where it puts out little or much.
_RECTIFYING = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Softplus, nn.Threshold,
)  # fmt: skip


@dataclass(frozen=True)
class Colours:
    """How colours go together in a set of pictures, so that an image can be made without doing so.

    Args:
        mean: Of each channel (unit: 0..1).
        mixing: The square root of the channels' covariance, scaled so that its longest column is 1:
            from independent amounts to colours.
    """

    mean: Float[Tensor, " channels"]
    mixing: Float[Tensor, "channels channels"]

    @classmethod
    def of(cls, pictures: ImageSet) -> "Colours":
        """Those of all pixels of `pictures`.

        Raises:
            DataError: There are none, or they are of one colour.
        """
        sums = ColourSums.of(pictures)
        variances, directions = torch.linalg.eigh(sums.covariance())
        root = directions @ torch.diag(variances.clamp(min=0).sqrt()) @ directions.T
        longest = root.norm(dim=0).max()
        if not longest > 0:
            raise DataError(f"{pictures.name} is of one colour, from which none can be made")
        floor = 1e-3 * torch.eye(len(root), dtype=root.dtype)  # else grey pictures leave no colour
        mean = torch.tensor(sums.sums, dtype=torch.float64) / (255 * sums.pixels)
        return cls(mean.clamp(0.02, 0.98).float(), (root / longest + floor).float())

    @classmethod
    def independent(cls, channels: int) -> "Colours":
        """Mid grey, and channels that have nothing to do with one another."""
        return cls(torch.full((channels,), 0.5), torch.eye(channels))


@dataclass(frozen=True)
class Spectra:
    """Images as spectra of decorrelated colours: amounts without bounds to pixels in 0..1.

    The part of a spectrum with f periods a pixel counts 1 / f, as in photographs.

    Args:
        height: Of the images.
        width: Likewise.
        colours: Of what the images are made.
    """

    height: int
    width: int
    colours: Colours

    def decode(
        self, spectra: Complex[Tensor, "n channels height half"]
    ) -> Float[Tensor, "n channels height width"]:
        """The images of `spectra`."""
        size, weights = (self.height, self.width), self._weights().to(spectra.device)
        amounts = torch.fft.irfft2(spectra * weights, s=size, norm="ortho")
        mixing = self.colours.mixing.to(amounts.device)
        logits = torch.einsum("cd,ndhw->nchw", mixing, amounts)
        return torch.sigmoid(
            logits + torch.logit(self.colours.mean.to(amounts.device))[:, None, None]
        )

    def encode(
        self, pixels: Float[Tensor, "n channels height width"]
    ) -> Complex[Tensor, "n channels height half"]:
        """Spectra whose images are `pixels`, in 0..1 without the ends."""
        logits = (
            torch.logit(pixels) - torch.logit(self.colours.mean.to(pixels.device))[:, None, None]
        )
        unmixing = torch.linalg.inv(self.colours.mixing).to(pixels.device)
        amounts = torch.einsum("cd,ndhw->nchw", unmixing, logits)
        return torch.fft.rfft2(amounts, norm="ortho") / self._weights().to(pixels.device)

    def noise(self, count: int, seed: int) -> Complex[Tensor, "n channels height half"]:
        """`count` times the same faint noise, to begin with."""
        generator = torch.Generator().manual_seed(seed)
        shape = (len(self.colours.mean), self.height, self.width // 2 + 1, 2)
        parts = torch.randn(shape, generator=generator) * _NOISE
        return torch.view_as_complex(parts).expand(count, -1, -1, -1).clone()

    def _weights(self) -> Float[Tensor, "height half"]:
        rows = torch.fft.fftfreq(self.height)[:, None]
        columns = torch.fft.rfftfreq(self.width)[None]
        lowest = 1 / max(self.height, self.width)
        frequency = (rows**2 + columns**2).sqrt().clamp(min=lowest)
        return _GAIN / frequency


@dataclass(frozen=True)
class Optimised:
    """An image made so that it drives one thing in a network.

    Args:
        target: What: a channel, a unit, or a class as "class:3".
        negative: Whether it was driven down.
        picture: The image as bytes, as far as the target sees: written to a file and read back it
            gives the same value.
        value: What the target reaches on the picture: a unit its own value before a rectifier, a
            channel the mean over its map, a class its score.
        box: (top, left, bottom, right) of the picture on the network's input. Around it lies
            `ground`, which the target does not see.
        ground: Bytes, one a channel.
        image_size: (height, width) of the network's input.
        seed: Of the noise that it was made from.
        steps: How many.
    """

    target: str
    negative: bool
    picture: UInt8[Tensor, "channels height width"]
    value: float
    box: Box
    ground: UInt8[Tensor, " channels"]
    image_size: tuple[int, int]
    seed: int
    steps: int

    def full(self) -> UInt8[Tensor, "channels image_height image_width"]:
        """The network's whole input, the picture in its place."""
        whole = self.ground[:, None, None].expand(-1, *self.image_size).clone()
        top, left, bottom, right = self.box
        whole[:, top:bottom, left:right] = self.picture
        return whole

    def offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture's first row and column in its target's whole field, of (height, width).

        What is missing of the field lies beyond the side of the input that the picture touches.
        """
        (top, left), (height, width) = self.box[:2], self.picture.shape[1:]
        return (0 if top else size[0] - height, 0 if left else size[1] - width)


Target = str | Unit


class _Goal(NamedTuple):
    """A target, checked: where its picture lies, and how its value is read.

    `layer` is "" for a class, whose number is `channel`; `position` is None for a whole map.
    """

    name: str
    layer: str
    channel: int
    position: tuple[int, int] | None
    box: Box


def optimise(
    model: Model,
    targets: Target | Sequence[Target],
    *,
    pictures: ImageSet | None = None,
    negative: bool = False,
    steps: int = 256,
    rate: float = 0.05,
    seed: int = 0,
) -> list[Optimised]:
    """Make an image from noise for each target, so that it drives the target as hard as it can.

    The network is run in evaluation mode and left as it was found. A unit's image is as large as
    its receptive field, as far as that lies on the network's input; all others are as large as the
    input. Where the target is a rectifier or squashes, what it is given is driven, since what it
    puts out has no slope where it is silent or full.

    Args:
        model: A `Network` that knows its normalisation and its input's shape.
        targets: A channel, written "conv5:7", by the mean over its map; a `Unit` by itself; a class
            by its score, written "class:3" or by its name ("class:golf ball").
        pictures: Whose colours the images are to have; without them channels are independent.
        negative: Whether to drive the targets down.
        steps: How many steps of Adam.
        rate: Their learning rate.
        seed: Of the noise at the beginning and of all shifts and turns. What a target becomes does
            not depend on which others are asked for.

    Returns:
        An image for each target, in their order.

    Raises:
        LayerError: The model has no such layer, channel or unit.
        ProjectionError: There is no such class, the scores are none, no gradient leads to the
            image, or what is reached is not finite.
        DataError: The network does not know its normalisation, or the pictures have other channels.
    """
    traced, listed = as_traced(model), [targets] if isinstance(targets, str | Unit) else targets
    shape = traced.shape()
    normalization = traced.normalization
    if normalization is None:
        raise DataError(
            "how pictures are normalised for this network is not known, so none can be made; give "
            "Network(..., normalization=...)"
        )
    with differentiating():
        colours = Colours.independent(shape[0]) if pictures is None else Colours.of(pictures)
    if pictures and len(colours.mean) != shape[0]:
        raise DataError(
            f"{pictures.name} has {len(colours.mean)} channels, and the network takes "
            f"{shape[0]}; give pictures as it sees them"
        )
    goals = [_goal(traced, target, shape) for target in listed]
    made: dict[int, Optimised] = {}
    with (
        differentiating(),
        Progress("optimising", steps * len(goals), "step", quiet=5) as bar,
    ):
        for _, alike in groupby(sorted(enumerate(goals), key=_group), _group):
            numbered = list(alike)
            at_once = batch_size(*shape[1:], backward=True)
            for start in range(0, len(numbered), at_once):
                part = numbered[start : start + at_once]
                maker = _Maker(traced, normalization, [goal for _, goal in part], colours, shape)
                results = maker.make(negative=negative, steps=steps, rate=rate, seed=seed, bar=bar)
                made |= dict(zip((number for number, _ in part), results, strict=True))
    return [made[number] for number in range(len(goals))]


def middle_units(model: Model, layer: str, channels: Sequence[int]) -> list[Unit]:
    """Of some channels of a layer the units in the middle of their maps.

    Args:
        model: A `Network`, or a `TracedModule` that knows its input's shape.
        layer: Its module path.
        channels: Their numbers.

    Raises:
        LayerError: The model has no such layer, or calls it twice.
    """
    traced = as_traced(model)
    rows, columns = (*only_calls(traced, [layer], traced.shape())[layer].shape[2:], 1, 1)[:2]
    return [Unit(layer, channel, rows // 2, columns // 2) for channel in channels]


def expected_seconds(model: Model, targets: Sequence[Target], *, steps: int = 256) -> float:
    """About how long `optimise` takes for these targets, by two steps of it.

    Args:
        model: As for `optimise`.
        targets: Likewise.
        steps: Likewise.
    """
    with silenced():
        optimise(model, targets, steps=1)  # the first time is longer
        began = time.monotonic()
        optimise(model, targets, steps=2)
    return (time.monotonic() - began) / 3 * steps  # the last picture is looked at once more


def _group(numbered: tuple[int, _Goal]) -> tuple[str, Box, tuple[int, int]]:
    """Goals that agree in this share their passes."""
    goal = numbered[1]
    return goal.layer, goal.box, goal.position or (-1, -1)


def _goal(traced: TracedModule, target: Target, shape: tuple[int, ...]) -> _Goal:
    whole = (0, 0, shape[1], shape[2])
    modules = dict(traced.model.named_modules())
    if isinstance(target, str) and target.startswith(CLASS) and CLASS[:-1] not in modules:
        words = target.removeprefix(CLASS)
        number = int(words) if words.isdecimal() else words
        classes = one_class_each(number, 1, traced.classes)
        assert classes is not None
        return _Goal(target, "", int(classes[0]), None, whole)
    layer, channel = parse_channel(target) if isinstance(target, str) else target[:2]
    call = only_calls(traced, [layer], shape)[layer]
    if isinstance(target, str):
        check_channel(layer, channel, call.shape[1])
        return _Goal(target, layer, channel, None, whole)
    check_unit(target, call.shape)
    box = whole
    if isinstance(call.field, Field):
        box = clip(call.field.public().box(target.row, target.column), *shape[1:])
    return _Goal(str(target), layer, channel, (target.row, target.column), box)


class _Maker:
    """Makes the images of goals that share a layer, a position and a box."""

    def __init__(
        self,
        traced: TracedModule,
        normalization: InputMap,
        goals: Sequence[_Goal],
        colours: Colours,
        shape: tuple[int, ...],
    ) -> None:
        self.traced, self.normalization, self.goals = traced, normalization, list(goals)
        self.model = evaluation_copy(traced.model)
        self.colours, self.shape = colours, shape
        self.ground = (colours.mean * 255).round()
        self.rows, self.columns = self._window()
        top, left, bottom, right = goals[0].box
        self.height, self.width = bottom - top, right - left
        side = min(self.height, self.width)
        self.margin = round(side * _SHIFT) + 1 if side >= _STILL else 0

    def make(
        self, *, negative: bool, steps: int, rate: float, seed: int, bar: Progress
    ) -> list[Optimised]:
        pictures = self._climb(-1 if negative else 1, steps, rate, seed, bar)
        with torch.no_grad():
            seen = self._values(pictures)
            self.rows, self.columns = self._whole()
            values = self._values(pictures)
            # A network that computes with its input's size tells a window from the whole.
            if not torch.allclose(seen, values, rtol=1e-2, atol=1e-2 * float(values.abs().max())):
                pictures = self._climb(-1 if negative else 1, steps, rate, seed, None)
                values = self._values(pictures)
        return [
            Optimised(
                goal.name,
                negative,
                picture.to(torch.uint8).cpu(),
                float(value),
                goal.box,
                self.ground.to(torch.uint8),
                (self.shape[1], self.shape[2]),
                seed,
                steps,
            )
            for goal, picture, value in zip(self.goals, pictures, values, strict=True)
        ]

    def _climb(
        self, sign: int, steps: int, rate: float, seed: int, bar: Progress | None
    ) -> Float[Tensor, "n channels height width"]:
        """The pictures on which each goal reached most, in whole numbers 0..255."""
        count, margin, device = len(self.goals), self.margin, self.traced.device
        spectra = Spectra(self.height + 2 * margin, self.width + 2 * margin, self.colours)
        parts = torch.view_as_real(spectra.noise(count, seed)).to(device).requires_grad_()
        adam = torch.optim.Adam([parts], lr=rate)
        moves = torch.Generator().manual_seed(seed)
        units = torch.zeros(count, 1, 1, 1, 1, device=device)
        best = torch.zeros(count, *self.shape[:1], self.height, self.width, device=device)
        most = torch.full((count,), -math.inf, device=device)
        for step in range(steps + 1):
            pixels = spectra.decode(torch.view_as_complex(parts))
            if step % _LOOKED_AT == 0 or step == steps:
                with torch.no_grad():
                    inner = pixels[:, :, margin:, margin:][:, :, : self.height, : self.width]
                    pictures = (inner * 255).round()
                    reached = sign * self._values(pictures)
                best = torch.where((reached > most)[:, None, None, None], pictures, best)
                most = torch.maximum(most, reached)
            if step == steps:
                break
            adam.zero_grad()
            values = self._values(self._moved(pixels, moves) * 255)
            self._check(values)
            (-sign * values).sum().backward()
            self._wake(parts)
            units = self._rescale(parts, units)
            adam.step()
            if bar:
                bar.advance(count)
        return best

    def _window(self) -> tuple[Cut, Cut]:
        """The part of the input that is run: no more than a unit needs, where that is the same."""
        goal = self.goals[0]
        if goal.position is None:
            return self._whole()
        call = only_calls(self.traced, [goal.layer], self.shape)[goal.layer]
        field = call.field if isinstance(call.field, Field) else None
        unit = Unit(goal.layer, goal.channel, *goal.position)
        return smallest_windows(self.traced, unit, field, self.shape)

    def _whole(self) -> tuple[Cut, Cut]:
        row, column = self.goals[0].position or (0, 0)
        return Cut(0, self.shape[1], row), Cut(0, self.shape[2], column)

    def _moved(self, pixels: Tensor, moves: torch.Generator) -> Tensor:
        """All images shifted, turned and scaled alike, the margin cut off."""
        if not self.margin:
            return pixels
        down, right, turn, scale = (2 * torch.rand(4, generator=moves) - 1).tolist()
        angle, zoom = turn * _TURN, 1 + scale * _SCALE
        height, width = pixels.shape[-2:]
        along, across = zoom * math.cos(angle), zoom * math.sin(angle)
        # In halves of the images' sides, as `affine_grid` has it: where each pixel is taken from.
        theta = torch.tensor(
            [
                [along * self.width, -across * self.height, 2 * right * self.margin],
                [across * self.width, along * self.height, 2 * down * self.margin],
            ]
        ) / torch.tensor([[width], [height]])
        size = [len(pixels), len(self.colours.mean), self.height, self.width]
        grid = functional.affine_grid(theta.expand(len(pixels), 2, 3), size, align_corners=False)
        return functional.grid_sample(
            pixels, grid.to(pixels.device), padding_mode="reflection", align_corners=False
        )

    def _values(self, pixels: Tensor) -> Float[Tensor, " n"]:
        """What each goal reaches on its own picture, pixels in 0..255, with grey around it."""
        goal = self.goals[0]
        top, left, bottom, right = goal.box
        whole = self.ground.to(pixels.device)[None, :, None, None].expand(
            len(pixels), -1, *self.shape[1:]
        )
        placed = whole.clone()
        placed[:, :, top:bottom, left:right] = pixels
        inputs = self.normalization.apply(placed)
        inputs = inputs.to(next(self.model.parameters(), inputs).dtype)
        numbers = [goal.channel for goal in self.goals]
        if not goal.layer:
            return class_scores(self.model, inputs, torch.tensor(numbers), self.traced.score)[0]
        rows, columns = self.rows, self.columns
        inputs = inputs[
            ...,
            rows.start : rows.start + rows.length,
            columns.start : columns.start + columns.length,
        ]
        maps = self._maps(goal.layer, inputs)[range(len(numbers)), numbers]
        if goal.position is None:
            return maps.flatten(1).mean(dim=1)
        return maps[:, rows.position, columns.position]

    def _maps(self, layer: str, inputs: Tensor) -> Float[Tensor, "n channels y x"]:
        """What the layer puts out or, where it rectifies or squashes, is given."""
        seen: list[Tensor] = []
        module = find_layer(self.model, layer)

        def before(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen.append(given[0])
            raise Stop

        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(output)
            raise Stop

        early = isinstance(module, _RECTIFYING) or squashes(module)
        handle = (
            module.register_forward_pre_hook(before)
            if early
            else module.register_forward_hook(after)
        )
        try:
            with eagerly():
                self.model(inputs.clone())  # a copy, because the model may work in place on it
        except Stop:
            pass
        finally:
            handle.remove()
        maps = seen[0]
        return maps.view(*maps.shape[:2], *(maps.shape[2:] or (1, 1)))

    def _check(self, values: Tensor) -> None:
        if not values.requires_grad:
            raise ProjectionError(
                f"no gradient leads from {self.goals[0].name} back to the image; take no_grad and "
                "detach out of the network's forward pass"
            )
        for number in (~values.isfinite()).nonzero().flatten().tolist()[:1]:
            raise ProjectionError(
                f"{self.goals[number].name} is {values[number].item()} on the image that is being "
                "made; check weights and normalisation"
            )

    def _wake(self, parts: Tensor) -> None:
        """Double the contrast of images on which a target is silent and has no slope."""
        gradient = parts.grad
        assert gradient is not None
        asleep = gradient.flatten(1).abs().sum(dim=1) == 0
        if asleep.any():
            with torch.no_grad():
                parts[asleep] *= 2

    @staticmethod
    def _rescale(parts: Tensor, units: Tensor) -> Tensor:
        """Divide each image's gradient by the largest part of its first one, and return those.

        Adam's epsilon is then as small beside the gradients of one network as of another.
        """
        gradient = parts.grad
        assert gradient is not None
        units = torch.where(units > 0, units, gradient.abs().amax(dim=(1, 2, 3, 4), keepdim=True))
        gradient /= units.clamp(min=torch.finfo(units.dtype).tiny)
        return units
