"""From seconds to records: what the JSON holds, and the tables of the page."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxgan.reports.tables import format_markdown


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of several rounds."""

    median: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Summarise the rounds' values."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass
class Record:
    """One implementation of one case.

    jaxgan's own record has a `ratio`: its throughput over that of a peer, by the medians of the
    rounds in which both ran. `extra` holds values that only some suites measure.
    """

    suite: str
    case: str
    implementation: str
    images_per_second: Spread | None
    compile_seconds: float | None
    peak_memory_bytes: int | None
    ratio: dict[str, float] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as the JSON has it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        extra = values.pop("extra")
        if self.images_per_second:
            values["images_per_second"] = vars(self.images_per_second)
        if self.ratio is None:
            del values["ratio"]
        return values | extra


def compute_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the ratio of throughputs from the seconds per image, over the common rounds."""
    common = min(len(ours), len(theirs))
    return statistics.median(theirs[:common]) / statistics.median(ours[:common])


def format_table(records: Sequence[Record]) -> str:
    """Return records as a Markdown table, one line each."""
    head = "case, implementation, images/s (min to max), jaxgan over it, compile, memory"
    rows, ratios = [head.split(", ")], _find_ratios(records)
    for record in records:
        cells = [
            record.case,
            record.implementation,
            _format_speed(record),
            _format(ratios.get((record.case, record.implementation)), "{:.2f}x"),
            _format(record.compile_seconds, "{:.1f} s"),
            _format(record.peak_memory_bytes and record.peak_memory_bytes / 2**20, "{:.0f} MiB"),
        ]
        rows.append(cells)
    return "\n".join(format_markdown(rows))


def _find_ratios(records: Sequence[Record]) -> Mapping[tuple[str, str], float]:
    """Return jaxgan's ratio to each other implementation of a case."""
    return {
        (own.case, implementation): ratio
        for own in records
        for implementation, ratio in own.extra.get("ratio_by_implementation", {}).items()
    }


def _format_speed(record: Record) -> str:
    speed = record.images_per_second
    if speed is not None:
        text = f"{speed.median:.3g} ({speed.min:.3g} to {speed.max:.3g})"
        gflops = record.extra.get("gflops")
        return f"{text}, {gflops:.0f} GFLOP/s" if gflops else text
    seconds = record.extra["seconds"]
    return f"{seconds['median']:.1f} s ({seconds['min']:.1f} to {seconds['max']:.1f})"


def _format(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
