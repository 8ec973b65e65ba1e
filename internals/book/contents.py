"""Pages made of all there is: the home page's cards, the bibliography, the API reference."""

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from internals.book.pages import Prepared
from internals.book.summaries import edition, our_score
from internals.book.thumbnails import Thumbnail
from internals.fingerprint import defines, public_names

_CHAPTER_LINK = re.compile(r"\[([^\]]*)\]\((chapters/\w+\.py)(?:#[\w-]+)?\)")


def chapter_cards(chapters: Sequence[Prepared], thumbnails: Mapping[str, Thumbnail | None]) -> str:
    """A list of the chapters, each with its picture, title and claim, and its score.

    Args:
        chapters: In reading order.
        thumbnails: The picture of each, by the chapter's name.
    """
    if not chapters:
        return ""
    cards = [_card(chapter, thumbnails.get(chapter.script.name)) for chapter in chapters]
    return '<ol class="cards" markdown="block">\n' + "\n".join(cards) + "\n</ol>"


def thumbnail_figure(chapter: Prepared) -> str:
    """The figure on a chapter's card: the front matter's `thumbnail`, else its first panel.

    A chapter without panels shows its first figure, and one without figures "".
    """
    names = [str(figure["name"]) for figure in chapter.figures]
    stated = str(chapter.script.meta.get("thumbnail", ""))
    panels = [name for name in names if name.endswith("-strongest")]
    return next(iter([stated] * (stated in names) + panels + names), "")


def _card(chapter: Prepared, thumbnail: Thumbnail | None) -> str:
    page = f"chapters/{chapter.script.path.name}"
    meta = chapter.script.meta
    picture = ""
    if thumbnail:
        size = f'width="{thumbnail.width}" height="{thumbnail.height}" loading="lazy" .off-glb'
        # The title is the link that is read out; this one is for those who see the picture.
        link = '{ tabindex="-1" aria-hidden="true" .thumbnail }'
        picture = (
            f"[![A figure of {chapter.title}]({thumbnail.source}){{ {size} }}]({page}){link}\n\n"
        )
    scores = [
        f"{name}\n:   {html.escape(score, quote=False)}\n"
        for name, score in (
            ("Here", our_score(chapter.run.record) if chapter.run else ""),
            ("Paper", str(meta.get("paper_score", ""))),
        )
        if score and meta.get("paper_score")
    ]
    year = f"{meta['year']} · " if meta.get("year") else ""
    note = f"{edition(chapter.run.record)}." if chapter.run else "Not executed yet."
    return (
        f'<li markdown="block">\n\n{picture}'
        f"### [{chapter.title}]({page})\n\n"
        f"{html.escape(chapter.description, quote=False)}\n\n"
        + "\n".join(scores)
        + f"\n{year}{note}\n{{ .note }}\n\n</li>"
    )


def quoted_figure(chapters: Sequence[Prepared], name: str, figure: str) -> str:
    """A figure of a chapter on another page, with a link to its place; "" where it is missing.

    Args:
        chapters: Those there are.
        name: The chapter's, such as `05_resnet18`.
        figure: The figure's name.
    """
    chapter = next((c for c in chapters if c.script.name == name and c.run), None)
    texts = next((f for f in chapter.figures if f["name"] == figure), None) if chapter else None
    if chapter is None or chapter.run is None or texts is None:
        return ""
    themed = (chapter.run.folder / f"{figure}-dark.webp").is_file()
    alt = " ".join(str(texts["alt"]).split()).translate(str.maketrans("[]", "()"))
    size = f'width="{texts["width"]}" height="{texts["height"]}" loading="lazy"'
    picture = (
        f"![{alt}](chapters/{texts['file']}.webp{'#only-light' if themed else ''}){{ {size} }}"
    )
    link = f"[{chapter.title}, figure {texts['number']}](chapters/{name}.py#fig-{figure})"
    caption = " ".join(html.escape(str(texts["caption"]), quote=False).split())
    return (
        f'<figure markdown="span">\n{picture}\n'
        f'<figcaption markdown="span">{link}. {caption}</figcaption>\n</figure>'
    )


def links_to_chapters(markdown: str, chapters: Sequence[Prepared]) -> str:
    """`markdown` in which a link to a chapter that this book does not have is its words alone."""
    pages = {f"chapters/{chapter.script.path.name}" for chapter in chapters}
    return _CHAPTER_LINK.sub(lambda match: match[0] if match[2] in pages else match[1], markdown)


def bibliography(references: Path, chapters: Sequence[Prepared]) -> str:
    """Every entry of a BibTeX file as a list, each with the chapters that cite it."""
    from mkdocs_bibtex.citation import Citation
    from mkdocs_bibtex.registry import SimpleRegistry

    registry = SimpleRegistry([str(references)])
    texts = [(c, c.script.path.read_text(encoding="utf-8")) for c in chapters]
    items = []
    for key in sorted(registry.bib_data.entries, key=str.lower):
        cited = [
            f"[{chapter.title}](chapters/{chapter.script.path.name})"
            for chapter, text in texts
            if re.search(rf"@{re.escape(key)}\b", text)
        ]
        note = f' <span class="note" markdown="span">{", ".join(cited)}</span>' if cited else ""
        entry = registry.reference_text(Citation(key=key))
        items.append(f'<li id="{key}" markdown="span">{entry}{note}</li>')
    return '<ol class="bibliography" markdown="block">\n' + "\n".join(items) + "\n</ol>"


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
