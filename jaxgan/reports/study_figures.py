"""Pictures of the results of many trainings: of a study, and of an ablation."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.reports.drawing import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    open_figure,
    open_panels,
)


def plot_lines(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    path: Path,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    diagonal: bool = False,
) -> None:
    """Draw one line per name in `series`, of x and y [num]; for the width of a phone.

    `diagonal` draws y = x, where confidence and accuracy agree, and sets both axes to 0 to 1.
    """
    with open_panels(path, title=title, rows=1, width=5.2, height=4.2) as (figure, (axes,)):
        styles = [(c, s) for s in ("-", "--", ":") for c in (BLUE, ORANGE, GREEN, GRAY)]
        for (name, (x, y)), (color, style) in zip(series.items(), styles, strict=False):
            axes.plot(x, y, color=color, linestyle=style, label=name)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8)
            axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside lower left", ncols=2, fontsize=9)


def plot_ablation(rows: Mapping[str, Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Draw one line per variant: each training as a dot, the mean over the seeds as a bar.

    `rows` are those of `jaxgan.experiments.ablation`: measures with `value`, `values` and `floor`
    by variant.
    """
    panels = {"kernel_distance": "kernel distance, encoder", "recall": "recall"}
    height = 1.6 + 0.32 * len(rows)
    with open_figure(path, size=(10.0, height), layout="constrained") as figure:
        figure.suptitle(textwrap.fill(title, 100), x=0.01, ha="left")
        axes_of = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (key, label) in zip(axes_of, panels.items(), strict=True):
            for line, row in enumerate(rows.values()):
                values = row[key]["values"]
                axes.plot(values, [line] * len(values), "o", color=ORANGE, alpha=0.7)
                axes.plot(row[key]["value"], line, "|", color="black", markersize=14)
            floor = np.mean([row[key]["floor"] for row in rows.values()])
            axes.axvline(floor, color=GRAY, linestyle="--")
            axes.set(xlabel=f"{label} (dashed: real images)")
        axes_of[0].set_yticks(range(len(rows)), list(rows))
        axes_of[0].invert_yaxis()
