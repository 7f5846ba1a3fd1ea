"""Standard output and error that may be closed or lose their reader. Imports nothing heavy."""

import os
import sys
from typing import TextIO, cast

from lasting import Lasting, open_nothing


def open_closed() -> None:
    """Open a stream that a shell has closed (`>&-`): otherwise a new file gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    sys.stdout = sys.stdout or open_nothing()
    sys.stderr = sys.stderr or open_nothing()


def outlive_readers() -> None:
    """Continue the work if nobody reads the output any more; say so once.

    A user who writes `| head` or loses the terminal wants to see less, not to lose hours of work.
    Ctrl-C still ends it, and all results are in files. A character that the terminal's encoding
    does not have is written as an escape.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, Lasting(sys.stderr, lambda error: None))
    sys.stdout = cast(TextIO, Lasting(sys.stdout, _report))


def _report(error: OSError) -> None:
    print(
        f"Standard output can not be written any more ({error.strerror}): going on without it. "
        "Ctrl-C stops.",
        file=sys.stderr,
    )
