"""What a chapter calls: how it is run, and how it shows its figures and tables.

The same chapter runs as a script, cell by cell in a notebook, and executed for the book. As a
script it saves figures and prints; in a notebook it displays them; executed, it hands them over
under private MIME types (`internals.book.outputs`).
"""

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
from typing import TYPE_CHECKING, Any, TypeVar, overload

from internals.book.layout import DATA_MODES, LARGEST_SEED, PROFILES, PUBLISHED, Layout
from internals.book.outputs import DARK, ELSEWHERE, FIGURE, FINDING, METRICS, TABLE
from internals.errors import ChapterError, InternalsError
from internals.figures.table import Table, with_minus
from internals.files import write_atomically

if TYPE_CHECKING:
    from internals.figures.illustration import Illustration
    from internals.figures.sheets import Sheet

Value = TypeVar("Value")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SMOKE_IMAGES = 240  # of each split
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
    """How a chapter is run.

    Attributes:
        name: The name of its file, such as `01_lenet5`.
        profile: "smoke", "quick" or "full".
        data: "auto" (real data, else the embedded stand-in), "real" or "embedded".
        seed: The seed of every random choice.
    """

    name: str
    profile: str
    data: str
    seed: int

    @property
    def most_images(self) -> int | None:
        """The number of images to load of each split: a few at smoke, else all (None)."""
        return self.at(smoke=_SMOKE_IMAGES, quick=None)

    @overload
    def at(self, *, smoke: Value, quick: Value, full: Value) -> Value: ...

    @overload
    def at(self, *, smoke: Value, quick: Value, full: None = None) -> Value | None: ...

    def at(self, *, smoke: Any, quick: Any, full: Any = None) -> Any:
        """The one of three values that belongs to this profile.

        Args:
            smoke: The value for a test run of seconds.
            quick: The value for a run of minutes.
            full: The value for the published edition; None, for "all of them", if left out.
        """
        return {"smoke": smoke, "quick": quick, "full": full}[self.profile]

    def record(self, **metrics: float | int | str) -> None:
        """Publish named results; `internals execute` keeps them in the chapter's `run.json`.

        Args:
            metrics: Numbers or texts by name, such as `test_accuracy=0.991`.
        """
        if _executing():
            _publish({METRICS: metrics})

    def finding(self, sentence: str, *, holds: bool) -> None:
        """Say in a sentence what the figure or table above shows.

        The page has it below the figure, and not the call. The text of the book describes its
        published edition, so there it must hold; another run says where it does not show it.

        Args:
            sentence: The finding.
            holds: Whether the numbers of this run show it.

        Raises:
            ChapterError: It does not hold at `full` on the real data.
        """
        if not holds and self.profile == PUBLISHED and self._on_real_data():
            raise ChapterError(f"the numbers do not show {sentence!r}; correct the sentence")
        sentence = with_minus(sentence)
        words = sentence if holds else f"{sentence} {ELSEWHERE}"
        if not _in_kernel():
            print(f"  {words}\n")
        elif _executing():
            texts = {"sentence": sentence, "holds": bool(holds)}
            _publish({FINDING: texts, "text/markdown": words})
        else:
            _publish({"text/markdown": words})

    def _on_real_data(self) -> bool:
        """Whether no data set that the chapter declares was replaced by its stand-in."""
        if self.data != "auto":
            return self.data == "real"
        from internals.data.sources import DATASETS, find_source

        script = Layout.here().chapters / f"{self.name}.py"
        if not script.is_file():  # a notebook somewhere else
            return False
        text = script.read_text(encoding="utf-8")
        line = re.search(r"^# data:(.*(?:\n#  .*)*)", text, re.MULTILINE)
        declared = [name for name in DATASETS if line and re.search(rf"\b{name}\b", line[1])]
        return all(find_source(name).name == name for name in declared)


@dataclass
class _Session:
    """What `show` keeps between calls: the chapter, and its figures in order."""

    chapter: Chapter | None = None
    figures: list[str] = field(default_factory=list)


_session = _Session()


def open_chapter() -> Chapter:
    """How this chapter is run: from the command line, else from the environment.

    The variables `INTERNALS_PROFILE`, `INTERNALS_DATA_MODE` and `INTERNALS_SEED` set the defaults
    of the command line, and the values in a notebook.

    Returns:
        Name, profile, data mode and seed.

    Raises:
        ChapterError: A variable has a value that is not allowed.
    """
    script = _running_script()
    if script:
        sys.excepthook = _print_error
    options = _from_environment()
    if script:
        options |= _from_command_line(script, options)
    if abs(options["seed"]) > LARGEST_SEED:
        raise ChapterError(f"the seed {options['seed']} is not between -2**62 and 2**62")
    chapter = Chapter(name=_name(script), **options)
    _session.chapter, _session.figures = chapter, []
    return chapter


def show(content: "Illustration | Table", name: str) -> None:
    """Show a figure or a table.

    A script saves the picture and prints its path; a notebook displays it with its caption;
    executed for the book it goes to the page, with the anchor `fig-NAME` or `tab-NAME`.

    Args:
        content: The figure or table.
        name: Its anchor and file name: lower-case words joined by hyphens.

    Raises:
        ChapterError: `name` cannot be an anchor.
    """
    if not _NAME.fullmatch(name):
        raise ChapterError(
            f"cannot show under the name {name!r}; use lower-case words joined by hyphens"
        )
    if isinstance(content, Table):
        _show_table(content, name)
    else:
        _show_figure(content, name)


def _show_figure(illustration: "Illustration", name: str) -> None:
    texts = {"name": name, "caption": illustration.caption, "alt": illustration.alt}
    if _executing() and (sheet := illustration.sheet):
        _publish_sheet(sheet, texts)
        return
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
        pictures = {
            "image/png": base64.b64encode(light).decode(),
            DARK: base64.b64encode(illustration.render("dark", dpi=dpi)).decode(),
        }
        _publish({FIGURE: {**texts, **size}, **pictures})
        return
    picture = base64.b64encode(_on_white(light)).decode()
    _publish({"image/png": picture, "text/plain": illustration.alt}, {"image/png": size})
    _publish({"text/markdown": f"*Figure {number}.* {illustration.caption}"})


def _publish_sheet(sheet: "Sheet", texts: Mapping[str, str]) -> None:
    """Hand over the tiles of a figure, which are the same on light paper and on dark."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(sheet.pixels).save(file, "PNG", compress_level=1)
    height, width, _ = sheet.pixels.shape
    labelled = {**texts, "width": width, "height": height, "sheet": sheet.data}
    _publish({FIGURE: labelled, "image/png": base64.b64encode(file.getvalue()).decode()})


def _show_table(table: "Table", name: str) -> None:
    if not _in_kernel():
        print(f"{table.text()}\n  {table.caption}\n")
    elif _executing():
        texts = {"name": name, "caption": table.caption}
        _publish({TABLE: texts, "text/markdown": table.markdown(), "text/plain": table.text()})
    else:
        _publish(
            {"text/markdown": f"{table.markdown()}\n\n{table.caption}", "text/plain": table.text()}
        )


def _publish(data: Mapping[str, object], metadata: Mapping[str, object] | None = None) -> None:
    from IPython.display import display

    display({"text/plain": "", **data}, metadata=metadata or {}, raw=True)


def _save(png: bytes, name: str, number: int) -> Path:
    """Write the picture into the chapter's folder, in place of an earlier run's."""
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
    """The picture on white: the background of the viewer may be dark."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        transparent = picture.convert("RGBA")
    opaque = Image.new("RGBA", transparent.size, "white")
    opaque.alpha_composite(transparent)
    file = io.BytesIO()
    opaque.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


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
    """The name of the chapter's file; a kernel knows it only from its environment."""
    if script:
        return script.stem
    file = os.environ.get("INTERNALS_CHAPTER") or os.environ.get("JPY_SESSION_NAME") or "chapter"
    return Path(file).stem


def _from_environment() -> dict[str, Any]:
    def choice(variable: str, default: str, choices: tuple[str, ...]) -> str:
        value = os.environ.get(variable) or default
        if value not in choices:
            raise ChapterError(f"{variable}={value} is not one of {', '.join(choices)}")
        return value

    seed = os.environ.get("INTERNALS_SEED") or "0"
    try:
        number = int(seed)
    except ValueError as error:
        raise ChapterError(f"INTERNALS_SEED={seed} is not a whole number") from error
    return {
        "profile": choice("INTERNALS_PROFILE", "quick", PROFILES),
        "data": choice("INTERNALS_DATA_MODE", "auto", DATA_MODES),
        "seed": number,
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


def _print_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an expected error on one line; any other keeps its traceback."""
    if issubclass(kind, InternalsError):
        print(f"error: {error}", file=sys.stderr)
        return
    sys.__excepthook__(kind, error, trace)
