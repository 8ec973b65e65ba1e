"""What an executed chapter depends on, as one content key.

The key covers code cells, the package's modules that they reach by import, package versions, the
Python version, data, profile and seed. Prose, comments and layout are not part of it.
"""

import ast
import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from internals.book.script import Script
from internals.environment import versions
from internals.errors import ChapterError
from internals.fingerprint import PACKAGE, Reach, digest, literal, reach

SCHEMA = 1  # raise to execute everything again: what is stored, and how, has changed


@dataclass(frozen=True)
class ExecutionSettings:
    """How a chapter is executed.

    Attributes:
        profile: "smoke", "quick" or "full".
        data: "auto", "real" or "embedded".
        seed: The seed of every random choice.
    """

    profile: str = "quick"
    data: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Key:
    """A content key in two parts.

    The published edition is stale when the source changes; a run is repeated when either does.

    Attributes:
        source: What the author wrote: hashes of code cells and of the modules they reach.
        environment: Where it runs: package versions, Python, profile, seed, data.
    """

    source: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The key itself: the name of a run's folder."""
        return digest(asdict(self))

    @property
    def source_digest(self) -> str:
        """The key of the source alone."""
        return digest(self.source)

    def with_data(self, data: Mapping[str, str]) -> "Key":
        """The same key over other data fingerprints."""
        return replace(self, environment={**self.environment, "data": dict(data)})


def key_of(script: Script, settings: ExecutionSettings) -> Key:
    """The key of `script` executed under `settings`.

    Raises:
        ChapterError: The script loads data that its front matter does not declare.
        DataError: The declared data are unknown or cannot be had.
    """
    key = Key(source_part(script), environment_part(script, settings))
    return key.with_data(data_part(script, settings))


def source_part(script: Script) -> dict[str, Any]:
    """Hashes of the code cells, and of the modules of the package that they reach by import."""
    sources = [source for _, source in script.code()]
    return {
        "schema": SCHEMA,
        "cells": [cell_hash(source) for source in sources],
        "modules": dict(_reach(script).modules),
    }


def _reach(script: Script) -> Reach:
    source = "\n".join(source for _, source in script.code())
    try:
        return reach(source=source, named=_modules_by_name())
    except FileNotFoundError as error:
        raise ChapterError(
            f"{script.label}: imports a module in {error.filename}, which does not exist"
        ) from error


def _modules_by_name() -> Mapping[str, list[str]]:
    """By the name of a network, the modules that it and its recipe are looked up in.

    Read, not imported: a site is built without torch.
    """
    package = Path(__file__).parents[1]
    named: dict[str, list[str]] = {}
    for network, (module, *_) in literal(package / "models/lookup.py", "MODELS").items():
        named.setdefault(network, []).append(module)
    recipes = literal(package / "training/recipes/__init__.py", "MODULES")
    for network, module in recipes.items():
        named.setdefault(network, []).append(module)
    return named


def environment_part(script: Script, settings: ExecutionSettings) -> dict[str, Any]:
    """Versions of the imported packages and of Python, profile and seed."""
    return {
        "packages": installed(_reach(script).third_party),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "profile": settings.profile,
        "seed": settings.seed,
    }


def data_part(script: Script, settings: ExecutionSettings) -> dict[str, str]:
    """The fingerprint of each declared data set, as `settings.data` resolves it."""
    names = data_sets(script)
    if not names:
        return {}
    from internals.data.sources import identify

    return {name: identify(name, settings.data) for name in names}


def cell_hash(source: str) -> str:
    """A hash of a cell's syntax tree: comments and layout are free, every literal counts."""
    return hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()[:16]


def installed(imports: Iterable[str]) -> dict[str, str]:
    """The version of each third-party distribution that provides a module.

    Args:
        imports: Top-level module names, such as `PIL`; those of the standard library are left out.
    """
    names = set(imports) - sys.stdlib_module_names - {PACKAGE}
    by_distribution = versions(sorted(names))
    if missing := names - set(by_distribution):  # module and distribution differ in name: PIL
        distributions = {owner for name in missing for owner in _owners().get(name, [])}
        by_distribution |= versions(sorted(distributions))
    return dict(sorted(by_distribution.items()))


@cache  # it reads the list of files of every distribution, which takes most of a second
def _owners() -> Mapping[str, list[str]]:
    """The distributions that provide each top-level module."""
    from importlib.metadata import packages_distributions

    return packages_distributions()


def data_sets(script: Script) -> list[str]:
    """The data sets that the script's front matter declares, as `data: mnist` or as a list.

    Raises:
        ChapterError: A cell loads a data set that is not declared; its key would not hold it.
    """
    declared = script.meta.get("data") or []
    names = [declared] if isinstance(declared, str) else list(declared)
    for index, source in script.code():
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            name = _data_set_loaded(node)
            if name and name not in names:
                line = script.first_lines[index] + node.lineno - 1
                raise ChapterError(
                    f"{script.label}:{line}: loads {name!r}, which the front matter does not "
                    f"declare; add it there, as in `data: {name}`"
                )
    return sorted(names)


def _data_set_loaded(call: ast.Call) -> str | None:
    """The data set that a call such as `load("mnist")` or `data.load("mnist")` names."""
    from internals.data.sources import DATASETS

    if ast.unparse(call.func).rpartition(".")[2] != "load" or not call.args:
        return None
    name = getattr(call.args[0], "value", None)
    return name if name in DATASETS or name in DATASETS.values() else None
