"""HTML for notebooks: tables, sentences and pictures of results, safe for names from files.

Every text is escaped (`escape`). The colours are those of the notebook, light or dark. Pictures are
PNGs inside the HTML.
"""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.core.untrusted import printable

MOST_ROWS = 20  # of a table
_SIDE = 96  # pixels of an image in a row
_LONGEST = 200  # letters of a cell
_LINE = "border:1px solid rgba(128,128,128,.35)"
_BOX = f"{_LINE};border-radius:6px;padding:.6em .9em;margin:.2em 0;max-width:62em;overflow-x:auto"
_CELL = "padding:.15em .7em;text-align:{};background:transparent;color:inherit;border:0"


def escape(text: object) -> str:
    """Return any value as HTML text: no tags, no line ends, no control characters."""
    return html.escape(printable(str(text)))


def show_box(title: str, *parts: str) -> str:
    """Return a frame with a title and HTML `parts` of the functions in this module."""
    head = f'<div style="font-weight:600;margin-bottom:.4em">{escape(title)}</div>'
    return f'<div class="jaxgan" style="{_BOX}">{head}{"".join(parts)}</div>'


def show_sentences(sentences: Iterable[str]) -> str:
    """Return a paragraph for each sentence."""
    return "".join(f'<p style="margin:.25em 0">{escape(said)}</p>' for said in sentences)


def show_notes(sentences: Sequence[str], title: str = "Notes") -> str:
    """Return sentences that a click unfolds, with their number; nothing if there are none."""
    if not sentences:
        return ""
    head = f'<summary style="cursor:pointer">{escape(title)} ({len(sentences)})</summary>'
    return f'<details style="margin:.4em 0">{head}{show_sentences(sentences)}</details>'


def show_table(rows: Sequence[Sequence[object]], *, most: int = MOST_ROWS) -> str:
    """Return a table; the first row is the heading. The first column is words, others numbers.

    It shows at most `most` rows, and the number of the other rows.
    """
    head, *lines = rows
    shown = [_show_row(head, "th"), *(_show_row(line, "td") for line in lines[:most])]
    if len(lines) > most:
        shown.append(_show_row([f"{len(lines) - most} more"], "td"))
    style = "border-collapse:collapse;margin:.4em 0;font-size:95%"
    return f'<table style="{style}">{"".join(shown)}</table>'


def _show_row(cells: Sequence[object], tag: str) -> str:
    inner = "".join(
        f'<{tag} style="{_CELL.format("right" if column else "left")}">{_shorten(cell)}</{tag}>'
        for column, cell in enumerate(cells)
    )
    return f'<tr style="border-bottom:1px solid rgba(128,128,128,.25)">{inner}</tr>'


def _shorten(cell: object) -> str:
    text = str(cell)
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}...")


def show_images(images: np.ndarray, captions: Sequence[str] = ()) -> str:
    """Return a row of uint8 images [num, height, width, 1 or 3], each above its caption."""
    words = captions or [""] * len(images)
    shown = [_show_image(image, text) for image, text in zip(images, words, strict=True)]
    return f'<div style="display:flex;flex-wrap:wrap;gap:4px;margin:.4em 0">{"".join(shown)}</div>'


def _show_image(image: np.ndarray, caption: str) -> str:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    said = escape(caption)
    style = f"width:{_SIDE}px;margin:0;font-size:80%;text-align:center;overflow-wrap:anywhere"
    return (
        f'<figure style="{style}"><img src="{_embed(buffer.getvalue())}" alt="{said}" '
        f'width="{_SIDE}" style="margin:0"><figcaption>{said}</figcaption></figure>'
    )


def show_picture(path: Path, alt: str) -> str:
    """Return the PNG in a file, or a sentence if the file is missing."""
    if not path.is_file():
        return show_sentences([f"{path} is missing."])
    style = "max-width:100%;max-height:30em;background:white;margin:.4em 0"
    uri = _embed(path.read_bytes())
    return f'<img src="{uri}" alt="{escape(alt)}" style="{style}">'


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def format_measure(measure: Mapping[str, Any]) -> str:
    """Return a measure with `value` and `interval` in percent: "82.5 % [76.1, 87.4]"."""
    if measure["value"] is None:
        return "-"
    text = f"{100 * measure['value']:.1f} %"
    if not measure.get("interval"):
        return text
    low, high = measure["interval"]
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"
