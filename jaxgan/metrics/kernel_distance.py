"""The kernel distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018).

In features of an Inception network this is called KID; in any other it is not.
"""

import numpy as np

from jaxgan.metrics.measure import Compare

METRIC = "kernel_distance"  # what its values are called; the best checkpoint is the lowest by it


def create_kernel_comparison(features: np.ndarray) -> Compare:
    """Return the squared distance between any two subsets, of 2 or more, of features [n, d].

    Unbiased at every size: near 0, and as often below, where both come from one distribution.
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
    """Return the mean over pairs of two different items: an item with itself would bias it."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
