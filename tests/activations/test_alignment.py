"""Oracle: CKA by its definition on features, an average over index quadruples, and invariances."""

from itertools import permutations

import pytest
import torch
from torch import nn

from internals.activations import capture, centred_alignment, gram_matrices
from internals.errors import LayerError


def gram(features: torch.Tensor) -> torch.Tensor:
    return features @ features.T


def by_quadruples(k: torch.Tensor, l: torch.Tensor) -> float:  # noqa: E741
    """The criterion as the U-statistic it is: a mean over all ordered quadruples of images."""
    n, total, count = len(k), 0.0, 0
    for i, j, q, r in permutations(range(n), 4):
        total += float(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]))
        count += 1
    return total / count


def test_the_estimate_is_the_mean_over_quadruples():
    k, l = (gram(torch.randn(7, 3, dtype=torch.float64)) for _ in range(2))  # noqa: E741
    want = by_quadruples(k, l) / (by_quadruples(k, k) * by_quadruples(l, l)) ** 0.5
    found = centred_alignment([k, l])
    assert found[0, 1].item() == pytest.approx(want, rel=1e-10)
    assert found.diagonal().tolist() == pytest.approx([1, 1])


def test_rotation_scale_and_shift_change_nothing_but_a_linear_map_does():
    x = torch.randn(40, 6, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    stretched = x * torch.tensor([9.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    found = centred_alignment([gram(x), gram(3 * x @ rotation + 5), gram(stretched)])
    assert found[0, 1].item() == pytest.approx(1, abs=1e-9)
    assert found[0, 2] < 0.9


def test_with_many_images_it_is_the_plain_cka_of_features():
    x = torch.randn(2000, 4, dtype=torch.float64)
    y = x @ torch.randn(4, 5, dtype=torch.float64) + torch.randn(2000, 5, dtype=torch.float64)
    a, b = x - x.mean(0), y - y.mean(0)
    plain = (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    assert centred_alignment([gram(x), gram(y)])[0, 1].item() == pytest.approx(
        plain.item(), abs=0.01
    )


def test_unrelated_features_are_about_zero_however_many_there_are():
    x, y = (torch.randn(60, 3000, dtype=torch.float64) for _ in range(2))
    found = centred_alignment([gram(x), gram(y)])[0, 1]
    assert abs(found) < 0.1
    a, b = (gram(v - v.mean(0)) for v in (x, y))
    assert (a * b).sum() / (a.norm() * b.norm()) > 0.9  # what the plain estimate makes of it


def test_the_matrices_are_those_of_the_layers_outputs():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images = torch.randn(70, 3, 8, 8)
    found = gram_matrices(model, images, ["1", "3"])
    for layer in ("1", "3"):
        features = capture(model, images, [layer])[layer].flatten(1).double()
        centred = features - features.mean(dim=0)
        assert torch.allclose(found[layer], centred @ centred.T, rtol=1e-4, atol=1e-4)
    assert centred_alignment(list(found.values())).isfinite().all()


def test_too_few_images_and_silent_layers_are_refused():
    with pytest.raises(LayerError, match="3 images are too few"):
        centred_alignment([torch.eye(3)])
    with pytest.raises(LayerError, match="number 1 says the same"):
        centred_alignment([gram(torch.randn(9, 3)), torch.zeros(9, 9)])
