"""The same chapter as a script, cell by cell in a notebook, and executed for the book."""

import argparse
import base64
import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from internals.book.layout import DATA_MODES, PROFILES, Layout
from internals.book.outputs import DARK, FIGURE, METRICS, TABLE
from internals.errors import ChapterError, InternalsError
from internals.figures.table import Table
from internals.files import write_atomically

if TYPE_CHECKING:
    from internals.figures.illustration import Illustration

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SCALE = 2  # device pixels drawn for each logical pixel
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "profile": {
        "choices": PROFILES,
        "help": "smoke (seconds), quick (minutes, the default) or full (the published edition)",
    },
    "data": {
        "choices": DATA_MODES,
        "help": "auto (real data, else the embedded stand-in), real, or embedded",
    },
    "seed": {"type": int, "help": "seed of every random choice (default 0)"},
}


@dataclass(frozen=True)
class Chapter:
    """How the chapter is run: its name, profile, data mode and seed."""

    name: str
    profile: str
    data: str
    seed: int

    @property
    def most_images(self) -> int | None:
        """How many images of each split are enough: a few at smoke, all (None) else."""
        return 240 if self.profile == "smoke" else None

    def record(self, **metrics: float | int | str) -> None:
        """Publish named results; `internals execute` keeps them in the chapter's `run.json`."""
        if _executing():
            _publish({METRICS: metrics})


@dataclass
class _Session:
    """What `show` remembers between two calls: the chapter, and the order of its figures."""

    chapter: Chapter | None = None
    figures: list[str] = field(default_factory=list)


_session = _Session()


def open_chapter() -> Chapter:
    """Say how this chapter is run: from the command line, else from the environment.

    `INTERNALS_PROFILE`, `INTERNALS_DATA_MODE` and `INTERNALS_SEED` hold outside a script. Raises
    `ChapterError` where one of them has a value that is not allowed.
    """
    script = _running_script()
    if script:
        sys.excepthook = _report
    chosen = _from_environment()
    if script:
        chosen |= _from_command_line(script, chosen)
    chapter = Chapter(name=_name(script), **chosen)
    _session.chapter, _session.figures = chapter, []
    return chapter


def show(what: "Illustration | Table", name: str) -> None:
    """Show a figure or table under `name`, its anchor and file name: `fig-NAME` or `tab-NAME`.

    A script saves the picture and says where; a notebook displays it with its caption; executed
    for the book it goes to the page. Raises `ChapterError` for a name no anchor can have.
    """
    if not _NAME.fullmatch(name):
        raise ChapterError(
            f"cannot show under the name {name!r}; use lower-case words joined by hyphens"
        )
    if isinstance(what, Table):
        _show_table(what, name)
    else:
        _show_figure(what, name)


def _show_figure(illustration: "Illustration", name: str) -> None:
    if name not in _session.figures:
        _session.figures.append(name)
    number = _session.figures.index(name) + 1
    dpi = round(illustration.figure.dpi * _SCALE)
    light = illustration.render("light", dpi=dpi)
    if not _in_kernel():
        path = _save(_on_white(light), name, number)
        print(f"Figure {number}: {path}\n  {illustration.caption}\n")
        return
    width, height = (side // _SCALE for side in _png_size(light))
    size = {"width": width, "height": height}
    if _executing():
        words = {"name": name, "caption": illustration.caption, "alt": illustration.alt}
        pictures = {
            "image/png": base64.b64encode(light).decode(),
            DARK: base64.b64encode(illustration.render("dark", dpi=dpi)).decode(),
        }
        _publish({FIGURE: {**words, **size}, **pictures})
        return
    picture = base64.b64encode(_on_white(light)).decode()
    _publish({"image/png": picture, "text/plain": illustration.alt}, {"image/png": size})
    _publish({"text/markdown": f"*Figure {number}.* {illustration.caption}"})


def _show_table(table: "Table", name: str) -> None:
    if not _in_kernel():
        print(f"{table.text()}\n  {table.caption}\n")
    elif _executing():
        words = {"name": name, "caption": table.caption}
        _publish({TABLE: words, "text/markdown": table.markdown(), "text/plain": table.text()})
    else:
        _publish(
            {"text/markdown": f"{table.markdown()}\n\n{table.caption}", "text/plain": table.text()}
        )


def _publish(data: Mapping[str, object], metadata: Mapping[str, object] | None = None) -> None:
    from IPython.display import display

    display({"text/plain": "", **data}, metadata=metadata or {}, raw=True)


def _save(png: bytes, name: str, number: int) -> Path:
    """Write the picture into the chapter's folder; an earlier run's file by that name goes."""
    chapter = _session.chapter or open_chapter()
    folder = Layout.here().build(chapter.profile) / "figures" / chapter.name
    path = folder / f"{number:02}-{name}.png"
    write_atomically(path, png)
    for old in [*folder.glob(f"[0-9][0-9]-{name}.png"), *folder.glob(f"{number:02}-*.png")]:
        if old != path:
            old.unlink(missing_ok=True)
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _on_white(png: bytes) -> bytes:
    """The picture on white paper: a viewer's own background may be dark."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        inked = picture.convert("RGBA")
    paper = Image.new("RGBA", inked.size, "white")
    paper.alpha_composite(inked)
    out = io.BytesIO()
    paper.convert("RGB").save(out, "PNG")
    return out.getvalue()


def _png_size(png: bytes) -> tuple[int, int]:
    """Width and height in device pixels, from the PNG's header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _in_kernel() -> bool:
    """Whether IPython runs this code and can display pictures."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def _executing() -> bool:
    return os.environ.get("INTERNALS_EXECUTING") == "1" and _in_kernel()


def _running_script() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file) if file and not _in_kernel() else None


def _name(script: Path | None) -> str:
    """The chapter's name: its file's, as told by whoever runs it."""
    if script:
        return script.stem
    told = os.environ.get("INTERNALS_CHAPTER") or os.environ.get("JPY_SESSION_NAME") or "chapter"
    return Path(told).stem


def _from_environment() -> dict[str, Any]:
    def allowed(variable: str, default: str, choices: tuple[str, ...]) -> str:
        value = os.environ.get(variable) or default
        if value not in choices:
            raise ChapterError(f"{variable}={value} is not one of {', '.join(choices)}")
        return value

    seed = os.environ.get("INTERNALS_SEED") or "0"
    if not seed.lstrip("-").isdecimal():
        raise ChapterError(f"INTERNALS_SEED={seed} is not a whole number")
    return {
        "profile": allowed("INTERNALS_PROFILE", "quick", PROFILES),
        "data": allowed("INTERNALS_DATA_MODE", "auto", DATA_MODES),
        "seed": int(seed),
    }


def _from_command_line(script: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Read `--profile`, `--data`, `--seed`; a usage error ends the program with status 2."""
    parser = argparse.ArgumentParser(
        prog=f"python {script}",
        description=f"Run the chapter {script.stem}: figures go to build/<profile>/figures, "
        "tables and text to the terminal.",
    )
    for name, options in _ARGUMENTS.items():
        parser.add_argument(f"--{name}", default=defaults[name], **options)
    return vars(parser.parse_args())


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End a script on one line for an expected error; anything else keeps its traceback."""
    if issubclass(kind, InternalsError):
        print(f"error: {error}", file=sys.stderr)
        return
    sys.__excepthook__(kind, error, trace)
