"""The kernel distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018).

Only in features of an Inception network is this called KID.
"""

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


def compute_cubic_kernel(features: np.ndarray) -> np.ndarray:
    """Return (x.y / d + 1)^3 of every two of the features [n, d], as [n, n]."""
    features = np.asarray(features, np.float64)
    return (features @ features.T / features.shape[1] + 1.0) ** 3


def _average_pairs(kernel: np.ndarray) -> float:
    """Return the mean over pairs of different items: a pair of an item with itself adds bias."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
