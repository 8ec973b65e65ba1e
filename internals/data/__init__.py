"""Images in: verified, decoded once, uint8 in memory."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
