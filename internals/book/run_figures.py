"""Figures that every architecture chapter draws of its training run.

They read numbers and pixels only, so `run` may be an `internals.training.Run` or anything else
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
    predicted, confidence = run.test.predicted, run.test.confidence
    truth = np.asarray(images.labels)[: len(predicted)]
    wrong = np.flatnonzero(predicted != truth)
    if not len(wrong):
        raise ChapterError(f"no mistake among {len(predicted):,} test images can be shown")
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:n]
    names = images.class_names
    seen = run.pipeline.view(images)  # cropped as the network sees them
    return gallery(
        np.asarray(seen.images[shown]) / 255,
        [names[label] for label in truth[shown]],
        [names[label] for label in predicted[shown]],
        confidence[shown],
        ids=[int(index) for index in shown],
        total=len(wrong),
        caption=caption,
        alt=alt,
    )
