"""The verdict's rules against closed forms and small cases done by hand."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from jaxgan.study import statistics as module
from jaxgan.study.statistics import (
    Design,
    adjust_holm,
    bootstrap_balanced,
    compare,
    compute_film_variance,
    compute_fold_differences,
    compute_needed_patients,
    compute_smallest_difference,
    draw_patients,
    estimate_by_training,
    estimate_training_variances,
    find_verdict,
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
    found = estimate_by_training(differences, step=0.001)
    error = np.sqrt((1 / 6 + 1 / 2) * differences.var(ddof=1))
    assert found.standard_error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / error, 5))
    uncorrected = stats.ttest_1samp(differences.ravel(), 0).pvalue
    assert found.p_value > uncorrected


@pytest.mark.parametrize("differences", [[[0.5]], [[0.5], [0.5]], [[0.5], [0.4]]])
def test_one_training_or_two_show_nothing(differences):
    found = estimate_by_training(np.array(differences), step=0.01)
    assert (found.p_value, found.interval) == (1.0, None)


def test_trainings_that_agree_are_as_uncertain_as_one_image():
    # s / sqrt(J) of three folds, one of which has one image more: a step
    step = float(np.std([0.0, 0.0, 0.03], ddof=1)) / np.sqrt(3)
    assert step == pytest.approx(0.01)
    same = estimate_by_training(np.full((3, 1), 0.03), step=step)
    assert same.standard_error == pytest.approx(step * np.sqrt(1 + 3 / 2))
    assert same.p_value > 0.1
    nearly = estimate_by_training(np.array([[0.03], [0.0301], [0.0299]]), step=step)
    assert nearly.p_value == pytest.approx(same.p_value)


def test_one_image_moves_the_difference_by_a_step(design):
    right = {"real": answer(design, 0.5, 0)}
    right["gan"] = right["real"].copy()
    right["gan"][1, 7] ^= True
    found = compare("gan", "real", right=right, design=design, counts=count(design))
    assert abs(found.estimate) == pytest.approx(design.compute_step(2))
    same = compare("real", "real", right=right, design=design, counts=count(design))
    assert same.by_patient.standard_error == pytest.approx(design.compute_step(2))
    assert same.by_patient.p_value == 1.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_two_folds_of_one_seed_give_no_verdict(share):
    patients = np.arange(400)
    design = Design(patients % 2, patients, patients // 2 % 2)
    real = (patients // 4 % 2 == 0)[None]  # half of each class in each fold
    right = {"real": real, "gan": np.full((1, 400), bool(share))}
    verdict = find_verdict({"gan": ("real",)}, right=right, design=design, counts=count(design))
    comparison = verdict.arms[0].against_real
    assert comparison.folds == pytest.approx(np.full((2, 1), share - 0.5))
    assert comparison.by_patient.p_value < 1e-6
    assert verdict.verdict == "no_evidence"
    assert "cannot show even the largest difference" in verdict.sentence


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
    return find_verdict(
        {"gan": ("real", "duplicates")}, right=right, design=design, counts=count(design)
    )


def test_the_three_verdicts(design):
    perfect, none = np.ones((2, 120), bool), np.zeros((2, 120), bool)
    assert judge_arms(design, perfect).verdict == "helps"
    assert judge_arms(design, none).verdict == "hurts"
    same = judge_arms(design, answer(design, 0.5, 3))
    assert same.verdict == "no_evidence"
    shown = f"would have shown a difference of {100 * same.arms[0].smallest:.1f} points in 80 of"
    assert shown in same.sentence


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
    verdict = find_verdict({"gan": ("real",)}, right=right, design=design, counts=count(design))
    assert "by +0.0 points" in verdict.sentence


@pytest.mark.parametrize(
    ("patients", "trainings", "words"),
    [
        ((-0.01, 0.02), (-0.1, 0.2), ""),
        ((0.001, 0.02), (-0.1, 0.2), "Over trainings it is [-10.0, +20.0]: with other seeds"),
        ((0.001, 0.02), (0.01, 0.2), "it is not above all its controls by Holm's"),
        ((-0.02, -0.001), (-0.2, -0.01), "it is not below its first control by Holm's"),
        ((0.001, 0.02), None, "over patients. An interval over trainings needs more"),
    ],
)
def test_no_evidence_is_explained_where_an_interval_leaves_out_zero(patients, trainings, words):
    def make_test(interval):
        middle = 0.0 if interval is None else sum(interval) / 2
        return module.Estimate(middle, 0.1, 5, 0.5, interval)

    tests = make_test(trainings), make_test(patients)
    comparison = module.Comparison("gan", "real", *tests, np.zeros((3, 2)), np.zeros(9), 0.0)
    sentence = module._describe_no_evidence(
        module.ArmResult("gan", (comparison,), 1.0, 1.0, 0.2, None)
    )
    assert words in sentence
    assert bool(words) == any(w in sentence.lower() for w in ("exclude 0", "over trainings"))


def test_no_arm_no_verdict(design):
    verdict = find_verdict({}, right={}, design=design, counts=count(design))
    assert (verdict.verdict, verdict.arm) == ("no_evidence", None)


def test_more_arms_and_less_data_show_less(design):
    right = {"gan": answer(design, 0.6, 0), "real": answer(design, 0.5, 1)}
    found = compare("gan", "real", right=right, design=design, counts=count(design))
    one = compute_smallest_difference([found], num_arms=1)
    ten = compute_smallest_difference([found], num_arms=10)
    assert 0.05 < one < ten < 1


@pytest.fixture
def compared():
    """An arm against `real` on 300 patients in 5 folds of 3 seeds: chance by film alone."""
    patients = np.arange(300)
    design = Design(patients % 3, patients, patients // 3 % 5)
    right = {"gan": answer(design, 0.5, 0, 3), "real": answer(design, 0.5, 1, 3)}
    return compare("gan", "real", right=right, design=design, counts=count(design))


def test_films_alone_explain_the_seeds_where_nothing_else_is():
    found = []
    for seed in range(20):
        patients = np.arange(300)
        design = Design(patients % 3, patients, patients // 3 % 5)
        paired = 1.0 * answer(design, 0.5, seed, 3) - answer(design, 0.5, seed + 50, 3)
        by_seed = compute_fold_differences(paired, design).var(axis=1, ddof=1).mean()
        found.append((by_seed, compute_film_variance(paired, design)))
    by_seed, by_film = np.mean(found, axis=0)
    assert by_film == pytest.approx(2 * 0.25 / 60, rel=0.02)  # 60 images a fold, two coins each
    assert by_seed == pytest.approx(by_film, rel=0.2)
    assert compute_film_variance(paired[:1], design) == 0.0


def test_what_whole_trainings_share_is_not_of_films(compared):
    rng = np.random.default_rng(0)
    shifts = (
        0.3 * rng.standard_normal((5, 1)) + 0.2 * rng.standard_normal((5, 3)) for _ in "x" * 60
    )
    shifted = [dataclasses.replace(compared, folds=compared.folds + shift) for shift in shifts]
    assert estimate_training_variances(shifted) == pytest.approx((0.09, 0.04), rel=0.15)
    assert estimate_training_variances([]) == (0.0, 0.0)


def test_patients_alone_show_more_by_the_root_of_their_number(compared):
    smallest = compute_smallest_difference([compared], num_arms=2)
    for difference in (0.51 * smallest, -0.51 * smallest):  # 300 / 0.51^2 = 1153, upwards
        assert compute_needed_patients(difference, [compared], num_arms=2) == 1200
    far = compute_needed_patients(smallest / 50, [compared], num_arms=2)
    assert far == pytest.approx(750_000, rel=0.05) and far % 10_000 == 0
    assert compute_needed_patients(1.1 * smallest, [compared], num_arms=2) == 300
    assert compute_needed_patients(0.0005, [compared], num_arms=2) is None


def test_no_number_of_patients_does_where_trainings_are_noisy(compared):
    noise = {"num_arms": 2, "shared_variance": 0.001}
    smallest = compute_smallest_difference([compared], **noise)
    needed = [
        compute_needed_patients(smallest / 2, [compared], training_variances=(0.0, seeds), **noise)
        for seeds in (0.0, 0.0005, 0.005)
    ]
    assert 1200 <= needed[0] < needed[1]
    assert needed[2] is None
