"""The stand-in for Imagenette: textured things among clutter, drawn by this package."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
