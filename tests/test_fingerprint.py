"""Oracle: small packages written by the test, whose imports are known."""

import pytest

from internals import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write modules of a package `internals` of the test's own; returns a function that does."""
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)

    def write(**modules: str) -> None:
        for name, source in modules.items():
            path = tmp_path / "internals" / f"{name.replace('_of_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    write(__init__="")
    return write


def _modules(source: str) -> set[str]:
    return set(fingerprint.reach(source=source).modules)


def test_follows_imports_to_the_end_and_through_circles(package):
    package(
        a="import internals.b\nimport numpy.linalg",
        b="from internals.c import x",
        c="def f():\n    from internals import a, d\n    import torch",
        d="",
        e="raise SystemExit",
    )
    reach = fingerprint.reach(source="from internals import a\nimport os")
    assert set(reach.modules) == {"internals"} | {f"internals.{name}" for name in "abcd"}
    assert reach.third_party == {"numpy", "torch", "os"}


def test_lazy_names_lead_to_the_module_that_defines_them(package, tmp_path):
    package(p_of_q="x = 1", p_of_r="y = 1")
    folder = tmp_path / "internals" / "p"
    (folder / "__init__.py").write_text("import lazy_loader")
    (folder / "__init__.pyi").write_text("from .q import x as x\nfrom .r import y as z")
    assert _modules("from internals.p import x") == {"internals", "internals.p", "internals.p.q"}
    assert _modules("from internals.p import z") == {"internals", "internals.p", "internals.p.r"}


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1", "x  =  1  # one", True),
        ('def f():\n    "doc"\n    return 1', "def f():\n    return 1", True),
        ('"""Module."""\nx = 1', '"""Another."""\n\nx = 1', True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x = 1.0", False),
        ("x = 'a'\n'not a docstring'", "x = 'a'\n'changed'", False),
        ("a = 1\nb = 2", "b = 2\na = 1", False),
    ],
)
def test_only_what_code_does_counts(before, after, same):
    assert (fingerprint.tree_hash(before) == fingerprint.tree_hash(after)) is same


def test_an_edit_is_seen_by_a_process_that_has_looked_before(package, tmp_path):
    """As a server does that rebuilds its pages on every change."""
    package(a="x = 1")
    first = fingerprint.reach(modules=["internals.a"]).modules["internals.a"]
    package(a="x = 2")
    assert fingerprint.reach(modules=["internals.a"]).modules["internals.a"] != first


def test_digest_is_of_the_content_not_of_the_order():
    assert fingerprint.digest({"a": 1, "b": [2.5]}) == fingerprint.digest({"b": [2.5], "a": 1})
    assert fingerprint.digest([1, 2]) != fingerprint.digest([2, 1])
    assert len(fingerprint.digest("")) == 20


def test_a_name_leads_to_the_modules_that_it_stands_for(package):
    """In a chapter wherever it stands, in a module where it is given to a call."""
    package(
        a="build('net')\nT = {'other': f('x')}",
        b="TABLE = {'net': 1, 'other': 2}",
        net="from internals import recipe",
        other="",
        recipe="",
    )
    named = {"net": ["internals.net"], "other": ["internals.other"]}

    def reached(source: str) -> set[str]:
        modules = fingerprint.reach(source=source, named=named).modules
        return {name.removeprefix("internals.") for name in modules} - {"internals"}

    assert reached("from internals import a") == {"a", "net", "recipe"}
    assert reached("from internals import b") == {"b"}
    assert reached("NETWORKS = {'other': 1}") == {"other"}
    assert _modules("from internals import a") == {"internals", "internals.a"}


def test_a_literal_is_read_without_import(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("raise SystemExit\nX: dict = {'n': ('m', 1)}\nY = Z = 2\nW: int")
    assert fingerprint.literal(path, "X") == {"n": ("m", 1)}
    assert fingerprint.literal(path, "Z") == 2
    with pytest.raises(KeyError, match="assigns no V"):
        fingerprint.literal(path, "V")
