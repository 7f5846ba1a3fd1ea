"""Find leaks between training and test images: shared patients, and copied images.

`jaxgan.data.copies` defines a copy and finds it. `jaxgan.data.guard` checks the data of every
command, a study's too. This module makes the checks for the folds of a study.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxgan.core.errors import UserError, name_few
from jaxgan.data.copies import (
    Copies,
    find_copies_among,
    find_copies_between,
    join_groups,
)
from jaxgan.data.guard import KINDS
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import find_shared_patients


def find_copies(images: ImageSet) -> Copies:
    """Return the copies among `images`, except those of one patient."""
    patients = np.unique(np.asarray(images.patients, str), return_inverse=True)[1].reshape(-1)
    copies = find_copies_among(images.images)
    first, second = copies.pairs.T
    return copies.take(patients[first] != patients[second])


def group_patients(patients: Sequence[str], copies: Copies) -> np.ndarray:
    """Return a number from 0 for each image [num]: its patient, joined with those of its copies."""
    codes = np.unique(np.asarray(patients, str), return_inverse=True)[1].reshape(-1)
    roots = join_groups(codes.astype(np.int64), copies.pairs)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def check_sides(train: ImageSet, test: ImageSet, *, where: str) -> None:
    """Raise `UserError` if a patient or a copy of an image is on both sides."""
    sentences = find_leaks(train, test, names=("training", "test"), where=where)
    if sentences:
        raise UserError(sentences[0])


def find_leaks(train: ImageSet, test: ImageSet, *, names: tuple[str, str], where: str) -> list[str]:
    """Return a sentence on shared patients and one on copied images, if there are any."""
    sentences, (learned, tested) = [], names
    shared = find_shared_patients({learned: train.patients, tested: test.patients})
    if shared:
        sentences.append(
            f"In {where} {len(shared)} patient(s) are in {learned} and {tested} (such as "
            f"{name_few(list(shared))}): the accuracy would be measured on people already seen. "
            "Expected each patient on one side; correct the split or the patient column."
        )
    copies = find_copies_between(train.images, test.images)
    if len(copies):
        pairs = [f"{test.files[j]} of {train.files[i]}" for i, j in copies.pairs]
        sentences.append(
            f"In {where} {len(set(copies.pairs[:, 1]))} {tested} image(s) are copies of {learned} "
            f"images (such as {name_few(pairs)}), {KINDS}: the "
            "classifier would be tested on images that it has learned. Remove one of each pair, "
            "or give both the same patient."
        )
    return sentences


def describe_splits(splits: Mapping[str, ImageSet]) -> list[str]:
    """Return a sentence for every leak between the splits of the data as given."""
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
    """Return a sentence on copies across patients, which a study puts into one fold; or None."""
    if not len(copies):
        return None
    pairs = [f"{images.files[i]} and {images.files[j]}" for i, j in copies.pairs]
    contrary = int((images.labels[copies.pairs[:, 0]] != images.labels[copies.pairs[:, 1]]).sum())
    return (
        f"{len(copies)} pair(s) of images that do not belong to one patient are copies of one "
        f"another (such as {name_few(pairs)}), {KINDS}. The "
        "study puts both images of a pair into one fold. So no image is tested by a classifier "
        "that has learned from its copy."
        + (f" {contrary} of the pairs have two different classes." if contrary else "")
    )
