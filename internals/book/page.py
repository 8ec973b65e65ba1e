"""One page from one Markdown document, with MkDocs' own machinery."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page
from nbconvert.exporters.templateexporter import default_filters

_LINK = re.compile(
    r"(?<!\!)\[([^\]]*)\]\(((?:\.\./)+)((?:docs|chapters|internals|tests)/[^)\s]*)\)"
)
_FOOTNOTE = re.compile(r"^\[\^[^\]]+\]:", re.MULTILINE)
_FOOTNOTES_GO_HERE = "///Footnotes Go Here///"  # Python-Markdown's own marker
_PROVENANCE = '<details class="provenance"'


def rendered_once(page: Page) -> None:
    """Let mkdocs-jupyter render the notebook, and MkDocs the Markdown that its template makes.

    The plugin would replace title and table of contents by its own, and add style sheets; what
    MkDocs made of the same headings stays instead.
    """
    render_notebook = page.render

    def render(config: Any, files: Any) -> None:
        kept: dict[str, Any] = {}

        def book_page(markdown: str) -> str:
            markdown = config.plugins.on_page_markdown(
                markdown, page=page, config=config, files=files
            )
            page.markdown = _footnotes_above_provenance(markdown)
            Page.render(page, config, files)
            kept.update(content=page.content, toc=page.toc)
            return page.content or ""

        default_filters["book_page"] = book_page
        render_notebook(config, files)
        page.content, page.toc = kept["content"], kept["toc"]

    page.render = render  # type: ignore[method-assign]


def _footnotes_above_provenance(markdown: str) -> str:
    """Sources belong to the text; how the page was made is its very last word."""
    if not _FOOTNOTE.search(markdown) or _FOOTNOTES_GO_HERE in markdown:
        return markdown
    return markdown.replace(_PROVENANCE, f"{_FOOTNOTES_GO_HERE}\n\n{_PROVENANCE}", 1)


def site_links(markdown: str, src_uri: str, edit_uri: str, root: Path) -> str:
    """Links that are right in the repository made right on the site.

    `../docs/x.md` and `../chapters/x.py` lose a folder; package sources have no page, so they lead
    to the repository, or nowhere where its address is not known.
    """
    folder = posixpath.dirname(src_uri)

    def relink(match: re.Match[str]) -> str:
        text, target = match[1], match[3]
        if target.startswith(("internals/", "tests/")):
            if not edit_uri or not (root / target.partition("#")[0]).exists():
                return text
            return f"[{text}]({edit_uri.replace('/edit/', '/blob/')}{target})"
        return f"[{text}]({posixpath.relpath(target.removeprefix('docs/'), folder or '.')})"

    return _LINK.sub(relink, markdown)
