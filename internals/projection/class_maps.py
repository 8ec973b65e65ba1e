"""Where on a layer's grid a class was found, and in which detail: Grad-CAM and its guided form."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook

from internals.activations.mining import Images
from internals.anatomy.trace import only_calls
from internals.anatomy.watch import find_layer
from internals.projection.class_scores import (
    Classes,
    Score,
    class_scores,
    differentiating,
    image_shape,
    input_gradients,
    leaf,
    one_class_each,
    portions,
    score_gradient,
)
from internals.projection.rules import Choice


def grad_cam(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes = None,
    *,
    upsample: bool = False,
    score: Score | None = None,
) -> Float[Tensor, "n rows columns"]:
    """Where the maps of `layer` speak for the class, on the layer's own grid; never negative.

    Each channel counts by the mean of the class score's gradient over its map, and what the
    weighted maps sum to is rectified. With `upsample` the grid is stretched over the image by
    `upsampled`. Other arguments as for `saliency`. Raises `LayerError` for a layer that the model
    lacks or calls twice, and `ProjectionError` for shapes and classes that do not fit, or when the
    score does not depend on the layer. (Selvaraju et al., 2017, eq. 1 and 2.)
    """
    return _maps(model, images, layer, classes, upsample, score)[0]


def guided_grad_cam(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes = None,
    *,
    tanh: str | None = None,
    leaky: str | None = None,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """The guided projection of the class score, where `grad_cam` of `layer` says that it counts.

    Signed: their product, the second upsampled. `tanh` and `leaky` are chosen as for `project`,
    and other arguments and errors are those of `grad_cam`. (Selvaraju et al., 2017, section 3.2.)
    """
    maps, chosen = _maps(model, images, layer, classes, True, score)
    guided = input_gradients(model, images, chosen, score, Choice("guided", tanh, leaky))
    return guided * maps.unsqueeze(1)


def upsampled(
    maps: Float[Tensor, "n rows columns"], size: tuple[int, int]
) -> Float[Tensor, "n height width"]:
    """`maps` stretched to `size`, (height, width), bilinearly, their cells' areas kept in place.

    That is `align_corners=False`: a cell of the grid covers its own part of the image.
    """
    return functional.interpolate(
        maps.unsqueeze(1), size, mode="bilinear", align_corners=False
    ).squeeze(1)


def _maps(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes,
    upsample: bool,
    score: Score | None,
) -> tuple[Tensor, Tensor]:
    """The maps, (n, rows, columns), and the class of each image."""
    numbers, shape = one_class_each(classes, len(images)), image_shape(images)
    only_calls(model, [layer], shape)
    found, chosen = [], []
    with differentiating(model), _interposing(model, layer) as kept:
        for part in portions(len(images), *shape[1:]):
            asked = None if numbers is None else numbers[part]
            values, labels = class_scores(model, leaf(model, images[part]), asked, score)
            found.append(_weighted(values, kept.pop(), layer))
            chosen.append(labels.cpu())
    maps = torch.cat(found)
    return upsampled(maps, shape[1:]) if upsample else maps, torch.cat(chosen)


def _weighted(values: Tensor, output: Tensor, layer: str) -> Tensor:
    gradient = score_gradient(values, output, f"layer {layer!r}").detach()
    # A fully connected layer is a grid of one place.
    gradient, maps = (x.view(*x.shape[:2], *(x.shape[2:] or (1, 1))) for x in (gradient, output))
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).relu().cpu()


@contextmanager
def _interposing(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """While the block runs, the outputs of `layer` are kept, and the network goes on with a copy.

    So the score is differentiated by what the layer put out, even if a rectifier after it works in
    place. `recording` cannot serve here: nothing comes after the copies that it keeps.
    """
    module, kept = find_layer(model, layer), list[Tensor]()

    def hook(called: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if called is not module:
            return None
        # Kept is a copy as well: the layer may have given back what others hold.
        kept.append(output.clone())
        return kept[-1].clone()

    handle = register_module_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()
