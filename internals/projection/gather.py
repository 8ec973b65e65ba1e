"""The strongest units of some channels of a layer, projected and cut out of their images."""

from collections.abc import Iterable

import torch
from torch import nn

from internals.activations.ranking import Strongest
from internals.anatomy.receptive_fields import receptive_field
from internals.data.images import ImageSet
from internals.data.normalization import Normalization, Normalized
from internals.projection.backward import Projection, project
from internals.projection.evidence import Evidence


def gather_evidence(
    model: nn.Module,
    images: ImageSet,
    normalization: Normalization,
    found: Strongest,
    channels: Iterable[int] = range(6),
    rule: str = "guided",
    *,
    tanh: str | None = None,
) -> list[Evidence]:
    """For each of `channels` of a layer its strongest units, as projections beside their patches.

    `found` is what `strongest` found in these `images`; `rule` and `tanh` are those of `project`,
    which says what is raised.
    """
    channels = list(dict.fromkeys(channels))
    units = [unit for channel in channels for unit in found.units(channel)]
    ids = torch.cat([found.image[channel] for channel in channels])
    inputs = Normalized(images, normalization)[ids]
    projections = project(model, inputs, units, rule, tanh=tanh)
    field = receptive_field(model, found.layer, inputs.shape[1:])
    rows = []
    for channel in channels:
        mine = [p for p in projections if p.unit.channel == channel]
        numbers = found.image[channel].tolist()
        corners = [field.box(p.unit.row, p.unit.column) for p in mine]
        top, left, bottom, right = corners[0]
        rows.append(
            Evidence(
                layer=found.layer,
                channel=channel,
                projections=[p.pixels.numpy() for p in mine],
                patches=[_patch(images, n, p) for n, p in zip(numbers, mine, strict=True)],
                values=[p.value for p in mine],
                labels=[images.class_names[int(images.labels[n])] for n in numbers],
                images=numbers,
                offsets=[
                    (p.box[0] - corner[0], p.box[1] - corner[1])
                    for p, corner in zip(mine, corners, strict=True)
                ],
                size=(bottom - top, right - left),
            )
        )
    return rows


def _patch(images: ImageSet, number: int, projection: Projection):
    top, left, bottom, right = projection.box
    return images.images[number, :, top:bottom, left:right].float().div(255).numpy()
