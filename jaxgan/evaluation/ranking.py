"""How far does a ruler find degraded real images from other real images?

Real images are divided into two halves, by patient, many times. One half is degraded; its kernel
distance to the other half is measured. Without a degradation this is the distance by chance, and
the limit that 19 of 20 divisions stay within is the floor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jaxgan.evaluation.degradations import (
    DUPLICATES,
    MIXTURE,
    Degradation,
    choose_duplicates,
    choose_mixture,
)
from jaxgan.evaluation.features import Features
from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison
from jaxgan.metrics.measure import LEVEL, Groups, divide, find_overhang, number_groups

NUM_DIVISIONS = 100

Halves = Sequence[tuple[np.ndarray, np.ndarray]]  # indices of the images of both


@dataclass(frozen=True)
class Ranking:
    """The floor, and for each degradation by name the kernel distance at each of its strengths."""

    floor: float
    distances: dict[str, tuple[float, ...]]


def rank(
    features: Features,
    images: np.ndarray,
    degradations: Sequence[Degradation],
    *,
    patients: Groups | None = None,
    others: np.ndarray | None = None,
) -> Ranking:
    """Measure every degradation of real images uint8 [num, h, w, c], num 4 or more.

    `patients` names the patient of each image. `others` are real images of another class, for the
    mixture: without them it is left out.
    """
    real = features(images)
    halves = list(_divide_often(number_groups(patients, len(images))))
    distances = {}
    for kind in degradations:
        if kind.apply is not None:
            found = [features(kind.apply(images, strength)) for strength in kind.strengths]
            distances[kind.name] = tuple(_measure_changed(real, made, halves) for made in found)
        elif kind is not MIXTURE or others is not None:
            pool = real if others is None else np.concatenate([real, features(others)])
            distances[kind.name] = tuple(
                _measure_chosen(pool, len(real), halves, kind, s) for s in kind.strengths
            )
    floor = float(np.quantile(_compare(real, halves), LEVEL))
    return Ranking(floor, distances)


def _divide_often(owners: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng, num = np.random.default_rng(0), len(owners)
    for _ in range(NUM_DIVISIONS):
        yield divide(rng, np.arange(num), owners, (num - find_overhang(owners)) // 2)


def _measure_changed(real: np.ndarray, changed: np.ndarray, halves: Halves) -> float:
    """Return the mean distance where each image of the first half has been changed."""
    moved = [(len(real) + first, second) for first, second in halves]
    return float(np.mean(_compare(np.concatenate([real, changed]), moved)))


def _measure_chosen(
    pool: np.ndarray, num: int, halves: Halves, kind: Degradation, share: float
) -> float:
    """Return the mean distance where images of the first half are replaced by others.

    `pool` has the features of `num` images, and then of another class.
    """
    strangers = np.arange(num, len(pool))
    chosen = []
    for seed, (first, second) in enumerate(halves):
        if kind is DUPLICATES:
            indices = choose_duplicates(len(first), share, seed=seed)
        else:
            indices = choose_mixture(len(first), len(strangers), share, seed=seed)
        chosen.append((np.concatenate([first, strangers])[indices], second))
    return float(np.mean(_compare(pool, chosen)))


def _compare(pool: np.ndarray, halves: Halves) -> list[float]:
    compare = create_kernel_comparison(pool)
    return [compare(first, second)[METRIC] for first, second in halves]
