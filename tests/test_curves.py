"""Curves of one class against the rest, held against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from jaxgan.metrics.classification import compute_auc
from jaxgan.metrics.curves import (
    compute_average_precision,
    compute_precision_recall,
    compute_roc,
)


def make_scores(seed, num=60, digits=1):
    """Scores with many ties, of which the positive ones are a little higher."""
    rng = np.random.default_rng(seed)
    positive = rng.random(num) < 0.4
    return np.round(rng.normal(size=num) + 0.8 * positive, digits), positive


@pytest.mark.parametrize("seed", range(3))
def test_roc_is_that_of_scikit_learn(seed):
    scores, positive = make_scores(seed)
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    found = compute_roc(scores, positive)
    np.testing.assert_allclose(found[0], false)
    np.testing.assert_allclose(found[1], true)
    area = float(np.trapezoid(found[1], found[0]))
    assert area == pytest.approx(roc_auc_score(positive, scores))
    assert area == pytest.approx(compute_auc(scores, positive))


@pytest.mark.parametrize("digits", [1, 9])
def test_average_precision_is_that_of_scikit_learn(digits):
    scores, positive = make_scores(1, digits=digits)
    expected = average_precision_score(positive, scores)
    assert compute_average_precision(scores, positive) == pytest.approx(expected)


def test_the_curve_of_precision_goes_from_no_recall_to_all():
    recall, precision = compute_precision_recall(np.array([3.0, 2, 1]), np.array([1, 0, 1]) > 0)
    np.testing.assert_allclose(recall, [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(precision, [1, 1, 0.5, 2 / 3])
