"""What a run's record tells a reader: its edition, its day and length, its provenance."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_DATA_NAMES = {"mnist": "MNIST", "imagenette": "Imagenette", "digits": "digits", "shapes": "shapes"}


def run_summary(record: Mapping[str, Any]) -> str:
    """One line: `Quick edition, run on the embedded digits, 20 November 2026, 42 s`."""
    return f"{edition(record)}, {day(record)}, {duration(record['seconds'])}"


def edition(record: Mapping[str, Any]) -> str:
    """`Full edition, run on MNIST`, or with the stand-in that was used in its place."""
    title = f"{record['profile'].capitalize()} edition"
    data = record["environment"]["data"]
    used = [_data_used(declared, fingerprint) for declared, fingerprint in data.items()]
    return f"{title}, run on {' and '.join(used)}" if used else title


def stands_in(record: Mapping[str, Any]) -> bool:
    """Whether any data set was replaced by its embedded stand-in."""
    data = record["environment"]["data"]
    return any(fingerprint.split()[0] != declared for declared, fingerprint in data.items())


def day(record: Mapping[str, Any]) -> str:
    """The day of the run: `20 November 2026`."""
    when = datetime.fromisoformat(record["when"])
    return f"{when.day} {when:%B %Y}"


def duration(seconds: float) -> str:
    """Seconds in readable units: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The provenance at the foot of the page: pairs of name and value, in Markdown."""
    environment = record["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    slowest = max(record["cells"], key=lambda cell: cell["seconds"], default=None)
    time = f"{duration(record['seconds'])} in {len(record['cells'])} cells"
    if slowest:
        time += f", the slowest {duration(slowest['seconds'])} (line {slowest['line']})"
    rows = [
        ("Executed", f"{day(record)}, on {record['machine']}, in {time}"),
        ("Profile and seed", f"{record['profile']}, {record['seed']}"),
        ("Data", "; ".join(environment["data"].values()) or "none"),
        ("Software", f"Python {environment['python']}, {packages}"),
        ("Commit and key", f"`{record['commit']}`, `{record['key']}`"),
    ]
    if record["metrics"]:
        rows.append(
            ("Metrics", ", ".join(f"`{k}` {_rounded(v)}" for k, v in record["metrics"].items()))
        )
    return rows


def _data_used(declared: str, fingerprint: str) -> str:
    """The data set's name; a fingerprint begins with the data that were used in its place."""
    used = fingerprint.split()[0]
    name = _DATA_NAMES.get(declared, declared)
    if used == declared:
        return name
    return f"the embedded {_DATA_NAMES.get(used, used)} in place of {name}"


def _rounded(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
