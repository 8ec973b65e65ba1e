"""Oracle: a key's definition. What may change an output changes the key; nothing else does."""

import os
from pathlib import Path

import pytest

from internals import fingerprint
from internals.book import (
    ExecutionSettings,
    data_sets,
    installed,
    key_of,
    read_script,
    source_part,
)
from internals.errors import ChapterError

CHAPTER = """\
# ---
# data: mnist
# ---

# %% [markdown]
# # Title
#
# Prose.

# %%
from internals import a
from internals.data import load
images = load("mnist", "auto")  # a comment

# %%
print(a.value, images)
"""
MODULES = {
    "__init__.py": "",
    "a.py": '"""Doc."""\nfrom internals.c import other\nvalue = 1\n',
    "b.py": "value = 2\n",
    "c.py": "other = 3\n",
    "data/__init__.py": "def load(name, mode):\n    return name\n",
}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chapter and a small package of its own, with data that are always `mnist 1`."""
    for name, text in MODULES.items():
        path = tmp_path / "internals" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "01_x.py").write_text(CHAPTER)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    monkeypatch.setattr("internals.data.sources.identify", lambda name, mode: f"{name} 1")
    return tmp_path


def digest(book: Path, settings: ExecutionSettings = ExecutionSettings()) -> str:
    return key_of(read_script(book / "01_x.py"), settings).digest


def edit(book: Path, file: str, old: str, new: str) -> None:
    path = book / file
    text = path.read_text()
    assert old in text
    before = path.stat().st_mtime_ns
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before + 10**9, before + 10**9))  # clocks of file systems may be coarse


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("01_x.py", "Prose.", "Other prose,\n# of two lines."),
        ("01_x.py", "# a comment", "# another"),
        ("01_x.py", "# %%\nprint", '# %% tags=["hide-input"]\nprint'),
        ("01_x.py", "print(a.value, images)", "print(\n    a.value, images\n)"),
        ("internals/a.py", "Doc.", "Another docstring."),
        ("internals/a.py", "value = 1", "# why\nvalue = 1"),
        ("internals/b.py", "value = 2", "value = 3"),
    ],
    ids=["prose", "comment", "metadata", "layout", "docstring", "package comment", "not reached"],
)
def test_what_cannot_change_an_output_keeps_the_key(
    book: Path, file: str, old: str, new: str
) -> None:
    before = digest(book)
    edit(book, file, old, new)
    assert digest(book) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("01_x.py", "print(a.value", "print(-a.value"),
        ("01_x.py", '"auto"', '"real"'),
        ("internals/a.py", "value = 1", "value = 2"),
        ("internals/c.py", "other = 3", "other = 4"),
        ("internals/data/__init__.py", "return name", "return name * 2"),
    ],
    ids=["code", "literal", "module", "module of a module", "package"],
)
def test_what_may_change_an_output_changes_the_key(
    book: Path, file: str, old: str, new: str
) -> None:
    before = digest(book)
    edit(book, file, old, new)
    assert digest(book) != before


def test_profile_seed_data_and_versions_are_in_the_environment_only(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = read_script(book / "01_x.py")
    seen = {
        digest(book),
        digest(book, ExecutionSettings("full")),
        digest(book, ExecutionSettings(seed=1)),
    }
    source = source_part(script)
    monkeypatch.setattr("internals.data.sources.identify", lambda name, mode: f"{name} 2")
    seen.add(digest(book))
    monkeypatch.setattr("internals.book.keys.installed", lambda imports: {"numpy": "0"})
    seen.add(digest(book))
    assert len(seen) == 5
    assert source_part(script) == source


def test_the_distribution_is_found_whose_name_is_not_the_import() -> None:
    names = {name.lower() for name in installed({"PIL", "numpy", "json", "internals"})}
    assert names == {"pillow", "numpy"}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("", []),
        ("# data: mnist\n", ["mnist"]),
        ("# data: [mnist, imagenette]\n", ["imagenette", "mnist"]),
    ],
)
def test_data_sets_are_those_of_the_front_matter(
    tmp_path: Path, declared: str, expected: list[str]
) -> None:
    path = tmp_path / "01_x.py"
    path.write_text(f"# ---\n# title: X\n{declared}# ---\n\n# %%\nimport json\njson.load('no')\n")
    assert data_sets(read_script(path)) == expected


@pytest.mark.parametrize(
    "call", ["load('digits')", "internals.load('digits', 'real')", "x = [d.load('digits')]"]
)
def test_a_data_set_that_is_not_declared_is_refused_with_its_line(
    tmp_path: Path, call: str
) -> None:
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    (chapters / "01_x.py").write_text(
        f"# ---\n# data: mnist\n# ---\n\n# %%\nload('mnist')\n{call}\n"
    )
    message = r"^chapters/01_x.py:7: loads 'digits', which the front matter does not declare"
    with pytest.raises(ChapterError, match=message):
        data_sets(read_script(chapters / "01_x.py"))


def test_an_import_that_leads_nowhere_is_one_line(book: Path) -> None:
    edit(book, "01_x.py", "from internals import a", "import internals.gone")
    with pytest.raises(ChapterError, match=r"01_x.py: imports a module in .*gone.*does not exist"):
        digest(book)
