import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn import metrics as sklearn_metrics

from jaxgan.metrics import classification

NAMES = ("covid", "pneumonia", "normal")


def report(probabilities, labels, class_names=NAMES):
    result = classification.compute_classification_report(
        probabilities=np.asarray(probabilities, np.float32),
        labels=np.asarray(labels, np.int32),
        class_names=class_names,
    )
    json.dumps(result, allow_nan=False)
    return result


def certain(predicted, num_outputs):
    return np.eye(num_outputs, dtype=np.float32)[predicted]


def test_report_by_hand():
    labels = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    predicted = [0, 0, 1, 3, 1, 2, 2, 2, 2, 0]
    result = report(certain(predicted, 4), labels)
    assert result["count"] == 10
    assert result["confusion_matrix"] == {
        "rows": ["covid", "pneumonia", "normal"],
        "columns": ["covid", "pneumonia", "normal", "outside"],
        "counts": [[2, 1, 0, 1], [0, 1, 1, 0], [1, 0, 3, 0]],
    }
    assert result["accuracy"]["correct"] == 6
    assert result["accuracy"]["value"] == 0.6
    # Wilson for 6 of 10, from the closed form with z = 1.959964
    np.testing.assert_allclose(result["accuracy"]["interval"], [0.312674, 0.831820], atol=1e-6)
    assert result["balanced_accuracy"] == pytest.approx((2 / 4 + 1 / 2 + 3 / 4) / 3)
    covid = result["per_class"]["covid"]
    assert covid["count"] == 4
    assert (covid["sensitivity"]["correct"], covid["sensitivity"]["count"]) == (2, 4)
    assert (covid["specificity"]["correct"], covid["specificity"]["count"]) == (5, 6)
    assert covid["specificity"]["value"] == pytest.approx(5 / 6)
    # scores of covid: positives 1 1 0 0, negatives 0 0 0 0 0 1; 24 pairs, ties count half
    assert covid["auc"]["value"] == pytest.approx((2 * 5 + 2 * 0.5 + 2 * 5 * 0.5) / 24)


def test_two_classes_follow_the_corrected_equation_4():
    true_positive, false_positive, false_negative, true_negative = 7, 3, 2, 8
    labels = [1] * 7 + [0] * 3 + [1] * 2 + [0] * 8
    predicted = [1] * 7 + [1] * 3 + [0] * 2 + [0] * 8
    result = report(certain(predicted, 2), labels, ("without", "with"))
    total = true_positive + false_positive + false_negative + true_negative
    assert result["accuracy"]["value"] == (true_positive + true_negative) / total
    assert result["per_class"]["with"]["sensitivity"]["value"] == 7 / 9
    assert result["per_class"]["with"]["specificity"]["value"] == 8 / 11
    assert result["confusion_matrix"]["columns"] == ["without", "with"]


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    logits = np.round(rng.normal(size=(200, 3)) + 1.5 * np.eye(3)[labels], 1)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    result, predicted = report(probabilities, labels), probabilities.argmax(1)
    assert result["accuracy"]["value"] == sklearn_metrics.accuracy_score(labels, predicted)
    assert result["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted)
    )
    expected_counts = sklearn_metrics.confusion_matrix(labels, predicted)
    assert result["confusion_matrix"]["counts"] == expected_counts.tolist()
    for label, name in enumerate(NAMES):
        expected = sklearn_metrics.roc_auc_score(labels == label, probabilities[:, label])
        assert result["per_class"][name]["auc"]["value"] == pytest.approx(expected, abs=1e-3)


def test_ties_count_half_in_auc():
    scores = np.array([0.1, 0.4, 0.4, 0.4, 0.8])
    positive = np.array([False, True, False, True, True])
    # pairs won by a positive: against 0.1 three, against 0.4 two ties and one win
    assert classification.compute_auc(scores, positive) == (3 + 0.5 + 0.5 + 1) / 6


@pytest.mark.parametrize(("correct", "count"), [(0, 1), (1, 1), (0, 33), (33, 33), (75, 88)])
def test_wilson_interval_agrees_with_scipy(correct, count):
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    found = classification.compute_wilson_interval(correct, count)
    np.testing.assert_allclose(found, [expected.low, expected.high], atol=1e-12)


def test_wilson_interval_is_elementwise():
    low, high = classification.compute_wilson_interval(np.array([0, 44, 88]), 88)
    assert low.shape == high.shape == (3,)
    np.testing.assert_allclose([low[0], high[2]], [0, 1], atol=1e-12)
    assert low[1] + high[1] == pytest.approx(1)


def test_one_image():
    result = report([[0.2, 0.7, 0.1]], [1])
    assert result["accuracy"]["value"] == 1
    # closed form for n of n: [n / (n + z^2), 1]
    np.testing.assert_allclose(result["accuracy"]["interval"], [1 / (1 + norm.ppf(0.975) ** 2), 1])
    assert result["balanced_accuracy"] == 1
    absent = result["per_class"]["covid"]
    assert absent["count"] == 0
    assert absent["sensitivity"]["value"] is None
    assert absent["sensitivity"]["interval"] is None
    assert absent["auc"] == {"value": None, "interval": None}
    assert absent["specificity"]["value"] == 1
    present = result["per_class"]["pneumonia"]
    assert present["specificity"]["value"] is None
    assert present["auc"]["value"] is None


def test_all_right_and_all_wrong():
    labels = np.array([0, 1, 2] * 11)
    right = report(certain(labels, 4), labels)
    assert right["accuracy"]["value"] == right["balanced_accuracy"] == 1
    assert right["per_class"]["normal"]["auc"]["value"] == 1
    assert 0.8 < right["per_class"]["normal"]["auc"]["interval"][0] < 1
    assert right["per_class"]["normal"]["auc"]["interval"][1] == 1
    wrong = report(certain((labels + 1) % 3, 4), labels)
    assert wrong["accuracy"]["value"] == wrong["balanced_accuracy"] == 0
    assert wrong["accuracy"]["interval"][0] == pytest.approx(0, abs=1e-12)
    z2 = norm.ppf(0.975) ** 2
    assert wrong["accuracy"]["interval"][1] == pytest.approx(z2 / (33 + z2))
    outside = report(certain(np.full(33, 3), 4), labels)
    assert outside["accuracy"]["correct"] == 0
    assert np.sum(outside["confusion_matrix"]["counts"], axis=0).tolist() == [0, 0, 0, 33]


def test_several_spare_outputs_share_one_column():
    result = report(certain([3, 4, 5], 6), [0, 0, 0])
    assert result["confusion_matrix"]["counts"][0] == [0, 0, 0, 3]


def test_auc_interval_limits():
    interval = classification.compute_auc_interval
    # with one of each it is Wilson's for one trial; it mirrors about 1/2
    z2 = norm.ppf(0.975) ** 2
    np.testing.assert_allclose(interval(1.0, num_positive=1, num_negative=1), [1 / (1 + z2), 1])
    low, high = interval(0.8, num_positive=20, num_negative=30)
    np.testing.assert_allclose(
        interval(0.2, num_positive=20, num_negative=30), [1 - high, 1 - low], atol=1e-9
    )
    # each end is z of its own standard errors away, the variance written out a second way
    for end in (low, high):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        own = end * (1 - end) + 24 * (q1 - end**2) + 24 * (q2 - end**2)
        assert abs(end - 0.8) == pytest.approx(norm.ppf(0.975) * math.sqrt(own / 600))


def test_auc_interval_covers_the_truth_in_19_of_20_sets():
    rng = np.random.default_rng(1)
    true, trials, covered = 0.95, 400, 0
    positive = np.arange(88) < 33
    shift = norm.ppf(true) * math.sqrt(2)
    for _ in range(trials):
        auc = classification.compute_auc(rng.normal(size=88) + shift * positive, positive)
        low, high = classification.compute_auc_interval(auc, num_positive=33, num_negative=55)
        covered += low <= true <= high
    assert 0.93 < covered / trials < 0.99  # DeLong's: 0.88


def test_smallest_gain():
    gain = classification.compute_smallest_gain
    assert gain(accuracy=0.85, count=88) == pytest.approx(0.12, abs=0.005)  # notes.md, point 7
    assert gain(accuracy=0.5, count=88) == pytest.approx(0.2075, abs=0.003)
    assert gain(accuracy=0.85, count=8800) == pytest.approx(0.0146, abs=0.0005)
    assert gain(accuracy=0.99, count=88) is None
    assert gain(accuracy=1.0, count=88) is None


def test_smallest_gain_has_the_power_it_claims():
    count, accuracy = 300, 0.6
    gain = classification.compute_smallest_gain(accuracy=accuracy, count=count)
    assert gain is not None
    rng = np.random.default_rng(0)
    one = rng.binomial(count, accuracy, 20000) / count
    two = rng.binomial(count, accuracy + gain, 20000) / count
    pooled = (one + two) / 2
    shown = np.abs(two - one) > norm.ppf(0.975) * np.sqrt(2 * pooled * (1 - pooled) / count)
    assert shown.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "no images"),
        ([[0.5, 0.5]], [0], "2 outputs for 3 classes"),
        ([[1, 0, 0]], [3], "0..2, found 3..3"),
        ([[1, 0, 0]], [-1], "found -1"),
        ([[1, 0, 0], [np.nan, 0, 0]], [0, 1], "1 of 2 rows .* diverged"),
        ([[4.0, 1.0, 2.0]], [0], "logits"),
        ([[2.0, -1.0, 0.0]], [0], "logits"),
        ([[1, 0, 0], [4.0, 1.0, 2.0]], [0, 1], "logits"),
        ([[1, 0, 0]], [0, 1], "shapes"),
    ],
)
def test_bad_input_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        report(probabilities, labels)


def test_labels_that_are_not_integers_are_refused():
    with pytest.raises(ValueError, match="integers"):
        classification.compute_classification_report(
            probabilities=np.eye(3), labels=np.array([0.0, 1.0, 2.0]), class_names=NAMES
        )


def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 50))
    expected = sklearn_metrics.balanced_accuracy_score(labels, predicted)
    assert classification.compute_balanced_accuracy(labels, predicted) == pytest.approx(expected)
