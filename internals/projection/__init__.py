"""A unit back to the pixels that drive it."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
