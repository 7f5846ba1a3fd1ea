"""The Frechet distance of two normal distributions fitted to features (Heusel et al. 2017).

Only in features of an Inception network is this called FID. With fewer images its bias grows. So
compare it only with its floor at the same n.
"""

from typing import Any

import numpy as np

from jaxgan.metrics.measure import Compare


def create_frechet_comparison(features: np.ndarray) -> Compare:
    """Return the Frechet distance between any two subsets x and y of features [n, d].

    It is |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)).
    """
    features = np.asarray(features, np.float64)

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        mean_a, root_a = _fit(features[a])
        mean_b, root_b = _fit(features[b])
        # The trace of (S_a S_b)^(1/2), with S = R^T R, is the sum of the singular values of
        # R_a R_b^T: no matrix root, and as exact with fewer images than features.
        overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
        spread = np.square(root_a).sum() + np.square(root_b).sum() - 2.0 * overlap
        return {"frechet_distance": float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))}

    return compare


def _fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [d] of x [n, d] and a root R [min(n, d), d] of its covariance R^T R."""
    mean = x.mean(axis=0)
    root: Any = np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r")
    return mean, root
