"""Choose the folder of a comparison and write it: an earlier, different one is kept."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgan.core.console import say
from jaxgan.core.files import read_object, write_json


def choose_out(out: Path, file: str, comparison: Mapping[str, Any]) -> Path:
    """Return `out`, or the first of `out`-2, `out`-3, ... without a different one in `file`."""
    named = out.resolve() if out.name in ("", "..") else out  # a dot has no name to add to
    for number in itertools.count(1):
        folder = out if number == 1 else named.parent / f"{named.name}-{number}"
        path = folder / file
        if not path.exists() or (read_object(path) or {}).get("comparison") == comparison:
            if number > 1:
                say(f"{out} holds another comparison, which is kept: this one goes to {folder}.")
            return folder
    raise AssertionError("there is always another number")


def write_result(result: Mapping[str, Any], path: Path, copy: Path | None) -> None:
    """Write the result as JSON to `path`, and to `copy` if one is given."""
    for file in (path, copy):
        if file is not None:
            write_json(file, result)
