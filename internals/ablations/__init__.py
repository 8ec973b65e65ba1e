"""What each part of LeNet-5 is worth: one factor changed at a time, several seeds each."""

from internals import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
