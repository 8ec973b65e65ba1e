"""Oracle: line numbers counted by hand in percent scripts."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internals.book import read_script
from internals.errors import ChapterError

TEXT = """\
# ---
# title: The title
# jupyter:
#   kernelspec: {display_name: Python 3, name: python3}
# ---

# %% [markdown]
# # Heading
#
# same = 1

# %%
same = 1

# %%
same = 1

# %% tags=["x"]

same = 2
"""


def test_cells_know_their_lines_also_where_the_same_code_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "01_x.py").write_text(TEXT)
    script = read_script(tmp_path / "01_x.py")
    assert script.meta["title"] == "The title"
    assert [script.first_lines[i] for i, _ in script.code()] == [13, 16, 20]
    assert [cell["id"] for cell in script.notebook.cells] == [f"cell-{i}" for i in range(4)]


@given(
    st.lists(
        st.sampled_from(["x = 1", "x = 2\n\ny = 3", "y = 3", "# a comment", "print()"]), min_size=1
    )
)
def test_the_line_found_holds_the_cells_first_line(cells: list[str]) -> None:
    text = "\n\n".join(f"# %%\n{cell}" for cell in cells)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "01_x.py"
        path.write_text(text + "\n")
        script = read_script(path)
    starts = [script.first_lines[index] for index, _ in script.code()]
    assert starts == sorted(set(starts))
    for start, (_, source) in zip(starts, script.code(), strict=True):
        assert text.splitlines()[start - 2] == "# %%"
        assert text.splitlines()[start - 1 :][: source.count("\n") + 1] == source.splitlines()


def test_a_syntax_error_is_reported_with_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "chapters"
    folder.mkdir()
    (folder / "01_x.py").write_text("# %% [markdown]\n# Prose\n\n# %%\nx = 1\nif x\n    pass\n")
    with pytest.raises(ChapterError, match=r"^chapters/01_x.py:6: SyntaxError: expected ':'$"):
        read_script(folder / "01_x.py")
