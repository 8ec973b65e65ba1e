"""Sheets of tiles on a page: for each channel its pairs, cut from the sheet and labelled in HTML.

The page's part is `assets/sheets.css`, which places each tile by its number in the list, and
`assets/sheets.js`, which cuts the sheet once the browser has fetched it and opens a pair large.
Plain strings from plain data, so that a page can be made wherever that was stored.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from internals.figures.table import MINUS

ASSETS = Path(__file__).parent / "assets"
STYLE, SCRIPT = "sheets.css", "sheets.js"  # in ASSETS
COLUMNS = 9  # tiles in a row of every sheet; sheets.css counts on it
_SHARP = 32  # pixels: smaller tiles are enlarged without smoothing
_SMALL = 16  # pixels: these are enlarged by whole CSS pixels, larger ones by half ones


def sheet_html(
    sheet: Mapping[str, Any], pictures: str, *, separate: bool = False, attributes: str = ""
) -> str:
    """All channels of a sheet, with the pictures that their tiles are cut from.

    Args:
        sheet: The `data` of a `Sheet`: `tile`, `lines`, `stacked`, `noun` and `rows`.
        pictures: The `img` of the sheet, or its Markdown; of the projections and of the patches,
            in this order, where they are two.
        separate: Whether projections and patches are sheets of their own. In one sheet, each line
            of projections stands above the line of their patches.
        attributes: More attributes of the element.
    """
    return (
        f"{opening_tag(sheet, separate=separate, attributes=attributes)}\n{pictures}\n"
        f"{rows_html(sheet)}\n</div>"
    )


def opening_tag(sheet: Mapping[str, Any], *, separate: bool = False, attributes: str = "") -> str:
    """The start tag of the element that holds pictures and rows: what is known of all tiles."""
    height, width = sheet["tile"]
    side = max(height, width)
    classes = ["sheet", "stacked" if sheet["stacked"] else "beside"]
    classes += ["separate"] * separate + ["sharp"] * (side <= _SHARP)
    step = 1 if side > _SHARP else width if side <= _SMALL else width / 2
    style = f"--w:{width};--h:{height};--lines:{sheet['lines']};--step:{step:g}px"
    more = f" {attributes}" if attributes else ""
    return f'<div class="{" ".join(classes)}" style="{style}"{more}>'


def rows_html(sheet: Mapping[str, Any]) -> str:
    """The channels of a sheet, one below the other, and the key to what has to be explained."""
    parts, line = [], 0
    for row in sheet["rows"]:
        parts.append(row_html(row, line, noun=sheet["noun"]))
        line += pair_lines(len(row["units"]))
    units = [unit for row in sheet["rows"] for unit in row["units"]]
    parts.append(key_html(outside=any("inset" in unit for unit in units)))
    rows = "\n".join(parts)
    return f'<div class="sheet-rows" data-search-exclude>\n{rows}\n</div>'


def row_html(row: Mapping[str, Any], line: int, *, noun: str = "channel", heading: str = "") -> str:
    """One channel: its name, the scale of its projections, and its pairs.

    Args:
        row: `channel`, `colours`, `scale`, `exceeded` and `units`.
        line: The line of pairs in the sheet with which the row begins.
        noun: What a channel is called.
        heading: HTML in the place of "channel 7".
    """
    name = f"{noun} {row['channel']}"
    heading = heading or f"<b>{html.escape(name)}</b>"
    if not row["units"]:
        return (
            f'<p class="sheet-row">{heading}</p>\n<p class="never">never fires on these images</p>'
        )
    legend = ramp_html(row["scale"], colours=row["colours"], exceeded=row["exceeded"])
    return f'<p class="sheet-row">{heading} {legend}</p>\n{pairs_html(row["units"], line, name)}'


def ramp_html(scale: str | None, *, colours: int = 3, exceeded: bool = False) -> str:
    """The ramp of a signed scale, its two ends named.

    Args:
        scale: The magnitude that has full ink, as it is written; None where all is zero.
        colours: 3 for colours, 1 for signed tones.
        exceeded: Whether there are larger magnitudes, which have full ink as well.
    """
    if scale is None:
        return '<span class="ramp">0 everywhere</span>'
    least, most = ("≤ ", "≥ ") if exceeded else ("", "")
    tones = ' class="tones"' if colours == 1 else ""
    return f'<span class="ramp">{least}{MINUS}{scale} <i{tones}></i> {most}+{scale}</span>'


def pairs_html(units: Sequence[Mapping[str, Any]], line: int, name: str) -> str:
    """The pairs of one channel as a list, the strongest first.

    Args:
        units: Each with `class`, `value` and `image`, a number or a name; where they apply with
            `silent` and with `inset`, what lies outside the image: top, right, bottom, left, in
            pixels of the tile.
        line: The line of pairs in the sheet with which they begin.
        name: What the list is of.
    """
    items = "\n".join(_pair_html(unit, place // COLUMNS) for place, unit in enumerate(units))
    label = html.escape(name)
    return f'<ol class="pairs" style="--y:{line}" aria-label="{label}">\n{items}\n</ol>'


def _pair_html(unit: Mapping[str, Any], further: int) -> str:
    # Hundreds of these stand on a page: no element and no attribute that could be left out.
    inset = zip("trbl", unit.get("inset", ()), strict=False)
    style = [f"--{side}:{width}" for side, width in inset if width]
    style += [f"--f:{further}"] * (further > 0)
    attributes = ' class="silent"' if unit.get("silent") else ""
    attributes += f' style="{";".join(style)}"' if style else ""
    image = unit["image"]
    name = f"#{image}" if isinstance(image, int) else image
    words = html.escape(f"{unit['class']}\n{unit['value']} {name}", quote=False)
    return f"<li{attributes}>{words}</li>"


def key_html(*, outside: bool) -> str:
    """What the two pictures of each pair are, and what the paper tone means where it occurs."""
    paper = ' <span class="outside">outside the image</span>' if outside else ""
    return f'<p class="key">first the projection, then the patch it comes from{paper}</p>'


def pair_lines(units: int) -> int:
    """How many lines of pairs a row of so many units takes in a sheet."""
    return -(-units // COLUMNS)
