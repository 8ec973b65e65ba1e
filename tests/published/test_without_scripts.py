"""Oracle: Chromium with scripts turned off. What the book says and shows needs none."""

import pytest

from tests.reference.web_host import WebHost

HIDDEN = """[...document.querySelectorAll(
    "article h1, article h2, article h3, article p, article figcaption, article img")]
  .filter(part => !part.closest("details:not([open])") && !part.src?.endsWith("#only-dark"))
  .filter(part => part.tagName == "IMG" ? part.alt : part.textContent.trim())
  .filter(part => part.role != "status") // says what a script has done
  .filter(part => !part.getClientRects().length)
  .map(part => part.outerHTML.slice(0, 200))"""
BLANK = """[...document.querySelectorAll("article img")]
  .filter(image => image.getClientRects().length && image.complete && !image.naturalWidth)
  .map(image => image.src)"""
OUTSIDE = """[...document.querySelectorAll("article figure, article p, article h2")]
  .filter(part => { const box = part.getBoundingClientRect()
                    return box.width && (box.left < 0 || box.right > innerWidth) })
  .filter(part => !part.closest(".md-typeset__scrollwrap, pre, details:not([open])"))
  .map(part => part.outerHTML.slice(0, 200))"""


ONWARD = (
    "article a[href$='/']:not([href^='http']):visible, .md-footer a[href$='/']:not([href^='http'])"
)


def chosen(sort: str, pages: dict[str, str], layers: list[str]) -> str:
    """The page of a sort: of chapters the heaviest, of layers the first."""
    if sort == "a layer of the atlas":
        if not layers:
            pytest.skip("the edition has no atlas")
        return layers[0]
    chapters = [page for page in pages if page.startswith("chapters/")]
    heaviest = max(chapters, key=lambda page: len(pages[page]))
    return {"home": "", "the heaviest chapter": heaviest, "gallery": "figures/"}[sort]


@pytest.mark.parametrize(
    "sort", ["home", "the heaviest chapter", "gallery", "a layer of the atlas"]
)
def test_text_figures_and_links_are_there_without_scripts(
    browser, host: WebHost, pages: dict[str, str], layers: list[str], sort: str
) -> None:
    path = chosen(sort, pages, layers)
    page = browser.new_page(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page.goto(host.address + path, wait_until="load")
    assert page.evaluate("document.querySelectorAll('article img').length") == pages[path].count(
        "<img "
    )
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(HIDDEN) == []
        assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(BLANK) == []
    link = page.locator(ONWARD).first
    assert link.count(), "a page leads on"
    target = link.get_attribute("href")
    link.click()
    page.wait_for_url(lambda url: url != host.address + path)
    assert page.locator("h1").count(), target
    page.close()
