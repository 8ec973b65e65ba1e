"""The strongest units of some channels of a layer, projected and cut out of their images."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from internals.activations.strongest import Strongest
from internals.anatomy.fields import Box, Field
from internals.anatomy.hooks import Devices
from internals.anatomy.trace import Model, Pictures, as_traced, only_calls
from internals.data.folder import PictureFolder
from internals.data.image_set import ImageSet
from internals.data.normalization import Normalized
from internals.errors import ProjectionError
from internals.figures.patches import ChannelPatches
from internals.projection.project import Projection, project
from internals.projection.rules import BackwardRules


def patches(
    model: Model,
    top: Strongest,
    channels: Iterable[int] = range(6),
    rule: str = "guided",
    *,
    images: Pictures | None = None,
    tanh: str | None = None,
    leaky: str | None = None,
    rules: BackwardRules | None = None,
    devices: Devices | None = None,
) -> list[ChannelPatches]:
    """For some channels of a layer their strongest units, as projections beside their patches.

    Units whose field is larger than the images are shown with the whole image, 0 where they cannot
    see.

    Args:
        model: A `Network`, or a bare module.
        top: What `strongest` returned for the layer.
        channels: Their numbers in the layer.
        rule: As for `project`.
        images: What was mined, as bytes or as `Normalized`, if `top` does not remember it.
        tanh: As for `project`.
        leaky: As for `project`.
        rules: As for `project`.
        devices: As for `project`.

    Returns:
        For each channel what `internals.figures.panels` draws.

    Raises:
        ProjectionError: What was mined were no pictures with labels, or as for `project`.
        LayerError: The layer has no such channel.
    """
    traced, mined = as_traced(model), top.pictures if images is None else images
    pictures = _pictures(mined)
    # A set that was normalised otherwise than the network does it stays as it was mined.
    inputs = mined if isinstance(mined, Normalized) else traced.inputs(pictures)
    channels = list(dict.fromkeys(channels))
    if not channels:
        return []
    for channel in channels:
        top.units(channel)  # raises where there is none
    shown = top[[top.channels.index(channel) for channel in channels]]
    image_index = shown.image.flatten().tolist()
    projections = project(
        traced, inputs, shown, rule, tanh=tanh, leaky=leaky, rules=rules, devices=devices
    )
    known = only_calls(traced, [top.layer], inputs[:1].shape[1:])[top.layer].field
    field = known.public() if isinstance(known, Field) else None
    # Where no field can be stated, a projection is of the whole image.
    boxes = [field.box(p.unit.row, p.unit.column) if field else p.box for p in projections]
    if _exceeds(boxes[0], pictures):
        # Most of so large a field lies outside: it is the image that is worth the room.
        projections = [replace(p, pixels=p.full(), box=(0, 0, *p.image_size)) for p in projections]
        boxes = [p.box for p in projections]
    k, silent = top.image.shape[1], shown.silent.flatten().tolist()
    return [
        _channel_patches(
            top.layer,
            channel,
            pictures,
            image_index[start : start + k],
            projections[start : start + k],
            boxes[start : start + k],
            silent[start : start + k],
        )
        for start, channel in zip(range(0, len(image_index), k), channels, strict=True)
    ]


def _pictures(images: Pictures | None) -> ImageSet:
    """The bytes and labels that patches are cut from."""
    if isinstance(images, PictureFolder):
        return images.images
    if isinstance(images, Normalized):
        return images.source
    if isinstance(images, ImageSet):
        return images
    kind = "a tensor" if isinstance(images, Tensor) else type(images).__name__
    raise ProjectionError(
        f"patches are cut out of an ImageSet, a PictureFolder or a Normalized, not {kind}; "
        "give the one that was mined as images="
    )


def _exceeds(field: Box, pictures: ImageSet) -> bool:
    """Whether `field`, not clipped, is higher or wider than the images."""
    top, left, bottom, right = field
    height, width = pictures.images.shape[2:]
    return bottom - top > height or right - left > width


def _channel_patches(
    layer: str,
    channel: int,
    pictures: ImageSet,
    numbers: list[int],
    projections: list[Projection],
    boxes: list[Box],
    silent: list[bool],
) -> ChannelPatches:
    """The projections of one channel with their patches; `boxes` are their fields, not clipped."""
    top, left, bottom, right = boxes[0]
    return ChannelPatches(
        layer=layer,
        channel=channel,
        projections=[p.pixels.numpy() for p in projections],
        patches=[_patch(pictures, n, p.box) for n, p in zip(numbers, projections, strict=True)],
        values=[p.value for p in projections],
        labels=[pictures.class_names[int(pictures.labels[n])] for n in numbers],
        images=numbers,
        offsets=[
            (p.box[0] - box[0], p.box[1] - box[1])
            for p, box in zip(projections, boxes, strict=True)
        ],
        size=(bottom - top, right - left),
        silent=silent,
    )


def _patch(pictures: ImageSet, number: int, box: Box) -> np.ndarray:
    """The pixels in `box` of one image, (c, h, w) in 0..1."""
    top, left, bottom, right = box
    return pictures.images[number, :, top:bottom, left:right].float().div(255).numpy()
