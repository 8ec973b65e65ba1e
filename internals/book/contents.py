"""Pages made of all chapters: the home page's cards, the index of figures, the API reference."""

import html
from collections.abc import Sequence

from internals.book.pages import Prepared
from internals.book.summaries import edition
from internals.fingerprint import defines, public_names

_THUMBNAIL = 320  # pixels: the largest width of a thumbnail
_THUMBNAIL_WORDS = 24  # of its caption


def chapter_cards(chapters: Sequence[Prepared]) -> str:
    """A list of the chapters, each with its title, claim and edition."""
    if not chapters:
        return ""
    return '<ol class="cards" markdown="block">\n' + "\n".join(map(_card, chapters)) + "\n</ol>"


def figure_index(chapters: Sequence[Prepared]) -> str:
    """A page with a thumbnail of every figure; each links to its place in its chapter."""
    parts = ["---\nhide: [toc]\n---\n\n# All figures\n\nEvery picture of the book, in order."]
    parts.append("Each one leads to its place in the chapter.")
    for chapter in chapters:
        if not chapter.figures:
            continue
        page = f"chapters/{chapter.script.path.name}"
        parts.append(f"\n## [{chapter.title}]({page})\n\n" + '<div class="index" markdown="block">')
        parts += [_thumbnail(texts, page) for texts in chapter.figures]
        parts.append("</div>")
    if len(parts) == 2:
        parts.append("\nNo chapter has been executed yet: `internals execute` does it.")
    return "\n".join(parts) + "\n"


def _card(chapter: Prepared) -> str:
    page = f"chapters/{chapter.script.path.name}"
    note = f"{edition(chapter.run.record)}." if chapter.run else "Not executed yet."
    return (
        '<li markdown="block">\n\n'
        f"### [{chapter.title}]({page})\n\n"
        f"{html.escape(chapter.description, quote=False)}\n\n"
        f"{note}\n{{ .note }}\n\n</li>"
    )


def _thumbnail(texts: dict[str, object], page: str) -> str:
    width, height = int(str(texts["width"])), int(str(texts["height"]))
    scale = min(1.0, _THUMBNAIL / width)
    size = (
        f'width="{round(width * scale)}" height="{round(height * scale)}" loading="lazy" .off-glb'
    )
    target = f"{page}#fig-{texts['name']}"
    address = f"chapters/{texts['file']}.webp#only-light"
    picture = f"![Figure {texts['number']}]({address}){{ {size} }}"
    caption_words = str(texts["caption"]).split()
    caption = " ".join(caption_words[:_THUMBNAIL_WORDS]) + (
        " …" if len(caption_words) > _THUMBNAIL_WORDS else ""
    )
    return (
        '<figure markdown="span">\n'
        f"[{picture}]({target})\n"
        f'<figcaption markdown="span">Figure {texts["number"]}. '
        f"{html.escape(caption, quote=False)}</figcaption>\n</figure>"
    )


def api_reference(package: str, names: Sequence[str] = ()) -> str:
    """The public names of a lazy package, for mkdocstrings to describe.

    Constants are listed by name; names that another package defines are linked to its page.

    Args:
        package: Such as `internals.data`.
        names: The names to describe, in this order; all public names if empty.
    """
    described, constants, links = [], [], []
    origins = public_names(package)
    for name in names or origins:
        module = origins[name]
        if elsewhere := public_names(module).get(name):
            links.append(f"- [`{name}`][{elsewhere}.{name}]")
        elif defines(module, name):
            described.append(f"::: {module}.{name}\n")
        else:
            constants.append(f"`{name}`")
    if constants:
        described.append(f"## Constants\n\n{', '.join(constants)}\n")
    return "\n".join([*links, "", *described])
