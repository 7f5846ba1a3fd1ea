"""Split by patient: no patient's images are in two splits, and every class is in every split."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.data.sets import ImageSet

NUM_ATTEMPTS = 64  # orders in which the patients are assigned; the best balanced one is used
WRONG_PATIENTS = (
    "If these are not real patients (an anonymiser's one ID for all, or numbers that start "
    "again): name the right ones with --patient_column=NAME, --patient_pattern=REGEX or "
    "--patients_from=folders, or use --patients_from=none to split by image."
)
GOOD_ENOUGH = 0.02  # stop searching when no split is off by more than this share of a class


def split_by_patient(
    labels: np.ndarray,
    patients: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    *,
    class_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return the indices [num] of each split in `fractions`, each patient in one split only.

    `labels` [num] are class numbers. Each class is divided by `fractions`, as nearly as is
    possible with complete patients. The result depends on the seed and on each patient's images,
    not on the order of the images. Raises `UserError` when a class has too few patients to be in
    every split.
    """
    _check_fractions(fractions)
    labels = np.asarray(labels)
    ids, patient_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    counts = np.zeros((len(ids), int(labels.max(initial=-1)) + 1), dtype=np.int64)
    np.add.at(counts, (patient_of, labels), 1)
    _check_enough_patients(counts, tuple(fractions), class_names)
    shares = np.array(list(fractions.values()))
    split_of = _best_deal(counts, shares, [str(name) for name in ids], seed)
    if split_of is None:
        raise UserError(
            f"no split into {' and '.join(fractions)} found that keeps each patient's images "
            f"together and has every class in each split ({len(ids)} patients). Add patients, or "
            f"divide the folder into train/ and val/ yourself. {WRONG_PATIENTS}"
        )
    return {name: np.flatnonzero(split_of[patient_of] == i) for i, name in enumerate(fractions)}


def hold_out(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Divide a class by patient: images for its GAN, and images to calibrate the discriminator."""
    parts = split_by_patient(
        np.zeros(len(images), np.int64),
        images.patients,
        {"learned": 1.0 - share, "held out": share},
        seed,
    )
    return images.take(parts["learned"]), images.take(parts["held out"])


def find_shared_patients(splits: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return each patient who is in more than one split, with the names of those splits."""
    seen: dict[str, list[str]] = {}
    for split, patients in splits.items():
        for patient in set(patients):
            seen.setdefault(patient, []).append(split)
    return {patient: names for patient, names in sorted(seen.items()) if len(names) > 1}


def _check_fractions(fractions: Mapping[str, float]) -> None:
    values = list(fractions.values())
    if not np.isclose(sum(values), 1.0) or min(values) <= 0.0:
        raise UserError(
            f"the split fractions are {dict(fractions)}: expected positive numbers that sum to 1"
        )


def _check_enough_patients(
    counts: np.ndarray, splits: tuple[str, ...], class_names: Sequence[str] | None
) -> None:
    """Refuse a class with fewer patients than there are splits."""
    for label, num_patients in enumerate((counts > 0).sum(axis=0)):
        if num_patients < len(splits):
            name = class_names[label] if class_names is not None else str(label)
            raise UserError(
                f"class {name!r} has images of {num_patients} patient(s): a split into "
                f"{' and '.join(splits)} that keeps patients apart needs at least {len(splits)}. "
                "Add patients, or divide the folder into train/ and val/ yourself. "
                f"{WRONG_PATIENTS}"
            )


def _best_deal(
    counts: np.ndarray, shares: np.ndarray, ids: list[str], seed: int
) -> np.ndarray | None:
    """Assign the patients in several orders; return the best balanced result with all classes."""
    best, best_imbalance = None, np.inf
    desired = shares[:, None] * counts.sum(axis=0)
    for attempt in range(NUM_ATTEMPTS):
        keys = [hashlib.sha256(f"{seed}:{attempt}:{name}".encode()).digest() for name in ids]
        order = sorted(range(len(ids)), key=keys.__getitem__)
        split_of, dealt = _deal(counts, desired, order)
        if (dealt == 0).any():
            continue
        imbalance = float((abs(dealt - desired) / counts.sum(axis=0)).max())
        if imbalance < best_imbalance:
            best, best_imbalance = split_of, imbalance
        if best_imbalance <= GOOD_ENOUGH:
            break
    return best


def _deal(
    counts: np.ndarray, desired: np.ndarray, order: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Give each patient in turn to the split that is least full, relative to its target.

    Returns the split of each patient [num_patients] and the assigned images [num_splits,
    num_classes]. If a class has only as many patients left as there are splits without it, those
    splits come first.
    """
    split_of = np.zeros(len(counts), dtype=np.int64)
    dealt = np.zeros_like(desired, dtype=np.int64)
    patients_left = (counts > 0).sum(axis=0)
    for patient in order:
        has = counts[patient]
        fill = (has * (dealt + has) / desired).sum(axis=1)
        lacks = (dealt == 0) & (has > 0)
        urgent = lacks[:, patients_left <= lacks.sum(axis=0)].any(axis=1)
        split = int(np.argmin(np.where(urgent, fill, np.inf) if urgent.any() else fill))
        split_of[patient] = split
        dealt[split] += has
        patients_left -= has > 0
    return split_of, dealt
