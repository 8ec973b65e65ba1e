"""Oracle: float64 statistics taken layer by layer, and the network's own outputs scaled by hand."""

import torch
from torch import nn

from internals.models import VGG16
from internals.training.loop import standardise


def _said(model, inputs, kinds):
    """What each layer of `kinds` says, asked one layer after the other."""
    said, handles = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            hook = lambda _, __, out, name=name: said.setdefault(name, out.detach())  # noqa: E731
            handles.append(layer.register_forward_hook(hook))
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return said


def test_every_layer_but_the_last_starts_centred_and_at_unit_size():
    torch.manual_seed(0)
    model, inputs = VGG16().double(), 0.3 + torch.rand(24, 3, 32, 32, dtype=torch.float64)
    last = model.fc3.weight.clone()
    standardise(model, inputs)
    assert model.training and torch.equal(model.fc3.weight, last)
    said = _said(model.eval(), inputs, (nn.Conv2d, nn.Linear))
    del said["fc3"]
    assert len(said) == 15
    for name, out in said.items():
        values = out.transpose(0, 1).flatten(1).double()
        assert values.mean(dim=1).abs().max() < 1e-10, name
        assert abs(values.square().mean().item() - 1) < 1e-10, name


def test_it_is_the_old_network_scaled_and_shifted():
    """One layer by hand: weights over the spread s, the bias less the mean."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double()
    first, inputs = nn.Conv2d(2, 3, 3).double(), torch.randn(50, 2, 4, 4, dtype=torch.float64)
    first.load_state_dict(model[0].state_dict())
    with torch.no_grad():
        out = first(inputs)
        mean = out.mean((0, 2, 3))
        spread = torch.stack([out[:, c] - mean[c] for c in range(3)]).square().mean().sqrt()
    standardise(model, inputs)
    torch.testing.assert_close(model[0].weight, first.weight / spread, rtol=1e-12, atol=0)
    torch.testing.assert_close(model[0].bias, (first.bias - mean) / spread, rtol=1e-10, atol=1e-12)


def test_dead_layers_missing_biases_and_second_calls_do_no_harm():
    torch.manual_seed(2)
    silent = nn.Conv2d(2, 2, 1)
    nn.init.zeros_(silent.weight)
    twice, bare = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1, bias=False)
    model = nn.Sequential(twice, twice, bare, silent, nn.Flatten(), nn.Linear(8, 1))
    before = silent.bias.clone()
    inputs = torch.randn(40, 2, 2, 2)
    standardise(model, inputs)
    assert torch.equal(silent.bias, before) and not silent.weight.any()
    out = twice(inputs)
    assert abs(out.square().mean().item() - 1) < 1e-5, "fitted to its first call"
    centred = bare(twice(twice(inputs)))
    centred = centred - centred.mean((0, 2, 3), keepdim=True)
    assert abs(centred.square().mean().item() - 1) < 1e-5
    assert not any(layer._forward_hooks for layer in model.modules())
