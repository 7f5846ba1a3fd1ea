"""Real and generated images in random order, for the eye: what is what stands on another sheet."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.files import write_json
from jaxgan.reports.drawing import BLUE, DPI, ORANGE, open_figure

MOST_SHOWN = 16  # of each kind
WORDS = ("real", "generated")
_COLUMNS = 8
_SCALE = 2
_GAP, _HEAD, _TITLE = 8, 26, 44  # pixels: around an image, above it, above all
_NARROWEST = 92  # pixels of a column: the widest words are "32 generated"
_FRAME = 4  # pixels, in the gap
_WHITE = 255


def plot_blind(real: np.ndarray, generated: np.ndarray, path: Path, *, seed: int) -> None:
    """Show as many real as generated images at twice their size, numbered, in random order.

    Both are uint8 [num, height, width, 1 or 3] of one shape; at most 16 of each are shown. The
    same sheet with the answers goes to `path` with `_answers` added to its name. A JSON file goes
    beside it. Raises ValueError if the shapes differ or a kind has no image.
    """
    images, is_generated = shuffle_blind(real, generated, seed=seed)
    _draw(images, None, path)
    _draw(images, is_generated, path.with_name(f"{path.stem}_answers{path.suffix}"))
    write_json(path.with_suffix(".json"), describe_blind(is_generated))


def shuffle_blind(
    real: np.ndarray, generated: np.ndarray, *, seed: int, most: int = MOST_SHOWN
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `most` images of each kind, equally many, in random order.

    The second array [num] is True for generated images.
    """
    num = min(len(real), len(generated), most)
    same = real.shape[1:] == generated.shape[1:] and real.dtype == generated.dtype == np.uint8
    if not num or not same:
        raise ValueError(
            f"expected uint8 images of one shape, found {real.dtype} {real.shape} and "
            f"{generated.dtype} {generated.shape}"
        )
    order = np.random.default_rng(seed).permutation(2 * num)
    return np.concatenate([real[:num], generated[:num]])[order], order >= num


def describe_blind(is_generated: np.ndarray) -> dict[str, Any]:
    """Return the answers as JSON, by the number of the image, from 1 on."""
    answers = {str(i): WORDS[int(kind)] for i, kind in enumerate(is_generated, start=1)}
    return {"num_images": len(is_generated), "answers": answers}


def _draw(images: np.ndarray, is_generated: np.ndarray | None, path: Path) -> None:
    """Draw the sheet; with the answers a frame and a word at each image, at the same places."""
    large = images.repeat(_SCALE, axis=1).repeat(_SCALE, axis=2)
    height, width = large.shape[1:3]
    cell = max(width + 2 * _GAP, _NARROWEST), height + _HEAD + _GAP
    columns = min(_COLUMNS, len(large))
    size = columns * cell[0], _TITLE + -(-len(large) // columns) * cell[1]
    sheet = np.full((size[1], size[0], 3), _WHITE, np.uint8)
    with open_figure(path, size=(size[0] / DPI, size[1] / DPI)) as figure:
        title = "Real or generated?" if is_generated is None else "The answers"
        figure.text(_GAP / size[0], 1 - 10 / size[1], title, va="top", fontsize=12)
        for number, image in enumerate(large):
            row, column = divmod(number, columns)
            top, left = _TITLE + row * cell[1] + _HEAD, column * cell[0] + _GAP
            words = str(number + 1)
            if is_generated is not None:
                kind = int(is_generated[number])
                words = f"{words} {WORDS[kind]}"
                _frame(sheet, top, left, (height, width), (BLUE, ORANGE)[kind])
            sheet[top : top + height, left : left + width] = image
            figure.text(left / size[0], 1 - (top - 6) / size[1], words, va="bottom", fontsize=9)
        figure.figimage(sheet, xo=0, yo=0)


def _frame(sheet: np.ndarray, top: int, left: int, size: tuple[int, int], color: str) -> None:
    """Colour the place of an image and a frame around it."""
    rgb = tuple(bytes.fromhex(color.removeprefix("#")))
    rows = slice(top - _FRAME, top + size[0] + _FRAME)
    sheet[rows, left - _FRAME : left + size[1] + _FRAME] = rgb
