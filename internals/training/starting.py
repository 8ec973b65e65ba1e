"""What a run begins with: the statistics of its images, and first weights that fit them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.anatomy.watch import evaluating
from internals.data.images import ImageSet
from internals.data.pipeline import Pipeline
from internals.training.recipe import Recipe

STARTED_ON = 128  # images that first weights are fitted to


def build_pipeline(recipe: Recipe, images: ImageSet) -> Pipeline:
    """The pipeline that `recipe` names, with the statistics of `images`, the training split."""
    if recipe.input_range is not None:
        return Pipeline.from_range(*recipe.input_range, recipe.size)
    return Pipeline.fit(recipe.pipeline, images, recipe.size)


def standardise(model: nn.Module, inputs: Float[Tensor, "n c h w"]) -> None:
    """Scale and centre each layer with weights, so that `inputs` leave it as numbers of unit size.

    For deep networks without normalisation layers, which else learn nothing for many steps.

    In the order in which they are called, each convolution and linear layer but the last is divided
    by its outputs' root mean square about the mean of each channel (Mishkin and Matas 2016, which
    leaves the means alone), and that mean goes into the bias (Salimans and Kingma 2016, section
    3). So the first steps see what batch normalisation would have made, with no such layer. Layers
    without a bias keep their means; one that says the same whatever it is shown is left as it is.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    seen: set[nn.Module] = set()
    hooks = [layer.register_forward_hook(_Fit(seen)) for layer in layers[:-1]]
    try:
        with evaluating(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()


class _Fit:
    """A hook that fits a layer when it is first called, and hands on what it now says."""

    def __init__(self, seen: set[nn.Module]) -> None:
        self.seen = seen

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if layer in self.seen:
            return output
        self.seen.add(layer)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        over = [axis for axis in range(output.ndim) if axis != 1]
        spread = (output - output.mean(over, keepdim=True)).square().mean().sqrt()
        if spread <= 1e-6 * output.abs().max():
            return output
        layer.weight /= spread
        if layer.bias is None:
            return output / spread
        layer.bias /= spread
        output = output / spread
        mean = output.mean(over)
        layer.bias -= mean
        return output - mean.view(-1, *[1] * (output.ndim - 2))
