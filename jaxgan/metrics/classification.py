"""How well a classifier does on a labelled set, each number with its 95 % interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # optimize is loaded where it is used: half a second
from scipy.special import ndtri  # not scipy.stats: half a second of every launch

from jaxgan.metrics.measure import LEVEL

OUTSIDE = "outside"
INTERVALS = {
    "level": LEVEL,
    "proportion": "Wilson score",
    "auc": "score form of the Hanley-McNeil variance (Newcombe 2006, part 2, method 5)",
}

_Z = float(ndtri((1 + LEVEL) / 2))
_POWER = 0.8  # of a gain that can be shown


def compute_classification_report(
    *, probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Report accuracy, confusion matrix and per-class measures as a dict for strict JSON.

    `probabilities` is [num, num_outputs], rows summing to 1; `labels` is [num], indices into
    `class_names`. A network may have more outputs than classes (the paper's has 4 for 3): a
    prediction into an extra output is wrong and counted in a last column, `outside`.

    Accuracy is the share of right predictions, (TP + TN) / (TP + FP + FN + TN) for two classes (the
    paper's eq. 4 omits the second TN). Balanced accuracy is the mean sensitivity of the classes
    that occur. Sensitivity, specificity and AUC compare each class with the rest. A value that the
    labels cannot give is None. `INTERVALS` names the intervals.

    Raises ValueError where no report is possible, for example on diverged probabilities.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    _check(probabilities, labels, class_names)
    counts = _count_predictions(probabilities, labels, len(class_names))
    per_class = {
        name: _compute_class_measures(counts, probabilities[:, label], labels, label)
        for label, name in enumerate(class_names)
    }
    sensitivities = [c["sensitivity"]["value"] for c in per_class.values() if c["count"]]
    extra = [OUTSIDE] if counts.shape[1] > len(class_names) else []
    return {
        "count": len(labels),
        "accuracy": _compute_proportion(np.trace(counts), len(labels)),
        "balanced_accuracy": float(np.mean(sensitivities)),
        "confusion_matrix": {
            "rows": list(class_names),
            "columns": [*class_names, *extra],
            "counts": counts.tolist(),
        },
        "per_class": per_class,
        "intervals": dict(INTERVALS),
    }


def compute_balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean over the classes in `labels` [n] of the share that is predicted correctly."""
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def compute_wilson_interval(
    correct: float | np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % Wilson score interval of `correct` out of `count`, elementwise."""
    share = np.asarray(correct, np.float64) / count
    shrink = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / shrink
    half = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def compute_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive scores above a negative, ties counting half."""
    negative = np.sort(scores[~positive])
    below = np.searchsorted(negative, scores[positive], side="left")
    not_above = np.searchsorted(negative, scores[positive], side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def compute_auc_interval(
    auc: float, *, num_positive: int, num_negative: int
) -> tuple[float, float]:
    """Return the 95 % interval of an AUC: every value within z of its own standard errors.

    The standard error is Hanley and McNeil's, but both group sizes less one are replaced by their
    mean (Newcombe 2006, Statistics in Medicine 25:559, method 5). The usual interval around the
    estimate (also DeLong's) has no width at AUC 1. Near AUC 1, common for small validation sets,
    it covers only 65 to 90 % of cases. For one positive and one negative, this one is Wilson's.
    """
    pairs, extra = num_positive * num_negative, (num_positive + num_negative) / 2 - 1

    def excess(true: float) -> float:
        spread = 1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)
        return (true - auc) ** 2 - _Z**2 * true * (1 - true) * spread / pairs

    inside = min(max(auc, 1e-9), 1 - 1e-9)  # at 0 and 1 the estimate is itself a root
    low = scipy.optimize.brentq(excess, 0.0, inside) if auc > 0 else 0.0
    high = scipy.optimize.brentq(excess, inside, 1.0) if auc < 1 else 1.0
    return float(low), float(high)


def compute_smallest_gain(*, accuracy: float, count: int) -> float | None:
    """Return the smallest gain over `accuracy` that two runs on `count` images each can show.

    Two unpaired proportions, 80 % power, two-sided test at 5 %, normal approximation with the
    pooled variance under no difference. None where even a perfect classifier could not show its
    gain.
    """

    def excess(better: float) -> float:
        pooled = (accuracy + better) / 2
        no_difference = np.sqrt(2 * pooled * (1 - pooled))
        difference = np.sqrt(accuracy * (1 - accuracy) + better * (1 - better))
        needed = (_Z * no_difference + ndtri(_POWER) * difference) / np.sqrt(count)
        return float(better - accuracy - needed)

    if accuracy >= 1 or excess(1.0) < 0:
        return None
    return float(scipy.optimize.brentq(excess, accuracy, 1.0)) - accuracy


def _check(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Refuse input that would give a wrong report instead of none."""
    if not len(labels):
        raise ValueError("no images: a report needs at least one labelled image")
    if labels.ndim != 1 or probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(
            "expected probabilities [num, num_outputs] and labels [num], "
            f"found shapes {probabilities.shape} and {labels.shape}"
        )
    if probabilities.shape[1] < len(class_names):
        raise ValueError(
            f"the network has {probabilities.shape[1]} outputs for {len(class_names)} classes"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, found {labels.dtype}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"labels must lie in 0..{len(class_names) - 1}, found {labels.min()}..{labels.max()}"
        )
    broken = int((~np.isfinite(probabilities).all(axis=1)).sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(labels)} rows of probabilities are not finite: "
            "the classifier has diverged"
        )
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > 1e-2:  # bfloat16 rounds to 4e-3
        raise ValueError("rows of probabilities must sum to 1: were logits passed?")


def _count_predictions(
    probabilities: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count [true, predicted]; extra outputs (if any) share one last column."""
    num_columns = num_classes + (probabilities.shape[1] > num_classes)
    predicted = np.minimum(probabilities.argmax(axis=1), num_classes)
    counts = np.zeros((num_classes, num_columns), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def _compute_class_measures(
    counts: np.ndarray, scores: np.ndarray, labels: np.ndarray, label: int
) -> dict[str, Any]:
    """Measure one class against the rest."""
    positive = labels == label
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    false_positives = counts[:, label].sum() - counts[label, label]
    return {
        "count": num_positive,
        "sensitivity": _compute_proportion(counts[label, label], num_positive),
        "specificity": _compute_proportion(num_negative - false_positives, num_negative),
        "auc": _compute_auc_measure(scores, positive, num_positive, num_negative),
    }


def _compute_proportion(correct: int, count: int) -> dict[str, Any]:
    if not count:
        return {"value": None, "correct": 0, "count": 0, "interval": None}
    low, high = compute_wilson_interval(correct, count)
    return {
        "value": float(correct / count),
        "correct": int(correct),
        "count": count,
        "interval": [float(low), float(high)],
    }


def _compute_auc_measure(
    scores: np.ndarray, positive: np.ndarray, num_positive: int, num_negative: int
) -> Mapping[str, Any]:
    if not num_positive or not num_negative:
        return {"value": None, "interval": None}
    auc = compute_auc(scores, positive)
    interval = compute_auc_interval(auc, num_positive=num_positive, num_negative=num_negative)
    return {"value": auc, "interval": list(interval)}
