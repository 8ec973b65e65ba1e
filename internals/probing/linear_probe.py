"""Linear probes: what a linear classifier can read off a layer (Alain and Bengio 2017)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from internals.errors import ProbingError
from internals.probing.vectors import check_activations


@dataclass(frozen=True)
class Probe:
    """A linear classifier of activations, and how it does on those of images it was not fitted to.

    Its logits are the activations times `coefficients`, plus `intercepts`.

    Args:
        accuracy: The share of test images that are classified correctly.
        train_accuracy: That of training images.
        confusion: Counts of test images (classes, classes), a row a true class, a column an answer.
        predicted: The answers for the test images, (m,).
        coefficients: (classes, features), per unit of the activations.
        intercepts: (classes,).
        std: The standard deviations of the training activations, (features,). Times these, the
            coefficients say what a usual change of an activation is worth.
        converged: Whether the iterations sufficed.
        penalty: Of the weights: the one given, or chosen.
    """

    accuracy: float
    train_accuracy: float
    confusion: np.ndarray
    predicted: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    std: np.ndarray
    converged: bool
    penalty: float

    @property
    def features(self) -> int:
        """How many activations an image has."""
        return int(self.coefficients.shape[1])


def linear_probe(
    train: Tensor,
    train_labels: Int64[Tensor, " n"],
    test: Tensor,
    test_labels: Int64[Tensor, " m"],
    *,
    penalty: float | Sequence[float] = 1e-2,
    iterations: int = 300,
    tolerance: float = 1e-3,
) -> Probe:
    """Fit a softmax regression to the activations of a layer, and score it on others.

    Each image is one row of all its activations. They are brought to mean 0 and standard deviation
    1, as they have them in `train`; those that never vary there are left out. What is minimised, by
    scikit-learn's L-BFGS, is the mean cross-entropy plus `penalty` / 2 times the sum of the squared
    weights. Layers of very different widths need different penalties: of several, that is used with
    which a probe of four fifths of the training images reads most of the last fifth right. Probe an
    untrained network too, because random features know something.

    Args:
        train: Training activations (n, ...), such as `gather_activations` gives.
        train_labels: Their classes, (n,).
        test: Activations of the same layer for other images, (m, ...).
        test_labels: Their classes, (m,).
        penalty: Of the weights, above 0; or several to choose from.
        iterations: How many at most.
        tolerance: It stops when no derivative is larger.

    Raises:
        ProbingError: Shapes and labels do not fit, all training labels are equal, activations are
            not finite, or an option is out of range.
    """
    train_rows = _rows(train, train_labels, "training")
    test_rows = _rows(test, test_labels, "test")
    train_classes, test_classes = train_labels.cpu().numpy(), test_labels.cpu().numpy()
    penalties = [float(one) for one in (penalty if isinstance(penalty, Sequence) else (penalty,))]
    _check(train_rows, train_classes, test_rows, penalties, iterations)
    classes = int(max(train_classes.max(), test_classes.max())) + 1

    def fitted(rows: np.ndarray, labels: np.ndarray, penalty: float) -> _Fit:
        return _fit(rows, labels, classes, penalty, iterations, tolerance)

    chosen = _choose(fitted, train_rows, train_classes, penalties)
    fit = fitted(train_rows, train_classes, chosen)
    predicted = fit.predict(test_rows)
    confusion = np.bincount(test_classes * classes + predicted, minlength=classes**2)
    return Probe(
        accuracy=float((predicted == test_classes).mean()),
        train_accuracy=float((fit.predict(train_rows) == train_classes).mean()),
        confusion=confusion.reshape(classes, classes),
        predicted=predicted,
        coefficients=fit.coefficients,
        intercepts=fit.intercepts,
        std=fit.std,
        converged=fit.converged,
        penalty=chosen,
    )


class _Fit(NamedTuple):
    """Weights for activations as they are, not standardised."""

    coefficients: np.ndarray
    intercepts: np.ndarray
    std: np.ndarray
    converged: bool

    def predict(self, rows: np.ndarray) -> np.ndarray:
        logits = rows @ self.coefficients.T.astype(rows.dtype) + self.intercepts
        predicted: np.ndarray = logits.argmax(axis=1)
        return predicted


def _choose(
    fitted: Callable[[np.ndarray, np.ndarray, float], _Fit],
    rows: np.ndarray,
    labels: np.ndarray,
    penalties: list[float],
) -> float:
    """The penalty that does best on training images held out; of equally good ones the largest."""
    if len(penalties) == 1:
        return penalties[0]
    # Every fifth in the order of the classes, so that each class is on both sides.
    is_held_out = np.zeros(len(labels), dtype=bool)
    is_held_out[np.argsort(labels, kind="stable")[2::5]] = True
    if len(labels) < 5 or len(np.unique(labels[~is_held_out])) < 2:
        raise ProbingError(
            f"{len(labels)} training images are too few to choose one of {len(penalties)} "
            "penalties; give one penalty, or more images of each class"
        )
    rest, rest_labels = rows[~is_held_out], labels[~is_held_out]
    held_out, truth = rows[is_held_out], labels[is_held_out]

    def correct(penalty: float) -> int:
        predicted = fitted(rest, rest_labels, penalty).predict(held_out)
        return int((predicted == truth).sum())

    return max(sorted(penalties, reverse=True), key=correct)


def _fit(
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalty: float,
    iterations: int,
    tolerance: float,
) -> _Fit:
    from sklearn.linear_model import LogisticRegression

    mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    varies = std > 0
    unit = np.where(varies, std, 1)
    standardised = ((rows - mean) / unit)[:, varies].astype(rows.dtype)
    model = LogisticRegression(C=1 / (penalty * len(rows)), max_iter=iterations, tol=tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `converged` says it
        model.fit(standardised, labels)
    coefficients = np.zeros((classes, rows.shape[1]))
    intercepts = np.full(classes, -np.inf)  # a class that was never seen is never answered
    fitted_coefficients, fitted_intercepts = _each_class(model.coef_, model.intercept_)
    coefficients[np.ix_(model.classes_, np.flatnonzero(varies))] = fitted_coefficients
    coefficients /= unit
    intercepts[model.classes_] = fitted_intercepts
    intercepts -= coefficients @ mean
    return _Fit(coefficients, intercepts, std, bool(model.n_iter_.max() < iterations))


def _each_class(coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row a class: of two classes scikit-learn keeps only the difference."""
    if len(coefficients) > 1:
        return coefficients, intercepts
    halves = np.array([[-0.5], [0.5]])
    return halves * coefficients, halves[:, 0] * intercepts


def _rows(activations: Tensor, labels: Tensor, split: str) -> np.ndarray:
    if len(activations) != len(labels):
        raise ProbingError(
            f"{len(activations)} {split} activations and {len(labels)} labels; give one label each"
        )
    rows: np.ndarray = check_activations(activations.flatten(1), 1).cpu().numpy()
    return rows


def _check(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    penalties: list[float],
    iterations: int,
) -> None:
    if train.shape[1] != test.shape[1]:
        raise ProbingError(
            f"{train.shape[1]} training activations an image, but {test.shape[1]} test "
            "activations; give the same layer of both"
        )
    if len(np.unique(labels)) < 2:
        raise ProbingError(
            f"all training labels are {labels[0]}; give images of two classes or more"
        )
    if not penalties:
        raise ProbingError("penalty=() holds none; give one above 0, or several")
    for penalty in penalties:
        if not 0 < penalty < float("inf") or iterations < 1:
            raise ProbingError(
                f"penalty={penalty} and iterations={iterations}; give more than 0, and 1 or more"
            )
