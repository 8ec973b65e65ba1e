"""Which device, precision and threads a run uses, chosen by what the machine has."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from internals.environment import cores
from internals.errors import TrainingError

Precision = Literal["bf16-mixed", "32-true"]


def make_fabric(devices: int | Literal["auto"] = 1) -> Fabric:
    """The fastest device here, in bfloat16 autocast where the hardware multiplies bfloat16.

    That is a CUDA GPU since Ampere, or a processor with AVX-512 BF16 or AMX; float32 elsewhere.
    `devices` above 1 are so many GPUs, or processes that share the cores where there is none;
    "auto" is all GPUs. Several are launched by `on_devices`, one is ready for use. Raises
    `TrainingError` when there are not so many.
    """
    quieten()
    count = _count(devices)
    torch.set_num_threads(max(1, cores() // (1 if torch.cuda.is_available() else count)))
    precision = best_precision()
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
    # torch tells only through these private names; one that is gone counts as a no.
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asks)


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
