"""TeX to MathML when a page is built: equations without a script, a font file or a request.

A Python-Markdown extension that runs after `pymdownx.arithmatex` in its generic form.
"""

import html
import logging
import re
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

log = logging.getLogger("mkdocs.plugins.internals.mathml")

# Spellings that the converter does not know, and what it does know for the same thing.
_SPELLINGS = [
    (re.compile(r"\\arg\s*\\(min|max)(?![a-zA-Z])"), r"\\operatorname{arg\1}"),
    (re.compile(r"\\operatorname\*"), r"\\operatorname"),
    (re.compile(r"\\arg(min|max)?(?![a-zA-Z])"), r"\\operatorname{arg\1}"),
    (re.compile(r"\\(begin|end)\{(?:aligned|align|split|gathered)\}"), r"\\\1{align*}"),
    (re.compile(r"\\(label|nonumber|notag)\b(\{[^}]*\})?"), ""),
]
_LIMITS = {"min", "max", "argmin", "argmax", "lim", "sup", "inf"}
_SPELT_OUT = {"argmin": "arg\u2009min", "argmax": "arg\u2009max"}
_OPERATORS = set("±∓×·÷∘∗⋆⊙⊗⊕≈≡∝→←↦⇒′")
_SIGNS = set("+−±∓")
_OPENING, _CLOSING = set("([{⌊⌈⟨"), set(")]}⌋⌉⟩!|‖")
_SCRIPTED = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
_AFTER_PRETTIFY = 8


class MathMLExtension(Extension):
    r"""Replaces the equations that arithmatex marks, `\(...\)` and `\[...\]`, by MathML."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Register the conversion after arithmatex and the pretty-printer."""
        md.treeprocessors.register(_Equations(md), "internals_mathml", _AFTER_PRETTIFY)


class _Equations(Treeprocessor):
    def run(self, root: Element) -> None:
        for element in root.iter():
            if element.get("class") != "arithmatex" or not element.text:
                continue
            text = html.unescape(element.text).strip()
            tex, block = text[2:-2].strip(), text.startswith(r"\[")
            math = mathml(tex, block)
            element.text = None
            if block:  # a wide equation scrolls in its own box
                element.attrib = {"class": "equation", "tabindex": "0"}
                element.append(math)
            else:
                element.tag, element.attrib = math.tag, math.attrib
                element.extend(list(math))


def mathml(tex: str, block: bool) -> Element:
    """An equation as MathML.

    A part that cannot be converted is logged as a warning, which fails a strict build.

    Args:
        tex: The equation without delimiters.
        block: Whether it stands on lines of its own.

    Returns:
        A `<math>` element whose `alttext` is the TeX.
    """
    known = tex
    for pattern, spelling in _SPELLINGS:
        known = pattern.sub(spelling, known)
    try:
        math = convert_to_element(known, display="block" if block else "inline")
    except Exception as error:  # the converter's errors share no base class
        log.warning("cannot convert the equation %r: %s", tex, type(error).__name__)
        math = Element("math")
        math.text = tex
    if known.replace(r"\{", "").count("{") != known.replace(r"\}", "").count("}"):
        log.warning("the equation %r has a brace without its partner", tex)
    if lost := [t for e in math.iter() if (t := e.text or "").startswith("\\") or t == "&"]:
        log.warning("the equation %r holds %s, which is not known", tex, ", ".join(lost))
    math.attrib.pop("xmlns", None)
    math.set("alttext", tex)
    for element in math.iter():
        _flatten(element)
        _mend(element, block)
    for element in math.iter():
        _space(element)
    return math


def _flatten(element: Element) -> None:
    """Replace each row that has one child by this child."""
    for index, child in enumerate(element):
        while child.tag == "mrow" and len(child) == 1:
            child = child[0]
        element[index] = child


def _mend(element: Element, block: bool) -> None:
    """Replace markup of older MathML by that of MathML Core."""
    element.text = html.unescape(element.text) if element.text else element.text
    text = element.text or ""
    if element.tag == "mi" and (text in _OPERATORS or (len(text) > 1 and text.isalpha())):
        element.tag = "mo"
    if element.get("mathvariant") == "bold":  # browsers keep only `normal` of this attribute
        element.set("mathvariant", "normal")
        element.set("class", "bold")
    if side := element.attrib.pop("columnalign", None):
        element.set("class", side)
    scripted = element.tag in ("msub", "msup", "msubsup") and len(element) > 0
    if block and scripted and (element[0].text or "") in _LIMITS:
        element.tag = {"msub": "munder", "msup": "mover"}.get(element.tag, "munderover")


def _space(row: Element) -> None:
    """Space operators as TeX does: none after a sign or beside a bracket, little around names."""
    if row.tag in _SCRIPTED:  # its base stands in the row around it
        return
    children = list(row)
    for element, before, after in zip(
        children, [None, *children], [*children[1:], None], strict=False
    ):
        core = element[0] if element.tag in _SCRIPTED and len(element) else element
        if core.tag != "mo":
            continue
        text = core.text or ""
        if text.isalpha():
            opens = after is not None and (after.text or "") in _OPENING
            core.text = _SPELT_OUT.get(text, text)
            core.attrib |= {"lspace": ".17em", "rspace": "0" if opens else ".17em"}
        elif text in _OPENING | _CLOSING and core.get("minsize"):
            core.attrib |= {"lspace": "0", "rspace": "0"}
        elif text in _SIGNS and _is_operator(before):
            core.set("form", "prefix")


def _is_operator(element: Element | None) -> bool:
    """Whether a sign behind `element` belongs to what follows it, as in `= -1`."""
    return element is not None and element.tag == "mo" and (element.text or "") not in _CLOSING


def makeExtension(**settings: Any) -> MathMLExtension:  # noqa: N802 (Python-Markdown's name)
    """The entry point that Python-Markdown calls."""
    return MathMLExtension(**settings)
