"""What a layer knows, and in how few words it can be said."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
