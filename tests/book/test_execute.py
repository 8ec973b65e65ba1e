"""Oracle: the tiny book, whose outputs, lines and failures are known, and a count of kernels."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from book.bookcase import TinyBook, copy_book
from internals.book import (
    FIGURE,
    ExecutionSettings,
    Layout,
    Status,
    execute,
    key_matrix,
    latest,
    prune,
    read_run,
    read_script,
)
from internals.errors import OutputError

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
    assert [cell["line"] for cell in record["cells"]] == [23, 39, 57, 65]


def test_pictures_are_files_and_the_notebook_holds_none(tinybook: TinyBook) -> None:
    folder, _ = run_of(tinybook)
    assert {p.name for p in folder.iterdir()} == {
        "01_fine.ipynb", "run.json", "slope.webp", "slope-dark.webp",
    }  # fmt: skip
    text = (folder / "01_fine.ipynb").read_text()
    assert "base64" not in text and "image/png" not in text and len(text) < 10_000
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
