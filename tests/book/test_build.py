"""Oracle: the files of the old site and of the new one, and the lines that are printed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from book.bookcase import copy_book
from internals.book import Layout
from internals.environment import ROOT
from tests.reference.small_disk import small_disk

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-c", "from internals.cli import main; main()", "build"]


def variables(layout: Layout) -> dict[str, str]:
    named = {"INTERNALS_BOOK": str(layout.root), "INTERNALS_BUILD": str(layout.output)}
    return os.environ | {"PYTHONPATH": str(ROOT)} | named


def build(layout: Layout, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--profile", "quick", *options], env=variables(layout), capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip


def old_site(layout: Layout) -> Path:
    """A site of one page, which a build would remove first of all."""
    site = layout.site("quick")
    site.mkdir(parents=True)
    (site / "old.html").write_text("old")
    return site


def test_a_build_replaces_the_site_or_leaves_it(tmp_path: Path) -> None:
    layout = copy_book(tmp_path)
    site = old_site(layout)
    chapter = layout.chapters / "01_fine.py"
    text = chapter.read_text()
    chapter.write_text(text.replace("#fig-slope", "#fig-none"))
    done = build(layout, "--strict")
    assert done.returncode == 1 and "error: the site was not built" in done.stderr
    assert [path.name for path in site.iterdir()] == ["old.html"]
    chapter.write_text(text)
    done = build(layout)
    assert done.returncode == 0, done.stderr
    assert (site / "index.html").is_file() and not (site / "old.html").exists()
    assert f"The site is in {site}" in done.stdout
    assert [path.name for path in site.parent.iterdir() if "site" in path.name] == ["site"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_stopped_leaves_the_old_site(tmp_path: Path, sent: signal.Signals) -> None:
    layout = copy_book(tmp_path)
    site = old_site(layout)
    process = subprocess.Popen(
        [*COMMAND, "--profile", "quick"], env=variables(layout), stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
        # A shell starts background work, this test among it, with the interrupt ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(site.parent.glob(".site.*/*")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, sent)
    _, error = process.communicate(timeout=60)
    assert [path.name for path in site.iterdir()] == ["old.html"]
    if sent is signal.SIGINT:
        assert (process.returncode, error) == (130, "stopped; the site that was there is whole\n")
        assert not any(site.parent.glob(".site.*"))


@pytest.mark.parametrize("where", ["read-only", "full"])
def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    layout = copy_book(tmp_path / "book")
    with small_disk(tmp_path / "disk", "256k") as disk:
        layout = Layout(layout.root, disk)
        site = old_site(layout)
        if where == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = build(layout)
        assert [path.name for path in site.iterdir()] == ["old.html"]
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "internals execute" not in line]
    assert line.startswith("error: ") and len(line) < 500
    assert ("Read-only file system" if where == "read-only" else "No space left") in line
