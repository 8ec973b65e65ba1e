"""What a run's record tells a reader: on what, when, where and how long."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_NAMES = {"mnist": "MNIST", "imagenette": "Imagenette", "digits": "digits", "shapes": "shapes"}


def summary(record: Mapping[str, Any]) -> str:
    """One line: `Quick edition, run on the embedded digits, 20 November 2026, 42 s`."""
    return f"{edition(record)}, {day(record)}, {duration(record['seconds'])}"


def edition(record: Mapping[str, Any]) -> str:
    """`Full edition, run on MNIST`, or with the stand-in that was used in its place."""
    title = f"{record['profile'].capitalize()} edition"
    used = [_used(asked, found) for asked, found in record["environment"]["data"].items()]
    return f"{title}, run on {' and '.join(used)}" if used else title


def stands_in(record: Mapping[str, Any]) -> bool:
    """Whether any data set was replaced by its embedded stand-in."""
    data = record["environment"]["data"]
    return any(found.split()[0] != asked for asked, found in data.items())


def day(record: Mapping[str, Any]) -> str:
    """The day of the run: `20 November 2026`."""
    when = datetime.fromisoformat(record["when"])
    return f"{when.day} {when:%B %Y}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything the foot of the page says, as pairs of name and value in Markdown."""
    environment = record["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    slowest = max(record["cells"], key=lambda cell: cell["seconds"], default=None)
    took = f"{duration(record['seconds'])} in {len(record['cells'])} cells"
    if slowest:
        took += f", the slowest {duration(slowest['seconds'])} (line {slowest['line']})"
    rows = [
        ("Executed", f"{day(record)}, on {record['machine']}, in {took}"),
        ("Profile and seed", f"{record['profile']}, {record['seed']}"),
        ("Data", "; ".join(environment["data"].values()) or "none"),
        ("Software", f"Python {environment['python']}, {packages}"),
        ("Commit and key", f"`{record['commit']}`, `{record['key']}`"),
    ]
    if record["metrics"]:
        rows.append(
            ("Metrics", ", ".join(f"`{k}` {_shown(v)}" for k, v in record["metrics"].items()))
        )
    return rows


def _used(asked: str, found: str) -> str:
    used = found.split()[0]
    if used == asked:
        return _NAMES.get(asked, asked)
    return f"the embedded {_NAMES.get(used, used)} in place of {_NAMES.get(asked, asked)}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
