"""Units back to pixels, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.sharding import Devices, replicas
from internals.activations.unit import Unit
from internals.anatomy.field import Box, Field, clip
from internals.anatomy.trace import Call, only_calls
from internals.errors import LayerError, ProjectionError
from internals.projection.engine import Job, run
from internals.projection.rules import Choice
from internals.projection.windows import windows


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
    leaky: str | None = None,
    of: Sequence[int] | None = None,
    devices: Devices | None = None,
) -> list[Projection]:
    """Project `units` back to the pixels of `images`, one unit an image, by one backward pass each.

    `images` are normalised, (n, c, h, w). Where one image has several units, `of` says for each
    unit the number of its image, which is then run forward once for all of them. `rule`
    ("gradient", "deconvnet" or "guided") says what happens at rectifiers, `tanh` ("gradient",
    "straight" or "agreeing") at tanh, and `leaky` ("gradient", "rectified" or "leaking") at
    LeakyReLU and its kin, for which deconvnet and guided have no rule of their own: see
    `internals.projection.rules`. The model is run in evaluation mode, on no more of each image than
    the unit can see, and left as it was found; with `devices` the units are shared out over copies
    of it on each. Raises `ProjectionError` for a non-linearity without a rule, and `LayerError` for
    a unit that the model does not have.
    """
    choice = Choice(rule, tanh, leaky)
    choice.check()
    of = _images_of(units, len(images), of)
    if not units:
        return []
    channels, height, width = images[:1].shape[1:]
    calls = only_calls(model, {unit.layer for unit in units}, (channels, height, width))
    size = (height, width)
    for unit in units:
        _check_unit(unit, calls[unit.layer])
    models = replicas(model, devices)
    results: dict[int, Projection] = {}
    for layer, call in calls.items():
        field = call.field if isinstance(call.field, Field) else None
        jobs = [
            Job(number, of[number], unit, *windows(field, size, unit.row, unit.column))
            for number, unit in enumerate(units)
            if unit.layer == layer
        ]
        for job, value, signal in run(models, layer, choice, images, jobs, size):
            results[job.number] = _crop(job, rule, value, signal, field, size)
    return [results[number] for number in range(len(units))]


def _crop(
    job: Job, rule: str, value: float, signal: Tensor, field: Field | None, size: tuple[int, int]
) -> Projection:
    """The signal over the unit's receptive field, as far as that lies on the image."""
    unit, box = job.unit, (0, 0, *size)
    if field is not None:
        box = clip(field.public().box(unit.row, unit.column), *size)
    top, left, bottom, right = box
    above, before = job.rows.start, job.columns.start
    pixels = signal[:, top - above : bottom - above, left - before : right - before].clone()
    return Projection(unit, rule, value, pixels, box, size)


def _images_of(units: Sequence[Unit], images: int, of: Sequence[int] | None) -> Sequence[int]:
    """The image of each unit; by default units and images are paired one to one."""
    if of is None:
        if images != len(units):
            raise ProjectionError(
                f"{len(units)} units for {images} images; give one unit an image, or say with of= "
                "which image each unit is on"
            )
        return range(images)
    if len(of) != len(units) or not all(0 <= number < images for number in of):
        raise ProjectionError(
            f"of={list(of)} must hold for each of {len(units)} units an image of 0 to {images - 1}"
        )
    return of


def _check_unit(unit: Unit, call: Call) -> None:
    limits = (*call.shape[1:], 1, 1)[:3]
    for name, position, limit in zip(("channel", "row", "column"), unit[1:], limits, strict=True):
        if not 0 <= position < limit:
            raise LayerError(
                f"layer {unit.layer!r} has no {name} {position}; its {name}s are 0 to {limit - 1}"
            )
