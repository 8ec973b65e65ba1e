"""Oracle: what a browser is sent while an author edits, and what the server says it rendered."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from book.bookcase import copy_book
from internals.environment import ROOT

SECONDS = 120  # to wait for a page: nothing here depends on how fast it is


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = re.search(
        r"^serve:.*\n\t\$\(BIN\)/python -m mkdocs (.*)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert recipe, "as `make serve` does it"
    command = [sys.executable, "-m", "mkdocs", *recipe[1].split(), "-a", f"127.0.0.1:{port}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("INTERNALS_")}
    with log.open("w") as errors:
        server = subprocess.Popen(
            command, cwd=folder, env={**environment, "INTERNALS_EDITION": "quick"}, stderr=errors
        )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(SECONDS)


def when(address: str, ready: Callable[[str], bool]) -> str:
    """The page at `address` once it is `ready`."""
    end, page = time.monotonic() + SECONDS, ""
    while time.monotonic() < end:
        try:
            with urlopen(address, timeout=SECONDS) as reply:
                page = reply.read().decode()
        except URLError:
            page = ""
        if ready(page):
            return page
        time.sleep(0.1)
    raise AssertionError(f"{address} stayed as it was:\n{page[:2000]}")


@pytest.mark.slow
def test_an_edit_renders_one_chapter_again_and_is_seen_wherever_it_shows(tmp_path: Path) -> None:
    layout, log = copy_book(tmp_path), tmp_path / "log.txt"
    chapter = layout.chapters / "01_fine.py"
    with served(tmp_path, log) as address:
        when(address, lambda page: "A fine chapter" in page)
        time.sleep(1)  # the server begins to watch after its first build
        first = log.read_text()
        chapter.write_text(
            chapter.read_text()
            .replace("title: A fine chapter", "title: A finer chapter")
            .replace("It cites a paper", "It quotes a paper")
        )
        page = when(f"{address}chapters/01_fine/", lambda page: "It quotes a paper" in page)
        assert "<title>A finer chapter" in page
        assert re.search(r'href="../02_broken/"[^>]*>\s*<span[^>]*>\s*A chapter that breaks', page)
        home = when(address, lambda page: "A finer chapter" in page)
        assert "A chapter that breaks" in home and "None" not in home
        index = when(f"{address}search/search_index.json", lambda text: "It quotes" in text)
        assert "What breaks" in index and "It cites a paper" not in index
    rendered = re.compile(r"Converting notebook.*/(\w+)\.ipynb")
    assert rendered.findall(first) == ["01_fine", "02_broken"]
    assert rendered.findall(log.read_text().removeprefix(first)) == ["01_fine"]
