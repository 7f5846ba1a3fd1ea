"""Pictures of GANs: their losses and scores, and their images next to real ones."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.reports.drawing import (
    BLUE,
    DPI,
    GRAY,
    GREEN,
    ORANGE,
    Records,
    draw_rates,
    draw_series,
    finish_panel,
    name_epochs,
    open_figure,
    open_panels,
    read_series,
    scale_losses,
    show_percent,
    show_row,
    size_panels,
    tile,
    write_notes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 3.3  # inches: height of a row of nearest pairs with its label of two lines
_LABEL_LETTERS = 105  # per line of such a label
_LONGEST_NOTE = 400  # letters of a note on many classes


def plot_gan_losses(records: Records, path: Path, *, title: str, meaning: str | None) -> None:
    """Draw the losses of G and D, and D(x) and D(G(z)), over epochs (paper, Fig. 7 to 9).

    `meaning` says how to read a score of D; None if it is a probability.
    """
    name, is_probability = "d" if meaning is None else "d_score", meaning is None
    with open_panels(path, title=title, **size_panels(records)) as (figure, panels):
        losses, scores, *others = panels
        notes = [
            *draw_series(losses, records, {"loss_g": ("G", ORANGE), "loss_d": ("D", BLUE)}),
            *scale_losses(losses, records, ("loss_g", "loss_d")),
        ]
        series = {
            f"{name}_real": ("D(x), real", BLUE),
            f"{name}_fake": ("D(G(z)) before D's update", ORANGE),
            f"{name}_fake_after": ("after it", GREEN),
        }
        notes += draw_series(scores, records, series)
        finish_panel(losses, ylabel="loss")
        ylabel = "mean probability" if is_probability else "mean of D's score"
        finish_panel(scores, ylabel=ylabel, xlabel=name_epochs(others))
        draw_rates(others, records)
        if is_probability:
            scores.set_ylim(-0.03, 1.03)
        else:
            notes.append(f"D's score is not a probability ({meaning}).")
        write_notes(figure, notes)


def plot_acceptance(
    records: Records, path: Path, *, title: str, rule: str, threshold: float | None
) -> None:
    """Draw the share of generated images that the acceptance rule keeps, over epochs."""
    with open_panels(path, title=title, rows=1, height=4.0) as (figure, (axes,)):
        notes = draw_series(axes, records, {"acceptance_rate": ("kept", ORANGE)})
        _, rates = read_series(records, "acceptance_rate")
        highest = max(rates[np.isfinite(rates)], default=0.0)
        limit = "" if threshold is None else f", threshold {threshold:g}"
        found = f"at most {highest:.1%} kept" if highest else f"none kept in {len(rates)} records"
        notes.insert(0, f"Rule {rule}{limit}{f': {found}' if len(rates) else ''}.")
        top = max(1.1 * highest, 0.02)
        axes.set_ylim(-0.03 * top, top)
        show_percent(axes)
        finish_panel(axes, ylabel="generated images kept", xlabel="epoch", legend_columns=0)
        write_notes(figure, notes)


def plot_quality(records: Records, path: Path, *, title: str, report: Mapping[str, Any]) -> None:
    """Draw the kernel distance over epochs and the selected epoch (see `quality.summarise`)."""
    with open_panels(path, title=title, rows=1, height=4.0) as (figure, (axes,)):
        _, values = read_series(records, "kernel_distance")
        notes = draw_series(axes, records, {"kernel_distance": ("generated", ORANGE)})
        axes.axhline(report["floor"], color=GRAY, linestyle="--", label="real halves, 19 of 20")
        axes.axvline(report["selected_epoch"], color=BLUE, linewidth=1, label="selected")
        if values.max() > 20 * max(values.min(), report["floor"], 1e-6):
            axes.set_yscale("symlog", linthresh=max(report["floor"], 1e-6))
        best = report["best"]
        notes.append(f"Nearest at epoch {best['epoch']}: {best['kernel_distance']:.3g}.")
        if report["collapse"]:
            more = " ... (more in report.json)"
            notes.append(textwrap.shorten(report["collapse"], _LONGEST_NOTE, placeholder=more))
        finish_panel(axes, ylabel="kernel distance, pixel pyramid", xlabel="epoch")
        write_notes(figure, notes)


def plot_score_histogram(
    scores: np.ndarray,
    path: Path,
    *,
    title: str,
    meaning: str | None,
    threshold: float | None,
) -> None:
    """Draw a histogram of D's scores [num] of generated images.

    `meaning` says how to read a score; None if it is a probability.
    """
    with open_panels(path, title=title, rows=1, height=4.5) as (figure, (axes,)):
        is_probability = meaning is None
        span = (0.0, 1.0) if is_probability else _find_span(scores)
        notes = _draw_histogram(axes, scores, threshold, span)
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label=f"D = {threshold:g}")
        margin = 0.02 * (span[1] - span[0])
        axes.set_xlim(span[0] - margin, span[1] + margin)
        show_percent(axes)
        xlabel = "D's probability that the image is real"
        if not is_probability:
            xlabel = f"D's score ({meaning})"
        finish_panel(axes, ylabel="share of images", xlabel=xlabel, legend_columns=1)
        write_notes(figure, notes)


def plot_real_beside_generated(
    real: np.ndarray, generated: np.ndarray, path: Path, *, title: str
) -> None:
    """Show up to 4 x 8 real images next to as many generated ones (paper, Fig. 6).

    Both are uint8 [num, height, width, 1 or 3] and are not resampled. A block without images has a
    sentence in their place.
    """
    blocks = {"real": real[:32], "generated": generated[:32]}
    sheets = {
        name: np.broadcast_to(sheet, (*sheet.shape[:2], 3))
        for name, images in blocks.items()
        if len(images)
        for sheet in [tile(images, columns=4, scale=None)]
    }
    width = max([256, *(sheet.shape[1] for sheet in sheets.values())])
    height = max([128, *(sheet.shape[0] for sheet in sheets.values())])
    margin, header = 24, 84
    size = (2 * width + 3 * margin, height + margin + header)
    with open_figure(path, size=(size[0] / DPI, size[1] / DPI)) as figure:
        wrapped = textwrap.fill(title, size[0] // 11)
        figure.text(margin / size[0], 1 - 12 / size[1], wrapped, va="top", fontsize=13)
        for column, (name, images) in enumerate(blocks.items()):
            left = margin + column * (width + margin)
            label = f"{name} ({len(images)})"
            figure.text(left / size[0], 1 - (header - 8) / size[1], label, color=GRAY)
            if name in sheets:
                bottom = size[1] - header - sheets[name].shape[0]
                figure.figimage(sheets[name], xo=left, yo=bottom)
            else:
                centre = (left + width / 2) / size[0]
                figure.text(centre, 0.45, f"no {name} image to show", ha="center", color=GRAY)


def plot_nearest_pairs(
    rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], path: Path, *, title: str
) -> None:
    """Show images above the training images nearest to them, one block per row.

    Each row has a label, images, their nearest training images and the distances [num], which are
    written below the pairs. Images are uint8 [num, size, size, 1 or 3]; the first 8 are shown.
    """
    height = 1.1 + _BLOCK * len(rows)
    with open_figure(path, size=(10.5, height)) as figure:
        figure.text(0.02, 1 - 0.15 / height, textwrap.fill(title, 95), va="top", fontsize=13)
        for row, (label, images, nearest, distances) in enumerate(rows):
            top = height - 1.05 - _BLOCK * row
            text = textwrap.fill(label, _LABEL_LETTERS)
            figure.text(0.02, top / height, text, color=GRAY, va="bottom")
            for line, pictures in enumerate((images, nearest)):
                show_row(figure, pictures[:8], bottom=top - 0.1 - 1.25 * (line + 1))
            for column, distance in enumerate(distances[:8]):
                place = (0.2 + 1.28 * column) / 10.5, (top - 2.63) / height
                figure.text(*place, f"{distance:.3g}", va="top", color=GRAY, fontsize=9)


def _find_span(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest finite value; if they are equal, a range of 1."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 * max(abs(low), 1.0) else (low - 0.5, high + 0.5)


def _draw_histogram(
    axes: "Axes", values: np.ndarray, threshold: float | None, span: tuple[float, float]
) -> list[str]:
    """Draw the shares of `values` in 50 bins over `span`; return notes."""
    if not len(values):
        return ["There is no generated image to score."]
    label = f"generated, {len(values)} images"
    if threshold is not None:
        label += f", {np.mean(values >= threshold):.1%} at or above {threshold:g}"
    finite = values[np.isfinite(values)]
    weights = np.full(len(finite), 1 / len(values))
    bins = [float(edge) for edge in np.linspace(*span, 51)]
    axes.hist(finite, bins, weights=weights, color=ORANGE, alpha=0.35)
    axes.hist(finite, bins, weights=weights, color=ORANGE, histtype="step", label=label)
    broken = len(values) - len(finite)
    return [f"{broken} scores of generated images were not finite."] if broken else []
