"""The outputs of a chapter's cells, made ready to store: streams tidied, pictures in files.

A chapter hands its figures, tables and metrics over under private MIME types. Pictures are stored
as WebP, lossless where that costs little.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from internals.environment import cores
from internals.errors import ChapterError
from internals.figures import sheets
from internals.files import write_atomically

# {name, caption, alt, width, height}; of a sheet of tiles also {sheet}, with which it is labelled
FIGURE = "application/vnd.internals.figure+json"
DARK = "application/vnd.internals.dark+png"  # the figure drawn for dark paper, base64
TABLE = "application/vnd.internals.table+json"  # {name, caption}
FINDING = "application/vnd.internals.finding+json"  # {sentence, holds}
METRICS = "application/vnd.internals.metrics+json"  # {name: number or text}

ELSEWHERE = "(This run does not show it.)"  # after a finding that does not hold

# Pictures have twice the pixels of their place on the page, so this much loss is not seen.
_LOSSY_QUALITY, _ALPHA_QUALITY = 34, 60
_SHEET_QUALITY = 55  # of photographs, which are shown at about their own size
_LOSSY_METHOD = 5  # method 6 takes ten times as long for a file a tenth smaller
_LARGEST_RATIO = 1.4  # of lossless to lossy at which lossless is still chosen
_SAMPLED_ROWS = 512  # from the middle, on which the two are compared


def to_webp(png: bytes) -> bytes:
    """Convert a PNG to WebP, lossless unless that would be much larger than lossy.

    Nearly all of the time is spent outside Python's lock, so threads run in parallel.
    """
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        top = max(0, (picture.height - _SAMPLED_ROWS) // 2)
        sample = picture.crop((0, top, picture.width, min(picture.height, top + _SAMPLED_ROWS)))
        lossless = len(_encode(sample, True)) <= _LARGEST_RATIO * len(_encode(sample, False))
        return _encode(picture, lossless)


def _encode(picture: Image.Image, lossless: bool) -> bytes:
    file = io.BytesIO()
    if lossless:
        picture.save(file, "WEBP", lossless=True, quality=30, method=2)
    else:
        picture.save(
            file,
            "WEBP",
            quality=_LOSSY_QUALITY,
            alpha_quality=_ALPHA_QUALITY,
            method=_LOSSY_METHOD,
        )
    return file.getvalue()


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")
_STORED = ("text/markdown", "text/plain", FIGURE, TABLE, FINDING)


@dataclass
class Extracted:
    """What was taken from a notebook's outputs.

    Attributes:
        names: The names of its figures and tables.
        metrics: The results that the chapter recorded.
        stderr: File and line of each cell that wrote to stderr, and what it wrote.
    """

    names: set[str] = field(default_factory=set)
    metrics: dict[str, Any] = field(default_factory=dict)
    stderr: list[tuple[str, str]] = field(default_factory=list)


def extract_outputs(notebook: Any, folder: Path, places: Sequence[str]) -> Extracted:
    """Tidy every output of a notebook in place and write its pictures as files.

    Args:
        notebook: The executed notebook.
        folder: The folder for the pictures.
        places: File and line of each cell, for messages.

    Raises:
        ChapterError: A picture has no caption and alt text, or a name is used twice.
    """
    extracted = Extracted()
    pictures: dict[Path, _Picture] = {}
    for place, cell in zip(places, notebook.cells, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs = [
            stored
            for output in tidy(cell.outputs)
            if (stored := _extract(output, place, folder, extracted, pictures))
        ]
        extracted.stderr += [(place, o.text) for o in cell.outputs if o.get("name") == "stderr"]
        cell.metadata.pop("execution", None)
    with ThreadPoolExecutor(cores()) as pool:
        # As a list, so that the first failure is raised and later pictures are not begun.
        list(pool.map(_write, pictures, pictures.values()))
    return extracted


def tidy(outputs: list[Any]) -> list[Any]:
    """Merge streams, apply carriage returns, drop colour codes and empty streams."""
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


def _extract(
    output: Any, place: str, folder: Path, extracted: Extracted, pictures: "dict[Path, _Picture]"
) -> Any | None:
    """The output as it is stored; None for one that only carried metrics."""
    if output.output_type not in ("display_data", "execute_result"):
        return output
    data = output.data
    extracted.metrics.update(data.pop(METRICS, {}))
    if texts := data.get(FIGURE) or data.get(TABLE):
        if texts["name"] in extracted.names:
            raise ChapterError(f"{place}: shows a second picture or table {texts['name']!r}")
        extracted.names.add(texts["name"])
    if FIGURE in data:
        pictures.update(_pop_pictures(data, folder))
    elif any(mime.startswith("image/") for mime in data):
        raise ChapterError(
            f"{place}: displays a picture without caption and alt text; "
            "use show(illustration, name)"
        )
    output.data = {mime: value for mime, value in data.items() if mime in _STORED and value}
    output.metadata = {}
    return output if output.data else None


@dataclass(frozen=True)
class _Picture:
    """A picture as it was handed over: a PNG in base64, and what is told of it if it is a sheet."""

    png: str
    sheet: Mapping[str, Any] | None

    def webp(self) -> bytes:
        png = base64.b64decode(self.png)
        if self.sheet is None:
            return to_webp(png)
        tile, grey = self.sheet["tile"], all(row["colours"] == 1 for row in self.sheet["rows"])
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        return sheets.to_webp(pixels, tile, _SHEET_QUALITY, grey=grey)


def picture_files(texts: Mapping[str, Any]) -> dict[str, str]:
    """The files that hold a figure, by the MIME type under which it is handed over.

    Args:
        texts: What is known of the figure. A sheet of tiles has no dark twin.
    """
    files = {"image/png": f"{texts['name']}.webp", DARK: f"{texts['name']}-dark.webp"}
    return {"image/png": files["image/png"]} if "sheet" in texts else files


def _pop_pictures(data: Any, folder: Path) -> dict[Path, _Picture]:
    """The figure's pictures by file; a Markdown link takes their place, which Jupyter shows too."""
    texts = data[FIGURE]
    alt = texts["alt"].replace("[", "(").replace("]", ")").replace("\n", " ")
    link = f"![{alt}]({texts['name']}.webp)\n\n{texts['caption']}"
    sheet = texts.get("sheet")
    data["text/markdown"] = f"{link}\n\n{_labels(sheet)}" if sheet else link
    data.pop("text/plain", None)
    files = picture_files(texts).items()
    return {folder / file: _Picture(data.pop(mime), sheet) for mime, file in files}


def _labels(sheet: Mapping[str, Any]) -> str:
    """What a page writes beside the tiles, as a table: a channel a row."""
    places = max((len(row["units"]) for row in sheet["rows"]), default=0)
    rows = [["", *map(str, range(1, places + 1))], ["---"] * (places + 1)]
    for row in sheet["rows"]:
        cells = [f"{unit['value']} {unit['class']} #{unit['image']}" for unit in row["units"]]
        name = f"{sheet['noun']} {row['channel']}"
        rows.append([name, *(cells or ["never fires on these images"])])
    return "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in rows)


def _write(path: Path, picture: _Picture) -> None:
    write_atomically(path, picture.webp())
