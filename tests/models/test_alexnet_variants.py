"""Oracle: AlexNet with the same weights, and the sizes of Zeiler and Fergus (2014), figure 3."""

import pytest
import torch

from internals.anatomy import summarize
from internals.errors import ModelError
from internals.models import AlexNet, AlexNetVariant, build


def _shapes(**choices):
    with torch.device("meta"):
        model = AlexNetVariant(**choices)
    rows = summarize(model, (3, 224, 224))
    return {row.name: row.shape for row in rows}, sum(row.parameters for row in rows)


def test_without_a_choice_it_computes_what_alexnet_does():
    torch.manual_seed(0)
    alexnet, variant = AlexNet().eval(), build("alexnet-variant").eval()
    with torch.no_grad():
        for mine, theirs in zip(variant.parameters(), alexnet.parameters(), strict=True):
            mine.copy_(theirs)
        pictures = torch.randn(2, 3, 224, 224)
        assert torch.equal(variant(pictures), alexnet(pictures))


def test_the_smaller_window_has_the_papers_sizes():
    shapes, _ = _shapes(first="7x7/2")
    assert shapes["pool1"][1:] == (55, 55)
    assert shapes["conv3"] == (384, 13, 13)
    assert shapes["conv5"] == (256, 13, 13)
    assert shapes["pool3"] == (256, 6, 6)


def test_what_is_left_out_costs_no_parameters():
    _, whole = _shapes()
    assert whole == 58_322_314
    _, shallow = _shapes(without=("conv3", "conv4"))
    conv3, conv4, conv5 = (n * m * 9 + m for n, m in ((256, 384), (384, 384), (384, 256)))
    assert whole - shallow == conv3 + conv4 + conv5 - (256 * 256 * 9 + 256)
    _, bare = _shapes(hidden=())
    hidden = (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10
    assert whole - bare == hidden - (9216 + 1) * 10


def test_wider_layers_have_the_papers_channels():
    shapes, _ = _shapes(widths=(512, 1024, 512))
    assert [shapes[f"conv{n}"][0] for n in (3, 4, 5)] == [512, 1024, 512]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"first": "9x9/3"}, "first='9x9/3' is not one of 11x11/4, 7x7/2"),
        ({"without": ["conv1"]}, r"without=\['conv1'\] cannot be left out"),
        ({"widths": (1, 2)}, "three channel numbers"),
        ({"hidden": (0,)}, "above 0"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(choices, words):
    with pytest.raises(ModelError, match=words):
        AlexNetVariant(**choices)
