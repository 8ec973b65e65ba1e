"""Units back to pixels, many at a time: one modified backward pass each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from threading import Lock
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.record import (
    Recording,
    Unit,
    capture,
    check_unit,
    is_mined_by_output,
    recording,
)
from internals.activations.strongest import Strongest, best_units
from internals.anatomy.fields import Box, Field, clip
from internals.anatomy.follow import Call
from internals.anatomy.hooks import (
    Devices,
    as_input,
    eagerly,
    in_parallel,
    locating,
    replicas,
    run_until,
)
from internals.anatomy.trace import Model, Pictures, TracedModule, as_traced, only_calls
from internals.data.image_set import Images
from internals.errors import InternalsError, ProjectionError
from internals.progress import Progress
from internals.projection.rules import (
    BackwardRules,
    Choice,
    RuledBackward,
    refuse_own_functions,
    signal_at,
)
from internals.projection.windows import Cut, NarrowedBackward, smallest_windows, stack_size

# What is asked for: units, channels written "conv5:7", or what `strongest` returns.
Units = Unit | str | Strongest | Sequence[Unit | str]


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
    call: Call,
    choice: Choice,
    images: Images,
    jobs: list[Job],
    size: tuple[int, int],
    advance: Callable[[int], None],
    most: int | None = None,
) -> list[Result]:
    """Backward passes from the units of `jobs`, all of one `layer`, to the pixels of their windows.

    `call` is what a trace says of the layer, `size` the images' height and width; `advance` hears
    how many jobs are done. The work is shared out over `models`, evaluation copies of one. At
    `most` so many windows share a pass, by default as many as suits their size.
    """
    engines = [Engine(model, layer, choice, advance, call.depends) for model in models]

    def share(jobs: list[Job]) -> list[Result]:
        parts = list(_parts(jobs, most))
        shares = [parts[number :: len(models)] for number in range(len(models))]
        done = in_parallel(engines, shares, lambda engine, share: engine.run(images, share))
        return [result for results in done for result in results]

    try:
        return share(jobs)
    except (InternalsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:
        # A network may insist on one size of image, in ways that no trace shows.
        on_whole_images = [job.on_whole(size) for job in jobs]
        try:
            return share(on_whole_images)
        except (InternalsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            reason = (str(error).strip() or "no reason is given").partition("\n")[0]
            raise ProjectionError(
                f"{type(models[0]).__name__} fails while layer {layer!r} is projected: "
                f"{type(error).__name__}: {reason}; try rule='gradient', or another layer"
            ) from error


class Engine:
    """Backward passes through one model from units of one layer, by one choice of rules."""

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        choice: Choice,
        advance: Callable[[int], None],
        reaches: bool,
    ) -> None:
        self.model, self.layer, self.choice, self.advance = model, layer, choice, advance
        self.reaches = reaches  # whether the image has a part in the layer at all

    def run(self, images: Images, parts: list["Part"]) -> list[Result]:
        """The results of all jobs in `parts`."""
        done: list[Result] = []
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            locating(self.model) as running,
            recording(self.model, [self.layer]) as record,
        ):
            for part in parts:
                ruled = RuledBackward(self.choice, self.model, running)
                inputs = part.windows_of(images)
                # On the way back as well: what is checkpointed is run again then.
                with NarrowedBackward(), nullcontext() if self.choice.rule == "gradient" else ruled:
                    values, signals = self._pass(part.jobs, inputs, record)
                running.clear()
                record.maps.clear()
                _refuse_non_numbers(part.jobs, values, signals)
                done += zip(part.jobs, values.tolist(), signals.cpu(), strict=True)
                self.advance(len(part.jobs))
        return done

    def _no_gradient(self) -> ProjectionError:
        return ProjectionError(
            f"no gradient leads from layer {self.layer!r} back to the image; take no_grad and "
            "detach out of the network's forward pass"
        )

    def _pass(self, jobs: list[Job], inputs: Tensor, record: Recording) -> tuple[Tensor, Tensor]:
        """One forward pass, and one backward for all windows, or one a unit of a shared one."""
        inputs = as_input(self.model, inputs.detach()).requires_grad_()
        # A copy, because the model may work in place on what it is given.
        with eagerly():
            run_until(self.model, inputs.clone(), record.is_full)
        values = record.maps[self.layer][
            range(len(jobs)) if len(inputs) == len(jobs) else [0] * len(jobs),
            [job.unit.channel for job in jobs],
            [job.rows.position for job in jobs],
            [job.columns.position for job in jobs],
        ]
        refuse_own_functions(values, self.choice.rule)
        if not values.requires_grad:
            if self.reaches:
                raise self._no_gradient()
            return values, inputs.new_zeros(len(jobs), *inputs.shape[1:])
        # Images do not touch each other here, so one sum serves all windows.
        goals = [values.sum()] if len(inputs) == len(jobs) else list(values)
        signals = []
        for goal in goals:
            signal = signal_at(inputs, goal, keep_graph=goal is not goals[-1])
            if signal is None and self.reaches:
                raise self._no_gradient()
            signals.append(inputs.new_zeros(inputs.shape) if signal is None else signal)
        return values, torch.cat(signals)


def _refuse_non_numbers(jobs: list[Job], values: Tensor, signals: Tensor) -> None:
    """Raise `ProjectionError` where a value or a signal is NaN or infinite."""
    sums = values.detach() + signals.flatten(1).sum(dim=1)
    for number in (~sums.isfinite()).nonzero().flatten().tolist()[:1]:
        job, value = jobs[number], values[number].item()
        raise ProjectionError(
            f"{job.unit} of image {job.image} is {value}, and its picture holds NaN or infinity; "
            "check weights and images"
        )


class Part(NamedTuple):
    """Jobs that go through the network together, `stacked`, or sharing one window."""

    jobs: list[Job]
    stacked: bool

    def windows_of(self, images: Images) -> Tensor:
        """The windows of the jobs, (n, c, h, w), or the one that all share."""
        jobs = self.jobs if self.stacked else self.jobs[:1]
        return torch.cat([job.window_of(images) for job in jobs])


def _parts(jobs: list[Job], most: int | None) -> Iterator[Part]:
    """Small windows of one shape are stacked, at `most` so many.

    Large ones go one by one, and units of one image that need the same window share its forward
    pass.
    """
    for _, alike in groupby(sorted(jobs, key=_shape), _shape):
        group = list(alike)
        size = most or stack_size(group[0].rows, group[0].columns)
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
    """What of an image drives one unit.

    Args:
        unit: The unit, in whose place the backward pass began with 1.
        rule: What happened at rectifiers.
        value: The unit's own output.
        pixels: Signed, over `box` of the image; outside of it the projection is exactly 0.
        box: (top, left, bottom, right) in image pixels, bottom and right excluded: the unit's
            receptive field as far as it lies on the image.
        image_size: (height, width).
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
    model: Model,
    images: Pictures,
    units: Units,
    rule: str = "guided",
    *,
    tanh: str | None = None,
    leaky: str | None = None,
    rules: BackwardRules | None = None,
    image_index: Sequence[int] | None = None,
    devices: Devices | None = None,
) -> list[Projection]:
    """Project units back to the pixels of their images, by one backward pass each.

    The model is run in evaluation mode, on no more of each image than the unit can see, and left
    as it was found. What happens at each non-linearity: `internals.projection.rules`.

    Args:
        model: A `Network`, or a bare module.
        images: As `strongest` takes them.
        units: `Unit`s, one an image; or channels written "conv5:7", which stand for the strongest
            unit of that channel on the image. One alone is asked for on every image. What
            `strongest` returned for a layer is taken whole: its units, on the images that it
            numbers.
        rule: What happens at rectifiers: "gradient", "deconvnet" or "guided".
        tanh: At tanh: "gradient", "straight" or "agreeing"; None refuses it.
        leaky: At LeakyReLU and its kin: "gradient", "rectified" or "leaking"; None refuses them.
        rules: At non-linearities of your own: a `BackwardRule`, or "gradient" for the derivative,
            by the name of the operation ("silu"), by its function, or by the class of a module.
            They come before all others.
        image_index: For each unit the number of its image, where they are not one to one. An image
            is run forward once for all of its units that need the same part of it.
        devices: The units are shared out over a copy of the model on each.

    Returns:
        A projection for each unit, in their order.

    Raises:
        ProjectionError: There is a non-linearity without a rule, a choice is unknown, or units and
            images do not go together.
        LayerError: The model has no such unit.
        DataError: The images are bytes, and no normalisation is known.
    """
    choice = Choice(rule, tanh, leaky, dict(rules or {}))
    choice.check()
    traced = as_traced(model)
    inputs = traced.inputs(images)
    chosen, numbers, mined = _located(traced, inputs, units, image_index)
    if not chosen:
        return []
    channels, height, width = inputs[:1].shape[1:]
    shape, size = (channels, height, width), (height, width)
    calls = only_calls(traced, {unit.layer for unit in chosen}, shape)
    for unit in chosen:
        check_unit(unit, calls[unit.layer].shape)
    for layer, call in calls.items():
        choice.check_call(f"layer {layer!r}", call)
    models = replicas(traced.model, devices)
    projections: dict[int, Projection] = {}
    with Progress("projecting", len(chosen), "unit", quiet=10) as bar:
        lock = Lock()

        def advance(count: int) -> None:
            with lock:
                bar.advance(count)

        for layer, call in calls.items():
            field = call.field if isinstance(call.field, Field) else None
            jobs = [
                Job(number, numbers[number], unit, *smallest_windows(traced, unit, field, shape))
                for number, unit in enumerate(chosen)
                if unit.layer == layer
            ]
            apart = len(jobs) < 2 or traced.keeps_images_apart([layer], inputs[:1])
            alone = [] if apart else [1]
            results = run(models, layer, call, choice, inputs, jobs, size, advance, *alone)
            if not _windows_hold(traced, inputs, results, mined, size, call.reads_size):
                jobs = [job.on_whole(size) for job in jobs]
                results = run(
                    models, layer, call, choice, inputs, jobs, size, lambda count: None, *alone
                )
            for job, value, signal in results:
                projections[job.number] = _crop(job, rule, value, signal, field, size)
    return [projections[index] for index in range(len(chosen))]


def locate_units(
    model: Model, images: Pictures, units: Units, image_index: Sequence[int] | None = None
) -> tuple[list[Unit], list[int]]:
    """The units that `project` is asked for, and the number of each one's image.

    Args:
        model: A `Network`, or a bare module.
        images: As for `project`.
        units: Likewise.
        image_index: Likewise.

    Raises:
        ProjectionError: Units and images do not go together.
        LayerError: The model has no such channel.
    """
    traced = as_traced(model)
    return _located(traced, traced.inputs(images), units, image_index)[:2]


def _located(
    traced: TracedModule, inputs: Images, units: Units, image_index: Sequence[int] | None
) -> tuple[list[Unit], list[int], dict[int, float]]:
    """Units, the number of each one's image, and its value there as far as mining has seen it."""
    values: dict[int, float] = {}
    if isinstance(units, Strongest):
        if image_index is not None:
            raise ProjectionError(
                "what strongest returns has its own images; leave image_index out"
            )
        values = dict(enumerate(units.value.flatten().tolist()))
        image_index, units = units.image.flatten().tolist(), list(units.units())
    elif isinstance(units, Unit | str):
        count = len(inputs) if image_index is None else len(image_index)
        units = [units] * count
    numbers = _image_numbers(len(units), len(inputs), image_index)
    named = [(place, unit) for place, unit in enumerate(units) if isinstance(unit, str)]
    located: dict[int, Unit] = {}
    if named:
        places, texts = zip(*named, strict=True)
        best, reached = best_units(traced, inputs, texts, [numbers[place] for place in places])
        located = dict(zip(places, best, strict=True))
        values |= dict(zip(places, reached, strict=True))
    chosen = [located[place] if isinstance(unit, str) else unit for place, unit in enumerate(units)]
    # A layer that squashes is mined by what it is given, which is no output of it.
    modules = dict(traced.model.named_modules())
    return (
        chosen,
        numbers,
        {
            place: value
            for place, value in values.items()
            if is_mined_by_output(modules.get(chosen[place].layer))
        },
    )


_CHECKED = 4  # images that are run whole where there is a doubt


def _windows_hold(
    traced: TracedModule,
    inputs: Images,
    results: list[Result],
    mined: dict[int, float],
    size: tuple[int, int],
    is_uncertain: bool,
) -> bool:
    """Whether units have on their windows the values that they have on their whole images.

    Mining has seen most of them there. Where it has not and the geometry `is_uncertain`, or where
    it saw other values, perhaps of other weights, a few images are run whole.
    """
    windowed = [(job, value) for job, value, _ in results if job != job.on_whole(size)]
    if not windowed:
        return True
    scale = max(abs(value) for _, value in windowed)
    doubtful = [
        (job, value)
        for job, value in windowed
        if job.number in mined and not _agree(traced, value, mined[job.number], scale)
    ]
    unseen = [(job, value) for job, value in windowed if job.number not in mined]
    checked = doubtful or (unseen if is_uncertain else [])
    for image in list(dict.fromkeys(job.image for job, _ in checked))[:_CHECKED]:
        layer = checked[0][0].unit.layer
        maps = capture(traced, inputs[image : image + 1], [layer])[layer][0]
        for job, value in checked:
            whole = maps[job.unit.channel, job.unit.row, job.unit.column].item()
            if job.image == image and not _agree(traced, value, whole, scale):
                return False
    return True


def _agree(traced: TracedModule, one: float, other: float, scale: float) -> bool:
    """Whether two values of a unit differ by rounding only, `scale` being that of its layer."""
    weight = next((p for p in traced.model.parameters() if p.is_floating_point()), None)
    precision = torch.finfo(torch.float32 if weight is None else weight.dtype).eps
    return abs(one - other) <= 10 * precision**0.5 * (abs(other) + 0.1 * scale)


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


def _image_numbers(units: int, images: int, image_index: Sequence[int] | None) -> list[int]:
    """The image of each unit; by default units and images are paired one to one."""
    if image_index is None:
        if images != units:
            raise ProjectionError(
                f"{units} units for {images} images; give one unit an image, or say with "
                "image_index= which image each unit is on"
            )
        return list(range(images))
    numbers = [int(number) for number in image_index]
    if len(numbers) != units or not all(0 <= number < images for number in numbers):
        raise ProjectionError(
            f"image_index={numbers} must hold for each of {units} units an image of 0 to "
            f"{images - 1}"
        )
    return numbers
