"""The curves of one class against the rest: receiver operating characteristic, precision-recall."""

import numpy as np


def compute_roc(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false and the true positive rates, from (0, 0) to (1, 1).

    `scores` [num] are those of the class, `positive` bool [num] needs one of each value. There is
    one point per threshold.
    """
    hits, misses = _count_above(scores, positive)
    return misses / misses[-1], hits / hits[-1]


def compute_precision_recall(
    scores: np.ndarray, positive: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return recalls from 0 to 1 and the precision at each: one point per threshold.

    The first point has recall 0 and the precision of the second.
    """
    hits, misses = _count_above(scores, positive)
    precision = hits[1:] / (hits[1:] + misses[1:])
    return hits / hits[-1], np.concatenate([precision[:1], precision])


def compute_average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the mean precision over the steps of recall: the area below them, not interpolated."""
    recall, precision = compute_precision_recall(scores, positive)
    return float((np.diff(recall) * precision[1:]).sum())


def _count_above(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many positives and others reach each threshold; 0 comes first."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])  # of equal scores
    hits, misses = (np.cumsum(x[order])[last].astype(float) for x in (positive, ~positive))
    return np.concatenate([[0.0], hits]), np.concatenate([[0.0], misses])
