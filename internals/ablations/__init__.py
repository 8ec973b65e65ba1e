"""What each part of LeNet-5 is worth: one factor changed at a time, several seeds each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
