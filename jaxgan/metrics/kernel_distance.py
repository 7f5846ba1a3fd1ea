"""The kernel distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018).

Only in features of an Inception network is this called KID.
"""

from typing import NamedTuple

import numpy as np

from jaxgan.metrics.measure import Compare

METRIC = "kernel_distance"  # the name of its values; the best checkpoint has the lowest one


def create_kernel_comparison(features: np.ndarray) -> Compare:
    """Return the squared distance between any two subsets, of 2 or more, of features [n, d].

    It is unbiased at every size: for two sets of one distribution it is near 0, as often below.
    """
    kernel = compute_cubic_kernel(features)

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        within = _average_pairs(kernel[np.ix_(a, a)]) + _average_pairs(kernel[np.ix_(b, b)])
        return {METRIC: float(within - 2.0 * kernel[np.ix_(a, b)].mean())}

    return compare


class SubsetDistance(NamedTuple):
    """The mean of kernel distances between subsets, their standard deviation, and their size."""

    mean: float
    deviation: float
    subset_size: int


def compute_subset_distance(
    x: np.ndarray, y: np.ndarray, *, num: int = 100, subset_size: int = 1000, seed: int = 2020
) -> SubsetDistance:
    """Return the mean distance between `num` random subsets of features [n, d] and of [m, d].

    Binkowski et al. 2018, with the subsets that torch-fidelity draws. Where n or m is below
    `subset_size`, a subset has as many features as the smaller set.
    """
    size = min(subset_size, len(x), len(y))
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(1 if size == len(x) == len(y) else num):  # whole sets are always the same
        parts = [z[rng.choice(len(z), size, replace=False)] for z in (x, y)]
        compare = create_kernel_comparison(np.concatenate(parts))
        values.append(compare(*np.arange(2 * size).reshape(2, size))[METRIC])
    return SubsetDistance(float(np.mean(values)), float(np.std(values)), size)


def compute_cubic_kernel(features: np.ndarray) -> np.ndarray:
    """Return (x.y / d + 1)^3 of every two of the features [n, d], as [n, n]."""
    features = np.asarray(features, np.float64)
    return (features @ features.T / features.shape[1] + 1.0) ** 3


def _average_pairs(kernel: np.ndarray) -> float:
    """Return the mean over pairs of different items: a pair of an item with itself adds bias."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
