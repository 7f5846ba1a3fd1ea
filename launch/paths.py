"""Paths that a user may give for a folder or file of this machine."""

import re
from pathlib import Path

# Every flag of a launcher that names a folder or a file; tests/test_cli.py checks the list.
FLAGS = (
    *("against", "answers", "cache_dir", "data_dir", "features", "generated", "held_out", "images"),
    *(
        "inception",
        "json",
        "out",
        "plot",
        "run",
        "synthetic_dir",
        "training_dir",
        "weights",
        "workdir",
    ),
)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?(.*)", re.DOTALL)


def resolve(flag: str, text: str) -> str:
    """Return the path, with `~` expanded: a shell does not expand it in `--NAME=~/x`.

    Raises `ValueError` for an address of another machine, and for a home folder that does not
    exist.
    """
    address = _ADDRESS.fullmatch(text)
    if address and address[1].lower() == "file":
        text = "/" + address[2].lstrip("/")
    elif address:
        raise ValueError(
            f"--{flag} is {text!r}, an address: expected a folder or file of this machine. Copy "
            "the data to a disk, or mount them, and give that path."
        )
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        raise ValueError(
            f"--{flag} is {text!r}, but there is no such home folder: give the full path from /, "
            f"or ./{text} for a folder of that name."
        ) from None
