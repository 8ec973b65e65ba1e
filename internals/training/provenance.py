"""Where weights came from."""

import platform
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from internals import environment
from internals.errors import CheckpointError

PACKAGES = ["torch", "torchvision", "lightning-fabric", "numpy"]


@dataclass(frozen=True)
class Provenance:
    """All that went into a set of weights, and what they reached on the test data (shares)."""

    network: str
    recipe: dict[str, Any]
    seed: int
    data: str
    data_fingerprint: str
    images: list[str]  # a hash each of those trained on and those held out
    code: str
    device: str
    devices: int
    precision: str
    threads: int
    epochs: int
    best_epoch: int
    seconds: float
    images_per_second: float
    metrics: dict[str, float]
    versions: dict[str, str]
    python: str
    machine: str
    commit: str
    finished: str

    @classmethod
    def now(cls, **facts: Any) -> "Provenance":
        """The given facts, with those of this machine and moment added."""
        return cls(
            versions=environment.versions(PACKAGES),
            python=platform.python_version(),
            machine=environment.machine(),
            commit=environment.commit(),
            finished=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            **facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Provenance":
        """The inverse of `to_dict`; raises `CheckpointError` when a fact is missing."""
        names = {field.name for field in fields(cls)}
        if names - values.keys():
            raise CheckpointError(
                f"provenance lacks {', '.join(sorted(names - values.keys()))}; train again"
            )
        return cls(**{name: values[name] for name in names})
