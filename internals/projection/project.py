"""Units back to pixels, many at a time."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.record import Recording, Unit, as_input, recording
from internals.activations.strongest import Devices, in_parallel, replicas
from internals.anatomy.fields import Box, Field, clip
from internals.anatomy.hooks import locating, run_until
from internals.anatomy.trace import Call, only_calls
from internals.data.image_set import Images
from internals.errors import InternalsError, LayerError, ProjectionError
from internals.models.evaluation import evaluating
from internals.projection.rules import Choice, RuledBackward, refuse_own_functions
from internals.projection.windows import Cut, NarrowedBackward, batch_size, windows


class Job(NamedTuple):
    """One unit of image number `image`, with its windows along rows and columns."""

    number: int
    image: int
    unit: Unit
    rows: Cut
    columns: Cut

    def on_whole(self, size: tuple[int, int]) -> "Job":
        """The same job on the whole of its image of `size`."""
        unit = self.unit
        return self._replace(rows=Cut(0, size[0], unit.row), columns=Cut(0, size[1], unit.column))

    def window_of(self, images: Images) -> Tensor:
        """The window of the job's own image, (1, c, h, w)."""
        rows, columns = self.rows, self.columns
        image = images[self.image : self.image + 1]
        return image[
            ...,
            rows.start : rows.start + rows.length,
            columns.start : columns.start + columns.length,
        ]


Result = tuple[Job, float, Tensor]  # a job, its unit's value, its signal over its window (c, h, w)


def run(
    models: Sequence[nn.Module],
    layer: str,
    choice: Choice,
    images: Images,
    jobs: list[Job],
    size: tuple[int, int],
) -> list[Result]:
    """Backward passes from the units of `jobs`, all of one `layer`, to the pixels of their windows.

    `size` is the images' height and width. The work is shared out over `models`, copies of one.
    """
    engines = [Engine(model, layer, choice) for model in models]

    def share(jobs: list[Job]) -> list[Result]:
        parts = list(_parts(jobs))
        shares = [parts[number :: len(models)] for number in range(len(models))]
        done = in_parallel(engines, shares, lambda engine, mine: engine.run(images, mine))
        return [result for results in done for result in results]

    try:
        return share(jobs)
    except InternalsError:
        raise
    except Exception:
        whole = [job.on_whole(size) for job in jobs]
        if whole == jobs:
            raise
        # A network may insist on one size of image, in ways that no trace shows.
        return share(whole)


class Engine:
    """Backward passes through one model from units of one layer, by one choice of rules."""

    def __init__(self, model: nn.Module, layer: str, choice: Choice) -> None:
        self.model, self.layer, self.choice = model, layer, choice

    def run(self, images: Images, parts: list["Part"]) -> list[Result]:
        """The results of all jobs in `parts`."""
        done: list[Result] = []
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            evaluating(self.model),
            locating(self.model) as where,
            recording(self.model, [self.layer]) as record,
        ):
            for part in parts:
                ruled = RuledBackward(self.choice, where)
                inputs = part.windows_of(images)
                with NarrowedBackward(), nullcontext() if self.choice.rule == "gradient" else ruled:
                    values, signals = self._pass(part.jobs, inputs, record)
                record.maps.clear()
                done += zip(part.jobs, values.tolist(), signals.cpu(), strict=True)
        return done

    def _pass(self, jobs: list[Job], inputs: Tensor, record: Recording) -> tuple[Tensor, Tensor]:
        """One forward pass, and one backward for all windows, or one a unit of a shared one."""
        inputs = as_input(self.model, inputs.detach()).requires_grad_()
        # A copy, because the model may work in place on what it is given.
        run_until(self.model, inputs.clone(), record.is_full)
        values = record.maps[self.layer][
            range(len(jobs)) if len(inputs) == len(jobs) else [0] * len(jobs),
            [job.unit.channel for job in jobs],
            [job.rows.position for job in jobs],
            [job.columns.position for job in jobs],
        ]
        if self.choice.rule != "gradient":
            refuse_own_functions(values, self.choice.rule)
        if not values.requires_grad:  # nothing on the way depends on the image
            return values, inputs.new_zeros(len(jobs), *inputs.shape[1:])
        # Images do not touch each other in evaluation mode, so one sum serves all windows.
        goals = [values.sum()] if len(inputs) == len(jobs) else list(values)
        signals = []
        for goal in goals:
            (signal,) = torch.autograd.grad(
                goal, inputs, retain_graph=goal is not goals[-1], materialize_grads=True
            )
            signals.append(signal)
        return values, torch.cat(signals)


class Part(NamedTuple):
    """Jobs that go through the network together, `stacked`, or sharing one window."""

    jobs: list[Job]
    stacked: bool

    def windows_of(self, images: Images) -> Tensor:
        """The windows of the jobs, (n, c, h, w), or the one that all share."""
        jobs = self.jobs if self.stacked else self.jobs[:1]
        return torch.cat([job.window_of(images) for job in jobs])


def _parts(jobs: list[Job]) -> Iterator[Part]:
    """Small windows of one shape are stacked.

    Large ones go one by one, and units of one image that need the same window share its forward
    pass.
    """
    for _, alike in groupby(sorted(jobs, key=_shape), _shape):
        group = list(alike)
        size = batch_size(group[0].rows, group[0].columns)
        if size > 1:
            for start in range(0, len(group), size):
                yield Part(group[start : start + size], stacked=True)
            continue
        for _, sharing in groupby(sorted(group, key=_window), _window):
            yield Part(list(sharing), stacked=False)


def _shape(job: Job) -> tuple[int, int]:
    return job.rows.length, job.columns.length


def _window(job: Job) -> tuple[int, int, int]:
    """The image and where its window starts: jobs that agree in it can share a forward pass."""
    return job.image, job.rows.start, job.columns.start


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
