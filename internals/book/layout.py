"""Where the book's files lie: chapters, runs, figures, the published edition."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from internals.environment import ROOT
from internals.errors import ChapterError

PROFILES = ("smoke", "quick", "full")
DATA_MODES = ("auto", "real", "embedded")
PUBLISHED = "full"  # the profile whose runs are the committed edition


@dataclass(frozen=True)
class Layout:
    """A book's root folder and the folder for what is made from it, with the places in both."""

    root: Path
    made: Path

    @classmethod
    def here(cls) -> "Layout":
        """This checkout, or the folder named by the environment variable `INTERNALS_BOOK`."""
        return cls.at(Path(os.environ.get("INTERNALS_BOOK") or ROOT).resolve())

    @classmethod
    def at(cls, root: Path) -> "Layout":
        """The book in `root`; what is made goes to `INTERNALS_BUILD`, or to `build/` in it."""
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
        """Where everything made at `profile` goes."""
        return self.made / profile

    def store(self, profile: str, chapter: str) -> Path:
        """The folder of a chapter's runs at `profile`, one sub-folder a key."""
        return self.build(profile) / "chapters" / chapter

    def run_folder(self, profile: str, chapter: str, key: str, *, publish: bool = False) -> Path:
        """Where a run is kept; the published edition has one place a chapter, whatever its key."""
        if publish or profile == PUBLISHED:
            return self.edition / chapter
        return self.store(profile, chapter) / key

    def failed(self, profile: str, chapter: str) -> Path:
        """Where the notebook of a failed execution is kept, to be looked at."""
        return self.build(profile) / "failed" / f"{chapter}.ipynb"

    def site(self, profile: str) -> Path:
        """Where the site built from the runs at `profile` goes."""
        return self.build("" if profile == PUBLISHED else profile) / "site"

    def scripts(self) -> list[Path]:
        """The chapters in reading order: `chapters/NN_name.py`."""
        return sorted(self.chapters.glob("[0-9][0-9]_*.py"))

    def find(self, names: list[str]) -> list[Path]:
        """The scripts called `names` (with or without folder and `.py`), or all for an empty list.

        Raises `ChapterError` naming the first that is unknown and the nearest that are not.
        """
        known = {path.stem: path for path in self.scripts()}
        if not known:
            raise ChapterError(f"no chapters in {self.chapters}; expected files like 01_lenet5.py")
        found = []
        for name in names:
            stem = Path(name).name.removesuffix(".py")
            if stem not in known:
                raise ChapterError(f"unknown chapter {name!r}; {_nearest(stem, list(known))}")
            found.append(known[stem])
        return sorted(set(found)) if names else list(known.values())


def _nearest(stem: str, known: list[str]) -> str:
    """Suggest chapters: those whose name contains `stem`, else those spelled most alike."""
    close = [name for name in known if stem.lower() in name.lower()]
    close = close or difflib.get_close_matches(stem, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(known)}"
