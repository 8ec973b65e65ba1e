"""Oracle: Python's own counter over each row, and rows whose classes are set by hand."""

from collections import Counter

import pytest
import torch

from internals.activations.strongest import class_purity


def test_the_commonest_class_of_each_row_counts():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    pure, half, mixed = [0, 1, 2, 0], [0, 1, 3, 4], [0, 3, 5, 5]
    assert class_purity(torch.tensor([pure]), labels) == 1
    assert class_purity(torch.tensor([half]), labels) == 0.5
    assert class_purity(torch.tensor([pure, half, mixed]), labels) == pytest.approx(2 / 3)


def test_many_rows_as_a_counter_counts_them():
    labels = torch.randint(10, (200,))
    rows = torch.randint(200, (300, 9))
    shares = [Counter(labels[row].tolist()).most_common(1)[0][1] / 9 for row in rows]
    assert class_purity(rows, labels) == pytest.approx(sum(shares) / 300)
