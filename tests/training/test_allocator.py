"""Oracle: the page faults that the kernel counts."""

import resource
import sys

import pytest
import torch

from internals.training.allocator import memory_kept

_BYTES, _TIMES = 2**26, 8
_PAGES = _BYTES // resource.getpagesize()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")


def _faults() -> float:
    """How often each page of a block was asked for while it was taken and freed eight times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(_TIMES):
        torch.ones(_BYTES, dtype=torch.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / _PAGES


def test_freed_memory_is_used_again_while_it_is_kept_and_given_back_after(monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    assert _faults() > _TIMES / 2
    with memory_kept():
        assert _faults() < _TIMES / 2
    assert _faults() > _TIMES / 2


def test_what_the_environment_chose_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    with memory_kept():
        assert _faults() > _TIMES / 2
