"""Accuracy, intervals and agreement of readers, against closed forms and other packages."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from jaxgan.metrics import readers

TRUTH = np.array([True, False] * 25)


def answer(num_wrong_generated, num_wrong_real):
    """Answers to TRUTH with so many of each kind wrong, the first of them."""
    answers = TRUTH.copy()
    answers[np.flatnonzero(TRUTH)[:num_wrong_generated]] ^= True
    answers[np.flatnonzero(~TRUTH)[:num_wrong_real]] ^= True
    return answers


@pytest.mark.parametrize("wrong", [(0, 0), (3, 10), (25, 0), (25, 25), (12, 13)])
def test_shares_and_intervals_are_those_of_scipy(wrong):
    report = readers.compute_reader_report(TRUTH, answer(*wrong))
    for name, right, count in (
        ("accuracy", 50 - sum(wrong), 50),
        ("sensitivity_generated", 25 - wrong[0], 25),
        ("sensitivity_real", 25 - wrong[1], 25),
    ):
        found = report[name]
        assert (found["right"], found["count"]) == (right, count)
        assert found["value"] == pytest.approx(right / count)
        known = binomtest(right, count).proportion_ci(method="wilson")
        assert found["interval"] == pytest.approx([known.low, known.high], abs=1e-12)


def test_the_order_of_images_and_of_readers_changes_nothing():
    rng = np.random.default_rng(0)
    answers = np.stack([answer(3, 10), answer(8, 1), answer(0, 12)])
    order = rng.permutation(50)
    one = readers.compute_reader_report(TRUTH, answers[0])
    assert readers.compute_reader_report(TRUTH[order], answers[0][order]) == one
    mean = readers.compute_mean_report(TRUTH, answers)
    kappa = readers.compute_kappa(answers)
    again = answers[[2, 0, 1]][:, order]
    assert readers.compute_mean_report(TRUTH[order], again)["accuracy"]["value"] == pytest.approx(
        mean["accuracy"]["value"]
    )
    assert readers.compute_kappa(again) == pytest.approx(kappa)


def test_a_mean_counts_each_image_once():
    """Ten readers who answer alike know no more than one."""
    alike = np.tile(answer(5, 6), (10, 1))
    one = readers.compute_reader_report(TRUTH, alike[0])["accuracy"]
    mean = readers.compute_mean_report(TRUTH, alike)
    assert mean["accuracy"]["interval"] == pytest.approx(one["interval"])
    assert mean["lowest"] == mean["highest"] == mean["accuracy"]["value"] == 39 / 50
    both = readers.compute_mean_report(TRUTH, np.stack([answer(0, 0), answer(25, 25)]))
    assert (both["lowest"], both["accuracy"]["value"], both["highest"]) == (0.0, 0.5, 1.0)


def test_the_kappa_of_two_is_cohens():
    pair = np.stack([answer(3, 10), answer(9, 1)])
    assert readers.compute_kappa(pair) == pytest.approx(cohen_kappa_score(*pair))
    assert readers.compute_kappa(np.stack([TRUTH, TRUTH])) == pytest.approx(1.0)
    assert readers.compute_kappa(np.stack([TRUTH, ~TRUTH])) == pytest.approx(-1.0)
    assert readers.compute_agreement(pair) == pytest.approx((pair[0] == pair[1]).mean())


def test_the_kappa_of_more_is_fleiss():
    """Three readers, four images: 3, 2, 1 and 0 say generated. P = 2/3, of chance 1/2."""
    answers = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
    assert readers.compute_agreement(answers) == pytest.approx(2 / 3)
    assert readers.compute_kappa(answers) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))


def test_where_all_gave_one_answer_there_is_no_kappa():
    assert readers.compute_kappa(np.ones((2, 6), bool)) is None
    assert readers.compute_kappa(np.zeros((3, 6), bool)) is None


@pytest.mark.parametrize("count", [4, 6, 8, 36, 50, 200])
def test_the_fewest_right_answers_that_show_something(count):
    least = readers.find_least_shown(count)
    lows = [
        binomtest(right, count).proportion_ci(method="wilson").low for right in range(count + 1)
    ]
    assert least == next((right for right, low in enumerate(lows) if low > 0.5), None)


def test_two_images_show_nothing():
    assert readers.find_least_shown(2) is None
