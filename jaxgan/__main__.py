"""The command `jaxgan`: `jaxgan study ...` is `python launch/study.py ...` without a checkout.

A checkout has the launchers in `launch/`, an installed package in `jaxgan/launch/`.
"""

import ast
import runpy
import sys
from pathlib import Path

import jaxgan
from jaxgan.core.configs import find_shipped

_EXIT_CODE = 2  # for every user mistake
COMMANDS = (
    *("study", "train-dcgan", "train-gmd", "sample", "evaluate", "train-gan", "train-classifier"),
    *("predict", "export", "ablate", "coverage", "simulate", "benchmark", "cache"),
    "reader-study",
)


def main() -> None:
    """Run the launcher that the first argument names, with the other arguments."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(f"jaxgan {jaxgan.__version__}")
    elif name in ("--help", "-h", "help"):
        print(_describe())
    elif name not in COMMANDS:
        print(
            f"Error: jaxgan has no command {name!r}: expected one of {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        sys.exit(_EXIT_CODE)
    else:
        file = _find_launcher(name)
        sys.path.insert(0, str(file.parent))  # launchers import one another
        sys.argv = [str(file), *rest]
        runpy.run_path(str(file), run_name="__main__")


def _describe() -> str:
    lines = [f"  {name:<17} {_summarise(_find_launcher(name))}" for name in COMMANDS]
    return "\n".join(
        [
            "Usage: jaxgan COMMAND [--NAME=VALUE ...]",
            "",
            *lines,
            "",
            "`jaxgan COMMAND --help` lists the flags of a command.",
        ]
    )


def _summarise(file: Path) -> str:
    """Return the first line of a launcher's docstring, without running the launcher."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].partition(": see ")[0]


def _find_launcher(name: str) -> Path:
    return find_shipped("launch") / f"{name.replace('-', '_')}.py"


if __name__ == "__main__":
    main()
