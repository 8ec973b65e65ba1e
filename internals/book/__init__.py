"""Chapters: executed in a fresh kernel, kept under a content key, published as pages."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
