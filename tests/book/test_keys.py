"""Oracle: a key's definition. What may change an output changes the key; nothing else does."""

from pathlib import Path

import pytest

from internals import fingerprint
from internals.book import keys
from internals.book.keys import Settings, data_sets, installed, key_of, source_part
from internals.book.script import read_script
from internals.errors import ChapterError

CHAPTER = """\
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
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    monkeypatch.setattr("internals.data.sources.identify", lambda name, mode: f"{name} 1")
    return tmp_path


def digest(book: Path, settings: Settings = Settings()) -> str:
    fingerprint._read.cache_clear()
    fingerprint._exports.cache_clear()
    return key_of(read_script(book / "01_x.py"), settings).digest


def edit(book: Path, file: str, old: str, new: str) -> None:
    path = book / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


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
    seen = {digest(book), digest(book, Settings("full")), digest(book, Settings(seed=1))}
    source = source_part(script)
    monkeypatch.setattr("internals.data.sources.identify", lambda name, mode: f"{name} 2")
    seen.add(digest(book))
    monkeypatch.setattr(keys, "installed", lambda imports: {"numpy": "0"})
    seen.add(digest(book))
    assert len(seen) == 5
    assert source_part(script) == source


def test_the_distribution_is_found_whose_name_is_not_the_import() -> None:
    found = {name.lower() for name in installed({"PIL", "numpy", "json", "internals"})}
    assert found == {"pillow", "numpy"}


@pytest.mark.parametrize(
    "line",
    [
        "from internals import load\nload('mnist')",
        "from internals.data import load as images\nimages('mnist', 'real')",
        "import internals\ninternals.load('mnist')",
        "import internals.data as d\nx = [d.load('mnist')]",
        "from internals import data\ndata.load('mnist')",
    ],
)
def test_data_sets_are_found_under_every_spelling(tmp_path: Path, line: str) -> None:
    (tmp_path / "01_x.py").write_text(f"# %%\nimport json\njson.load('no')\n{line}\n")
    assert data_sets(read_script(tmp_path / "01_x.py")) == ["mnist"]


def test_a_data_set_that_is_not_written_out_is_refused_with_its_line(tmp_path: Path) -> None:
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    (chapters / "01_x.py").write_text(
        "# %% [markdown]\n# Prose\n\n# %%\nfrom internals import load\nload(name)\n"
    )
    with pytest.raises(ChapterError, match=r"^chapters/01_x.py:6: load\(\) needs"):
        data_sets(read_script(chapters / "01_x.py"))


def test_an_import_that_leads_nowhere_is_one_line(book: Path) -> None:
    edit(book, "01_x.py", "from internals import a", "import internals.gone")
    with pytest.raises(ChapterError, match=r"01_x.py: imports what leads to .*gone.*not there"):
        digest(book)
