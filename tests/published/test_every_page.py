"""Oracle: Chromium and axe-core. Every page of the published site as a reader has it.

All four of scheme and width are looked at on every page. The rules of axe, which take long on a
long page, are asked in all four where a page is the first of its sort, else in one of them by
turns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.published.conftest import SEARCH
from tests.reference.web_host import WebHost, packed

VIEWS = [("light", 1280), ("light", 390), ("dark", 390), ("dark", 1280)]
FIRST_OF_ITS_SORT = [
    "", "api/", "atlas/", "atlas/alexnet/", "atlas/alexnet/conv1/", "chapters/01_lenet5/",
    "figures/", "library/",
]  # fmt: skip
MOST_BYTES = 1_000_000
PARTS = 12  # so that processes share them evenly

STILL = "*, ::before, ::after { transition: none !important; animation: none !important }"
FOLLOWED = """scheme =>
    document.body.dataset.mdColorScheme == {light: "default", dark: "slate"}[scheme]"""
PATIENCE = 5000  # ms
AXE = """axe.run({resultTypes: ["violations"]}).then(found => found.violations.map(
    rule => `${rule.id} x ${rule.nodes.length}, first ${rule.nodes[0].target.join(" ")}`))"""


class Reader:
    """A browser page, and all that the browser has to complain of."""

    def __init__(self, browser, host: WebHost) -> None:
        from playwright.sync_api import TimeoutError

        self._too_late = TimeoutError
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.complaints: list[str] = []
        self._address = host.address
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request) -> None:
        if not request.url.startswith((self._address, "data:", "blob:")):
            self.complaints.append(f"asks another host: {request.url}")

    def _failed(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # by the browser, as pictures no longer needed
            self.complaints.append(f"{request.failure}: {request.url}")

    def _response(self, response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def open(self, path: str) -> None:
        self.page.goto(self._address + path, wait_until="load")
        self.page.add_style_tag(content=STILL)
        self.page.evaluate(Axe().axe_script)

    def look(self, scheme: str, width: int, *, rules: bool) -> None:
        """Change to a view and note what is wrong with it."""
        before = len(self.complaints)
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 900})
        try:  # the page follows a little later
            self.page.wait_for_function(FOLLOWED, arg=scheme, timeout=PATIENCE)
        except self._too_late:
            self.complaints.append("does not follow the scheme")
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            self.complaints.append(f"scrolls sideways: {wide} px")
        if rules:
            self.complaints += self.page.evaluate(AXE)
        self.complaints[before:] = [f"{scheme} {width}: {c}" for c in self.complaints[before:]]


def views_for_rules(page: str, turn: int) -> list[tuple[str, int]]:
    """The views in which axe is asked about a page."""
    return VIEWS if page in FIRST_OF_ITS_SORT else [VIEWS[turn % len(VIEWS)]]


@contextmanager
def reading(browser, host: WebHost, path: str) -> Iterator[Reader]:
    """A page that nobody has been on before: nothing is in the cache."""
    reader = Reader(browser, host)
    reader.open(path)
    yield reader
    reader.page.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_a_page_is_sound_accessible_and_light_in_every_view(
    browser, host: WebHost, site: Path, visited: list[str], part: int
) -> None:
    index = len(packed(site / SEARCH)[0])  # which this host sends empty
    wrong = {}
    for turn, path in enumerate(visited[part::PARTS]):
        before, asked = host.sent, views_for_rules(path, turn)
        with reading(browser, host, path) as reader:
            for view in VIEWS:
                reader.look(*view, rules=view in asked)
                sent = host.sent - before + index
                if view == VIEWS[0] and sent > MOST_BYTES:
                    reader.complaints.append(f"{sent:,} bytes in the first view")
        if reader.complaints:
            wrong[path] = reader.complaints
    assert not wrong, "\n".join(
        f"{page or 'home'}: {line}" for page in wrong for line in wrong[page]
    )


def test_the_search_finds_a_page_by_a_word_of_its_text(browser, site: Path) -> None:
    with WebHost(site) as host, reading(browser, host, "") as reader:
        reader.page.keyboard.press("/")
        reader.page.keyboard.type("Erhan")
        first = reader.page.locator(".md-search-result__link").first
        first.wait_for(timeout=PATIENCE)
        assert "bibliography" in first.get_attribute("href")
        assert reader.complaints == []


def test_what_is_wrong_with_a_page_is_noticed(browser, tmp_path) -> None:
    (tmp_path / "index.html").write_text(
        '<body data-md-color-scheme="default"><img src="none.png">'
        '<script src="http://127.0.0.1:9/x.js"></script>'
        '<script>console.warn("odd"); throw 1</script>'
        '<p style="width: 2000px">wide</p>'
    )
    (tmp_path / "favicon.ico").touch()
    with WebHost(tmp_path) as host, reading(browser, host, "") as reader:
        reader.look("light", 1280, rules=True)
        reader.look("dark", 390, rules=False)
        said = "\n".join(reader.complaints)
        assert 100 < host.sent < 1000
    for complaint in (
        "404: ", "asks another host: http://127.0.0.1:9/x.js", "net::ERR_", "warning: odd",
        "error: 1", "light 1280: image-alt x 1, first img", "light 1280: scrolls sideways: 2",
        "dark 390: does not follow the scheme",
    ):  # fmt: skip
        assert complaint in said
