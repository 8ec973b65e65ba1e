"""Copies of the tiny book, and its site built in a process of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from internals.book import ChapterOutcome, Layout
from internals.environment import ROOT

TINYBOOK = Path(__file__).parent / "tinybook"
CONFIG = """\
INHERIT: {root}/mkdocs.yml
docs_dir: {root}/docs
site_url: {site_url}
hooks: [{root}/internals/book/hook.py, {root}/internals/atlas/hook.py]
theme: {{custom_dir: {root}/docs/theme}}
plugins:
  bibtex: {{bib_file: {root}/docs/references.bib}}
  mkdocstrings: {{enabled: {api}}}
"""


@dataclass(frozen=True)
class TinyBook:
    """A copy of the tiny book, the outcomes of its execution, and its built site."""

    layout: Layout
    outcomes: dict[str, ChapterOutcome]
    site: Path


def copy_book(folder: Path, site_url: str = "''", *, api: bool = False) -> Layout:
    """A fresh copy of the tiny book, not executed; its site has the API reference if asked for."""
    shutil.copytree(TINYBOOK, folder, dirs_exist_ok=True)
    (folder / "mkdocs.yml").write_text(
        CONFIG.format(root=ROOT, site_url=site_url, api=str(api).lower())
    )
    return Layout(folder, folder / "build")


def build_site(
    layout: Layout, *options: str, profile: str = "quick", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build the site of the book at `layout` with MkDocs, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("INTERNALS_")}
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--site-dir",
            str(layout.site(profile)),
            *options,
        ],
        cwd=layout.root,
        env={**inherited, **quiet, "INTERNALS_EDITION": profile, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
