"""Ruled backward passes, many at a time."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.recording import Recording, as_input, recording
from internals.activations.sharding import in_parallel
from internals.activations.unit import Unit
from internals.anatomy.watch import evaluating, locating, run_until
from internals.errors import InternalsError
from internals.projection.narrowing import NarrowedBackward
from internals.projection.rules import Choice, RuledBackward, refuse_own_functions
from internals.projection.windows import Cut, batch_size


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
