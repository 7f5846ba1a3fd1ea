"""Show where a classifier looks: a picture of heatmaps, and sentences."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.reports.drawing import DPI, color_heat, open_figure, overlay_heat
from jaxgan.reports.prediction_figures import enlarge, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW_PLACES = 6  # of heat along a side: with fewer, a place is wider than the frame
_COLUMNS = 4
_SIDE, _HEAD, _WORDS = 1.5, 0.8, 0.5  # inches: an image, title and scale, words above an image
_CELL = 2 * _SIDE + 0.2


def is_too_coarse(places: Sequence[int]) -> bool:
    """Return whether heat of [rows, columns] places is too coarse to measure a region's share."""
    return min(places) < FEW_PLACES


def describe_heat(heat: Mapping[str, Any]) -> str:
    """Return in sentences where a classifier looks."""
    rows, columns = heat["places"]
    if is_too_coarse(heat["places"]):
        return (
            f"The classifier's heat has only {rows} x {columns} places, which is too coarse to "
            "measure the shares of heat in the frame and in the centre: use larger images."
        )
    frame, centre = (heat["all"][name]["value"] for name in ("frame", "centre"))
    if frame is None:
        return "The classifier has no heat in any of these images."
    area = heat["area"]
    said = (
        f"{frame:.0%} of the classifier's heat is in the frame ({area['frame']:.0%} of the area), "
        f"and {centre:.0%} is in the centre ({area['centre']:.0%} of the area). The heat for the "
        f"predicted class has {rows} x {columns} places."
    )
    if heat["without_heat"]:
        said += f" {heat['without_heat']} image(s) have no heat and do not count here."
    return said


def plot_heatmaps(
    images: np.ndarray,
    heat: np.ndarray,
    shown: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
) -> None:
    """Draw images uint8 [num, h, w, 1 or 3], each without and with its heat [num, h, w].

    `shown` has the prediction, its probability and, if it is known, the true class of each.
    """
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    size = (max(columns * _CELL, 5.0), _HEAD + rows * (_SIDE + _WORDS))
    with open_figure(path, size=size) as figure:
        wrapped = textwrap.fill(title, int(10 * size[0]))
        figure.text(0.08 / size[0], 1 - 0.1 / size[1], wrapped, va="top", fontsize=13)
        _draw_scale(figure, size)
        pairs = zip(images, heat, shown, strict=True)
        for place, (image, image_heat, named) in enumerate(pairs):
            row, column = divmod(place, columns)
            left = column * _CELL + 0.08
            bottom = size[1] - _HEAD - (row + 1) * (_SIDE + _WORDS) + 0.08
            top = (bottom + _SIDE + 0.04) / size[1]
            words = _describe_shown(place + 1, named)
            figure.text(left / size[0], top, words, fontsize=9, va="bottom")
            for i, picture in enumerate((image, overlay_heat(image, image_heat))):
                at = left + i * (_SIDE + 0.02)
                shape = enlarge(picture, _SIDE)
                figure.figimage(shape, xo=round(at * DPI), yo=round(bottom * DPI))


def _describe_shown(number: int, named: Mapping[str, Any]) -> str:
    prediction = f"predicted {shorten(named['predicted'])} {named['probability']:.0%}"
    if "true" not in named:
        return f"{number}. {prediction}"
    return f"{number}. is {shorten(named['true'])}\n{prediction}"


def _draw_scale(figure: "Figure", size: tuple[float, float]) -> None:
    """Draw the colours of heat below the title, from none to the highest heat of an image."""
    bottom, left, width = size[1] - _HEAD + 0.02, 0.75, 1.6
    steps = np.linspace(0.0, 1.0, round(width * DPI))
    bar = np.broadcast_to(color_heat(steps), (round(0.12 * DPI), len(steps), 3))
    figure.figimage(bar, xo=round(left * DPI), yo=round(bottom * DPI))
    for at, words, side in (
        (left - 0.06, "little", "right"),
        (left + width + 0.06, "most", "left"),
    ):
        figure.text(at / size[0], bottom / size[1], words, fontsize=9, ha=side)
