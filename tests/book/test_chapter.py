"""Oracle: the contract of a chapter run as a script, as a notebook and for the book."""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from book.bookcase import TINYBOOK, TinyBook
from internals.book import FIGURE, Chapter, open_chapter, show
from internals.errors import ChapterError
from internals.figures import ChannelPatches, Illustration, Table, panels

TABLE = Table(("name", "value"), (("one", "1"),), caption="A number.")


def run_script(path: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("INTERNALS_")}
    return subprocess.run(
        [sys.executable, str(path), *options],
        cwd=folder,
        env={**environment, "INTERNALS_BOOK": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_saves_its_figures_and_prints_the_same_text_as_the_notebook(
    tinybook: TinyBook, tmp_path: Path
) -> None:
    done = run_script(
        TINYBOOK / "chapters/01_fine.py", tmp_path, "--profile", "smoke", "--seed", "7"
    )
    assert done.returncode == 0, done.stderr
    picture = tmp_path / "build/smoke/figures/01_fine/01-slope.png"
    assert f"Figure 1: {picture.relative_to(tmp_path)}" in done.stdout
    assert "A straight line from the lower left" in done.stdout
    assert "01_fine at smoke, seed 7" in done.stdout and "two" in done.stdout
    [folder] = tinybook.layout.store("quick", "01_fine").iterdir()
    with Image.open(picture) as saved, Image.open(folder / "slope.webp") as published:
        assert saved.mode == "RGB" and saved.getpixel((0, 0)) == (255, 255, 255)
        assert saved.size == published.size
        paper = Image.new("RGBA", published.size, "white")
        paper.alpha_composite(published.convert("RGBA"))
        assert saved.tobytes() == paper.convert("RGB").tobytes(), "the same picture in both"


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--profile", "fast"], 2, "invalid choice: 'fast'"),
        (["--help"], 0, "embedded stand-in"),
    ],
)
def test_the_command_line_explains_itself(
    tmp_path: Path, options: list[str], status: int, says: str
) -> None:
    done = run_script(TINYBOOK / "chapters/01_fine.py", tmp_path, *options)
    assert done.returncode == status
    assert says in " ".join((done.stdout + done.stderr).split())


def test_an_expected_error_is_one_line_and_any_other_has_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "05_x.py"
    script.write_text(
        "import sys\nfrom internals.book import open_chapter\n"
        "from internals.errors import DataError\nopen_chapter()\n"
        "raise DataError('mnist is not here; fetch it')\n"
    )
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: mnist is not here; fetch it\n")
    script.write_text(script.read_text().replace("raise DataError(", "raise ValueError("))
    done = run_script(script, tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr and "05_x.py" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file in the way")
    done = run_script(TINYBOOK / "chapters/01_fine.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write ") and done.stderr.count("\n") == 1


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What a notebook's front end would be sent."""
    sent: list[dict[str, object]] = []
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata, raw: sent.append(dict(data))
    )
    return sent


def test_a_panel_is_a_drawing_in_a_notebook_and_a_sheet_in_the_book(
    kernel: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = np.full((3, 5, 5), 0.5)
    row = ChannelPatches("a", 0, [tile], [tile], [1.0], ["x"], [2], [(0, 0)], (5, 5))
    words = "One channel with a single pair of tiles: its projection above its patch."
    panel = panels([row], caption=words, alt="A pair.")
    show(panel, "one")
    drawing, caption = kernel
    assert "image/png" in drawing and FIGURE not in drawing
    assert caption["text/markdown"] == f"*Figure 1.* {words}"
    kernel.clear()
    monkeypatch.setenv("INTERNALS_EXECUTING", "1")
    show(panel, "one")
    [sent] = kernel
    assert sorted(sent) == ["application/vnd.internals.figure+json", "image/png", "text/plain"]
    assert sent[FIGURE]["sheet"] == panel.sheet.data
    png = Image.open(io.BytesIO(base64.b64decode(sent["image/png"])))
    assert (np.asarray(png) == panel.sheet.pixels).all()


def test_a_notebook_takes_profile_data_and_seed_from_the_environment(
    kernel: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "INTERNALS_PROFILE": "full", "INTERNALS_DATA_MODE": "embedded", "INTERNALS_SEED": "3",
        "JPY_SESSION_NAME": "/home/me/chapters/01_lenet5.ipynb",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    chapter = open_chapter()
    assert (chapter.profile, chapter.data, chapter.seed) == ("full", "embedded", 3)
    assert chapter.name == "01_lenet5"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("INTERNALS_PROFILE", "fast", "INTERNALS_PROFILE=fast is not one of smoke, quick, full"),
        ("INTERNALS_DATA_MODE", "fake", "INTERNALS_DATA_MODE=fake is not one of auto"),
        ("INTERNALS_SEED", "one", "INTERNALS_SEED=one is not a whole number"),
        ("INTERNALS_SEED", "--5", "INTERNALS_SEED=--5 is not a whole number"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(
    kernel: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ChapterError, match=message):
        open_chapter()


def test_a_notebook_shows_a_table_with_its_caption(kernel: list[dict[str, object]]) -> None:
    show(TABLE, "numbers")
    assert kernel[0]["text/markdown"] == f"{TABLE.markdown()}\n\nA number."


def test_a_notebook_shows_a_figure_on_white_with_its_caption_below(
    kernel: list[dict[str, object]],
) -> None:
    from matplotlib.figure import Figure

    caption = "An empty picture, one inch wide and high, in which there is nothing to notice."
    show(Illustration(Figure(figsize=(1, 1), dpi=100), caption, "Nothing."), "empty")
    picture, words = kernel
    png = base64.b64decode(str(picture["image/png"]))
    assert (png[16:20], png[25]) == ((200).to_bytes(4, "big"), 2), "200 pixels, no transparency"
    assert words["text/markdown"] == f"*Figure 1.* {caption}"


@pytest.mark.parametrize("name", ["Two words", "ünder", "", "a--b", "../a"])
def test_a_name_that_no_anchor_can_have_is_refused(
    kernel: list[dict[str, object]], name: str
) -> None:
    with pytest.raises(ChapterError, match="cannot show under the name"):
        show(TABLE, name)
    assert kernel == []


@pytest.mark.parametrize(("profile", "expected"), [("smoke", 64), ("quick", 1024), ("full", None)])
def test_a_value_for_each_profile(profile: str, expected: int | None) -> None:
    chapter = Chapter("01_x", profile, "auto", 0)
    assert chapter.at(smoke=64, quick=1024) == expected
    assert chapter.at(smoke=64, quick=1024, full=9) == (9 if expected is None else expected)
    assert chapter.most_images == (240 if profile == "smoke" else None)


def test_a_notebook_says_a_finding_and_where_it_does_not_hold(
    kernel: list[dict[str, object]],
) -> None:
    chapter = Chapter("01_x", "quick", "auto", 0)
    chapter.finding("It rises.", holds=True)
    chapter.finding("It falls.", holds=False)
    assert [output["text/markdown"] for output in kernel] == [
        "It rises.",
        "It falls. (This run does not show it.)",
    ]


@pytest.mark.parametrize(
    ("profile", "data", "refused"),
    [
        ("full", "real", True),
        ("full", "auto", False),  # the stand-in is all there is
        ("full", "embedded", False),
        ("quick", "real", False),
    ],
)
def test_a_finding_must_hold_in_the_published_edition(
    no_real_data: None,
    kernel: list[dict[str, object]],
    profile: str,
    data: str,
    refused: bool,
) -> None:
    chapter = Chapter("01_lenet5", profile, data, 0)
    chapter.finding("It rises.", holds=True)
    if refused:
        with pytest.raises(ChapterError, match=r"the numbers do not show 'It falls\.'"):
            chapter.finding("It falls.", holds=False)
    else:
        chapter.finding("It falls.", holds=False)
    assert len(kernel) == 1 + (not refused)


def test_a_chapter_without_data_must_find_what_it_says_at_full(
    kernel: list[dict[str, object]],
) -> None:
    with pytest.raises(ChapterError, match=r"the numbers do not show 'It falls\.'"):
        Chapter("00_how_to_look", "full", "auto", 0).finding("It falls.", holds=False)
