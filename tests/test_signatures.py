"""Oracle: calls that annotations forbid. Without the checks of conftest.py they would go on."""

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from internals.anatomy import clip
from internals.projection import cut_window, upsampled


def test_types_are_checked_in_the_packages_that_trace():
    with pytest.raises(BeartypeCallHintViolation):
        clip("a field", 224)
    with pytest.raises(BeartypeCallHintViolation):
        cut_window("an axis", 224, 0)


def test_types_and_shapes_are_checked_where_there_are_shapes():
    with pytest.raises(jaxtyping.TypeCheckError):
        upsampled(torch.zeros(1, 2, 2), "large")
    with pytest.raises(jaxtyping.TypeCheckError):
        upsampled(torch.zeros(2, 2), (8, 8))
