"""Oracle: scikit-learn and NumPy on the same outputs."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from internals.data import ImageSet, Pipeline
from internals.training import CrossEntropy, Map, evaluate
from tests.reference.colour_run import colour_images, small_colour_network

_PIPELINE = Pipeline.from_range(-0.1, 1.175, 2)


class Table(nn.Module):
    """Answers image number n, which holds n in its first two pixels, with row n of a table."""

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
    pixels = torch.stack([numbers // 256, numbers % 256] * 2, 1).to(torch.uint8).view(-1, 1, 2, 2)
    labels = torch.randint(0, classes, (count,))
    rows = torch.randn(count, classes)
    if request.param == "penalties":
        rows = rows.square() * 4
    images = ImageSet(pixels, labels, tuple("0123456789"), "numbers", "n")
    loss = CrossEntropy() if request.param == "logits" else Map(5.0)
    return Table(rows), loss, images, rows.double().numpy(), labels.numpy()


def _probabilities(loss, rows: np.ndarray) -> np.ndarray:
    if isinstance(loss, CrossEntropy):
        return np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    return np.exp(-rows) / (np.exp(-5.0) + np.exp(-rows).sum(1, keepdims=True))


def test_scores_are_those_of_scikit_learn(scored):
    model, loss, images, rows, labels = scored
    metrics = evaluate(model, loss, images, _PIPELINE, k=3)
    better = rows if isinstance(loss, CrossEntropy) else -rows
    answers = better.argmax(1)
    np.testing.assert_array_equal(metrics.predicted, answers)
    np.testing.assert_array_equal(metrics.confusion, sk.confusion_matrix(labels, answers))
    assert metrics.top1 == pytest.approx(sk.accuracy_score(labels, answers), abs=1e-12)
    top3 = sk.top_k_accuracy_score(labels, better, k=3, labels=np.arange(10))
    assert metrics.top_k == pytest.approx(top3, abs=1e-12)
    shares = _probabilities(loss, rows)
    np.testing.assert_allclose(metrics.confidence, shares[np.arange(1237), answers], rtol=1e-5)
    own = np.arange(1237), labels
    mean = -np.log(shares[own]).mean() if isinstance(loss, CrossEntropy) else None
    if mean is None:
        evidence = np.log(np.exp(-5.0) + np.exp(-rows).sum(1))
        mean = (rows[own] + evidence).mean()
    assert metrics.loss == pytest.approx(mean, rel=1e-5)
    assert metrics.numbers() == {"loss": metrics.loss, "top1": metrics.top1, "top3": metrics.top_k}


def test_the_model_is_left_as_it_was(scored):
    model, loss, images, *_ = scored
    model.train()
    model.drop.training = False
    evaluate(model, loss, images, _PIPELINE)
    assert (model.training, model.drop.training) == (True, False)
    assert model.rows.grad is None
    assert model.rows.requires_grad


def test_ten_crops_are_averaged_after_the_softmax():
    """Ten views cut and scored one by one, in a loop."""
    images = colour_images(23, 32)
    pipeline = Pipeline.fit("alexnet", images, 28)
    torch.manual_seed(1)
    model = small_colour_network().eval()
    metrics = evaluate(model, CrossEntropy(), images, pipeline, crops=10)
    mean = pipeline.normalization.image
    logs = []
    for image in images.images:
        whole = image.float() / 255 - mean
        views = []
        for top, left in [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]:
            view = whole[:, top : top + 28, left : left + 28]
            views += [view, view.flip(-1)]
        shares = [model(view[None]).double().softmax(1)[0] for view in views]
        logs.append(torch.stack(shares).mean(0).log())
    logs = torch.stack(logs)
    np.testing.assert_array_equal(metrics.predicted, logs.argmax(1))
    np.testing.assert_allclose(metrics.confidence, logs.exp().amax(1).detach(), rtol=1e-5)
    wanted = -logs[torch.arange(23), images.labels].mean().item()
    assert metrics.loss == pytest.approx(wanted, rel=1e-5)
    one = evaluate(model, CrossEntropy(), images, pipeline)
    assert abs(one.loss - metrics.loss) > 1e-4


def test_memory_does_not_grow_with_the_size_of_the_images():
    """However large the images, a forward pass sees at most two million pixels, ten crops too."""
    seen = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 10)

        def forward(self, x):
            seen.append(len(x) * x.shape[-1] ** 2)
            return self.fc(x.mean(dim=(2, 3)))

    images = colour_images(20, 585)
    pipeline = Pipeline.fit("mobilenet", images, 512)
    for crops in (1, 10):
        evaluate(Counting(), CrossEntropy(), images, pipeline, crops=crops)
    assert max(seen) <= 10 * 512**2  # one image's ten views is the least that can be done
    assert len(seen) == 3 + 20
