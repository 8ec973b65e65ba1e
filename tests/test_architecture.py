"""Oracle: the syntax trees of the package and of its tests, held to the rules of the project."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "internals"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

# The road of the data: a package may import itself and what stands before it.
ROAD = [
    "data", "models", "anatomy", "attacks", "training", "ablations", "activations", "probing",
    "projection", "figures", "book", "cli",
]  # fmt: skip
GROUND = {"errors", "files", "environment", "fingerprint", "progress"}
# What the ground may import of itself: each only what stands before it.
GROUND_ORDER = ["errors", "files", "environment", "fingerprint", "progress"]

BANNED_NAMES = {"utils", "util", "misc", "helpers", "helper", "common", "tools", "lib"}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(tree: ast.AST) -> set[str]:
    """Every imported name in full: `a.b` and, for `from a import b`, `a.b` as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _first_party(tree: ast.AST) -> set[str]:
    """The sub-packages and ground modules that are imported."""
    return {name.split(".")[1] for name in _imports(tree) if name.split(".")[0] == "internals"}


def _arrow_violations(name: str, tree: ast.AST) -> set[str]:
    own = [*name.split("."), ""][1]
    imported = _first_party(tree)
    if own in GROUND_ORDER:
        return imported - set(GROUND_ORDER[: GROUND_ORDER.index(own)])
    if own in ROAD:
        return imported - GROUND - set(ROAD[: ROAD.index(own) + 1])
    return imported


def _ids(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", MODULES, ids=_ids(MODULES))
def test_imports_point_back_along_the_road(path):
    tree = ast.parse(path.read_text())
    assert _arrow_violations(_name(path), tree) == set()


def test_the_arrow_check_sees_a_wrong_arrow():
    tree = ast.parse("from internals.figures.table import Table\nimport internals.data.image_set")
    assert _arrow_violations("internals.models.lenet5", tree) == {"figures"}
    assert _arrow_violations("internals.files", tree) == {"figures", "data"}
    assert _arrow_violations("internals.book.pages", tree) == set()


def _third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(ast.parse(path.read_text()))}


def _part(package: str) -> list[Path]:
    return [path for path in MODULES if path.is_relative_to(PACKAGE / package)]


@pytest.mark.parametrize("package", ["figures", "book"])
def test_figures_and_book_know_no_torch(package):
    for path in _part(package):
        found = _third_party(path) & {"torch", "torchvision", "lightning_fabric", "captum"}
        assert not found, path


def test_models_know_torch_and_nothing_else_of_ours():
    for path in _part("models"):
        assert _first_party(ast.parse(path.read_text())) <= {"models", "errors"}, path


def test_the_book_knows_no_network():
    """Of the packages with networks in them it may ask only which data there are."""
    for path in _part("book"):
        names = {n for n in _imports(ast.parse(path.read_text())) if n.startswith("internals.")}
        foreign = {
            name
            for name in names
            if name.split(".")[1] in set(ROAD[: ROAD.index("figures")])
            and not name.startswith("internals.data.sources")
        }
        assert not foreign, f"{path.name}: {foreign}"


@pytest.mark.parametrize("path", MODULES, ids=_ids(MODULES))
def test_modules_and_functions_are_small(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 250
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > _allowed(node)
    }
    assert not long


def _allowed(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Forty lines of code: the docstring explains and is not counted."""
    if ast.get_docstring(node) is None:
        return 40
    first = node.body[0]
    return 40 + first.end_lineno - first.lineno + 1


def _public_without_docstring(tree: ast.Module, path: str) -> list[str]:
    missing = [] if ast.get_docstring(tree) else [path]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_") and not ast.get_docstring(node):
            missing.append(f"{path}:{node.name}")
    return missing


@pytest.mark.parametrize("path", MODULES, ids=_ids(MODULES))
def test_modules_and_public_names_say_what_they_are(path):
    assert _public_without_docstring(ast.parse(path.read_text()), path.name) == []


@pytest.mark.parametrize("path", MODULES, ids=_ids(MODULES))
def test_no_module_is_a_drawer(path):
    assert not BANNED_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)


def test_lazy_packages_name_all_that_they_promise():
    """Every public name of a `.pyi` can be imported from its package."""
    import importlib

    for stub in PACKAGE.rglob("__init__.pyi"):
        package = importlib.import_module(_name(stub.with_suffix(".py")))
        for node in ast.parse(stub.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert hasattr(package, alias.asname or alias.name), f"{stub}: {alias.name}"


# The tests themselves


@pytest.mark.parametrize("path", TESTS, ids=_ids(TESTS))
def test_every_test_file_names_its_oracle(path):
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert docstring.startswith("Oracle: ")


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


@pytest.mark.parametrize("path", TESTS, ids=_ids(TESTS))
def test_no_comparison_is_lost(path):
    assert _lost_comparisons(ast.parse(path.read_text())) == []


def test_the_check_for_lost_comparisons_sees_them():
    source = "np.allclose(a, b)\nassert np.allclose(a, b)\ntorch.equal(a, b)\na == b\nequal(a)\n"
    assert _lost_comparisons(ast.parse(source)) == [1, 3, 4, 5]


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
    found = []
    for path in _kept_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m.group()}" for m in address.finditer(text)]
    assert found == []


def test_nothing_is_unpickled_without_a_lock():
    """`torch.load` only with weights_only=True; no pickle.load at all."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("pickle.load", "pickle.loads", "joblib.load"), path
            if called == "torch.load":
                locked = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert locked.get("weights_only") == "True", path
