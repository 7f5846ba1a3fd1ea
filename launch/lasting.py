"""A text stream that accepts output even after its reader is gone."""

import os
from collections.abc import Callable
from typing import Any, TextIO


def open_nothing() -> TextIO:
    """Return a file that discards all output, open until the process ends."""
    return open(os.devnull, "w")  # noqa: PTH123


class Lasting:
    """A text stream; `report` is called with the error of the first write that fails."""

    def __init__(self, stream: TextIO, report: Callable[[OSError], None]):
        self._stream, self._report = stream, report

    def write(self, text: str) -> int:
        """Write as any stream does; after a failure, discard the text."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush as any stream does."""
        self._attempt(self._stream.flush)

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:  # a pipe, a terminal or a disk that is gone or full
            nothing = open_nothing()
            # The rest of the stream's buffer would fail again when Python ends.
            os.dup2(nothing.fileno(), self._stream.fileno())
            self._stream = nothing
            self._report(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
