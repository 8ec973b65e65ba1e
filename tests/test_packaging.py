"""Oracle: the installed distributions' own requirements, and a process that has only the core's."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from internals.environment import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Run with the refused top-level modules as JSON in REFUSED.
CORE_ONLY = """
import json, os, sys

class OnlyCore:
    refused = set(json.loads(os.environ["REFUSED"]))
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.refused:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(OnlyCore, sys.meta_path)
"""


def _closure(requirements: list[str]) -> set[str]:
    """The distributions that `requirements` need, as far as they are installed here."""
    todo, names = [(Requirement(text), "") for text in requirements], set()
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate(
            {**default_environment(), "extra": extra}
        ):
            continue
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen or name == PROJECT["name"]:
                continue
            seen.add((name, wanted))
            names.add(name)
            try:
                further = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            todo += [(Requirement(text), wanted) for text in further]
    return names


@pytest.fixture(scope="module")
def refused() -> list[str]:
    """The top-level modules that only the extras bring."""
    core = _closure(PROJECT["dependencies"])
    extras = _closure(
        [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    )
    assert {"torch", "typer"} <= core
    assert {"mkdocs", "jupytext", "nbclient", "latex2mathml", "pytest"} <= extras - core
    owners = importlib.metadata.packages_distributions()
    return sorted(
        module
        for module, distributions in owners.items()
        if all(canonicalize_name(name) in extras - core for name in distributions)
    )


def _core_only(
    refused: list[str], folder: Path, code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CORE_ONLY + code, *arguments],
        cwd=folder,
        env={**os.environ, "REFUSED": json.dumps(refused)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_every_public_name_is_there_with_the_core_alone(refused: list[str], tmp_path: Path) -> None:
    code = """
import importlib, pathlib, internals
root = pathlib.Path(internals.__file__).parent
for stub in root.glob("**/__init__.pyi"):
    if stub.parent.name != "book":
        name = ".".join(stub.parent.relative_to(root.parent).parts)
        package = importlib.import_module(name)
        for public in package.__all__:
            getattr(package, public)
from internals.book import learning_curves, open_chapter, show
"""
    done = _core_only(refused, tmp_path, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_for_ones_own_network_need_no_extra(
    refused: list[str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.effect_noise((40, 40), 60).convert("RGB").save(tmp_path / "photos" / f"{number}.png")
    code = """
from internals.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words.split()
    try:
        main()
    except SystemExit as end:
        print("ended", words, end.code)
"""
    panel = "project resnet18 --layer layer1.0 --images photos --out panel.png"
    atlas = "atlas resnet18 --size 32 --layers conv1 --channels 1 --images photos --out site"
    commands = ["data --help", "train --help", "summary resnet18", panel, atlas]
    done = _core_only(refused, tmp_path, code, json.dumps(commands))
    assert done.returncode == 0 and "layer1.0.conv1" in done.stdout, done.stderr
    ends = [line for line in done.stdout.splitlines() if line.startswith("ended")]
    assert ends == [f"ended {words} 0" for words in commands], done.stderr
    assert (tmp_path / "panel.png").is_file()
    assert (tmp_path / "site" / "index.html").is_file()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("execute", []),
        ("build", []),
        ("status", []),
        ("compare", ["before", "after"]),
        ("weights fetch", ["lenet5"]),
    ],
)
def test_the_books_commands_say_what_to_install(
    refused: list[str], tmp_path: Path, command: str, words: list[str]
) -> None:
    whole = [*command.split(), *words]
    done = _core_only(refused, tmp_path, "from internals.cli import main; main()", *whole)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: `internals {command}` needs ")
    assert done.stderr.endswith("pip install 'cnn-internals[book]'\n")
    assert done.stderr.count("\n") == 1
