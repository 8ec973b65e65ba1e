"""Oracle: threads that wait for each other, counted by hand, and the order of their beginnings."""

import signal
import threading
import time
from pathlib import Path
from threading import Barrier, Lock

import pytest

from book.bookcase import copy_book
from internals.book import ExecutionSettings, execute, most_parallel, run_parallel
from internals.environment import cores

PATHS = [Path(name) for name in "abcde"]


def test_as_many_at_once_as_asked_and_no_more(monkeypatch):
    """Two that wait for each other can only go on together; a third never joins them."""
    monkeypatch.setattr("internals.book.execution.cores", lambda: 6)
    together, running, most, lock = Barrier(2, timeout=10), [], [], Lock()

    def run(path, share):
        with lock:
            running.append(path)
            most.append(len(running))
        if path != PATHS[4]:  # four are two pairs
            together.wait()
        with lock:
            running.remove(path)
        return path.name + share.environment()["INTERNALS_CORES"]

    results = run_parallel(PATHS, 2, run)
    assert list(results.items()) == [(path, path.name + "3") for path in PATHS]
    assert max(most) == 2


def test_a_single_one_has_the_whole_machine_and_this_thread():
    assert run_parallel(PATHS[:1], 4, lambda path, share: share.cores) == {PATHS[0]: None}
    assert run_parallel(PATHS, 1, lambda path, share: share.environment()) == {
        path: {} for path in PATHS
    }


def test_ctrl_c_stops_what_runs_and_begins_nothing_more():
    begun, stopped = [], []
    # A shell starts background work, this test among it, with the interrupt ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def run(path, share):
        begun.append(path)
        if len(begun) == 2:
            main = threading.main_thread().ident
            threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        assert share.stop.wait(10)
        stopped.append(path)

    try:
        with pytest.raises(KeyboardInterrupt):
            run_parallel(PATHS, 2, run)
    finally:
        signal.signal(signal.SIGINT, before)
    assert begun == PATHS[:2] and sorted(stopped) == begun


@pytest.mark.parametrize(
    ("own", "bytes_of_memory", "expected"),
    [
        (16, 64 * 2**30, 8),
        (16, 13 * 2**30, 2),
        (4, 64 * 2**30, 2),
        (2, 64 * 2**30, 2),
        (1, 64 * 2**30, 1),
        (8, 2**30, 1),
        (8, None, 1),
    ],
)
def test_how_many_a_machine_can_take(monkeypatch, own, bytes_of_memory, expected):
    monkeypatch.setattr("internals.book.execution.cores", lambda: own)
    monkeypatch.setattr("internals.book.execution.memory", lambda: bytes_of_memory)
    assert most_parallel() == expected


def test_fewer_cores_may_be_asked_for_but_not_more(monkeypatch):
    monkeypatch.delenv("INTERNALS_CORES", raising=False)
    whole = cores()
    monkeypatch.setenv("INTERNALS_CORES", "1")
    assert cores() == 1
    for odd in (str(whole + 1), "0", "two", ""):
        monkeypatch.setenv("INTERNALS_CORES", odd)
        assert cores() == whole


@pytest.mark.slow
def test_a_chapter_after_all_is_begun_when_the_others_have_ended(tmp_path, monkeypatch):
    layout = copy_book(tmp_path)
    chapters = tmp_path / "chapters"
    (chapters / "02_broken.py").unlink()
    fine = (chapters / "01_fine.py").read_text()
    (chapters / "01_fine.py").write_text(fine.replace("# title:", "# after: all\n# title:", 1))
    for name in ("02_more", "03_more"):
        (chapters / f"{name}.py").write_text(fine)
    events, together, lock = [], Barrier(2, timeout=10), Lock()

    def run_cells(notebook, folder, environment, timeout, watch):
        name = environment["INTERNALS_CHAPTER"]
        with lock:
            events.append(f"{name} begins")
        if "OMP_NUM_THREADS" in environment:
            together.wait()
        time.sleep(0.1)
        with lock:
            events.append(f"{name} ends")

    monkeypatch.setattr("internals.book.kernel.run_cells", run_cells)
    outcomes = execute(layout.find([]), ExecutionSettings("quick", "auto", 7), layout, jobs=2)
    assert [outcome.chapter for outcome in outcomes] == ["01_fine", "02_more", "03_more"]
    assert {outcome.status for outcome in outcomes} == {"executed"}
    assert set(events[:2]) == {"02_more begins", "03_more begins"}
    assert events[4:] == ["01_fine begins", "01_fine ends"]
