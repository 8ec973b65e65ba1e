"""The index of figures: a thumbnail of each, with filters by network and by method."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from internals.book.pages import Prepared
from internals.book.thumbnails import Thumbnail

_WORDS = 18  # of a caption that stand below a thumbnail

# What a figure shows, by a pattern for its name and one for the words of its caption and
# alternative text. A figure can be of several methods; one that is of none is found under all.
_METHODS: dict[str, tuple[str, str, str]] = {
    "strongest": ("Patches and projections", r"-strongest$|^panel$|^pointwise-inputs$", ""),
    "guided": ("Guided", r"-strongest$|^panel$", r"\bguided\b"),
    "deconvnet": ("Deconvnet", "", r"\bdeconvnet"),
    "gradient": ("Gradient, saliency", "", r"\bgradients?\b|\bsaliency\b"),
    "grad-cam": ("Grad-CAM, class maps", r"^cam$|grad-cam|class-maps|^sliding$", r"\bgrad-cam\b"),
    "occlusion": ("Occlusion", "", r"\bocclu"),
    "control": ("Control", r"control|untrained", r"\buntrained\b|\brandom weights\b"),
    "filters": ("Filters", r"filters$|^prototypes$|-coefficients$", ""),
    "maps": ("Feature maps", r"^maps$|^toy$|^one-digit$|-branches$|^one-block$|^responses$", ""),
    "examples": ("Images, mistakes", r"^(?:digits|samples|inputs|mistakes|entries|one-step)$", ""),
    "matrix": ("Tables of classes", r"confusion$|^targeted$|^similarity|^table-one$", ""),
    "diagram": ("Drawings", r"^(?:architecture|module|separable|fields|scales|reach)$", ""),
    "curves": ("Curves, charts", r"^training$|-curves$", r"\b(?:curves?|lines?|bars?|dots?)\b"),
}
_PICTURES = {"strongest", "filters", "maps", "examples", "matrix", "diagram"}  # so no charts


def figure_index(
    chapters: Sequence[Prepared], thumbnails: Mapping[tuple[str, str], Thumbnail]
) -> str:
    """A page with a thumbnail of every figure; each links to its place in its chapter.

    Args:
        chapters: In reading order.
        thumbnails: By the names of chapter and figure.
    """
    parts = [
        "---\nhide: [toc]\ndescription: Every picture of the book, by network and method.\n---\n",
        "# All figures\n\nEvery picture of the book, in order; each leads to its place in the "
        "chapter. [Which of them to believe](believe.md), and how far, is a page of its own.",
    ]
    networks = networks_of(chapters)
    shown = [
        (chapter, figure, thumbnails[chapter.script.name, str(figure["name"])])
        for chapter in chapters
        for figure in chapter.figures
        if (chapter.script.name, str(figure["name"])) in thumbnails
    ]
    if not shown:
        return "\n".join(
            [*parts, "\nNo chapter has been executed yet: `internals execute` does it.\n"]
        )
    parts.append(_filters(shown, networks))
    for chapter in chapters:
        own = [(figure, thumbnail) for c, figure, thumbnail in shown if c is chapter]
        if own:
            page = f"chapters/{chapter.script.path.name}"
            parts.append(
                f"\n## [{chapter.title}]({page})\n\n" + '<div class="index" markdown="block">'
            )
            parts += [_entry(f, t, page, network_of(chapter, networks)) for f, t in own]
            parts.append("</div>")
    parts.append('\n<script src="../javascripts/gallery.js" defer></script>')
    return "\n".join(parts) + "\n"


def methods_of(figure: Mapping[str, Any]) -> list[str]:
    """What a figure shows, by its own key `methods` or else by its words."""
    if stated := figure.get("methods"):
        return [str(stated)] if isinstance(stated, str) else [str(method) for method in stated]
    name = str(figure["name"])
    words = f"{figure['caption']} {figure['alt']}".lower()
    by_name = [key for key, (_, pattern, _) in _METHODS.items() if _finds(pattern, name)]
    if "strongest" in by_name:  # whose captions speak of much that they do not show
        return by_name
    ruled_out = {"curves"} if _PICTURES & set(by_name) else set()
    by_words = {key for key, (_, _, pattern) in _METHODS.items() if _finds(pattern, words)}
    return [key for key in _METHODS if key in by_name or key in by_words - ruled_out]


def _finds(pattern: str, text: str) -> bool:
    return bool(pattern) and re.search(pattern, text) is not None


def networks_of(chapters: Sequence[Prepared]) -> dict[str, str]:
    """The networks that have a chapter of their own, which states the year of the paper."""
    return {
        str(
            chapter.script.meta.get("network") or chapter.script.name.partition("_")[2]
        ): chapter.title
        for chapter in chapters
        if chapter.script.meta.get("year")
    }


def network_of(chapter: Prepared, networks: Mapping[str, str]) -> str:
    """The network that a chapter is about: that of its front matter, or of its name; "" if none."""
    stated = chapter.script.meta.get("network")
    if isinstance(stated, str):
        return stated
    name = f"{chapter.script.name.partition('_')[2]}_"
    return next((network for network in networks if name.startswith(f"{network}_")), "")


def _filters(
    shown: Sequence[tuple[Prepared, Mapping[str, Any], Thumbnail]], networks: Mapping[str, str]
) -> str:
    """Two rows of choices; without scripts there are none, and all figures are there.

    They are there from the start, so that nothing moves when the script has come.
    """
    of_network = [network_of(chapter, networks) for chapter, _, _ in shown]
    of_method = [method for _, figure, _ in shown for method in methods_of(figure)]
    titles = {method: title for method, (title, _, _) in _METHODS.items()}
    titles = {method: titles.get(method, method) for method in [*titles, *of_method]}
    return (
        "\n<noscript><style>.filters { display: none !important }</style></noscript>"
        '<form class="filters" autocomplete="off">'
        + _choices("network", "Network", networks, of_network)
        + _choices("method", "Method", titles, of_method)
        + f'<p role="status" data-all="{len(shown)}">{len(shown)} figures</p></form>'
    )


def _choices(name: str, legend: str, titles: Mapping[str, str], found: Sequence[str]) -> str:
    """Radio buttons, so that arrow keys move between them."""
    choices = [("", "All", None)] + [
        (key, title, found.count(key)) for key, title in titles.items() if key in found
    ]
    if len(choices) == 1:
        return ""
    labels = "".join(
        f'<label><input type="radio" name="{name}" value="{html.escape(key)}"'
        f"{' checked' if not key else ''}><span>{html.escape(title)}"
        f"{f' <small>{count}</small>' if count else ''}</span></label>"
        for key, title, count in choices
    )
    return f"<fieldset><legend>{legend}</legend>{labels}</fieldset>"


def _entry(figure: Mapping[str, Any], thumbnail: Thumbnail, page: str, network: str) -> str:
    size = f'width="{thumbnail.width}" height="{thumbnail.height}" loading="lazy" .off-glb'
    picture = f"![Figure {figure['number']}]({thumbnail.source}){{ {size} }}"
    words = str(figure["caption"]).split()
    caption = " ".join(words[:_WORDS]) + (" …" if len(words) > _WORDS else "")
    return (
        f'<figure markdown="span" data-network="{html.escape(network)}" '
        f'data-method="{html.escape(" ".join(methods_of(figure)))}">\n'
        f"[{picture}]({page}#fig-{figure['name']})\n"
        f'<figcaption markdown="span">Figure {figure["number"]}. '
        f"{html.escape(caption, quote=False)}</figcaption>\n</figure>"
    )
