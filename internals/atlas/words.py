"""What the atlas's pages say of networks, layers and channels: short texts, and pieces of HTML."""

import html
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from internals.atlas.stored import Atlas, AtlasLayer
from internals.figures.sheet_html import COLUMNS
from internals.figures.table import percent


def escaped(words: object) -> str:
    """Any words as HTML, also within an attribute."""
    return html.escape(str(words), quote=True)


def breakable(name: str) -> str:
    """A module path that may be broken after its dots."""
    return escaped(name).replace(".", ".<wbr>")


def title_of(atlas: Atlas) -> str:
    """The network's title, or its name."""
    return str(atlas.record.get("title") or atlas.network)


def short_name(file: str) -> str:
    """What tells a picture from others of its class: 10103 of n03028079_10103.JPEG."""
    stem = PurePath(file).stem
    last = stem.replace("_", " ").rpartition(" ")[2]
    return last if last.isdecimal() else stem


def file_name(name: str) -> str:
    """A file's name, which may be broken at its underscores."""
    return escaped(name).replace("_", "_<wbr>")


def kind_words(layer: AtlasLayer) -> str:
    """Such as `3 × 3 convolution, stride 2`."""
    words = escaped(layer.kind).replace(" x ", " × ")
    return words[:1].upper() + words[1:]


def field_words(layer: AtlasLayer) -> str:
    """The size of the receptive field."""
    if layer.field is None:
        return "unknown"
    height, width = layer.field["size"]
    return f"{height} × {width}"


def seen_words(layer: AtlasLayer, *, sentence: bool = False) -> str:
    """What a unit of the layer sees."""
    if layer.field is None or layer.whole:
        return "A unit sees the whole picture." if sentence else "whole pictures"
    if not sentence:
        return f"field {field_words(layer)}"
    return f"A unit sees {field_words(layer)} pixels."


def extent_words(atlas: Atlas) -> str:
    """How much of a network is shown, and how good it is."""
    every = sum(layer.channels for layer in atlas.layers.values())
    shown = sum(layer.shown for layer in atlas.main)
    extent = f"{shown:,} of {every:,} channels" if shown < every else f"All {every:,} channels"
    layers = f"{extent} in {len(atlas.main)} layer{'s' * (len(atlas.main) > 1)}"
    score = score_words(atlas.record)
    if score:
        return f"{layers}. Test score {score}."
    return f"{layers}.{' Its weights are random.' if atlas.record.get('random') else ''}"


def score_words(record: Mapping[str, Any]) -> str | None:
    """The test score, if there is one."""
    score = record.get("score")
    return f"{percent(score['top1'])} of {score['images']:,} images" if score else None


def project_command(atlas: Atlas, layer: AtlasLayer, channel: int) -> str:
    """The command that draws one channel's panel again.

    An own network is named with its weights and pictures, one of the book's by its run.
    """
    record = atlas.record
    made = str(record.get("command", ""))
    if " --images " in made:
        words = [made.replace("internals atlas ", "internals project ", 1)]
    else:
        words = [f"internals project {atlas.network} --profile {record['profile']}"]
        words += [f"--limit {record['limit']}"] if record.get("limit") else []
    words += [f"--layer {layer.name} --channels {channel}"]
    words += [f"--{name} {value}" for name, value in record["rules"].items() if value]
    words += [f"--k {record['k']}"] if record["k"] != COLUMNS else []
    return " ".join([*words, f"--out {layer.name}-{channel}.png"])


def whole_percent(part: int, whole: int) -> str:
    """A whole percentage; 0 % and 100 % only where they are exact."""
    if whole == 0 or part in (0, whole):
        return "100 %" if part and whole else "0 %"
    return f"{min(99, max(1, round(100 * part / whole)))} %"


def bar_html(name: str, part: int, whole: int) -> str:
    """One bar of a histogram."""
    share = round(100 * part / max(1, whole))
    return f'<li style="--v:{share}">{escaped(name)} <b>{whole_percent(part, whole)}</b></li>'


def clip_style(inset: Sequence[int], tile: Sequence[int]) -> str:
    """What of a tile lies outside the image, cut off so that the page's paper is seen there."""
    if not any(inset):
        return ""
    sides = (tile[0], tile[1], tile[0], tile[1])
    cut = " ".join(f"{100 * width / side:.3g}%" for width, side in zip(inset, sides, strict=True))
    return f";clip-path:inset({cut})"


def crumbs_html(crumbs: Sequence[tuple[str, str]]) -> str:
    """The way to a page: names and addresses."""
    if not crumbs:
        return ""
    steps = "".join(f'<a href="{address}">{escaped(words)}</a>' for words, address in crumbs)
    return f'<nav class="crumbs" aria-label="Above this page">{steps}</nav>'
