"""Pictures of what a run has written.

Every function writes one PNG: whole or not at all, and the same bytes for the same input whatever
the user's matplotlib settings. It bears the mark of what jaxgan has made, so that no command takes
a figure or a sheet for a film. `records` are the dicts of a run's metrics.jsonl.
"""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from PIL import Image
from scipy.ndimage import median_filter

from jaxgan.core.files import write_bytes
from jaxgan.data.images import GENERATED_KEY, create_mark
from jaxgan.metrics.classification import compute_wilson_interval

Records = Sequence[Mapping[str, Any]]
T = TypeVar("T")

# Okabe and Ito's colours, told apart by colour-blind readers too
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#767676"

_DPI = 120
_GAP = 2  # pixels between tiled images
MOST_ROWS = 16  # of a figure with a row a class
_MOST_CELLS = 20  # classes whose confusions are written out
_LONGEST_NAME = 20  # letters of a class's name where there are many
_NAMED_ERRORS = 5
_LONGEST_NOTE = 400  # letters of what is said of many classes
_LARGE_MATRIX = (9.0, 8.4)  # inches, of more classes than that
_STYLE: Any = {
    "font.size": 11,
    "figure.titlesize": 13,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E4E4E4",
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called a$b
}


def choose_shown(rows: Sequence[T]) -> Sequence[T]:
    """Return at most `MOST_ROWS` of rows, evenly spread over all of them."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]


def write_grid(
    images: np.ndarray, path: Path, *, columns: int = 8, scale: int | None = None
) -> None:
    """Write uint8 images [num, height, width, 1 or 3] as one sheet with thin white gaps.

    Each pixel becomes `scale` x `scale`; by default the largest that keeps an image within 128.
    """
    sheet = _tile(images, columns=columns, scale=scale)
    buffer = io.BytesIO()
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    picture.save(buffer, "png", pnginfo=create_mark())
    write_bytes(path, buffer.getvalue())


def plot_gan_losses(records: Records, path: Path, *, title: str, meaning: str | None) -> None:
    """Draw the losses of G and D, and D(x) and D(G(z)), over epochs (paper, Fig. 7 to 9).

    `meaning` says how a score of D is to be read, None where it is a probability.
    """
    name, is_probability = "d" if meaning is None else "d_score", meaning is None
    with _open_panels(path, title=title, rows=2) as (figure, (losses, scores)):
        notes = [
            *_draw_series(losses, records, {"loss_g": ("G", ORANGE), "loss_d": ("D", BLUE)}),
            *_scale_losses(losses, records, ("loss_g", "loss_d")),
        ]
        series = {
            f"{name}_real": ("D(x), real", BLUE),
            f"{name}_fake": ("D(G(z)) before D's update", ORANGE),
            f"{name}_fake_after": ("after it", GREEN),
        }
        notes += _draw_series(scores, records, series)
        _finish_panel(losses, ylabel="loss")
        ylabel = "mean probability" if is_probability else "mean of D's score"
        _finish_panel(scores, ylabel=ylabel, xlabel="epoch")
        if is_probability:
            scores.set_ylim(-0.03, 1.03)
        else:
            notes.append(f"D's score is no probability ({meaning}).")
        _write_notes(figure, notes)


def plot_acceptance(
    records: Records, path: Path, *, title: str, rule: str, threshold: float | None
) -> None:
    """Draw the share of generated images that the acceptance rule keeps, over epochs."""
    with _open_panels(path, title=title, rows=1, height=4.0) as (figure, (axes,)):
        notes = _draw_series(axes, records, {"acceptance_rate": ("kept", ORANGE)})
        _, rates = _read_series(records, "acceptance_rate")
        highest = max(rates[np.isfinite(rates)], default=0.0)
        limit = "" if threshold is None else f", threshold {threshold:g}"
        found = f"at most {highest:.1%} kept" if highest else f"none kept in {len(rates)} records"
        notes.insert(0, f"Rule {rule}{limit}{f': {found}' if len(rates) else ''}.")
        top = max(1.1 * highest, 0.02)
        axes.set_ylim(-0.03 * top, top)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        _finish_panel(axes, ylabel="generated images kept", xlabel="epoch", legend_columns=0)
        _write_notes(figure, notes)


def plot_quality(records: Records, path: Path, *, title: str, report: Mapping[str, Any]) -> None:
    """Draw the kernel distance over epochs with the selected one (see `quality.summarise`)."""
    with _open_panels(path, title=title, rows=1, height=4.0) as (figure, (axes,)):
        _, values = _read_series(records, "kernel_distance")
        notes = _draw_series(axes, records, {"kernel_distance": ("generated", ORANGE)})
        axes.axhline(report["floor"], color=GRAY, linestyle="--", label="real halves, 19 of 20")
        axes.axvline(report["selected_epoch"], color=BLUE, linewidth=1, label="selected")
        if values.max() > 20 * max(values.min(), report["floor"], 1e-6):
            axes.set_yscale("symlog", linthresh=max(report["floor"], 1e-6))
        best = report["best"]
        notes.append(f"Nearest at epoch {best['epoch']}: {best['kernel_distance']:.3g}.")
        if report["collapse"]:
            more = " ... (more in report.json)"
            notes.append(textwrap.shorten(report["collapse"], _LONGEST_NOTE, placeholder=more))
        _finish_panel(axes, ylabel="kernel distance, pixel pyramid", xlabel="epoch")
        _write_notes(figure, notes)


def plot_ablation(rows: Mapping[str, Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Draw a line a variant: each training as a dot, the mean over the seeds as a bar.

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


def plot_score_histogram(
    scores: np.ndarray,
    path: Path,
    *,
    title: str,
    meaning: str | None,
    threshold: float | None,
    real_scores: np.ndarray | None = None,
) -> None:
    """Draw how D's scores [num] of generated (and real) images are spread.

    `meaning` says how a score is to be read, None where it is a probability.
    """
    with _open_panels(path, title=title, rows=1, height=4.5) as (figure, (axes,)):
        groups = {
            name: (np.asarray(values), color)
            for name, values, color in (
                ("generated", scores, ORANGE),
                ("real", real_scores, BLUE),
            )
            if values is not None
        }
        is_probability = meaning is None
        span = (0.0, 1.0) if is_probability else _find_span([v for v, _ in groups.values()])
        notes: list[str] = []
        for name, (values, color) in groups.items():
            notes += _draw_histogram(axes, values, name, color, threshold, span)
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label=f"D = {threshold:g}")
        margin = 0.02 * (span[1] - span[0])
        axes.set_xlim(span[0] - margin, span[1] + margin)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        xlabel = "D's probability that the image is real"
        if not is_probability:
            xlabel = f"D's score ({meaning})"
        _finish_panel(axes, ylabel="share of images", xlabel=xlabel, legend_columns=1)
        _write_notes(figure, notes)


def plot_real_beside_generated(
    real: np.ndarray, generated: np.ndarray, path: Path, *, title: str
) -> None:
    """Show up to 4 x 8 real images beside as many generated ones, unresampled (paper, Fig. 6).

    Both are uint8 [num, height, width, 1 or 3]; a block without images says so.
    """
    blocks = {"real": real[:32], "generated": generated[:32]}
    sheets = {
        name: np.broadcast_to(sheet, (*sheet.shape[:2], 3))
        for name, images in blocks.items()
        if len(images)
        for sheet in [_tile(images, columns=4, scale=None)]
    }
    width = max([256, *(sheet.shape[1] for sheet in sheets.values())])
    height = max([128, *(sheet.shape[0] for sheet in sheets.values())])
    margin, header = 24, 84
    size = (2 * width + 3 * margin, height + margin + header)
    with open_figure(path, size=(size[0] / _DPI, size[1] / _DPI)) as figure:
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


def plot_rows(rows: Sequence[tuple[str, np.ndarray]], path: Path, *, title: str) -> None:
    """Show rows of up to 8 images uint8 [num, size, size, 1 or 3], each below its label.

    The figure grows with the rows: of many classes `choose_shown` takes some.
    """
    height = 0.7 + 1.65 * len(rows)
    with open_figure(path, size=(10.5, height)) as figure:
        figure.text(0.02, 1 - 0.15 / height, textwrap.fill(title, 95), va="top", fontsize=13)
        for row, (label, images) in enumerate(rows):
            top = height - 0.8 - 1.65 * row
            figure.text(0.02, top / height, label, color=GRAY, va="bottom")
            _show_row(figure, images[:8], bottom=top - 1.3)


def plot_nearest_pairs(
    rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], path: Path, *, title: str
) -> None:
    """Show images above the training images nearest to them, a block a row.

    Each row is a label, images and their nearest training images uint8 [num, size, size, 1 or 3],
    at most 8 of them, and the distances [num] that are written below the pairs.
    """
    height = 1.0 + 3.1 * len(rows)
    with open_figure(path, size=(10.5, height)) as figure:
        figure.text(0.02, 1 - 0.15 / height, textwrap.fill(title, 95), va="top", fontsize=13)
        for row, (label, images, nearest, distances) in enumerate(rows):
            top = height - 0.95 - 3.1 * row
            figure.text(0.02, top / height, label, color=GRAY, va="bottom")
            for line, pictures in enumerate((images, nearest)):
                _show_row(figure, pictures[:8], bottom=top - 0.1 - 1.25 * (line + 1))
            for column, distance in enumerate(distances[:8]):
                place = (0.2 + 1.28 * column) / 10.5, (top - 2.63) / height
                figure.text(*place, f"{distance:.3g}", va="top", color=GRAY, fontsize=9)


def plot_accuracy(records: Records, path: Path, *, title: str, val_count: int) -> None:
    """Draw accuracy and loss on training and validation images per epoch (paper, Fig. 8 and 9).

    The band is the 95 % Wilson interval of the validation accuracy on its `val_count` images.
    """
    with _open_panels(path, title=title, rows=2) as (figure, (accuracies, losses)):
        epochs, values = _read_series(records, "val_accuracy")
        series = {
            "accuracy": ("training, running", BLUE),
            "val_accuracy": (f"validation, {val_count} images", ORANGE),
        }
        notes = _draw_series(accuracies, records, series)
        if len(values):
            low, high = compute_wilson_interval(np.rint(values * val_count), val_count)
            band = accuracies.fill_between(epochs, low, high, label="95 % interval")
            band.set(color=ORANGE, alpha=0.15, linewidth=0)
        names = {"loss": ("training", BLUE), "val_loss": ("validation", ORANGE)}
        notes += _draw_series(losses, records, names)
        notes += _scale_losses(losses, records, tuple(names))
        accuracies.set_ylim(-0.03, 1.03)
        accuracies.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        _finish_panel(accuracies, ylabel="accuracy")
        _finish_panel(losses, ylabel="loss", xlabel="epoch", legend_columns=0)
        _write_notes(figure, notes)


def plot_confusion_matrix(report: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Draw counts and row shares of a classification report (`metrics.classification`).

    Of many classes the shares alone, as shades, in a figure that does not grow with them.
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
    with _open_panels(path, title=title, rows=1, width=width, height=height) as (figure, (axes,)):
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
        _write_notes(figure, notes)


def _name_cells(
    axes: Axes, counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Write every count and share into its cell, every class beside its row and column."""
    totals = counts.sum(axis=1)
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(totals[row], 1)
        text = f"{count}\n{share:.0%}" if totals[row] else "0"
        color = "white" if share > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color)
    names = [f"{name} ({total})" for name, total in zip(rows, totals, strict=True)]
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 18) for name in names])
    axes.set_xticks(range(len(columns)), [textwrap.fill(name, 12) for name in columns])


def _name_some(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Name some of many rows and columns, evenly spread."""
    places = choose_shown(range(len(rows)))
    axes.set_yticks(places, [_shorten(rows[i]) for i in places])
    places = choose_shown(range(len(columns)))
    axes.set_xticks(places, [_shorten(columns[i]) for i in places], rotation=90)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _describe_confusions(
    counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """Return notes on a matrix too large for numbers: its most frequent errors."""
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:_NAMED_ERRORS]
    places = [np.unravel_index(place, errors.shape) for place in order]
    named = [
        f"{_shorten(rows[row])} as {_shorten(columns[column])} ({errors[row, column]})"
        for row, column in places
        if errors[row, column]
    ]
    notes = [f"{len(rows)} classes: shades are shares of a row, numbers are in report.json."]
    return notes + ([f"Most frequent errors: {'; '.join(named)}."] if named else [])


def _show_row(figure: Figure, images: np.ndarray, *, bottom: float) -> None:
    """Show images uint8 [num, size, size, 1 or 3] side by side, `bottom` inches above the edge.

    As one sheet in the figure's own pixels: to open axes takes longer than to draw on them.
    """
    side, lefts = round(1.2 * _DPI), [round(1.28 * _DPI * i) for i in range(len(images))]
    sheet = np.full((side, max(lefts, default=0) + side, 3), 255, np.uint8)
    nearest = np.arange(side) * images.shape[1] // side
    for left, image in zip(lefts, images, strict=True):
        sheet[:, left : left + side] = image[nearest][:, nearest]
    figure.figimage(sheet, xo=round(0.2 * _DPI), yo=round(bottom * _DPI))


def plot_lines(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    path: Path,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    diagonal: bool = False,
) -> None:
    """Draw one line for each name in `series`, of x and y [num]; for a phone's width.

    `diagonal` draws y = x, where confidence and accuracy agree, and takes 0 to 1 for both axes.
    """
    with _open_panels(path, title=title, rows=1, width=5.2, height=4.2) as (figure, (axes,)):
        styles = [(c, s) for s in ("-", "--", ":") for c in (BLUE, ORANGE, GREEN, GRAY)]
        for (name, (x, y)), (color, style) in zip(series.items(), styles, strict=False):
            axes.plot(x, y, color=color, linestyle=style, label=name)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8)
            axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside lower left", ncols=2, fontsize=9)


@contextmanager
def open_figure(path: Path, *, size: tuple[float, float], **layout: Any) -> Iterator[Figure]:
    """Give an empty figure of `size` inches in the house style and write it at the end."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=size, dpi=_DPI, **layout)
        yield figure
        write_bytes(path, _render(figure))


@contextmanager
def _open_panels(
    path: Path, *, title: str, rows: int, width: float = 9.0, height: float = 6.8
) -> Iterator[tuple[Figure, tuple[Axes, ...]]]:
    """Give a titled figure with `rows` panels over one horizontal axis."""
    with open_figure(path, size=(width, height), layout="constrained") as figure:
        panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        figure.suptitle(textwrap.fill(title, int(10 * width)), x=0.01, ha="left")
        yield figure, tuple(panels)


def _render(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None, GENERATED_KEY: "yes"})
    return buffer.getvalue()


def _tile(images: np.ndarray, *, columns: int, scale: int | None) -> np.ndarray:
    """Lay images [num, height, width, channels] out row by row on one white sheet."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "expected uint8 images [num, height, width, 1 or 3], "
            f"found {images.dtype} {images.shape}"
        )
    if not len(images):
        raise ValueError("no images to lay out")
    scale = scale or max(1, 128 // max(images.shape[1:3]))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    num, height, width, channels = images.shape
    columns = min(columns, num)
    rows = -(-num // columns)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels)
    sheet = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * (height + _GAP)
        left = index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _read_series(records: Records, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and values of the records that have `key`, None as NaN."""
    found = [r for r in records if key in r]
    epochs = np.array([r["epoch"] for r in found], np.float64)
    return epochs, np.array([r[key] for r in found], np.float64)


def _draw_series(axes: Axes, records: Records, series: Mapping[str, tuple[str, str]]) -> list[str]:
    """Draw each key's values, from 50 on lightly under their running median; return notes."""
    notes = []
    for key, (label, color) in series.items():
        epochs, values = _read_series(records, key)
        finite = np.isfinite(values)
        if not finite.all():
            first = epochs[~finite][0]
            notes.append(
                f"{label}: {(~finite).sum()} values were not finite and are not drawn, "
                f"the first at epoch {first:g}."
            )
        if not finite.any():
            continue
        window = 1 + 2 * (len(values) // 50)
        if window == 1:
            axes.plot(epochs, values, color=color, marker="o", label=label)
            continue
        notes.append(f"Heavy lines: running median of {window} values.")
        axes.plot(epochs, values, color=color, alpha=0.3, linewidth=0.8, zorder=1.5)
        smooth = median_filter(values[finite], size=window, mode="reflect")
        axes.plot(epochs[finite], smooth, color=color, label=label)
    return notes


def _scale_losses(axes: Axes, records: Records, keys: Sequence[str]) -> list[str]:
    """Turn to a logarithmic axis where the largest loss would flatten the rest; return notes."""
    sizes = np.abs(np.concatenate([_read_series(records, key)[1] for key in keys]))
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes) or sizes.max() <= 10 * max(1.0, float(np.median(sizes))):
        return []
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return [f"The loss reached {sizes.max():.3g}: its axis is logarithmic beyond 1."]


def _find_span(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the least and the greatest finite value, at least a little apart."""
    values = np.concatenate(groups)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 * max(abs(low), 1.0) else (low - 0.5, high + 0.5)


def _draw_histogram(
    axes: Axes,
    values: np.ndarray,
    name: str,
    color: str,
    threshold: float | None,
    span: tuple[float, float],
) -> list[str]:
    """Draw the shares of `values` in 50 bins over `span`; return notes."""
    if not len(values):
        return [f"There is no {name} image to score."]
    label = f"{name}, {len(values)} images"
    if threshold is not None:
        label += f", {np.mean(values >= threshold):.1%} at or above {threshold:g}"
    finite = values[np.isfinite(values)]
    weights = np.full(len(finite), 1 / len(values))
    bins = [float(edge) for edge in np.linspace(*span, 51)]
    axes.hist(finite, bins, weights=weights, color=color, alpha=0.35)
    axes.hist(finite, bins, weights=weights, color=color, histtype="step", label=label)
    broken = len(values) - len(finite)
    return [f"{broken} scores of {name} images were not finite."] if broken else []


def _finish_panel(axes: Axes, *, ylabel: str, xlabel: str = "", legend_columns: int = 3) -> None:
    """Label the axes, put the legend (if any) above the panel, and say where nothing was drawn."""
    axes.set(ylabel=ylabel, xlabel=xlabel)
    if not axes.lines and not axes.patches:
        axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", color=GRAY)
        axes.set(xticks=[], yticks=[])
        return
    if legend_columns:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=legend_columns, borderaxespad=0.2
        )
    if xlabel == "epoch":
        first, last = axes.get_xlim()
        if last - first < 1:  # a single epoch
            axes.set_xlim(first - 0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def _write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Write each note once below the panels."""
    text = textwrap.fill(" ".join(dict.fromkeys(notes)), int(14 * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color=GRAY)
