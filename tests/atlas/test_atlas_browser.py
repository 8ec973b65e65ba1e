"""Oracle: Chromium, on a site of its own: what a reader sees, by address, keys, search, and files.

Tiles are compared with the pixels of the stored sheets, which Pillow reads.
"""

import io
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from internals.atlas import Atlas, write_site
from tests.reference.paper_atlas import CLASSES, paper_layer, picture_list, store_paper_atlas

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH"),
    pytest.mark.slow,
]
LAYER = "net/body.0.conv/index.html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say about requests that went well."""


@pytest.fixture(scope="module")
def atlases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Atlas], Path]]:
    """Two networks, and the folder of their site."""
    folder = tmp_path_factory.mktemp("browsed")
    pictures = picture_list()
    layers = [
        paper_layer("conv1", channels=6, shown=4, field=5, map_side=56, pictures=pictures),
        paper_layer("body.0.conv", channels=150, shown=140, field=64, pictures=pictures),
    ]
    found = [
        store_paper_atlas(folder / "atlas", name, layers, pictures) for name in ("net", "other")
    ]
    write_site(folder / "atlas", folder / "site")
    yield found, folder / "site"


@pytest.fixture(scope="module")
def address(atlases: tuple[list[Atlas], Path]) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(atlases[1]))
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


@pytest.fixture
def page(browser, address: str) -> Iterator[object]:
    """A page that fails the test on an error, and on a request that fails or leaves the site."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    odd: list[str] = []
    page.on("pageerror", lambda error: odd.append(str(error)))
    page.on("console", lambda said: odd.append(said.text) if said.type == "error" else None)
    page.on("response", lambda got: odd.append(got.url) if got.status >= 400 else None)
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((address, "data:", "file:")) else odd.append(asked.url)
        ),
    )
    yield page
    page.close()
    assert odd == []


def _opened(page, channel: int) -> None:
    """Wait until the channel alone is marked, has the focus, and is in view."""
    page.wait_for_function(
        """channel => {
          const marked = [...document.querySelectorAll('section[aria-current="true"]')]
          const { top } = marked[0]?.getBoundingClientRect() ?? {}
          return marked.map(one => one.dataset.channel).join() === `${channel}` &&
            top >= 0 && top < innerHeight / 2 && document.activeElement === marked[0]
        }""",
        arg=channel,
    )


@pytest.mark.parametrize("channel", [0, 17, 127, 139])
def test_an_address_opens_on_its_channel(page, address: str, channel: int) -> None:
    """The last one stands on the layer's second page, to which its address leads."""
    page.goto(f"{address}/{LAYER}#{channel}", wait_until="networkidle")
    _opened(page, channel)
    assert page.url.endswith(f"#{channel}")
    marked = page.locator('.numbers [aria-current="true"]')
    assert marked.inner_text() == str(channel)
    assert marked.is_visible()


def test_keys_go_through_channels_and_layers(page, address: str) -> None:
    page.goto(f"{address}/{LAYER}#5", wait_until="networkidle")
    _opened(page, 5)
    for key, expected in (("j", 6), ("j", 7), ("k", 6)):
        page.keyboard.press(key)
        _opened(page, expected)
        assert page.url.endswith(f"#{expected}")
    page.keyboard.press("o")
    assert page.locator('[id="6"] details').evaluate("fold => fold.open")
    page.keyboard.press("Control+j")  # is the browser's
    assert page.url.endswith("#6")
    page.goto(f"{address}/{LAYER}#127", wait_until="networkidle")
    _opened(page, 127)
    page.keyboard.press("j")
    page.wait_for_url("**/128/index.html#128")
    _opened(page, 128)
    page.keyboard.press("[")
    page.wait_for_url("**/net/conv1/index.html")


@pytest.mark.parametrize(("layer", "zoom"), [("body.0.conv", 1), ("conv1", 12)])
def test_a_tile_shows_the_pixels_of_its_sheet(
    page, address: str, atlases: tuple[list[Atlas], Path], layer: str, zoom: int
) -> None:
    atlas = atlases[0][0]
    page.goto(f"{address}/net/{layer}/index.html", wait_until="networkidle")
    side = atlas.layers[layer].tile[0]
    for kind, below in (("projections", 0), ("patches", side * zoom + 3)):
        with Image.open(atlas.folder / f"{layer}.{kind}.webp") as picture:
            sheet = np.asarray(picture.convert("RGB"))
        for channel, place in ((0, 0), (2, 3), (3, 8)):
            if any(atlas.layers[layer].inset(channel, place)):
                continue
            pair = page.locator(f'[id="{channel}"] .pairs > li').nth(place)
            pair.scroll_into_view_if_needed()
            box = pair.bounding_box()
            clip = {"x": box["x"], "y": box["y"] + below, "width": side * zoom}
            shot = page.screenshot(clip={**clip, "height": side * zoom})
            seen = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
            stored = sheet[channel * side :, place * side :][:side, :side]
            wanted = stored.repeat(zoom, 0).repeat(zoom, 1).astype(int)
            inner = slice(2, -2)  # a hairline frames each tile
            assert np.abs(seen - wanted)[inner, inner].max() <= 2, (kind, channel, place)


def test_search_finds_by_class_value_layer_and_network(
    page, address: str, atlases: tuple[list[Atlas], Path]
) -> None:
    layer, pictures = atlases[0][0].layers["body.0.conv"], atlases[0][0].pictures
    page.goto(f"{address}/index.html", wait_until="networkidle")
    page.select_option("[name=network]", "other")
    page.fill("[name=layer]", "BODY")
    page.select_option("[name=class]", CLASSES[2])
    page.fill("[name=share]", "50")
    page.fill("[name=value]", "15")
    wanted = {
        f"{address}/other/body.0.conv/{'128/' if channel > 127 else ''}index.html#{channel}"
        for channel in range(layer.shown)
        if sum(pictures.labels[image] == 2 for image in layer.image[channel]) >= 4.5
        if float(f"{layer.value[channel, 0]:.3g}") >= 15
    }
    assert wanted
    status = page.locator(".found")
    sync_api.expect(status).to_have_text(f"{len(wanted)} channel{'s' * (len(wanted) > 1)}")
    links = page.locator(".results a").evaluate_all("links => links.map(link => link.href)")
    assert set(links) == wanted
    # What was asked is the address, which finds the same again.
    again = page.url
    page.goto("about:blank")
    page.goto(again, wait_until="networkidle")
    sync_api.expect(status).to_have_text(f"{len(wanted)} channel{'s' * (len(wanted) > 1)}")
    page.locator(".results a").first.click()
    page.wait_for_url("**/other/body.0.conv/**")


def test_every_channel_of_a_layer_is_a_row_when_asked_for(page, address: str) -> None:
    page.goto(f"{address}/net/conv1/index.html", wait_until="networkidle")
    page.get_by_role("button", name="Show all 6 channels as a table").click()
    rows = page.locator(".wide tbody tr")
    sync_api.expect(rows).to_have_count(6)
    assert rows.nth(3).locator("a").get_attribute("href") == "#3"
    assert rows.nth(5).locator("a").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_the_site_works_as_files_with_scripts_and_without(
    browser, atlases: tuple[list[Atlas], Path], scripts: bool
) -> None:
    found, site = atlases
    context = browser.new_context(
        java_script_enabled=scripts, viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="Other").click()
    page.get_by_role("link", name="body.0.conv", exact=True).first.click()
    page.locator('.numbers a[href="#2"]').click()
    pair = page.locator('[id="2"] .pairs > li').first
    layer = found[1].layers["body.0.conv"]
    assert CLASSES[found[1].pictures.labels[layer.image[2, 0]]] in pair.inner_text()
    box = pair.bounding_box()
    shot = page.screenshot(clip={"x": box["x"], "y": box["y"], "width": 64, "height": 64})
    colours = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 12, "the tile is not drawn"
    if scripts:
        page.goto((site / "index.html").as_uri())
        page.select_option("[name=class]", CLASSES[0])
        sync_api.expect(page.locator(".results a").first).to_be_visible()
    else:
        assert not page.locator("form.search").is_visible()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_is_wider_than_the_screen(browser, address: str, width: int, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    for where in ("index.html", "net/index.html", LAYER, "net/conv1/index.html"):
        page.goto(f"{address}/{where}", wait_until="networkidle")
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width, where
    page.close()


def test_the_switch_of_schemes_is_remembered(page, address: str) -> None:
    page.goto(f"{address}/index.html", wait_until="networkidle")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert after != before
    page.goto(f"{address}/net/index.html", wait_until="networkidle")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after
