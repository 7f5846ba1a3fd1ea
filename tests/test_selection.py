"""The paper's two rules, and those that rank."""

import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxgan.core.errors import UserError
from jaxgan.sampling.selection import (
    DIVERSE_RULES,
    MIN_HELD_OUT,
    RANKING_RULES,
    RULES,
    accept_by_batch_loss,
    accept_by_probability,
    calibrate,
    choose_by_rank,
    compute_acceptance,
    count_candidates,
    match_targets,
    sample_by_rejection,
)
from jaxgan.training.record import LOOKING_RULES

TABLE = {"covid": 192, "pneumonia": 150, "normal": 61}


def test_the_classes_of_a_table_find_their_numbers_in_whatever_case():
    found = match_targets(("normal", "COVID", "Pneumonia"), TABLE)
    assert list(found.items()) == [("normal", 61), ("COVID", 192), ("Pneumonia", 150)]


@pytest.mark.parametrize(
    "names",
    [
        ("normal", "tumour"),
        ("NORMAL", "PNEUMONIA"),  # a well-known set of children's films
        ("covid", "lung opacity", "normal", "pneumonia"),
        ("covid", "normal", "Normal"),
        ("covid", "normal", "normal ", "pneumonia"),
        ("normal",),
    ],
)
def test_other_classes_get_nothing_of_a_table_whatever_one_of_them_is_called(names):
    assert match_targets(names, TABLE) == {}


def test_records_know_which_rules_keep_images_of_a_look():
    """They lie below, and can not ask."""
    assert {name for name, rule in RULES.items() if rule.keeps_looks} == set(LOOKING_RULES)


def test_a_rule_keeps_images_of_looks_of_batches_or_chooses_of_the_finished_generator():
    for name, rule in RULES.items():
        assert sum((rule.keeps_looks, rule.keeps_batches, rule.chooses)) == 1, name
        assert rule.ranks or not rule.calibrates, name
        assert not (rule.ranks and rule.spreads), name
        assert (name in RANKING_RULES) == rule.ranks
        assert (name in DIVERSE_RULES) == rule.spreads


def test_the_text_keeps_an_image_from_the_threshold_on():
    scores = np.array([0.75, 0.76, 0.77, 0.0, 1.0])
    assert accept_by_probability(scores, 0.76).tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("fake_loss", "real_loss", "expected"),
    [(0.75, 0.5, False), (0.76, 0.5, True), (3.0, 0.5, True), (0.4, 0.4, True), (0.4, 0.41, False)],
)
def test_the_listing_keeps_by_the_loss_of_the_batch(fake_loss, real_loss, expected):
    assert (
        accept_by_batch_loss(fake_loss=fake_loss, real_loss=real_loss, threshold=0.76) == expected
    )


def test_the_two_rules_contradict_each_other():
    """A batch with D(G(z)) of 0.54 for every image: the listing saves one, the text none."""
    scores = np.full(8, 0.54)
    loss = float(np.mean(-np.log(1 - scores)))
    assert accept_by_batch_loss(fake_loss=loss, real_loss=0.1, threshold=0.76)
    assert not accept_by_probability(scores, 0.76).any()


def test_rejection_sampling_takes_as_many_as_wanted_and_prefers_the_likely():
    log_odds = np.linspace(-4, 4, 400)
    chosen = sample_by_rejection(log_odds, 100, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen)) == 100
    assert log_odds[chosen].mean() > 1
    assert len(sample_by_rejection(log_odds, 900, np.random.default_rng(0))) == 400


def test_what_rejection_leaves_wanting_is_filled_with_the_most_probable():
    """Not with the least probable, which is then hardly ever kept."""
    log_odds = np.linspace(-3.0, 0.0, 50)
    probabilities = compute_acceptance(log_odds, 20)
    chosen = [sample_by_rejection(log_odds, 20, np.random.default_rng(s)) for s in range(200)]
    share = np.bincount(np.concatenate(chosen), minlength=50) / 200
    assert share[0] < probabilities[0] + 0.05
    assert share[-1] > 0.9  # 1 but for those that are too many and cut off at random


def test_calibration_is_a_logistic_regression_on_standardised_logits():
    rng = np.random.default_rng(0)
    fake, real = rng.normal(0, 3, 30), rng.normal(2, 3, 20)
    scale = np.concatenate([fake, real]).std()
    model = LogisticRegression(class_weight="balanced")
    model.fit(np.r_[fake, real][:, None] / scale, np.r_[np.zeros(30), np.ones(20)])
    expected = model.intercept_ + model.coef_[0] * fake / scale
    np.testing.assert_allclose(calibrate(fake, real), expected, rtol=1e-9)
    np.testing.assert_allclose(calibrate(np.ones(30), np.ones(20)), 0.0, atol=1e-6)


def test_a_discriminator_that_held_out_images_speak_against_chooses_at_random():
    """It believes them less than generated ones: what it believes least is no better for that."""
    logits, held_logits = np.linspace(-2.0, 2.0, 400), np.array([-1.0, -0.5, -2.0, -1.5])
    np.testing.assert_array_equal(calibrate(logits, held_logits), np.zeros(400))
    chosen = [choose_by_rank("calibrated", logits, held_logits, 100, seed=s) for s in range(100)]
    assert {len(set(indices)) for indices in chosen} == {100}
    share = np.bincount(np.concatenate(chosen), minlength=400) / 100
    halves = share[:200].mean(), share[200:].mean()
    np.testing.assert_allclose(halves, 0.25, atol=0.02)
    assert (calibrate(logits, -held_logits) != 0.0).any()


def test_calibration_never_prefers_what_the_discriminator_believes_less():
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits, held_logits = rng.normal(size=200), rng.normal(size=MIN_HELD_OUT)
        log_odds = calibrate(logits, held_logits)
        assert (np.diff(log_odds[np.argsort(logits)]) >= 0.0).all()


def test_calibration_makes_probabilities_of_logits():
    rng = np.random.default_rng(0)
    fake, real = rng.normal(0, 1, 2000), rng.normal(2, 1, 2000)
    log_odds = calibrate(fake, real)
    # Two normals of unit spread, 2 apart: log-odds are 2 x - 2.
    np.testing.assert_allclose(log_odds, 2 * fake - 2, atol=0.5)
    assert np.isfinite(calibrate(fake, real[:MIN_HELD_OUT])).all()
    with pytest.raises(UserError, match="too few to calibrate"):
        calibrate(fake, real[: MIN_HELD_OUT - 1])


def test_the_top_are_the_highest_in_order_of_appearance():
    logits = np.array([0.0, 3.0, -1.0, 2.0, 5.0])
    assert choose_by_rank("top_k", logits, np.zeros(0), 3).tolist() == [1, 3, 4]
    assert choose_by_rank("top_k", logits, np.zeros(0), 9).tolist() == [0, 1, 2, 3, 4]


def test_rejection_sampling_brings_a_mixture_to_the_share_of_the_real():
    """Real: half of each mode. Generated: nine in ten of one. With D's true odds both come out."""
    rng = np.random.default_rng(0)
    rare = rng.random(4000) < 0.1
    log_odds = np.where(rare, np.log(0.5 / 0.1), np.log(0.5 / 0.9))
    chosen = sample_by_rejection(log_odds, 400, rng)
    assert len(chosen) == 400
    assert abs(rare[chosen].mean() - 0.5) < 0.08


def test_rejection_sampling_of_many_candidates_takes_no_time():
    """What was accepted is looked up once, not once a candidate (15 s for 16,000)."""
    log_odds = np.random.default_rng(0).normal(size=16_000)
    began = time.process_time()
    chosen = sample_by_rejection(log_odds, 4000, np.random.default_rng(1))
    assert time.process_time() - began < 2.0
    assert len(set(chosen.tolist())) == 4000


def test_acceptance_is_exact_where_it_suffices_and_else_as_much_as_is_wanted():
    log_odds = np.linspace(-3.0, 0.0, 50)
    exact = np.exp(log_odds)  # sums to 16.4
    np.testing.assert_allclose(compute_acceptance(log_odds, 5), exact, atol=1e-4)
    np.testing.assert_allclose(compute_acceptance(log_odds + 7.0, 16), exact, atol=1e-4)
    raised = compute_acceptance(log_odds, 30)
    assert raised.sum() == pytest.approx(30.0)
    assert (raised > exact - 1e-6).all() and (np.diff(raised) > 0).all()


def test_a_calibration_does_not_depend_on_the_unit_of_logits():
    rng = np.random.default_rng(0)
    fake, real = rng.normal(0, 1, 60), rng.normal(1, 1, 40)
    np.testing.assert_allclose(
        calibrate(fake / 1000, real / 1000), calibrate(fake, real), atol=1e-3
    )


def test_candidates_are_so_many_for_each_up_to_a_limit():
    assert count_candidates(10, 2.25, 100) == 23
    assert count_candidates(10, 2.25, 15) == 15
