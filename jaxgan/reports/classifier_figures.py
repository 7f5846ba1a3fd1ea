"""Pictures of classifiers: accuracies over epochs, and confusion matrices."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.metrics.classification import compute_wilson_interval
from jaxgan.reports.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    Records,
    choose_shown,
    draw_rates,
    draw_series,
    finish_panel,
    name_epochs,
    open_panels,
    read_series,
    scale_losses,
    show_percent,
    size_panels,
    write_notes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CELLS = 20  # classes: up to here, the numbers are written into the cells
_LONGEST_NAME = 20  # letters of a class name if there are many classes
_NAMED_ERRORS = 5
_LARGE_MATRIX = (9.0, 8.4)  # inches, if there are more classes than `_MOST_CELLS`


def plot_accuracy(records: Records, path: Path, *, title: str, val_count: int) -> None:
    """Draw accuracy and loss on training and validation images per epoch (paper, Fig. 8 and 9).

    The band is the 95 % Wilson interval of the validation accuracy on its `val_count` images.
    """
    with open_panels(path, title=title, **size_panels(records)) as (figure, panels):
        accuracies, losses, *others = panels
        epochs, values = read_series(records, "val_accuracy")
        series = {
            "accuracy": ("training, running", BLUE),
            "val_accuracy": (f"validation, {val_count} images", ORANGE),
        }
        notes = draw_series(accuracies, records, series)
        if len(values):
            low, high = compute_wilson_interval(np.rint(values * val_count), val_count)
            band = accuracies.fill_between(epochs, low, high, label="95 % interval")
            band.set(color=ORANGE, alpha=0.15, linewidth=0)
        names = {"loss": ("training", BLUE), "val_loss": ("validation", ORANGE)}
        if any("stopping_loss" in record for record in records):
            names["stopping_loss"] = ("stopping part", GREEN)
        notes += draw_series(losses, records, names)
        notes += scale_losses(losses, records, tuple(names))
        accuracies.set_ylim(-0.03, 1.03)
        show_percent(accuracies)
        finish_panel(accuracies, ylabel="accuracy")
        columns = 3 if "stopping_loss" in names else 0
        finish_panel(losses, ylabel="loss", xlabel=name_epochs(others), legend_columns=columns)
        draw_rates(others, records)
        write_notes(figure, notes)


def plot_confusion_matrix(report: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Draw counts and row shares of a classification report (`metrics.classification`).

    With many classes, only the shares are drawn, as shades, and the figure does not grow further.
    """
    matrix, accuracy = report["confusion_matrix"], report["accuracy"]
    counts = np.asarray(matrix["counts"], np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_large = max(counts.shape) > _MOST_CELLS
    size = (max(2.6 + 1.15 * counts.shape[1], 6.0), 2.4 + 0.95 * counts.shape[0])
    width, height = _LARGE_MATRIX if is_large else size
    low, high = accuracy["interval"]
    notes = [
        f"Accuracy {accuracy['value']:.1%} ({accuracy['correct']} of {report['count']}), "
        f"95 % interval {low:.1%} to {high:.1%}."
    ]
    with open_panels(path, title=title, rows=1, width=width, height=height) as (figure, (axes,)):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        if is_large:
            _name_some(axes, matrix["rows"], matrix["columns"])
            notes += _describe_confusions(counts, matrix["rows"], matrix["columns"])
        else:
            _name_cells(axes, counts, matrix["rows"], matrix["columns"])
        axes.set(xlabel="predicted", ylabel="true")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        write_notes(figure, notes)


def _name_cells(
    axes: "Axes", counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Write every count and share into its cell, and the class names next to rows and columns."""
    totals = counts.sum(axis=1)
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(totals[row], 1)
        text = f"{count}\n{share:.0%}" if totals[row] else "0"
        color = "white" if share > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color)
    names = [f"{name} ({total})" for name, total in zip(rows, totals, strict=True)]
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 18) for name in names])
    axes.set_xticks(range(len(columns)), [textwrap.fill(name, 12) for name in columns])


def _name_some(axes: "Axes", rows: Sequence[str], columns: Sequence[str]) -> None:
    """Name some of the rows and columns, evenly spread."""
    places = choose_shown(range(len(rows)))
    axes.set_yticks(places, [_shorten(rows[i]) for i in places])
    places = choose_shown(range(len(columns)))
    axes.set_xticks(places, [_shorten(columns[i]) for i in places], rotation=90)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _describe_confusions(
    counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """Return notes on a matrix too large for numbers, with its most frequent errors."""
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:_NAMED_ERRORS]
    places = [np.unravel_index(place, errors.shape) for place in order]
    named = [
        f"{_shorten(rows[row])} as {_shorten(columns[column])} ({errors[row, column]})"
        for row, column in places
        if errors[row, column]
    ]
    notes = [f"{len(rows)} classes: shades are shares of a row; report.json has the numbers."]
    return notes + ([f"Most frequent errors: {'; '.join(named)}."] if named else [])
