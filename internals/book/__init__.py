"""Chapters: executed in a fresh kernel, kept under a content key, published as pages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
