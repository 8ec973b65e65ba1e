"""Oracle: runs of a few epochs and answers, written by hand, and the texts of their figures."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from internals.book import (
    learning_curves,
    most_confused,
    recall,
    surest_mistakes,
    worst_mistakes,
)
from internals.errors import ChapterError

COLUMNS = {
    "train_loss": [2.0, 1.0, 0.5],
    "validation_loss": [1.5, 0.9, 1.1],
    "train_top1": [0.3, 0.6, 0.9],
    "validation_top1": [0.4, 0.7, 0.6],
}
CAPTION = "What to notice in this run is that twelve words are enough for it."


def run(predicted: list[int], confidence: list[float]) -> SimpleNamespace:
    history = SimpleNamespace(column=COLUMNS.__getitem__, best=SimpleNamespace(number=2))
    test = SimpleNamespace(
        predicted=np.array(predicted), confidence=np.array(confidence), top1=0.625
    )
    pipeline = SimpleNamespace(view=lambda images: images)
    return SimpleNamespace(history=history, test=test, pipeline=pipeline)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


IMAGES = SimpleNamespace(
    images=np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8),
    labels=np.array([0, 1, 2, 0, 1, 2, 0, 0]),
    class_names=("ape", "bee", "cat"),
)


def test_learning_curves_show_the_runs_columns_and_the_epoch_kept() -> None:
    illustration = learning_curves(run([0], [1.0]))
    lines = [
        list(line.get_ydata())
        for axes in illustration.figure.axes
        for line in axes.get_lines()
        if len(line.get_ydata()) == 3
    ]
    assert sorted(lines) == sorted(COLUMNS.values())
    assert {"epoch 2 kept", "test 62.50 %"} <= set(texts(illustration.figure))
    assert "dashed line" in illustration.caption
    assert learning_curves(run([0], [1.0]), caption=CAPTION).caption == CAPTION


def test_the_worst_mistakes_are_the_most_confident_wrong_answers() -> None:
    # Of eight images six were tested; images 1, 2 and 4 have wrong answers.
    answers = run([0, 2, 0, 0, 0, 2], [0.99, 0.5, 0.9, 0.99, 0.7, 0.99])
    words = texts(worst_mistakes(answers, IMAGES, n=2).figure)
    assert [word for word in words if word.startswith("#")] == ["#2", "#4"]
    assert "2 of 3 shown" in words
    assert {"cat →", "bee →", "ape"} <= set(words)


def test_the_surest_mistakes_are_numbered_by_confidence_and_then_by_place() -> None:
    answers = run([1, 2, 0, 0, 0, 1], [0.5, 0.5, 0.9, 0.99, 0.7, 0.5])
    # Wrong are 0, 1, 2, 4 and 5; the right answer to image 3 is surer than all.
    assert surest_mistakes(answers, IMAGES).tolist() == [2, 4, 0, 1, 5]
    assert surest_mistakes(answers, IMAGES, n=1).tolist() == [2]
    assert surest_mistakes(run([0, 1], [0.5, 0.5]), IMAGES).tolist() == []


def test_the_pair_confused_most_counts_both_directions() -> None:
    # 0 for 1 six times one way; 1 and 2 four and three times.
    confusion = np.array([[50, 6, 0, 0], [0, 40, 4, 0], [1, 3, 6, 0], [0, 0, 0, 0]])
    assert most_confused(confusion) == (1, 2)
    assert recall(confusion).tolist() == [50 / 56, 40 / 44, 0.6, 0.0]


def test_a_run_without_mistakes_has_none_to_show() -> None:
    with pytest.raises(ChapterError, match="no mistake among 3 test images"):
        worst_mistakes(run([0, 1, 2], [0.9, 0.9, 0.9]), IMAGES)
