"""Choose different images among many: two rules that do not ask the discriminator.

Both look at the features of all candidates, in whatever space the caller gives. The space must be
fitted to training images alone: held-out images judge the chosen ones. Only candidates that the
generator draws can be chosen, so a mode that it never draws stays absent.

- `k_means` divides the candidates into as many clusters as images are wanted, and takes from each
  the candidate nearest to its centre. These are typical images, and each cluster counts once,
  however many candidates are in it.
- `farthest_point` is the greedy k-centre algorithm (Gonzalez 1985). It begins with the candidate in
  the middle, and each next one is the farthest from all those chosen. No candidate is then far from
  a chosen one. **It likes outliers**: an image that is unlike all others, such as a failed one, is
  among the first that it chooses.
"""

import warnings

import numpy as np

from jaxgan.core.seeds import wrap_seed


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
    """Return the candidate nearest to the centre of each of `num` clusters of features [n, d].

    If the candidates have fewer different features than `num`, the first others fill the rest.
    """
    from sklearn.cluster import KMeans  # at the top it costs each launch 1 s
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(num, n_init=1, random_state=wrap_seed(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer clusters, see above
        labels = model.fit_predict(features)
    gaps = np.linalg.norm(features - model.cluster_centers_[labels], axis=1)
    nearest_first = np.argsort(gaps, kind="stable")
    _, places = np.unique(labels[nearest_first], return_index=True)
    chosen = nearest_first[places]
    others = np.setdiff1d(np.arange(len(features)), chosen)
    return np.r_[chosen, others][:num]


def choose_farthest(features: np.ndarray, num: int) -> np.ndarray:
    """Return `num` candidates, in the order of choice: each the farthest from those before it.

    The first is the medoid by squared distances, which is the candidate nearest to the mean of
    features [n, d]. Of equal candidates, the first in order of appearance is taken.
    """
    gaps = _measure_from(features, features.mean(axis=0))
    chosen = [int(np.argmin(gaps))]
    nearest = np.full(len(features), np.inf)
    for _ in range(num - 1):
        nearest = np.minimum(nearest, _measure_from(features, features[chosen[-1]]))
        nearest[chosen] = -1.0  # where all others are equal to a chosen one, too
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen)


def _measure_from(features: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(features - point, axis=1))
