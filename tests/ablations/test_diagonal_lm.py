"""Oracle: the Gauss-Newton product J' H J sample by sample, loops, and autograd's Hessian.

Passing second derivatives back layer by layer leaves out what two units have in common. Where
there is nothing in common (one path from a weight to each output) it is exact.
"""

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.autograd.functional import hessian

from internals.ablations import (
    DiagonalLM,
    StochasticDiagonalLM,
    default_arm,
    gauss_newton_diagonal,
    map_curvature,
)
from internals.errors import AblationError
from internals.models import AvgPool2d, LeNet5Variant, RBFOutputLayer, ScaledTanh
from internals.training import Batches, Constant, Map, train

RUBBISH = 5.0


class Tiny(nn.Module):
    """One layer and a squashing function before the distances: every weight has one path."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 84)
        self.act = ScaledTanh()
        self.output = RBFOutputLayer()


class Deep(nn.Module):
    """All kinds of layers, small enough for loops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.act1 = ScaledTanh()
        self.pool1 = AvgPool2d(2, 2)
        self.act2 = ScaledTanh()
        self.linear = nn.Linear(2 * 2 * 2, 84)
        self.act3 = ScaledTanh()
        self.output = RBFOutputLayer()


def near_codes(count: int) -> torch.Tensor:
    """States among the codes, where several classes share the posterior."""
    codes = RBFOutputLayer().prototypes.double()
    blend = torch.rand(count, 10, dtype=torch.float64).softmax(dim=1)
    return blend @ codes * 0.2 + 0.02 * torch.randn(count, 84, dtype=torch.float64)


def hessian_of_loss(state: torch.Tensor, codes: torch.Tensor, label: int) -> torch.Tensor:
    """(84, 84), by automatic differentiation of the loss itself."""

    def energy(units: torch.Tensor) -> torch.Tensor:
        return Map(RUBBISH)((units - codes).square().sum(1)[None], torch.tensor([label]))

    return hessian(energy, state)


def test_the_last_second_derivatives_are_the_hessian_of_the_loss() -> None:
    codes = 0.1 * torch.randn(10, 84, dtype=torch.float64)
    for x in (near_codes(3), codes[:2] + 0.05 * torch.randn(2, 84, dtype=torch.float64)):
        curvature = map_curvature(x, codes, RUBBISH)
        for label in (0, 7):  # they do not depend on it
            for row, state in zip(curvature, x, strict=True):
                torch.testing.assert_close(row, hessian_of_loss(state, codes, label).diagonal())


def test_one_layer_is_exactly_gauss_newton() -> None:
    model = Tiny().double()
    inputs = torch.randn(5, 1, 2, 2, dtype=torch.float64)
    curvature = gauss_newton_diagonal(model, inputs, RUBBISH)
    weight, bias = model.linear.weight, model.linear.bias
    codes = model.output.prototypes.double()
    total_w, total_b = torch.zeros_like(weight), torch.zeros_like(bias)
    for sample in inputs.flatten(1):
        state = model.act(model.linear(sample[None]))
        jacobian_w, jacobian_b = torch.autograd.functional.jacobian(
            lambda w, b, x=sample: model.act(x @ w.t() + b), (weight.detach(), bias.detach())
        )
        h = hessian_of_loss(state[0].detach(), codes, label=3)
        rows = jacobian_w.reshape(84, -1)
        total_w += torch.einsum("ik,ij,jk->k", rows, h, rows).view_as(weight)
        total_b += torch.einsum("ik,ij,jk->k", jacobian_b, h, jacobian_b)
    torch.testing.assert_close(curvature[weight], total_w / 5)
    torch.testing.assert_close(curvature[bias], total_b / 5)


def squashed_slope(a: torch.Tensor) -> torch.Tensor:
    return 1.7159 * 2 / 3 * (1 - torch.tanh(2 * a / 3) ** 2)


def test_convolutions_and_pools_by_loops() -> None:
    """Appendix C by hand: each unit's second derivative is a sum of squares over its readers."""
    model = Deep().double()
    inputs = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    curvature = gauss_newton_diagonal(model, inputs, RUBBISH)
    conv, linear = model.conv1, model.linear
    by_weight, by_bias = torch.zeros_like(conv.weight), torch.zeros_like(conv.bias)
    with torch.no_grad():
        for image in inputs:
            a = conv(image[None])[0]
            pooled = model.pool1(model.act1(a[None]))[0]
            f6 = linear(model.act2(pooled).flatten())
            top = map_curvature(model.act3(f6)[None], model.output.prototypes.double(), RUBBISH)[0]
            for m in range(2):
                for i in range(4):
                    for j in range(4):
                        unit = m * 4 + (i // 2) * 2 + j // 2
                        h = sum(
                            top[k] * squashed_slope(f6[k]) ** 2 * linear.weight[k, unit] ** 2
                            for k in range(84)
                        )
                        h = h * squashed_slope(pooled[m, i // 2, j // 2]) ** 2 / 16
                        h = h * squashed_slope(a[m, i, j]) ** 2
                        by_bias[m] += h
                        by_weight[m, 0] += h * image[0, i : i + 3, j : j + 3] ** 2
    torch.testing.assert_close(curvature[conv.weight], by_weight / 2)
    torch.testing.assert_close(curvature[conv.bias], by_bias / 2)


def test_each_weight_moves_at_its_own_rate() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    optimizer = DiagonalLM([weight], lr=0.1, mu=0.5)
    optimizer.update_curvature({weight: torch.tensor([0.0, 0.5, 4.5])})
    weight.grad = torch.tensor([1.0, 1.0, -10.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.8, 1.9, 3.2]))
    optimizer.update_curvature({weight: torch.tensor([1.5, 1.5, 1.5])}, share=1 / 3)
    torch.testing.assert_close(
        optimizer.state[weight]["curvature"], torch.tensor([0.5, 2.5 / 3, 3.5])
    )


def test_a_recipe_measures_the_first_images_and_then_every_batch(digits) -> None:
    """Three steps by hand: the curvature of all 40 images, then a third of each batch's."""
    images = digits.train.head(40)
    choice = StochasticDiagonalLM(lr=0.01, mu=0.1, share=1 / 3)
    recipe = replace(
        default_arm(lr=1.0, batch_size=16, presentations=48),
        optimizer=choice, schedule=Constant(),
    )  # fmt: skip
    torch.manual_seed(3)
    trained, by_hand = LeNet5Variant(), LeNet5Variant()
    by_hand.load_state_dict(trained.state_dict())
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    train(trained, recipe, images, images, fabric, seed=5, folder=None)
    inputs = -0.1 + 1.275 * images.images.float() / 255
    average = gauss_newton_diagonal(by_hand, inputs, RUBBISH)
    for step, batch in enumerate(Batches(images, 16, 5, torch.device("cpu")).order(1)):
        if step:
            newest = gauss_newton_diagonal(by_hand, inputs[batch], RUBBISH)
            average = {p: average[p] * 2 / 3 + newest[p] / 3 for p in average}
        loss = Map(RUBBISH)(by_hand(inputs[batch]), images.labels[batch])
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
                parameter -= 0.01 / (0.1 + average[parameter]) * gradient
    for ours, theirs in zip(trained.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_it_knows_every_layer_of_the_default_network() -> None:
    model = LeNet5Variant()
    curvature = gauss_newton_diagonal(model, torch.randn(3, 1, 32, 32), RUBBISH)
    assert {id(p) for p in curvature} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("part", [{"pooling": "max"}, {"output": "logits"}])
def test_what_has_no_rule_is_refused(part: dict[str, str]) -> None:
    with pytest.raises(AblationError, match=r"default LeNet-5|output='bitmaps'"):
        gauss_newton_diagonal(LeNet5Variant(**part), torch.randn(2, 1, 32, 32), RUBBISH)
