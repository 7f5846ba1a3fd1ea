"""The real images for comparison with generated ones, and those that train the encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.data.copies import MAX_SEARCHED, choose_searched, describe_search
from jaxgan.data.sets import Dataset, ImageSet, find_label
from jaxgan.evaluation.features import choose_remaining, hold_out_for_floor
from jaxgan.metrics.gan_train import Labelled
from jaxgan.metrics.measure import MIN_IMAGES

MAX_COMPARED = 1000  # images of each kind: the tables of distances grow with the square


@dataclass(frozen=True)
class NamedImages:
    """Images uint8 [num, h, w, c] and their name in the report.

    `patients` names the patient of each image. If it is None, each image counts as one patient.
    """

    name: str
    images: np.ndarray
    patients: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take_at_most(self, most: int) -> "NamedImages":
        """Return at most `most` of them, see `take_at_most`."""
        patients = self.patients and tuple(take_at_most(np.asarray(self.patients), most).tolist())
        return NamedImages(self.name, take_at_most(self.images, most), patients)

    def describe(self) -> dict[str, Any]:
        """Return the entry of these images in the report."""
        return {"name": self.name, "num_images": len(self)}


def take_at_most(images: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` items [n, ...], drawn at random but always the same."""
    if len(images) <= most:
        return images
    return images[choose_searched(len(images), most)]


class Sides(NamedTuple):
    """Real images to compare generated ones with, and other real images for the floor."""

    real: NamedImages
    others: NamedImages

    @property
    def patients(self) -> tuple[str, ...] | None:
        """The patient of each image of both sides; None if they are unknown."""
        if self.real.patients is None or self.others.patients is None:
            return None
        return self.real.patients + self.others.patients


@dataclass(frozen=True)
class RealImages:
    """The real images of one class.

    `encoder_set` trains the own encoder: images and labels of all classes. `remaining` are the
    training images of this class that the encoder has not seen. The floor needs them if there are
    held-out images. Without held-out images `held_out` is empty. `other_classes` has held-out
    images of every other class by its name, where these are known and enough.
    """

    train: NamedImages
    held_out: NamedImages
    remaining: NamedImages
    encoder_set: Labelled
    other_classes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def has_held_out(self) -> bool:
        """Whether there are enough held-out images to compare with."""
        return len(self.held_out) >= MIN_IMAGES

    @property
    def sides(self) -> Sides:
        """The images to compare with: held-out ones if there are enough, else training images."""
        if self.has_held_out:
            return Sides(self.held_out, self.remaining)
        return Sides(self.train.take_at_most(MAX_COMPARED), self.held_out)

    @property
    def searched(self) -> NamedImages:
        """The training images that are searched for copies."""
        return self.train.take_at_most(MAX_SEARCHED)

    def describe_unsearched(self) -> list[str]:
        """Return a sentence if not all training images are searched for copies."""
        sentence = describe_search(len(self.searched), len(self.train), what="training images")
        return [sentence] if sentence else []

    def take_at_most(self, most: int) -> "RealImages":
        """Return the same with at most `most` held-out and `most` remaining images."""
        held_out, remaining = (s.take_at_most(most) for s in (self.held_out, self.remaining))
        return replace(self, held_out=held_out, remaining=remaining)


def choose_real(dataset: Dataset, class_name: str) -> RealImages:
    """Return the real images of a class, for the comparison with generated ones.

    Raises `UserError` if there is no such class, or if it has too few images or patients.
    """
    label = find_label(dataset, class_name)
    train, val = dataset.train.of_class(label), dataset.val.of_class(label)
    check_real(class_name, train, val)
    unseen = _choose_unseen(dataset)
    learned = dataset.train.take(np.flatnonzero(~unseen))
    remaining = train.take(choose_remaining(unseen[dataset.train.labels == label], len(val)))
    return RealImages(
        train=_name(f"{dataset.name}, {class_name}, train", train),
        held_out=_name(f"{dataset.name}, {class_name}, val", val),
        remaining=_name("training images for the floor", remaining),
        encoder_set=(learned.images, learned.labels),
        other_classes=_find_other_classes(dataset, label),
    )


def _find_other_classes(dataset: Dataset, label: int) -> dict[str, np.ndarray]:
    """Return held-out images of every class but one, of those with enough."""
    names = [name for name in dataset.class_names if name != dataset.class_names[label]]
    sets = {name: dataset.val.of_class(dataset.class_names.index(name)).images for name in names}
    return {
        name: take_at_most(images, MAX_COMPARED)
        for name, images in sets.items()
        if len(images) >= MIN_IMAGES
    }


def _name(name: str, images: ImageSet) -> NamedImages:
    return NamedImages(name, images.images, images.patients)


def take_unseen(dataset: Dataset) -> ImageSet:
    """Return the training images of all classes that the encoder of `choose_real` does not see."""
    return dataset.train.take(np.flatnonzero(_choose_unseen(dataset)))


def _choose_unseen(dataset: Dataset) -> np.ndarray:
    """Return which training images [n] the encoder does not see, see `hold_out_for_floor`."""
    counts = np.bincount(dataset.val.labels, minlength=len(dataset.class_names))
    counts[counts < MIN_IMAGES] = 0  # too few to compare with
    return hold_out_for_floor(dataset.train.labels, dataset.train.patients, counts.tolist())


def check_real(class_name: str, train: ImageSet, held_out: ImageSet) -> None:
    """Raise if a class has too few training images, or if one patient has too many images."""
    check_count(f"the training images of {class_name}", len(train))
    _check_patients(f"the training images of {class_name}", train.patients)
    if len(held_out) >= MIN_IMAGES:
        _check_patients(f"the held-out images of {class_name}", held_out.patients)


def _check_patients(name: str, patients: Sequence[str]) -> None:
    """Raise if one patient has more than a third of the images: no fair division is possible."""
    names, counts = np.unique(np.asarray(patients), return_counts=True)
    if counts.max() > len(patients) / 3:
        raise UserError(
            f"{name}: found {counts.max()} of {len(patients)} of one patient "
            f"({names[counts.argmax()]}), expected at most a third. Every number would describe "
            "that patient: add images of other patients, or correct the patient column."
        )


def check_count(name: str, count: int) -> None:
    """Raise if there are too few images to measure anything."""
    if count < MIN_IMAGES:
        raise UserError(
            f"{name}: found {count} images, expected at least {MIN_IMAGES}. With fewer, every "
            "number would be due to chance: add images."
        )
