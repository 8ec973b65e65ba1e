"""A tiny book of two chapters, one broken on purpose, executed and built once for all tests."""

import pytest

from book.bookcase import TinyBook, build_site, copy_book
from internals.book import ExecutionSettings, execute


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the tiny book waits for its execution and its build."""
    for item in items:
        if "tinybook" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def tinybook(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """The tiny book after `internals execute` and a strict build. Tests only read it."""
    layout = copy_book(tmp_path_factory.mktemp("tinybook"), "https://book.example/cnn/")
    outcomes = execute(layout.scripts(), ExecutionSettings("quick", "auto", 7), layout)
    built = build_site(layout, "--strict")
    assert built.returncode == 0, built.stderr
    return TinyBook(layout, {o.chapter: o for o in outcomes}, layout.site("quick"))
