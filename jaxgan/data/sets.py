"""What a data source gives: labelled image sets, each image with its patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxgan.core.errors import UserError, list_some
from jaxgan.core.untrusted import printable

_LONGEST_NAME = 200  # of a class, in bytes


@dataclass(frozen=True)
class ImageSet:
    """Images of one split.

    `images` is uint8 [num, size, size, channels] (an array, or a memory map when too large for
    memory), `labels` int32 [num]; `files` names each image as the source does and `patients`
    says whose it is. `known` (bool [num]; None: all True) says of which images the source knows
    that: of the others `patients` has the file's own name.
    """

    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    patients: tuple[str, ...]
    known: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "ImageSet":
        """Return the images at `indices`, in that order."""
        return ImageSet(
            images=self.images[indices],
            labels=self.labels[indices],
            files=tuple(self.files[i] for i in indices),
            patients=tuple(self.patients[i] for i in indices),
            known=None if self.known is None else self.known[indices],
        )

    @property
    def is_patient_known(self) -> np.ndarray:
        """Of which images [num] it is known whose they are."""
        return np.ones(len(self), bool) if self.known is None else self.known

    def of_class(self, label: int) -> "ImageSet":
        """Return the images that carry `label`."""
        return self.take(np.flatnonzero(self.labels == label))


@dataclass(frozen=True)
class Dataset:
    """A source's splits (`train`, `val`, perhaps `test`) and what must be said of it.

    `fingerprint` is a SHA-256 over content, classes and split, not over where the files lie, so
    that a run can tell whether it continues on the same data. `notices` are sentences for the log,
    `skipped` files that could not be used, each with the reason; `look` how images are made to
    look otherwise than they would by themselves: the range that numbers are shown over, the fit.
    `val_was_made`: the data came without a validation split, and jaxgan has set one apart.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, ImageSet]
    fingerprint: str
    notices: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)
    val_was_made: bool = False

    def describe(self) -> dict[str, Any]:
        """Return what a run's record says of its data."""
        described: dict[str, Any] = {"name": self.name, "fingerprint": self.fingerprint}
        if self.skipped:
            described["skipped"] = [f"{file} {reason}" for file, reason in self.skipped]
        if self.look:
            described["look"] = dict(self.look)
        return described

    @property
    def train(self) -> ImageSet:
        """The training split."""
        return self.splits["train"]

    @property
    def val(self) -> ImageSet:
        """The validation split."""
        return self.splits["val"]


def find_label(dataset: Dataset, class_name: str, *, remark: str = "") -> int:
    """Return the number of a class; raise where there is none of that name.

    `remark` is what may be named beside the classes.
    """
    if class_name not in dataset.class_names:
        raise UserError(
            f"There is no class {class_name!r} in {dataset.name}: "
            f"the classes are {list_some(dataset.class_names)}{remark}."
        )
    return dataset.class_names.index(class_name)


def check_classes(dataset: Dataset, purpose: str) -> None:
    """Raise where there is one class alone; `purpose` is a clause: what needs two."""
    if len(dataset.class_names) < 2:
        raise UserError(
            f"{dataset.name} has one class alone ({printable(dataset.class_names[0])}), and "
            f"{purpose}: there is nothing to tell it from. Expected a folder for each class, two "
            "or more. A GAN learns from one class (launch/train_dcgan.py)."
        )


def name_classes(source: str, labels: Sequence[str]) -> dict[str, str]:
    """Return what each label of a source is called as a class: by it a run's folder is named.

    Labels come from tables and catalogues: one with slashes would name several folders, or one
    that lies elsewhere. Raises `UserError` where a label can not name a folder, or two name one.
    """
    names = {label: label.replace("/", "-") for label in labels}
    for label, name in names.items():
        if name in ("", ".", "..") or len(name.encode()) > _LONGEST_NAME:
            raise UserError(
                f"{source} has a class {label[:_LONGEST_NAME]!r}, which can not name the folder of "
                f"its run: expected a word of at most {_LONGEST_NAME} bytes, other than . and .."
            )
    for name in set(names.values()):
        if len(same := [label for label in names if names[label] == name]) > 1:
            raise UserError(
                f"{source} has the classes {list_some(same)}, whose runs would have one folder, "
                f"{printable(name)!r}: rename one of them"
            )
    return names


def describe_renamed(names: Mapping[str, str]) -> list[str]:
    """Return a sentence where classes are not called by their label, see `name_classes`."""
    renamed = [f"{label} is {name}" for label, name in sorted(names.items()) if label != name]
    if not renamed:
        return []
    return [
        "Each class has a folder of its own in a run, and a folder's name has no slash: "
        f"{list_some(renamed)}."
    ]


def join_sets(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of several sets, one at least, as one."""
    if len(sets) == 1:  # which may lie on disk
        return sets[0]
    return ImageSet(
        np.concatenate([s.images for s in sets]),
        np.concatenate([s.labels for s in sets]),
        sum((s.files for s in sets), ()),
        sum((s.patients for s in sets), ()),
        np.concatenate([s.is_patient_known for s in sets]),
    )


def create_generated_set(images: np.ndarray, label: int, files: tuple[str, ...]) -> ImageSet:
    """Return generated images uint8 [num, size, size, channels] of one class: of no patient."""
    labels = np.full(len(images), label, np.int32)
    return ImageSet(images, labels, files, ("synthetic",) * len(images))
