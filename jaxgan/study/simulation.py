"""Simulated studies with a known truth, to measure how often the rules of `statistics` are wrong.

A classifier is right about an image where a latent number is above 0. That number is a sum of three
parts. The first is shared by all arms: the difficulty of the patient and of the film. The second
belongs to one arm: effects of a patient, a fold's training set and generator, a seed, a single
film. The third is the planted gain.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from jaxgan.core.errors import UserError
from jaxgan.study.statistics import Design, Verdict, draw_patients, find_verdict

_FILMS_PER_PATIENT = (0.55, 0.25, 0.12, 0.08)  # probabilities of 1, 2, 3 and 4 films


@dataclass(frozen=True)
class World:
    """How big a study is and where its noise comes from: standard deviations of the latent."""

    num_patients: int = 250
    num_classes: int = 3
    num_folds: int = 5
    num_seeds: int = 3
    num_gan_arms: int = 4
    accuracy: float = 0.65
    patient: float = 1.0  # shared by all arms
    film: float = 0.7  # shared by all arms
    arm_patient: float = 0.3  # an arm's own, the same in all its trainings
    fold: float = 0.05  # of a fold's training set and generator, an arm's own
    seed: float = 0.05  # of a whole training, an arm's own
    wobble: float = 0.5  # of one film in one training, an arm's own

    @property
    def spread(self) -> float:
        """The standard deviation of the latent over patients and films, given the trainings."""
        parts = (self.patient, self.film, self.arm_patient, self.wobble)
        return float(np.sqrt(sum(part**2 for part in parts)))

    @property
    def arms(self) -> dict[str, tuple[str, ...]]:
        """The arms in the verdict, each with its controls."""
        return {f"gan {i}": ("real", "duplicates") for i in range(self.num_gan_arms)}

    def find_latent(self, accuracy: float) -> float:
        """Return the latent mean that gives a share `accuracy` of right films."""
        trainings = self.fold**2 + self.seed**2
        return float(ndtri(accuracy) * np.sqrt(self.spread**2 + trainings))


@dataclass(frozen=True)
class SimulatedStudy:
    """The data of a study, and the true accuracy of its trainings by arm."""

    design: Design
    right: Mapping[str, np.ndarray]
    truth: Mapping[str, float]


def simulate_study(
    world: World, gains: Mapping[str, float], rng: np.random.Generator
) -> SimulatedStudy:
    """Draw a study; `gains` are differences of accuracy by arm, 0 for all other arms."""
    films = 1 + rng.choice(len(_FILMS_PER_PATIENT), size=world.num_patients, p=_FILMS_PER_PATIENT)
    patients = np.repeat(np.arange(world.num_patients), films)
    labels = rng.permutation(np.arange(world.num_patients) % world.num_classes)[patients]
    folds = rng.permutation(np.arange(world.num_patients) % world.num_folds)[patients]
    design = Design(labels, patients, folds)
    shared = world.patient * rng.standard_normal(world.num_patients)[patients]
    shared = shared + world.film * rng.standard_normal(len(patients))
    right, truth = {}, {}
    for arm in ("real", "duplicates", *world.arms):
        mean = world.find_latent(world.accuracy + gains.get(arm, 0.0))
        own = world.arm_patient * rng.standard_normal(world.num_patients)[patients]
        shifts = mean + world.fold * rng.standard_normal((world.num_folds, 1))
        shifts = shifts + world.seed * rng.standard_normal((world.num_folds, world.num_seeds))
        wobble = world.wobble * rng.standard_normal((world.num_seeds, len(patients)))
        right[arm] = shared + own + shifts[folds].T + wobble > 0
        truth[arm] = float(ndtr(shifts / world.spread).mean())
    return SimulatedStudy(design, right, truth)


def find_verdict_on(study: SimulatedStudy, world: World, seed: int, *, describe: bool) -> Verdict:
    """Return the verdict on a simulated study by the rules of `launch/study.py`."""
    counts = draw_patients(study.design, np.random.default_rng(seed), num_draws=500)
    return find_verdict(
        world.arms, right=study.right, design=study.design, counts=counts, describe=describe
    )


def simulate_many(world: World, *, gain: float, num_studies: int, seed: int) -> dict[str, Any]:
    """Return how often each verdict came and how often the intervals held the truth.

    `gain` is planted in one arm, 0 in all others.
    """
    verdicts = {"helps": 0, "no_evidence": 0, "hurts": 0}
    covered = {"by_patient": 0, "by_training": 0}
    num_intervals, wrong_arm = 0, 0
    gains = {"gan 0": gain} if gain else {}
    for index in range(num_studies):
        rng = np.random.default_rng([seed, index])
        study = simulate_study(world, gains, rng)
        verdict = find_verdict_on(study, world, index, describe=False)
        verdicts[verdict.verdict] += 1
        for arm in verdict.arms:
            wrong_arm += arm.p_helps <= 0.05 and arm.arm not in gains
            comparison = arm.against_real
            here = study.truth[arm.arm] - study.truth["real"]
            num_intervals += 1
            covered["by_patient"] += _holds(comparison.by_patient.interval, here)
            covered["by_training"] += _holds(
                comparison.by_training.interval, gains.get(arm.arm, 0.0)
            )
    return {
        "num_studies": num_studies,
        "gain": gain,
        "verdicts": {name: count / num_studies for name, count in verdicts.items()},
        "coverage": {name: count / num_intervals for name, count in covered.items()},
        "arms_wrongly_said_to_help": wrong_arm / num_studies,
    }


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is None or interval[0] <= truth <= interval[1]


def state_smallest_difference(world: World, *, num_pilots: int, seed: int) -> float:
    """Return the smallest difference that null studies say they can show (median).

    A study that can show none counts as 1.
    """
    stated = []
    for index in range(num_pilots):
        study = simulate_study(world, {}, np.random.default_rng([seed, index]))
        first = find_verdict_on(study, world, index, describe=True).arms[0]
        stated.append(1.0 if first.smallest is None else first.smallest)
    return float(np.median(stated))


WORLDS: Mapping[str, World] = {
    "5 folds x 3 seeds, 250 patients": World(),
    "3 folds x 2 seeds, 250 patients": World(num_folds=3, num_seeds=2),
    "3 folds x 2 seeds, 80 patients": World(num_folds=3, num_seeds=2, num_patients=80),
    "5 folds x 3 seeds, seeds noisy": World(seed=0.2, wobble=0.8),
    "5 folds x 3 seeds, folds noisy": World(fold=0.2),
    "3 folds x 2 seeds, folds noisy": World(fold=0.2, num_folds=3, num_seeds=2),
    "3 folds x 1 seed, folds noisy": World(fold=0.2, num_folds=3, num_seeds=1),
    "5 folds x 3 seeds, one GAN arm": World(num_gan_arms=1),
    "5 folds x 3 seeds, 12 GAN arms": World(num_gan_arms=12),
    "the same, folds noisy": World(num_gan_arms=12, fold=0.2),
    "5 folds x 3 seeds, 1,000 patients": World(num_patients=1000),
}


def run_simulations(
    *, num_studies: int, num_pilots: int, seed: int, worlds: Mapping[str, World] = WORLDS
) -> dict[str, Any]:
    """Return, for each world, the results of the rules without and with the stated difference."""
    for name, value, least in (
        ("seed", seed, 0),
        ("num_studies", num_studies, 1),
        ("num_pilots", num_pilots, 1),
    ):
        if value < least:
            raise UserError(f"--{name} is {value}, expected {least} or more.")
    results = {}
    for name, world in worlds.items():
        began = time.monotonic()
        stated = state_smallest_difference(world, num_pilots=num_pilots, seed=seed + 2)
        results[name] = {
            "stated_smallest_difference": stated,
            "null": simulate_many(world, gain=0.0, num_studies=num_studies, seed=seed),
        }
        if stated < 0.95 - world.accuracy:
            results[name]["planted"] = simulate_many(
                world, gain=stated, num_studies=num_studies, seed=seed + 1
            )
        results[name]["seconds"] = round(time.monotonic() - began, 1)
    return results


def format_simulations(results: Mapping[str, Any]) -> str:
    """Return a Markdown table of what `run_simulations` found."""
    lines = [
        "| world | null: helps or hurts | stated difference | planted: helps | wrong arm "
        "| interval holds (patients) | (trainings) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        null, planted = result["null"], result.get("planted")
        wrong = null["verdicts"]["helps"] + null["verdicts"]["hurts"]
        found = f"{planted['verdicts']['helps']:.1%}" if planted else "not planted: above 95 %"
        other = f"{planted['arms_wrongly_said_to_help']:.1%}" if planted else "-"
        coverage = null["coverage"]
        lines.append(
            f"| {name} | {wrong:.1%} | {100 * result['stated_smallest_difference']:.1f} points "
            f"| {found} | {other} | {coverage['by_patient']:.1%} | {coverage['by_training']:.1%} |"
        )
    return "\n".join(lines)
