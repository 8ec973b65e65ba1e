"""Oracle: Captum, on networks whose every rectifier is a module of its own, where it is right."""

import warnings

import pytest
import torch
import torchvision
from captum.attr import NeuronDeconvolution, NeuronGradient, NeuronGuidedBackprop
from torch import nn

from internals.activations import Unit
from internals.projection import project

THEIRS = {
    "gradient": NeuronGradient,
    "deconvnet": NeuronDeconvolution,
    "guided": NeuronGuidedBackprop,
}


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    net = torchvision.models.alexnet(weights=None).features.double().eval()
    for module in net.modules():  # Captum's hooks cannot bear what works in place
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", THEIRS)
@pytest.mark.parametrize(("layer", "place"), [("3", (0, 13)), ("6", (6, 6)), ("10", (12, 0))])
def test_alexnet_as_captum_has_it(alexnet, layer, place, rule):
    image = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    ours = project(alexnet, image, [Unit(layer, 5, *place)], rule)[0].full()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = THEIRS[rule](alexnet, alexnet.get_submodule(layer))
        theirs = usual.attribute(image, (5, *place))[0].detach()
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()
