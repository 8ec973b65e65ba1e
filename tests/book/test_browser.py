"""Oracle: Chromium. What a reader sees and fetches, in both schemes, on a desk and on a phone."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from book.bookcase import TinyBook

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say about requests that went well."""


@pytest.fixture(scope="module")
def address(tinybook: TinyBook) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(tinybook.site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_reader_sees_the_right_picture_and_fetches_nothing_else(
    address: str, browser, scheme: str, width: int
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    asked: list[str] = []
    weight: list[int] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfinished", lambda request: weight.append(request.sizes()["responseBodySize"]))
    page.goto(f"{address}/chapters/01_fine/#fig-slope", wait_until="networkidle")
    shown = page.locator("#fig-slope img:visible")
    shown.scroll_into_view_if_needed()
    expected, other = ("slope.webp", "slope-dark.webp")
    if scheme == "dark":
        expected, other = other, expected
    assert shown.count() == 1
    assert shown.get_attribute("src").startswith(expected)
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 688
    assert shown.get_attribute("alt") == "A rising line."
    assert not any(url.endswith(other) for url in asked), "the hidden twin is never fetched"
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert sum(weight) < 1_000_000
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_a_picture_opens_large_in_its_own_scheme(address: str, browser) -> None:
    page = browser.new_page(color_scheme="dark", viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/chapters/01_fine/", wait_until="networkidle")
    page.locator("#fig-slope a.glightbox:visible").click()
    opened = page.locator(".gslide.current img")
    opened.wait_for()
    assert "slope-dark.webp" in opened.get_attribute("src")
    page.close()
