"""Oracle: scikit-learn and NumPy on the same outputs."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from internals.data.images import ImageSet
from internals.data.normalization import Normalization
from internals.training.losses import CrossEntropy, MapLoss
from internals.training.metrics import evaluate

_NORMALIZATION = Normalization.from_range(-0.1, 1.175)


class Table(nn.Module):
    """Answers image number n, which holds n in its two pixels, with row n of a table."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        pixels = ((x + 0.1) / 1.275 * 255).round().long().flatten(1)
        return self.drop(self.rows[pixels[:, 0] * 256 + pixels[:, 1]])


@pytest.fixture(params=["logits", "penalties"])
def scored(request):
    count, classes = 1237, 10
    numbers = torch.arange(count)
    pixels = torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    labels = torch.randint(0, classes, (count,))
    rows = torch.randn(count, classes)
    if request.param == "penalties":
        rows = rows.square() * 4
    images = ImageSet(pixels, labels, tuple("0123456789"), "numbers", "n")
    loss = CrossEntropy() if request.param == "logits" else MapLoss(5.0)
    return Table(rows), loss, images, rows.double().numpy(), labels.numpy()


def _probabilities(loss, rows: np.ndarray) -> np.ndarray:
    if isinstance(loss, CrossEntropy):
        return np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    return np.exp(-rows) / (np.exp(-5.0) + np.exp(-rows).sum(1, keepdims=True))


def test_scores_are_those_of_scikit_learn(scored):
    model, loss, images, rows, labels = scored
    found = evaluate(model, loss, images, _NORMALIZATION, k=3)
    better = rows if isinstance(loss, CrossEntropy) else -rows
    answers = better.argmax(1)
    np.testing.assert_array_equal(found.predicted, answers)
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(labels, answers))
    assert found.top1 == pytest.approx(sk.accuracy_score(labels, answers), abs=1e-12)
    top3 = sk.top_k_accuracy_score(labels, better, k=3, labels=np.arange(10))
    assert found.top_k == pytest.approx(top3, abs=1e-12)
    shares = _probabilities(loss, rows)
    np.testing.assert_allclose(found.confidence, shares[np.arange(1237), answers], rtol=1e-5)
    own = np.arange(1237), labels
    mean = -np.log(shares[own]).mean() if isinstance(loss, CrossEntropy) else None
    if mean is None:
        evidence = np.log(np.exp(-5.0) + np.exp(-rows).sum(1))
        mean = (rows[own] + evidence).mean()
    assert found.loss == pytest.approx(mean, rel=1e-5)
    assert found.numbers() == {"loss": found.loss, "top1": found.top1, "top3": found.top_k}


def test_the_model_is_left_as_it_was(scored):
    model, loss, images, *_ = scored
    model.train()
    model.drop.training = False
    evaluate(model, loss, images, _NORMALIZATION)
    assert (model.training, model.drop.training) == (True, False)
    assert model.rows.grad is None
    assert model.rows.requires_grad
