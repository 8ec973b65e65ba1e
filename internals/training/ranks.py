"""What several processes that train one network tell each other."""

from collections.abc import Callable
from typing import TypeVar

from lightning_fabric import Fabric

from internals.errors import InternalsError

_T = TypeVar("_T")


def from_first(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """What `work` gives on the first process, told to all of them.

    An expected failure of it is raised by all, so that none waits for one that has stopped.
    """
    result: _T | None = None
    failure: InternalsError | None = None
    if fabric.is_global_zero:
        try:
            result = work()
        except InternalsError as error:
            failure = error
    result, failure = fabric.broadcast((result, failure))
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]  # the first process has set it
