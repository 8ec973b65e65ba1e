"""Oracle: page faults and resident memory as the kernel counts them, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from tests.reference import page_faults

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")


def _probe(**environment: str) -> dict[str, float]:
    """Faults and memory in blocks of 64 MiB, of which one is asked for eight times in a row.

    A heap that other tests have used has holes of any size: nothing could be expected of it.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    told = subprocess.run(
        [sys.executable, page_faults.__file__],
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
