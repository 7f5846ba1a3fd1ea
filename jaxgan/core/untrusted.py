"""Text that came out of files (names, classes, table cells), made safe to show.

Pages need nothing of this: their templates escape whatever they are given (`jaxgan.study.page`).
"""

import unicodedata

_FORMULA_STARTS = frozenset("=+-@")  # OWASP, CSV injection
_LINE_STARTS = ("\t", "\r", "\n")


def printable(text: str) -> str:
    r"""Return `text` on one line, with whatever could steer a terminal spelled out (`\x1b`).

    That is control characters, line ends, marks that turn the direction of writing, and bytes of a
    file name that are not UTF-8.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Return a text of our own as `printable` does, its line ends kept.

    A name from a file goes through `printable` first: its line ends would look like ours.
    """
    return "\n".join(map(printable, text.split("\n")))


def csv_cell(value: object) -> object:
    """Return a table's cell so that no spreadsheet takes it for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    first = next((c for c in value if not _is_blank(c)), "")
    # As some spreadsheets do, wide and small forms are taken for the plain ones.
    starts_formula = unicodedata.normalize("NFKC", first) in _FORMULA_STARTS
    return f"'{value}" if starts_formula or value.startswith(_LINE_STARTS) else value


def _is_blank(character: str) -> bool:
    """Whether nothing is seen of a character: spaces, controls, marks of format, joiners."""
    return unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me")


def markdown_text(text: str) -> str:
    r"""Return `text` as Markdown that shows it: no tags, no links, no cells of a table."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in printable(text))
