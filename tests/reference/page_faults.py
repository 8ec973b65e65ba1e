"""What the kernel gives a process that takes and frees one block again and again, as JSON."""

import ctypes
import json
import resource
from pathlib import Path

import torch

from internals.training.allocator import memory_kept

SIZE, TIMES, PAGE = 2**26, 8, resource.getpagesize()


def faults() -> float:
    """How often each page of the block was asked for while it was taken and freed eight times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        torch.ones(SIZE, dtype=torch.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * PAGE / SIZE


def resident() -> float:
    """The memory that the process holds, in blocks."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / SIZE


if __name__ == "__main__":
    torch.set_num_threads(1)
    # PR_SET_THP_DISABLE: a fault is one page everywhere.
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
    ordinary, at_first = faults(), resident()
    with memory_kept():
        faults()  # the first block has to be cleared, and perhaps a second where small ones nest
        kept, held = faults(), resident() - at_first
    after = resident() - at_first
    print(json.dumps({"ordinary": ordinary, "kept": kept, "held": held, "held after": after}))
