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
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from jaxgan.metrics.measure import LEVEL, check_features, compute_interval, draw_half

ALPHA = 0.005  # of each rule
_TINY = 1e-12


@dataclass(frozen=True)
class Memorisation:
    """The value and its flag; `floor` is what 19 of 20 sets of real images stay below.

    For the floor, real images are dealt anew to training, held-out and "generated" ones.
    `p_value` is rule 1's, `num_copies` the number of images that rule 2 calls copies, `n` the
    number of generated images.
    """

    value: float
    interval: tuple[float, float]
    floor: float
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
    num_deals: int = 999,
    num_halves: int = 200,
    seed: int = 0,
) -> Memorisation:
    """Measure memorisation of features [n, d] of generated, training and held-out images."""
    rng = np.random.default_rng(seed)
    distances = compute_distances(generated, np.concatenate([train, held_out]))
    everyone = np.arange(len(generated))
    first, second = np.arange(len(train)), np.arange(len(train), len(train) + len(held_out))
    ratios = distances.compute_ratios(everyone, first, second)
    value = compare_ratios(*ratios)
    deals = np.empty(num_deals)
    for index in range(num_deals):
        order = rng.permutation(len(train) + len(held_out))
        deals[index] = distances.measure(everyone, order[: len(train)], order[len(train) :])
    spread = [
        distances.measure(*(draw_half(rng, items) for items in (everyone, first, second)))
        for _ in range(num_halves)
    ]
    floors = [distances.measure_real(rng, len(generated), len(held_out)) for _ in range(num_halves)]
    p_value = (1 + int((deals >= value).sum())) / (1 + num_deals)
    num_copies = int(find_copies(*ratios).sum())
    return Memorisation(
        value=value,
        interval=compute_interval(value, np.array(spread), limits=(-1.0, 1.0)),
        floor=float(np.quantile(floors, LEVEL)),
        n=len(generated),
        features=features,
        flag=p_value <= ALPHA or num_copies > 0,
        p_value=p_value,
        num_copies=num_copies,
        num_train=len(train),
        num_held_out=len(held_out),
    )


def compare_ratios(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Return how much oftener a generated ratio [n] is below a held-out one [m] than above it."""
    n, m = len(generated), len(held_out)
    ranks = rankdata(np.concatenate([generated, held_out]))
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
    generated: np.ndarray, real: np.ndarray, *, num: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the `num` pairs of least distance: generated index, real index, distance, each [num].

    Every generated item is in one pair at most: with its nearest real one.
    """
    distances = cdist(generated, real)
    nearest = distances.argmin(axis=1)
    gaps = distances[np.arange(len(generated)), nearest]
    order = np.argsort(gaps, kind="stable")[:num]
    return order, nearest[order], gaps[order]


def compute_distances(generated: np.ndarray, real: np.ndarray) -> "Distances":
    """Return the distances of features [n, d] and [m, d], from which subsets are measured."""
    check_features(generated, real)
    return Distances(cdist(generated, real), cdist(real, real))


@dataclass(frozen=True)
class Distances:
    """Distances from generated to real items [n, m] and among the real ones [m, m]."""

    generated: np.ndarray
    real: np.ndarray

    def compute_ratios(
        self, generated: np.ndarray, train: np.ndarray, held_out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the closeness ratios of the generated and of the held-out items."""
        ours = self.generated[generated]
        others = self.real[np.ix_(held_out, held_out)].copy()
        np.fill_diagonal(others, np.inf)
        controls = _divide(self.real[np.ix_(held_out, train)].min(axis=1), others.min(axis=1))
        return _divide(ours[:, train].min(axis=1), _leave_one_out(ours[:, held_out])), controls

    def measure(self, generated: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
        """Return the value for these items."""
        return compare_ratios(*self.compute_ratios(generated, train, held_out))

    def measure_real(self, rng: np.random.Generator, num: int, num_held_out: int) -> float:
        """Return the value for real items in all three parts, none in two."""
        size = min(num, num_held_out, len(self.real) // 3)
        order = rng.permutation(len(self.real))
        mine, held_out, train = np.split(order, [size, 2 * size])
        return Distances(self.real[mine], self.real).measure(np.arange(size), train, held_out)


def _leave_one_out(distances: np.ndarray) -> np.ndarray:
    """Return the (geometric) mean of the nearest of [n, m] with each of the m left out in turn.

    A held-out image is compared with all held-out ones but itself: so is a generated one.
    """
    nearest = np.log(np.maximum(np.partition(distances, 1, axis=1)[:, :2], _TINY))
    num = distances.shape[1]
    return np.exp(((num - 1) * nearest[:, 0] + nearest[:, 1]) / num)


def _divide(to_train: np.ndarray, to_held_out: np.ndarray) -> np.ndarray:
    return np.maximum(to_train, _TINY) / np.maximum(to_held_out, _TINY)
