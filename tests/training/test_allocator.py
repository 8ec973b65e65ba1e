"""Oracle: page faults and resident memory as the kernel counts them, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")

# A heap that other tests have used has holes of any size, so that nothing could be expected of it.
_PROBE = """
import ctypes, json, resource
from pathlib import Path

import torch
from internals.training.allocator import memory_kept

torch.set_num_threads(1)
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a fault is one page everywhere
SIZE, TIMES, PAGE = 2**26, 8, resource.getpagesize()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        torch.ones(SIZE, dtype=torch.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * PAGE / SIZE

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / SIZE

found = {"ordinary": faults(), "at first": resident()}
with memory_kept():
    faults()  # the first block has to be cleared, and perhaps a second where small ones nest in it
    found |= {"kept": faults(), "held": resident() - found["at first"]}
found["held after"] = resident() - found["at first"]
print(json.dumps(found))
"""


def _probe(**environment: str) -> dict[str, float]:
    """Faults and memory as multiples of one block of 64 MiB, asked for eight times in a row."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    told = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env=inherited | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(told.stdout)
    return found


def test_freed_memory_is_used_again_while_it_is_kept_and_given_back_after():
    found = _probe()
    assert found["ordinary"] > 6 and found["held"] > 0.9
    assert found["kept"] < 2 and found["held after"] < 0.1


def test_what_the_environment_chose_stays():
    found = _probe(MALLOC_MMAP_MAX_="65536")
    assert found["ordinary"] > 6 and found["kept"] > 6 and found["held"] < 0.1
