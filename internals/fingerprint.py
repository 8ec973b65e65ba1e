"""What code a result depends on, as hashes of the syntax trees that an import would run.

Comments, docstrings and layout are not part of a syntax tree's meaning, so editing them changes
no fingerprint. Modules that are looked up by a name, such as a network's, are reached by that name
where the caller says which names lead where. Limits: names computed at run time are invisible.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from internals.environment import ROOT

PACKAGE = "internals"
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Reach:
    """Everything that an import would run.

    Attributes:
        modules: The modules of this package, with a hash of each.
        third_party: The top-level names of all other imports, the standard library's included.
    """

    modules: Mapping[str, str]
    third_party: frozenset[str]


def reach(
    *,
    modules: Iterable[str] = (),
    source: str = "",
    named: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Reach:
    """Follow imports to the end, through functions and circles.

    Args:
        modules: Names of modules of this package to start from.
        source: Python code to start from.
        named: The modules that a name stands for, where it is a text in `source` or is given to a
            call in a module.

    Raises:
        FileNotFoundError: A module of this package that is imported does not exist.
    """
    hashes: dict[str, str] = {}
    third_party: set[str] = set()
    todo = list(modules)
    if source:
        tree = ast.parse(source)
        inner, outer = _split(tree, package="")
        texts = _texts(ast.walk(tree))
        todo += inner + [module for text in texts for module in named.get(text, ())]
        third_party |= outer
    while todo:
        name = todo.pop()
        if name in hashes:
            continue
        path = _file(name)
        hashes[name], inner, outer, given = _read(name, path, path.stat().st_mtime_ns)
        third_party |= outer
        todo += inner + [module for text in given for module in named.get(text, ())]
        if "." in name:  # importing a.b.c runs a/__init__ and a.b/__init__ as well
            todo.append(name.rpartition(".")[0])
    return Reach(dict(sorted(hashes.items())), frozenset(third_party))


def digest(parts: object) -> str:
    """A short, stable name for anything that JSON can write.

    Returns:
        The first 20 hexadecimal digits of the SHA-256 of its JSON, keys sorted.
    """
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
def _read(name: str, path: Path, changed: int) -> tuple[str, list[str], set[str], set[str]]:
    """A module's hash, its imports, and the texts that it gives to calls.

    `changed`, its modification time, is part of the cache's key.
    """
    source = path.read_text(encoding="utf-8")
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(source)
    inner, outer = _split(tree, package)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    arguments = [[*call.args, *(keyword.value for keyword in call.keywords)] for call in calls]
    return tree_hash(source), inner, outer, _texts(node for nodes in arguments for node in nodes)


def _texts(nodes: Iterable[ast.AST]) -> set[str]:
    """The string literals among `nodes`."""
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


def _split(tree: ast.AST, package: str) -> tuple[list[str], set[str]]:
    """The first-party modules and the third-party top-level names that `tree` imports."""
    inner: list[str] = []
    outer: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported: list[tuple[str, str | None]] = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            imported = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, member in imported:
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
    module = public_names(base).get(member)
    return _defining_module(module, member) if module else base


def public_names(package: str) -> Mapping[str, str]:
    """The public names of a lazy package and where its `.pyi` imports them from.

    Returns:
        For each name a module or, for names that another package defines, that package; nothing
        for a package without a `.pyi`, or a module.
    """
    stub = ROOT.joinpath(*package.split("."), "__init__.pyi")
    return _read_stub(package, stub, stub.stat().st_mtime_ns) if stub.is_file() else {}


def literal(path: Path, name: str) -> Any:
    """What the module at `path` assigns to `name` as a literal; the module is not imported.

    Raises:
        KeyError: It assigns none.
    """
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise KeyError(f"{path} assigns no {name}")


def defines(module: str, name: str) -> bool:
    """Whether a module of this package defines a function or class of this name."""
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) and node.name == name for node in tree.body)


@cache
def _read_stub(package: str, stub: Path, changed: int) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.level else str(node.module)
            names |= {alias.asname or alias.name: base for alias in node.names}
    return names


def _exists(name: str) -> bool:
    return _file(name).is_file()


def _file(name: str) -> Path:
    base = ROOT.joinpath(*name.split("."))
    module = base.with_suffix(".py")
    return module if module.is_file() else base / "__init__.py"
