"""The Frechet distance of two normal distributions fitted to features (Heusel et al. 2017).

Only in features of an Inception network is this called FID. With fewer images its bias grows. So
compare it only with its floor at the same n.
"""

from typing import Any

import numpy as np

from jaxgan.metrics.measure import Compare


def create_frechet_comparison(features: np.ndarray) -> Compare:
    """Return the Frechet distance between any two subsets of features [n, d]."""
    features = np.asarray(features, np.float64)

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"frechet_distance": compute_frechet_distance(features[a], features[b])}

    return compare


def compute_frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance of features [n, d] and [m, d], all in float64.

    It is |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)), with the unbiased covariances S, of two
    or more features each. Nothing is added to them.
    """
    mean_x, root_x = _fit(np.asarray(x, np.float64))
    mean_y, root_y = _fit(np.asarray(y, np.float64))
    # The trace of (S_x S_y)^(1/2), with S = R^T R, is the sum of the singular values of
    # R_x R_y^T: no matrix root, and as exact with fewer images than features.
    overlap = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    spread = np.square(root_x).sum() + np.square(root_y).sum() - 2.0 * overlap
    return float(np.square(mean_x - mean_y).sum() + max(spread, 0.0))


def _fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [d] of x [n, d] and a root R [min(n, d), d] of its covariance R^T R."""
    mean = x.mean(axis=0)
    root: Any = np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r")
    return mean, root
