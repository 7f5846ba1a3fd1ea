"""Check a data set before training or evaluation, the same way for every command.

The checks find copies of one film in two splits or in two classes, and images that jaxgan has
generated among those that should be real. `jaxgan.data.copies` defines a copy; files with the same
bytes count too.
"""

import contextlib
import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.core.errors import DiskError, UserError, name_few
from jaxgan.core.files import read_arrays, written_beside
from jaxgan.core.untrusted import printable
from jaxgan.data.copies import (
    Copies,
    Thumbnails,
    choose_searched,
    create_thumbnails,
    join_groups,
    match_among,
)
from jaxgan.data.images import (
    as_pixels,
    has_mark,
    map_in_threads,
    read_image,
    to_gray,
)
from jaxgan.data.limits import ImageError, naming, read_file

if TYPE_CHECKING:  # imports tensorflow_datasets, which takes a second
    from jaxgan.data.builders import PreparedSet, Record

VERSION = 1  # raise it when the search changes, so that cached data sets are searched again
KINDS = "exact, re-encoded, mirrored or framed"


@dataclass(frozen=True)
class Films:
    """Images, and the number [num] of the film that each shows: copies have the same number.

    `sides` [num] is the split or folder of each.
    """

    numbers: np.ndarray
    files: Sequence[str]
    labels: np.ndarray
    sides: Sequence[str]


# Finding ---------------------------------------------------------------------------------------


def number_films(prepared: "PreparedSet", cache_dir: Path | None) -> tuple[np.ndarray, str | None]:
    """Return the film [num] of each record, and a notice if not all were searched; or None.

    With a `cache_dir` the folder's images are compared, once for the same content. Without it, only
    equal bytes count: images of other sources (digits, drawings) are often similar.
    """
    records = prepared.records
    shas, first, codes = np.unique(
        np.array([r.sha256 for r in records]), return_index=True, return_inverse=True
    )
    codes = codes.reshape(-1).astype(np.int64)
    if cache_dir is None:
        return codes, None
    copies = _find_once(prepared, shas, first, cache_dir)
    ends = [(records[first[i]], records[first[j]]) for i, j in copies.pairs]
    matters = np.array([_matters(*pair) for pair in ends], bool)
    pairs = first[copies.pairs[matters]]
    return join_groups(codes, pairs), copies.describe_search()


def _matters(record: "Record", other: "Record") -> bool:
    """Whether a pair of copies is reported: two films of one visit are often similar."""
    return record.patient != other.patient or record.label != other.label


def _find_once(
    prepared: "PreparedSet", shas: np.ndarray, first: np.ndarray, cache_dir: Path
) -> Copies:
    """Return the copies among records `first`, one per hash in `shas`; search once per content."""
    asked = prepared.view.asked  # an image that is all black in this range has no copies
    settings = f"{VERSION}" + (f"{asked}" if asked else "")
    key = hashlib.sha256(settings.encode() + "".join(shas).encode()).hexdigest()[:32]
    path = cache_dir / "copies" / f"{key}.npz"
    known = read_arrays(path)
    if known is not None:
        return Copies(known["pairs"], known["correlations"], int(known["num_searched"]), len(shas))
    chosen = [prepared.records[first[i]] for i in choose_searched(len(shas))]
    copies = match_among(create_thumbnails(_read_grays(prepared, chosen), len(shas)))
    # In a cache that can not be written, nothing is saved: the next run searches again.
    with contextlib.suppress(DiskError):
        _keep(path, copies)
    return copies


def _keep(path: Path, copies: Copies) -> None:
    arrays: dict[str, Any] = {"pairs": copies.pairs, "correlations": copies.correlations}
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays, num_searched=copies.num_searched)


def _read_grays(prepared: "PreparedSet", records: Sequence["Record"]) -> Iterator[np.ndarray]:
    """Yield the records' images as gray uint8 [height, width]."""

    def decode(item: tuple["Record", bytes]) -> np.ndarray:
        with naming(item[0].file):
            return to_gray(as_pixels(read_image(item[1], channels=1)))

    encoded = ((record, prepared.read(record)) for record in records)
    yield from map_in_threads(decode, encoded, title="looking for copies", total=len(records))


def create_all_thumbnails(prepared: "PreparedSet") -> Thumbnails:
    """Return the thumbnails of the images of all records, by which copies are found."""
    num = len(prepared.records)
    chosen = [prepared.records[i] for i in choose_searched(num)]
    return create_thumbnails(_read_grays(prepared, chosen), num)


def join_owners(owners: Sequence[str], films: np.ndarray) -> list[str]:
    """Return the owner of each image [num]; owners who share a film count as one.

    Joined owners get the first of their names. Other owners keep their names.
    """
    names, codes = np.unique(np.asarray(owners, str), return_inverse=True)
    order = np.argsort(films, kind="stable")
    neighbours = np.stack([order[:-1], order[1:]], axis=1)
    pairs = neighbours[films[neighbours[:, 0]] == films[neighbours[:, 1]]]
    return names[join_groups(codes.reshape(-1), pairs)].tolist()


# Saying ----------------------------------------------------------------------------------------


def describe(films: Films, class_names: Sequence[str], *, is_split_here: bool) -> list[str]:
    """Return the notices on copies: between sides, between classes, within a side.

    With `is_split_here` jaxgan made the split, and put all copies of a film on one side.
    """
    members = _find_repeated(films.numbers)
    return [
        *_describe_sides(films, members),
        *_describe_classes(films, members, class_names),
        *_describe_repeats(films, members, is_split_here),
    ]


def _find_repeated(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the indices of the images of each film that has several."""
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    return [images for images in np.split(order, edges) if len(images) > 1]


def _describe_sides(films: Films, members: Sequence[np.ndarray]) -> Iterator[str]:
    """Yield a sentence for each two sides that show the same films."""
    for first, second in itertools.combinations(dict.fromkeys(films.sides), 2):
        count, pairs = 0, []
        for images in members:
            ours = [i for i in images if films.sides[i] == first]
            theirs = [i for i in images if films.sides[i] == second]
            if ours and theirs:
                count += len(theirs)
                pairs.append(f"{films.files[theirs[0]]} of {films.files[ours[0]]}")
        pairs.sort()
        if pairs:
            yield (
                f"{count} image(s) of {second} are also in {first} (such as {name_few(pairs)}), "
                f"{KINDS}: the accuracy on them is too high. Remove one of each pair."
            )


def _describe_classes(
    films: Films, members: Sequence[np.ndarray], class_names: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence if films are in two classes or more."""
    both = [images for images in members if len(set(films.labels[images].tolist())) > 1]
    if not both:
        return
    names = [printable(name) for name in class_names]
    counts = Counter(
        " and ".join(names[label] for label in np.unique(films.labels[images])) for images in both
    )
    where = [f"{count} in {classes}" for classes, count in counts.most_common()]
    pairs = [" and ".join(films.files[i] for i in _pick_classes(films, images)) for images in both]
    pairs.sort()
    yield (
        f"{len(both)} film(s) are in more than one class ({name_few(where)}; such as "
        f"{name_few(pairs)}): no classifier can be right about both, and the GANs of "
        "these classes learn the same. Keep each film in one class only."
    )


def _pick_classes(films: Films, images: np.ndarray) -> list[int]:
    """Return an image of each of two classes."""
    _, first = np.unique(films.labels[images], return_index=True)
    return sorted(images[first[:2]].tolist())


def _describe_repeats(
    films: Films, members: Sequence[np.ndarray], is_split_here: bool
) -> Iterator[str]:
    """Yield a sentence if one side and class has a film several times."""
    count, pairs = 0, []
    for images in members:
        kinds = defaultdict(list)
        for i in images.tolist():
            kinds[films.sides[i], films.labels[i]].append(i)
        for same in kinds.values():
            count += len(same) - 1
            if len(same) > 1:
                pairs.append(f"{films.files[same[1]]} of {films.files[same[0]]}")
    pairs.sort()
    if pairs:
        yield (
            f"{count} image(s) are copies of others of their class (such as {name_few(pairs)}), "
            f"{KINDS}: they count more than once."
        )
    if members and is_split_here:
        yield "The split was made so that all copies of a film are on one side."


# Generated images ------------------------------------------------------------------------------


def check_none_generated(root: Path, files: Sequence[str]) -> None:
    """Raise `UserError` if a file of `root` has the mark of an image that jaxgan generated."""
    found = [file for file in files if _is_marked(root / file)]
    if found:
        raise UserError(
            f"{len(found)} of {len(files)} image(s) in {root} were generated by jaxgan, as their "
            f"mark says (such as {name_few(found)}): expected real images only. Remove them."
        )


def _is_marked(path: Path) -> bool:
    try:
        return has_mark(read_file(path))
    except ImageError:
        return False  # decoding the image reports this error
