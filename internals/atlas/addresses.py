"""Pages of the atlas without their frame, and how they address each other."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from internals.atlas.stored import Atlas, AtlasLayer

PART = 128  # channels on a page: more of them would weigh more than 40 KB


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
