"""Text that came out of files (names, classes, table cells), made safe to show.

Pages need nothing of this: their templates escape whatever they are given (`jaxgan.study.page`).
"""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP, CSV injection


def printable(text: str) -> str:
    r"""Return `text` on one line, with whatever could steer a terminal spelled out (`\x1b`).

    That is control characters, line ends, marks that turn the direction of writing, and bytes of a
    file name that are not UTF-8.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Return `text` as `printable` does, its line ends kept."""
    return "\n".join(map(printable, text.split("\n")))


def csv_cell(value: object) -> object:
    """Return a table's cell so that no spreadsheet takes it for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value


def markdown_text(text: str) -> str:
    r"""Return `text` as Markdown that shows it: no tags, no links, no cells of a table."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in printable(text))
