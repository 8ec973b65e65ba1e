"""Oracle: SciPy's minimiser of the objective as written, and hand-made separable activations."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from internals.errors import ProbingError
from internals.probing import linear_probe

PENALTY = 0.01


def blobs(
    n: int, seed: int, classes: int = 3, inputs: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds, each input in a unit of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, inputs, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(n) % classes
    noise = torch.randn(n, inputs, generator=generator, dtype=torch.float64)
    units = torch.tensor([1.0, 100, 0.01, 5, 1], dtype=torch.float64)[:inputs]
    return (centres[labels] + noise) * units + 2, labels


def by_definition(x: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The regularised softmax regression on standardised inputs, by a general minimiser."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)

    def objective(flat: np.ndarray) -> float:
        weights, bias = flat[:-classes].reshape(classes, -1), flat[-classes:]
        logits = z @ weights.T + bias
        likelihood = logits[range(len(y)), y] - logsumexp(logits, axis=1)
        return -likelihood.mean() + PENALTY / 2 * (weights**2).sum()

    start = np.zeros(classes * (x.shape[1] + 1))
    solution = minimize(objective, start, options={"gtol": 1e-8}).x
    return solution[:-classes].reshape(classes, -1), solution[-classes:]


@pytest.mark.parametrize("classes", [2, 3])
def test_coefficients_are_those_of_the_objective(classes: int) -> None:
    x, y = blobs(90, 0, classes)
    probe = linear_probe(x, y, x, y, penalty=PENALTY, iterations=2000, tolerance=1e-6)
    weights, bias = by_definition(x.numpy(), y.numpy(), classes)
    if classes == 2:  # a penalty on the difference is half of that on its two halves
        weights, bias = by_halves(x.numpy(), y.numpy())
    z = (x.numpy() - x.numpy().mean(axis=0)) / x.numpy().std(axis=0)
    expected, logits = z @ weights.T + bias, x.numpy() @ probe.coefficients.T + probe.intercepts
    # Logits count up to a constant an image.
    expected -= expected.mean(axis=1, keepdims=True)
    logits -= logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, expected, atol=2e-3)
    np.testing.assert_allclose(probe.std, x.numpy().std(axis=0))
    assert probe.converged


def by_halves(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression of two classes, its weight the difference of the classes' weights."""
    z, signs = (x - x.mean(axis=0)) / x.std(axis=0), 2 * y - 1

    def objective(flat: np.ndarray) -> float:
        margins = signs * (z @ flat[:-1] + flat[-1])
        return np.logaddexp(0, -margins).mean() + PENALTY / 2 * (flat[:-1] ** 2).sum()

    flat = minimize(objective, np.zeros(x.shape[1] + 1), options={"gtol": 1e-8}).x
    return np.stack([-flat[:-1], flat[:-1]]) / 2, np.array([-flat[-1], flat[-1]]) / 2


def test_it_learns_from_training_activations_and_is_scored_on_test_activations() -> None:
    """Labels of the test images have no say in what is learned."""
    x, y = blobs(90, 0)
    new, truth = blobs(30, 1)
    probe = linear_probe(x, y, new, truth)
    other = linear_probe(x, y, new, (truth + 1) % 3)
    np.testing.assert_array_equal(probe.coefficients, other.coefficients)
    np.testing.assert_array_equal(probe.predicted, other.predicted)
    logits = new.numpy() @ probe.coefficients.T + probe.intercepts
    np.testing.assert_array_equal(probe.predicted, logits.argmax(axis=1))
    correct = probe.predicted == truth.numpy()
    assert probe.accuracy == correct.mean() and probe.accuracy != probe.train_accuracy
    counts = np.zeros((3, 3), dtype=int)
    np.add.at(counts, (truth.numpy(), probe.predicted), 1)
    np.testing.assert_array_equal(probe.confusion, counts)


def test_the_unit_of_an_input_changes_nothing_but_its_coefficient() -> None:
    x, y = blobs(60, 0)
    probe, scaled = (
        linear_probe(a, y, a, y, iterations=2000, tolerance=1e-6) for a in (x, x * 1000)
    )
    np.testing.assert_allclose(1000 * scaled.coefficients, probe.coefficients, rtol=1e-3)
    assert scaled.accuracy == probe.accuracy


def test_positions_are_features_and_what_never_varies_is_left_out() -> None:
    x, y = blobs(60, 0, inputs=4)
    maps = torch.cat([x, torch.full((60, 4), 7.0)], dim=1).view(60, 2, 2, 2)
    with_more = maps.clone()
    with_more[0, 1, 1, 1] = 100.0  # varies on the test images only
    probe, plain = (
        linear_probe(a, y, b, y, tolerance=1e-6) for a, b in ((maps, with_more), (x, x))
    )
    assert probe.features == 8
    np.testing.assert_array_equal(probe.coefficients[:, 4:], 0)
    np.testing.assert_allclose(probe.coefficients[:, :4], plain.coefficients, rtol=1e-6)
    np.testing.assert_array_equal(probe.predicted, plain.predicted)


def test_a_class_without_training_images_is_never_answered() -> None:
    x, y = blobs(60, 0)
    seen = y != 1
    probe = linear_probe(x[seen], y[seen], x, y)
    assert set(probe.predicted) == {0, 2} and probe.confusion.shape == (3, 3)
    np.testing.assert_array_equal(probe.coefficients[1], 0)


def test_too_few_iterations_do_not_converge() -> None:
    x, y = blobs(90, 0)
    assert not linear_probe(x, y, x, y, penalty=1e-6, iterations=2).converged


def few_and_wide(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixty inputs that each say little of the class: a weak penalty learns the noise."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(count) % 2
    return 0.3 * (labels[:, None] - 0.5) + torch.randn(count, 60, generator=generator), labels


def in_a_difference(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two inputs whose small difference is the class: a strong penalty cannot weigh it."""
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(count) % 2
    shared, own = torch.randn(count, 1, generator=generator), 0.1 * (labels[:, None] - 0.5)
    return torch.cat([shared, shared + own], dim=1), labels


@pytest.mark.parametrize(("draw", "best"), [(few_and_wide, 1.0), (in_a_difference, 1e-4)])
def test_of_several_penalties_that_which_reads_held_out_training_images_best_is_used(
    draw, best: float
) -> None:
    (x, y), (new, truth) = draw(100, 3), draw(1000, 4)
    # Sorted by class, as a folder is read: the last fifth of the images is all of one class.
    x, y = x[y.argsort(stable=True)], y.sort().values
    chosen = linear_probe(x, y, new, truth, penalty=(1e-4, 1.0))
    alone = {p: linear_probe(x, y, new, truth, penalty=p) for p in (1e-4, 1.0)}
    assert max(alone, key=lambda penalty: alone[penalty].accuracy) == best == chosen.penalty
    np.testing.assert_array_equal(chosen.coefficients, alone[best].coefficients)


def test_images_too_few_to_hold_some_out_need_one_penalty() -> None:
    x, y = blobs(4, 0, classes=2)
    with pytest.raises(ProbingError, match="4 training images are too few to choose one of 2"):
        linear_probe(x, y, x, y, penalty=(0.1, 1.0))
    with pytest.raises(ProbingError, match=r"penalty=\(\) holds none"):
        linear_probe(x, y, x, y, penalty=())


def test_what_does_not_fit_is_refused(unchecked_shapes) -> None:
    x, y = blobs(9, 0)
    with pytest.raises(ProbingError, match="9 training activations and 8 labels"):
        linear_probe(x, y[:8], x, y)
    with pytest.raises(ProbingError, match="9 test activations and 8 labels"):
        linear_probe(x, y, x, y[:8])
    with pytest.raises(ProbingError, match="5 training activations an image, but 4 test"):
        linear_probe(x, y, x[:, :4], y)
    with pytest.raises(ProbingError, match="all training labels are 0"):
        linear_probe(x[:1], y[:1], x, y)
    with pytest.raises(ProbingError, match="penalty=0"):
        linear_probe(x, y, x, y, penalty=0)
