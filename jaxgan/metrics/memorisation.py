"""Are generated images nearer to the training images than new real ones would be?

Every image has a *closeness ratio*: its distance to the nearest training image over its distance
to the nearest held-out image. Dividing takes out what has nothing to do with copying: a smooth
image is near to everything. A held-out image has such a ratio too (leaving itself out), and that
is the control: a generator that has copied nothing gives ratios like those of held-out images.

The **value** is the chance that a generated image has a smaller ratio than a held-out one, less the
chance that it has a larger one: 0 beyond chance, 1 where every one is nearer to the training set.

The **flag** is up where one of two rules says so, each wrong in at most about 1 of 200 runs:

1. *The whole set.* Were training and held-out images all the same to the generator, who is called
   which could be dealt anew. The value is computed for 999 such deals; the rule holds when fewer
   than 1 in 200 reach the value found. Exact at any number of images and for any generator, a
   collapsed one included, but it must see many different images copied.
2. *Single copies.* An image is called a copy where its ratio is smaller than new images' ever
   would be: the lower half of the held-out ratios is taken to fall off like a power (distances in
   any number of dimensions do), the power is fitted to it (Hill 1975), its uncertainty included,
   and the chance of a ratio so small times the number of generated images is below 1 in 200.

Both take for granted that training and held-out images are alike but for chance: other hospitals
or other patients' ages in one of them break them.

**Patients.** Where it is known whose each real image is, an image is compared with those of other
patients, and whole patients are dealt. Films of one patient are nearly copies of one another: a
held-out image with its like among the held-out ones would be no control of a new one.
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
    deal,
    draw_half,
    find_edges,
    find_overhang,
    number_groups,
)

ALPHA = 0.005  # of each rule
MAX_SHIFT = 1 / 8  # of the side, either way: DiffAugment's, which a generator can come to draw
_TINY = 1e-12
_FLAT = 0.01  # of a range of 2: what varies less, such as a black image, has no pattern to compare
_BLOCK = 32  # images of which all places are compared at once
_MOST_ROWS = 1000  # items whose distances to all others are in memory at once

# Distances [n, m] of items [n, ...] from others [m, ...].
ComputeDistances = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Memorisation:
    """The value and its flag; `floor` is what 19 of 20 sets of real images stay below.

    For the floor, real images are dealt anew to training, held-out and "generated" ones, of the
    latter two `floor_n` each: the real images must do for all three, so that it can be below `n`.
    `p_value` is rule 1's, `num_copies` the number of images that rule 2 calls copies, `n` the
    number of generated images.
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
    num_deals: int = 999,
    num_halves: int = 200,
    seed: int = 0,
) -> Memorisation:
    """Measure memorisation of features [n, d] of generated, training and held-out images.

    `groups` tells the patient of each training and then of each held-out image; without, each is
    its own. `distance_fn` is what is between two images.
    """
    rng = np.random.default_rng(seed)
    real = np.concatenate([train, held_out])
    distances = compute_distances(generated, real, groups=groups, distance_fn=distance_fn)
    everyone = np.arange(len(generated))
    first, second = np.arange(len(train)), np.arange(len(train), len(real))
    ratios = distances.compute_ratios(everyone, first, second)
    value = compare_ratios(*ratios)
    deals = np.array(
        [
            distances.measure(everyone, *deal_sides(rng, distances.groups, len(train)))
            for _ in range(num_deals)
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
    p_value = (1 + int((deals >= value).sum())) / (1 + num_deals)
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


def deal_sides(
    rng: np.random.Generator, groups: np.ndarray, num_train: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deal items [n] to training and held-out ones, whole groups, the first as near to `num_train`.

    Raises `ValueError` where all are of one group.
    """
    order = deal(rng, groups)
    edges = find_edges(groups[order])
    if not len(edges):
        raise ValueError("found real images of one patient alone, expected two patients or more")
    edge = edges[np.abs(edges - num_train).argmin()]
    return order[:edge], order[edge:]


def compare_ratios(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Return how much oftener a generated ratio [n] is below a held-out one [m] than above it."""
    n, m = len(generated), len(held_out)
    ranks = scipy.stats.rankdata(np.concatenate([generated, held_out]))
    above = ranks[:n].sum() - n * (n + 1) / 2  # pairs with the generated one above, ties half
    return float(1.0 - 2.0 * above / (n * m))


def find_copies(generated: np.ndarray, held_out: np.ndarray, *, alpha: float = ALPHA) -> np.ndarray:
    """Return which generated ratios [n] are too small for chance, given held-out ones [m].

    With the k smallest of m control ratios below r, and s their mean log distance below it, the
    chance that a new ratio is below x is k/m (1 + log(r/x) / (k s))^-k: an exponential variable
    over the mean of k others of its kind.
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
    """Return the `num` pairs of least distance: generated index, real index, distance, each [num].

    Every generated item is in one pair at most: with its nearest real one.
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
    """Return the distances [n, m] of gray images [n, side, side] from others, where they fit best.

    A copy that is moved a little, brighter or of more contrast is a copy. So the middle of each of
    the others is laid on each place of an image that is up to `MAX_SHIFT` away; both are brought to
    mean 0 and deviation 1; and the root mean square of their difference is taken, the least of all
    places: 0 for a copy, 1.41 where nothing is in common.
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
    """Return the distances of features [n, d] and [m, d], from which subsets are measured."""
    between, within = distance_fn(generated, real), distance_fn(real, real)
    owners = number_groups(groups, len(real))
    # Farthest, not infinite: a set all of one group, itself included, still has its numbers.
    within[owners[:, None] == owners] = within.max()
    return Distances(between, within, owners)


@dataclass(frozen=True)
class Distances:
    """Distances from generated to real items [n, m] and among the real ones [m, m].

    `groups` [m] numbers the real items' patients. Those of one patient, and an item and itself,
    count as farthest from one another.
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
        """Return how many items, at most `num`, two parts can have that leave a third as many."""
        return min(num, num_held_out, (len(self.real) - 2 * find_overhang(self.groups)) // 3)

    def measure_real(self, rng: np.random.Generator, size: int) -> float:
        """Return the value for real items in all three parts, `size` in two, no group in two."""
        order = deal(rng, self.groups)
        edges = find_edges(self.groups[order])
        start = edges[np.searchsorted(edges, size)]
        end = edges[np.searchsorted(edges, start + size)]
        mine, held_out, train = order[:size], order[start : start + size], order[end:]
        as_generated = Distances(self.real[mine], self.real, self.groups)
        return as_generated.measure(np.arange(size), train, held_out)


def _leave_one_out(distances: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the (geometric) mean of the nearest of [n, m] with each of the m left out in turn.

    A held-out image is compared with all held-out ones but its own group's [m]: so is a generated
    one.
    """
    same = groups[distances.argmin(axis=1)][:, None] == groups
    first = np.log(np.maximum(distances.min(axis=1), _TINY))
    elsewhere = np.where(same, distances.max(), distances)
    second = np.log(np.maximum(elsewhere.min(axis=1), _TINY))
    num, num_out = distances.shape[1], same.sum(axis=1)
    return np.exp(((num - num_out) * first + num_out * second) / num)


def _divide(to_train: np.ndarray, to_held_out: np.ndarray) -> np.ndarray:
    return np.maximum(to_train, _TINY) / np.maximum(to_held_out, _TINY)
