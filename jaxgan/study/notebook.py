"""A study in a notebook: its verdict, and its differences as a table and a forest plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgan.reports import html
from jaxgan.study.page import WORDS, lay_out_forest

_RAIL = "position:relative;width:14em;height:1.1em;display:inline-block"
_MARK = "position:absolute;background:currentColor"


def show_study(report: Mapping[str, Any], page: Path) -> str:
    """Return the results of a study as HTML for a notebook."""
    forest = lay_out_forest(report)
    groups = [_show_group(name, rows, forest) for name, rows in forest["groups"].items()]
    return html.show_box(
        WORDS[report["verdict"]],
        html.show_sentences([report["sentence"]]),
        *groups,
        html.show_sentences([f"All results are on this page: {page}"]),
    )


def _show_group(control: str, rows: list[dict[str, Any]], forest: Mapping[str, Any]) -> str:
    """Return the differences of arms from one control, in points of balanced accuracy."""
    reach = 100 * forest["reach"]
    title = f"Difference from {control}, in points (plot: {-reach:.0f} to {reach:.0f})"
    return html.show_sentences([title]) + "".join(map(_show_row, rows))


def _show_row(row: Mapping[str, Any]) -> str:
    interval = row["by_patient"]["interval"]
    ends = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    words = f"{row['arm']}: {100 * row['difference']:+.1f}{ends}"
    bars = [_draw(50, 50, "height:1.1em;top:0;width:1px;opacity:.4")]
    for name, style in (("wide", "height:1px;top:.55em"), ("narrow", "height:.3em;top:.4em")):
        if row[name] is not None:
            left, right = row[name]
            bars.append(_draw(left, right, f"{style};opacity:.7"))
    bars.append(_draw(row["at"], row["at"], "width:.5em;height:.5em;top:.3em;margin-left:-.25em"))
    picture = f'<span style="{_RAIL}">{"".join(bars)}</span>'
    row_style = "display:flex;gap:1em;align-items:center"
    return f'<div style="{row_style}">{picture}<span>{html.escape(words)}</span></div>'


def _draw(left: float, right: float, style: str) -> str:
    """Return a bar from `left` to `right`, in percent of the plot."""
    width = f"width:{right - left:.2f}%;" if right > left else ""
    return f'<span style="{_MARK};left:{left:.2f}%;{width}{style}"></span>'
