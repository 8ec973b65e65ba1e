"""What fools a network: small changes of the pixels, found from its own gradient."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
