"""What a run's record tells a reader: its edition, score and cost, its provenance."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from internals.book.layout import PUBLISHED

_TEST_IMAGES = {
    "mnist": "MNIST",
    "imagenette": "Imagenette’s ten classes",
    "digits": "the embedded digits",
    "shapes": "the embedded shapes",
}
_DATA_NAMES = {"mnist": "MNIST", "imagenette": "Imagenette", "digits": "digits", "shapes": "shapes"}
_WORDS_A_MINUTE, _SECONDS_A_FIGURE = 220, 6
_NOT_READ = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$|```.*?```|\]\([^)]*\)|<[^>]+>", re.DOTALL)
_WORD = re.compile(r"[^\W\d_][\w’'-]*")


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


def cost(record: Mapping[str, Any]) -> float:
    """Seconds that it takes to make a page again: to train its network, and to execute it.

    A run that finds its weights trained is quick; one that trained them has that in its own time.
    """
    training = record["metrics"].get("seconds")
    slowest = max((cell["seconds"] for cell in record["cells"]), default=0)
    if not isinstance(training, int | float) or slowest >= training:
        return float(record["seconds"])
    return float(record["seconds"] + training)


def reading_minutes(prose: Iterable[str], figures: int) -> int:
    """Minutes that a chapter takes a reader: its words of prose, and a look at each figure."""
    words = sum(len(_WORD.findall(_NOT_READ.sub(" ", text))) for text in prose)
    return max(1, round(words / _WORDS_A_MINUTE + figures * _SECONDS_A_FIGURE / 60))


def headline(
    record: Mapping[str, Any] | None, meta: Mapping[str, Any], minutes: int
) -> list[tuple[str, str]]:
    """The facts in a page's head, as pairs of value and what it is.

    Args:
        record: The run's record, if there is one.
        meta: The chapter's front matter: `network`, and `paper_score`, such as `27.88 % errors
            on ImageNet`, with its `year`, if it has them.
        minutes: How long the chapter takes a reader.
    """
    out = []
    if record and meta.get("network") and (ours := our_score(record)):
        out.append(_number_and_words(ours))
    if paper := meta.get("paper_score"):
        number, words = _number_and_words(str(paper))
        out.append((number, f"{words}: the paper, {meta['year']}"))
    if record:
        out.append((duration(cost(record)), f"to reproduce, {record['machine'].split(', ')[-1]}"))
    return [*out, (f"{minutes} min", "to read")]


def our_score(record: Mapping[str, Any]) -> str:
    """The run's errors on the test images, such as `0.83 % errors on MNIST`; "" if it has none."""
    top1 = record["metrics"].get("test_top1")
    if not isinstance(top1, float):
        return ""
    used = [fingerprint.split()[0] for fingerprint in record["environment"]["data"].values()]
    errors = 100 * (1 - top1)
    data = " and ".join(_TEST_IMAGES.get(name, name) for name in used)
    training = "" if record["profile"] == PUBLISHED else ", after a short training"
    return f"{errors:.{2 if errors < 10 else 1}f} % errors on {data}{training}"


def banner(record: Mapping[str, Any]) -> str:
    """What a page says whose pictures are not those that its text describes; else ""."""
    published = record["profile"] == PUBLISHED
    if published and not stands_in(record):
        return ""
    made = edition(record)
    made = made[0].lower() + made[1:]
    return (
        f"The text describes the full edition, run on real data. The pictures and numbers here are "
        f"of the {made}, and may say something else."
    )


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The provenance at the foot of the page: pairs of name and value, in Markdown."""
    environment = record["environment"]
    metrics = {name: value for name, value in record["metrics"].items() if name != "seconds"}
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    slowest = max(record["cells"], key=lambda cell: cell["seconds"], default=None)
    time = f"{duration(record['seconds'])} in {len(record['cells'])} cells"
    if slowest:
        time += f", the slowest {duration(slowest['seconds'])} (line {slowest['line']})"
    rows = [
        ("Executed", f"{day(record)}, in {time}"),
        ("Machine", record["machine"]),
        ("Profile", record["profile"]),
        ("Seed", f"{record['seed']}"),
        *((f"Data: {_data_name(n)}", f"`{f}`") for n, f in environment["data"].items()),
    ]
    rows += [_training(training) for training in record.get("trainings", [])]
    if metrics:
        rows.append(("Metrics", ", ".join(f"`{k}` {_rounded(v)}" for k, v in metrics.items())))
    return [
        *rows,
        ("Software", f"Python {environment['python']}, {packages}"),
        ("Commit", f"`{record['commit']}`"),
        ("Key", f"`{record['key']}`"),
    ]


def _training(training: Mapping[str, Any]) -> tuple[str, str]:
    """How a network was trained that the chapter used: a name and a line."""
    recipe = training["recipe"]
    optimizer = recipe["optimizer"]
    parts = [
        f"{training['epochs']} epochs",
        f"batches of {recipe['batch_size']}",
        f"{optimizer['kind']} from a rate of {optimizer['lr']:g}",
        f"seed {training['seed']}",
        f"{duration(training['seconds'])} on {training['machine']}",
    ]
    if (top1 := training["metrics"].get("top1")) is not None:
        parts.append(f"{100 * top1:.2f} % of the test images")
    parts.append(f"tensors’ SHA-256 `{training['weights_sha256'][:16]}`")
    return f"Trained: `{training['network']}`", ", ".join(parts)


def _data_name(declared: str) -> str:
    return _DATA_NAMES.get(declared, declared)


def _number_and_words(score: str) -> tuple[str, str]:
    """`27.88 % errors on ImageNet` as `27.88 %` and the words."""
    number, words = score.split(" % ", 1)
    return f"{number} %", words


def _data_used(declared: str, fingerprint: str) -> str:
    """The data set's name; a fingerprint begins with the data that were used in its place."""
    used = fingerprint.split()[0]
    name = _data_name(declared)
    if used == declared:
        return name
    return f"the embedded {_data_name(used)} in place of {name}"


def _rounded(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
