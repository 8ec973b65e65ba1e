"""Oracle: line numbers counted by hand in percent scripts, and the syntax tree of the file."""

import ast
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
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


@settings(deadline=None)  # machines are noisy
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


COMMENTS = [
    "# cat and dog are close", "# ls of rows", "# cd ..", "# man made", "# less is more",
    "# more of the same", "# mkdir", "# echo chamber", "# copy that", "# !pip install x",
    "# ?print", "# x?", "# x = %time 1", "# x = !ls", "# %load_ext autoreload", "# %time x",
    "# %%time", "#%%bash", "# # %time", "# +", "# + x = 1", "## + x = 1", "# -", "# region x",
    "# endregion", "# <codecell>", "# ---", "# see\u2028print(1)", "# see\x0cprint(1)",
    "# see\x85x = 9", "", "   ", "\x0c", "    # indented",
]  # fmt: skip
STATEMENTS = [
    "x = 1", "x += 1", "print(x)", "x = '''\n# %%\nx = 2\n'''", 'x = "# %% no cell"',
    'x = """\n>>> 1\n   \n\u2028"""', "x = '\\\\'; y = '''\n# %% [markdown]\nz = 1'''",
    "if x:\n# %%\n    y = 1\n    # %time\nelse:\n    y = 2", "x = [\n# %%\n1,\n\n2]",
    "@str\n# %%\ndef f():\n    # cat f\n    return 1", "cat = 1", "ls = cat_ = 2\n", "# %%\nx = 3",
]  # fmt: skip
MARKERS = [
    "# %%", "#%%", "# %% a title", '# %% tags=["hide-input"]', '# %% tags=["active-ipynb"]',
    '# %% tags=["active-py"]', '# %% language="bash"', "# %% [markdown]", "# %% [md]",
    "# %% [raw]", '# %% {"run_control": {"frozen": true}}',
]  # fmt: skip


def code_of(text: str) -> list[str]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "01_x.py"
        path.write_text(text, encoding="utf-8", newline="")
        return [source for _, source in read_script(path).code()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(COMMENTS + STATEMENTS + MARKERS), max_size=12))
def test_the_code_cells_are_what_python_runs(parts: list[str]) -> None:
    text = "\n".join(["x = 0", *parts]) + "\n"  # not first of all a front matter
    cells = [ast.parse(source) for source in code_of(text)]  # each stands alone
    statements = [ast.dump(statement) for cell in cells for statement in cell.body]
    assert statements == [ast.dump(statement) for statement in ast.parse(text).body]


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_stays_a_comment_and_its_line_the_same(tmp_path: Path, comment: str) -> None:
    (tmp_path / "01_x.py").write_text(
        f"# %%\nx = 1\n{comment}\ny = 2\n\n# %%\nz = 3\n", encoding="utf-8", newline=""
    )
    script = read_script(tmp_path / "01_x.py")
    ran = [part for _, source in script.code() for part in ast.parse(source).body]
    assert [ast.unparse(part) for part in ran] == ["x = 1", "y = 2", "z = 3"]
    assert script.first_lines[-1] == 7


@pytest.mark.parametrize(
    "prose", ["# cat *and* dog", '"""cat *and* dog"""', "r'''\ncat *and* dog\n'''"]
)
@pytest.mark.parametrize("marker", ["# %% [markdown]", "# %% [md]"])
def test_prose_is_comments_or_a_string(tmp_path: Path, marker: str, prose: str) -> None:
    (tmp_path / "01_x.py").write_text(f"{marker}\n{prose}\n\n# %%\nx = 1\n")
    first, second = read_script(tmp_path / "01_x.py").notebook.cells
    assert (first.cell_type, first.source) == ("markdown", "cat *and* dog")
    assert (second.cell_type, second.source) == ("code", "x = 1")


def test_a_fence_in_prose_may_hold_what_looks_like_a_cell(tmp_path: Path) -> None:
    (tmp_path / "01_x.py").write_text("# %% [markdown]\n# ```\n# %% a\n# ```\n# b\n")
    [cell] = read_script(tmp_path / "01_x.py").notebook.cells
    assert (cell.cell_type, cell.source) == ("markdown", "```\n%% a\n```\nb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# %%\nx = '\xe9'\n", "cannot read .*/01_x.py: 'utf-8' codec"),
        (b"# %%\nx = 1\n\0\n", "01_x.py.*null bytes"),
        (b"# ---\n# title: [\n# ---\n# %%\nx = 1\n", "cannot read the front matter of .*/01_x.py"),
        (b"# ---\n# title\n# ---\n# %%\nx = 1\n", "cannot read the front matter of .*/01_x.py"),
        (b"# -*- coding: latin-1 -*-\n# %%\nx = 1\n", "cannot read .*/01_x.py: its coding line"),
        (
            b"# ---\n# jupyter:\n#   kernelspec: {name: python3}\n# ---\n# %%\nx = 1\n",
            "front matter of .*/01_x.py: 'display_name' is a required property$",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "01_x.py").write_bytes(content)
    with pytest.raises(ChapterError, match=message) as caught:
        read_script(tmp_path / "01_x.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("private", ["\ue000", "\ue0007", "\ue000\ue001\ue003 x"])
def test_prose_may_hold_private_characters(tmp_path: Path, private: str) -> None:
    text = f"# %% [markdown]\n# {private}\n\n# %%\nx = '{private}'\n"
    (tmp_path / "01_x.py").write_text(text, encoding="utf-8")
    script = read_script(tmp_path / "01_x.py")
    assert [cell.source for cell in script.notebook.cells] == [private, f"x = '{private}'"]
    assert script.first_lines == (1, 5)


def test_a_byte_order_mark_is_no_part_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "01_x.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert [source for _, source in read_script(tmp_path / "01_x.py").code()] == ["x = 1"]
