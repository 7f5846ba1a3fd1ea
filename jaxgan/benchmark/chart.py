"""The bar chart of a benchmark."""

from collections.abc import Sequence
from pathlib import Path

from jaxgan.benchmark.record import Record
from jaxgan.reports.drawing import BLUE, GRAY, GREEN, ORANGE, open_figure

_COLOURS = {"torch": ORANGE, "flax": GREEN}


def plot_ratios(records: Sequence[Record], path: Path, *, title: str) -> bool:
    """Draw jaxgan's throughput over every other implementation's; False if there is none."""
    bars = [
        (record, implementation, ratio)
        for record in records
        for implementation, ratio in record.extra.get("ratio_by_implementation", {}).items()
    ]
    if not bars:
        return False
    with open_figure(path, size=(9.0, 1.4 + 0.24 * len(bars)), layout="constrained") as figure:
        axes = figure.subplots()
        figure.suptitle(title, x=0.01, ha="left")
        for place, (_, implementation, ratio) in enumerate(bars):
            colour = _COLOURS.get(implementation.split()[0], GRAY)
            axes.barh(-place, ratio, color=colour, height=0.75)
            axes.text(ratio, -place, f" {ratio:.2f}x", va="center", fontsize=8)
        axes.axvline(1.0, color=BLUE, linewidth=1.2)
        names = [f"{record.suite}, {record.case}: {name}" for record, name, _ in bars]
        axes.set_yticks([-place for place in range(len(bars))], names, fontsize=8)
        axes.set_xlabel("jaxgan's throughput over that of ... (longer: jaxgan is faster)")
        axes.margins(x=0.12, y=0.01)
        axes.grid(axis="y", visible=False)
    return True
