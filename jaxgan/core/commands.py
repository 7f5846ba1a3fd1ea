"""How the user starts jaxgan's commands."""

import sys
from pathlib import Path


def is_installed_command() -> bool:
    """Whether this process was started as `jaxgan NAME` or `python -m jaxgan NAME`."""
    return any(Path(argument).name == "jaxgan" for argument in sys.orig_argv[1:3])


def name_command(launcher: str) -> str:
    """Return how the user starts a launcher such as `train_gan`.

    `jaxgan train-gan` for a user of the command, `python launch/train_gan.py` for all others.
    """
    if is_installed_command():
        return f"jaxgan {launcher.replace('_', '-')}"
    return f"python launch/{launcher}.py"
