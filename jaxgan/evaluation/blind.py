"""Choose real and generated images to be looked at without a mark that tells them apart."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.core.seeds import wrap_seed
from jaxgan.evaluation.real_images import NamedImages
from jaxgan.reports.blind import MOST_SHOWN, plot_blind

LEAST_SHOWN = 2  # of each kind


def draw_blind(generated: NamedImages, held_out: NamedImages, folder: Path) -> str:
    """Draw `blind.png` and the sheet with its answers to `folder`; return a sentence about them.

    The real images are held-out ones, each of another patient if there are enough.
    """
    num = min(len(generated), len(held_out), MOST_SHOWN)
    if num < LEAST_SHOWN:
        return (
            f"No sheet of images in random order: it needs {LEAST_SHOWN} generated and "
            f"{LEAST_SHOWN} held-out real images, found {len(generated)} and {len(held_out)}."
        )
    rng = np.random.default_rng(derive_seed(0, generated.images, held_out.images))
    owners = held_out.patients or tuple(map(str, range(len(held_out))))
    real = held_out.images[choose_of_patients(owners, num, rng)]
    drawn = generated.images[np.sort(rng.permutation(len(generated))[:num])]
    plot_blind(real, drawn, folder / "blind.png", seed=int(rng.integers(2**32)))
    return (
        f"To look at: {folder / 'blind.png'} has {num} real held-out and {num} generated images in "
        f"random order. {folder / 'blind_answers.png'} has the answers."
    )


def choose_of_patients(patients: Sequence[str], num: int, rng: np.random.Generator) -> np.ndarray:
    """Return `num` random indices: a second image of a patient only when each patient has one."""
    order = rng.permutation(len(patients))
    seen: Counter[str] = Counter()
    turns = np.zeros(len(patients), np.int64)
    for i in order:
        turns[i] = seen[patients[i]]
        seen[patients[i]] += 1
    return order[np.argsort(turns[order], kind="stable")][:num]


def derive_seed(seed: int, *images: np.ndarray) -> int:
    """Return a seed of 64 bits from `seed` and pixels: other images get another random order.

    Otherwise a person who has seen the answers of one sheet would know those of the next.
    """
    digest = hashlib.sha256(str(wrap_seed(seed)).encode())
    for array in images:
        digest.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(digest.digest()[:8], "big")
