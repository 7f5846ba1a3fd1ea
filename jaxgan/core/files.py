"""Write files that are complete or absent, whatever happens to the process or the disk.

Every file except a growing log is written here. It gets a temporary name in the same folder, is
flushed to the disk, and is then renamed. A killed process may leave a temporary file;
`remove_leftovers` removes it.
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
    """Turn each `OSError` of a block that writes `path` into a `DiskError`."""
    try:
        yield
    except OSError as error:
        raise describe_disk_error(path, error) from None


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to `path` when the block ends without an error.

    A missing folder is created. The temporary name holds the process number, because several
    processes may write the same cache file.
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
    """Write a file completely or not at all."""
    with written_beside(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text completely or not at all; bytes that are not UTF-8 become `\udcff`."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON completely or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, None if the file is absent, damaged or no object."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file; None if any bit differs from what was written."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # numpy reads only as far as an array's own header says. If damage makes that array
            # smaller, numpy never reaches the checksum.
            if arrays.zip.testzip() is not None:
                return None
            return dict(arrays)
    except Exception:
        return None  # numpy, zipfile and zlib raise many kinds of error for a damaged file


def sync(path: Path) -> None:
    """Flush a file or folder to the disk: after a power cut, a rename may be there without content.

    File systems that can not do this for folders are accepted.
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
    """Reserve disk space for a file that will be written through a memory map.

    Here a full disk raises an error. In the memory map, a signal would end the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _allocate(descriptor, num_bytes):
            _fill_up(descriptor, num_bytes)
    finally:
        os.close(descriptor)


def note_use(path: Path) -> None:
    """Set the time of last use of a cache entry to now, if it can be written."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _allocate(descriptor: int, num_bytes: int) -> bool:
    """Let the system reserve the space; False if it or the file system can not (macOS, NFS)."""
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
    """Reserve space by writing: existing bytes again, zeros in holes and beyond the file's end."""
    for start in range(0, num_bytes, _FILL_BYTES):
        size = min(_FILL_BYTES, num_bytes - start)
        content = memoryview(os.pread(descriptor, size, start).ljust(size, b"\0"))
        while content:
            num_written = os.pwrite(descriptor, content, start)
            content, start = content[num_written:], start + num_written


def make_folder(path: Path) -> Path:
    """Create a folder and its missing parents."""
    with telling_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed processes from a folder that this process holds."""
    for leftover in path.rglob(f".*{_BESIDE}"):
        leftover.unlink()


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Keep other processes' runs out of a folder while the block runs.

    The lock belongs to the kernel, which releases it when the process ends for any reason.
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
        return  # some network file systems have no locks: run without one
    with telling_disk_errors(path / LOCK):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def holds_nothing(path: Path) -> bool:
    """Whether a folder is empty, except for a lock."""
    return all(entry.name == LOCK for entry in path.iterdir())
