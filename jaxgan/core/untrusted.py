"""Make text from files (names, classes, table cells) safe to show.

Pages do not need this: their templates escape every value (`jaxgan.study.page`).
"""

import unicodedata

_FORMULA_STARTS = frozenset("=+-@")  # OWASP, CSV injection
_LINE_STARTS = ("\t", "\r", "\n")


def printable(text: str) -> str:
    r"""Return `text` on one line, with characters that could control a terminal escaped (`\x1b`).

    These are control characters, line ends, marks that change the writing direction, and bytes of
    a file name that are not UTF-8.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Return a text of jaxgan as `printable` does, but keep its line ends.

    Apply `printable` first to each name from a file, so that it can not add lines.
    """
    return "\n".join(map(printable, text.split("\n")))


def csv_cell(value: object) -> object:
    """Return a table cell that no spreadsheet reads as a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    first = next((c for c in value if not _is_blank(c)), "")
    # Some spreadsheets read wide and small forms of a character as the plain one.
    starts_formula = unicodedata.normalize("NFKC", first) in _FORMULA_STARTS
    return f"'{value}" if starts_formula or value.startswith(_LINE_STARTS) else value


def _is_blank(character: str) -> bool:
    """Whether a character is invisible: spaces, controls, format marks, joiners."""
    return unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me")


def markdown_text(text: str) -> str:
    r"""Return Markdown that shows `text` as it is: no tags, no links, no table cells."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in printable(text))
