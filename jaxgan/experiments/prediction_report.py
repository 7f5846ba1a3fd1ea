"""Measure classifiers on new images, and their differences, with intervals over patients."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxgan.metrics.classification import OUTSIDE, compute_balanced_accuracy
from jaxgan.metrics.clustered import compute_clustered_report
from jaxgan.metrics.curves import compute_average_precision
from jaxgan.study.statistics import (
    NUM_BOOTSTRAP,
    Design,
    bootstrap_balanced,
    draw_patients,
    estimate_by_patient,
)

MOST_MISTAKES = 16  # shown at most
MOST_SOURCES = 20  # the largest ones: only these have their own numbers
_MOST_PAIRED = 4  # runs that are compared in all pairs; if there are more, each with the first
_MOST_WEIGHTS = 20_000_000  # counts of draws, for all images, in memory at once
_FEWEST_DRAWS = 200
_FEWEST_PATIENTS = 5  # for an interval


@dataclass(frozen=True)
class Truth:
    """Images of a known class that count: `labels` and `patients` are numbers from 0 [num].

    `sources` has the source of each; empty if no source is known.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Truth":
        """Return the images at `indices`, with new numbers from 0 for their patients."""
        patients = number(self.patients[indices])
        sources = tuple(self.sources[i] for i in indices) if self.sources else ()
        return Truth(self.class_names, self.labels[indices], patients, sources)

    @property
    def design(self) -> Design:
        """The design for the statistics of a study: all images in one fold."""
        return Design(self.labels, self.patients, np.zeros(len(self), np.int64))

    def draw(self) -> np.ndarray:
        """Return how often each patient is drawn [num_draws, num_patients], always the same.

        With few patients there are no draws, and so no intervals: these would be too narrow.
        """
        most = _MOST_WEIGHTS // max(len(self), 1)
        num_draws = int(np.clip(most, _FEWEST_DRAWS, NUM_BOOTSTRAP))
        if self.design.num_patients < _FEWEST_PATIENTS:
            num_draws = 0
        return draw_patients(self.design, np.random.default_rng(0), num_draws)


def number(items: np.ndarray | Sequence[str]) -> np.ndarray:
    """Return a number from 0 for each item [num]; equal items have the same number."""
    return np.unique(np.asarray(items), return_inverse=True)[1].reshape(-1).astype(np.int64)


def measure_run(probabilities: np.ndarray, truth: Truth) -> dict[str, Any]:
    """Return the report on a run's `probabilities` [num, outputs] for images of a known class.

    It is that of a study (`compute_clustered_report`), and the same for each source.
    """
    report = _measure(probabilities, truth)
    if len(set(truth.sources)) > 1:
        report["by_source"] = {
            source: _measure_source(probabilities, truth, source)
            for source, _ in Counter(truth.sources).most_common(MOST_SOURCES)
        }
    return report


def _measure(probabilities: np.ndarray, truth: Truth) -> dict[str, Any]:
    report = compute_clustered_report(
        probabilities=probabilities[None],
        labels=truth.labels,
        patients=truth.patients,
        counts=truth.draw(),
        class_names=truth.class_names,
    )
    del report["balanced_accuracy_by_seed"]
    for label, name in enumerate(truth.class_names):
        positive = truth.labels == label
        is_measured = positive.any() and not positive.all()
        report["per_class"][name]["average_precision"] = (
            compute_average_precision(probabilities[:, label], positive) if is_measured else None
        )
    sizes = {"images": len(truth), "patients": len(np.unique(truth.patients))}
    return {**sizes, "chance": 1 / len(np.unique(truth.labels)), **report}


def _measure_source(probabilities: np.ndarray, truth: Truth, source: str) -> dict[str, Any]:
    """Return the measures of one source, which may have only one class."""
    here = np.flatnonzero(np.array(truth.sources) == source)
    report = _measure(probabilities[here], truth.take(here))
    names = ("images", "patients", "chance", "accuracy", "balanced_accuracy", "per_class")
    return {name: report[name] for name in names}


def measure_members(members: np.ndarray, truth: Truth) -> dict[str, Any]:
    """Return the balanced accuracy of each classifier of `members` [classifiers, num, outputs]."""
    values = [compute_balanced_accuracy(truth.labels, p.argmax(axis=1)) for p in members]
    ends = {"lowest": min(values), "highest": max(values)}
    return {"classifiers": len(values), **ends, "balanced_accuracy": values}


def compare_runs(probabilities: Mapping[str, np.ndarray], truth: Truth) -> list[dict[str, Any]]:
    """Return the differences of balanced accuracy between runs on the same images, paired.

    The interval and p are those of a study's patients (`estimate_by_patient`).
    """
    names, design, counts = list(probabilities), truth.design, truth.draw()
    pairs = list(itertools.combinations(names, 2))
    if len(names) > _MOST_PAIRED:
        pairs = [(names[0], other) for other in names[1:]]
    right = {name: (p.argmax(axis=1) == truth.labels) for name, p in probabilities.items()}
    found = []
    for one, other in pairs:
        paired = right[one].astype(np.float64) - right[other].astype(np.float64)
        draws = bootstrap_balanced(paired, design, counts)
        estimate = estimate_by_patient(paired[None], design, draws)
        found.append(
            {
                "run": one,
                "less": other,
                "difference": estimate.estimate,
                "interval": list(estimate.interval) if estimate.interval else None,
                "p": estimate.p_value,
            }
        )
    return found


def list_mistakes(probabilities: np.ndarray, truth: Truth) -> list[dict[str, Any]]:
    """Return the mistakes with the highest probability; `index` is that of the image."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth.labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "index": int(i),
            "true": truth.class_names[truth.labels[i]],
            "predicted": name_output(truth.class_names, int(predicted[i])),
            "probability": float(confidence[i]),
        }
        for i in chosen
    ]


def list_confident(probabilities: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the predictions with the highest probability; `index` is that of the image."""
    confidence = probabilities.max(axis=1)
    chosen = np.argsort(-confidence, kind="stable")[:MOST_MISTAKES]
    return [
        {
            "index": int(i),
            "predicted": name_output(class_names, int(probabilities[i].argmax())),
            "probability": float(confidence[i]),
        }
        for i in chosen
    ]


def name_output(class_names: Sequence[str], output: int) -> str:
    """Return the class of an output; "outside" for an output beyond the classes."""
    return class_names[output] if output < len(class_names) else OUTSIDE
