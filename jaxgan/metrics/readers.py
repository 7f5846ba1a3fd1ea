"""How often readers tell generated images from real ones, and how often they agree.

Answers and truth are bool [num_images], True for generated. Each interval is Wilson's, 95 %. It
says what the same reader would reach on other images of the same two sources. It says nothing about
other readers.
"""

from typing import Any

import numpy as np

from jaxgan.metrics.classification import compute_wilson_interval

CHANCE = 0.5  # a page has as many real as generated images


def compute_reader_report(truth: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    """Return a reader's accuracy and sensitivities, each with its interval, as JSON.

    The sensitivity for generated images is the share of them that the reader called generated.
    That for real images is the same for real ones.
    """
    right = truth == answers
    return {
        "count": len(truth),
        "accuracy": _compute_share(right),
        "sensitivity_generated": _compute_share(right[truth]),
        "sensitivity_real": _compute_share(right[~truth]),
    }


def compute_mean_report(truth: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    """Return the mean accuracy of several readers, `answers` [num_readers, num_images], as JSON.

    The interval is for these readers and other images. All have seen the same images, so each image
    counts once. The interval is Wilson's of one reader with the mean accuracy, which is the widest
    case: the share of readers who are right on an image varies at most as much as one answer.
    """
    accuracies = (answers == truth).mean(axis=1)
    value, count = float(accuracies.mean()), len(truth)
    return {
        "readers": len(answers),
        "accuracy": {"value": value, "interval": _find_interval(value * count, count)},
        "lowest": float(accuracies.min()),
        "highest": float(accuracies.max()),
    }


def compute_agreement(answers: np.ndarray) -> float:
    """Return the share of pairs of readers who agree, over `answers` [num_readers, num_images]."""
    num = len(answers)
    called = answers.sum(axis=0).astype(np.float64)
    pairs = called * (called - 1) + (num - called) * (num - called - 1)
    return float((pairs / (num * (num - 1))).mean())


def compute_kappa(answers: np.ndarray) -> float | None:
    """Return the agreement beyond chance of `answers` [num_readers, num_images].

    1: always the same answer; 0: as often as by chance. For two readers it is Cohen's kappa (1960),
    for more Fleiss' (1971). None if all readers gave one answer to every image: then chance alone
    agrees always.
    """
    shares = answers.mean(axis=1)
    if len(answers) == 2:
        by_chance = float(shares.prod() + (1 - shares).prod())
    else:
        by_chance = float(shares.mean() ** 2 + (1 - shares.mean()) ** 2)
    if by_chance >= 1.0:
        return None
    return (compute_agreement(answers) - by_chance) / (1.0 - by_chance)


def find_least_shown(count: int) -> int | None:
    """Return the fewest right answers of `count` whose interval lies above chance; None if none."""
    low, _ = compute_wilson_interval(np.arange(count + 1), count)
    shown = np.flatnonzero(low > CHANCE)
    return int(shown[0]) if len(shown) else None


def _compute_share(right: np.ndarray) -> dict[str, Any]:
    return {
        "value": float(right.mean()),
        "interval": _find_interval(float(right.sum()), len(right)),
        "right": int(right.sum()),
        "count": len(right),
    }


def _find_interval(right: float, count: int) -> list[float]:
    low, high = compute_wilson_interval(right, count)
    return [float(low), float(high)]
