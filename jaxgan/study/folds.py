"""The folds of a study: every image is tested once; no patient and no copy is on both sides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from jaxgan.data.leaks import (
    Copies,
    check_sides,
    describe_copies,
    describe_splits,
    find_copies,
    group_patients,
)
from jaxgan.data.sets import Dataset, ImageSet, join_sets
from jaxgan.data.split import split_by_patient
from jaxgan.training.jobs import hash_files


@dataclass(frozen=True)
class Folds:
    """All images of a study; `fold_of` [num_images] is the fold that tests each of them.

    `groups` [num_images] are numbers from 0: patients, joined if they share a copied image.
    `copies` are the copies found across patients.
    """

    images: ImageSet
    fold_of: np.ndarray
    groups: np.ndarray
    copies: Copies

    @property
    def num(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    def get_train(self, fold: int) -> ImageSet:
        """Return the images to learn from while `fold` is tested."""
        return self.images.take(np.flatnonzero(self.fold_of != fold))

    def get_test(self, fold: int) -> ImageSet:
        """Return the real images that `fold` tests."""
        return self.images.take(np.flatnonzero(self.fold_of == fold))

    def hash_train(self, fold: int) -> str:
        """Return a hash of the names and classes of the images that `fold` trains on."""
        train = self.get_train(fold)
        return hash_files(train.files, train.labels)


def join_splits(splits: Mapping[str, ImageSet]) -> ImageSet:
    """Return the images of all splits as one set, each file named with its split."""
    files = tuple(f"{name}:{file}" for name, images in splits.items() for file in images.files)
    return replace(join_sets(list(splits.values())), files=files)


def create_folds(dataset: Dataset, num_folds: int, seed: int) -> Folds:
    """Divide all images of `dataset` into folds by patient.

    Patients who share an exact or near copy of an image (`jaxgan.data.leaks`) go into one fold.
    Raises `UserError` if a class has fewer patients than there are folds.
    """
    images = join_splits(dataset.splits)
    copies = find_copies(images)
    groups = group_patients(images.patients, copies)
    indices = split_by_patient(
        images.labels,
        [f"group-{g}" for g in groups],
        {f"fold {i + 1}": 1 / num_folds for i in range(num_folds)},
        seed,
        class_names=dataset.class_names,
    )
    fold_of = np.zeros(len(images), np.int32)
    for fold, chosen in enumerate(indices.values()):
        fold_of[chosen] = fold
    folds = Folds(images, fold_of, groups, copies)
    # A partial search covers another part in each fold: a copy found there is no mistake.
    for fold in range(num_folds) if copies.describe_search() is None else ():
        check_sides(folds.get_train(fold), folds.get_test(fold), where=f"fold {fold + 1}")
    return folds


def describe_leaks(dataset: Dataset, folds: Folds) -> list[str]:
    """Return a sentence for every leak in the given splits, and for copies across patients."""
    others = [describe_copies(folds.images, folds.copies), folds.copies.describe_search()]
    given = describe_splits(find_given_splits(dataset))
    return [*given, *(sentence for sentence in others if sentence)]


def find_given_splits(dataset: Dataset) -> dict[str, ImageSet]:
    """Return the splits of the data as given; a `val` made by jaxgan is joined to `train`."""
    splits = dict(dataset.splits)
    if dataset.val_was_made:
        splits["train"] = join_sets([splits["train"], splits.pop("val")])
    return splits
