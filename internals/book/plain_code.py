"""Highlighted code without the marks that no style sheet gives a colour of its own.

A Python-Markdown extension that runs last. Names, numbers, brackets, operators and blanks have the
ink of the text around them; marked one by one they would be a third of a chapter's page.
"""

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor

# As Pygments marks them: names, modules, built-in names and constants, numbers, operators,
# punctuation, blanks; and its empty first mark.
_PLAIN = re.compile(
    r'<span class="(?:n|nn|nb|bp|no|kc|m[bfhio]|il|o|ow|p|w)">([^<]*)</span>|<span></span>'
)
_AFTER_RAW_HTML = 5


class PlainCodeExtension(Extension):
    """Removes the marks around what is drawn in the ink of the text."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Register the removal behind whatever puts code into the page."""
        md.postprocessors.register(_Unmark(md), "internals-plain-code", _AFTER_RAW_HTML)


class _Unmark(Postprocessor):
    def run(self, text: str) -> str:
        return _PLAIN.sub(lambda mark: mark[1] or "", text)


def makeExtension(**settings: Any) -> PlainCodeExtension:  # noqa: N802 (Python-Markdown's name)
    """What Python-Markdown calls to load this module as an extension."""
    return PlainCodeExtension(**settings)
