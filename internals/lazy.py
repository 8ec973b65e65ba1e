"""Packages whose public names are imported when they are first used.

torch takes seconds to import, so a command that does not need it should not wait for it.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import lazy_loader


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make the public names of a package load when they are first used.

    Several packages have a function in a module of its name (`internals.data.load.load`). Python
    would bind the module to the package once it is imported; here the function keeps the name, so
    that `import internals.data.load as x` gives the function too.

    Args:
        package: The package's `__name__`.
        file: The package's `__file__`; the stub `__init__.pyi` beside it lists the names.

    Returns:
        What the package must define: `__getattr__`, `__dir__` and `__all__`.
    """
    getattr_, dir_, names = lazy_loader.attach_stub(package, file)
    public = frozenset(names)

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            if not (name in public and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package
    return getattr_, dir_, names
