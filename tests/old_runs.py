"""Runs that an earlier version of jaxgan made: they must be read, and resumed, for ever."""

import tarfile
from pathlib import Path

FORMAT_1 = Path(__file__).with_name("data") / "runs_format_1.tar.xz"


def unpack_format_1(folder: Path) -> Path:
    """Unpack the runs of commit 032031b, see data/README.md, into `folder`; return it."""
    with tarfile.open(FORMAT_1) as archive:
        archive.extractall(folder, filter="data")
    return folder
