"""Measures against scikit-learn's; intervals that know patients."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from jaxgan.metrics.clustered import compute_clustered_report, compute_weighted_auc

NAMES = ("a", "b", "c")


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    logits = rng.normal(size=(2, 90, 3)).round(1) + 1.2 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return probabilities, labels, np.repeat(np.arange(30), 3)


def make_report(probabilities, labels, patients, num_draws=300):
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), num_draws).astype(float)
    return compute_clustered_report(
        probabilities=probabilities,
        labels=labels,
        patients=patients,
        counts=counts,
        class_names=NAMES,
    )


def test_values_are_scikit_learns_mean_over_seeds(case):
    probabilities, labels, _ = case
    report = make_report(*case)

    def mean(measure):
        return np.mean([measure(p) for p in probabilities])

    expected = {
        "accuracy": mean(lambda p: accuracy_score(labels, p.argmax(1))),
        "balanced_accuracy": mean(lambda p: balanced_accuracy_score(labels, p.argmax(1))),
        "macro_f1": mean(lambda p: f1_score(labels, p.argmax(1), average="macro")),
    }
    for name, value in expected.items():
        assert report[name]["value"] == pytest.approx(value)
        low, high = report[name]["interval"]
        assert low < value < high
    auc = mean(lambda p: roc_auc_score(labels == 1, p[:, 1]))
    assert report["per_class"]["b"]["auc"]["value"] == pytest.approx(auc)
    assert np.sum(report["confusion_matrix"]) == 180


def test_weighted_auc_is_that_of_repeated_images():
    scores = np.array([0.1, 0.4, 0.4, 0.8, 0.5])
    positive = np.array([False, True, False, True, False])
    weights = np.array([[1.0, 2.0, 1.0, 1.0, 3.0]])
    index = np.repeat(np.arange(5), weights[0].astype(int))
    expected = roc_auc_score(positive[index], scores[index])
    assert compute_weighted_auc(scores, positive, weights)[0] == pytest.approx(expected)


def test_a_sure_and_right_classifier_is_calibrated(case):
    _, labels, patients = case
    report = make_report(np.eye(3)[labels][None], labels, patients)
    assert report["calibration_error"]["value"] == pytest.approx(0)
    assert report["reliability"] == [{"confidence": 1.0, "accuracy": 1.0, "count": 90}]
