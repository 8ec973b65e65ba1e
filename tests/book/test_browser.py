"""Oracle: Chromium. What a reader sees and fetches, in both schemes, on a desk and on a phone."""

import base64
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from book.bookcase import TinyBook
from internals.environment import ROOT
from internals.figures import PADDING, sheet_html
from tests.reference.web_host import WebHost


@pytest.fixture(scope="module")
def address(tinybook: TinyBook) -> Iterator[str]:
    with WebHost(tinybook.site) as host:
        yield host.address


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_reader_sees_the_right_picture_and_fetches_nothing_else(
    browser, address: str, scheme: str, width: int
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    asked: list[str] = []
    weight: list[int] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfinished", lambda request: weight.append(request.sizes()["responseBodySize"]))
    page.goto(f"{address}chapters/01_fine/#fig-slope", wait_until="networkidle")
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


def test_a_picture_opens_large_in_its_own_scheme(browser, address: str) -> None:
    page = browser.new_page(color_scheme="dark", viewport={"width": 1280, "height": 900})
    page.goto(f"{address}chapters/01_fine/", wait_until="networkidle")
    page.locator("#fig-slope a.glightbox:visible").click()
    opened = page.locator(".gslide.current img")
    opened.wait_for()
    assert "slope-dark.webp" in opened.get_attribute("src")
    page.close()


# Panels: sheets of tiles

PAIRS = "#fig-panel .pairs > li"


def tile_boxes(page, pair: int) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of a pair's projection and patch, as they are laid out."""
    return (
        page.locator(PAIRS)
        .nth(pair)
        .evaluate(
            """pair => {
          const { left, top } = pair.getBoundingClientRect()
          const [first, second] = ["::before", "::after"].map(name => getComputedStyle(pair, name))
          const [width, height] = [parseFloat(first.width), parseFloat(first.height)]
          const across = pair.getBoundingClientRect().width > 1.5 * width
          const [columns, rows] = second.display === "none" ? [0, 0] : getComputedStyle(pair).gap
            .split(" ").map(parseFloat).reverse()
          const next = across ? [left + width + columns, top] : [left, top + height + rows]
          return [[left, top, width, height], [...next, width, height]]
        }"""
        )
    )


def screen(page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def colour(
    picture: Image.Image, box: tuple[float, float, float, float], across: float
) -> tuple[int, ...]:
    """The colour on the screen at a share of a tile's width, half-way down."""
    left, top, width, height = box
    return picture.getpixel((int(left + across * width), int(top + height / 2)))


def opened(browser, address: str, **options):
    page = browser.new_page(**options)
    page.goto(f"{address}/chapters/01_fine/#fig-panel", wait_until="networkidle")
    page.wait_for_function("document.querySelector('#fig-panel .sheet').style.length > 4")
    return page


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_each_tile_shows_its_part_of_the_sheet(
    address: str, browser, scheme: str, width: int
) -> None:
    page = opened(browser, address, color_scheme=scheme, viewport={"width": width, "height": 900})
    paper = getattr(PADDING, scheme)
    paper = tuple(int(paper[index : index + 2], 16) for index in (1, 3, 5))
    for pair in range(18):
        page.locator(PAIRS).nth(pair).scroll_into_view_if_needed()
        projection, patch = tile_boxes(page, pair)
        seen = screen(page)
        channel, place = divmod(pair, 9)
        if pair == 17:
            assert colour(seen, projection, 0.1) == colour(seen, patch, 0.1) == paper, "silent"
            continue
        bright = (place + 1) / 9
        least = 8 / 9 if channel else 1  # what has full ink: the last of channel 1 is silent
        wanted = np.rint(255 * (0.5 - bright / least / 2))
        assert np.abs(np.subtract(colour(seen, projection, 0.6), wanted)).max() <= 1, pair
        wanted = np.rint(255 * bright * np.array([1, channel, 0.5]))
        assert np.abs(np.subtract(colour(seen, patch, 0.6), wanted)).max() <= 1, pair
        for box in (projection, patch):
            assert (colour(seen, box, 0.15) == paper) == (place == 1), "a quarter is outside"
    page.close()


def test_a_panel_can_be_read_on_a_phone(address: str, browser) -> None:
    page = opened(browser, address, viewport={"width": 390, "height": 900})
    sizes = [tile_boxes(page, pair)[0] for pair in range(9)]
    lines = [top for _, top, _, _ in sizes]
    assert max(map(lines.count, lines)) <= 3
    assert min(width for _, _, width, _ in sizes) >= 60
    assert all(width % 12 == 0 for _, _, width, _ in sizes), "whole pixels for a pixel"
    font = page.locator(PAIRS).first.evaluate("pair => parseFloat(getComputedStyle(pair).fontSize)")
    assert font >= 10.5
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def test_a_sheet_is_fetched_when_one_comes_near_and_never_twice(address: str, browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 600})

    def far_below(route) -> None:
        space = '<div style="height: 9000px"></div>'
        text = re.sub(r'(?=<figure [^>]*id="fig-panel")', space, route.fetch().text())
        route.fulfill(body=text, content_type="text/html")

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/chapters/01_fine/", far_below)
    page.goto(f"{address}/chapters/01_fine/", wait_until="networkidle")
    assert not any("panel" in url for url in asked)
    page.locator("#fig-panel").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#fig-panel .sheet').style.length > 4")
    assert [url.rsplit("/", 1)[1] for url in asked if "panel" in url] == ["panel.webp"]
    page.close()


def test_a_pair_opens_large_by_keyboard_and_by_touch(address: str, browser) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 900})
    assert page.locator("#fig-panel a.glightbox").count() == 0
    stops = page.locator("#fig-panel [tabindex='0']")
    assert stops.count() == 2, "one for each channel"
    stops.first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    dialog = page.get_by_role("dialog", name="conv1, channel 0: 2 of 9")
    dialog.wait_for()
    assert dialog.locator("li > span").inner_text() == "tench\n8.00 #1"
    large = dialog.locator("li").bounding_box()
    small = page.locator(PAIRS).nth(1).bounding_box()
    assert large["width"] > 4 * small["width"]
    half = large["width"] / 2
    patch = (large["x"] + half, large["y"], half, half)
    assert colour(screen(page), patch, 0.6) == (57, 0, 28)
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="conv1, channel 0: 3 of 9").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "tench\n7.00 #2", "where the reader has walked to"
    page.locator(PAIRS).nth(9).click()
    page.get_by_role("dialog", name="conv1, channel 1: 1 of 9").wait_for()
    assert page.get_by_role("button", name="Previous pair").is_disabled()
    page.get_by_role("button", name="Close").click()
    assert not page.locator("dialog").is_visible()
    page.close()


def test_without_scripts_the_sheet_is_a_picture_above_its_words(address: str, browser) -> None:
    page = browser.new_page(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/chapters/01_fine/#fig-panel", wait_until="networkidle")
    picture = page.get_by_role("img", name="Pairs of plain squares.")
    picture.scroll_into_view_if_needed()
    box, words = picture.bounding_box(), page.locator(PAIRS).first.bounding_box()
    assert box["y"] + box["height"] <= words["y"]
    tile = (box["x"], box["y"] + box["height"] / 4, box["width"] / 9, box["height"] / 4)
    assert colour(screen(page), tile, 0.6) == (28, 0, 14), "the first patch of channel 0"
    assert page.locator(PAIRS).first.inner_text() == "tench\n9.00 #0"
    assert "silent" in page.locator(PAIRS).nth(17).evaluate(
        "pair => getComputedStyle(pair, '::before').content"
    )
    page.close()


def test_sheets_work_on_any_page_and_go_on_below_after_nine_pairs(browser) -> None:
    def picture(first: int) -> str:
        """Two lines of nine tiles of 40 pixels, each a grey of its own."""
        greys = np.uint8([[first + 9 * line + place for place in range(9)] for line in range(2)])
        file = io.BytesIO()
        Image.fromarray(np.kron(greys, np.ones((40, 40), np.uint8))).save(file, "PNG")
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return f'<img src="{source}" alt="x" width="360" height="80" loading="lazy">'

    units = [{"class": "a", "value": "1", "image": "b.png"}] * 11
    units[9] = units[9] | {"inset": [0, 20, 0, 0]}
    about = {"layer": "c", "channel": 0, "colours": 1, "scale": "1", "exceeded": False}
    sheet = {"tile": [40, 40], "lines": 2, "stacked": True, "noun": "channel"}
    sheet["rows"] = [{**about, "units": units}]
    css, script = (
        (ROOT / "internals/figures/assets" / name).read_text()
        for name in ("sheets.css", "sheets.js")
    )
    page = browser.new_page(viewport={"width": 700, "height": 900}, color_scheme="dark")
    html = sheet_html(sheet, picture(50) + picture(150), separate=True)
    page.set_content(
        f'<meta name="color-scheme" content="light dark"><style>{css}</style>'
        f'<div id="fig-panel">{html}</div><script>{script}</script>'
    )
    page.wait_for_function("document.querySelector('.sheet').style.length > 5")
    seen = screen(page)
    for pair in range(11):
        projection, patch = tile_boxes(page, pair)
        assert colour(seen, projection, 0.2) == (50 + pair,) * 3
        assert colour(seen, patch, 0.2) == (150 + pair,) * 3
    _, cut = tile_boxes(page, 9)
    assert colour(seen, cut, 0.8) == (0x34, 0x3C, 0x4E), "the dark page's padding"
    page.close()
