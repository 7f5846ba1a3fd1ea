"""Does the training know what the test asks? Shared patients, copied images, generated ones.

A copy is an image that another one is a re-encoded, resized, mirrored, framed or slightly
brightened version of. It is found in two steps: a perceptual hash (the signs of the lowest
frequencies of a 32x32 thumbnail, of the image and of what a border of one colour leaves of it)
proposes pairs, and the correlation of the thumbnails' *details* decides. Details alone, because all
chest films look alike from afar. Not found is what a cut has moved by more than about a thirtieth
of the side, nor, among images of less than 128 pixels a side, every framed one.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import uniform_filter

from jaxgan.data.images import GENERATED_KEY
from jaxgan.data.limits import MAX_HEADER_BYTES, RationedFile
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import find_shared_patients
from jaxgan.errors import UserError

THUMBNAIL = 32
MAX_BITS = 14  # of 120 in which the hashes of a proposed pair may differ
MIN_CORRELATION = 0.9  # of the thumbnails' details
_BORDER_SPREAD = 12  # levels that a line of a border may differ by; JPEG's noise
_HASH_SIDE = 11  # frequencies a side; 120 without the mean
_DETAIL = 7  # pixels of a thumbnail over which its coarse picture is averaged
_LISTED = 3
_BLOCK = 1000  # images whose correlations with all others are in memory at once


@dataclass(frozen=True)
class Copies:
    """Pairs of images [num_pairs, 2] that are copies of one another, and their correlations."""

    pairs: np.ndarray
    correlations: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class _Prints:
    bits: np.ndarray  # [num, 120], 0 or 1
    details: np.ndarray  # [num, THUMBNAIL^2], each of length 1
    owners: np.ndarray  # [num], the index of the image


def find_copies(images: ImageSet) -> Copies:
    """Return the copies among `images`, those of one patient left out."""
    patients = np.unique(np.asarray(images.patients, str), return_inverse=True)[1]
    copies = find_copies_between(images.images, images.images)
    first, second = copies.pairs.T
    keep = (first < second) & (patients[first] != patients[second])
    return Copies(copies.pairs[keep], copies.correlations[keep])


def find_copies_between(images: np.ndarray, others: np.ndarray) -> Copies:
    """Return the copies between two stacks of uint8 images [num, height, width, channels]."""
    thumbnails, owners = _shrink_all(others)
    both = np.concatenate([thumbnails, thumbnails[:, :, ::-1]])
    prints = _compute_prints(both, np.concatenate([owners, owners]))
    pairs, correlations = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for start in range(0, len(images), _BLOCK):
        block = _compute_prints(*_shrink_all(images[start : start + _BLOCK]))
        found = _match(block, prints)
        pairs.append(found.pairs + np.array([start, 0]))
        correlations.append(found.correlations)
    return Copies(np.concatenate(pairs), np.concatenate(correlations))


def group_patients(patients: Sequence[str], copies: Copies) -> np.ndarray:
    """Return a number from 0 for each image [num]: its patient, joined with those of its copies."""
    codes = np.unique(np.asarray(patients, str), return_inverse=True)[1]
    parents = np.arange(codes.max(initial=-1) + 1)

    def find(code: int) -> int:
        while parents[code] != code:
            code = parents[code]
        return int(code)

    for first, second in codes[copies.pairs]:
        parents[find(second)] = find(first)
    roots = np.array([find(code) for code in codes])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def check_sides(train: ImageSet, test: ImageSet, *, where: str) -> None:
    """Raise `UserError` where a patient or a copy of an image is on both sides."""
    sentences = find_leaks(train, test, names=("training", "test"), where=where)
    if sentences:
        raise UserError(sentences[0])


def find_leaks(train: ImageSet, test: ImageSet, *, names: tuple[str, str], where: str) -> list[str]:
    """Return a sentence on shared patients and one on copied images, where there are any."""
    sentences, (learned, tested) = [], names
    shared = find_shared_patients({learned: train.patients, tested: test.patients})
    if shared:
        sentences.append(
            f"In {where} {len(shared)} patient(s) are in {learned} and {tested} (such as "
            f"{_list(list(shared))}): the accuracy would be that on people already seen. "
            "Expected each patient on one side; correct the split or the patient column."
        )
    copies = find_copies_between(train.images, test.images)
    if len(copies):
        pairs = [f"{test.files[j]} of {train.files[i]}" for i, j in copies.pairs]
        sentences.append(
            f"In {where} {len(set(copies.pairs[:, 1]))} {tested} image(s) are copies of {learned} "
            f"images (such as {_list(pairs)}), exact, re-encoded, mirrored or framed: the "
            "classifier would be asked what it was told. Remove one of each pair, or give both the "
            "same patient."
        )
    return sentences


def describe_splits(splits: Mapping[str, ImageSet]) -> list[str]:
    """Return a sentence for every leak between the splits that the data came with."""
    return [
        sentence
        for first, second in itertools.combinations(splits, 2)
        for sentence in find_leaks(
            splits[first],
            splits[second],
            names=(first, second),
            where=f"{first} and {second} as given",
        )
    ]


def describe_copies(images: ImageSet, copies: Copies) -> str | None:
    """Return a sentence on copies across patients, which a study deals into one fold; or None."""
    if not len(copies):
        return None
    pairs = [f"{images.files[i]} and {images.files[j]}" for i, j in copies.pairs]
    contrary = int((images.labels[copies.pairs[:, 0]] != images.labels[copies.pairs[:, 1]]).sum())
    return (
        f"{len(copies)} pair(s) of images that do not belong to one patient are copies of one "
        f"another (such as {_list(pairs)}), exact, re-encoded, mirrored or framed. The "
        "study deals both of a pair into one fold, so that neither is tested by what has learned "
        "from the other."
        + (f" {contrary} of the pairs bear two different classes." if contrary else "")
    )


def check_no_generated(files: Sequence[str], is_generated: Sequence[bool]) -> None:
    """Raise `UserError` where a file of the data says of itself that jaxgan has generated it."""
    found = [file for file, generated in zip(files, is_generated, strict=True) if generated]
    if found:
        raise UserError(
            f"{len(found)} image(s) of the data folder were generated by jaxgan (such as "
            f"{_list(found)}): a study tests every image of its folder, and generated ones may "
            "only ever be trained on. Take them out; the study makes its own."
        )


def is_generated(path: Path) -> bool:
    """Tell whether an image file carries the mark that jaxgan gives what it generates."""
    try:
        with path.open("rb") as file:
            head = RationedFile(file.read(MAX_HEADER_BYTES), 2 * MAX_HEADER_BYTES)
        with Image.open(head, formats=("PNG",)) as image:
            return GENERATED_KEY in image.info
    except Exception:  # a parser of damaged bytes
        return False  # no PNG, or no image: the data source has its own sentence for that


def _compute_prints(thumbnails: np.ndarray, owners: np.ndarray) -> _Prints:
    """Return the prints of thumbnails [num, THUMBNAIL, THUMBNAIL] of the images `owners` [num]."""
    spectrum = dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :_HASH_SIDE, :_HASH_SIDE]
    spectrum = spectrum.reshape(len(thumbnails), _HASH_SIDE**2)[:, 1:]
    bits = (spectrum > np.median(spectrum, axis=1, keepdims=True)).astype(np.float32)
    coarse = uniform_filter(thumbnails, size=(0, _DETAIL, _DETAIL), mode="nearest")
    details = (thumbnails - coarse).reshape(len(thumbnails), THUMBNAIL**2)
    details = details - details.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(details, axis=1, keepdims=True)
    return _Prints(bits, (details / np.maximum(norms, 1e-9)).astype(np.float32), owners)


def _shrink_all(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a thumbnail of each image, one more of each with a border, and whose they are."""
    thumbnails, owners = [], []
    for owner, image in enumerate(images):
        gray = image.mean(axis=-1).round().astype(np.uint8)
        inner = _trim(gray)
        versions = [gray] if inner.shape == gray.shape else [gray, inner]
        thumbnails += [_shrink(version) for version in versions]
        owners += [owner] * len(versions)
    shape = (len(thumbnails), THUMBNAIL, THUMBNAIL)
    return np.array(thumbnails, np.float64).reshape(shape), np.array(owners, np.int64)


def _shrink(gray: np.ndarray) -> np.ndarray:
    shape = (THUMBNAIL, THUMBNAIL)
    return np.asarray(Image.fromarray(gray).resize(shape, Image.Resampling.BOX), np.float64)


def _trim(gray: np.ndarray) -> np.ndarray:
    """Return an image [height, width] without its borders of one colour.

    Where less than half of a side would be left it stays as it is: too little to know a film by.
    """
    rows, columns = (np.flatnonzero(np.ptp(gray, axis=axis) > _BORDER_SPREAD) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return gray
    inner = gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    is_enough = all(2 * left >= side for left, side in zip(inner.shape, gray.shape, strict=True))
    return inner if is_enough else gray


def _match(first: _Prints, second: _Prints) -> Copies:
    """Return the index pairs of images of which any hashes are near and details correlate."""
    ones = first.bits @ second.bits.T
    differing = first.bits.sum(axis=1)[:, None] + second.bits.sum(axis=1) - 2 * ones
    correlations = first.details @ second.details.T
    near = np.nonzero((differing <= MAX_BITS) & (correlations >= MIN_CORRELATION))
    owners = np.stack([first.owners[near[0]], second.owners[near[1]]], axis=1)
    pairs, places = np.unique(owners, axis=0, return_inverse=True)
    strongest = np.zeros(len(pairs), np.float32)
    np.maximum.at(strongest, places.reshape(-1), correlations[near])
    return Copies(pairs, strongest)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
