"""The text of `--help`: what a launcher does, an example, and its own flags, one line each."""

import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from absl import flags

from jaxgan.core.commands import name_command

_GROUPS = {
    "Data": (
        *("data_dir", "dataset", "generated", "against", "held_out", "synthetic_dir"),
        *("images", "labels_from", "training_dir"),
        *("patient_column", "patient_pattern", "patients_from", "label_column", "source_column"),
        *("follow_links", "leave_out", "on_bad_image", "fit", "value_range", "window"),
        "cache_dir",
    ),
    "Output": ("workdir", "out", "json", "plot"),
}
# The placeholder of a value: by the flag's name, otherwise by its type.
_VALUES = {
    "data_dir generated against held_out out cache_dir workdir synthetic_dir": "FOLDER",
    "run training_dir": "FOLDER",
    "json plot features inception weights": "FILE",
    "images": "FOLDER|FILE",
    "class dataset patient_column label_column source_column": "NAME",
    "config": "FILE.py:VARIANT",
    "patient_pattern": "REGEX",
    "value_range": "LOW,HIGH",
    "window": "CENTER,WIDTH",
    "coordinator": "HOST:PORT",
}
_BY_NAME = {name: value for names, value in _VALUES.items() for name in names.split()}
_BY_TYPE = {"int": "NUMBER", "float": "NUMBER", "comma separated list of strings": "A,B"}
_COLUMNS = 120
_ROOT = Path(__file__).resolve().parents[1]


def is_asked(argv: Iterable[str]) -> bool:
    """Whether the arguments ask for help, in any common form."""
    return any(argument in ("--help", "-help", "-h", "--helpshort") for argument in argv)


def print_help(values: flags.FlagValues) -> None:
    """Print the help of the launcher that runs."""
    docstring = str(sys.modules["__main__"].__doc__).strip()
    launcher = Path(sys.argv[0]).stem
    docstring = docstring.replace(f"python launch/{launcher}.py", name_command(launcher))
    print("\n".join(_list_lines(docstring, values)))


def _list_lines(docstring: str, values: flags.FlagValues) -> Iterator[str]:
    own = _list_own(values)
    groups = {title: [name for name in names if name in own] for title, names in _GROUPS.items()}
    rest = [name for name in own if not any(name in names for names in groups.values())]
    groups = {"Data": groups["Data"], "Run": rest, "Output": groups["Output"]}
    left = {name: _describe_value(values[name]) for name in own}
    width = max(map(len, left.values())) + 2
    yield docstring
    for title, names in groups.items():
        if names:
            yield f"\n{title}:"
        for name in names:
            begin = f"  {left[name]:<{width}}"
            yield textwrap.fill(
                _describe(values[name]),
                _COLUMNS,
                initial_indent=begin,
                subsequent_indent=" " * len(begin),
                break_on_hyphens=False,
            )
    yield "\n[In brackets: the default.] --helpfull also lists the flags of the libraries."


def _list_own(values: flags.FlagValues) -> list[str]:
    """Return the flags that launchers define, in their order."""
    modules = {path.stem for path in Path(__file__).parent.glob("*.py")}
    own = [name for name in ("class", "config") if name in values]
    for module, defined in values.flags_by_module_dict().items():
        if Path(module).stem in modules | {"__main__"}:
            own += [flag.name for flag in defined if flag.name not in own]
    return own


def _describe_value(flag: Any) -> str:
    if flag.boolean:
        return f"--{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    by_type = "WORD" if choices else _BY_TYPE.get(flag.flag_type(), "TEXT")
    few = "|".join(choices) if choices and len(choices) <= 3 else None
    return f"--{flag.name}={few or _BY_NAME.get(flag.name, by_type)}"


def _describe(flag: Any) -> str:
    choices = getattr(flag.parser, "enum_values", None) or ()
    text = str(flag.help).removeprefix(f"<{'|'.join(choices)}>: ")
    text += f" {', '.join(choices)}." if len(choices) > 3 else ""
    default = None if flag.boolean else flag.default
    if default in (None, "", [], 0, 0.0) and not (flag.flag_type() == "int" and default == 0):
        return text
    if isinstance(default, list):
        default = ",".join(default)
    shown = str(flag.default_as_str).strip("'") if flag.name == "config" else str(default)
    shown = shown.replace(f"{_ROOT}/", "").replace(str(Path.home()), "~")
    return f"{text} [{shown}]"
