"""The exceptions that a user is meant to read."""

import errno
from collections.abc import Iterable, Sequence

from jaxgan.core.untrusted import printable, printable_lines

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Errors of the disk or of its permissions. Any other system error is reported unchanged.
_REFUSED = (*_NO_SPACE, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR)
_NO_SPACE_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")


_LONGEST_LIST = 10


def list_some(names: Iterable[str]) -> str:
    """Return printable names for a sentence: the first ten, then the number of the others."""
    every = [printable(name) for name in names]
    rest = len(every) - _LONGEST_LIST
    return ", ".join(every[:_LONGEST_LIST]) + (f" and {rest} more" if rest > 0 else "")


def name_few(names: Sequence[str], most: int = 3) -> str:
    """Return the first `most` names, printable and on one line."""
    return ", ".join(map(printable, names[:most])) + (", ..." if len(names) > most else "")


def name_some(names: Sequence[str], noun: str = "file") -> str:
    """Return the number of names, and the first five."""
    return f"{len(names)} {noun}{'s' * (len(names) != 1)} ({name_few(names, 5)})"


class UserError(Exception):
    """A mistake that the user can correct: what was found, what was expected, what to do.

    Launchers print only the message, without a traceback, and exit with `exit_code`.
    """

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows instead of a traceback (IPython calls this method)."""
        return [f"{type(self).__name__}: {printable_lines(str(self))}"]


class DivergedError(UserError):
    """A training run in which numbers are no longer finite."""

    exit_code = 3


class IncompleteError(UserError):
    """Work of many parts, of which some have failed and all others are done."""

    exit_code = 4


class DiskError(UserError):
    """A file that can not be written: no later result could be saved."""

    exit_code = 74  # EX_IOERR of sysexits.h


class OutOfMemoryError(UserError):
    """A program that needs more memory than is available."""

    exit_code = 71  # EX_OSERR of sysexits.h


def describe_disk_error(path: object, error: OSError) -> DiskError:
    """Return the error to raise when writing `path` has failed."""
    remedy = "Make it writable, or choose another folder"
    if error.errno in _NO_SPACE:
        remedy = "Free some space, or choose a folder on another disk"
    if isinstance(error, TimeoutError):  # orbax waits for its own threads with a time limit
        remedy = "The disk is very slow, or the machine was asleep"
    return DiskError(
        f"{printable(str(error.filename or path))} can not be written: {error.strerror or error}. "
        f"{remedy}; the same command then continues from the last checkpoint."
    )


def find_disk_error(path: object, error: BaseException) -> DiskError | None:
    """Return the disk error behind `error`, from a library that writes to `path`; or None."""
    if isinstance(error, OSError):
        return describe_disk_error(path, error)
    words = [words for words in _NO_SPACE_WORDS if words in str(error)]
    return describe_disk_error(path, OSError(errno.ENOSPC, words[0])) if words else None


def find_refusal(error: BaseException) -> DiskError | None:
    """Return the disk error behind `error`, from anywhere in the program; or None."""
    if isinstance(error, OSError) and error.errno not in _REFUSED:
        error = Exception(str(error))  # a library may have wrapped a disk error: its text says so
    return find_disk_error("A file", error)


def find_memory_error(error: BaseException) -> OutOfMemoryError | None:
    """Return the error to raise if `error`, of JAX or Python, says that memory ran out; or None."""
    is_memory = isinstance(error, MemoryError) or (
        type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
        and any(words in str(error) for words in _OUT_OF_MEMORY)
    )
    if not is_memory:
        return None
    reason = (str(error) or "MemoryError").splitlines()[0]
    return OutOfMemoryError(
        f"Out of memory ({reason}): a smaller config.batch_size needs less (in a study, "
        "config.gan_batch_size and config.batch_size). A command that only reads a run uses the "
        "batch size of that run. Smaller images and narrower networks need less too. Other "
        "programs may also be using the memory."
    )
