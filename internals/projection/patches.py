"""The strongest units of some channels of a layer, projected and cut out of their images."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from internals.activations.strongest import Strongest
from internals.anatomy.fields import Box, Field
from internals.anatomy.trace import only_calls
from internals.data.image_set import ImageSet
from internals.data.normalization import InputMap, Normalized
from internals.figures.patches import Evidence
from internals.projection.project import Projection, project


def gather_evidence(
    model: nn.Module,
    images: ImageSet,
    normalization: InputMap,
    found: Strongest,
    channels: Iterable[int] = range(6),
    rule: str = "guided",
    *,
    tanh: str | None = None,
    leaky: str | None = None,
) -> list[Evidence]:
    """For each of `channels` of a layer its strongest units, as projections beside their patches.

    Units whose field is larger than the images are shown with the whole image, 0 where they cannot
    see.
    `found` is what `strongest` found in these `images`; `rule`, `tanh` and `leaky` are those of
    `project`, which says what is raised.
    """
    channels = list(dict.fromkeys(channels))
    units = [unit for channel in channels for unit in found.units(channel)]
    ids = torch.cat([found.image[channel] for channel in channels])
    shown, of = ids.unique(return_inverse=True)
    inputs = Normalized(images, normalization)[shown]
    projections = project(model, inputs, units, rule, tanh=tanh, leaky=leaky, of=of.tolist())
    known = only_calls(model, [found.layer], inputs.shape[1:])[found.layer].field
    field = known.public() if isinstance(known, Field) else None
    rows = []
    for channel in channels:
        mine = [p for p in projections if p.unit.channel == channel]
        # Where no field can be stated, a projection is of the whole image.
        boxes = [field.box(p.unit.row, p.unit.column) if field else p.box for p in mine]
        if _exceeds(boxes[0], images):
            # Most of so large a field lies outside: it is the image that is worth the room.
            mine = [replace(p, pixels=p.full(), box=(0, 0, *p.image_size)) for p in mine]
            boxes = [p.box for p in mine]
        rows.append(_evidence(images, found, channel, mine, boxes))
    return rows


def _exceeds(field: Box, images: ImageSet) -> bool:
    """Whether `field`, not clipped, is higher or wider than the images."""
    top, left, bottom, right = field
    height, width = images.images.shape[2:]
    return bottom - top > height or right - left > width


def _evidence(
    images: ImageSet, found: Strongest, channel: int, mine: list[Projection], boxes: list[Box]
) -> Evidence:
    """The projections of one channel with their patches; `boxes` are their fields, not clipped."""
    numbers = found.image[channel].tolist()
    top, left, bottom, right = boxes[0]
    return Evidence(
        layer=found.layer,
        channel=channel,
        projections=[p.pixels.numpy() for p in mine],
        patches=[_patch(images, n, p) for n, p in zip(numbers, mine, strict=True)],
        values=[p.value for p in mine],
        labels=[images.class_names[int(images.labels[n])] for n in numbers],
        images=numbers,
        offsets=[
            (p.box[0] - box[0], p.box[1] - box[1]) for p, box in zip(mine, boxes, strict=True)
        ],
        size=(bottom - top, right - left),
    )


def _patch(images: ImageSet, number: int, projection: Projection):
    top, left, bottom, right = projection.box
    return images.images[number, :, top:bottom, left:right].float().div(255).numpy()
