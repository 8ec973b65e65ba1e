"""What an executed chapter depends on, as one content key.

Prose, comments and layout are free; code, the package's modules that the chapter reaches, package
versions, Python, data, profile and seed are not.
"""

import ast
import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from internals.book.script import Script
from internals.environment import versions
from internals.errors import ChapterError
from internals.fingerprint import PACKAGE, Reach, digest, reach

SCHEMA = 1  # raise to execute everything again: what is stored, and how, has changed


@dataclass(frozen=True)
class Settings:
    """How a chapter is executed: profile, data mode, seed."""

    profile: str = "quick"
    data: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Key:
    """The parts of a content key: `source` is what is written, `environment` where it runs.

    A published edition is stale when its source part is; a run is repeated when either changed.
    """

    source: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The key itself: the name of a run's folder."""
        return digest(asdict(self))

    @property
    def source_digest(self) -> str:
        """The key of what is written, wherever it runs."""
        return digest(self.source)

    def with_data(self, data: Mapping[str, str]) -> "Key":
        """The same key over other data fingerprints."""
        return replace(self, environment={**self.environment, "data": dict(data)})


def key_of(script: Script, settings: Settings) -> Key:
    """The key of `script` under `settings`.

    Raises `ChapterError` where the script does not say which data it loads, `DataError` where
    those data cannot be had.
    """
    key = Key(source_part(script), environment_part(script, settings))
    return key.with_data(data_part(script, settings))


def source_part(script: Script) -> dict[str, Any]:
    """What the author wrote: code cells, and the first-party modules they reach by import."""
    sources = [source for _, source in script.code()]
    return {
        "schema": SCHEMA,
        "cells": [cell_hash(source) for source in sources],
        "modules": dict(_reach(script).modules),
    }


def _reach(script: Script) -> Reach:
    try:
        return reach(source="\n".join(source for _, source in script.code()))
    except FileNotFoundError as error:
        raise ChapterError(
            f"{script.label}: imports what leads to {error.filename}, which is not there"
        ) from error


def environment_part(script: Script, settings: Settings) -> dict[str, Any]:
    """Where it runs: versions of the packages imported, Python, profile and seed."""
    return {
        "packages": installed(_reach(script).third_party),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "profile": settings.profile,
        "seed": settings.seed,
    }


def data_part(script: Script, settings: Settings) -> dict[str, str]:
    """The fingerprint of each data set that the script loads, as `settings.data` resolves it."""
    wanted = data_sets(script)
    if not wanted:
        return {}
    from internals.data.sources import identify

    return {name: identify(name, settings.data) for name in wanted}


def cell_hash(source: str) -> str:
    """A hash of a cell's syntax tree: comments and layout are free, every literal counts."""
    return hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()[:16]


def installed(imports: Iterable[str]) -> dict[str, str]:
    """The version of each third-party distribution behind the top-level names `imports`."""
    names = set(imports) - sys.stdlib_module_names - {PACKAGE}
    found = versions(sorted(names))
    if missing := names - set(found):  # the import name differs from the distribution's: PIL
        from importlib.metadata import packages_distributions

        owners = packages_distributions()
        found |= versions(sorted({owner for name in missing for owner in owners.get(name, [])}))
    return dict(sorted(found.items()))


def data_sets(script: Script) -> list[str]:
    """The data sets named in the script's calls of `internals.load`.

    Raises `ChapterError` for a call whose data set is not written out: no key could hold it.
    """
    wanted: set[str] = set()
    names = _names_of_load(script)
    for index, source in script.code():
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in names):
                continue
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                line = script.first_lines[index] + node.lineno - 1
                raise ChapterError(
                    f"{script.label}:{line}: load() needs the data set's name written out, "
                    'as in load("mnist"), so that the content key can hold it'
                )
            wanted.add(first.value)
    return sorted(wanted)


def _names_of_load(script: Script) -> set[str]:
    """Every spelling under which the script may call `internals.data.load`."""
    names = {"internals.load", "internals.data.load"}
    for _, source in script.code():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in ("internals", "internals.data") and alias.asname:
                        names.add(f"{alias.asname}.load")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                for alias in node.names:
                    if alias.name == "load":
                        names.add(alias.asname or alias.name)
                    elif alias.name == "data":
                        names.add(f"{alias.asname or alias.name}.load")
    return names
