"""Oracle: the pages that teach the package. Their code is run as a reader would run it."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from internals.environment import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three photos of noise in `photos`, and weights in a file."""
    from internals.models import resolve_model

    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0)
    for number in range(3):
        pixels = noise.integers(0, 256, (16, 17, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    torch.save(resolve_model("resnet18").state_dict(), "resnet18.pth")
    return tmp_path


def _code(page: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))


def _commands(page: str) -> list[list[str]]:
    lines = page.replace("\\\n", " ")
    found = re.findall(r"^(?:\.venv/bin/)?internals ((?:summary|project) [^#\n]*\w)", lines, re.M)
    return [shlex.split(command) for command in found]


@pytest.mark.slow
def test_the_commands_of_both_pages_run_as_they_stand(photos: Path) -> None:
    from internals.cli import app

    commands = _commands(PAGE)
    assert [command[0] for command in commands] == ["summary", "project"]
    assert _commands(README) == commands
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    with Image.open(photos / "panel.png") as panel:
        assert panel.width == 2 * (688 + 2 * 16)  # the text column and its margins


@pytest.mark.slow
def test_the_code_of_the_readme_runs_as_it_stands(photos: Path) -> None:
    values: dict[str, object] = {}
    exec(compile(_code(README), "README.md", "exec"), values)
    top, projections = values["top"], values["projections"]
    assert [p.value for p in projections] == pytest.approx(  # type: ignore[attr-defined]
        top.value[0].tolist(),
        rel=1e-4,  # type: ignore[attr-defined]
    )


@pytest.mark.slow
def test_the_code_of_the_page_runs_as_it_stands(no_real_data: None, photos: Path) -> None:
    code = _code(PAGE)
    assert 'load("mnist")' in code
    values: dict[str, object] = {}
    exec(
        compile(code.replace('load("mnist")', 'load("mnist", "embedded")'), "library.md", "exec"),
        values,
    )
    assert values["panel"].size[0] == 688  # type: ignore[attr-defined]
    [first, *_] = values["projections"]  # type: ignore[misc]
    top, left, bottom, right = first.box
    assert first.pixels.shape[1:] == (bottom - top, right - left)
    assert first.full().shape == values["images"].shape[1:]  # type: ignore[attr-defined]


def test_the_error_that_the_page_quotes_is_the_one_that_is_raised() -> None:
    from internals.anatomy import receptive_field
    from internals.errors import LayerError
    from internals.models import build

    quoted = re.search(r"LayerError: (.*)", PAGE)
    assert quoted
    with pytest.raises(LayerError) as raised:
        receptive_field(build("lenet5"), "conv9", (1, 32, 32))
    assert str(raised.value) == quoted[1]
