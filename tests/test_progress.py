"""Oracle: a clock that the test moves, and the lines that ought to be printed at its times."""

import pytest

from internals import progress
from internals.progress import Progress, clock, silenced


@pytest.fixture
def at(monkeypatch):
    """Set the time in seconds; nothing is a terminal."""
    now = {"seconds": 100.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now["seconds"])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    return lambda seconds: now.update(seconds=100.0 + seconds)


def test_few_lines_evenly_spread_and_always_the_last(at, capsys):
    with Progress("net", 105, lines=5) as bar:
        for step in range(1, 106):
            at(step)
            bar.advance(loss=f"{step / 10:.1f}")
    assert capsys.readouterr().out.splitlines() == [
        "net: 21/105 steps, loss 2.1, 1:24 left",
        "net: 42/105 steps, loss 4.2, 1:03 left",
        "net: 63/105 steps, loss 6.3, 0:42 left",
        "net: 84/105 steps, loss 8.4, 0:21 left",
        "net: 105/105 steps, loss 10.5",
    ]


def test_work_of_an_earlier_run_tells_nothing_of_todays_speed(at, capsys):
    with Progress("net", 100, lines=2) as bar:
        bar.start_at(40)
        at(30)
        bar.advance(50)
    assert capsys.readouterr().out == "net: 90/100 steps, 0:06 left\n"


def test_silent_steps_are_counted_and_not_printed(at, capsys):
    with Progress("net", 4, lines=4) as bar:
        for _ in range(3):
            bar.advance(silent=True)
        assert capsys.readouterr().out == ""
        bar.advance(epoch="1/1")
    assert capsys.readouterr().out == "net: 4/4 steps, epoch 1/1\n"


def test_short_work_says_nothing_and_long_work_does(at, capsys):
    with Progress("net", 2, "image", quiet=10) as bar:
        at(9)
        bar.advance()
        at(11)
        bar.advance()
    assert capsys.readouterr().out == "net: 2/2 images\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_work_that_is_part_of_other_work_is_silent_while_that_lasts(at, capsys):
    def inner() -> None:
        with Progress("inner", 1) as bar:
            bar.advance()

    with Progress("outer", 2, lines=2) as bar:
        with silenced():
            inner()
        bar.advance()
    inner()
    assert capsys.readouterr().out.splitlines() == [
        "outer: 1/2 steps, 0:00 left",
        "inner: 1/1 steps",
    ]
