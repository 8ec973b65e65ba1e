"""A tiny book of two chapters, one broken on purpose, executed and built once for all tests."""

import pytest

from book.bookcase import TinyBook, build_site, copy_book
from internals.book.execution import execute
from internals.book.keys import Settings


@pytest.fixture(scope="session")
def tinybook(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """The tiny book after `internals execute` and a strict build. Tests only read it."""
    layout = copy_book(tmp_path_factory.mktemp("tinybook"), "https://book.example/cnn/")
    outcomes = execute(layout.scripts(), Settings("quick", "auto", 7), layout)
    made = build_site(layout, "--strict")
    assert made.returncode == 0, made.stderr
    return TinyBook(layout, {o.chapter: o for o in outcomes}, layout.site("quick"))
