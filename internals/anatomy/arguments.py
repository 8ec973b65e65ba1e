"""The arguments of torch's operations, which may be given by place or by name."""

from typing import Any


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, key: str, default: Any):
    """The argument at `index`, or the one called `key`, or else its `default`."""
    return args[index] if len(args) > index else kwargs.get(key, default)


def two(value: Any) -> tuple[Any, Any]:
    """Rows and columns of a size that may be one number for both."""
    if isinstance(value, tuple | list):
        return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
    return value, value
