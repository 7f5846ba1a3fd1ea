"""The verdict's rules against closed forms and small cases done by hand."""

import numpy as np
import pytest
from scipy import stats

from jaxgan.statistics import (
    Design,
    adjust_holm,
    bootstrap_balanced,
    compare,
    compute_fold_differences,
    compute_needed_patients,
    compute_smallest_difference,
    draw_patients,
    judge,
    test_corrected_resampled,
)


@pytest.fixture
def design():
    """60 patients with two films each, 3 classes, 3 folds."""
    patients = np.repeat(np.arange(60), 2)
    return Design(patients % 3, patients, (patients // 3) % 3)


def answer(design, share, seed, num_seeds=2):
    rng = np.random.default_rng(seed)
    return rng.random((num_seeds, len(design.labels))) < share


def count(design, num_draws=400):
    return draw_patients(design, np.random.default_rng(0), num_draws)


def test_the_corrected_t_test_is_nadeau_and_bengios():
    differences = np.array([[0.02, 0.05], [0.01, 0.03], [0.06, -0.01]])
    found = test_corrected_resampled(differences)
    error = np.sqrt((1 / 6 + 1 / 2) * differences.var(ddof=1))
    assert found.standard_error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / error, 5))
    uncorrected = stats.ttest_1samp(differences.ravel(), 0).pvalue
    assert found.p_value > uncorrected


def test_one_training_shows_nothing():
    assert test_corrected_resampled(np.array([[0.5]])).p_value == 1.0


def test_the_folds_mean_is_the_difference_of_balanced_accuracy(design):
    labels = design.labels.copy()
    labels[:30] = 0  # unequal classes
    design = Design(labels, design.patients, design.folds)
    first, second = answer(design, 0.8, 0), answer(design, 0.6, 1)
    paired = first.astype(float) - second
    recalls = [paired[:, labels == label].mean() for label in range(3)]
    assert compute_fold_differences(paired, design).mean() == pytest.approx(np.mean(recalls))


def test_the_bootstrap_keeps_a_patients_films_together(design):
    # Both films of a patient say the same: the spread is that of 60 patients, not of 120 films.
    by_patient = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 60)
    draws = bootstrap_balanced(by_patient[design.patients], design, count(design, 4000))
    assert draws.std() == pytest.approx(by_patient.std() / np.sqrt(60), rel=0.1)


def test_holm():
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([]) == []


def judge_arms(design, gan, duplicates=None):
    real = answer(design, 0.5, 0)
    right = {"real": real, "gan": gan, "duplicates": real if duplicates is None else duplicates}
    return judge({"gan": ("real", "duplicates")}, right=right, design=design, counts=count(design))


def test_the_three_verdicts(design):
    perfect, none = np.ones((2, 120), bool), np.zeros((2, 120), bool)
    assert judge_arms(design, perfect).verdict == "helps"
    assert judge_arms(design, none).verdict == "hurts"
    same = judge_arms(design, answer(design, 0.5, 3))
    assert same.verdict == "no_evidence"
    assert "could not have been shown" in same.sentence


def test_what_duplicates_do_as_well_is_no_help(design):
    perfect = np.ones((2, 120), bool)
    assert judge_arms(design, perfect, duplicates=perfect).verdict == "no_evidence"


def test_one_film_of_thousands_is_no_minus_zero():
    patients = np.arange(3000)
    design = Design(patients % 3, patients, (patients // 3) % 3)
    real = answer(design, 0.5, 0)
    gan = real.copy()
    gan[0, np.flatnonzero(real[0])[0]] = False
    right = {"real": real, "gan": gan}
    verdict = judge({"gan": ("real",)}, right=right, design=design, counts=count(design))
    assert "by +0.0 points" in verdict.sentence


def test_no_arm_no_verdict(design):
    verdict = judge({}, right={}, design=design, counts=count(design))
    assert (verdict.verdict, verdict.arm) == ("no_evidence", None)


def test_more_arms_and_less_data_show_less(design):
    right = {"gan": answer(design, 0.6, 0), "real": answer(design, 0.5, 1)}
    found = compare("gan", "real", right=right, design=design, counts=count(design))
    one = compute_smallest_difference([found], num_arms=1)
    ten = compute_smallest_difference([found], num_arms=10)
    assert 0.05 < one < ten < 1


def test_needed_patients():
    assert compute_needed_patients(0.02, 0.04, 100) == 400
    assert compute_needed_patients(0.006, 0.253, 310) == 560_000  # 551,186: two digits, upwards
    assert compute_needed_patients(0.3, 0.04, 107) == 107
    assert compute_needed_patients(0.0, 0.04, 100) is None
    assert compute_needed_patients(0.05, None, 100) is None
