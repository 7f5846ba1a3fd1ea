"""Find images that show the same picture, by their content and not by their file names.

Two images are copies if one is a re-encoded, resized, mirrored, framed or slightly brightened
version of the other. They are found in two steps. First, a perceptual hash proposes pairs: the
signs of the lowest frequencies of a 32x32 thumbnail. An image with a border of one colour has two
thumbnails, with and without the border. Then the correlation of the thumbnails' *details* decides.
Coarse structure is left out, because it is similar in all chest films.

Two kinds of copies are not found: images that a cut has moved by more than about 1/30 of the side,
and some framed images of less than 128 pixels per side.

Time grows with the square of the number of images: a few minutes for `MAX_IMAGES`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy  # fft and ndimage are loaded where they are used: this saves a second per launch

from jaxgan.data.images import shrink_gray, to_gray

THUMBNAIL = 32
MAX_BITS = 14  # of 120 in which the hashes of a proposed pair may differ
MIN_CORRELATION = 0.9  # of the thumbnails' details
# Images that are searched for copies. Of more, this number is drawn at random, with a notice.
MAX_IMAGES = 50_000
# Training images that are searched when the distance of each to every generated image is needed:
# the memory for the tables of `jaxgan.metrics.memorisation` grows with the square.
MAX_SEARCHED = 5000
_BORDER_SPREAD = 12  # levels that a line of a border may differ by; JPEG's noise
_HASH_SIDE = 11  # frequencies per side; 120 without the mean
_NUM_BITS = _HASH_SIDE**2 - 1
_DETAIL = 7  # pixels of a thumbnail over which its coarse picture is averaged
_BLOCK = 256  # thumbnails that are compared with all others at once
_PAIRS = 4096  # proposed pairs that are compared in detail at once
_FLAT = 1e-9


@dataclass(frozen=True)
class Copies:
    """Pairs of images [num_pairs, 2] that are copies of one another, and their correlations.

    `num_searched` of `num_images` were searched.
    """

    pairs: np.ndarray
    correlations: np.ndarray
    num_searched: int = 0
    num_images: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, mask: np.ndarray) -> "Copies":
        """Return the pairs where `mask` [num_pairs] is true."""
        pairs, correlations = self.pairs[mask], self.correlations[mask]
        return Copies(pairs, correlations, self.num_searched, self.num_images)

    def describe_search(self) -> str | None:
        """Return a notice if not all images were searched; otherwise None."""
        return describe_search(self.num_searched, self.num_images)


@dataclass(frozen=True)
class Thumbnails:
    """Gray thumbnails uint8 [num, 32, 32] and the index of each one's image, `owners` [num].

    An image with a border has two. `num_searched` of `num_images` images have thumbnails.
    """

    pixels: np.ndarray
    owners: np.ndarray
    num_searched: int
    num_images: int


@dataclass(frozen=True)
class _Prints:
    signs: np.ndarray  # [num, 120], 1 or -1
    details: np.ndarray  # [num, THUMBNAIL^2], each of length 1
    owners: np.ndarray  # [num], the index of the image


def describe_search(num_searched: int, num_images: int, *, what: str = "images") -> str | None:
    """Return a notice if a search for copies did not cover all images; otherwise None."""
    if num_searched >= num_images:
        return None
    return (
        f"Searched for copies: {num_searched} of the {num_images} {what}, drawn at random. Copies "
        "of the others are not found."
    )


def choose_searched(num: int, most: int = MAX_IMAGES) -> np.ndarray:
    """Return sorted indices of at most `most` of `num` items, drawn at random with a fixed seed."""
    if num <= most:
        return np.arange(num)
    return np.sort(np.random.default_rng(0).permutation(num)[:most])


def find_copies_between(images: np.ndarray, others: np.ndarray) -> Copies:
    """Return the copies between two stacks of uint8 images [num, height, width, channels]."""
    return match_thumbnails(*(create_thumbnails(_iterate(s), len(s)) for s in (images, others)))


def find_copies_among(images: np.ndarray) -> Copies:
    """Return the copies among uint8 images [num, height, width, channels], each pair once."""
    return match_among(create_thumbnails(_iterate(images), len(images)))


def _iterate(images: np.ndarray) -> Iterable[np.ndarray]:
    return (to_gray(images[index]) for index in choose_searched(len(images)))


def create_thumbnails(grays: Iterable[np.ndarray], num_images: int) -> Thumbnails:
    """Return the thumbnails of gray images uint8 [height, width], those of `choose_searched`."""
    chosen = choose_searched(num_images)
    versions = [shrink(gray) for gray in grays]
    owners = np.repeat(chosen, [len(v) for v in versions]).astype(np.int64)
    pixels = np.array([p for v in versions for p in v], np.uint8)
    return Thumbnails(pixels.reshape(-1, THUMBNAIL, THUMBNAIL), owners, len(chosen), num_images)


def shrink(gray: np.ndarray) -> list[np.ndarray]:
    """Return thumbnails uint8 [32, 32] of an image and, if it has a border, of its inner part."""
    inner = _trim(gray)
    versions = [gray] if inner.shape == gray.shape else [gray, inner]
    return [shrink_gray(version, THUMBNAIL) for version in versions]


def match_thumbnails(first: Thumbnails, second: Thumbnails) -> Copies:
    """Return the copies between two sets of images."""
    return _match(first, second, is_one_set=False)


def match_among(thumbnails: Thumbnails) -> Copies:
    """Return the copies among the images of one set, each pair once, the lower index first."""
    return _match(thumbnails, thumbnails, is_one_set=True)


def join_groups(codes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the group [num] of each item: its `codes` [num], with the groups of pairs joined.

    `codes` are numbers from 0; `pairs` [num_pairs, 2] are indices of items. The number of a group
    is the lowest code in it.
    """
    parents = np.arange(codes.max(initial=-1) + 1)

    def find(code: int) -> int:
        while parents[code] != code:
            parents[code] = parents[parents[code]]
            code = parents[code]
        return int(code)

    for first, second in codes[pairs]:
        low, high = sorted((find(first), find(second)))
        parents[high] = low
    return np.array([find(code) for code in codes], np.int64)


def _trim(gray: np.ndarray) -> np.ndarray:
    """Return an image [height, width] without its borders of one colour.

    If less than half of a side would be left, the image stays as it is: the rest is too small to
    recognise a film.
    """
    rows, columns = (np.flatnonzero(np.ptp(gray, axis=axis) > _BORDER_SPREAD) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return gray
    inner = gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    is_enough = all(2 * left >= side for left, side in zip(inner.shape, gray.shape, strict=True))
    return inner if is_enough else gray


def _compute_prints(pixels: np.ndarray, owners: np.ndarray) -> _Prints:
    """Return the prints of thumbnails [num, 32, 32] of the images `owners` [num]."""
    signs = np.empty((len(pixels), _NUM_BITS), np.float32)
    details = np.empty((len(pixels), THUMBNAIL**2), np.float16)  # half a GiB at most
    for start in range(0, len(pixels), _PAIRS):
        here = slice(start, start + _PAIRS)
        signs[here], details[here] = _compute_print(pixels[here].astype(np.float64))
    return _Prints(signs, details, owners)


def _compute_print(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return signs [num, 120] and details [num, 1024] of thumbnails [num, 32, 32]."""
    spectrum = scipy.fft.dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :_HASH_SIDE, :_HASH_SIDE]
    spectrum = spectrum.reshape(len(thumbnails), _HASH_SIDE**2)[:, 1:]
    signs = np.where(spectrum > np.median(spectrum, axis=1, keepdims=True), 1.0, -1.0)
    coarse = scipy.ndimage.uniform_filter(thumbnails, size=(0, _DETAIL, _DETAIL), mode="nearest")
    details = (thumbnails - coarse).reshape(len(thumbnails), THUMBNAIL**2)
    details = details - details.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(details, axis=1, keepdims=True)
    return signs, details / np.maximum(norms, _FLAT)


def _match(first: Thumbnails, second: Thumbnails, *, is_one_set: bool) -> Copies:
    """Return the index pairs of images with close hashes and correlated details."""
    ours = _compute_prints(first.pixels, first.owners)
    mirrored = np.concatenate([second.pixels, second.pixels[:, :, ::-1]])
    theirs = _compute_prints(mirrored, np.concatenate([second.owners, second.owners]))
    found = [_match_block(ours, theirs, start, is_one_set) for start in _starts(len(first.pixels))]
    rows, columns, values = (np.concatenate(part) for part in zip(_NOTHING, *found, strict=True))
    pairs, places = np.unique(np.stack([rows, columns], axis=1), axis=0, return_inverse=True)
    strongest = np.zeros(len(pairs), np.float32)
    np.maximum.at(strongest, places.reshape(-1), values)
    num_searched = first.num_searched if is_one_set else first.num_searched + second.num_searched
    num_images = first.num_images if is_one_set else first.num_images + second.num_images
    return Copies(pairs, strongest, num_searched, num_images)


_NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def _starts(num: int) -> range:
    return range(0, num, _BLOCK)


def _match_block(
    ours: _Prints, theirs: _Prints, start: int, is_one_set: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return owners, others' owners and correlations of the copies of one block of thumbnails."""
    # The product of signs is the number of bits minus twice the number of different bits.
    agreement = ours.signs[start : start + _BLOCK] @ theirs.signs.T
    rows, columns = np.nonzero(agreement >= _NUM_BITS - 2 * MAX_BITS)
    rows += start
    if is_one_set:
        keep = ours.owners[rows] < theirs.owners[columns]
        rows, columns = rows[keep], columns[keep]
    values = _correlate(ours.details, rows, theirs.details, columns)
    keep = values >= MIN_CORRELATION
    return ours.owners[rows[keep]], theirs.owners[columns[keep]], values[keep]


def _correlate(
    first: np.ndarray, rows: np.ndarray, second: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the products [num] of the details `first`[rows] and `second`[columns]."""
    values = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PAIRS):
        here = slice(start, start + _PAIRS)
        ours, theirs = first[rows[here]], second[columns[here]]
        values[here] = np.einsum("ij,ij->i", ours.astype(np.float32), theirs.astype(np.float32))
    return values
