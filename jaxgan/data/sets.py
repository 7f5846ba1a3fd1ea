"""Labelled image sets, which every data source gives: each image with its patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxgan.core.commands import name_command
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.untrusted import printable

_LONGEST_NAME = 200  # of a class, in bytes


@dataclass(frozen=True)
class ImageSet:
    """Images of one split.

    `images` is uint8 [num, size, size, channels], an array, or a memory map if it is too large for
    memory. `labels` is int32 [num]. `files` has the source's name of each image, `patients` its
    patient. `known` (bool [num]; None: all True) is True where the source names the patient.
    Otherwise `patients` has the file's own name.
    """

    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]
    patients: tuple[str, ...]
    known: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<ImageSet of {len(self)}: {self.images.dtype} {list(self.images.shape)}>"

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
        """Whether the patient of each image [num] is known."""
        return np.ones(len(self), bool) if self.known is None else self.known

    def of_class(self, label: int) -> "ImageSet":
        """Return the images with `label`."""
        return self.take(np.flatnonzero(self.labels == label))


@dataclass(frozen=True)
class Dataset:
    """A source's splits (`train`, `val`, perhaps `test`) and the notices about it.

    `fingerprint` is a SHA-256 over content, classes and split, but not over paths. With it a run
    can check that it continues on the same data. `notices` are sentences for the log. `skipped` are
    files that could not be used, each with the reason. `look` holds the settings that change the
    appearance of images: the range of shown numbers, and the fit. `val_was_made` is True if the
    data had no validation split and jaxgan has made one.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, ImageSet]
    fingerprint: str
    notices: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)
    val_was_made: bool = False

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(images)} {name}" for name, images in self.splits.items())
        return f"<{printable(self.name)}: {counts}; classes {list_some(self.class_names)}>"

    def describe(self) -> dict[str, Any]:
        """Return the entry for the data in a run's record."""
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
    """Return the number of a class; raise `UserError` if no class has that name.

    `remark` is added after the list of classes: it names other values that are allowed.
    """
    if class_name not in dataset.class_names:
        raise UserError(
            f"There is no class {class_name!r} in {dataset.name}: "
            f"the classes are {list_some(dataset.class_names)}{remark}."
        )
    return dataset.class_names.index(class_name)


def check_classes(dataset: Dataset, purpose: str) -> None:
    """Raise `UserError` if there is only one class; `purpose` is a clause: what needs two."""
    if len(dataset.class_names) < 2:
        raise UserError(
            f"{dataset.name} has only one class ({printable(dataset.class_names[0])}), but "
            f"{purpose}. Expected a folder for each class, two or more. A GAN learns from one "
            f"class ({name_command('train_dcgan')})."
        )


def name_classes(source: str, labels: Sequence[str]) -> dict[str, str]:
    """Return the class name of each label of a source, which is also the name of a run's folder.

    Labels come from tables and catalogues. One with slashes would name several folders, or a folder
    in another place. Raises `UserError` if a label can not name a folder, or if two name the same.
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
                f"{source} has the classes {list_some(same)}, but their runs would have the same "
                f"folder, {printable(name)!r}: rename one of them"
            )
    return names


def describe_renamed(names: Mapping[str, str]) -> list[str]:
    """Return a sentence if classes have other names than their labels, see `name_classes`."""
    renamed = [f"{label} is {name}" for label, name in sorted(names.items()) if label != name]
    if not renamed:
        return []
    return [
        "Each class has its own folder in a run, and a folder's name has no slash: "
        f"{list_some(renamed)}."
    ]


def join_sets(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of one or more sets as one set."""
    if len(sets) == 1:  # it may be a memory map: do not copy it
        return sets[0]
    return ImageSet(
        np.concatenate([s.images for s in sets]),
        np.concatenate([s.labels for s in sets]),
        sum((s.files for s in sets), ()),
        sum((s.patients for s in sets), ()),
        np.concatenate([s.is_patient_known for s in sets]),
    )


def create_generated_set(images: np.ndarray, label: int, files: tuple[str, ...]) -> ImageSet:
    """Return generated images uint8 [num, size, size, channels] of one class, without patients."""
    labels = np.full(len(images), label, np.int32)
    return ImageSet(images, labels, files, ("synthetic",) * len(images))
