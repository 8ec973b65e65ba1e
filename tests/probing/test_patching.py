"""Oracle: a network written out by hand, whose layer is replaced in plain tensor code."""

import pytest
import torch
from torch import nn

from internals.activations import capture
from internals.anatomy import TracedModule
from internals.data import ImageSet, Normalization
from internals.errors import DataError, LayerError, ProbingError
from internals.models import LeNet5
from internals.probing import (
    channel_vectors,
    gather_activations,
    maps_from_vectors,
    patched,
    patched_accuracy,
)

pytestmark = pytest.mark.slow


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(2))


def head(model: LeNet5, c5: torch.Tensor) -> torch.Tensor:
    """LeNet-5 from what C5 says, (n, 120), on."""
    f6 = 1.7159 * torch.tanh(2 / 3 * (c5 @ model.linear.weight.T + model.linear.bias))
    return ((f6[:, None] - model.rbf.prototypes) ** 2).sum(dim=2)


@torch.no_grad()
@pytest.mark.parametrize("layer", ["conv1", "pool2", "tanh5", "linear", "rbf"])
def test_a_layer_patched_with_its_own_vectors_changes_no_bit(layer: str) -> None:
    model, x = LeNet5().eval(), images()
    plain = model(x)
    with patched(model, layer, lambda vectors: vectors):
        assert torch.equal(model(x), plain)


@torch.no_grad()
def test_the_network_goes_on_with_the_transformed_output() -> None:
    model, x = LeNet5().eval(), images()
    c5 = capture(model, x, ["tanh5"])["tanh5"].flatten(1)
    with patched(model, "tanh5", lambda vectors: 0.5 * vectors - 0.1):
        outputs = model(x)
    torch.testing.assert_close(outputs, head(model, 0.5 * c5 - 0.1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(model(x), head(model, c5), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_every_position_is_transformed_by_its_own_channels() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.Identity())
    mix, x = torch.randn(3, 3), images(2)
    expected = torch.einsum("dc,nchw->ndhw", mix, model(x))
    with patched(model, "0", lambda vectors: vectors @ mix.T):
        torch.testing.assert_close(model(x), expected)


def test_vectors_go_back_to_where_they_came_from() -> None:
    maps = torch.arange(2 * 3 * 5 * 7.0).view(2, 3, 5, 7)
    vectors = channel_vectors(maps)
    assert vectors.shape == (70, 3)
    assert vectors[35 + 2 * 7 + 4].tolist() == maps[1, :, 2, 4].tolist()
    assert torch.equal(maps_from_vectors(vectors, maps), maps)
    with pytest.raises(ProbingError, match=r"shape \(2, 3, 5\) are no vectors"):
        channel_vectors(maps[..., 0])


@torch.no_grad()
def test_nothing_is_left_behind_and_others_are_left_alone() -> None:
    model, other, x = LeNet5().train(), LeNet5().eval(), images()
    plain, other_plain = model(x), other(x)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), patched(model, "tanh5", torch.zeros_like):
        assert not torch.equal(model(x), plain)
        assert torch.equal(other(x), other_plain)
        raise ZeroDivisionError
    patched_accuracy(model, "tanh6", torch.zeros_like, x, torch.zeros(6, dtype=torch.int64))
    assert torch.equal(model(x), plain) and all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@torch.no_grad()
def test_accuracy_is_counted_over_all_images_in_evaluation_mode() -> None:
    model, x = LeNet5().train(), images(1103)  # more than a pass
    model.linear = nn.Sequential(model.linear, nn.Dropout(0.9))
    c5 = capture(model, x, ["tanh5"])["tanh5"].flatten(1)
    model.eval()
    f6 = 1.7159 * torch.tanh(2 / 3 * model.linear(0.7 * c5))
    labels = ((f6[:, None] - model.rbf.prototypes) ** 2).sum(dim=2).argmin(dim=1)
    model.train()
    labels[::4] = (labels[::4] + 1) % 10
    accuracy = patched_accuracy(
        model, "tanh5", lambda v: 0.7 * v, x, labels, score=lambda penalties: -penalties
    )
    assert accuracy == pytest.approx(1 - 276 / 1103, abs=2 / 1103)  # two may be ties


def test_what_does_not_fit_is_refused(unchecked_shapes) -> None:
    model, x, labels = LeNet5(), images(), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(LayerError, match="no layer 'tanh9'"):
        patched_accuracy(model, "tanh9", torch.zeros_like, x, labels)
    with pytest.raises(ProbingError, match=r"'tanh5' gives vectors of shape \(6, 120\)"):
        patched_accuracy(model, "tanh5", lambda v: v[:, :5], x, labels)
    with pytest.raises(ProbingError, match="6 images and 5 labels"):
        patched_accuracy(model, "tanh5", torch.zeros_like, x, labels[:5])
    with pytest.raises(ProbingError, match="0 of 6 images asked for"):
        gather_activations(model, x, ["conv1"], 0)


def test_activations_are_gathered_as_they_are_captured() -> None:
    model, x = LeNet5(), images(507)  # more than a pass
    gathered = gather_activations(model, x, ["pool1", "tanh6"])
    expected = capture(model, x, ["tanh6"])["tanh6"]
    torch.testing.assert_close(gathered["tanh6"], expected)
    assert gathered["pool1"].shape == (507, 6, 14, 14)
    first = gather_activations(model, x, ["tanh6"], 3)["tanh6"]
    torch.testing.assert_close(first, expected[:3])


def test_a_network_normalises_and_reads_for_itself() -> None:
    """What it is spared to be given says the same when it is given to a bare module."""
    pixels = torch.randint(256, (300, 1, 32, 32), dtype=torch.uint8)
    normalization = Normalization.from_range(-0.1, 1.175)
    model, inputs = LeNet5(), normalization.apply(pixels)
    network = TracedModule(model, normalization=normalization, score=torch.neg)
    f6 = capture(model, inputs, ["tanh6"])["tanh6"].flatten(1)
    labels = ((-f6[:, None] - model.rbf.prototypes) ** 2).sum(dim=2).argmin(dim=1)
    pictures = ImageSet(pixels, labels, tuple("0123456789"), "noise", "f")
    gathered = gather_activations(network, pictures, ["tanh6"], 290)["tanh6"]
    torch.testing.assert_close(gathered.flatten(1), f6[:290])
    assert patched_accuracy(network, "tanh6", torch.neg, pictures) == 1
    assert patched_accuracy(model, "tanh6", torch.neg, inputs, labels, score=torch.neg) == 1
    assert patched_accuracy(model, "tanh6", torch.neg, inputs, labels) == 0  # largest penalties
    assert patched_accuracy(network, "tanh6", torch.neg, pictures, (labels + 1) % 10) == 0
    with torch.no_grad(), patched(network, "tanh6", torch.zeros_like):
        outputs = model(inputs[:2])
    torch.testing.assert_close(outputs, torch.full((2, 10), 84.0))  # 84 pixels of a bitmap, each 1
    with pytest.raises(ProbingError, match="these images have no labels; give labels="):
        patched_accuracy(network, "tanh6", torch.neg, inputs)
    with pytest.raises(DataError, match="these pictures are bytes, and how LeNet5 is fed"):
        patched_accuracy(model, "tanh6", torch.neg, pictures)
