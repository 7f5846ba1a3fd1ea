"""Classification measures over several trainings, with intervals by a bootstrap over patients.

Every measure is a function of weights [num_draws, num_images]: how often each image's patient was
drawn. Weights of 1 give the measure itself. The mean over seeds is taken within each draw, so the
intervals say how the measures would differ on other patients, for these trainings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.metrics.measure import LEVEL

NUM_BINS = 10  # of confidence, for calibration
MOST_IN_MATRIX = 50  # classes in a matrix; with more, the most frequent confusions are listed
NUM_CONFUSIONS = 50  # in that list
_FEW_POSITIVES = 100  # for fewer, comparing each with all images is faster than sorting every draw


def compute_clustered_report(
    *,
    probabilities: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    counts: np.ndarray,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Report measures of `probabilities` [num_seeds, num_images, num_outputs] for strict JSON.

    `labels` and `patients` are numbers from 0 [num_images]; `counts` [num_draws, num_patients] is
    how often each patient is drawn. A prediction into an extra output is wrong.
    """
    weights = np.concatenate([np.ones((1, len(labels))), counts[:, patients]])
    seeds = [_measure(p, labels, weights, class_names) for p in probabilities]
    report = {
        name: _summarise(np.mean([seed[name] for seed in seeds], axis=0))
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
    }
    errors = np.mean([seed["calibration_error"] for seed in seeds], axis=0)
    report["calibration_error"] = _summarise_biased(errors)
    per_class = {}
    for label, name in enumerate(class_names):
        per_class[name] = {"count": int((labels == label).sum())} | {
            measure: _summarise(np.mean([seed[f"{measure} {label}"] for seed in seeds], axis=0))
            for measure in ("sensitivity", "specificity", "auc")
        }
    return {
        **report,
        "per_class": per_class,
        "confusion_matrix": _count(probabilities, labels, len(class_names)),
        "confusions": _list_confusions(probabilities, labels, class_names),
        "reliability": compute_reliability(probabilities, labels),
        "balanced_accuracy_by_seed": [float(seed["balanced_accuracy"][0]) for seed in seeds],
    }


def _measure(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return every measure of one training as [1 + num_draws], NaN where a draw has no value."""
    num_classes = len(names)
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    measures = {
        "accuracy": _divide(weights @ right, weights.sum(axis=1)),
        "calibration_error": _compute_calibration_error(probabilities, right, weights),
    }
    # Of all classes at once, [1 + num_draws, num_classes]: whole numbers, exact in any order.
    positive, called = (x[:, None] == np.arange(num_classes) for x in (labels, predicted))
    both = weights @ (positive & called).astype(np.float64)
    all_positive, all_called = (weights @ x.astype(np.float64) for x in (positive, called))
    everything = weights.sum(axis=1, keepdims=True)
    neither = everything - (all_positive + all_called - both)
    sensitivities = _divide(both, all_positive)
    scores = _divide(2 * both, all_positive + all_called)
    specificities = _divide(neither, everything - all_positive)
    for label in range(num_classes):
        measures[f"sensitivity {label}"] = sensitivities[:, label]
        measures[f"specificity {label}"] = specificities[:, label]
        measures[f"auc {label}"] = compute_weighted_auc(
            probabilities[:, label], positive[:, label], weights
        )
    with np.errstate(invalid="ignore"):
        for name, by_class in (("balanced_accuracy", sensitivities), ("macro_f1", scores)):
            measures[name] = np.nanmean(np.ascontiguousarray(by_class.T), axis=0)
    return measures


def compute_weighted_auc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the chance [num_draws] that a positive scores above a negative, ties counting half."""
    if positive.sum() <= _FEW_POSITIVES:
        return _compute_auc_of_few(scores, positive, weights)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ups = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    downs = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs / 2
    return _divide((ups * below).sum(axis=1), ups.sum(axis=1) * downs.sum(axis=1))


def _compute_auc_of_few(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the same for few positives: with many classes, each class has few."""
    ahead = (scores[:, None] < scores[positive]) + 0.5 * (scores[:, None] == scores[positive])
    ahead[positive] = 0.0
    ups = weights[:, positive]
    num_ups, num_downs = ups.sum(axis=1), weights @ ~positive
    return _divide((ups * (weights @ ahead)).sum(axis=1), num_ups * num_downs)


def _bin(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each prediction and its bin."""
    confidence = probabilities.max(axis=-1)
    return confidence, np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)


def _compute_calibration_error(
    probabilities: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the mean over bins of |confidence - accuracy|, weighted by their predictions."""
    confidence, bins = _bin(probabilities)
    surplus = confidence - right
    gaps = [np.abs(weights[:, bins == b] @ surplus[bins == b]) for b in range(NUM_BINS)]
    return _divide(np.sum(gaps, axis=0), weights.sum(axis=1))


def compute_reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Return, for each bin of confidence that was used, its mean, the accuracy and the count."""
    confidence, bins = _bin(probabilities)
    right = probabilities.argmax(axis=-1) == labels
    return [
        {
            "confidence": float(confidence[bins == b].mean()),
            "accuracy": float(right[bins == b].mean()),
            "count": int((bins == b).sum()),
        }
        for b in np.unique(bins)
    ]


def _count(
    probabilities: np.ndarray, labels: np.ndarray, num_classes: int
) -> list[list[int]] | None:
    """Count [true, predicted] over all seeds; extra outputs share a last column.

    None for more than `MOST_IN_MATRIX` classes.
    """
    if num_classes > MOST_IN_MATRIX:
        return None
    predicted = np.minimum(probabilities.argmax(axis=-1), num_classes)
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for row in predicted:
        np.add.at(counts, (labels, row), 1)
    used = counts if counts[:, -1].any() else counts[:, :-1]
    return [[int(n) for n in row] for row in used]


def _list_confusions(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the most frequent confusions over all seeds, of at most `NUM_CONFUSIONS` pairs."""
    num_classes = len(names)
    predicted = np.minimum(probabilities.argmax(axis=-1), num_classes)
    predicted_names = [*names, None]  # None: an extra output
    wrong = predicted != labels
    codes = (labels * (num_classes + 1) + predicted)[wrong]
    pairs, counts = np.unique(codes, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[:NUM_CONFUSIONS]
    return [
        {
            "true": names[int(pairs[i]) // (num_classes + 1)],
            "told": predicted_names[int(pairs[i]) % (num_classes + 1)],
            "count": int(counts[i]),
        }
        for i in chosen
    ]


def estimate_mean(
    values: np.ndarray, patients: np.ndarray, counts: np.ndarray
) -> Mapping[str, Any]:
    """Return the mean of `values` [num_images] and its interval over patients; NaN is left out.

    `patients` and `counts` are those of `compute_clustered_report`.
    """
    known, num = np.isfinite(values), counts.shape[1]
    sums = np.bincount(patients[known], values[known], minlength=num)
    images = np.bincount(patients[known], minlength=num)
    drawn = np.concatenate([np.ones((1, num)), counts])
    return _summarise(_divide(drawn @ sums, drawn @ images))


def _summarise(values: np.ndarray) -> Mapping[str, Any]:
    """Return the value and its percentile interval over the draws that have one."""
    draws = values[1:][np.isfinite(values[1:])]
    value = float(values[0]) if np.isfinite(values[0]) else None
    if value is None or not len(draws):
        return {"value": value, "interval": None}
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return {"value": value, "interval": [float(low), float(high)]}


def _summarise_biased(values: np.ndarray) -> Mapping[str, Any]:
    """Return the value of a share and its interval; draws are shifted so their median is the value.

    A calibration error adds absolute gaps. Images drawn twice make every gap noisier and larger.
    So the draws lie above the value; at small n, all of them do. Their spread shows what chance
    does. Their centre is only an effect of the bootstrap.
    """
    plain = _summarise(values)
    if plain["interval"] is None:
        return plain
    value, median = plain["value"], float(np.nanmedian(values[1:]))
    low, high = (value + (end - median) for end in plain["interval"])
    return {"value": value, "interval": [max(low, 0.0), min(high, 1.0)]}


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(numerator / denominator, np.float64)
