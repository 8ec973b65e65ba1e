"""One piece of work on several devices at once."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from lightning_fabric import Fabric
from torch.distributed import destroy_process_group
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from internals.errors import InternalsError, TrainingError
from internals.training.device import make_fabric, quieten

quieten()  # here, for a process that is started imports this before it sets up anything


def on_devices(devices: int | Literal["auto"], work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(fabric, *arguments)` gives on the first of `devices` processes.

    One device is this process; for several, processes are started afresh, so `work` must be
    importable, what it is given and gives small and picklable, and the calling script guarded by
    `if __name__ == "__main__"`. Each loads its own data. Only the first one prints. Raises what
    `work` raises, and `TrainingError` when the processes cannot be started or one of them dies.
    """
    fabric = make_fabric(devices)
    if fabric.world_size == 1:
        return work(fabric, *arguments)
    try:
        told = fabric.launch(
            cast(Callable[[Fabric], Any], _one_of_several), _Sealed((work, arguments))
        )
    except (ProcessRaisedException, ProcessExitedException, RuntimeError, OSError) as error:
        last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        raise TrainingError(
            f"training on {fabric.world_size} devices failed: {last}; "
            "leave --devices out to train in one process"
        ) from error
    result, failure = told.content
    if failure is not None:
        raise failure
    return result


class _Sealed:
    """What Lightning is to hand over unopened.

    It would look into it for modules and tensors, and refuses frozen dataclasses such as recipes.
    """

    def __init__(self, content: tuple[Any, ...]) -> None:
        self.content = content


def _one_of_several(fabric: Fabric, job: _Sealed) -> _Sealed:
    """An expected failure is handed over as a value: an exception would arrive as its traceback."""
    work, arguments = job.content
    with contextlib.ExitStack() as stack:
        if not fabric.is_global_zero:
            silence = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
            stack.enter_context(contextlib.redirect_stderr(silence))
        try:
            return _Sealed((work(fabric, *arguments), None))
        except InternalsError as error:
            return _Sealed((None, error))
        finally:
            destroy_process_group()  # its threads abort a process that ends before them
