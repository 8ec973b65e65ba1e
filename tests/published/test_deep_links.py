"""Oracle: Chromium. A link to a channel of the atlas opens on that channel."""

import random
import re
from collections.abc import Iterator

import pytest

from internals.book import Layout
from internals.environment import ROOT
from tests.reference.web_host import WebHost

PARTS, LINKS = 4, 100
pytestmark = pytest.mark.skipif(
    not (Layout.at(ROOT).edition / "atlas").is_dir(), reason="the edition has no atlas"
)


@pytest.fixture(scope="module")
def links(pages: dict[str, str], layers: list[str]) -> list[tuple[str, str]]:
    """A hundred (page, channel), all layers in turn."""
    rng = random.Random(0)
    channels = {page: re.findall(r'data-channel="(\d+)"', pages[page]) for page in layers}
    assert channels, "the edition has an atlas, and the site no page of it"
    assert all(len(set(numbers)) == len(numbers) > 0 for numbers in channels.values())
    for numbers in channels.values():
        rng.shuffle(numbers)
    pool = [(page, numbers[n]) for n in range(LINKS) for page, numbers in channels.items()
            if n < len(numbers)]  # fmt: skip
    assert len(pool) >= LINKS
    return pool[:LINKS]


@pytest.fixture(scope="module")
def page(browser) -> Iterator[object]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


STANDS = """channel => {
  const marked = [...document.querySelectorAll("[data-channel][aria-current=true]")]
  const box = marked[0]?.getBoundingClientRect()
  return marked.length == 1 && marked[0].dataset.channel == channel
    && box.height > 0 && box.bottom > 0 && box.top < innerHeight }"""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_deep_link_opens_on_its_channel(
    page, host: WebHost, links: list[tuple[str, str]], part: int
) -> None:
    astray = []
    for path, channel in links[part::PARTS]:
        page.goto("about:blank")  # else a link into the same page would load nothing
        page.goto(f"{host.address}{path}#{channel}", wait_until="domcontentloaded")
        try:
            page.wait_for_function(STANDS, arg=channel, timeout=5000)
        except Exception as error:  # playwright's own, which only the browser's fixture imports
            astray.append(f"{path}#{channel}: {str(error).splitlines()[0]}")
    assert astray == []
