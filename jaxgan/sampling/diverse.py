"""Choose different images among many: two rules that do not ask the discriminator.

Both look at the features of all candidates, in whatever space the caller gives. The space must be
fitted to training images alone: held-out images judge the chosen ones. Only candidates that the
generator draws can be chosen, so a mode that it never draws stays absent.

- `k_means` divides the candidates into as many clusters as images are wanted, and takes from each
  the candidate nearest to its center. These are typical images, and each cluster counts once,
  however many candidates are in it.
- `farthest_point` is the greedy k-center algorithm (Gonzalez 1985). It begins with the candidate in
  the middle, and each next one is the farthest from all those chosen. No candidate is then far from
  a chosen one. **It likes outliers**: an image that is unlike all others, such as a failed one, is
  among the first that it chooses.
"""

import numpy as np
import scipy  # cluster is loaded at its first use, and most launches never use it

from jaxgan.core.seeds import wrap_seed

_MOST_ROUNDS = 30  # of Lloyd's algorithm


def choose_diverse(rule: str, features: np.ndarray, num: int, *, seed: int = 0) -> np.ndarray:
    """Return the indices of at most `num` candidates that `k_means` or `farthest_point` keeps.

    `features` [n, d] are those of the candidates. All are kept if there are no more than `num`.
    The indices are in order of appearance. The same features and seed give the same choice;
    `farthest_point` needs no seed.
    """
    if num >= len(features):
        return np.arange(len(features))
    if num < 1:
        return np.arange(0)
    if rule == "farthest_point":
        return np.sort(choose_farthest(features, num))
    return np.sort(choose_by_clusters(features, num, seed=seed))


def choose_by_clusters(features: np.ndarray, num: int, *, seed: int = 0) -> np.ndarray:
    """Return the candidate nearest to the center of each of `num` clusters of features [n, d].

    Lloyd's algorithm begins with the centers of k-means++. If the candidates have fewer different
    features than `num`, the first others fill the rest.
    """
    labels, gaps = _find_clusters(features, num, seed)
    nearest_first = np.argsort(gaps, kind="stable")
    _, places = np.unique(labels[nearest_first], return_index=True)
    chosen = nearest_first[places]
    others = np.setdiff1d(np.arange(len(features)), chosen)
    return np.r_[chosen, others][:num]


def _find_clusters(features: np.ndarray, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster [n] of each candidate, and its distance [n] to the center.

    scikit-learn's own k-means adds in several threads in any order. Of candidates that are nearly
    equal, it would not always choose the same ones.
    """
    from sklearn.cluster import kmeans_plusplus  # at the top it costs each launch 1 s

    centers, _ = kmeans_plusplus(features, num, random_state=wrap_seed(seed))
    labels, gaps = scipy.cluster.vq.vq(features, centers)
    for _ in range(_MOST_ROUNDS):
        before, centers = labels, _average_clusters(features, labels, centers)
        labels, gaps = scipy.cluster.vq.vq(features, centers)
        if np.array_equal(labels, before):
            break
    return labels, gaps


def _average_clusters(features: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the mean [num, d] of each cluster; an empty one keeps its center."""
    order = np.argsort(labels, kind="stable")
    found, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    centers = centers.copy()
    centers[found] = np.add.reduceat(features[order], starts, axis=0) / counts[:, None]
    return centers


def choose_farthest(features: np.ndarray, num: int) -> np.ndarray:
    """Return `num` candidates, in the order of choice: each the farthest from those before it.

    The first is the medoid by squared distances, which is the candidate nearest to the mean of
    features [n, d]. Of equal candidates, the first in order of appearance is taken.
    """
    features = features - features.mean(axis=0)
    squares = np.sum(features**2, axis=1)
    chosen, nearest = [int(np.argmin(squares))], np.full(len(features), np.inf)
    for _ in range(num - 1):
        last = features[chosen[-1]]
        nearest = np.minimum(nearest, squares - 2.0 * (features @ last) + last @ last)
        nearest[chosen] = -np.inf  # where all others are equal to a chosen one, too
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)
