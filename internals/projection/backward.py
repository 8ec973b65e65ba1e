"""Units back to pixels, many at a time."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.recording import recording
from internals.activations.unit import Unit
from internals.anatomy.field import Box, clip
from internals.anatomy.trace import Call, only_calls, stated
from internals.anatomy.watch import evaluating, locating, run_until
from internals.errors import LayerError, ProjectionError
from internals.projection.rules import RULES, TANH_RULES, RuledBackward, refuse_own_functions

_BATCH = 64


@dataclass(frozen=True)
class Projection:
    """What of an image drives one `unit`: `pixels` (c, h, w), signed, over `box` of the image.

    `box` is (top, left, bottom, right) in image pixels, bottom and right excluded: the unit's
    receptive field as far as it lies on the image. Outside of it the projection is exactly 0.
    `value` is the unit's own output, and the backward pass began with 1 there.
    """

    unit: Unit
    rule: str
    value: float
    pixels: Float[Tensor, "channels height width"]
    box: Box
    image_size: tuple[int, int]

    def full(self) -> Float[Tensor, "channels image_height image_width"]:
        """The projection on the whole image, 0 where the unit cannot see."""
        whole = self.pixels.new_zeros(len(self.pixels), *self.image_size)
        top, left, bottom, right = self.box
        whole[:, top:bottom, left:right] = self.pixels
        return whole


def project(
    model: nn.Module,
    images: Images,
    units: Sequence[Unit],
    rule: str = "guided",
    *,
    tanh: str | None = None,
) -> list[Projection]:
    """Project `units` back to the pixels of `images`, one unit an image, by one backward pass each.

    `images` are normalised, (n, c, h, w). `rule` ("gradient", "deconvnet" or "guided") says what
    happens at rectifiers, and `tanh` ("gradient", "straight" or "agreeing") at tanh, for which
    deconvnet and guided have none of their own: see `internals.projection.rules`. The model is run
    in evaluation mode and left as it was found. Raises `ProjectionError` for a non-linearity
    without a rule, and `LayerError` for a unit that the model does not have.
    """
    _check_rules(rule, tanh)
    if len(images) != len(units):
        raise ProjectionError(
            f"{len(units)} units for {len(images)} images; give one unit an image"
        )
    if not units:
        return []
    shape = tuple(images[:1].shape[1:])
    calls = only_calls(model, {unit.layer for unit in units}, shape)
    for unit in units:
        _check_unit(unit, calls[unit.layer])
    results: dict[int, Projection] = {}
    for layer, call in calls.items():
        numbers = [number for number, unit in enumerate(units) if unit.layer == layer]
        for start in range(0, len(numbers), _BATCH):
            part = numbers[start : start + _BATCH]
            chosen = [units[number] for number in part]
            inputs = torch.cat([images[number : number + 1] for number in part])
            values, signals = _backward(model, inputs, chosen, rule, tanh)
            for number, unit, value, signal in zip(part, chosen, values, signals, strict=True):
                results[number] = _crop(unit, rule, value, signal, call)
    return [results[number] for number in range(len(units))]


def _backward(
    model: nn.Module, inputs: Tensor, units: list[Unit], rule: str, tanh: str | None
) -> tuple[list[float], Tensor]:
    """The units' values and the ruled gradients of those values, (n, c, h, w), of one layer."""
    layer = units[0].layer
    like = next((p for p in model.parameters() if p.is_floating_point()), inputs)
    _, channels, rows, columns = zip(*units, strict=True)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluating(model),
        locating(model) as where,
        recording(model, [layer]) as record,
        nullcontext() if rule == "gradient" else RuledBackward(rule, tanh, where),
    ):
        inputs = inputs.to(like.device, like.dtype).detach().clone().requires_grad_()
        # A copy, because the model may work in place on what it is given.
        run_until(model, inputs.clone(), record.is_full)
        values = record.maps[layer][range(len(units)), channels, rows, columns]
        if rule != "gradient":
            refuse_own_functions(values, rule)
        # Images do not touch each other in evaluation mode, so one sum serves them all.
        (signals,) = torch.autograd.grad(values.sum() + 0 * inputs.sum(), inputs)
    return values.tolist(), signals.cpu()


def _crop(unit: Unit, rule: str, value: float, signal: Tensor, call: Call) -> Projection:
    height, width = signal.shape[1:]
    field = stated(unit.layer, call.field).public()
    box = clip(field.box(unit.row, unit.column), height, width)
    top, left, bottom, right = box
    pixels = signal[:, top:bottom, left:right].clone()
    return Projection(unit, rule, value, pixels, box, (height, width))


def _check_rules(rule: str, tanh: str | None) -> None:
    if rule not in RULES:
        raise ProjectionError(f"unknown rule {rule!r}; choose one of {', '.join(RULES)}")
    if tanh is not None and tanh not in TANH_RULES:
        raise ProjectionError(f"unknown tanh={tanh!r}; choose one of {', '.join(TANH_RULES)}")
    if rule == "gradient" and tanh not in (None, "gradient"):
        raise ProjectionError(
            f"rule='gradient' is the true derivative everywhere; leave tanh={tanh!r} out"
        )


def _check_unit(unit: Unit, call: Call) -> None:
    limits = (*call.shape[1:], 1, 1)[:3]
    for name, position, limit in zip(("channel", "row", "column"), unit[1:], limits, strict=True):
        if not 0 <= position < limit:
            raise LayerError(
                f"layer {unit.layer!r} has no {name} {position}; its {name}s are 0 to {limit - 1}"
            )
