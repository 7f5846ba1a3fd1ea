"""Are generated images nearer to the training images than new real ones would be?

Every image has a *closeness ratio*: its distance to the nearest training image, divided by its
distance to the nearest held-out image. The division removes what has nothing to do with copying: a
smooth image is near to everything. A held-out image has such a ratio too (without itself). That is
the control: a generator that has copied nothing gives ratios like those of held-out images.

The **value** is the chance that a generated image has a smaller ratio than a held-out image, minus
the chance that it has a larger one. 0: no more than chance. 1: every image is nearer to the
training set.

The **flag** is set where one of two rules holds. Each is wrong in at most about 1 of 200 runs:

1. *The whole set.* If the generator has copied nothing, the labels "training" and "held-out" can be
   permuted. The value is computed for 999 such permutations. The rule holds when fewer than 1 in
   200 reach the value found. It is exact at any number of images and for any generator, also a
   collapsed one. But it needs many different copied images.
2. *Single copies.* An image is called a copy where its ratio is too small for a new image. The
   lower half of the held-out ratios is assumed to follow a power law, as distances in any number of
   dimensions do. The power is fitted (Hill 1975), with its uncertainty. The rule holds when the
   chance of such a small ratio, times the number of generated images, is below 1 in 200.

Both rules assume that training and held-out images differ by chance alone. If they come from other
hospitals, or from patients of other ages, the rules fail.

**Patients.** Where patients are known, an image is compared with images of other patients, and the
permutations keep each patient's images together. Films of one patient are nearly copies of each
other. So a held-out image next to another of its patient is no control for a new image.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy  # stats is loaded where it is used: half a second
from numpy.lib.stride_tricks import sliding_window_view

from jaxgan.metrics.measure import (
    LEVEL,
    Groups,
    compute_interval,
    draw_half,
    find_edges,
    find_overhang,
    number_groups,
    shuffle_groups,
)

ALPHA = 0.005  # of each rule
MAX_SHIFT = 1 / 8  # of the side, either way: the shift of DiffAugment, which can leak
_TINY = 1e-12
_FLAT = 0.01  # of a range of 2: an image that varies less (a black one) has no pattern to compare
_BLOCK = 32  # images with all shifts compared at once
_MOST_ROWS = 1000  # items with their distances to all others in memory at once

# Distances [n, m] of items [n, ...] from others [m, ...].
ComputeDistances = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Memorisation:
    """The value and its flag; `floor` is what 19 of 20 sets of real images stay below.

    For the floor, real images are divided at random into training, held-out and "generated" images,
    with `floor_n` of each of the last two. The real images must be enough for all three parts, so
    `floor_n` can be below `n`, the number of generated images. `p_value` is of rule 1. `num_copies`
    is the number of images that rule 2 calls copies.
    """

    value: float
    interval: tuple[float, float]
    floor: float
    floor_n: int
    n: int
    features: str
    flag: bool
    p_value: float
    num_copies: int
    num_train: int
    num_held_out: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as strict JSON can hold them."""
        return asdict(self) | {"interval": list(self.interval)}


def measure_memorisation(
    generated: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    *,
    features: str,
    distance_fn: ComputeDistances,
    groups: Groups | None = None,
    num_permutations: int = 999,
    num_halves: int = 200,
    seed: int = 0,
) -> Memorisation:
    """Measure memorisation of features [n, d] of generated, training and held-out images.

    `groups` names the patient of each training and then of each held-out image. Without `groups`,
    each image is its own patient. `distance_fn` gives the distances between images.
    """
    rng = np.random.default_rng(seed)
    real = np.concatenate([train, held_out])
    distances = compute_distances(generated, real, groups=groups, distance_fn=distance_fn)
    everyone = np.arange(len(generated))
    first, second = np.arange(len(train)), np.arange(len(train), len(real))
    ratios = distances.compute_ratios(everyone, first, second)
    value = compare_ratios(*ratios)
    permuted = np.array(
        [
            distances.measure(everyone, *split_sides(rng, distances.groups, len(train)))
            for _ in range(num_permutations)
        ]
    )
    spread = [
        distances.measure(
            draw_half(rng, everyone),
            *(draw_half(rng, items, distances.groups[items]) for items in (first, second)),
        )
        for _ in range(num_halves)
    ]
    floor_n = distances.choose_floor_size(len(generated), len(held_out))
    floors = [distances.measure_real(rng, floor_n) for _ in range(num_halves)]
    p_value = (1 + int((permuted >= value).sum())) / (1 + num_permutations)
    num_copies = int(find_copies(*ratios).sum())
    return Memorisation(
        value=value,
        interval=compute_interval(value, np.array(spread), limits=(-1.0, 1.0)),
        floor=float(np.quantile(floors, LEVEL)),
        floor_n=floor_n,
        n=len(generated),
        features=features,
        flag=p_value <= ALPHA or num_copies > 0,
        p_value=p_value,
        num_copies=num_copies,
        num_train=len(train),
        num_held_out=len(held_out),
    )


def split_sides(
    rng: np.random.Generator, groups: np.ndarray, num_train: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide items [n] at random, by group, into about `num_train` training ones and the rest.

    Raises `ValueError` where all are of one group.
    """
    order = shuffle_groups(rng, groups)
    edges = find_edges(groups[order])
    if not len(edges):
        raise ValueError("found real images of one patient only, expected two patients or more")
    edge = edges[np.abs(edges - num_train).argmin()]
    return order[:edge], order[edge:]


def compare_ratios(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Return how much more often a generated ratio [n] is below a held-out one [m] than above."""
    n, m = len(generated), len(held_out)
    ranks = scipy.stats.rankdata(np.concatenate([generated, held_out]))
    above = ranks[:n].sum() - n * (n + 1) / 2  # pairs with the generated one above, ties half
    return float(1.0 - 2.0 * above / (n * m))


def find_copies(generated: np.ndarray, held_out: np.ndarray, *, alpha: float = ALPHA) -> np.ndarray:
    """Return which generated ratios [n] are too small for chance, given held-out ones [m].

    With the k smallest of m control ratios below r, and s their mean log distance below it, the
    chance that a new ratio is below x is k/m (1 + log(r/x) / (k s))^-k: an exponential variable
    over the mean of k others.
    """
    control = np.sort(held_out)
    k = len(control) // 2
    edge = control[k]
    logs = np.log(edge / np.maximum(control[:k], _TINY))
    depth = np.log(edge / np.maximum(generated, _TINY)) / max(float(logs.mean()), _TINY)
    chance = np.where(depth > 0, k / len(control) * (1 + np.maximum(depth, 0) / k) ** -k, 1.0)
    return chance * len(generated) < alpha


def find_nearest(
    generated: np.ndarray,
    real: np.ndarray,
    *,
    num: int,
    distance_fn: ComputeDistances,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the `num` nearest pairs: generated index, real index, distance, each [num].

    Every generated item is in at most one pair: with its nearest real item.
    """
    nearest, gaps = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for begin in range(0, len(generated), _MOST_ROWS):
        distances = distance_fn(generated[begin : begin + _MOST_ROWS], real)
        nearest.append(distances.argmin(axis=1))
        gaps.append(distances.min(axis=1))
    all_nearest, all_gaps = np.concatenate(nearest), np.concatenate(gaps)
    order = np.argsort(all_gaps, kind="stable")[:num]
    return order, all_nearest[order], all_gaps[order]


def compute_aligned_distances(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distances [n, m] of gray images [n, side, side] from others, at the best shift.

    A copy that is shifted a little, brighter or of more contrast is still a copy. So the middle of
    each other image is compared at every shift up to `MAX_SHIFT`. Both parts are scaled to mean 0
    and standard deviation 1. The distance is the smallest root mean square difference over all
    shifts: 0 for a copy, 1.41 where nothing is in common.
    """
    reach = int(images.shape[1] * MAX_SHIFT)
    window = images.shape[1] - 2 * reach
    middle = _standardise(others[:, reach : reach + window, reach : reach + window])
    distances = np.empty((len(images), len(others)), np.float32)
    for begin in range(0, len(images), _BLOCK):
        block = images[begin : begin + _BLOCK]
        places = sliding_window_view(block, (window, window), axis=(1, 2))
        parts = _standardise(places.reshape(-1, window, window))
        squared = (parts**2).sum(axis=1)[:, None] - 2.0 * (parts @ middle.T)
        least = squared.reshape(len(block), -1, len(others)).min(axis=1)
        distances[begin : begin + _BLOCK] = least
    return np.sqrt(np.maximum(distances + (middle**2).sum(axis=1), 0.0))


def _standardise(images: np.ndarray) -> np.ndarray:
    """Return images [n, h, w] as vectors [n, h * w] of mean 0 and length 1, flat ones shorter."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    deviation = np.maximum(flat.std(axis=1, keepdims=True), _FLAT)
    return flat / (deviation * np.float32(flat.shape[1] ** 0.5))


def compute_distances(
    generated: np.ndarray,
    real: np.ndarray,
    *,
    distance_fn: ComputeDistances,
    groups: Groups | None = None,
) -> "Distances":
    """Return the distances of features [n, d] and [m, d], for measures of subsets."""
    between, within = distance_fn(generated, real), distance_fn(real, real)
    owners = number_groups(groups, len(real))
    # Farthest, not infinite: a set of a single group still has finite numbers.
    within[owners[:, None] == owners] = within.max()
    return Distances(between, within, owners)


@dataclass(frozen=True)
class Distances:
    """Distances from generated to real items [n, m] and among the real ones [m, m].

    `groups` [m] are the patient numbers of the real items. Items of one patient, and an item and
    itself, count as farthest from each other.
    """

    generated: np.ndarray
    real: np.ndarray
    groups: np.ndarray

    def compute_ratios(
        self, generated: np.ndarray, train: np.ndarray, held_out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the closeness ratios of the generated and of the held-out items."""
        ours, others = self.generated[generated], self.real[held_out]
        to_held_out = _leave_one_out(ours[:, held_out], self.groups[held_out])
        return (
            _divide(ours[:, train].min(axis=1), to_held_out),
            _divide(others[:, train].min(axis=1), others[:, held_out].min(axis=1)),
        )

    def measure(self, generated: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
        """Return the value for these items."""
        return compare_ratios(*self.compute_ratios(generated, train, held_out))

    def choose_floor_size(self, num: int, num_held_out: int) -> int:
        """Return how many items, at most `num`, each of three real parts can have."""
        return min(num, num_held_out, (len(self.real) - 2 * find_overhang(self.groups)) // 3)

    def measure_real(self, rng: np.random.Generator, size: int) -> float:
        """Return the value for real items in all three parts: `size` in two, each group in one."""
        order = shuffle_groups(rng, self.groups)
        edges = find_edges(self.groups[order])
        start = edges[np.searchsorted(edges, size)]
        end = edges[np.searchsorted(edges, start + size)]
        mine, held_out, train = order[:size], order[start : start + size], order[end:]
        as_generated = Distances(self.real[mine], self.real, self.groups)
        return as_generated.measure(np.arange(size), train, held_out)


def _leave_one_out(distances: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the geometric mean of the nearest of [n, m], leaving out each of the m in turn.

    A held-out image is compared with all held-out images except those of its group [m]. So a
    generated image is treated in the same way.
    """
    same = groups[distances.argmin(axis=1)][:, None] == groups
    first = np.log(np.maximum(distances.min(axis=1), _TINY))
    elsewhere = np.where(same, distances.max(), distances)
    second = np.log(np.maximum(elsewhere.min(axis=1), _TINY))
    num, num_out = distances.shape[1], same.sum(axis=1)
    return np.exp(((num - num_out) * first + num_out * second) / num)


def _divide(to_train: np.ndarray, to_held_out: np.ndarray) -> np.ndarray:
    return np.maximum(to_train, _TINY) / np.maximum(to_held_out, _TINY)
