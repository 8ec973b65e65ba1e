"""The atlas's pages as HTML: the index, networks and their layers, search, and the moving strip.

A page is a fragment for a frame of somebody else's making: the book's, or that of a site of its
own. It is whole without scripts; `assets/atlas.js` adds keys, search and copying. Each page lies in
a folder, and all addresses in it are relative, so that a site can lie anywhere.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

import numpy as np

from internals.atlas.addresses import PART, Links, Page, layer_path
from internals.atlas.layer_page import layer_page
from internals.atlas.stored import Atlas, AtlasLayer
from internals.atlas.words import (
    breakable,
    crumbs_html,
    escaped,
    extent_words,
    field_words,
    kind_words,
    score_words,
    seen_words,
    title_of,
)

OVERVIEW_COLUMNS = 16
STRIP = 24  # channels in the moving strip
STRIP_TILE, STRIP_GAP = 64, 8  # pixels
_SEEN_WELL = 32  # pixels: smaller tiles are left out of the strip


def atlas_pages(atlases: Sequence[Atlas], links: Links) -> Iterator[Page]:
    """Every page of the atlas of all `atlases`."""
    if not links.alone:
        yield Page(
            "",
            "Atlas",
            "Channel by channel: the pictures that drive it hardest, and which of their pixels.",
            _index(atlases, links),
        )
    for atlas in atlases:
        yield _network_page(atlas, links)
        for place, layer in enumerate(atlas.main):
            for first in range(0, layer.shown, PART):
                yield layer_page(atlases, atlas, place, first, links)


# The index


def _index(atlases: Sequence[Atlas], links: Links) -> str:
    shown = sum(layer.shown for atlas in atlases for layer in atlas.main)
    every = sum(layer.channels for atlas in atlases for layer in atlas.layers.values())
    if not atlases:
        return (
            '<div class="atlas"><h1>Atlas</h1><p class="lead">No atlas has been made yet. '
            "<code>internals atlas</code> makes one of every network whose weights are stored."
            "</p></div>"
        )
    networks = f"{len(atlases)} networks" if len(atlases) > 1 else "one network"
    return "\n".join(
        [
            '<div class="atlas index">',
            "<h1>Atlas</h1>",
            f'<p class="lead">What each channel of {networks} answers to. {shown:,} channels are '
            "shown, each with the nine patches that drive it hardest and the pixels in them that "
            f"did it; all {every:,} can be downloaded as data.</p>",
            _search_form(atlases, "", links, all_networks=True),
            '<ul class="cards">',
            *(_card(atlas, links) for atlas in atlases),
            "</ul>",
            _how_to_read(atlases),
            "</div>",
        ]
    )


def _card(atlas: Atlas, links: Links) -> str:
    address = links.to(links.network(atlas), "")
    picture = links.to(f"{atlas.network}/card.webp", "")
    rows = card_rows(atlas)
    size = f'width="{32 * len(rows[0])}" height="{32 * len(rows)}"'
    return (
        f'<li><a href="{address}"><img src="{picture}" {size} alt="" loading="lazy">'
        f"<h2>{escaped(title_of(atlas))}</h2></a>"
        f"<p>{escaped(extent_words(atlas))} {escaped(atlas.pictures.name)}.</p></li>"
    )


def card_rows(atlas: Atlas) -> list[list[tuple[int, int]]]:
    """Of the overview, by row and column, the tiles that stand for a network.

    Up to three lines: its first, middle and last tiles, in the order of depth.
    """
    tiles = [
        (row, column)
        for row, layer in enumerate(atlas.main)
        for column in range(min(layer.shown, OVERVIEW_COLUMNS))
    ]
    lines = min(3, max(1, len(tiles) // OVERVIEW_COLUMNS))
    starts = np.linspace(0, max(0, len(tiles) - OVERVIEW_COLUMNS), lines).astype(int).tolist()
    return [tiles[start : start + OVERVIEW_COLUMNS] for start in starts]


def _how_to_read(atlases: Sequence[Atlas]) -> str:
    notices = " ".join(dict.fromkeys(atlas.pictures.notice for atlas in atlases))
    return (
        '<section class="how"><h2>How to read it</h2>'
        "<p>A channel is one filter, looking at every place of every picture. Each picture was "
        "given to the network, and of each channel the nine pictures were kept in which it reached "
        "its highest value, at the place where it did: one place a picture, strongest first. The "
        "<em>patch</em> is what the unit there can see, its receptive field. The "
        "<em>projection</em> above it is what of the patch drove it, found by going back through "
        "the network; grey is zero, and the nine of a channel share one scale.</p>"
        "<p>Channels are taken by number, from the first of each layer, and none was picked by "
        "eye. Of the first few the same units are also shown under random weights: what looks "
        "alike there was not learned.</p>"
        f"<p>{escaped(notices)}</p></section>"
    )


# A network


def _network_page(atlas: Atlas, links: Links) -> Page:
    path = links.network(atlas)
    title = title_of(atlas)
    chapter = (links.chapters or {}).get(atlas.network)
    told = ""
    if chapter:
        address = quote(posixpath.relpath(chapter, path or "."))
        told = f' <a href="{address}/">Its chapter</a> tells how it was built.'
    content = "\n".join(
        [
            f'<div class="atlas network" style="--overview-rows:{len(atlas.main)}">',
            crumbs_html([] if links.alone else [("Atlas", links.to("", path))]),
            f"<h1>{escaped(title)}</h1>",
            f'<p class="lead">{escaped(extent_words(atlas))} It was shown '
            f"{len(atlas.pictures.files):,} pictures: {escaped(atlas.pictures.name)}.{told}</p>",
            "<p>Each tile is the patch that drives a channel hardest. Open one to see the other "
            "eight, and which of their pixels did it.</p>",
            '<ol class="layers">',
            *(_layer_row(atlas, row, links) for row in range(len(atlas.main))),
            "</ol>",
            _search_form([atlas], path, links),
            _every_layer(atlas, path, links),
            _provenance(atlas),
            "</div>",
        ]
    )
    return Page(path, f"{title}, channel by channel", f"The layers of {title}.", content)


def _layer_row(atlas: Atlas, row: int, links: Links) -> str:
    layer = atlas.main[row]
    path = links.network(atlas)
    address = links.to(layer_path(atlas.network, layer.name), path)
    seen = min(layer.shown, OVERVIEW_COLUMNS)
    tiles = "".join(
        f'<a href="{address}#{channel}" aria-label="channel {channel}"></a>'
        for channel in range(seen)
    )
    picture = links.to(f"{atlas.network}/overview.webp", path)
    size = f'width="{32 * OVERVIEW_COLUMNS}" height="{32 * len(atlas.main)}"'
    name = escaped(layer.name)
    return (
        f'<li style="--row:{row}"><a class="name" href="{address}">{breakable(layer.name)}</a>'
        f'<span class="note">{layer.channels:,} channels,<br> {seen_words(layer)}</span>'
        f'<div class="map" style="--seen:{seen}" role="group" aria-label="Channels of {name}">'
        f'<img src="{picture}" {size} alt="" loading="lazy">{tiles}</div></li>'
    )


def _every_layer(atlas: Atlas, path: str, links: Links) -> str:
    """All convolutions in a table, with their data."""
    lines = []
    for layer in atlas.layers.values():
        name = breakable(layer.name)
        if layer.main:
            name = f'<a href="{links.to(layer_path(atlas.network, layer.name), path)}">{name}</a>'
        data = links.to(f"data/{atlas.network}/{layer.name}.json", path)
        height, width = layer.map
        lines.append(
            f"<tr><th scope=row>{name}<td>{kind_words(layer)}<td>{layer.channels:,}"
            f"<td>{height} × {width}<td>{field_words(layer)}<td>{layer.shown or '–'}"
            f'<td><a href="{data}" download>JSON</a>'
        )
    return (
        '<details class="every"><summary>All layers as a table, and their data</summary>'
        "<p>The data list for every channel the nine pictures by file name, where in the layer's "
        "map each reached its value, that value, and of how many pictures of each class the "
        "channel fires; for the channels shown also in how many it reaches half of its strongest "
        "value.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="All layers"><table><thead><tr>'
        "<th scope=col>Layer<th scope=col>Kind<th scope=col>Channels<th scope=col>Map"
        "<th scope=col>Field<th scope=col>Shown<th scope=col>Data</thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _provenance(atlas: Atlas) -> str:
    rows = "".join(f"<dt>{escaped(name)}<dd>{escaped(value)}" for name, value in _facts(atlas))
    return (
        f'<details class="made"><summary>How this atlas was made</summary><dl>{rows}</dl></details>'
    )


def _facts(atlas: Atlas) -> list[tuple[str, str]]:
    record = atlas.record
    pictures = f"{len(atlas.pictures.files):,} pictures: {atlas.pictures.name}"
    rules = dict(record["rules"])
    rule = ", ".join([str(rules.pop("rule")), *(f"{k}: {v}" for k, v in rules.items() if v)])
    versions = record.get("versions") or {}
    rows = [
        ("Pictures", pictures),
        ("Projections", f"by the rule {rule}"),
        ("Weights", f"sha256 {record['weights']}{' (random)' if record.get('random') else ''}"),
        ("Profile", record.get("profile")),
        ("Score on the test set", score_words(record)),
        ("Made", record.get("when")),
        ("On", record.get("machine")),
        ("Time", f"{record['seconds']:.0f} s" if record.get("seconds") else None),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Command", record.get("command")),
        ("Commit", record.get("commit")),
        ("Rights", atlas.pictures.notice),
    ]
    return [(name, str(value)) for name, value in rows if value]


# Search


def _search_form(
    atlases: Sequence[Atlas], path: str, links: Links, *, all_networks: bool = False
) -> str:
    """Fields that the script reads; without it the form stays hidden."""
    classes = sorted({name for atlas in atlases for name in atlas.pictures.classes})
    data = links.to(f"search.{links.data}", path)
    one = "" if all_networks else f' data-network="{escaped(atlases[0].network)}"'
    fields = []
    if all_networks:
        fields.append(
            _select("network", "Network", [(a.network, title_of(a)) for a in atlases], "any")
        )
    fields.append('<label>Layer <input name="layer" size="8" placeholder="any"></label>')
    if classes:
        fields.append(_select("class", "Class", [(name, name) for name in classes], "any"))
        fields.append(
            _select("by", "counted", [("excited", "in what drives it to half")], "among the nine")
        )
        fields.append(
            '<label>at least <input name="share" type="number" min="0" max="100" step="1" '
            'placeholder="50"> %</label>'
        )
    fields.append(
        '<label>Value at least <input name="value" type="number" step="any" placeholder="0">'
        "</label>"
    )
    return (
        f'<form class="search" role="search" aria-label="Channels" hidden data-search="{data}"'
        f"{one}>"
        f"<fieldset><legend>Find channels</legend>{''.join(fields)}</fieldset>"
        '<p class="found" role="status"></p><ol class="results"></ol></form>'
        "<noscript><p>Finding channels by class, layer or value needs scripts; "
        "everything else does not.</p></noscript>"
    )


def _select(name: str, label: str, options: Sequence[tuple[str, str]], first: str) -> str:
    entries = "".join(
        f'<option value="{escaped(value)}">{escaped(words)}</option>' for value, words in options
    )
    return (
        f'<label>{label} <select name="{name}"><option value="">{first}</option>{entries}'
        "</select></label>"
    )


def search_data(atlases: Sequence[Atlas], links: Links) -> dict[str, Any]:
    """All shown channels, for the script to search: what they answer to, and where they stand."""
    networks, channels = [], []
    for n, atlas in enumerate(atlases):
        main = [{"name": layer.name, "path": quote(layer_path(atlas.network, layer.name))}
                for layer in atlas.main]  # fmt: skip
        networks.append(
            {
                "name": atlas.network,
                "title": title_of(atlas),
                "classes": list(atlas.pictures.classes),
                "overview": quote(f"{atlas.network}/overview.webp"),
                "layers": main,
            }
        )
        for at, layer in enumerate(atlas.main):
            for channel in range(layer.shown):
                labels = [atlas.pictures.labels[image] for image in layer.image[channel]]
                counts = layer.excitement(channel)
                excited = [] if counts is None else counts.tolist()
                value = float(f"{layer.value[channel, 0]:.3g}")
                channels.append([n, at, channel, value, labels, excited])
    return {
        "part": PART,
        "index": links.index,
        "columns": OVERVIEW_COLUMNS,
        "networks": networks,
        "channels": channels,
    }


# The strip


@dataclass(frozen=True)
class StripTile:
    """A channel in the moving strip."""

    atlas: Atlas
    layer: AtlasLayer
    channel: int


def strip_tiles(atlases: Sequence[Atlas], count: int = STRIP) -> list[StripTile]:
    """About `count` channels, of each network as many, evenly spread over its depth.

    Of each layer the first channels that are not silent: a rule, so that nobody picks. Layers that
    see a few pixels only are left out where there are others.
    """
    rows = []
    for place, atlas in enumerate(atlases):
        most = count // len(atlases) + (place < count % len(atlases))
        main = [layer for layer in atlas.main if max(layer.tile) >= _SEEN_WELL] or atlas.main
        depths = np.linspace(0, max(0, len(main) - 1), most).round().astype(int).tolist()
        row = []
        for depth, layer in enumerate(main):
            loud = [c for c in range(layer.shown) if not layer.silent(c, 0)]
            row += [StripTile(atlas, layer, c) for c in loud[: depths.count(depth)]]
        rows.append(row)
    return [tile for column in zip_longest(*rows) for tile in column if tile]  # networks in turn


def strip(atlases: Sequence[Atlas], links: Links, prefix: str) -> str:
    """The strip as HTML, for a page from which the atlas lies at `prefix`."""
    tiles = strip_tiles(atlases)
    if not tiles:
        return ""
    items = "".join(_strip_item(tile, links, prefix) for tile in tiles)
    size = f'width="{(STRIP_TILE + STRIP_GAP) * len(tiles)}" height="{2 * STRIP_TILE}"'
    return (
        f'<div class="atlas-strip" style="--tiles:{len(tiles)}"><div class="moving" tabindex="0" '
        'role="region" aria-label="Channels from the atlas">'
        f'<img class="off-glb" src="{prefix}strip.webp" {size} loading="lazy" '
        'alt="Above, what in a patch drives a channel; below, the patch."><ul>'
        f"{items}</ul></div></div>"
    )


def _strip_item(tile: StripTile, links: Links, prefix: str) -> str:
    path = layer_path(tile.atlas.network, tile.layer.name, tile.channel)
    name = f"{escaped(title_of(tile.atlas))}<br>{breakable(tile.layer.name)}, {tile.channel}"
    return f'<li><a href="{prefix}{links.to(path, "", str(tile.channel))}">{name}</a></li>'
