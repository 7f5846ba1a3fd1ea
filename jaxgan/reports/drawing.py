"""The parts of every picture: the common style, panels over epochs, sheets of images.

Every PNG is written completely or not at all. The same input gives the same bytes, whatever the
user's matplotlib settings. Every PNG has jaxgan's mark, so that no command reads a figure or a
sheet as a film. `records` are the dicts of a run's metrics.jsonl.
"""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import scipy  # ndimage is loaded where it is used
from PIL import Image

from jaxgan.core.files import write_bytes
from jaxgan.data.images import GENERATED_KEY, create_mark

if TYPE_CHECKING:  # matplotlib takes half a second of every launch: loaded where it is used
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, Any]]
T = TypeVar("T")

# The colours of Okabe and Ito: colour-blind readers can distinguish them too.
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#767676"

HEAT_COLORS = "viridis"  # from dark blue to bright yellow: colour-blind readers can read it too
HEAT_COVER = 0.7  # opacity of the highest heat over the image
DPI = 120
MOST_ROWS = 16  # of a figure with one row per class
_GAP = 2  # pixels between tiled images
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
    "text.parse_math": False,  # the name of a class may be a$b
}


def choose_shown(rows: Sequence[T]) -> Sequence[T]:
    """Return at most `MOST_ROWS` of the rows, evenly spread."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]


def write_grid(
    images: np.ndarray, path: Path, *, columns: int = 8, scale: int | None = None
) -> None:
    """Write uint8 images [num, height, width, 1 or 3] as one sheet with thin white gaps.

    Each pixel becomes `scale` x `scale` pixels. The default is the largest `scale` that keeps an
    image within 128 x 128 pixels.
    """
    sheet = tile(images, columns=columns, scale=scale)
    buffer = io.BytesIO()
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    picture.save(buffer, "png", pnginfo=create_mark())
    write_bytes(path, buffer.getvalue())


def tile(images: np.ndarray, *, columns: int, scale: int | None) -> np.ndarray:
    """Put images [num, height, width, channels] row by row on one white sheet."""
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


def overlay_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return uint8 [h, w, 3]: an image [h, w, 1 or 3] under its heat [h, w], 0 to 1.

    Without heat the image is unchanged. The colours are those of `HEAT_COLORS`.
    """
    cover = (HEAT_COVER * heat.clip(0.0, 1.0))[..., None]
    mixed = (1.0 - cover) * image + cover * 255.0 * color_heat(heat)
    return mixed.round().astype(np.uint8)


def color_heat(heat: np.ndarray) -> np.ndarray:
    """Return the colours [..., 3], 0 to 1, of heat from 0 to 1."""
    import matplotlib

    return np.asarray(matplotlib.colormaps[HEAT_COLORS](heat))[..., :3]


def plot_rows(rows: Sequence[tuple[str, np.ndarray]], path: Path, *, title: str) -> None:
    """Show rows of up to 8 images uint8 [num, size, size, 1 or 3], each below its label.

    The figure grows with the rows: with many classes, `choose_shown` chooses some first.
    """
    height = 0.7 + 1.65 * len(rows)
    with open_figure(path, size=(10.5, height)) as figure:
        figure.text(0.02, 1 - 0.15 / height, textwrap.fill(title, 95), va="top", fontsize=13)
        for row, (label, images) in enumerate(rows):
            top = height - 0.8 - 1.65 * row
            figure.text(0.02, top / height, label, color=GRAY, va="bottom")
            show_row(figure, images[:8], bottom=top - 1.3)


def show_row(figure: "Figure", images: np.ndarray, *, bottom: float) -> None:
    """Show images uint8 [num, size, size, 1 or 3] side by side, `bottom` inches above the edge.

    They are one sheet in the figure's own pixels, because axes for each image would be slow.
    """
    side, lefts = round(1.2 * DPI), [round(1.28 * DPI * i) for i in range(len(images))]
    sheet = np.full((side, max(lefts, default=0) + side, 3), 255, np.uint8)
    nearest = np.arange(side) * images.shape[1] // side
    for left, image in zip(lefts, images, strict=True):
        sheet[:, left : left + side] = image[nearest][:, nearest]
    figure.figimage(sheet, xo=round(0.2 * DPI), yo=round(bottom * DPI))


def load() -> None:
    """Import now the modules that the first figure needs."""
    import matplotlib.backends.backend_agg
    import matplotlib.style
    import matplotlib.ticker  # noqa: F401
    import scipy.ndimage  # noqa: F401


@contextmanager
def open_figure(path: Path, *, size: tuple[float, float], **layout: Any) -> Iterator["Figure"]:
    """Give an empty figure of `size` inches in the common style and write it at the end."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=size, dpi=DPI, **layout)
        yield figure
        write_bytes(path, _render(figure))


@contextmanager
def open_panels(
    path: Path, *, title: str, rows: int, width: float = 9.0, height: float = 6.8
) -> Iterator[tuple["Figure", tuple["Axes", ...]]]:
    """Give a figure with a title and `rows` panels that share one horizontal axis."""
    with open_figure(path, size=(width, height), layout="constrained") as figure:
        panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        figure.suptitle(textwrap.fill(title, int(10 * width)), x=0.01, ha="left")
        yield figure, tuple(panels)


def size_panels(records: Records) -> dict[str, Any]:
    """Return the panels of a training's figure: two, and one for the rate where that is noted."""
    return {"rows": 3, "height": 9.4} if _has_rates(records) else {"rows": 2}


def name_epochs(others: Sequence["Axes"]) -> str:
    """Return the label of the second panel's axis: the last panel has that of all."""
    return "" if others else "epoch"


def draw_rates(others: Sequence["Axes"], records: Records) -> None:
    """Draw the learning rate into the panel that is left for it, if any."""
    for axes in others:
        epochs, rates = read_series(records, "learning_rate")
        axes.plot(epochs, rates, color=GREEN, label="learning rate")
        if min(rates) * 20 < max(rates):
            axes.set_yscale("log")
        finish_panel(axes, ylabel="learning rate", xlabel="epoch", legend_columns=0)


def _has_rates(records: Records) -> bool:
    return any("learning_rate" in record for record in records)


def _render(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None, GENERATED_KEY: "yes"})
    return buffer.getvalue()


def read_series(records: Records, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and values of the records that have `key`, None as NaN."""
    found = [r for r in records if key in r]
    epochs = np.array([r["epoch"] for r in found], np.float64)
    return epochs, np.array([r[key] for r in found], np.float64)


def draw_series(axes: "Axes", records: Records, series: Mapping[str, tuple[str, str]]) -> list[str]:
    """Draw the values of each key, with a running median from 50 values on; return notes."""
    notes = []
    for key, (label, color) in series.items():
        epochs, values = read_series(records, key)
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
        smooth = scipy.ndimage.median_filter(values[finite], size=window, mode="reflect")
        axes.plot(epochs[finite], smooth, color=color, label=label)
    return notes


def scale_losses(axes: "Axes", records: Records, keys: Sequence[str]) -> list[str]:
    """Make the axis logarithmic if the largest loss would flatten the rest; return notes."""
    sizes = np.abs(np.concatenate([read_series(records, key)[1] for key in keys]))
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes) or sizes.max() <= 10 * max(1.0, float(np.median(sizes))):
        return []
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:g}")
    return [f"The loss reached {sizes.max():.3g}: its axis is logarithmic beyond 1."]


def finish_panel(axes: "Axes", *, ylabel: str, xlabel: str = "", legend_columns: int = 3) -> None:
    """Label the axes, put a legend above the panel, and say if nothing was drawn."""
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
        axes.locator_params("x", nbins=10, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


def write_notes(figure: "Figure", notes: Sequence[str]) -> None:
    """Write each note once below the panels."""
    text = textwrap.fill(" ".join(dict.fromkeys(notes)), int(14 * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color=GRAY)


def show_percent(axes: "Axes") -> None:
    """Write the numbers of the vertical axis as percentages."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
