"""Print what a command says to its user."""

import sys

from tqdm import tqdm

from jaxgan.core.untrusted import printable_lines


def say(sentence: str) -> None:
    """Print a sentence to standard output without breaking a progress bar or the terminal."""
    tqdm.write(printable_lines(sentence), file=sys.stdout)
    sys.stdout.flush()
