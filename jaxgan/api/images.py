"""Load images from a folder, from arrays or as the phantom, and give them in any size."""

import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.api.errors import check_whole, convert_errors
from jaxgan.core.errors import UserError, list_some
from jaxgan.data.arrays import create_labelled
from jaxgan.data.phantom import TABLE_1
from jaxgan.data.sets import Dataset, find_label
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.data.values import AUTO
from jaxgan.reports import html

_SHOWN_SIDE = 96  # pixels of the images that a notebook shows
_SHOWN = 8  # images
_VAL_SHARE = 0.2


@dataclass(frozen=True)
class Images:
    """The images of one source, by split, with their classes and patients.

    Trainings and studies take it as `data` and choose the size themselves. `at` returns the images
    as arrays. `shown` are the images in a size for notebooks. `choices` are fields of a run's
    settings `data`. `notes` say where the images are. `root` is their folder.
    """

    load: Callable[[int, int], Dataset]
    shown: Dataset
    choices: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.shown.class_names

    @property
    def notices(self) -> tuple[str, ...]:
        """The notices about the images, as sentences."""
        return self.shown.notices

    def at(self, image_size: int, channels: int = 1) -> Dataset:
        """Return the images by split, uint8 [num, image_size, image_size, channels].

        `channels` is 1 (gray) or 3. The fields of each split are `images`, `labels` int32 [num],
        `files` and `patients`. Raises `UserError`.
        """
        with convert_errors():
            check_whole("image_size", image_size, least=1)
            if channels not in (1, 3):
                raise UserError(f"channels is {channels!r}, expected 1 (gray) or 3.")
            return self.load(image_size, channels)

    def get_images(
        self, split: str, class_name: str, *, image_size: int, channels: int = 1
    ) -> np.ndarray:
        """Return the images of a class, uint8 [num, image_size, image_size, channels].

        `split` is "train", "val" or, if there is one, "test". Raises `UserError` for other names.
        """
        dataset = self.at(image_size, channels)
        if split not in dataset.splits:
            raise UserError(
                f"There is no split {split!r}: expected one of {list_some(dataset.splits)}."
            )
        return dataset.splits[split].of_class(find_label(dataset, class_name)).images

    def count(self) -> dict[str, dict[str, int]]:
        """Return the number of images by class and split."""
        return {
            name: {s: int((i.labels == label).sum()) for s, i in self.shown.splits.items()}
            for label, name in enumerate(self.class_names)
        }

    def __repr__(self) -> str:
        return f"<Images of {repr(self.shown)[1:]}"

    def _repr_html_(self) -> str:
        splits = self.shown.splits
        rows: list[Sequence[object]] = [["class", *splits]]
        rows += [[name, *counts.values()] for name, counts in self.count().items()]
        patients = [f"{s}: {_count_patients(i.patients, i.known)}" for s, i in splits.items()]
        train = self.shown.train
        chosen = _choose_shown(train.labels)
        names = [self.class_names[label] for label in train.labels[chosen]]
        return html.show_box(
            f"Images of {self.shown.name}",
            html.show_table(rows),
            html.show_sentences([f"Patients: {', '.join(patients)}."]),
            html.show_images(train.images[chosen], names),
            html.show_notes(self.notices),
            html.show_notes([f"{f} {why}" for f, why in self.shown.skipped], "Not used"),
        )


def _count_patients(patients: Sequence[str], known: np.ndarray | None) -> str:
    if known is not None and not known.any():
        return "not known"
    number = len(set(patients))
    return f"{number}" if known is None or known.all() else f"{number}, some not known"


def _choose_shown(labels: np.ndarray) -> np.ndarray:
    """Return the indices of a few images, one class after the other in turn."""
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)[:_SHOWN]]
    return np.array([i for row in zip(*by_class, strict=False) for i in row][:_SHOWN], np.int64)


def load_folder(
    folder: Path | str,
    *,
    patient_column: str | None = None,
    patient_pattern: str | None = None,
    label_column: str | None = None,
    leave_out: Sequence[str] = (),
    skip_bad_images: bool = False,
    fit: str = "crop",
    value_range: str = AUTO,
    window: str = "",
    val_fraction: float = _VAL_SHARE,
    split_seed: int = 0,
    cache_dir: Path | str | None = None,
) -> Images:
    """Return the images of a folder, by split, with classes, patients and notices.

    The options are those of the commands: docs/your-images.md explains the layout of the folder and
    each option. Prepared images are kept in `cache_dir`, by default the cache of the commands.
    Raises `UserError`.

    >>> load_folder("films")
    Traceback (most recent call last):
        ...
    jaxgan.core.errors.UserError: the data folder films does not exist. Expected a folder: ...
    """
    looks = {"fit": fit, "value_range": value_range, "window": window}
    choices = {**looks, "val_fraction": val_fraction, "split_seed": split_seed}
    root = Path(folder).expanduser()
    words = {
        "patient_column": patient_column,
        "patient_pattern": patient_pattern,
        "label_column": label_column,
        "leave_out": ",".join(leave_out) or None,
        "on_bad_image": "skip" if skip_bad_images else None,
    }
    spec = DataSpec(
        data_dir=root,
        patient_column=patient_column,
        patient_pattern=patient_pattern,
        label_column=label_column,
        leave_out=tuple(leave_out),
        skip_bad_images=skip_bad_images,
        fit=fit,
        value_range=value_range,
        window=window,
        val_fraction=val_fraction,
        split_seed=split_seed,
    )
    flags = [f"--{name}={value}" for name, value in words.items() if value is not None]
    notes = {"data": str(root.resolve()), "command": shlex.join(flags)}
    return _create(functools.partial(_load, spec, choose_cache(cache_dir)), choices, notes, root)


def load_phantom(
    *,
    images_per_class: int = 0,
    subtlety: float = 0.5,
    seed: int = 0,
    cache_dir: Path | str | None = None,
) -> Images:
    """Return the phantom: chest films that jaxgan draws itself, of three classes.

    `images_per_class` is the number of training images of each class; a quarter of this number is
    added for validation. 0: the numbers of the paper. `subtlety` is 0 (obvious findings) to 1
    (nearly invisible).

    >>> films = load_phantom(images_per_class=12)
    >>> films
    <Images of phantom: 36 train, 9 val; classes covid, normal, pneumonia>
    >>> films.get_images("train", "covid", image_size=32).shape
    (12, 32, 32, 1)
    """
    check_whole("images_per_class", images_per_class)
    check_whole("seed", seed)
    sizes = {"train": images_per_class, "val": max(images_per_class // 4, 1)}
    counts = {s: dict.fromkeys(TABLE_1["train"], n) for s, n in sizes.items()}
    spec = DataSpec(
        phantom_seed=seed,
        phantom_subtlety=subtlety,
        phantom_counts=counts if images_per_class else TABLE_1,
    )
    choices = {"phantom_seed": seed, "phantom_subtlety": subtlety}
    notes = {} if images_per_class else {"data": "the phantom", "command": ""}
    return _create(functools.partial(_load, spec, choose_cache(cache_dir)), choices, notes)


def load_arrays(
    images: np.ndarray,
    labels: Sequence[object],
    patients: Sequence[object] | None = None,
    *,
    name: str = "arrays",
    val_fraction: float = _VAL_SHARE,
    split_seed: int = 0,
) -> Images:
    """Return the images of an array, split into training and validation images.

    `images` is uint8 [num, height, width] or [num, height, width, 1 or 3]. `labels` [num] are
    classes and `patients` [num] are patients: words or numbers. All images of a patient are in the
    same split. All copies of an image are, too. Raises `UserError`.

    >>> films = np.random.default_rng(0).integers(0, 256, (40, 32, 32), np.uint8)
    >>> load_arrays(films, ["healthy", "ill"] * 20)
    <Images of arrays: 32 train, 8 val; classes healthy, ill>
    >>> load_arrays(films / 255, ["healthy", "ill"] * 20)
    Traceback (most recent call last):
        ...
    jaxgan.core.errors.UserError: Found images of float64 [40, 32, 32] with values from 0 to 1: ...
    """
    if not isinstance(val_fraction, float | int):
        raise UserError(f"val_fraction is {val_fraction!r}, expected a number, such as 0.2.")
    with convert_errors():
        given = create_labelled(
            name, images, labels, patients, val_fraction=val_fraction, split_seed=split_seed
        )
    choices = {"val_fraction": val_fraction, "split_seed": split_seed}
    return _create(given.create_dataset, choices, {})


def _create(
    load: Callable[[int, int], Dataset],
    choices: Mapping[str, Any],
    notes: Mapping[str, str],
    root: Path | None = None,
) -> Images:
    with convert_errors():
        return Images(load, load(_SHOWN_SIDE, 1), choices, notes, root)


def _load(spec: DataSpec, cache_dir: Path, image_size: int, channels: int) -> Dataset:
    return load_dataset(spec, image_size=image_size, channels=channels, cache_dir=cache_dir)


def choose_cache(cache_dir: Path | str | None) -> Path:
    """Return the folder for prepared data: `cache_dir`, or that of the commands."""
    return Path(cache_dir).expanduser() if cache_dir else Path.home() / ".cache" / "jaxgan"
