"""The page of a layer: every shown channel, and what is known of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from internals.atlas.addresses import PART, Links, Page, layer_path, sheet_path
from internals.atlas.stored import Atlas, AtlasLayer, Neighbour
from internals.atlas.words import (
    bar_html,
    breakable,
    clip_style,
    crumbs_html,
    escaped,
    file_name,
    kind_words,
    project_command,
    seen_words,
    short_name,
    title_of,
    whole_percent,
)
from internals.figures.sheet_html import COLUMNS, opening_tag, pairs_html
from internals.figures.table import number

_DISPLAY = 64  # pixels: smaller tiles are enlarged by a whole factor that stays within it
_MOST_CLASSES = 10  # bars of a histogram


def layer_page(
    atlases: Sequence[Atlas], atlas: Atlas, place: int, first: int, links: Links
) -> Page:
    """The page of a layer's channels from `first` on.

    Args:
        atlases: All, among which its channels have neighbours.
        atlas: The network's.
        place: The layer's, among those that are drawn.
        first: The first channel on the page.
        links: How pages are addressed.
    """
    layer = atlas.main[place]
    path = layer_path(atlas.network, layer.name, first)
    title = title_of(atlas)
    channels = range(first, min(first + PART, layer.shown))
    crumbs = [] if links.alone else [("Atlas", links.to("", path))]
    crumbs.append((title, links.to(links.network(atlas), path)))
    view = _LayerView(atlases, atlas, layer, path, links)
    content = "\n".join(
        [
            f'<div class="atlas layer{view.plain()}" {view.attributes()}>',
            view.style(),
            crumbs_html(crumbs),
            f"<h1>{breakable(layer.name)}</h1>",
            f'<p class="lead">{kind_words(layer)}. {view.summary()}</p>',
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
        bars = self.layer.excited is not None and self.atlas.pictures.classes
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
        if self._k != COLUMNS:  # on which sheets.css counts
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
            f"{seen_words(layer, sentence=True)}"
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
        """One channel: its nine pairs, what excites it, and folded the rest."""
        pairs = ""
        if not self.layer.silent(channel, 0):
            pairs = pairs_html(list(self._pairs(channel)), channel, f"channel {channel}")
        return (
            f'<section id="{channel}" data-channel="{channel}" tabindex="-1" '
            f'style="--at:{channel}" aria-label="Channel {channel}">'
            f'<header><h2><a href="#{channel}">Channel {channel}</a></h2>{self._gist(channel)}'
            "</header>"
            f'<div class="row">{pairs}</div>{self._excited(channel)}{self._optimised(channel)}'
            f"{self._more(channel)}</section>"
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
        every = len(self.atlas.pictures.files)
        if layer.fires is not None:
            fired = int(layer.fires[channel].sum())
            said.append(f"fires in {whole_percent(fired, every)} of pictures")
        if (excited := layer.excitement(channel)) is not None:
            share = whole_percent(int(excited.sum()), every)
            said.append(f"reaches half of its strongest in {share}")
        return f"<p>{'; '.join(said)}</p>" if said else ""

    def _pairs(self, channel: int) -> Iterator[dict[str, Any]]:
        layer, pictures = self.layer, self.atlas.pictures
        for place, image in enumerate(layer.image[channel]):
            unit: dict[str, Any] = {
                "class": number(float(layer.value[channel, place])),
                "value": "",
                "image": short_name(pictures.files[image]),
            }
            if pictures.classes:
                name = pictures.classes[pictures.labels[image]]
                unit |= {"class": name, "value": unit["class"]}
            if layer.silent(channel, place):
                unit["silent"] = True
            if any(inset := layer.inset(channel, place)):
                unit["inset"] = inset
            yield unit

    def _excited(self, channel: int) -> str:
        """Bars: the share of each class's pictures in which it reaches half of its strongest."""
        classes = self.atlas.pictures.classes
        excited = self.layer.excitement(channel)
        if excited is None or not classes:
            return ""
        counts = np.bincount(self.atlas.pictures.labels, minlength=len(classes))
        shown = list(range(len(classes)))
        if len(classes) > _MOST_CLASSES:
            rates = excited / np.maximum(counts, 1)
            shown = sorted(np.argsort(-rates, kind="stable")[:_MOST_CLASSES].tolist())
        bars = "".join(bar_html(classes[n], int(excited[n]), int(counts[n])) for n in shown)
        return (
            f'<ul class="excited" aria-label="Reaches half of its strongest, by class">{bars}</ul>'
        )

    def _more(self, channel: int) -> str:
        parts = [
            self._where(channel),
            self._files(channel),
            self._control(channel),
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
        unit = f"Strongest in {file_name(self.atlas.pictures.files[layer.image[channel, 0]])}"
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
        names = (file_name(self.atlas.pictures.files[image]) for image in self.layer.image[channel])
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
            f'<li><i class="z" style="--c:{place}'
            f'{clip_style(layer.inset(channel, place), layer.tile)}"></i></li>'
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
            '<p class="optimised"><i class="o"></i><span>Made from noise to drive the unit in the '
            f"middle of the map: it reaches {number(self.layer.optimised[channel])}. The network "
            "has never seen such a picture, and another seed gives another.</span></p>"
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
        title = title_of(other) if other else network
        words = f"{escaped(title)} {escaped(layer)} {channel}"
        found = other.layers.get(layer) if other else None
        if found and channel < found.shown:
            address = self.links.to(layer_path(network, layer, channel), self.path, str(channel))
            words = f'<a href="{address}">{words}</a>'
        return f"{words} ({correlation:.2f})"

    def _reproduce(self, channel: int) -> str:
        record = self.atlas.record
        cited = (
            f"CNN Internals, {title_of(self.atlas)}, {self.layer.name}, channel {channel}, "
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
            f"{self._needed()}<p>Keys: <kbd>j</kbd> and <kbd>k</kbd> go to the next and "
            "the previous channel, <kbd>o</kbd> unfolds it, <kbd>]</kbd> and <kbd>[</kbd> change "
            "the layer.</p>"
            f"<p>{escaped(self.atlas.pictures.notice)}</p></footer>"
        )

    def _needed(self) -> str:
        """What has to be there before the commands of the book's networks can be run."""
        record = self.atlas.record
        if " --images " in str(record.get("command", "")):
            return ""
        train = f"internals train {self.atlas.network} --profile {record.get('profile', 'quick')}"
        return (
            f"<p>The commands look into the network that <code>{escaped(train)}</code> trains, and "
            f"at the first {len(self.atlas.pictures.files):,} pictures that it learns from.</p>"
        )
