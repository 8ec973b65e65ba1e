"""How signatures are checked while the tests run: by beartype, save where that alone takes long."""

from collections.abc import Callable

from beartype import beartype


def checked(function: Callable) -> Callable:
    """`function`, its calls checked; one made anew in each call of another only for its shapes."""
    if "<locals>" not in getattr(function, "__qualname__", ""):
        return beartype(function)
    shaped = any(hasattr(hint, "dim_str") for hint in function.__annotations__.values())
    return beartype(function) if shaped else function
