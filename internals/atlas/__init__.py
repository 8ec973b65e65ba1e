"""The atlas: of every channel its strongest patches, what in them drove it, and its numbers.

And a network small enough to run in the page while one draws.
"""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
