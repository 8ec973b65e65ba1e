"""Oracle: a reader with mouse, finger or keyboard, and PyTorch for what the page then shows."""

import json
import math
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from book.bookcase import build_site, copy_book
from book.test_digit import LIVE, network
from internals.activations import capture
from internals.atlas import SAMPLES, centred, ink_of
from internals.book import draw_digit
from internals.environment import ROOT
from internals.figures import signed

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH"),
]
PAGE = """<!doctype html><html lang="en"><title>A digit</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="stylesheet" href="../stylesheets/book.css">
<body data-md-color-scheme="default"><main class="md-typeset">{}</main>
<div style="height: 200vh"></div></body></html>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say about requests that went well."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site of one page that holds the element as the hook makes it."""
    site = tmp_path_factory.mktemp("site")
    for name in ("javascripts", "stylesheets"):
        shutil.copytree(ROOT / "docs" / name, site / name)
    shutil.copytree(LIVE, site / "live")
    (site / "page").mkdir()
    (site / "page" / "index.html").write_text(PAGE.format(draw_digit(LIVE.parent, "page/")))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/page/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(address: str, browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 760, "height": 1100}, reduced_motion="reduce")
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address, wait_until="networkidle")
    yield page
    page.close()
    assert wrong == []


def draw(page: Any, strokes: Any) -> None:
    box = page.locator(".dd-paper").bounding_box()
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if number == 0:
                page.mouse.down()
        page.mouse.up()


def says(page: Any, words: str) -> None:
    sync_api.expect(page.locator(".dd-verdict")).to_contain_text(words)
    sync_api.expect(page.locator(".dd-live")).to_contain_text(words)


def write(page: Any, digit: int) -> torch.Tensor:
    """Let the page write a digit, and return the input that the network then has."""
    page.get_by_role("button", name=f"Write a {digit}").click()
    says(page, f"It reads {digit}")
    return torch.from_numpy(centred(ink_of(SAMPLES[digit])))[None, None]


def painted(page: Any, layer: str, number: int) -> np.ndarray:
    canvas = page.locator(f'[data-layer="{layer}"] .dd-tile > canvas').nth(number)
    data = canvas.evaluate(
        "c => [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(data[1:]).reshape(-1, data[0], 4)[..., :3]


@pytest.mark.parametrize("digit", range(10))
def test_digits_drawn_by_mouse_small_and_off_the_middle_are_read(page: Any, digit: int) -> None:
    small = [[(0.05 + 0.5 * x, 0.4 + 0.5 * y) for x, y in stroke] for stroke in SAMPLES[digit]]
    draw(page, small)
    says(page, f"It reads {digit},")
    assert page.locator(".dd-digit").text_content() == str(digit)


def test_empty_paper_says_so_and_a_scribble_is_refused(page: Any) -> None:
    page.get_by_role("button", name="Clear").click()
    says(page, "Nothing drawn.")
    assert page.locator(".dd-digit").text_content() == ""
    assert (painted(page, "conv1", 0) == 128).all()
    draw(page, [[(0.5, 0.5)]])
    says(page, "Only a dot so far.")
    page.get_by_role("button", name="Clear").click()
    turns = [4 * math.pi * corner / 5 for corner in range(6)]  # a star
    draw(page, [[(0.5 + 0.4 * math.sin(turn), 0.5 - 0.4 * math.cos(turn)) for turn in turns]])
    says(page, "None of these.")
    assert page.locator(".dd-digit").text_content() == "?"


def test_nothing_of_the_network_is_fetched_before_the_paper_is_touched(
    address: str, browser: Any
) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, wait_until="networkidle")
    page.locator(".dd-verdict").hover()
    assert all(url.startswith(address.removesuffix("page/")) for url in asked)
    assert not any("lenet5.json" in url or ".f32" in url for url in asked)
    assert "It reads 4" in page.locator(".dd-verdict").text_content()
    draw(page, SAMPLES[2])
    draw(page, [SAMPLES[2][0][:2]])
    says(page, "It reads 2")
    assert sum(".f32" in url for url in asked) == 1
    page.close()


def test_the_example_shown_at_first_is_what_the_network_makes_of_it(page: Any) -> None:
    shown = [painted(page, layer, 0) for layer in ("conv1", "conv3", "linear", "rbf")]
    pixels = write(page, 4)
    for layer, before in zip(("conv1", "conv3", "linear", "rbf"), shown, strict=True):
        assert np.abs(before - painted(page, layer, 0)).max() <= 1
    maps = capture(network(), pixels, ["tanh3"])["tanh3"][0].numpy()
    for number in (0, 15):
        expected = signed(maps[number : number + 1], 1.7159).astype(int)
        assert np.abs(expected - painted(page, "conv2", number)).max() <= 1


def test_every_unit_can_be_walked_to_and_its_sum_is_its_value(page: Any) -> None:
    """Down from conv1 to the distances and back up, with steps to the side in between."""
    pixels = write(page, 7)
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "linear", "rbf"]
    maps = {name: m[0].flatten(1) for name, m in capture(network(), pixels, names).items()}
    for _ in range(3):  # over the buttons of eight and nine
        page.keyboard.press("Tab")
    visited = set()
    for step in ["ArrowRight"] * 15 + ["ArrowDown", "ArrowRight", "ArrowLeft", "ArrowDown"] * 32:
        page.keyboard.press(step)
        title = page.locator(".dd-title").text_content()
        match = re.fullmatch(
            r"(\w+), (?:map|unit|distance to) (\d+)(?:, row (\d+), column (\d+))?", title
        )
        assert match, title
        name, number, row, column = match[1], *(int(group or 0) for group in match.groups()[1:])
        side = round(maps[name].shape[1] ** 0.5)
        expected = maps[name][number, row * side + column].item()
        assert float(page.locator(".dd-sum").get_attribute("data-sum")) == pytest.approx(
            expected, rel=1e-5, abs=1e-5
        )
        value = f"{abs(expected):.3f}"
        assert value in page.locator(".dd-equation").text_content()
        assert title in page.evaluate("document.activeElement.getAttribute('aria-label')")
        visited.add(name)
    assert visited == set(names)
    assert page.locator('.dd-maps [tabindex="0"]').count() == 1


def test_a_unit_that_is_pointed_at_shows_what_it_sees(page: Any) -> None:
    write(page, 3)
    tile = page.locator('[data-layer="conv2"] .dd-tile').nth(5)
    tile.hover(position={"x": 3 * 7 + 1, "y": 3 * 2 + 1})
    sync_api.expect(page.locator(".dd-title")).to_have_text("conv2, map 5, row 2, column 7")
    marked = page.locator('[data-layer="pool1"] .dd-tile > i:visible')
    assert marked.count() == 6
    place = marked.first.evaluate("mark => [mark.style.left, mark.style.top, mark.style.width]")
    assert [float(part.rstrip("%")) * 14 / 100 for part in place] == pytest.approx(
        [7, 2, 5], abs=1e-4
    )
    field = page.locator(".dd-input > i").evaluate(
        "m => [m.style.left, m.style.top, m.style.width]"
    )
    assert [float(part.rstrip("%")) * 32 / 100 for part in field] == pytest.approx(
        [14, 4, 14], abs=1e-4
    )


def test_one_draws_by_keyboard(page: Any) -> None:
    page.locator(".dd-paper").focus()
    for key in ["ArrowUp"] * 8 + [" "] + ["ArrowDown"] * 17 + [" "]:
        page.keyboard.press(key)
    says(page, "It reads 1,")
    page.keyboard.press("Delete")
    says(page, "Nothing drawn.")


def test_a_phone_draws_and_does_not_scroll(address: str, browser: Any) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(address, wait_until="networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator(".dd-paper").bounding_box()
    device = context.new_cdp_session(page)
    for stroke in SAMPLES[4]:
        for number, (x, y) in enumerate(stroke):
            finger = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
            kind = "touchMove" if number else "touchStart"
            device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [finger]})
        device.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    says(page, "It reads 4,")
    assert page.evaluate("scrollY") == 0
    context.close()


def test_a_network_that_cannot_be_fetched_is_told_and_tried_again(page: Any) -> None:
    refused, failed = [], []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.route("**/lenet5.f32*", lambda route: (refused.append(route.request.url), route.abort()))
    draw(page, SAMPLES[5])
    says(page, "The network could not be fetched: no connection.")
    page.unroute("**/lenet5.f32*")
    for _ in range(200):  # a touch may have asked once more: the next one would wait for that
        if len(failed) == len(refused):
            break
        page.wait_for_timeout(25)
    assert failed == refused
    page.get_by_role("button", name="Clear").click()
    draw(page, SAMPLES[5])
    says(page, "It reads 5,")


def test_readers_without_scripts_see_a_picture(address: str, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    picture = page.locator(".draw-digit img")
    assert picture.is_visible() and "LeNet-5" in picture.get_attribute("alt")
    assert picture.bounding_box()["height"] > 200
    context.close()


def test_a_page_has_the_canvas_where_its_marker_is(tmp_path: Path) -> None:
    layout = copy_book(tmp_path)
    chapter = layout.chapters / "01_fine.py"
    text = chapter.read_text() + "\n# %% [markdown]\n# Draw:\n#\n# <!-- digit -->\n#\n# Done.\n"
    chapter.write_text(text)
    shutil.copytree(LIVE, layout.edition / "live")
    assert build_site(layout).returncode == 0
    site = layout.site("quick")
    page = (site / "chapters/01_fine/index.html").read_text()
    manifest = re.search(r'class="draw-digit" data-manifest="([^"]+)"', page)[1]
    found = json.loads((site / "chapters/01_fine" / manifest).resolve().read_text())
    assert (site / "live" / found["file"]).stat().st_size == found["bytes"]
    for address in re.findall(r'(?:src|href)="([^"]+(?:digit\.js|digit\.css|still\.webp))"', page):
        assert (site / "chapters/01_fine" / address).resolve().is_file()
    assert "<!-- digit -->" not in page and page.index("Draw:") < page.index("draw-digit")
    other = (site / "chapters/02_broken/index.html").read_text()
    assert "digit.js" not in other and "digit.css" not in other
