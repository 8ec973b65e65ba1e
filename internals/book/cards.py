"""Pages made of the chapters: cards for the home page, and the index of figures."""

import html
from collections.abc import Sequence

from internals.book import provenance
from internals.book.prepare import Prepared

_THUMB = 320  # pixels: the widest a thumbnail is drawn
_CAPTION_WORDS = 24


def chapter_cards(chapters: Sequence[Prepared]) -> str:
    """A list of the chapters, each with its title, claim and edition."""
    if not chapters:
        return ""
    return '<ol class="cards" markdown="block">\n' + "\n".join(map(_card, chapters)) + "\n</ol>"


def figure_index(chapters: Sequence[Prepared]) -> str:
    """Every figure of the book, small, with its caption; each leads to its place."""
    parts = ["---\nhide: [toc]\n---\n\n# All figures\n\nEvery picture of the book, in order."]
    parts.append("Each one leads to its place in the chapter.")
    for chapter in chapters:
        if not chapter.figures:
            continue
        page = f"chapters/{chapter.script.path.name}"
        parts.append(f"\n## [{chapter.title}]({page})\n\n" + '<div class="index" markdown="block">')
        parts += [_thumbnail(words, page) for words in chapter.figures]
        parts.append("</div>")
    if len(parts) == 2:
        parts.append("\nNo chapter has been executed yet: `internals execute` does it.")
    return "\n".join(parts) + "\n"


def _card(chapter: Prepared) -> str:
    page = f"chapters/{chapter.script.path.name}"
    note = f"{provenance.edition(chapter.run.record)}." if chapter.run else "Not executed yet."
    return (
        '<li markdown="block">\n\n'
        f"### [{chapter.title}]({page})\n\n"
        f"{html.escape(chapter.description, quote=False)}\n\n"
        f"{note}\n{{ .note }}\n\n</li>"
    )


def _thumbnail(words: dict[str, object], page: str) -> str:
    width, height = int(str(words["width"])), int(str(words["height"]))
    scale = min(1.0, _THUMB / width)
    size = (
        f'width="{round(width * scale)}" height="{round(height * scale)}" loading="lazy" .off-glb'
    )
    target = f"{page}#fig-{words['name']}"
    address = f"chapters/{words['file']}.webp#only-light"
    picture = f"![Figure {words['number']}]({address}){{ {size} }}"
    said = str(words["caption"]).split()
    caption = " ".join(said[:_CAPTION_WORDS]) + (" …" if len(said) > _CAPTION_WORDS else "")
    return (
        '<figure markdown="span">\n'
        f"[{picture}]({target})\n"
        f'<figcaption markdown="span">Figure {words["number"]}. '
        f"{html.escape(caption, quote=False)}</figcaption>\n</figure>"
    )
