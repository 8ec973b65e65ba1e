"""What every architecture chapter shows of its training run: its curves and its mistakes.

All read numbers and pixels only, so `run` may be an `internals.training.Run` or anything else
with its `history`, `test` and `pipeline`.
"""

from typing import Any

import numpy as np

from internals.errors import ChapterError
from internals.figures.illustration import Illustration
from internals.figures.images import gallery
from internals.figures.plots import curves


def learning_curves(
    run: Any,
    *,
    caption: str = "Loss and accuracy by epoch. The training curve is the mean over an epoch, "
    "during which the weights move; the held-out images are scored after it. The dashed line is "
    "the score of the epoch kept on the test images.",
    alt: str = "Two charts by epoch: training and held-out loss, and training and held-out "
    "accuracy with the test accuracy as a dashed line.",
) -> Illustration:
    """The learning curves of a training run: loss on the left, accuracy on the right.

    Args:
        run: The run; its history has training and validation loss and top-1 accuracy by epoch.
        caption: What to notice in this run.
        alt: What the curves show, for readers who cannot see them.
    """
    column = run.history.column
    return curves(
        loss={"training": column("train_loss"), "held out": column("validation_loss")},
        accuracy={"training": column("train_top1"), "held out": column("validation_top1")},
        best=run.history.best.number,
        references={"test": run.test.top1},
        caption=caption,
        alt=alt,
    )


def worst_mistakes(
    run: Any,
    images: Any,
    n: int = 10,
    *,
    caption: str = "Test images with a wrong answer: true class → answer, its posterior, and the "
    "image's number, the most confident first. The images are as the network saw them.",
    alt: str = "Misjudged test images, each with its true class, the answer and its posterior.",
) -> Illustration:
    """The mistakes on the test images of which the network was most confident.

    Args:
        run: The run; its test answers are those for the first of `images`.
        images: The test images, an `internals.data.ImageSet`.
        n: The largest number of images that are shown.
        caption: What to notice in these mistakes.
        alt: What the images show, for readers who cannot see them.

    Raises:
        ChapterError: There is no mistake to show.
    """
    predicted, truth = run.test.predicted, _truth(run, images)
    shown = surest_mistakes(run, images, n)
    if not len(shown):
        raise ChapterError(f"no mistake among {len(predicted):,} test images can be shown")
    names = images.class_names
    seen = run.pipeline.view(images)  # cropped as the network sees them
    return gallery(
        np.asarray(seen.images[shown]) / 255,
        [names[label] for label in truth[shown]],
        [names[label] for label in predicted[shown]],
        run.test.confidence[shown],
        ids=[int(index) for index in shown],
        total=int((predicted != truth).sum()),
        caption=caption,
        alt=alt,
    )


def surest_mistakes(run: Any, images: Any, n: int = 10) -> np.ndarray:
    """The numbers of the test images with a wrong answer, the most confident first, at most `n`.

    Args:
        run: The run; its test answers are those for the first of `images`.
        images: The test images, an `internals.data.ImageSet`.
        n: How many at most.
    """
    wrong = np.flatnonzero(run.test.predicted != _truth(run, images))
    return wrong[np.argsort(-run.test.confidence[wrong], kind="stable")][:n]


def most_confused(confusion: np.ndarray) -> tuple[int, int]:
    """The two classes that are taken for one another most often, in either direction.

    Args:
        confusion: Counts (classes, classes), a row a true class, a column an answer.
    """
    swapped = np.triu(confusion + np.transpose(confusion), 1)
    first, second = np.unravel_index(swapped.argmax(), swapped.shape)
    return int(first), int(second)


def recall(confusion: np.ndarray) -> np.ndarray:
    """For each class the share of its images that are answered rightly; 0 where there are none.

    Args:
        confusion: Counts (classes, classes), a row a true class, a column an answer.
    """
    share: np.ndarray = np.diagonal(confusion) / np.sum(confusion, axis=1).clip(1)
    return share


def _truth(run: Any, images: Any) -> np.ndarray:
    """The classes of the test images that were answered."""
    return np.asarray(images.labels)[: len(run.test.predicted)]
