"""One number that compares generated with real images: its interval, its floor, its n.

**The same n.** Nearly every such number depends on the number of images. So the value compares n
generated with n real images. Where there are more, it is the mean over random choices of n. The
floor compares n real images with n *other* real images.

**The floor** is the limit that 19 of 20 random divisions of the real images stay within (below it
for a distance, above it for a score). A value beyond it differs from real images by more than
chance.

**The interval** comes from random halves of each set, drawn *without* replacement. It is the spread
of the value over these halves, centred at the value. A plain bootstrap draws the same image twice,
but no generator does that. A copy is its own nearest neighbour at distance 0: balls around
neighbours collapse and kernel averages rise. A half has no copies. The mean of a random half
deviates from the full mean as much as the full mean deviates from the truth. So the spread needs
no correction. The interval is a 95 % interval for other images of the same two sources *at this n*.
So compare a number that is biased at small n with its floor. Where the sources do not differ, the
interval is too wide (about 1.7 times, for a kernel distance). It does not say how much one training
differs from the next.

**Patients.** Films of one patient are similar, and the splits of a data set share no patient. So
where patients are known, divisions and halves are drawn by patient. Otherwise films of one patient
would be on both sides of a division. The floor would then be lower than new patients ever reach.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit  # not scipy.stats: half a second of every launch

LEVEL = 0.95
MIN_IMAGES = 20
_NUM_CHOICES = 4
HIGHER_IS_BETTER = frozenset({"precision", "recall", "density", "coverage", "diversity"})

_LIMITS = {
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "coverage": (0.0, 1.0),
    "density": (0.0, np.inf),
    "frechet_distance": (0.0, np.inf),
    "sliced_wasserstein": (0.0, np.inf),
    "diversity": (0.0, 1.0),
}

Groups = Sequence[str] | np.ndarray  # the patient of each item: one label per item

# Maps two sets of indices to values by name; the first set is the one to evaluate.
Compare = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]


@dataclass(frozen=True)
class Measure:
    """A value at `n` images per side, its 95 % interval, and what real images reach at that n.

    `floor` is the worst value of 19 of 20 divisions of real images, `floor_median` the median. Both
    are None where there are no data for them.
    """

    value: float
    interval: tuple[float, float] | None
    floor: float | None
    n: int
    features: str
    floor_median: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as strict JSON."""
        fields = asdict(self)
        return fields | {"interval": None if self.interval is None else list(self.interval)}


def measure(
    compare: Compare,
    *,
    generated: np.ndarray,
    real: np.ndarray,
    others: np.ndarray | None = None,
    groups: Groups | None = None,
    features: str,
    num_draws: int = 20,
    num_halves: int = 100,
    num_floors: int = 200,
    seed: int = 0,
) -> dict[str, Measure]:
    """Return every value that `compare` gives, as a `Measure`.

    `generated` and `real` are the indices of the items to compare; `others` are further real ones,
    for the floor alone. n is the largest number for which there are n generated, n real and
    n other real items. `groups` names the patient of each of `real` and then of `others`. The
    other n are then always of other patients. Without `groups`, each item is its own patient.
    """
    rng = np.random.default_rng(seed)
    pool = real if others is None else np.concatenate([real, others])
    owners = number_groups(groups, len(pool))
    # The last patient of one side can exceed its end by all of his items except one.
    n = min(len(generated), len(real), (len(pool) - find_overhang(owners)) // 2)
    if n < 2:
        raise ValueError(
            f"found {len(generated)} generated and {len(pool)} real items of "
            f"{len(np.unique(owners))} groups, expected at least 2 generated and 4 real ones"
        )
    values = _average(compare(*_draw(rng, generated, real, n)) for _ in range(num_draws))
    of_real = owners[: len(real)]
    halves = (_compare_halves(compare, rng, generated, real, of_real) for _ in range(num_halves))
    floors = (compare(*divide(rng, pool, owners, n)) for _ in range(num_floors))
    spreads, floor_values = _collect(halves), _collect(floors)
    return {
        name: Measure(
            value=value,
            interval=compute_interval(value, spreads[name], limits=_LIMITS.get(name)),
            floor=_compute_floor(floor_values[name], higher_is_better=name in HIGHER_IS_BETTER),
            n=n,
            features=features,
            floor_median=float(np.median(floor_values[name])),
        )
        for name, value in values.items()
    }


def compute_interval(
    value: float, spread: np.ndarray, *, limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return `value` plus and minus 1.96 standard deviations of `spread` [num], values on halves.

    The deviation is from the mean of the halves: a value on half as many images may have another
    bias. `limits` are the least and the greatest possible value.
    """
    reach = float(ndtri((1 + LEVEL) / 2)) * float(spread.std(ddof=1))
    least, most = limits or (-np.inf, np.inf)
    return float(max(value - reach, least)), float(min(value + reach, most))


def compute_seed_interval(values: Sequence[float]) -> list[float] | None:
    """Return the 95 % interval of the mean over trainings (Student's t), None for one training."""
    if len(values) < 2:
        return None
    reach = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2))
    reach *= float(np.std(values, ddof=1)) / len(values) ** 0.5
    return [float(np.mean(values)) - reach, float(np.mean(values)) + reach]


def summarise_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean over trainings, its interval and the `values`, as JSON."""
    interval = compute_seed_interval(values)
    return {"value": float(np.mean(values)), "interval": interval, "values": list(values)}


def get_floor_n(measured: Mapping[str, Any]) -> int:
    """Return the number of images of the floor of a measure, given as JSON."""
    return int(measured.get("floor_n", measured["n"]))


def number_groups(groups: Groups | None, num: int) -> np.ndarray:
    """Return each item's group as a number from 0 [num]; without `groups`, each has its own."""
    if groups is None:
        return np.arange(num)
    if len(groups) != num:
        raise ValueError(f"found {len(groups)} group labels for {num} items, expected one per item")
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def find_overhang(groups: np.ndarray) -> int:
    """Return how many items the largest of the numbered `groups` [n] has beyond one."""
    return int(np.bincount(groups).max(initial=1)) - 1


def shuffle_groups(rng: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    """Return the items [n] in a random order that keeps the items of a group together.

    All items are permuted. Each group then takes the place of its first item. So large groups do
    not come earlier than small ones. Where each item is its own group, this is a plain permutation.
    """
    place = np.argsort(rng.permutation(len(groups)))
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return np.lexsort((place, place[first][group]))


def find_edges(ordered: np.ndarray) -> np.ndarray:
    """Return where each new group begins in `ordered` [n], the groups after `shuffle_groups`."""
    return np.flatnonzero(np.diff(ordered)) + 1


def draw_half(
    rng: np.random.Generator, items: np.ndarray, groups: np.ndarray | None = None
) -> np.ndarray:
    """Draw half of `items` [n] without replacement; an odd number is rounded up or down at random.

    All items of a group [n] are drawn, except of the last group: only the number still missing.
    """
    size = len(items) // 2 + (int(rng.integers(2)) if len(items) % 2 else 0)
    order = shuffle_groups(rng, number_groups(groups, len(items)))
    return items[order[: max(size, 2)]]


def _compare_halves(
    compare: Compare,
    rng: np.random.Generator,
    generated: np.ndarray,
    real: np.ndarray,
    groups: np.ndarray,
) -> dict[str, float]:
    """Compare a random half of each set, with the same number of both.

    Where one half is larger, several choices from it are averaged: the choice itself is no part
    of the uncertainty.
    """
    halves = draw_half(rng, generated), draw_half(rng, real, groups)
    n = min(map(len, halves))
    if len(halves[0]) == len(halves[1]):
        return dict(compare(*halves))
    return _average(compare(*_draw(rng, *halves, n)) for _ in range(_NUM_CHOICES))


def _draw(
    rng: np.random.Generator, generated: np.ndarray, real: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    return rng.permutation(generated)[:n], rng.permutation(real)[:n]


def divide(
    rng: np.random.Generator, pool: np.ndarray, groups: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw n items of `pool` and n others; no group [len(pool)] is on both sides."""
    order = shuffle_groups(rng, groups)
    edges = find_edges(groups[order])
    start = edges[np.searchsorted(edges, n)]  # the items of the last group beyond n are left out
    return pool[order[:n]], pool[order[start : start + n]]


def _collect(results: Iterable[Mapping[str, float]]) -> dict[str, np.ndarray]:
    found = list(results)
    return {name: np.array([result[name] for result in found]) for name in found[0]}


def _average(results: Iterable[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in _collect(results).items()}


def _compute_floor(values: np.ndarray, *, higher_is_better: bool) -> float:
    return float(np.quantile(values, 1 - LEVEL if higher_is_better else LEVEL))
