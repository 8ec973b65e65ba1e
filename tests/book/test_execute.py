"""Oracle: the tiny book, whose outputs, lines and failures are known, and a count of kernels."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from typer.testing import CliRunner

from book.bookcase import TinyBook, copy_book
from internals.book import (
    FIGURE,
    ExecutionSettings,
    Layout,
    Status,
    execute,
    key_matrix,
    key_of,
    latest,
    prune,
    read_run,
    read_script,
    seal,
)
from internals.cli import app
from internals.errors import OutputError
from internals.files import new_folder

QUICK = ExecutionSettings("quick", "auto", 7)


def run_of(book: TinyBook, name: str = "01_fine") -> tuple[Path, dict[str, object]]:
    [folder] = book.layout.store("quick", name).iterdir()
    return folder, json.loads((folder / "run.json").read_text())


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The chapters whose kernels were started; the cells themselves are not run."""
    started: list[str] = []

    def run_cells(notebook, folder, environment, timeout, watch):  # type: ignore[no-untyped-def]
        started.append(environment["INTERNALS_CHAPTER"])

    monkeypatch.setattr("internals.book.kernel.run_cells", run_cells)
    return started


def test_the_broken_chapter_stops_with_its_own_line_and_keeps_nothing(tinybook: TinyBook) -> None:
    outcome = tinybook.outcomes["02_broken"]
    assert outcome.status == "failed"
    assert outcome.message == "chapters/02_broken.py:18: ValueError: the value 3 is wrong"
    assert not tinybook.layout.store("quick", "02_broken").exists()
    failed = nbformat.read(tinybook.layout.failed("quick", "02_broken"), as_version=4)
    assert "so far, so good" in failed.cells[1].outputs[0].text


def test_the_other_chapter_is_executed_and_kept(tinybook: TinyBook) -> None:
    assert tinybook.outcomes["01_fine"].status == "executed"
    folder, record = run_of(tinybook)
    assert folder.name == record["key"]
    assert record["metrics"] == {"slope": 1.0}
    assert (record["profile"], record["seed"], record["environment"]["data"]) == ("quick", 7, {})
    assert [cell["line"] for cell in record["cells"]] == [23, 40, 53, 62, 70, 80]


def test_pictures_are_files_and_the_notebook_holds_none(tinybook: TinyBook) -> None:
    folder, _ = run_of(tinybook)
    assert {p.name for p in folder.iterdir()} == {
        "01_fine.ipynb", "run.json", "slope.webp", "slope-dark.webp", "panel.webp",
    }  # fmt: skip
    text = (folder / "01_fine.ipynb").read_text()
    assert "base64" not in text and "image/png" not in text and len(text) < 20_000
    notebook = nbformat.reads(text, as_version=4)
    [output] = notebook.cells[3].outputs
    assert output.data["text/markdown"].startswith("![A rising line.](slope.webp)\n\nA straight")
    assert (output.data[FIGURE]["width"], output.data[FIGURE]["height"]) == (344, 200)
    assert notebook.cells[1].outputs[0].text == "01_fine at quick, seed 7\n"


def test_light_and_dark_pictures_differ_and_have_twice_the_logical_size(tinybook: TinyBook) -> None:
    from PIL import Image

    folder, _ = run_of(tinybook)
    light, dark = (Image.open(folder / name) for name in ("slope.webp", "slope-dark.webp"))
    assert light.size == dark.size == (688, 400)
    assert light.convert("RGBA").getpixel((0, 0))[3] == 0
    assert light.tobytes() != dark.tobytes()


def test_a_panel_is_one_sheet_and_the_notebook_says_what_its_tiles_are(tinybook: TinyBook) -> None:
    from PIL import Image

    folder, _ = run_of(tinybook)
    notebook = nbformat.read(folder / "01_fine.ipynb", as_version=4)
    [output] = notebook.cells[-1].outputs
    texts = output.data[FIGURE]
    with Image.open(folder / "panel.webp") as sheet:
        assert sheet.size == (texts["width"], texts["height"]) == (9 * 12, 4 * 12)
        # Of channel 1, the third patch, and the projection above it: small tiles lose nothing.
        assert sheet.getpixel((2 * 12 + 5, 3 * 12 + 5)) == (85, 85, 42)
        assert sheet.getpixel((2 * 12 + 5, 2 * 12 + 5)) == (80, 80, 80)
    first, second = texts["sheet"]["rows"]
    assert first["units"][1] == {
        "class": "tench",
        "value": "8.00",
        "image": 1,
        "inset": [0, 0, 0, 3],
    }
    assert second["units"][8]["silent"] and first["layer"] == "conv1"
    lines = output.data["text/markdown"].splitlines()
    assert lines[0] == "![Pairs of plain squares.](panel.webp)"
    assert lines[2].startswith("Two channels with nine pairs each")
    assert lines[4] == "|  | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 |"
    assert lines[7].startswith("| channel 1 | 9.00 tench #0 | 8.00 tench #1 |")


def test_a_second_execution_starts_no_kernel_nor_does_one_after_a_prose_edit(
    tinybook: TinyBook, kernels: list[str]
) -> None:
    path = tinybook.layout.chapters / "01_fine.py"
    text = path.read_text()
    try:
        assert [o.status for o in execute([path], QUICK, tinybook.layout)] == ["fresh"]
        path.write_text(text.replace("A line that rises:", "A line, and it rises:"))
        assert [o.status for o in execute([path], QUICK, tinybook.layout)] == ["fresh"]
    finally:
        path.write_text(text)
    assert kernels == []


@pytest.mark.slow
def test_a_code_edit_a_force_and_another_seed_start_a_kernel_each(
    tmp_path: Path, kernels: list[str]
) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "01_fine.py"
    execute([path], QUICK, layout)
    execute([path], QUICK, layout)
    execute([path], QUICK, layout, force=True)
    execute([path], ExecutionSettings("quick", "auto", 8), layout)
    path.write_text(path.read_text().replace("range(60)", "range(61)"))
    execute([path], QUICK, layout)
    assert kernels == ["01_fine"] * 4
    assert len(list(layout.store("quick", "01_fine").iterdir())) == 2, "older runs are pruned"


def test_pruning_keeps_the_run_just_made_and_the_newest_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "build")
    store = layout.store("quick", "01_fine")
    for age, name in enumerate(["new", "middle", "old"]):
        (store / name).mkdir(parents=True)
        os.utime(store / name, (1000 - age, 1000 - age))
    prune(layout, "quick", "01_fine", keep="old")
    assert {p.name for p in store.iterdir()} == {"new", "old"}


@pytest.mark.slow
def test_the_published_edition_is_replaced_whole_and_only_by_a_full_run(
    tmp_path: Path, kernels: list[str]
) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "01_fine.py"
    old = layout.edition / "01_fine"
    old.mkdir(parents=True)
    (old / "leftover.webp").touch()
    execute([path], ExecutionSettings("quick"), layout)
    assert [p.name for p in old.iterdir()] == ["leftover.webp"]
    execute([path], ExecutionSettings("full"), layout)
    assert {p.name for p in old.iterdir()} == {"01_fine.ipynb", "run.json"}
    assert [p.name for p in layout.edition.iterdir()] == ["01_fine"]
    assert execute([path], ExecutionSettings("full"), layout)[0].status == "fresh"
    assert kernels == ["01_fine", "01_fine"]


@pytest.mark.slow
def test_a_quick_run_joins_the_published_edition_only_when_asked_to(
    tmp_path: Path, kernels: list[str]
) -> None:
    layout = copy_book(tmp_path)
    [path] = layout.find(["01_fine"])
    script = read_script(path)
    assert execute([path], QUICK, layout)[0].status == "executed"
    assert latest(layout, "full", script)[1] is Status.MISSING
    assert execute([path], QUICK, layout, publish=True)[0].status == "executed"
    run, status = latest(layout, "full", script)
    assert run and status is Status.FRESH
    assert (run.folder, run.record["profile"]) == (layout.edition / "01_fine", "quick")
    assert execute([path], QUICK, layout, publish=True)[0].status == "fresh"
    full = ExecutionSettings("full", "auto", 7)
    assert execute([path], full, layout)[0].status == "executed"
    replaced = read_run(layout.edition / "01_fine")
    assert replaced and replaced.record["profile"] == "full"
    assert len(kernels) == 3


def test_an_edition_from_elsewhere_is_fresh_until_its_source_changes(
    tmp_path: Path, kernels: list[str]
) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "01_fine.py"
    execute([path], ExecutionSettings("full"), layout)
    record = layout.edition / "01_fine" / "run.json"
    changed = json.loads(record.read_text()) | {"key": "of another machine"}
    del changed["files"], changed["checksum"]  # as records were before they had any
    record.write_text(json.dumps(changed))
    assert latest(layout, "full", read_script(path))[1] is Status.FRESH
    path.write_text(path.read_text().replace("range(60)", "range(61)"))
    assert latest(layout, "full", read_script(path))[1] is Status.STALE
    assert (
        latest(layout, "full", read_script(layout.chapters / "02_broken.py"))[1] is Status.MISSING
    )


def test_a_full_disk_while_storing_leaves_no_run(
    tmp_path: Path, kernels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = copy_book(tmp_path)

    def full(path: Path, content: object) -> None:
        raise OutputError(f"cannot write {path}: No space left on device; free some space")

    monkeypatch.setattr("internals.book.execution.write_atomically", full)
    [outcome] = execute([layout.chapters / "01_fine.py"], QUICK, layout)
    assert outcome.status == "failed" and "No space left on device" in outcome.message
    assert list(layout.store("quick", "01_fine").iterdir()) == []


@pytest.mark.slow
def test_killing_the_execution_leaves_no_run(tmp_path: Path) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "03_slow.py"
    path.write_text(
        "# %%\nimport os, time\nfrom pathlib import Path\n"
        'Path("started").write_text(str(os.getpid()))\ntime.sleep(60)\n'
    )
    program = (
        "from pathlib import Path; from internals.book import ExecutionSettings, Layout, execute; "
        f"execute([Path({str(path)!r})], ExecutionSettings(), Layout.at(Path({str(tmp_path)!r})))"
    )
    environment = {**os.environ, "INTERNALS_BUILD": str(layout.output)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    marker = tmp_path / "started"
    deadline = time.monotonic() + 60
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.kill(int(marker.read_text()), signal.SIGKILL)
    assert not layout.store("quick", "03_slow").exists()
    assert latest(layout, "quick", read_script(path)) == (None, Status.MISSING)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_stops_the_kernels_and_starts_no_other_chapter(
    tmp_path: Path, jobs: int
) -> None:
    layout = copy_book(tmp_path)
    names = ["03_slow", "04_slow", "05_slow"]
    for name in names:
        (layout.chapters / f"{name}.py").write_text(
            "# %%\nimport os, time\nfrom pathlib import Path\n"
            f'Path("{name}").write_text(str(os.getpid()))\ntime.sleep(60)\n'
        )
    command = ["-c", "from internals.cli import main; main()", "execute", *names]
    process = subprocess.Popen(
        [sys.executable, *command, "--jobs", str(jobs)],
        env={**os.environ, "INTERNALS_BOOK": str(tmp_path), "INTERNALS_BUILD": str(layout.output)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background work, this test among it, with the interrupt ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    markers = [tmp_path / name for name in names[:jobs]]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        begun = all(marker.exists() and marker.read_text() for marker in markers)
        if begun or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert process.returncode == 130, error
    assert error == "stopped; the same command goes on where this one left off\n"
    assert names[jobs] not in out and "Traceback" not in error
    for marker in markers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(marker.read_text()), 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import time\ntime.sleep(30)",
            "chapters/04_x.py:2: the cell ran out of time; allow more with --timeout",
        ),
        (
            "x = 1\nimport os\nos._exit(1)",
            "chapters/04_x.py:2: the kernel died in this cell, perhaps for lack of memory",
        ),
        (
            "from IPython.display import display\ndisplay({'image/png': 'aGk='}, raw=True)",
            "chapters/04_x.py:2: displays a picture without caption and alt text; "
            "use show(illustration, name)",
        ),
        ("x = 1\n\nassert x == 2", "chapters/04_x.py:4: AssertionError: assert x == 2"),
    ],
    ids=["timeout", "kernel death", "bare picture", "bare assertion"],
)
def test_other_failures_name_the_cell(tmp_path: Path, code: str, message: str) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "04_x.py"
    path.write_text(f"# %%\n{code}\n")
    [outcome] = execute([path], ExecutionSettings(), layout, timeout=3)
    assert outcome.message == message
    assert not any(layout.store("quick", "04_x").glob("*"))


@pytest.mark.slow
def test_two_chapters_that_show_the_same_name_twice_fail(tmp_path: Path) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "04_x.py"
    table = 'show(Table(("a",), (("1",),), caption="A number."), "same")\n'
    path.write_text(
        "# %%\nfrom internals.book import show\n"
        f"from internals.figures import Table\n{table}\n# %%\n{table}"
    )
    [outcome] = execute([path], ExecutionSettings(), layout)
    assert outcome.message == "chapters/04_x.py:7: shows a second picture or table 'same'"


def test_the_matrix_holds_each_chapters_key(tinybook: TinyBook) -> None:
    matrix = key_matrix(tinybook.layout.scripts(), QUICK)
    assert [entry["chapter"] for entry in matrix] == ["01_fine", "02_broken"]
    assert matrix[0]["key"] == run_of(tinybook)[1]["key"]


def test_a_record_that_cannot_be_read_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"half": ')
    assert read_run(tmp_path) is None


@pytest.mark.slow
def test_a_chapter_does_what_python_does_with_it(tmp_path: Path) -> None:
    """IPython would strip the prompt and the blanks, and run the comments as commands."""
    layout = copy_book(tmp_path)
    path = layout.chapters / "04_x.py"
    path.write_text(
        "# %%\n# %load_ext none\n# cat and dog\n# !exit 1\n"
        'text = """\n>>> b\n   \n... c"""\nprint(repr(text))\n\n# %%\n\n   \nprint(len(text))\n'
    )
    plain = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=True
    ).stdout
    [outcome] = execute([path], ExecutionSettings(), layout)
    assert outcome.status == "executed", outcome.message
    run, _ = latest(layout, "quick", read_script(path))
    assert run
    cells = run.notebook().cells
    assert "".join(cell.outputs[0].text for cell in cells) == plain


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Layout, Path]:
    """A book whose first chapter has a published run of one figure, which no kernel made."""
    layout = copy_book(tmp_path / "book")
    script = read_script(layout.chapters / "01_fine.py")
    folder = layout.edition / "01_fine"
    folder.mkdir(parents=True)
    figure = {"name": "slope", "caption": "A", "alt": "B", "width": 2, "height": 2}
    output = nbformat.v4.new_output("display_data", {FIGURE: figure, "text/markdown": "A"})
    [index, *_] = [index for index, _ in script.code()]
    script.notebook.cells[index].outputs = [output]
    nbformat.write(script.notebook, folder / "01_fine.ipynb")
    for name in ("slope.webp", "slope-dark.webp"):
        Image.new("RGB", (4, 4), "red").save(folder / name)
    key = key_of(script, ExecutionSettings("full", "auto", 7))
    record = {
        "chapter": "01_fine", "key": key.digest, "source_key": key.source_digest,
        "environment": {"data": {}, "packages": {"numpy": "1"}, "python": "3.11"},
        "profile": "full", "seed": 7, "data": "auto", "commit": "a", "machine": "b",
        "when": "2026-01-01T00:00:00+00:00", "seconds": 1.5, "metrics": {"slope": 1.0},
        "cells": [{"line": 3, "seconds": 0.5}],
    }  # fmt: skip
    seal(folder, record)
    return layout, folder


RECORDS = [
    "",
    "[]",
    "{}",
    '"x"',
    "1",
    "null",
    '{"half": ',
    "[" * 100_000,
    '{"chapter": 1}',
    "\udc00",
]
CHANGES = [
    {"when": "soon"}, {"when": 3}, {"cells": [{}]}, {"cells": 3}, {"metrics": []}, {"seconds": "1"},
    {"seconds": float("nan")}, {"environment": {}}, {"environment": None}, {"machine": None},
    {"environment": {"data": {"mnist": ""}, "packages": {}, "python": "3"}}, {"chapter": "../x"},
    {"files": {"slope.webp": 3}}, {"files": []}, {"key": None}, {"profile": 3}, {"seed": 10**400},
]  # fmt: skip
FILES = ["01_fine.ipynb", "slope.webp", "slope-dark.webp"]


def damaged(layout: Layout) -> None:
    """The run is shown nowhere, and executing it again is what helps."""
    script = read_script(layout.chapters / "01_fine.py")
    assert latest(layout, "full", script) == (None, Status.DAMAGED)
    assert read_run(layout.edition / "01_fine") is None


def test_a_sealed_run_is_whole_and_one_without_checksums_as_before(
    sealed: tuple[Layout, Path],
) -> None:
    layout, folder = sealed
    script = read_script(layout.chapters / "01_fine.py")
    run, status = latest(layout, "full", script)
    assert run and status is Status.FRESH
    assert [path.name for path in run.pictures] == ["slope-dark.webp", "slope.webp"]
    record = {k: v for k, v in run.record.items() if k not in ("files", "checksum")}
    (folder / "run.json").write_text(json.dumps(record))
    assert latest(layout, "full", script)[1] is Status.FRESH


def test_a_sheet_without_a_dark_twin_is_whole(sealed: tuple[Layout, Path]) -> None:
    layout, folder = sealed
    path = folder / "01_fine.ipynb"
    path.write_text(path.read_text().replace('"name": "slope"', '"sheet": {}, "name": "slope"'))
    (folder / "slope-dark.webp").unlink()
    record = json.loads((folder / "run.json").read_text())
    unsealed = {k: v for k, v in record.items() if k not in ("files", "checksum")}
    (folder / "run.json").write_text(json.dumps(unsealed))
    script = read_script(layout.chapters / "01_fine.py")
    assert latest(layout, "full", script)[1] is Status.FRESH
    (folder / "slope.webp").unlink()
    damaged(layout)


@pytest.mark.slow
@pytest.mark.parametrize("text", RECORDS)
def test_a_record_of_another_form_is_damage(sealed: tuple[Layout, Path], text: str) -> None:
    layout, folder = sealed
    (folder / "run.json").write_text(text, errors="surrogatepass")
    damaged(layout)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_sums", [True, False])
def test_a_record_with_a_wrong_type_is_damage(
    sealed: tuple[Layout, Path], change: dict[str, object], with_sums: bool
) -> None:
    layout, folder = sealed
    record = json.loads((folder / "run.json").read_text())
    if not with_sums:
        del record["files"], record["checksum"]
    (folder / "run.json").write_text(json.dumps(record | change))
    damaged(layout)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "empty", "half", "folder"])
@pytest.mark.parametrize("with_sums", [True, False])
def test_a_file_that_is_not_whole_is_damage(
    sealed: tuple[Layout, Path], name: str, how: str, with_sums: bool
) -> None:
    layout, folder = sealed
    if not with_sums:
        record = json.loads((folder / "run.json").read_text())
        del record["files"], record["checksum"]
        (folder / "run.json").write_text(json.dumps(record))
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    match how:
        case "empty":
            (folder / name).touch()
        case "half":
            (folder / name).write_bytes(content[: len(content) // 2])
        case "folder":
            (folder / name).mkdir()
    damaged(layout)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "run.json"])
def test_any_flipped_bit_is_damage(sealed: tuple[Layout, Path], name: str) -> None:
    _, folder = sealed
    content = (folder / name).read_bytes()
    rng = random.Random(0)
    for _ in range(20):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(7)
        (folder / name).write_bytes(changed)
        if name == "run.json":  # its blanks are free
            with suppress(ValueError):
                if json.loads(changed) == json.loads(content):
                    continue
        assert read_run(folder) is None


def test_a_picture_that_was_not_stored_is_not_published(sealed: tuple[Layout, Path]) -> None:
    _, folder = sealed
    (folder / "foreign.webp").write_bytes(b"")
    run = read_run(folder)
    assert run and {path.name for path in run.pictures} == {"slope.webp", "slope-dark.webp"}


def test_status_names_the_damage_and_execute_makes_it_good(
    sealed: tuple[Layout, Path], kernels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, folder = sealed
    monkeypatch.setenv("INTERNALS_BOOK", str(layout.root))
    monkeypatch.setenv("INTERNALS_BUILD", str(layout.output))
    (folder / "slope.webp").write_bytes(b"")
    (layout.chapters / "02_broken.py").write_text("# %%\nif x\n")
    lines = CliRunner().invoke(app, ["status", "--profile", "full"]).output.splitlines()
    assert [line.split() for line in lines] == [
        ["01_fine", "full", "damaged"],
        ["02_broken", "chapters/02_broken.py:2:", "SyntaxError:", "expected", "':'"],
    ]
    words = ["execute", "01_fine", "--profile", "full", "--seed", "7"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and kernels == ["01_fine"]
    why = "01_fine: the stored run is damaged (slope.webp is not what was stored)"
    assert why in done.output
    assert latest(layout, "full", read_script(layout.chapters / "01_fine.py"))[1] is Status.FRESH
    assert "nothing to do" in CliRunner().invoke(app, words).output


def test_a_run_that_a_kill_left_aside_is_found(sealed: tuple[Layout, Path]) -> None:
    layout, folder = sealed
    folder.rename(folder.with_name(".01_fine.0123abcd-1-0123abcd.aside"))
    assert latest(layout, "full", read_script(layout.chapters / "01_fine.py"))[1] is Status.FRESH


def test_drafts_of_earlier_keys_are_swept_when_a_run_is_stored(
    tmp_path: Path, kernels: list[str]
) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "01_fine.py"
    execute([path], QUICK, layout)
    store = layout.store("quick", "01_fine")
    with new_folder(store / "another") as draft:
        host = draft.name.split(".")[2].partition("-")[0]
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        (store / f".earlier.{host}-{dead.pid}-0123abcd.part").mkdir()
    execute([path], QUICK, layout, force=True)
    assert not list(store.glob(".*"))


@pytest.mark.slow
def test_the_cells_own_error_is_told_also_where_the_notebook_cannot_be_kept(
    tmp_path: Path,
) -> None:
    layout = copy_book(tmp_path)
    path = layout.chapters / "04_x.py"
    path.write_text("# %%\n1 / 0\n")
    layout.build("quick").mkdir(parents=True)
    (layout.build("quick") / "failed").write_text("in the way")
    [outcome] = execute([path], ExecutionSettings(), layout)
    assert outcome.message.startswith("chapters/04_x.py:2: ZeroDivisionError: division by zero;")
    assert "cannot write" in outcome.message and "\n" not in outcome.message


@pytest.mark.slow
def test_relative_folders_are_one_place_for_the_command_and_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = copy_book(tmp_path / "book")
    path = layout.chapters / "04_x.py"
    path.write_text(
        "# %%\nimport os\nfrom pathlib import Path\n"
        "from internals.environment import build_folder\n"
        "print(build_folder(), Path(os.environ['INTERNALS_DATA']).absolute())\n"
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("INTERNALS_BUILD", "out")
    monkeypatch.setenv("INTERNALS_DATA", "dd")
    done = CliRunner().invoke(
        app, ["execute", "04_x"], env={"INTERNALS_BOOK": str(Path("..", "book"))}
    )
    assert done.exit_code == 0, done.output
    assert f"{tmp_path}/here/out {tmp_path}/here/dd" in done.output.replace("\n", " ")


@pytest.mark.parametrize("seed", [str(2**63 - 1), str(-(2**63)), "9" * 30])
def test_a_seed_beyond_what_torch_takes_is_refused(seed: str) -> None:
    done = CliRunner().invoke(app, ["execute", "01_lenet5", "--seed", seed])
    assert done.exit_code == 2 and "'--seed'" in done.output
