"""Oracle: pictures drawn here, pixel by pixel; Chromium, for what a reader does."""

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from book.bookcase import TinyBook
from internals.book import figure_index, methods_of, network_of, square_thumbnail, thumbnails

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say about requests that went well."""


@pytest.fixture(scope="module")
def served(tinybook: TinyBook) -> Iterator[str]:
    """The address of the tiny book's site."""
    handler = partial(_Quiet, directory=str(tinybook.site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's browser."""
    if not CHROMIUM:
        pytest.skip("needs chromium on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _figure(
    name: str, caption: str = "A picture.", alt: str = "It.", **more: Any
) -> dict[str, Any]:
    return {"name": name, "caption": caption, "alt": alt, "number": 1, **more}


@pytest.mark.parametrize(
    ("figure", "methods"),
    [
        (_figure("conv5-strongest", "Compare with an occluded one."), ["strongest", "guided"]),
        (_figure("control", "Gradient, deconvnet, guided; untrained."),
         ["guided", "deconvnet", "gradient", "control"]),
        (_figure("evidence", "Grad-CAM and occlusion."), ["grad-cam", "occlusion"]),
        (_figure("training", "Loss by epoch."), ["curves"]),
        (_figure("losses", alt="Two curves fall."), ["curves"]),
        (_figure("conv1-filters", "Thin lines of light."), ["filters"]),
        (_figure("odd", "Something else."), []),
        (_figure("conv5-strongest", methods="occlusion"), ["occlusion"]),
        (_figure("odd", methods=["maps", "new"]), ["maps", "new"]),
    ],
)  # fmt: skip
def test_what_a_figure_shows_follows_from_its_words_or_is_stated(
    figure: dict[str, Any], methods: list[str]
) -> None:
    assert methods_of(figure) == methods


def _chapter(folder: Path, name: str, figures: list[dict[str, Any]], **meta: Any) -> Any:
    """What the gallery reads of a chapter, with its run in `folder`."""
    path = folder / f"{name}.py"
    script = SimpleNamespace(name=name, path=path, meta=meta)
    run = SimpleNamespace(folder=folder)
    return SimpleNamespace(script=script, run=run, figures=figures, title=name.upper())


def _save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path, lossless=True)


def test_a_chapter_is_of_the_network_it_names_or_is_named_after(tmp_path: Path) -> None:
    networks = {"lenet5": "LeNet-5", "vgg16": "VGG-16"}
    for name, meta, network in [
        ("01_lenet5", {}, "lenet5"),
        ("07_lenet5_ablations", {}, "lenet5"),
        ("10_side_by_side", {}, ""),
        ("11_paper", {"network": "vgg16"}, "vgg16"),
    ]:
        assert network_of(_chapter(tmp_path, name, [], **meta), networks) == network


def test_a_tall_figure_is_cut_between_its_tiles(tmp_path: Path) -> None:
    paper = np.full((900, 300, 3), 250)
    for top in range(10, 900, 60):  # tiles 50 high, 10 apart
        paper[top : top + 50, 20:280] = np.arange(260)[None, :, None] % 200
    _save(tmp_path / "tall.webp", paper)
    _save(tmp_path / "whole.webp", paper[:200])
    chapter = _chapter(tmp_path, "01_a", [_figure("tall"), _figure("whole")])
    made = thumbnails([chapter], tmp_path / "small")
    sizes = {name: Image.open(made["01_a", name].path).size for name in ("tall", "whole")}
    assert sizes["whole"] == (300, 200), "a figure that fits is whole, and never enlarged"
    width, height = sizes["tall"]
    assert width == 300 and (height - 10) % 60 in {0, *range(50, 60)}
    assert 0.5 < height / width < 0.7


def test_a_sheet_is_cut_below_a_projection_s_patch_and_its_pixels_stay_squares(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    large = np.repeat(np.arange(24), 64)[:, None, None] * np.ones((1, 9 * 64, 3)) * 10
    _save(tmp_path / "large.webp", large)  # 24 lines of 64 x 64, each of one tone
    _save(tmp_path / "tiny.webp", rng.integers(0, 2, (60, 45, 3)) * 255)  # of 5 x 5
    figures = [_figure("large", sheet={"tile": [64, 64]}), _figure("tiny", sheet={"tile": [5, 5]})]
    chapter = _chapter(tmp_path, "01_a", figures)
    made = thumbnails([chapter], tmp_path / "small")
    picture = Image.open(made["01_a", "large"].path)
    lines = picture.height / (480 / 9)
    assert picture.width == 480 and lines == pytest.approx(6, abs=0.05), "three pairs"
    assert Image.open(made["01_a", "tiny"].path).size == (450, 300), "each pixel ten wide"
    square = square_thumbnail(chapter, "large", tmp_path / "small")
    assert square and Image.open(square.path).size == (256, 256), "four tiles a side"


def test_thumbnails_are_made_once_and_have_the_twin_of_their_figure(tmp_path: Path) -> None:
    _save(tmp_path / "chart.webp", np.zeros((300, 960, 3)))
    _save(tmp_path / "chart-dark.webp", np.full((300, 960, 3), 255))
    _save(tmp_path / "photo.webp", np.zeros((300, 960, 3)))
    chapter = _chapter(tmp_path, "01_a", [_figure("chart"), _figure("photo")])
    made = thumbnails([chapter], tmp_path / "small")
    chart, photo = made["01_a", "chart"], made["01_a", "photo"]
    assert chart.source == "chapters/01_a/thumbnails/chart.webp#only-light"
    assert chart.dark and chart.dark.uri == "chapters/01_a/thumbnails/chart-dark.webp"
    assert np.asarray(Image.open(chart.dark.path)).min() > 250
    assert photo.dark is None and photo.source == "chapters/01_a/thumbnails/photo.webp"
    assert (chart.width, chart.height) == (240, 75), "half of its own pixels"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "small").iterdir()}
    assert thumbnails([chapter], tmp_path / "small") == made
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "small").iterdir()} == before
    _save(tmp_path / "photo.webp", np.full((300, 960, 3), 9))
    assert thumbnails([chapter], tmp_path / "small")["01_a", "photo"].path != photo.path


def test_the_index_offers_only_what_there_is_with_its_number(tmp_path: Path) -> None:
    _save(tmp_path / "training.webp", np.zeros((100, 300, 3)))
    _save(tmp_path / "conv1-strongest.webp", np.zeros((100, 300, 3)))
    first = _chapter(
        tmp_path, "01_net", [_figure("training"), _figure("conv1-strongest")], year=1998
    )
    second = _chapter(tmp_path, "02_net_inside", [_figure("training")])
    page = figure_index([first, second], thumbnails([first, second], tmp_path / "small"))
    choices = re.findall(r'name="(\w+)" value="([^"]*)"(?: checked)?><span>([^<]*)', page)
    assert choices == [
        ("network", "", "All"), ("network", "net", "01_NET "),
        ("method", "", "All"), ("method", "strongest", "Patches and projections "),
        ("method", "guided", "Guided "), ("method", "curves", "Curves, charts "),
    ]  # fmt: skip
    assert re.findall(r"<small>(\d+)</small>", page) == ["3", "1", "1", "2"]
    assert page.count('data-network="net"') == 3
    assert "<noscript><style>.filters { display: none" in page


@pytest.mark.slow
def test_filters_work_by_keyboard_and_stay_in_the_address(served: str, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 900})
    page.goto(f"{served}/figures/")
    everything = page.locator(".index > figure").count()
    assert page.locator(".index > figure:visible").count() == everything > 0
    page.locator("input[name=method]").first.focus()
    page.keyboard.press("ArrowRight")
    chosen = page.locator("input[name=method]:checked").get_attribute("value")
    assert chosen and page.url.endswith(f"?method={chosen}")
    fitting = page.locator(f'.index > figure[data-method~="{chosen}"]').count()
    assert page.locator(".index > figure:visible").count() == fitting
    assert page.locator("[role=status]").inner_text() == (
        f"{everything} figures" if fitting == everything else f"{fitting} of {everything} figures"
    )
    page.reload()
    assert page.locator("input[name=method]:checked").get_attribute("value") == chosen
    page.goto(f"{served}/figures/?network=none&method=none")
    assert page.locator(".index > figure:visible").count() == everything, "an unknown one is none"
    page.close()


@pytest.mark.slow
def test_without_scripts_all_figures_are_there_and_no_filter(served: str, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served}/figures/")
    assert page.locator(".index > figure:visible").count() > 0
    assert page.locator(".filters:visible").count() == 0
    context.close()


SCROLLS = """box => {
  const scroller = box.closest(".md-typeset__scrollwrap") ?? box
  return scroller.scrollWidth > scroller.clientWidth
}"""


@pytest.mark.slow
def test_what_scrolls_can_be_reached_by_keyboard_at_any_width(served: str, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{served}/chapters/01_fine/", wait_until="networkidle")
    seen = {}
    for width in (1280, 390):  # the page becomes narrower while it is open
        page.set_viewport_size({"width": width, "height": 900})
        boxes = page.locator("article :is(pre > code, table):visible").all()
        assert boxes
        for box in boxes:
            box.scroll_into_view_if_needed()  # what is not laid out keeps its stop
            element = box.element_handle()
            page.wait_for_function(f"box => ({SCROLLS})(box) === (box.tabIndex === 0)", arg=element)
        seen[width] = [box.evaluate(SCROLLS) for box in boxes]
    assert any(seen[390]), "at 390 pixels some code is too wide"
    page.close()


def test_every_block_of_code_and_every_table_comes_with_a_stop(tinybook: TinyBook) -> None:
    """Also without scripts, and before they have run."""
    for path in tinybook.site.rglob("*.html"):
        text = path.read_text()
        article = text[text.find("<article") : text.find("</article>")]
        for tag in re.findall(
            r"<table\b[^>]*>|<pre\b[^>]*>(?:<span></span>)?<code\b[^>]*>", article
        ):
            assert 'tabindex="0"' in tag, (path.name, tag)
