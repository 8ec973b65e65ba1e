"""What a linear classifier can read off a layer (Alain and Bengio, 2017)."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from internals.errors import ProbingError
from internals.probing.vectors import checked


@dataclass(frozen=True)
class Probe:
    """A linear classifier of activations, and how it did on those of images it had not seen.

    `accuracy` and `train_accuracy` are shares right, `confusion` (classes, classes) counts of test
    images, a row a true class, `predicted` (n,) the answers. Logits are `coefficients` (classes,
    features), per unit of the activations as they were given, times these, plus `intercepts`;
    `deviations` (features,) are the training standard deviations, so that their product says what
    one of them is worth. `converged` is False where the iterations did not suffice.
    """

    accuracy: float
    train_accuracy: float
    confusion: np.ndarray
    predicted: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    deviations: np.ndarray
    converged: bool

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
    penalty: float = 1e-2,
    iterations: int = 300,
    tolerance: float = 1e-3,
) -> Probe:
    """A softmax regression on `train` activations (n, ...), scored on `test` ones (m, ...).

    Every image is one row of all its activations. They are brought to mean 0 and standard deviation
    1 as they have them in `train`; those that never vary there are left out. Minimised is the mean
    cross-entropy plus `penalty` / 2 times the sum of the squared weights, by scikit-learn's L-BFGS
    in at most `iterations`, until no derivative is larger than `tolerance`. Raises `ProbingError`
    for shapes and labels that do not fit.
    """
    x, y = _rows(train, train_labels, "training"), train_labels.cpu().numpy()
    held, truth = _rows(test, test_labels, "test"), test_labels.cpu().numpy()
    _check(x, y, held, penalty, iterations)
    classes = int(max(y.max(), truth.max())) + 1
    fitted = _fitted(x, y, classes, penalty, iterations, tolerance)
    weights, bias, deviations, converged = fitted
    answers, train_answers = (
        (a @ weights.T.astype(a.dtype) + bias).argmax(axis=1) for a in (held, x)
    )
    confusion = np.bincount(truth * classes + answers, minlength=classes**2)
    return Probe(
        accuracy=float((answers == truth).mean()),
        train_accuracy=float((train_answers == y).mean()),
        confusion=confusion.reshape(classes, classes),
        predicted=answers,
        coefficients=weights,
        intercepts=bias,
        deviations=deviations,
        converged=converged,
    )


def _fitted(
    x: np.ndarray, y: np.ndarray, classes: int, penalty: float, iterations: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Weights and biases for `x` as given, its standard deviations, whether the fit converged."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    varies = deviation > 0
    unit = np.where(varies, deviation, 1)
    standard = ((x - mean) / unit)[:, varies].astype(x.dtype)
    model = LogisticRegression(C=1 / (penalty * len(x)), max_iter=iterations, tol=tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `converged` says it
        model.fit(standard, y)
    weights = np.zeros((classes, x.shape[1]))
    bias = np.full(classes, -np.inf)  # a class that was never seen is never answered
    coefficients, intercepts = _each_class(model.coef_, model.intercept_)
    weights[np.ix_(model.classes_, np.flatnonzero(varies))] = coefficients
    weights /= unit
    bias[model.classes_] = intercepts
    bias -= weights @ mean
    return weights, bias, deviation, bool(model.n_iter_.max() < iterations)


def _each_class(coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row a class: of two classes scikit-learn keeps only the difference."""
    if len(coefficients) > 1:
        return coefficients, intercepts
    halves = np.array([[-0.5], [0.5]])
    return halves * coefficients, halves[:, 0] * intercepts


def _rows(activations: Tensor, labels: Tensor, which: str) -> np.ndarray:
    if len(activations) != len(labels):
        raise ProbingError(
            f"{len(activations)} {which} activations and {len(labels)} labels; give one label each"
        )
    rows: np.ndarray = checked(activations.flatten(1), 1).cpu().numpy()
    return rows


def _check(x: np.ndarray, y: np.ndarray, held: np.ndarray, penalty: float, iterations: int) -> None:
    if x.shape[1] != held.shape[1]:
        raise ProbingError(
            f"{x.shape[1]} training activations an image, but {held.shape[1]} test activations; "
            "give the same layer of both"
        )
    if len(np.unique(y)) < 2:
        raise ProbingError(f"all training labels are {y[0]}; a probe needs two classes or more")
    if not 0 < penalty < float("inf") or iterations < 1:
        raise ProbingError(
            f"penalty={penalty} and iterations={iterations}; give more than 0, and 1 or more"
        )
