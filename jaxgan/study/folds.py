"""The folds of a study: every image tested once, no patient and no copied image on both sides."""

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
    """All images of a study and, for each [num_images], the fold that tests it.

    `groups` [num_images] are numbers from 0: patients, joined where they share a copied image.
    `copies` are what was found across patients.
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
        """Return what may be learned from while `fold` is tested."""
        return self.images.take(np.flatnonzero(self.fold_of != fold))

    def get_test(self, fold: int) -> ImageSet:
        """Return the real images that `fold` tests."""
        return self.images.take(np.flatnonzero(self.fold_of == fold))

    def hash_train(self, fold: int) -> str:
        """Return a hash of which images `fold` trains on."""
        train = self.get_train(fold)
        return hash_files(train.files, train.labels)


def join_splits(splits: Mapping[str, ImageSet]) -> ImageSet:
    """Return the images of all splits as one set, each file named with its split."""
    files = tuple(f"{name}:{file}" for name, images in splits.items() for file in images.files)
    return replace(join_sets(list(splits.values())), files=files)


def create_folds(dataset: Dataset, num_folds: int, seed: int) -> Folds:
    """Deal all images of `dataset` into folds by patient.

    Patients who share an image, exact or nearly (`jaxgan.data.leaks`), are dealt as one. Raises
    `UserError` where a class has fewer patients than there are folds.
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
    # Where only a part was searched, each fold's part is another: what it holds is no mistake.
    for fold in range(num_folds) if copies.describe_search() is None else ():
        check_sides(folds.get_train(fold), folds.get_test(fold), where=f"fold {fold + 1}")
    return folds


def describe_leaks(dataset: Dataset, folds: Folds) -> list[str]:
    """Return a sentence for every leak in the splits as given, and for copies across patients."""
    said = [describe_copies(folds.images, folds.copies), folds.copies.describe_search()]
    given = describe_splits(find_given_splits(dataset))
    return [*given, *(sentence for sentence in said if sentence)]


def find_given_splits(dataset: Dataset) -> dict[str, ImageSet]:
    """Return the splits that the data came with: `val` joined to `train` where jaxgan made it."""
    splits = dict(dataset.splits)
    if dataset.val_was_made:
        splits["train"] = join_sets([splits["train"], splits.pop("val")])
    return splits
