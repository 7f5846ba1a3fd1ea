"""Writing files that are complete or absent, whatever happens to the process or to the disk.

Everything that is not a growing log goes through here: written beside, flushed to the disk, then
renamed. A kill may leave what was written beside; `remove_leftovers` takes it away.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.errors import UserError, describe_disk_error

LOCK = ".lock"
_BESIDE = ".beside"
_FILL_BYTES = 2**24


@contextlib.contextmanager
def telling_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a block that writes `path` into a `DiskError`."""
    try:
        yield
    except OSError as error:
        raise describe_disk_error(path, error) from None


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield where to write what becomes `path` when the block has ended well.

    The folder is made where it is missing. The name beside holds the process's number: several
    may be making the same file of a cache.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{_BESIDE}")
    try:
        with telling_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            sync(beside)
            beside.replace(path)
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, complete or not at all."""
    with written_beside(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8, complete or not at all; bytes of a name that are not UTF-8 as `\udcff`."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file, None where it is not, to the bit, what was written."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # numpy reads no further than an array's own header says: a damaged one of a smaller
            # array would pass, its checksum never being reached.
            if arrays.zip.testzip() is not None:
                return None
            return dict(arrays)
    except Exception:
        return None  # numpy, zipfile and zlib say in a dozen ways that a file is damaged


def sync(path: Path) -> None:
    """Have a file or folder reach the disk: a rename may outlive a power cut that content does not.

    A file system that can not do that for folders is left alone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def reserve(path: Path, num_bytes: int) -> None:
    """Take the space of a file that will be written through a memory map.

    A full disk is an error here; under the map it would be a signal that ends the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _allocate(descriptor, num_bytes):
            _fill_up(descriptor, num_bytes)
    finally:
        os.close(descriptor)


def note_use(path: Path) -> None:
    """Let a prepared thing be known as used now, where its place can be written."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _allocate(descriptor: int, num_bytes: int) -> bool:
    """Have the system take the space; False where it, or the file system, can not: macOS, NFS."""
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None:
        return False
    try:
        allocate(descriptor, 0, num_bytes)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


def _fill_up(descriptor: int, num_bytes: int) -> None:
    """Write what is there again, zeros in the file's holes and behind its end: that takes space."""
    for start in range(0, num_bytes, _FILL_BYTES):
        size = min(_FILL_BYTES, num_bytes - start)
        content = memoryview(os.pread(descriptor, size, start).ljust(size, b"\0"))
        while content:
            num_written = os.pwrite(descriptor, content, start)
            content, start = content[num_written:], start + num_written


def make_folder(path: Path) -> Path:
    """Make a folder and those above it where they are missing."""
    with telling_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes have left beside the files of a folder held by this one."""
    for leftover in path.rglob(f".*{_BESIDE}"):
        leftover.unlink()


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Keep other processes' runs out of a folder while the block runs.

    The lock is the kernel's: it goes with the process that holds it, however that ends.
    """
    with telling_disk_errors(path / LOCK):
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        raise UserError(
            f"{path} is in use by another run ({holder or 'a process'}): wait until that has "
            "ended, or choose another --workdir."
        ) from None
    except OSError:
        return  # some network file systems have no locks: better to run than to refuse
    with telling_disk_errors(path / LOCK):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def holds_nothing(path: Path) -> bool:
    """Whether a folder is empty but for a lock."""
    return all(entry.name == LOCK for entry in path.iterdir())
