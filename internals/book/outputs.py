"""What a chapter's cells gave out, made ready to keep: streams tidied, pictures in files."""

import base64
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from internals.environment import cores
from internals.errors import ChapterError
from internals.files import write_atomically

FIGURE = "application/vnd.internals.figure+json"  # {name, caption, alt, width, height}
DARK = "application/vnd.internals.dark+png"  # the figure drawn for dark paper, base64
TABLE = "application/vnd.internals.table+json"  # {name, caption}
METRICS = "application/vnd.internals.metrics+json"  # {name: number or text}


# At twice the pixels of the page the eye finds no loss.
_LOSSY_QUALITY, _ALPHA_QUALITY = 34, 60
_LOSSY_METHOD = 5  # the last, 6, takes ten times as long for a file a tenth smaller
_WORTH = 1.4  # lossless may be this much larger than lossy before lossy is chosen
_SAMPLED = 512  # rows from the middle that decide it


def to_webp(png: bytes) -> bytes:
    """The PNG as WebP: lossless unless that is much larger than lossy.

    Other threads run meanwhile: nearly all of the time is spent outside Python.
    """
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        top = max(0, (picture.height - _SAMPLED) // 2)
        sample = picture.crop((0, top, picture.width, min(picture.height, top + _SAMPLED)))
        lossless = len(_saved(sample, True)) <= _WORTH * len(_saved(sample, False))
        return _saved(picture, lossless)


def _saved(picture: Image.Image, lossless: bool) -> bytes:
    out = io.BytesIO()
    if lossless:
        picture.save(out, "WEBP", lossless=True, quality=30, method=2)
    else:
        picture.save(
            out,
            "WEBP",
            quality=_LOSSY_QUALITY,
            alpha_quality=_ALPHA_QUALITY,
            method=_LOSSY_METHOD,
        )
    return out.getvalue()


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")
_KEPT = ("text/markdown", "text/plain", FIGURE, TABLE)


@dataclass
class Harvest:
    """What left the notebook: names of pictures and tables, metrics, what went to stderr."""

    names: set[str] = field(default_factory=set)
    metrics: dict[str, Any] = field(default_factory=dict)
    stderr: list[tuple[str, str]] = field(default_factory=list)


def harvest(notebook: Any, folder: Path, places: Sequence[str]) -> Harvest:
    """Tidy every output of `notebook` in place and write its pictures into `folder`.

    `places` says where each cell stands, as file and line. Raises `ChapterError` for a picture
    without caption and alt text, or a name used twice.
    """
    found = Harvest()
    pictures: dict[Path, str] = {}
    for place, cell in zip(places, notebook.cells, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs = [
            kept for o in tidy(cell.outputs) if (kept := _keep(o, place, folder, found, pictures))
        ]
        found.stderr += [(place, o.text) for o in cell.outputs if o.get("name") == "stderr"]
        cell.metadata.pop("execution", None)
    with ThreadPoolExecutor(cores()) as pool:
        # Drained, so that a failure shows; after one the other pictures are not begun.
        list(pool.map(_write, pictures, pictures.values()))
    return found


def tidy(outputs: list[Any]) -> list[Any]:
    """Streams merged, carriage returns applied, colour codes and empty chunks dropped."""
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            output.text = _ANSI.sub("", _OVERWRITTEN.sub("", output.text))
        elif output.output_type == "error":
            output.traceback = [_ANSI.sub("", line) for line in output.traceback]
    return [o for o in merged if o.output_type != "stream" or o.text.strip()]


def _keep(
    output: Any, place: str, folder: Path, found: Harvest, pictures: dict[Path, str]
) -> Any | None:
    """The output as it is stored, or None for one that only carried metrics."""
    if output.output_type not in ("display_data", "execute_result"):
        return output
    data = output.data
    found.metrics.update(data.pop(METRICS, {}))
    if words := data.get(FIGURE) or data.get(TABLE):
        if words["name"] in found.names:
            raise ChapterError(f"{place}: shows a second picture or table {words['name']!r}")
        found.names.add(words["name"])
    if FIGURE in data:
        pictures.update(_taken_out(data, folder))
    elif any(mime.startswith("image/") for mime in data):
        raise ChapterError(
            f"{place}: displays a picture without caption and alt text; "
            "use show(illustration, name)"
        )
    output.data = {mime: value for mime, value in data.items() if mime in _KEPT and value}
    output.metadata = {}
    return output if output.data else None


def _taken_out(data: Any, folder: Path) -> dict[Path, str]:
    """The figure's pictures by file; what stays is a Markdown link, which Jupyter reads too."""
    words = data[FIGURE]
    alt = words["alt"].replace("[", "(").replace("]", ")").replace("\n", " ")
    data["text/markdown"] = f"![{alt}]({words['name']}.webp)\n\n{words['caption']}"
    data.pop("text/plain", None)
    return {
        folder / f"{words['name']}{suffix}.webp": data.pop(mime)
        for mime, suffix in (("image/png", ""), (DARK, "-dark"))
    }


def _write(path: Path, png: str) -> None:
    """Keep one picture, given as PNG in base64."""
    write_atomically(path, to_webp(base64.b64decode(png)))
