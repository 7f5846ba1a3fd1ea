"""Draw a classifier on new images: curves, confusion matrix, mistakes with high probability."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.metrics.classification import OUTSIDE
from jaxgan.metrics.curves import compute_precision_recall, compute_roc
from jaxgan.reports.classifier_figures import plot_confusion_matrix
from jaxgan.reports.drawing import BLUE, DPI, GRAY, GREEN, ORANGE, open_figure, write_notes

_MOST_CURVES = 8  # classes that have a curve: the most frequent ones
_COLUMNS = 4  # in the sheet of mistakes
_SIDE, _STEP, _ROW = (
    2.0,
    2.2,
    2.55,
)  # inches: side of an image there, distance between two, height of a row
_LONGEST = 24  # letters in a name


def plot_curves(
    probabilities: np.ndarray,
    labels: np.ndarray,
    report: Mapping[str, Any],
    path: Path,
    *,
    title: str,
) -> None:
    """Draw the ROC and the precision-recall curve of each class, and reliability, in a row.

    `probabilities` [num, outputs], `labels` [num]; `report` is that of
    `jaxgan.experiments.prediction_report`. A class has no curve if all images have it, or none.
    """
    with open_figure(path, size=(12.0, 4.9)) as figure:
        figure.suptitle(textwrap.fill(title, 120), x=0.01, ha="left")
        roc, recall, reliability = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.05, right=0.99, bottom=0.17, top=0.86, wspace=0.22)
        names = list(report["per_class"])
        styles = [(c, s) for s in ("-", "--") for c in (BLUE, ORANGE, GREEN, GRAY)]
        for (label, name), (color, style) in zip(_choose(names, labels), styles, strict=False):
            look = {"color": color, "linestyle": style, "label": shorten(name)}
            positive = labels == label
            roc.plot(*compute_roc(probabilities[:, label], positive), **look)
            recall.plot(*compute_precision_recall(probabilities[:, label], positive), **look)
        bins = report["reliability"]
        for axes in (roc, reliability):
            axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8)
        confidence, accuracy = ([b[key] for b in bins] for key in ("confidence", "accuracy"))
        reliability.plot(confidence, accuracy, color=BLUE, marker="o")
        roc.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC")
        recall.set(xlabel="sensitivity (recall)", ylabel="precision", title="Precision-recall")
        error = 100 * report["calibration_error"]["value"]
        words = f"Reliability: {error:.1f} points of error"
        reliability.set(xlabel="probability", ylabel="share that is right", title=words)
        for axes in (roc, recall, reliability):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if roc.get_legend_handles_labels()[0][:-1]:
            recall.legend(loc="best", fontsize=9)
        write_notes(figure, _describe_curves(names, labels, bins))


def _choose(names: Sequence[str], labels: np.ndarray) -> list[tuple[int, str]]:
    """Return the classes that have a curve, with their numbers."""
    counts = np.bincount(labels, minlength=len(names))
    usable = [i for i in range(len(names)) if 0 < counts[i] < len(labels)]
    frequent = sorted(usable, key=lambda i: -counts[i])[:_MOST_CURVES]
    return [(i, names[i]) for i in sorted(frequent)]


def _describe_curves(
    names: Sequence[str], labels: np.ndarray, bins: Sequence[Mapping[str, Any]]
) -> list[str]:
    shown = _choose(names, labels)
    notes = [f"{len(labels)} images; each class against all others."]
    if len(shown) < len(names):
        notes.append(f"{len(shown)} of {len(names)} classes have a curve.")
    counts = ", ".join(str(b["count"]) for b in bins)
    return [*notes, f"Reliability: number of images at each dot, from left to right: {counts}."]


def shorten(name: str) -> str:
    """Return a name that is short enough for a picture."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


def plot_confusions(
    labels: np.ndarray, predicted: np.ndarray, report: Mapping[str, Any], path: Path, *, title: str
) -> None:
    """Draw the confusion matrix of `labels` and `predicted` [num], the numbers of outputs."""
    names = list(report["per_class"])
    columns = np.minimum(predicted, len(names))
    counts = np.zeros((len(names), len(names) + 1), np.int64)
    np.add.at(counts, (labels, columns), 1)
    spare = [OUTSIDE] if counts[:, -1].any() else []
    right = int((labels == predicted).sum())
    accuracy = report["accuracy"]
    interval = accuracy["interval"] or [accuracy["value"]] * 2
    shown = {
        "count": len(labels),
        "accuracy": {**accuracy, "interval": interval, "correct": right},
        "confusion_matrix": {
            "rows": names,
            "columns": [*names, *spare],
            "counts": counts[:, : len(names) + len(spare)].tolist(),
        },
    }
    plot_confusion_matrix(shown, path, title=title)


def plot_mistakes(
    images: Sequence[np.ndarray], mistakes: Sequence[Mapping[str, Any]], path: Path, *, title: str
) -> None:
    """Draw images uint8 [h, w, 1 or 3], each with its true and its predicted class."""
    rows = -(-len(images) // _COLUMNS)
    height = 0.5 + rows * _ROW
    with open_figure(path, size=(_COLUMNS * _STEP, height)) as figure:
        figure.text(0.01, 1 - 0.12 / height, textwrap.fill(title, 90), va="top", fontsize=13)
        for place, (image, mistake) in enumerate(zip(images, mistakes, strict=True)):
            row, column = divmod(place, _COLUMNS)
            bottom = height - 0.5 - (row + 1) * _ROW + 0.1
            called = f"{shorten(mistake['predicted'])} {mistake['probability']:.0%}"
            words = f"{place + 1}. is {shorten(mistake['true'])}\npredicted {called}"
            left = column * _STEP + 0.1
            top = (bottom + _SIDE + 0.04) / height
            figure.text(left / (_COLUMNS * _STEP), top, words, fontsize=9, va="bottom")
            # In pixels of the figure: opening axes takes longer than drawing on them.
            figure.figimage(enlarge(image, _SIDE), xo=round(left * DPI), yo=round(bottom * DPI))


def enlarge(image: np.ndarray, inches: float) -> np.ndarray:
    """Return uint8 [side, side, 3] of an image [height, width, 1 or 3], pixel by pixel."""
    side = round(inches * DPI)
    rows, columns = (np.arange(side) * length // side for length in image.shape[:2])
    return np.broadcast_to(image[rows][:, columns], (side, side, 3))
