"""Which device, precision and threads a run uses, chosen by what the machine has."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from lightning_fabric import Fabric

from internals.environment import cores

Precision = Literal["bf16-mixed", "32-true"]


def make_fabric() -> Fabric:
    """The fastest device here, in bfloat16 autocast where the hardware multiplies bfloat16.

    That is a CUDA GPU since Ampere, or a processor with AVX-512 BF16 or AMX; float32 elsewhere.
    """
    torch.set_num_threads(cores())
    # The precision is in every run's provenance; Fabric need not announce it as well.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    fabric = Fabric(accelerator="auto", devices=1, precision=best_precision())
    fabric.launch()
    return fabric


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
    """Ask torch for operations that give the same bits every time; put the setting back after."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
