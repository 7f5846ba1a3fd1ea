"""What a user may write where a folder or file of this machine is expected."""

import re
from pathlib import Path

# Every flag of a launcher that names a folder or a file; tests/test_cli.py holds the list.
FLAGS = (
    *("against", "cache_dir", "data_dir", "features", "generated", "held_out", "images", "json"),
    *("out", "plot", "run", "synthetic_dir", "training_dir", "workdir"),
)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?(.*)", re.DOTALL)


def resolve(flag: str, text: str) -> str:
    """Return the path that was meant: `~` as a shell has it, which leaves `--NAME=~/x` as it is.

    Raises `ValueError` for an address of another machine, and for a home folder there is not.
    """
    address = _ADDRESS.fullmatch(text)
    if address and address[1].lower() == "file":
        text = "/" + address[2].lstrip("/")
    elif address:
        raise ValueError(
            f"--{flag} is {text!r}, an address: expected a folder or file of this machine. Copy "
            "what is there to a disk, or mount it, and name that."
        )
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        raise ValueError(
            f"--{flag} is {text!r}, and there is no such home folder: write the path from / on, "
            f"or ./{text} for a folder of that name."
        ) from None
