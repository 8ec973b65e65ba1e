"""What a network is made of, computed from what its forward pass does."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
