"""The atlas's pages as HTML: networks, their layers, and every shown channel.

A page is a fragment for a frame of somebody else's making: the book's, or that of a site of its
own. It is whole without scripts; `assets/atlas.js` adds keys, search and copying. Each page lies in
a folder, and all addresses in it are relative, so that a site can lie anywhere.
"""

import html
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import numpy as np

from internals.atlas.stored import Atlas, AtlasLayer, Neighbour
from internals.figures.sheet_html import opening_tag, pairs_html
from internals.figures.table import number, percent

PART = 128  # channels on a page: more of them would weigh more than 40 KB
OVERVIEW_COLUMNS = 16
STRIP = 24  # channels in the moving strip
STRIP_TILE, STRIP_GAP = 64, 8  # pixels
_DISPLAY = 64  # pixels: smaller tiles are enlarged by a whole factor that stays within it
_COLUMNS = 9  # of a sheet, where there were pictures enough
_SEEN_WELL = 32  # pixels: smaller tiles are left out of the strip
_MOST_CLASSES = 10  # bars of a histogram


@dataclass(frozen=True)
class Page:
    """A page without its frame.

    Args:
        path: Its folder, from the atlas's own: "", "alexnet/", "alexnet/conv4/".
        title: Of the browser's window.
        description: One sentence.
        content: HTML.
    """

    path: str
    title: str
    description: str
    content: str


@dataclass(frozen=True)
class Links:
    """How the pages of one site address each other, and what they may link to beside.

    Args:
        index: What follows a folder: nothing on a server, "index.html" in files.
        data: Of the data that scripts load, the suffix: "json" on a server, "js" in files, where
            only scripts may be loaded.
        chapters: Network to the address of its chapter, from the atlas's folder.
        alone: Whether the first page is that of the only network.
    """

    index: str = ""
    data: str = "json"
    chapters: Mapping[str, str] | None = None
    alone: bool = False

    def to(self, target: str, source: str, fragment: str = "") -> str:
        """The address of the page or file `target`, seen from the page `source`.

        A page's path is "" or ends in a slash. Network and layer are quoted: own networks have
        any name.
        """
        page = target == "" or target.endswith("/")
        way = posixpath.relpath("/" + target, "/" + source)
        address = quote(way) + ("/" if page else "")
        return address + (self.index if page else "") + (f"#{fragment}" if fragment else "")

    def network(self, atlas: Atlas) -> str:
        """The path of a network's page."""
        return "" if self.alone else f"{atlas.network}/"


def layer_path(network: str, layer: str, channel: int = 0) -> str:
    """The path of the page on which a layer's channel stands."""
    part = channel // PART * PART
    return f"{network}/{layer}/" + (f"{part}/" if part else "")


def sheet_path(atlas: Atlas, layer: AtlasLayer, kind: str) -> str:
    """The path of a sheet: beside its layer's page."""
    return f"{atlas.network}/{layer.name}/{kind}.webp"


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
                yield _layer_page(atlases, atlas, place, first, links)


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
        f"<h2>{escaped(_title(atlas))}</h2></a>"
        f"<p>{escaped(_extent(atlas))} {escaped(atlas.pictures.name)}.</p></li>"
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
    title = _title(atlas)
    chapter = (links.chapters or {}).get(atlas.network)
    told = ""
    if chapter:
        address = quote(posixpath.relpath(chapter, path or "."))
        told = f' <a href="{address}/">Its chapter</a> tells how it was built.'
    content = "\n".join(
        [
            f'<div class="atlas network" style="--overview-rows:{len(atlas.main)}">',
            _crumbs([] if links.alone else [("Atlas", links.to("", path))]),
            f"<h1>{escaped(title)}</h1>",
            f'<p class="lead">{escaped(_extent(atlas))} It was shown '
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
        f'<li style="--row:{row}"><a class="name" href="{address}">{_breakable(layer.name)}</a>'
        f'<span class="note">{layer.channels:,} channels,<br> {_seen(layer)}</span>'
        f'<div class="map" style="--seen:{seen}" role="group" aria-label="Channels of {name}">'
        f'<img src="{picture}" {size} alt="" loading="lazy">{tiles}</div></li>'
    )


def _every_layer(atlas: Atlas, path: str, links: Links) -> str:
    """All convolutions in a table, with their data."""
    lines = []
    for layer in atlas.layers.values():
        name = _breakable(layer.name)
        if layer.main:
            name = f'<a href="{links.to(layer_path(atlas.network, layer.name), path)}">{name}</a>'
        data = links.to(f"data/{atlas.network}/{layer.name}.json", path)
        height, width = layer.map
        lines.append(
            f"<tr><th scope=row>{name}<td>{_kind(layer)}<td>{layer.channels:,}"
            f"<td>{height} × {width}<td>{_field(layer)}<td>{layer.shown or '–'}"
            f'<td><a href="{data}" download>JSON</a>'
        )
    return (
        '<details class="every"><summary>All layers as a table, and their data</summary>'
        "<p>The data list for every channel the nine pictures by file name, where in the layer's "
        "map each reached its value, that value, and of how many pictures of each class the "
        "channel fires.</p>"
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
        ("Score on the test set", _score(record)),
        ("Made", record.get("when")),
        ("On", record.get("machine")),
        ("Time", f"{record['seconds']:.0f} s" if record.get("seconds") else None),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("Command", record.get("command")),
        ("Commit", record.get("commit")),
        ("Rights", atlas.pictures.notice),
    ]
    return [(name, str(value)) for name, value in rows if value]


# A layer


def _layer_page(
    atlases: Sequence[Atlas], atlas: Atlas, place: int, first: int, links: Links
) -> Page:
    layer = atlas.main[place]
    path = layer_path(atlas.network, layer.name, first)
    title = _title(atlas)
    channels = range(first, min(first + PART, layer.shown))
    crumbs = [] if links.alone else [("Atlas", links.to("", path))]
    crumbs.append((title, links.to(links.network(atlas), path)))
    view = _LayerView(atlases, atlas, layer, path, links)
    content = "\n".join(
        [
            f'<div class="atlas layer{view.plain()}" {view.attributes()}>',
            view.style(),
            _crumbs(crumbs),
            f"<h1>{_breakable(layer.name)}</h1>",
            f'<p class="lead">{_kind(layer)}. {view.summary()}</p>',
            view.legend(),
            view.bar(channels, place),
            view.opening(),
            *(view.channel(channel) for channel in channels),
            "</div>",
            view.foot(),
            "</div>",
        ]
    )
    part = f", channels {first} to {channels[-1]}" if layer.shown > PART else ""
    return Page(
        path,
        f"{layer.name} of {title}{part}",
        f"The nine strongest patches of {layer.shown} channels of {layer.name} in {title}.",
        content,
    )


@dataclass(frozen=True)
class _LayerView:
    """One layer, on the page at `path`."""

    atlases: Sequence[Atlas]
    atlas: Atlas
    layer: AtlasLayer
    path: str
    links: Links

    def plain(self) -> str:
        """A class for layers without bars beside the pairs."""
        bars = self.layer.fires is not None and self.atlas.pictures.classes
        return "" if bars else " plain"

    def attributes(self) -> str:
        """What the script must know."""
        data = f"data/{self.atlas.network}/{self.layer.name}.{self.links.data}"
        top = self.links.to(layer_path(self.atlas.network, self.layer.name), self.path)
        told = f'data-part="{PART}" data-shown="{self.layer.shown}" data-layer="{top}"'
        if self.layer.shown == self.layer.channels:
            return told
        return f'{told} data-channels="{self.links.to(data, self.path)}"'

    def style(self) -> str:
        """The sheets, and the size in which single tiles are shown.

        Addresses in a style sheet are relative to it, so these stand in the page.
        """
        height, width = self.layer.tile
        zoom = max(1, _DISPLAY // max(height, width))
        rules = [
            f".atlas{{--rows:{self.layer.shown};--tw:{width * zoom}px;--th:{height * zoom}px;"
            f"--k:{self._k};--render:{'pixelated' if zoom > 1 else 'auto'}}}"
        ]
        for kind, selector in (("projections", "before"), ("patches", "after")):
            rules.append(  # below what sheets.css paints over a tile
                f".sheet.separate .pairs>li:not(.silent)::{selector}"
                f"{{background-image:{4 * 'var(--paint),'}url({self._file(kind)})}}"
            )
        if self._k != _COLUMNS:  # on which sheets.css counts
            rules.append(f".sheet{{--columns:{self._k}}}")
            rules += [
                f".sheet .pairs>li:nth-child({place + 1}){{--x:{place};--f:0!important}}"
                for place in range(self._k)
            ]
        for kind, selector in (("control", ".z"), ("images", ".image"), ("optimised", ".o")):
            if kind in self.layer.sheets:
                rules.append(f".atlas {selector}{{background-image:url({self._file(kind)})}}")
        return f"<style>{''.join(rules)}</style>"

    def opening(self) -> str:
        """The start of the channels, with their sheets as pictures for scripts to open large."""
        sheet = {"tile": self.layer.tile, "lines": self.layer.shown, "stacked": True}
        height, width = self.layer.tile
        size = f'width="{width * self._k}" height="{height * self.layer.shown}"'
        pictures = "".join(
            f'<img src="{self._file(kind)}" {size} alt="" loading="lazy">'
            for kind in ("projections", "patches")
        )
        return opening_tag(sheet, separate=True) + pictures

    @property
    def _k(self) -> int:
        return int(self.layer.image.shape[1])

    def _file(self, kind: str) -> str:
        return self.links.to(sheet_path(self.atlas, self.layer, kind), self.path)

    def summary(self) -> str:
        layer = self.layer
        height, width = layer.map
        more = f"; the first {layer.shown} are shown" if layer.shown < layer.channels else ""
        return (
            f"{layer.channels:,} channels on a map of {height} × {width}{more}. "
            f"{_seen(layer, sentence=True)}"
        )

    def legend(self) -> str:
        pictures = self.atlas.pictures
        zero = "grey is zero, amber above, blue below" if self.layer.grey else "grey is zero"
        return (
            f'<p class="legend">Of {len(pictures.files):,} pictures ({escaped(pictures.name)}), '
            f"the {self._k} that drive each channel hardest, strongest first. Above, "
            f"which of their pixels did so ({zero}; one scale a channel); below, the patch. "
            "The first number is the unit's value, the second the picture's.</p>"
        )

    def bar(self, channels: range, place: int) -> str:
        """The channels of the layer, and the layers before and after."""
        numbers = "".join(
            f'<a href="{"" if n in channels else self._part(n)}#{n}">{n}</a>'
            for n in range(self.layer.shown)
        )
        main = self.atlas.main
        before = self._to_layer(main[place - 1], "prev", "←") if place else ""
        after = self._to_layer(main[place + 1], "next", "→") if place + 1 < len(main) else ""
        return (
            f'<nav class="bar" aria-label="Channels and layers">'
            f'<div class="numbers" tabindex="0" role="group" aria-label="Channels">{numbers}</div>'
            f'<span class="around">{before}{after}</span></nav>'
        )

    def _part(self, channel: int) -> str:
        return self.links.to(layer_path(self.atlas.network, self.layer.name, channel), self.path)

    def _to_layer(self, layer: AtlasLayer, way: str, arrow: str) -> str:
        address = self.links.to(layer_path(self.atlas.network, layer.name), self.path)
        name = escaped(layer.name)
        words = f"{arrow} {name}" if way == "prev" else f"{name} {arrow}"
        return f'<a rel="{way}" href="{address}">{words}</a>'

    def channel(self, channel: int) -> str:
        """One channel: its nine pairs, what it fires on, and folded the rest."""
        pairs = ""
        if not self.layer.silent(channel, 0):
            pairs = pairs_html(list(self._pairs(channel)), channel, f"channel {channel}")
        return (
            f'<section id="{channel}" data-channel="{channel}" tabindex="-1" '
            f'style="--at:{channel}" aria-label="Channel {channel}">'
            f'<header><h2><a href="#{channel}">Channel {channel}</a></h2>{self._gist(channel)}'
            "</header>"
            f'<div class="row">{pairs}</div>{self._fires(channel)}{self._more(channel)}</section>'
        )

    def _gist(self, channel: int) -> str:
        """What can be said of a channel in a line."""
        layer = self.layer
        if layer.silent(channel, 0):
            return "<p>Silent: no picture drives it above zero.</p>"
        said = []
        classes = self.atlas.pictures.classes
        if classes:
            labels = [self.atlas.pictures.labels[image] for image in layer.image[channel]]
            most = max(set(labels), key=lambda label: (labels.count(label), -label))
            if labels.count(most) > len(labels) // 2:
                said.append(f"{labels.count(most)} of {len(labels)}: {escaped(classes[most])}")
        if layer.fires is not None:
            fired = int(layer.fires[channel].sum())
            said.append(f"fires in {_percent(fired, len(self.atlas.pictures.files))} of pictures")
        return f"<p>{'; '.join(said)}</p>" if said else ""

    def _pairs(self, channel: int) -> Iterator[dict[str, Any]]:
        layer, pictures = self.layer, self.atlas.pictures
        for place, image in enumerate(layer.image[channel]):
            unit: dict[str, Any] = {
                "class": number(float(layer.value[channel, place])),
                "value": "",
                "image": _short(pictures.files[image]),
            }
            if pictures.classes:
                name = pictures.classes[pictures.labels[image]]
                unit |= {"class": name, "value": unit["class"]}
            if layer.silent(channel, place):
                unit["silent"] = True
            if any(inset := layer.inset(channel, place)):
                unit["inset"] = inset
            yield unit

    def _fires(self, channel: int) -> str:
        """Bars: in which share of the pictures of each class the channel fires."""
        classes = self.atlas.pictures.classes
        if self.layer.fires is None or not classes:
            return ""
        counts = np.bincount(self.atlas.pictures.labels, minlength=len(classes))
        fires = self.layer.fires[channel]
        shown = list(range(len(classes)))
        if len(classes) > _MOST_CLASSES:
            rates = fires / np.maximum(counts, 1)
            shown = sorted(np.argsort(-rates, kind="stable")[:_MOST_CLASSES].tolist())
        bars = "".join(_bar(classes[n], int(fires[n]), int(counts[n])) for n in shown)
        return f'<ul class="fires" aria-label="Fires in, by class">{bars}</ul>'

    def _more(self, channel: int) -> str:
        parts = [
            self._where(channel),
            self._files(channel),
            self._control(channel),
            self._optimised(channel),
            self._nearest(channel),
            self._reproduce(channel),
        ]
        near = ", nearest channels" if parts[-2] else ""
        return f"<details><summary>Place, files{near}, command</summary>{''.join(parts)}</details>"

    def _where(self, channel: int) -> str:
        """The field on the image of the strongest unit."""
        layer = self.layer
        height, width = layer.image_size
        row, column = int(layer.row[channel, 0]), int(layer.column[channel, 0])
        unit = f"Strongest in {_file(self.atlas.pictures.files[layer.image[channel, 0]])}"
        if layer.map != (1, 1):
            unit += f", at row {row}, column {column} of the map"
        top, left, bottom, right = layer.box(channel, 0)
        if layer.whole or (top <= 0 and left <= 0 and bottom >= height and right >= width):
            frame = self._frame(channel, None)
            return f'<div class="where">{frame}<p>{unit}. It sees the whole picture.</p></div>'
        return (
            f'<div class="where">{self._frame(channel, (top, left, bottom, right))}<p>{unit}. It '
            f"sees rows {max(top, 0)} to {min(bottom, height) - 1} and columns {max(left, 0)} to "
            f"{min(right, width) - 1} of the {height} × {width} picture.</p></div>"
        )

    def _files(self, channel: int) -> str:
        names = (_file(self.atlas.pictures.files[image]) for image in self.layer.image[channel])
        return f'<p class="files">Pictures, strongest first: {", ".join(names)}.</p>'

    def _frame(self, channel: int, box: tuple[int, int, int, int] | None) -> str:
        """The picture, or its outline where it may not be shown whole, with the field in it."""
        height, width = self.layer.image_size
        kind = "frame image" if "images" in self.layer.sheets else "frame"
        field = ""
        if box is not None:
            top, left, bottom, right = box
            sides = (top / height, left / width, (bottom - top) / height, (right - left) / width)
            t, le, h, w = (f"{100 * side:.3g}%" for side in sides)
            field = f'<i style="top:{t};left:{le};height:{h};width:{w}"></i>'
        return f'<span class="{kind}" style="aspect-ratio:{width}/{height}">{field}</span>'

    def _control(self, channel: int) -> str:
        layer = self.layer
        if "control" not in layer.sheets or channel >= len(layer.control_scales):
            return ""
        tiles = "".join(
            f'<li><i class="z" style="--c:{place}{_clip(layer.inset(channel, place), layer.tile)}">'
            "</i></li>"
            for place in range(layer.image.shape[1])
        )
        return (
            f'<ol class="control" aria-label="Under random weights">{tiles}</ol>'
            "<p>The same units of the same pictures under random weights. What looks alike in both "
            "rows comes from the picture and the architecture, not from training.</p>"
        )

    def _optimised(self, channel: int) -> str:
        if "optimised" not in self.layer.sheets:
            return ""
        return (
            '<p class="optimised"><i class="o"></i> An image optimised from noise to drive the '
            "channel: not a picture that the network has seen, and one of many.</p>"
        )

    def _nearest(self, channel: int) -> str:
        rows = self.atlas.neighbours.get(self.layer.name) or []
        if channel >= len(rows) or not rows[channel]:
            return ""
        return (
            "<p>Nearest in other networks, by the correlation of their highest values over the "
            f"pictures: {', '.join(map(self._neighbour, rows[channel]))}.</p>"
        )

    def _neighbour(self, one: Neighbour) -> str:
        network, layer, channel, correlation = one
        other = next((atlas for atlas in self.atlases if atlas.network == network), None)
        title = _title(other) if other else network
        words = f"{escaped(title)} {escaped(layer)} {channel}"
        found = other.layers.get(layer) if other else None
        if found and channel < found.shown:
            address = self.links.to(layer_path(network, layer, channel), self.path, str(channel))
            words = f'<a href="{address}">{words}</a>'
        return f"{words} ({correlation:.2f})"

    def _reproduce(self, channel: int) -> str:
        record = self.atlas.record
        cited = (
            f"CNN Internals, {_title(self.atlas)}, {self.layer.name}, channel {channel}, "
            f"{'random weights' if record.get('random') else 'weights'} "
            f"sha256 {record['weights'][:16]}"
        )
        command = project_command(self.atlas, self.layer, channel)
        return (
            f"<p>Reproduce it: <code>{escaped(command)}</code></p>"
            f"<p>Cite it: <cite>{escaped(cited)}</cite></p>"
        )

    def foot(self) -> str:
        """What there is beyond the channels shown, and the keys."""
        layer = self.layer
        data = self.links.to(f"data/{self.atlas.network}/{layer.name}.json", self.path)
        hidden = layer.channels - layer.shown
        rest = ""
        if hidden > 0:
            rest = (
                '<p class="rest"><button type="button" hidden>Show all '
                f"{layer.channels:,} channels as a table</button></p>"
            )
        return (
            f"<footer>{rest}<p>All {layer.channels:,} channels of {escaped(layer.name)} as data: "
            f'<a href="{data}" download>{escaped(layer.name)}.json</a>.</p>'
            f"{self._placeholders()}<p>Keys: <kbd>j</kbd> and <kbd>k</kbd> go to the next and "
            "the previous channel, <kbd>o</kbd> unfolds it, <kbd>]</kbd> and <kbd>[</kbd> change "
            "the layer.</p>"
            f"<p>{escaped(self.atlas.pictures.notice)}</p></footer>"
        )

    def _placeholders(self) -> str:
        """What stands for what in the commands of the book's networks."""
        record = self.atlas.record
        if " --images " in str(record.get("command", "")):
            return ""
        name = escaped(record.get("model") or self.atlas.network)
        train = f"internals train {name} --profile {escaped(record.get('profile', 'quick'))}"
        return (
            f"<p>In the commands, WEIGHTS is the file that <code>{train}</code> stores, and "
            f"PICTURES a folder with these {len(self.atlas.pictures.files):,} pictures.</p>"
        )


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
            _select("network", "Network", [(a.network, _title(a)) for a in atlases], "any")
        )
    fields.append('<label>Layer <input name="layer" size="8" placeholder="any"></label>')
    if classes:
        fields.append(_select("class", "Class", [(name, name) for name in classes], "any"))
        fields.append(
            _select("by", "counted", [("fires", "in what it fires on")], "among the nine")
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
                "title": _title(atlas),
                "classes": list(atlas.pictures.classes),
                "overview": quote(f"{atlas.network}/overview.webp"),
                "layers": main,
            }
        )
        for at, layer in enumerate(atlas.main):
            for channel in range(layer.shown):
                labels = [atlas.pictures.labels[image] for image in layer.image[channel]]
                fires = [] if layer.fires is None else layer.fires[channel].tolist()
                value = float(f"{layer.value[channel, 0]:.3g}")
                channels.append([n, at, channel, value, labels, fires])
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
    name = f"{escaped(_title(tile.atlas))}<br>{_breakable(tile.layer.name)}, {tile.channel}"
    return f'<li><a href="{prefix}{links.to(path, "", str(tile.channel))}">{name}</a></li>'


# Words


def escaped(words: object) -> str:
    """Any words as HTML, also within an attribute."""
    return html.escape(str(words), quote=True)


def _breakable(name: str) -> str:
    """A module path that may be broken after its dots."""
    return escaped(name).replace(".", ".<wbr>")


def _title(atlas: Atlas) -> str:
    return str(atlas.record.get("title") or atlas.network)


def _short(file: str) -> str:
    """What tells a picture from others of its class: 10103 of n03028079_10103.JPEG."""
    stem = PurePath(file).stem
    last = stem.replace("_", " ").rpartition(" ")[2]
    return last if last.isdecimal() else stem


def _file(name: str) -> str:
    return escaped(name).replace("_", "_<wbr>")


def _kind(layer: AtlasLayer) -> str:
    words = escaped(layer.kind).replace(" x ", " × ")
    return words[:1].upper() + words[1:]


def _field(layer: AtlasLayer) -> str:
    if layer.field is None:
        return "unknown"
    height, width = layer.field["size"]
    return f"{height} × {width}"


def _seen(layer: AtlasLayer, *, sentence: bool = False) -> str:
    """What a unit of the layer sees."""
    if layer.field is None or layer.whole:
        return "A unit sees the whole picture." if sentence else "whole pictures"
    if not sentence:
        return f"field {_field(layer)}"
    return f"A unit sees {_field(layer)} pixels."


def _extent(atlas: Atlas) -> str:
    """How much of a network is shown, and how good it is."""
    every = sum(layer.channels for layer in atlas.layers.values())
    shown = sum(layer.shown for layer in atlas.main)
    extent = f"{shown:,} of {every:,} channels" if shown < every else f"All {every:,} channels"
    layers = f"{extent} in {len(atlas.main)} layer{'s' * (len(atlas.main) > 1)}"
    score = _score(atlas.record)
    if score:
        return f"{layers}. Test score {score}."
    return f"{layers}.{' Its weights are random.' if atlas.record.get('random') else ''}"


def _score(record: Mapping[str, Any]) -> str | None:
    score = record.get("score")
    return f"{percent(score['top1'])} of {score['images']:,} images" if score else None


def project_command(atlas: Atlas, layer: AtlasLayer, channel: int) -> str:
    """The command that draws one channel's panel again.

    An own network's pictures and weights are known by their paths; the book's are named in words.
    """
    record = atlas.record
    made = str(record.get("command", ""))
    if " --images " in made:
        words = [made.replace("internals atlas ", "internals project ", 1)]
    else:
        words = [f"internals project {record.get('model') or atlas.network}"]
        words += ["--weights WEIGHTS --images PICTURES"]
    words += [f"--layer {layer.name} --channels {channel}"]
    words += [f"--{name} {value}" for name, value in record["rules"].items() if value]
    words += [f"--k {record['k']}"] if record["k"] != _COLUMNS else []
    return " ".join([*words, f"--out {layer.name}-{channel}.png"])


def _percent(part: int, whole: int) -> str:
    """A whole percentage; 0 % and 100 % only where they are exact."""
    if whole == 0 or part in (0, whole):
        return "100 %" if part and whole else "0 %"
    return f"{min(99, max(1, round(100 * part / whole)))} %"


def _bar(name: str, part: int, whole: int) -> str:
    share = round(100 * part / max(1, whole))
    return f'<li style="--v:{share}">{escaped(name)} <b>{_percent(part, whole)}</b></li>'


def _clip(inset: Sequence[int], tile: Sequence[int]) -> str:
    """What of a tile lies outside the image, cut off so that the page's paper is seen there."""
    if not any(inset):
        return ""
    sides = (tile[0], tile[1], tile[0], tile[1])
    cut = " ".join(f"{100 * width / side:.3g}%" for width, side in zip(inset, sides, strict=True))
    return f";clip-path:inset({cut})"


def _crumbs(crumbs: Sequence[tuple[str, str]]) -> str:
    if not crumbs:
        return ""
    steps = "".join(f'<a href="{address}">{escaped(words)}</a>' for words, address in crumbs)
    return f'<nav class="crumbs" aria-label="Above this page">{steps}</nav>'
