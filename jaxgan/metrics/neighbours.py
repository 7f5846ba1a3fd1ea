"""Precision, recall, density and coverage: comparisons with the k-th nearest neighbours.

Precision and recall after Kynkaanniemi et al. 2019, density and coverage after Naeem et al. 2020.
"""

import numpy as np
import scipy  # spatial is loaded where it is used

from jaxgan.metrics.measure import Compare

NUM_NEIGHBOURS = 5


def create_neighbour_comparison(features: np.ndarray, *, k: int = NUM_NEIGHBOURS) -> Compare:
    """Return the four scores of one subset of features [n, d] (generated) against another (real).

    Each item has a ball. Its radius is the distance to the k-th nearest neighbour in its own set.
    precision: the share of generated items inside the ball of some real one.
    recall: the share of real items inside the ball of some generated one.
    density: the mean number of real balls around a generated item, over k; above 1 where crowded.
    coverage: the share of real items with a generated item inside their ball.
    """
    distances = scipy.spatial.distance.cdist(features, features)

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        if min(len(a), len(b)) <= k:
            raise ValueError(
                f"k is {k}, expected less than the number of items ({len(a)} and {len(b)})"
            )
        between = distances[np.ix_(a, b)]
        inside_real = between < _compute_reach(distances[np.ix_(b, b)], k)
        inside_generated = between < _compute_reach(distances[np.ix_(a, a)], k)[:, None]
        return {
            "precision": float(inside_real.any(axis=1).mean()),
            "recall": float(inside_generated.any(axis=0).mean()),
            "density": float(inside_real.sum(axis=1).mean() / k),
            "coverage": float(inside_real.any(axis=0).mean()),
        }

    return compare


def _compute_reach(distances: np.ndarray, k: int) -> np.ndarray:
    """Return each item's distance to its k-th neighbour [n]; the item itself does not count."""
    return np.partition(distances, k, axis=1)[:, k]
