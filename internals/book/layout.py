"""Where the book's files lie: chapters, runs, figures, the published edition."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from internals.environment import ROOT
from internals.errors import ChapterError

PROFILES = ("smoke", "quick", "full")
DATA_MODES = ("auto", "real", "embedded")
LARGEST_SEED = 2**62  # of either sign: torch takes 64 bits, and seeds are counted on from here
PUBLISHED = "full"  # the profile whose runs are the committed edition


@dataclass(frozen=True)
class Layout:
    """The folders of one book.

    Attributes:
        root: The folder that holds `chapters/` and `mkdocs.yml`.
        output: The folder for everything that is built: runs, figures, sites.
    """

    root: Path
    output: Path

    @classmethod
    def here(cls) -> "Layout":
        """This checkout, or the folder named by the environment variable `INTERNALS_BOOK`."""
        return cls.at(Path(os.environ.get("INTERNALS_BOOK") or ROOT).resolve())

    @classmethod
    def at(cls, root: Path) -> "Layout":
        """The book in `root`, built into `INTERNALS_BUILD`, by default into its `build/`."""
        return cls(root, Path(os.environ.get("INTERNALS_BUILD") or root / "build").resolve())

    @property
    def chapters(self) -> Path:
        """The folder of the scripts."""
        return self.root / "chapters"

    @property
    def edition(self) -> Path:
        """The published edition: one folder a chapter, committed."""
        return self.chapters / "edition"

    def build(self, profile: str) -> Path:
        """The folder of everything built at `profile`."""
        return self.output / profile

    def store(self, profile: str, chapter: str) -> Path:
        """The folder of a chapter's runs at `profile`, one sub-folder a key."""
        return self.build(profile) / "chapters" / chapter

    def run_folder(self, profile: str, chapter: str, key: str, *, publish: bool = False) -> Path:
        """The folder of one run; the published edition has one a chapter, whatever its key."""
        if publish or profile == PUBLISHED:
            return self.edition / chapter
        return self.store(profile, chapter) / key

    def failed(self, profile: str, chapter: str) -> Path:
        """The file that holds the notebook of a failed execution, for inspection."""
        return self.build(profile) / "failed" / f"{chapter}.ipynb"

    def site(self, profile: str) -> Path:
        """The folder of the site that is built from the runs at `profile`."""
        return self.build("" if profile == PUBLISHED else profile) / "site"

    def scripts(self) -> list[Path]:
        """The chapters in reading order: `chapters/NN_name.py`."""
        return sorted(self.chapters.glob("[0-9][0-9]_*.py"))

    def find(self, names: list[str]) -> list[Path]:
        """The scripts of the named chapters, in reading order.

        Args:
            names: Chapter names, with or without folder and `.py`; empty for all chapters.

        Raises:
            ChapterError: A name is unknown; the message suggests the nearest known names.
        """
        known = {path.stem: path for path in self.scripts()}
        if not known:
            raise ChapterError(f"no chapters in {self.chapters}; expected files like 01_lenet5.py")
        scripts = []
        for name in names:
            stem = Path(name).name.removesuffix(".py")
            if stem not in known:
                raise ChapterError(f"unknown chapter {name!r}; {_nearest(stem, list(known))}")
            scripts.append(known[stem])
        return sorted(set(scripts)) if names else list(known.values())


def _nearest(stem: str, known: list[str]) -> str:
    """Suggest the chapters whose name contains `stem`, else those spelled most alike."""
    close = [name for name in known if stem.lower() in name.lower()]
    close = close or difflib.get_close_matches(stem, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}"
