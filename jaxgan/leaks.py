"""Does the training know what the test asks? Shared patients, copied images, generated ones.

A copy is an image that another one is a re-encoded, resized or slightly brightened version of. It
is found in two steps: a perceptual hash (the signs of the lowest frequencies of a 32x32 thumbnail)
proposes pairs, and the correlation of the thumbnails' *details* decides. Details alone, because all
chest films look alike from afar.
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


def find_copies(images: ImageSet) -> Copies:
    """Return the copies among `images`, those of one patient left out."""
    prints = _compute_prints(images.images)
    patients = np.unique(np.asarray(images.patients, str), return_inverse=True)[1]
    copies = _match(prints, prints)
    first, second = copies.pairs.T
    keep = (first < second) & (patients[first] != patients[second])
    return Copies(copies.pairs[keep], copies.correlations[keep])


def find_copies_between(images: np.ndarray, others: np.ndarray) -> Copies:
    """Return the copies between two stacks of uint8 images [num, height, width, channels]."""
    prints = _compute_prints(others)
    pairs, correlations = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for start in range(0, len(images), _BLOCK):
        found = _match(_compute_prints(images[start : start + _BLOCK]), prints)
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
            f"images (such as {_list(pairs)}), exact or re-encoded: the classifier would be asked "
            "what it was told. Remove one of each pair, or give both the same patient."
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
        f"another (such as {_list(pairs)}), exact or re-encoded. The study deals both of a pair "
        "into one fold, so that neither is tested by what has learned from the other."
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


def _compute_prints(images: np.ndarray) -> _Prints:
    small = np.stack([_shrink(image) for image in images]) if len(images) else np.zeros((0, 32, 32))
    spectrum = dctn(small, axes=(1, 2), norm="ortho")[:, :_HASH_SIDE, :_HASH_SIDE]
    spectrum = spectrum.reshape(len(small), _HASH_SIDE**2)[:, 1:]
    bits = (spectrum > np.median(spectrum, axis=1, keepdims=True)).astype(np.float32)
    coarse = uniform_filter(small, size=(0, _DETAIL, _DETAIL), mode="nearest")
    details = (small - coarse).reshape(len(small), THUMBNAIL**2)
    details = details - details.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(details, axis=1, keepdims=True)
    return _Prints(bits, (details / np.maximum(norms, 1e-9)).astype(np.float32))


def _shrink(image: np.ndarray) -> np.ndarray:
    gray = Image.fromarray(image.mean(axis=-1).round().astype(np.uint8))
    shape = (THUMBNAIL, THUMBNAIL)
    return np.asarray(gray.resize(shape, Image.Resampling.BOX), np.float64)


def _match(first: _Prints, second: _Prints) -> Copies:
    """Return index pairs whose hashes are near and whose details correlate."""
    ones = first.bits @ second.bits.T
    differing = first.bits.sum(axis=1)[:, None] + second.bits.sum(axis=1) - 2 * ones
    correlations = first.details @ second.details.T
    near = (differing <= MAX_BITS) & (correlations >= MIN_CORRELATION)
    return Copies(np.argwhere(near), correlations[near])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
