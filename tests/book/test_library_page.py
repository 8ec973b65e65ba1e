"""Oracle: the page that teaches the package. Its code is run as a reader would run it."""

import re

import pytest

from internals.environment import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs_as_it_stands(
    no_real_data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    assert 'load("mnist")' in code
    values: dict[str, object] = {}
    exec(
        compile(code.replace('load("mnist")', 'load("mnist", "embedded")'), "library.md", "exec"),
        values,
    )
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
