"""Images that a user gives as arrays: check them, resize them, split them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.data import guard
from jaxgan.data.copies import find_copies_among, join_groups
from jaxgan.data.images import resize_all
from jaxgan.data.sets import Dataset, ImageSet, name_classes
from jaxgan.data.split import split_by_patient

_EXPECTED = "expected uint8 [num, height, width] or [num, height, width, 1 or 3]"
_MISSING = ("None", "nan", "NaT", "<NA>")  # how Python, numpy and pandas print a missing value
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow turns colour to gray


def check_images(images: np.ndarray, name: str = "images") -> np.ndarray:
    """Return images uint8 [num, height, width, 1 or 3]; `name` is their name in messages.

    Raises `UserError` for arrays of another type or shape, and for empty ones.
    """
    images = _as_array(images, name)
    stack = images[..., None] if images.ndim == 3 else images
    is_one = images.ndim == 3 and images.shape[-1] in (1, 3)  # [height, width, channels]
    if images.ndim == 2 or is_one:
        raise UserError(f"{_describe(images, name)}: {_EXPECTED}. For one image, give image[None].")
    if images.dtype != np.uint8:
        raise UserError(f"{_describe(images, name)}: {_EXPECTED}. {_advise(images)}")
    if stack.ndim != 4 or stack.shape[-1] not in (1, 3):
        raise UserError(f"{_describe(images, name)}: {_EXPECTED}. Move or remove the other axes.")
    if not stack.size:
        raise UserError(f"{_describe(images, name)}: expected one image or more.")
    return stack


def _as_array(values: object, name: str) -> np.ndarray:
    """Return one array. Raises `UserError` if the lists or images have different sizes."""
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(
            f"The {name} do not all have the same shape: expected one array. For images of "
            "different sizes, use load_folder(FOLDER)."
        ) from None


def _describe(images: np.ndarray, name: str) -> str:
    found = f"Found {name} of {images.dtype} {list(images.shape)}"
    if not images.size or images.dtype.kind not in "fiu":
        return found
    return f"{found} with values from {np.min(images):.4g} to {np.max(images):.4g}"


def _advise(images: np.ndarray) -> str:
    """Return how to turn an array of other numbers into uint8."""
    if images.dtype.kind not in "fiu" or not images.size:
        return "Give the gray values from 0 (black) to 255 (white) as uint8."
    low, high = float(np.min(images)), float(np.max(images))
    if not np.isfinite([low, high]).all():
        return "Some values are not finite: correct them first."
    if images.dtype.kind != "f" and low >= 0 and high <= 255:
        return "Give images.astype('uint8')."
    if low >= 0 and high <= 1:
        return "Give (255 * images).round().astype('uint8')."
    if low >= -1 and high <= 1:
        return "Give (127.5 * (images + 1)).round().astype('uint8')."
    return (
        "Choose the range to show, LOW to HIGH, and give "
        "(255 * ((images - LOW) / (HIGH - LOW)).clip(0, 1)).round().astype('uint8')."
    )


def match_form(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Return uint8 images [num, h, w, 1 or 3] as [num, size, size, channels].

    They are cut to the central square and scaled. Colours become gray, and gray is repeated.
    """
    if images.shape[-1] != channels:
        is_gray = images.shape[-1] == 1
        gray = images if is_gray else np.rint(images @ _GRAY).astype(np.uint8)[..., None]
        images = np.repeat(gray, channels, axis=-1)
    return resize_all(images, size)


@dataclass(frozen=True)
class LabelledArrays:
    """Checked images uint8 [num, h, w, 1 or 3], and the class and patient of each.

    `films` [num] numbers the films: all copies of a film have the same number. `parts` has the
    indices of each split.
    """

    name: str
    images: np.ndarray
    class_names: tuple[str, ...]
    labels: np.ndarray
    patients: tuple[str, ...] | None
    films: np.ndarray
    parts: Mapping[str, np.ndarray]
    notices: tuple[str, ...]

    def create_dataset(self, image_size: int, channels: int) -> Dataset:
        """Return the images by split, uint8 [num, image_size, image_size, channels]."""
        owners = self.patients or _name_files(len(self.images))
        every = ImageSet(
            match_form(self.images, image_size, channels),
            self.labels,
            _name_files(len(self.images)),
            owners,
            np.full(len(self.images), self.patients is not None),
        )
        splits = {name: every.take(indices) for name, indices in self.parts.items()}
        return Dataset(
            self.name,
            self.class_names,
            splits,
            _compute_fingerprint(self),
            self.notices,
            val_was_made=True,
        )


def create_labelled(
    name: str,
    images: np.ndarray,
    labels: Sequence[object],
    patients: Sequence[object] | None,
    *,
    val_fraction: float,
    split_seed: int,
) -> LabelledArrays:
    """Check arrays and split them by patient, with all copies of a film in the same split.

    `labels` and `patients` are the class and the patient of each image [num]: words or numbers.
    Raises `UserError`.
    """
    images = check_images(images)
    _check_each("labels", labels, len(images))
    words = [str(label) for label in labels]
    numbers = all(word.isdecimal() for word in words)
    order = sorted(set(words), key=int if numbers else str)
    named = name_classes(name, order)
    codes = np.array([order.index(word) for word in words], np.int32)
    if patients is not None:
        _check_each("patients", patients, len(images))
    known = None if patients is None else tuple(map(str, patients))
    owners = known or _name_files(len(images))
    copies = find_copies_among(images)
    films = join_groups(np.arange(len(images)), copies.pairs)
    names = tuple(named[word] for word in order)
    fractions = {"train": 1.0 - val_fraction, "val": val_fraction}
    parts = split_by_patient(
        codes, guard.join_owners(owners, films), fractions, split_seed, class_names=names
    )
    unsearched = copies.describe_search()
    notices = (
        _describe_split(known is not None, val_fraction, split_seed),
        *_describe_copies(films, codes, parts, names),
        *([unsearched] if unsearched else []),
    )
    return LabelledArrays(name, images, names, codes, known, films, parts, notices)


def _check_each(name: str, values: Sequence[object], num: int) -> None:
    given = _as_array(values, name)
    if given.shape != (num,):
        raise UserError(
            f"Found {name} {list(given.shape)} for {num} images: expected one for each image."
        )
    missing = [i for i, value in enumerate(values) if _is_missing(value)]
    if missing:
        raise UserError(
            f"{len(missing)} of the {num} {name} are missing, such as that of image {missing[0]}: "
            "expected one for each image. Remove these images, or add the missing values."
        )


def _is_missing(value: object) -> bool:
    """Whether a value is missing: as a word, it would be a class or a patient."""
    return not isinstance(value, str) and str(value) in _MISSING


def _name_files(num: int) -> tuple[str, ...]:
    return tuple(f"image {index}" for index in range(num))


def _describe_split(is_known: bool, val_fraction: float, split_seed: int) -> str:
    share = f"{val_fraction:.0%} of the images are for validation"
    if is_known:
        return f"{share}, split by patient (seed {split_seed})."
    return (
        f"{share}, split by image (seed {split_seed}), because no patients are given. If a "
        "patient has several images, accuracies are too high: give patients."
    )


def _describe_copies(
    films: np.ndarray, codes: np.ndarray, parts: Mapping[str, np.ndarray], names: Sequence[str]
) -> list[str]:
    sides = np.empty(len(films), object)
    for split, indices in parts.items():
        sides[indices] = split
    shown = guard.Films(films, _name_files(len(films)), codes, sides.tolist())
    return guard.describe(shown, names, is_split_here=True)


def _compute_fingerprint(given: LabelledArrays) -> str:
    """Return the SHA-256 over class names, split membership, labels and pixels."""
    pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in given.images]
    members = {
        split: sorted((pixels[i], int(given.labels[i])) for i in indices)
        for split, indices in given.parts.items()
    }
    form = list(given.images.shape[1:])
    canonical = json.dumps([given.class_names, members, form], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
