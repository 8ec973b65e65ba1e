"""Oracle: the syntax trees of the package and of its tests, held to the rules of the project."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from internals.fingerprint import public_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "internals"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in [*MODULES, *TESTS]}

# In the order of the data: a package may import itself and what stands before it. The figures know
# none of them, so whoever fills one of their data classes may stand before them.
FILL_FIGURES = {"projection", "network"}
ORDER = [
    "data", "models", "anatomy", "activations", "projection", "attacks", "probing", "training",
    "ablations", "network", "figures", "book", "atlas", "cli",
]  # fmt: skip
# Every package may import these; each of them only what stands before it.
GROUND = ["errors", "files", "environment", "fingerprint", "progress", "lazy"]
ALL_BEFORE_FIGURES = set(ORDER[: ORDER.index("figures")])

# Tests reach these past a package's door, each for a reason.
NOT_PUBLIC = {
    "internals.cli": "its commands are Python functions of their own modules",
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.AST) -> set[str]:
    """Every imported name in full: `a.b` and, for `from a import b`, `a.b` as well."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _own_imports(tree: ast.AST) -> set[str]:
    """The packages and ground modules of this project that are imported."""
    return {name.split(".")[1] for name in _imports(tree) if name.startswith("internals.")}


def _wrong_imports(name: str, tree: ast.AST) -> set[str]:
    own = [*name.split("."), ""][1]
    imported = _own_imports(tree)
    if own == "":
        return imported - {"lazy"}
    if own in GROUND:
        return imported - set(GROUND[: GROUND.index(own)])
    if own == "figures":
        return imported - {"figures", "errors", "lazy"}
    allowed = {*GROUND, *ORDER[: ORDER.index(own) + 1]}
    return imported - allowed - ({"figures"} if own in FILL_FIGURES else set())


def test_imports_point_one_way():
    wrong = {path.relative_to(ROOT): _wrong_imports(_name(path), TREES[path]) for path in MODULES}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_check_of_imports_sees_a_wrong_one():
    tree = ast.parse("from internals.figures.table import Table\nimport internals.data.image_set")
    assert _wrong_imports("internals.models.lenet5", tree) == {"figures"}
    assert _wrong_imports("internals.figures.plots", tree) == {"data"}
    assert _wrong_imports("internals.files", tree) == {"figures", "data"}
    assert _wrong_imports("internals.cli.train", tree) == set()


def test_figures_and_book_know_no_torch_and_the_book_no_network():
    """Of the packages before the figures, the book may only ask which data there are."""
    for path in MODULES:
        if _name(path).split(".")[1:2] not in (["figures"], ["book"]):
            continue
        names = _imports(TREES[path])
        outside = {name.split(".")[0] for name in names}
        assert not outside & {"torch", "torchvision", "lightning_fabric", "captum"}, path
        own = {name for name in names if name.startswith("internals.")}
        networks = {name for name in own if name.split(".")[1] in ALL_BEFORE_FIGURES}
        assert {n for n in networks if not n.startswith("internals.data.sources.")} == set(), path


def test_lazy_packages_keep_their_promises():
    """Every public name of a `.pyi` can be imported from its package, also after its module.

    Importing `internals.data.load` must not put the module in the place of the function.
    """
    for stub in PACKAGE.rglob("__init__.pyi"):
        package = importlib.import_module(_name(stub.with_suffix(".py")))
        names = public_names(package.__name__)
        assert list(names) and sorted(names) == sorted(package.__all__)
        for name, module in names.items():
            importlib.import_module(module)
            assert not name.startswith("_"), f"{stub}: {name}"
            assert not isinstance(getattr(package, name), ModuleType), f"{stub}: {name}"


def test_nothing_is_unpickled_unsafely():
    """`torch.load` only with weights_only=True; no pickle.load at all."""
    for path in MODULES:
        for node in ast.walk(TREES[path]):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("pickle.load", "pickle.loads", "joblib.load"), path
            if called == "torch.load":
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert options.get("weights_only") == "True", path


# The tests themselves


def test_every_test_file_names_its_oracle():
    without = [
        path.relative_to(ROOT)
        for path in TESTS
        if path.name.startswith("test_")
        and not (ast.get_docstring(TREES[path]) or "").startswith("Oracle: ")
    ]
    assert without == []


def _lost_comparisons(tree: ast.AST) -> list[int]:
    """Lines where the answer of a comparison is thrown away, as if `assert` had been forgotten."""
    silent = {"allclose", "array_equal", "equal", "isclose", "array_equiv"}
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr):
            continue
        value = node.value
        called = value.func if isinstance(value, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", ""))
        if name in silent or isinstance(value, ast.Compare):
            lines.append(node.lineno)
    return lines


def test_no_comparison_is_lost():
    lost = {path.relative_to(ROOT): _lost_comparisons(TREES[path]) for path in TESTS}
    assert {path: lines for path, lines in lost.items() if lines} == {}


def test_the_check_for_lost_comparisons_sees_them():
    source = "np.allclose(a, b)\nassert np.allclose(a, b)\ntorch.equal(a, b)\na == b\nequal(a)\n"
    assert _lost_comparisons(ast.parse(source)) == [1, 3, 4, 5]


def _past_the_door(tree: ast.AST) -> set[str]:
    """Names imported from a module inside a package, which offers them or does not."""
    return {
        name
        for name in _imports(tree)
        if name.startswith("internals.") and name.count(".") > 2 and not name.startswith(DOORS)
        if not ROOT.joinpath(*name.split(".")[:-1], "__init__.pyi").is_file()
    }


DOORS = tuple(f"{name}." for name in NOT_PUBLIC)


def test_tests_import_from_the_packages():
    """What a test needs is public, so that a module can move without it."""
    deep = {path.relative_to(ROOT): _past_the_door(TREES[path]) for path in TESTS}
    assert {str(path): sorted(names) for path, names in deep.items() if names} == {}


def _private_names(tree: ast.AST) -> Iterator[str]:
    """Private names of the package that are imported, read or patched."""
    modules = set()  # the names under which this file holds modules and objects of the package
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name for a in node.names if a.name.startswith("internals")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("internals"):
            modules |= {alias.asname or alias.name for alias in node.names}
            yield from (f"{node.module}.{a.name}" for a in node.names if _private(a.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr):
            if ast.unparse(node.value).split(".")[0] in modules:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            target, name = [*node.args, None, None][:2]
            for text in (getattr(target, "value", ""), getattr(name, "value", "")):
                words = text.split(".") if isinstance(text, str) else []
                if any(map(_private, words)):
                    yield ast.unparse(node)


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_tests_touch_no_private_name():
    private = {path.relative_to(ROOT): sorted(_private_names(TREES[path])) for path in TESTS}
    assert {str(path): names for path, names in private.items() if names} == {}


def test_the_checks_of_tests_see_what_they_forbid():
    source = (
        "from internals.data.load import load, _digits\nfrom internals.cli.train import train\n"
        "from internals import data\nfrom internals.errors import DataError\ndata._cache\n"
        "monkeypatch.setattr(data, '_f', 1)\nmonkeypatch.setattr('internals.data._f', 1)\n"
        "self._own\n"
    )
    tree = ast.parse(source)
    assert _past_the_door(tree) == {"internals.data.load.load", "internals.data.load._digits"}
    assert len(list(_private_names(tree))) == 4


# The repository


def _kept_files() -> list[Path]:
    """What git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git checkout to know which files belong to the project")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_download_address_of_a_package_index_is_written_down():
    """Such addresses are of one machine; the ordinary index needs none."""
    address = re.compile(
        r"(--(extra-)?index-" + r"url|https?://[^\s\"'<>]*(" + r"/simple/|pypi\.org|pythonhosted))"
    )
    addresses = []
    for path in _kept_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        addresses += [f"{path.relative_to(ROOT)}: {m.group()}" for m in address.finditer(text)]
    assert addresses == []
