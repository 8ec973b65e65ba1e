"""What each layer says, and which images make it say it loudest."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
