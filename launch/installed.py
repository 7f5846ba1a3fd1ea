"""Is jaxgan installed for this Python? Asked before anything of it is imported."""

import importlib.util
import sys

EXIT_CODE = 2  # as for any other mistake of a user's


def check_installed() -> None:
    """End with a sentence where this Python has no jaxgan, instead of a failed import."""
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
