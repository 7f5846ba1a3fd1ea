"""The folder of what was prepared: what is in it, emptying it, and doing where it is read-only.

Whatever jaxgan keeps there has a name by which it is known; nothing else is ever touched.
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

SECONDS_A_DAY = 86400.0
_HEX32, _HEX64 = r"[0-9a-f]{32}", r"[0-9a-f]{64}"
_ONE_FILE = "contents|copies|encoders|references"  # kinds whose items are a file each
# Each kind: the files of one item, as paths from the cache; the item is the first group.
_KINDS = {
    "prepared images": (
        rf"((?:folder|phantom)/{_HEX32})/(?:index\.json|\w+/[\d.]+/(?:dataset_info\.json"
        r"|features\.json|label\.labels\.txt|\w+-\w+\.array_record(?:-\d+-of-\d+)?))"
    ),
    "pixels of one size": rf"(arrays/{_HEX64})/[a-z]+-[\w.-]+\.npy",
    "hashes of large folders": rf"(contents/{_HEX32}\.json)",
    "copies among images": r"(copies/[0-9a-f]+\.npz)",
    "encoders": rf"(encoders/{_HEX32}\.npz)",
    "training references": rf"(references/{_HEX32}\.npz)",
    "compiled programs": r"(xla)/\w+-[0-9a-f]+-(?:cache|atime)",
    "catalogue data sets": r"(tfds/(?!downloads/)[\w/.-]+/\d+\.\d+\.\d+)/[^/]+",
    "downloads": r"(tfds/downloads)/(?!manual/).+",
    "unfinished files": rf"((?:arrays/{_HEX64}|{_ONE_FILE})/\.[\w.-]+\.\d+\.beside)",
}
_TOPS = ("folder", "phantom", "arrays", *_ONE_FILE.split("|"), "xla", "tfds")
# jaxgan has read this data set of the catalogue, this version or an earlier one
_TFDS_INDEX = re.compile(r"jaxgan_index\w*\.json")
# What a process was writing: its host and number are in the name.
_UNFINISHED = re.compile(rf"(?:folder|phantom)/{_HEX32}\.(.+)\.(\d+)\.[0-9a-f]{{8}}")


@dataclass(frozen=True)
class Item:
    """Something that was prepared: its files, their bytes, and when it was last used."""

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
    """Return the items that were last used more than so many days ago."""
    limit = time.time() - days * SECONDS_A_DAY
    return [item for item in items if item.used < limit]


def remove_items(cache: Path, items: Sequence[Item]) -> int:
    """Remove items and the folders that are then empty; return how many bytes that has freed."""
    freed = 0
    for item in items:
        for file in item.files:
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                size = file.stat().st_size
                file.unlink()
                freed += size
        for folder, _, _ in os.walk(cache / item.name, topdown=False):
            _remove_if_empty(Path(folder))
        _remove_if_empty((cache / item.name).parent)
    return freed


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds something else
        folder.rmdir()


def name_unfinished(target: Path) -> Path:
    """Return where this process prepares what becomes `target`: `remove_unfinished` knows it."""
    owner = f"{socket.gethostname()}.{os.getpid()}"
    return target.with_name(f"{target.name}.{owner}.{uuid.uuid4().hex[:8]}")


def remove_unfinished(cache: Path) -> None:
    """Remove what killed processes of this machine have left of a preparation."""
    for path in [*cache.glob("folder/*"), *cache.glob("phantom/*")]:
        match = _UNFINISHED.fullmatch(path.relative_to(cache).as_posix())
        if match and match[1] == socket.gethostname() and not is_running(int(match[2])):
            shutil.rmtree(path, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, under another user
        return True
    return True


def is_writable(cache: Path) -> bool:
    """Whether something can be added to a folder that is there, or is yet to be made."""
    while not cache.exists():
        if cache == cache.parent:
            return False
        cache = cache.parent
    return cache.is_dir() and os.access(cache, os.W_OK | os.X_OK)


def lay_over(cache: Path, folder: Path) -> None:
    """Fill an empty folder with links to all of a read-only cache: what is new goes beside them."""
    for file in [file for top in _TOPS for file in _walk(cache / top)]:
        link = folder / file.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.absolute())


def find_new(folder: Path) -> list[Item]:
    """Return what was prepared in a folder of `lay_over` beside the links."""
    return [item for item in list_items(folder) if not all(f.is_symlink() for f in item.files)]


def _walk(cache: Path) -> Iterator[Path]:
    """Yield the files below a folder; no link of a folder is followed."""
    for parent, _, names in os.walk(cache):
        for name in names:
            yield Path(parent) / name


def _create(kind: str, name: str, files: Sequence[Path]) -> Item:
    states = [file.stat() for file in files if file.exists()]
    num_bytes = sum(state.st_size for state in states)
    return Item(kind, name, tuple(files), num_bytes, max((s.st_mtime for s in states), default=0.0))


def _is_ours(item: Item) -> bool:
    """Whether an item is complete, by what jaxgan writes last, or abandoned."""
    names = {file.name for file in item.files}
    if item.kind == "unfinished files":  # until then a process may be writing it
        return item.used < time.time() - SECONDS_A_DAY
    if item.kind == "catalogue data sets":
        return any(map(_TFDS_INDEX.fullmatch, names))
    return item.kind != "prepared images" or "index.json" in names
