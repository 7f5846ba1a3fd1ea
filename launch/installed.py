"""Check that jaxgan is installed for this Python, before any part of it is imported."""

import importlib.util
import sys

EXIT_CODE = 2  # as for every user mistake


def check_installed() -> None:
    """End with a sentence, not a failed import, if this Python has no jaxgan."""
    if importlib.util.find_spec("fcntl") is None:
        print(
            "Error: jaxgan needs Linux or macOS, and this is neither. On Windows, install WSL2 "
            "(wsl --install) and use jaxgan in there.",
            file=sys.stderr,
        )
        sys.exit(EXIT_CODE)
    if importlib.util.find_spec("jaxgan") is None:
        print(
            f"Error: jaxgan is not installed for this Python ({sys.executable}). Activate the "
            "environment that it was installed in, with: . .venv/bin/activate (or install it "
            "here, in the checkout, with: pip install -e .).",
            file=sys.stderr,
        )
        sys.exit(EXIT_CODE)
