"""Devices, precision, threads, and one piece of work on several devices at once."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch.distributed import destroy_process_group
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from internals.environment import cores
from internals.errors import InternalsError, TrainingError

Precision = Literal["bf16-mixed", "32-true"]
_T = TypeVar("_T")


def make_fabric(
    devices: int | Literal["auto"] = 1,
    threads: int | None = None,
    precision: Precision | None = None,
) -> Fabric:
    """The fastest device here, in bfloat16 autocast where the hardware multiplies bfloat16.

    That is a CUDA GPU since Ampere, or a processor with AVX-512 BF16 or AMX; float32 elsewhere.
    One device is ready for use; several are launched by `on_devices`.

    Args:
        devices: So many GPUs, or processes that share the cores where there is none; "auto" is all
            GPUs.
        threads: How many threads of the processor a process uses, by default its share of the
            cores.
        precision: Another precision than the fastest.

    Raises:
        TrainingError: When there are not so many devices.
    """
    quieten()
    count = _count(devices)
    share = max(1, cores() // (1 if torch.cuda.is_available() else count))
    torch.set_num_threads(threads or share)
    precision = precision or best_precision()
    if count == 1:
        fabric = Fabric(accelerator="auto", devices=1, precision=precision)
        fabric.launch()
        return fabric
    strategy = DDPStrategy(start_method="spawn")
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return Fabric(accelerator=accelerator, devices=count, strategy=strategy, precision=precision)


def quieten() -> None:
    """Precision and devices are in every run's provenance: Fabric need not announce them."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


quieten()  # here, for a process that is started imports this before it sets up anything


def _count(devices: int | Literal["auto"]) -> int:
    gpus = torch.cuda.device_count()
    if devices == "auto":
        return max(1, gpus)
    if devices < 1:
        raise TrainingError(f"devices={devices} must be 1 or more, or auto")
    if gpus and devices > gpus:
        raise TrainingError(
            f"devices={devices}, but there are {gpus} GPUs; ask for so many or auto"
        )
    if devices > 1 and not gpus and torch.backends.mps.is_available():
        raise TrainingError(f"devices={devices}, but Apple's GPU is one; leave --devices out")
    if not gpus and devices > cores():
        raise TrainingError(
            f"devices={devices}, but there are {cores()} cores; ask for {cores()} at most, for "
            "each process needs one"
        )
    return devices


def best_precision() -> Precision:
    """Fabric's name for the precision: "bf16-mixed" or "32-true"."""
    if torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
        )
    if torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if _processor_multiplies_bfloat16() else "32-true"


def _processor_multiplies_bfloat16() -> bool:
    # torch answers only through these private names; one that is gone counts as a no.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for operations that give the same bits every time; put the settings back after."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    settings: Any = torch.utils.deterministic  # its type does not name what it holds
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # Else each new tensor is filled with nan before it is written: a fifth of AlexNet's step.
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        settings.fill_uninitialized_memory = filled


def on_rank_zero(fabric: Fabric, work: Callable[[], _T]) -> _T:
    """What `work` returns on the first process, broadcast to all of them.

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


def on_devices(devices: int | Literal["auto"], work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(fabric, *arguments)` returns on the first of several processes.

    One device is this process. For several, processes are started afresh: each loads its own data,
    and only the first one prints.

    Args:
        devices: See `make_fabric`.
        work: A function that can be imported; the calling script must be guarded by
            `if __name__ == "__main__"`.
        arguments: Small and picklable, as must be what `work` returns.

    Raises:
        TrainingError: When the processes cannot be started or one of them dies.
        InternalsError: What `work` raises.
    """
    fabric = make_fabric(devices)
    if fabric.world_size == 1:
        return work(fabric, *arguments)
    try:
        sealed = fabric.launch(
            cast(Callable[[Fabric], Any], _one_of_several), _Sealed((work, arguments))
        )
    except (ProcessRaisedException, ProcessExitedException, RuntimeError, OSError) as error:
        last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        raise TrainingError(
            f"training on {fabric.world_size} devices failed: {last}; "
            "leave --devices out to train in one process"
        ) from error
    result, failure = sealed.content
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
