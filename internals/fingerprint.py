"""What code a result depends on, as hashes of the syntax trees that an import would run.

Comments, docstrings and layout are not part of a syntax tree's meaning, so editing them changes
no fingerprint. Limits: imports whose names are computed at run time are invisible.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "internals"
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Reach:
    """The first-party modules an import would run, with their hashes, and the third-party names."""

    modules: Mapping[str, str]
    third_party: frozenset[str]


def reach(*, modules: Iterable[str] = (), source: str = "") -> Reach:
    """Follow the imports of `source` and of the named first-party `modules` to the end."""
    hashes: dict[str, str] = {}
    third_party: set[str] = set()
    todo = list(modules)
    if source:
        inner, outer = _split(ast.parse(source), package="")
        todo += inner
        third_party |= outer
    while todo:
        name = todo.pop()
        if name in hashes:
            continue
        path = _file(name)
        hashes[name], inner, outer = _read(name, path, path.stat().st_mtime_ns)
        third_party |= outer
        todo += inner
        if "." in name:  # importing a.b.c runs a/__init__ and a.b/__init__ as well
            todo.append(name.rpartition(".")[0])
    return Reach(dict(sorted(hashes.items())), frozenset(third_party))


def digest(parts: object) -> str:
    """A short, stable name for anything JSON can write: 20 hexadecimal digits of its SHA-256."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def tree_hash(source: str) -> str:
    """A hash of what `source` does: its syntax tree without docstrings and positions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:20]


@cache
def _read(name: str, path: Path, changed: int) -> tuple[str, list[str], set[str]]:
    """`changed`, the time of the last edit, keeps a long-lived server from telling old news."""
    source = path.read_text(encoding="utf-8")
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    inner, outer = _split(ast.parse(source), package)
    return tree_hash(source), inner, outer


def _split(tree: ast.AST, package: str) -> tuple[list[str], set[str]]:
    """The first-party modules and the third-party top-level names that `tree` imports."""
    inner: list[str] = []
    outer: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted: list[tuple[str, str | None]] = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            wanted = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, member in wanted:
            if base.partition(".")[0] != PACKAGE:
                outer.add(base.partition(".")[0])
            else:
                inner.append(_defining_module(base, member))
    return inner, outer


def _defining_module(base: str, member: str | None) -> str:
    """The module that `from base import member` needs: a sub-module, a lazy export, or `base`."""
    if member is None:
        return base
    if _exists(f"{base}.{member}"):
        return f"{base}.{member}"
    return _exports(base).get(member, base)


@cache
def _exports(package: str) -> Mapping[str, str]:
    """The contents of a lazily importing package: public name -> module, from its `.pyi`."""
    stub = _ROOT.joinpath(*package.split("."), "__init__.pyi")
    if not stub.is_file():
        return {}
    names = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.level else str(node.module)
            for alias in node.names:
                names[alias.asname or alias.name] = _defining_module(base, alias.name)
    return names


def _exists(name: str) -> bool:
    base = _ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _file(name: str) -> Path:
    base = _ROOT.joinpath(*name.split("."))
    module = base.with_suffix(".py")
    return module if module.is_file() else base / "__init__.py"
