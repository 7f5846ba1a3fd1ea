"""What `--help` shows: a launcher's own flags in three groups, one line each."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from absl import flags

_OUTPUT = ("workdir", "out", "json", "plot")
_DATA = (
    *("data_dir", "dataset", "generated", "against", "held_out", "patient_column"),
    *("patient_pattern", "patients_from", "label_column", "source_column", "follow_links"),
    *("leave_out", "on_bad_image", "fit", "value_range", "window", "cache_dir"),
)
# What a value is called, by the kind of its flag and by its name.
_KINDS = {"int": "NUMBER", "float": "NUMBER", "string": "TEXT"}
_NAMES = {
    **dict.fromkeys(("data_dir", "generated", "against", "held_out", "out", "cache_dir"), "FOLDER"),
    **dict.fromkeys(("workdir", "synthetic_dir"), "FOLDER"),
    **dict.fromkeys(("json", "plot", "features"), "FILE"),
    **{"class": "NAME", "config": "FILE.py:VARIANT", "patient_pattern": "REGEX"},
    **{"value_range": "LOW,HIGH", "window": "CENTER,WIDTH", "coordinator": "HOST:PORT"},
    **dict.fromkeys(("patient_column", "label_column", "source_column", "dataset"), "NAME"),
}


def is_asked(argv: Iterable[str]) -> bool:
    """Whether the command line asks for help, as nearly every command line tool takes it."""
    return any(argument in ("--help", "-h", "-help", "--helpshort") for argument in argv)


def print_help(docstring: str, values: flags.FlagValues, own: Iterable[str]) -> None:
    """Print what a launcher is for, an example, and the flags `own` in groups."""
    print("\n".join(_list_lines(docstring, values, set(own))))


def _list_lines(docstring: str, values: flags.FlagValues, own: set[str]) -> Iterator[str]:
    yield docstring.strip()
    groups = {
        "Data": [name for name in _DATA if name in own],
        "Output": [name for name in _OUTPUT if name in own],
    }
    groups["Run"] = sorted(own.difference(*groups.values()))
    width = max(len(_describe_value(values[name])) for name in own) + 2
    for group in ("Data", "Run", "Output"):
        if groups[group]:
            yield f"\n{group}:"
        for name in groups[group]:
            yield f"  {_describe_value(values[name]):<{width}}{_describe(values[name])}"
    yield f"\n--helpfull also lists the flags of the libraries. {Path(sys.argv[0]).name}"


def _describe_value(flag: Any) -> str:
    if flag.boolean:
        return f"--{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    kind = (
        "|".join(choices) if choices and len(choices) < 4 else _KINDS.get(flag.flag_type(), "LIST")
    )
    return f"--{flag.name}={_NAMES.get(flag.name, kind)}"


def _describe(flag: Any) -> str:
    default = flag.default_as_str
    return f"{flag.help} [{default}]" if default and not flag.boolean else flag.help
