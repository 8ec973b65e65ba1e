"""Processes of our own, whatever has started this one.

Under Slurm, `torchrun`, `jsrun` or `mpirun`, in a Kubeflow pod and below `fabric run`, the
environment says how many processes there are and which of them this is. Lightning believes it: it
then takes this process for one of many, waits for the others, or starts none itself. Here a
command is one process, or starts its own on this machine, so these variables are hidden while
devices are set up and while processes run, which inherit the environment.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from lightning_fabric import Fabric

from internals.training import distributed
from internals.training.distributed import Precision

# What Slurm, torchrun, Lightning, LSF and the kinds of MPI begin the names of theirs with.
_PREFIXES = (
    "SLURM_", "TORCHELASTIC_", "LT_", "LSB_", "JSM_", "OMPI_", "PMI_", "PMIX_", "MPI_", "MV2_",
)  # fmt: skip
# What torchrun and Kubeflow call the place of a process among the others, and the way to them.
_NAMES = frozenset(
    "WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK "
    "ROLE_NAME ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT STANDALONE_PORT".split()
)


@contextmanager
def hidden_launchers() -> Iterator[None]:
    """Hide what a launcher has said in the environment; put it back after."""
    said = _pop_launchers()
    try:
        with warnings.catch_warnings():
            # Lightning's advice where Slurm is installed, and its variables are hidden.
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            yield
    finally:
        _pop_launchers()  # Lightning has named a port of its own
        os.environ.update(said)


def _pop_launchers() -> dict[str, str]:
    names = [n for n in os.environ if n in _NAMES or n.startswith(_PREFIXES)]
    return {name: os.environ.pop(name) for name in names}


def make_fabric(
    devices: int | Literal["auto"] = 1,
    threads: int | None = None,
    precision: Precision | None = None,
) -> Fabric:
    """The fastest device here, in bfloat16 autocast where the hardware multiplies bfloat16.

    That is a CUDA GPU since Ampere, or a processor with AVX-512 BF16 or AMX; float32 elsewhere.
    One device is ready for use; several are launched by `on_devices`. A launcher's variables in
    the environment do not count.

    Args:
        devices: So many GPUs, or processes that share the cores where there is none; "auto" is all
            GPUs.
        threads: How many threads of the processor a process uses, by default its share of the
            cores.
        precision: Another precision than the fastest.

    Raises:
        TrainingError: When there are not so many devices.
    """
    with hidden_launchers():
        return distributed.make_fabric(devices, threads, precision)


def on_devices(devices: int | Literal["auto"], work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(fabric, *arguments)` returns on the first of several processes.

    One device is this process. For several, processes are started afresh: each loads its own data,
    and only the first one prints. A launcher's variables in the environment do not count.

    Args:
        devices: See `make_fabric`.
        work: A function that can be imported; the calling script must be guarded by
            `if __name__ == "__main__"`.
        arguments: Small and picklable, as must be what `work` returns.

    Raises:
        TrainingError: When the processes cannot be started or one of them dies.
        InternalsError: What `work` raises.
    """
    with hidden_launchers():
        return distributed.on_devices(devices, work, *arguments)
