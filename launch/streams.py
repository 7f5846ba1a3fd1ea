"""Standard output and error that may be closed or lose their reader. Imports nothing heavy."""

import os
import sys
from typing import TextIO, cast

from lasting import Lasting, open_nothing


def open_closed() -> None:
    """Open on nothing what a shell has closed (`>&-`): a file of ours would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    sys.stdout = sys.stdout or open_nothing()
    sys.stderr = sys.stderr or open_nothing()


def outlive_readers() -> None:
    """Have the work go on where nobody reads what it says any more, which is said once.

    A training is not its output. Whoever writes `| head` or loses the terminal wants to see less,
    not to lose hours of work; Ctrl-C ends it, as ever, and all that counts is in files. A name that
    the terminal's encoding does not have is spelled out.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, Lasting(sys.stderr, lambda error: None))
    sys.stdout = cast(TextIO, Lasting(sys.stdout, _tell))


def _tell(error: OSError) -> None:
    print(
        f"Standard output can not be written any more ({error.strerror}): going on without it. "
        "Ctrl-C stops.",
        file=sys.stderr,
    )
