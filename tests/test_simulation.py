"""A small part of what docs/verdict.md measures, and that the simulated truth is true."""

import dataclasses

import numpy as np
import pytest

from jaxgan.study.simulation import (
    World,
    find_verdict_on,
    format_simulations,
    run_simulations,
    simulate_many,
    simulate_study,
)
from jaxgan.study.statistics import (
    compute_needed_patients,
    compute_smallest_difference,
    estimate_fold_variance,
    estimate_training_variances,
)

WORLD = World(num_patients=120, num_folds=3, num_seeds=2, num_gan_arms=2)


def test_a_gain_is_planted_as_large_as_it_says():
    world = dataclasses.replace(WORLD, num_patients=6000)
    study = simulate_study(world, {"gan 0": 0.1}, np.random.default_rng(0))
    means = {arm: right.mean() for arm, right in study.right.items()}
    assert means["gan 0"] - means["real"] == pytest.approx(0.1, abs=0.03)
    assert study.truth["gan 0"] == pytest.approx(means["gan 0"], abs=0.02)


def test_patients_are_in_one_fold_and_difficulty_is_shared():
    study = simulate_study(WORLD, {}, np.random.default_rng(1))
    pairs = set(zip(study.design.patients, study.design.folds, strict=True))
    assert len(pairs) == WORLD.num_patients
    agreement = np.mean(study.right["real"] == study.right["gan 0"])
    assert agreement > 0.6  # 0.55 if they were independent


def test_no_difference_gives_hardly_ever_a_verdict_and_a_large_one_does():
    null = simulate_many(WORLD, gain=0.0, num_studies=40, seed=0)
    assert null["verdicts"]["no_evidence"] >= 0.95
    assert null["coverage"]["by_patient"] >= 0.85
    large = simulate_many(WORLD, gain=0.33, num_studies=20, seed=0)
    assert large["verdicts"]["helps"] > 0.5


def test_the_table_has_a_line_a_world():
    results = run_simulations(num_studies=2, num_pilots=1, seed=0, worlds={"tiny": WORLD})
    assert "| tiny |" in format_simulations(results)


def test_studies_ask_for_as_many_patients_as_it_takes():
    """docs/verdict.md: four times the patients state 7.9 for 12.2 points, not the half."""
    world, needed = World(), []
    for index in range(30):
        study = simulate_study(world, {}, np.random.default_rng([1, index]))
        arms = find_verdict_on(study, world, index, describe=False).arms
        everything = [c for arm in arms for c in arm.comparisons]
        noise = {"num_arms": 4, "shared_variance": estimate_fold_variance(everything)}
        first = arms[0].comparisons
        found = compute_needed_patients(
            7.9 / 12.2 * compute_smallest_difference(first, **noise),
            first,
            training_variances=estimate_training_variances(everything),
            **noise,
        )
        needed.append(found or np.inf)
    assert 750 < np.median(needed) < 1500  # 600 if all the noise were of patients


def test_more_patients_do_not_help_against_trainings():
    world = World(num_patients=1000, num_gan_arms=1, arm_patient=0.0, wobble=0.05, fold=0.4)
    study = simulate_study(world, {}, np.random.default_rng(0))
    verdict = find_verdict_on(study, world, 0, describe=True)
    arm = verdict.arms[0]
    assert abs(arm.against_real.estimate) > 0.01 and arm.needed_patients is None
    assert "More patients alone would not show the observed difference" in verdict.sentence
