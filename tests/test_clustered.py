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


def test_a_sure_and_wrong_classifier_is_as_badly_calibrated_as_can_be(case):
    _, labels, patients = case
    report = make_report(np.eye(3)[(labels + 1) % 3][None], labels, patients)
    assert report["calibration_error"]["value"] == pytest.approx(1)


def test_outputs_without_a_class_share_the_last_column_where_they_are_told(case):
    _, labels, patients = case
    told = np.where(np.arange(90) < 4, 3, labels)
    found = {
        spare: make_report(np.eye(5)[guesses][None], labels, patients)["confusion_matrix"]
        for spare, guesses in (("used", told), ("unused", labels))
    }
    assert np.shape(found["used"]) == (3, 4) and np.sum(found["used"], axis=0)[3] == 4
    np.testing.assert_array_equal(found["unused"], np.diag(np.bincount(labels)))


def test_a_class_without_images_has_no_sensitivity_and_no_interval(case):
    probabilities, labels, patients = case
    report = make_report(probabilities, np.where(labels == 2, 1, labels), patients)
    absent = report["per_class"]["c"]
    assert absent["count"] == 0
    assert absent["sensitivity"] == {"value": None, "interval": None}
    assert absent["specificity"]["interval"] is not None
    one = make_report(probabilities, labels, patients, num_draws=0)
    assert one["accuracy"]["interval"] is None and one["accuracy"]["value"] is not None


def test_the_calibration_error_is_the_mean_gap_by_share_of_images(case):
    """Two thirds at 0.9, of which 0.7 are right; one third at 0.6, of which 0.8 are."""
    right = np.r_[np.arange(60) < 42, np.arange(30) < 24]
    sure = np.r_[np.full(60, 0.9), np.full(30, 0.6)]
    labels = np.arange(90) % 3
    guesses = np.where(right, labels, (labels + 1) % 3)
    probabilities = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    probabilities[np.arange(90), guesses] = sure
    report = make_report(probabilities[None], labels, case[2])
    assert report["calibration_error"]["value"] == pytest.approx((2 * 0.2 + 0.2) / 3)
    expected = [(0.6, 0.8, 30), (0.9, 0.7, 60)]
    for found, (confidence, accuracy, count) in zip(report["reliability"], expected, strict=True):
        assert found["confidence"] == pytest.approx(confidence)
        assert found["accuracy"] == pytest.approx(accuracy)
        assert found["count"] == count


def test_the_interval_is_that_of_patients_drawn_again(case):
    """Each draw written out: a patient drawn twice brings all of their images twice."""
    probabilities, labels, patients = case
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), 300)
    report = make_report(*case)
    for name, score in (
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        draws = []
        for count in counts:
            index = np.repeat(np.arange(90), count[patients])
            draws.append(np.mean([score(labels[index], p[index].argmax(1)) for p in probabilities]))
        expected = np.percentile(draws, [2.5, 97.5])
        assert report[name]["interval"] == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_the_calibration_error_holds_its_value(case):
    """Every bin of 30 patients is as right as it is sure: the draws can only be further off."""
    sure = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 6 * 3)
    right = np.concatenate([np.arange(18) < round(18 * s) for s in sure[::18]])
    labels = np.arange(90) % 3
    probabilities = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    probabilities[np.arange(90), np.where(right, labels, (labels + 1) % 3)] = sure
    report = make_report(probabilities[None], labels, case[2])
    found = report["calibration_error"]
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), 300)
    weights = counts[:, case[2]]
    gaps = [np.abs(weights[:, sure == s] @ (sure - right)[sure == s]) for s in sure[::18]]
    draws = np.sum(gaps, axis=0) / 90
    ends = np.percentile(draws, [2.5, 97.5]) - np.median(draws) + found["value"]
    assert found["value"] < np.percentile(draws, 2.5)  # what a plain interval would leave out
    assert found["interval"] == pytest.approx(np.clip(ends, 0, 1))
    assert found["interval"][0] <= found["value"] < found["interval"][1]
