"""Report errors in a notebook as the commands do: a short message, without a traceback."""

import contextlib
import logging
import re
from collections.abc import Iterator

import numpy as np

from jaxgan.core.errors import UserError, find_memory_error, find_refusal
from jaxgan.training.loop import Stopped

_FLAG = re.compile(r"--(?=[a-z])")


@contextlib.contextmanager
def convert_errors() -> Iterator[None]:
    """Raise `UserError` for every error that a user can correct, without the dashes of flags.

    Such errors are wrong arguments, a full disk, full memory, and a training that the user stopped.
    """
    try:
        with _quiet_orbax():
            yield
    except UserError as error:
        raise type(error)(_FLAG.sub("", str(error))) from None
    except Stopped as stopped:
        raise UserError(str(stopped).replace("command", "call")) from None
    except Exception as error:
        known = find_refusal(error) or find_memory_error(error)
        if known is None:
            raise
        raise known from None


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raise `UserError` if an argument is not a whole number of at least `least`."""
    if not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} is {value!r}, expected a whole number, {least} or more.")


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Hide the log of orbax: a notebook would show it, and jaxgan reports errors itself."""
    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_of_orbax)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_of_orbax)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
