"""The cache of prepared data: list it, empty it, and work with a read-only one.

jaxgan recognises its own files there by their names. It never touches any other file.
"""

import contextlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_PER_DAY = 86400.0
_HEX32, _HEX64 = r"[0-9a-f]{32}", r"[0-9a-f]{64}"
_ONE_FILE = "contents|copies|curves|encoders|references"  # kinds whose items are a file each
# For each kind, the files of one item, as paths from the cache. The first group is the item.
_KINDS = {
    "prepared images": (
        rf"((?:folder|phantom)/{_HEX32})/(?:index\.json|\w+/[\d.]+/(?:dataset_info\.json"
        r"|features\.json|label\.labels\.txt|\w+-\w+\.array_record(?:-\d+-of-\d+)?))"
    ),
    "pixels of one size": rf"(arrays/{_HEX64})/[a-z]+-[\w.-]+\.npy",
    "hashes of large folders": rf"(contents/{_HEX32}\.json)",
    "copies among images": r"(copies/[0-9a-f]+\.npz)",
    "curves of degraded images": rf"(curves/{_HEX32}\.npz)",
    "encoders": rf"(encoders/{_HEX32}\.npz)",
    "marks of notices that were shown": rf"(notices/{_HEX32})",
    "training references": rf"(references/{_HEX32}\.npz)",
    "compiled programs": r"(xla)/\w+-[0-9a-f]+-(?:cache|atime)",
    "catalogue data sets": r"(tfds/(?!downloads/)[\w/.-]+/\d+\.\d+\.\d+)/[^/]+",
    "downloads": r"(tfds/downloads)/(?!manual/).+",
    "unfinished files": rf"((?:arrays/{_HEX64}|{_ONE_FILE})/\.[\w.-]+\.\d+\.beside)",
}
_TOPS = ("folder", "phantom", "arrays", *_ONE_FILE.split("|"), "notices", "xla", "tfds")
# jaxgan has read this data set of the catalogue, this version or an earlier one
_TFDS_INDEX = re.compile(r"jaxgan_index\w*\.json")
# What a process was writing: its host and its process number are in the name.
_UNFINISHED = re.compile(rf"(?:folder|phantom)/{_HEX32}\.(.+)\.(\d+)\.[0-9a-f]{{8}}")


@dataclass(frozen=True)
class Item:
    """One prepared item: its files, their size in bytes, and when it was last used."""

    kind: str
    name: str
    files: tuple[Path, ...]
    num_bytes: int
    used: float  # seconds since 1970


def list_items(cache: Path) -> list[Item]:
    """Return what jaxgan has prepared in a folder, by kind and last use."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in _walk(cache):
        name = path.relative_to(cache).as_posix()
        for kind, pattern in _KINDS.items():
            if match := re.fullmatch(pattern, name):
                found.setdefault((kind, match[1]), []).append(path)
    items = [_create(kind, name, files) for (kind, name), files in found.items()]
    ours = [item for item in items if _is_ours(item)]
    order = list(_KINDS)
    return sorted(ours, key=lambda item: (order.index(item.kind), -item.used, item.name))


def list_old(items: Sequence[Item], days: float) -> list[Item]:
    """Return the items that were last used more than `days` days ago."""
    oldest = time.time() - days * SECONDS_PER_DAY
    return [item for item in items if item.used < oldest]


def remove_items(cache: Path, items: Sequence[Item]) -> int:
    """Remove items and the folders that are then empty; return the number of freed bytes."""
    freed = 0
    for item in items:
        for file in item.files:
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                size = file.stat().st_size
                file.unlink()
                freed += size
        for folder, _, _ in os.walk(cache / item.name, topdown=False):
            _remove_if_empty(Path(folder))
        _remove_if_empty((cache / item.name).parent)
    return freed


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds other files
        folder.rmdir()


def name_unfinished(target: Path) -> Path:
    """Return where this process prepares `target`: a name that `remove_unfinished` recognises."""
    owner = f"{socket.gethostname()}.{os.getpid()}"
    return target.with_name(f"{target.name}.{owner}.{uuid.uuid4().hex[:8]}")


def remove_unfinished(cache: Path) -> None:
    """Remove unfinished preparations of killed processes of this machine."""
    for path in [*cache.glob("folder/*"), *cache.glob("phantom/*")]:
        match = _UNFINISHED.fullmatch(path.relative_to(cache).as_posix())
        if match and match[1] == socket.gethostname() and not is_running(int(match[2])):
            shutil.rmtree(path, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether a process of this machine is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, under another user
        return True
    return True


def is_writable(cache: Path) -> bool:
    """Whether files can be added to a folder that exists or that can be created."""
    while not cache.exists():
        if cache == cache.parent:
            return False
        cache = cache.parent
    return cache.is_dir() and os.access(cache, os.W_OK | os.X_OK)


def lay_over(cache: Path, folder: Path) -> None:
    """Fill an empty folder with links to all of a read-only cache; new files go next to them."""
    for file in [file for top in _TOPS for file in _walk(cache / top)]:
        link = folder / file.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.absolute())


def find_new(folder: Path) -> list[Item]:
    """Return the items in a folder of `lay_over` that are new: all except the links."""
    return [item for item in list_items(folder) if not all(f.is_symlink() for f in item.files)]


def _walk(cache: Path) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are not followed."""
    for parent, _, names in os.walk(cache):
        for name in names:
            yield Path(parent) / name


def _create(kind: str, name: str, files: Sequence[Path]) -> Item:
    states = [file.stat() for file in files if file.exists()]
    num_bytes = sum(state.st_size for state in states)
    return Item(kind, name, tuple(files), num_bytes, max((s.st_mtime for s in states), default=0.0))


def _is_ours(item: Item) -> bool:
    """Whether an item is complete (its last file is there) or abandoned."""
    names = {file.name for file in item.files}
    if item.kind == "unfinished files":  # until then a process may be writing it
        return item.used < time.time() - SECONDS_PER_DAY
    if item.kind == "catalogue data sets":
        return any(map(_TFDS_INDEX.fullmatch, names))
    return item.kind != "prepared images" or "index.json" in names
