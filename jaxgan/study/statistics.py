"""Is the difference between two arms of a study more than chance? Fixed rules, in docs/verdict.md.

All arms are tested on the same images, each once a seed, by a classifier that has not seen its
fold. The measure is balanced accuracy, written as a weighted mean so that it is a sum over images:
`D = sum_i (right in arm - right in control) / (classes * images of i's class)`.

D varies from one study to the next for two reasons, and each has its own test. For the trainings it
is the corrected resampled t-test over folds and seeds. For the tested patients it is a bootstrap
that draws patients. A difference counts only where both agree.

Counts come in steps: trainings that all differ by one image have no spread. A test would call that
certain. So both tests use a smallest spread: that of one changed image in one training.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # not scipy.stats: half a second of every launch

from jaxgan.metrics.measure import LEVEL

ALPHA = 1 - LEVEL
POWER = 0.8
NUM_BOOTSTRAP = 2000
_POWER_DRAWS = 4000  # simulated studies behind a statement of power
_LARGEST = 1.0  # no difference of accuracies is larger
_MOST_PATIENTS = 10_000_000  # what takes more is not a matter of patients
_FEWEST_TRAININGS = 3  # of two, the spread has one degree of freedom: no evidence


@dataclass(frozen=True)
class Design:
    """What all arms share: `labels`, `patients` and `folds` are numbers from 0, each [num_images].

    A patient is in one fold only.
    """

    labels: np.ndarray
    patients: np.ndarray
    folds: np.ndarray

    @property
    def num_folds(self) -> int:
        """The number of folds."""
        return int(self.folds.max()) + 1

    @property
    def num_patients(self) -> int:
        """The number of patients tested."""
        return int(self.patients.max()) + 1

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1

    def compute_weights(self) -> np.ndarray:
        """Return each image's weight [num_images] in balanced accuracy; they sum to 1."""
        counts = np.bincount(self.labels, minlength=self.num_classes)
        return 1.0 / (np.count_nonzero(counts) * counts[self.labels])

    def compute_step(self, num_seeds: int) -> float:
        """Return the largest change of D when one image changes in one training."""
        return float(self.compute_weights().max()) / num_seeds


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error, degrees of freedom, two-sided p and 95 % interval."""

    estimate: float
    standard_error: float
    degrees: int
    p_value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """An arm minus a control, tested over trainings and over patients.

    `draws` [num_draws] are the bootstrap's differences, `folds` [num_folds, num_seeds] the
    differences by training. `film_variance` is the variance between the seeds of a fold that comes
    from single films alone (`compute_film_variance`).
    """

    arm: str
    control: str
    by_training: Estimate
    by_patient: Estimate
    folds: np.ndarray
    draws: np.ndarray
    film_variance: float

    @property
    def estimate(self) -> float:
        """The difference of balanced accuracy, arm minus control."""
        return self.by_patient.estimate

    def get_p_value(self, sign: int) -> float:
        """Return the larger p of both tests, 1 where the difference has another sign."""
        if self.estimate * sign <= 0:
            return 1.0
        return max(self.by_patient.p_value, self.by_training.p_value)


# The two tests ---------------------------------------------------------------------------------


def compute_fold_differences(paired: np.ndarray, design: Design) -> np.ndarray:
    """Return D by training [num_folds, num_seeds] of differences `paired` [num_seeds, num_images].

    Their plain mean is D itself: a fold counts by its share of the images' weights.
    """
    weighted = paired * design.compute_weights()
    sums = [np.bincount(design.folds, row, minlength=design.num_folds) for row in weighted]
    return np.stack(sums, axis=1) * design.num_folds


def compute_film_variance(paired: np.ndarray, design: Design) -> float:
    """Return the part of the variance of D between a fold's seeds that comes from single patients.

    It is the sum of squares of each patient's part. What a training changes for all patients does
    not appear. More patients reduce this part, but not the rest. 0 where there is one seed.
    """
    if len(paired) < 2:
        return 0.0
    rest = (paired - paired.mean(axis=0)) * design.compute_weights() * design.num_folds
    by_patient = np.stack([np.bincount(design.patients, row) for row in rest])
    return float((by_patient**2).sum()) / ((len(paired) - 1) * design.num_folds)


def estimate_by_training(differences: np.ndarray, *, step: float) -> Estimate:
    """Test differences [num_folds, num_seeds] against 0 (Nadeau and Bengio 2003, eq. 15).

    Trainings share most of their images, so the variance of the mean is not s^2 / J but
    s^2 (1 / J + tested / trained), with tested / trained = 1 / (num_folds - 1). s / sqrt(J) is
    taken to be at least `step` (`Design.compute_step`).
    """
    num = differences.size
    mean = float(differences.mean())
    if num < _FEWEST_TRAININGS or len(differences) < 2:
        return _create_estimate(mean, math.inf, 0)
    error = max(float(differences.std(ddof=1)) / math.sqrt(num), step)
    return _create_estimate(mean, error * math.sqrt(1 + num / (len(differences) - 1)), num - 1)


def draw_patients(design: Design, rng: np.random.Generator, num_draws: int) -> np.ndarray:
    """Return how often each patient is drawn [num_draws, num_patients], with replacement."""
    num = design.num_patients
    return rng.multinomial(num, np.full(num, 1 / num), size=num_draws).astype(np.float64)


def bootstrap_balanced(values: np.ndarray, design: Design, counts: np.ndarray) -> np.ndarray:
    """Return the class-balanced mean of `values` [..., num_images] in each draw [..., num_draws].

    `counts` is what `draw_patients` returned: the same draws for all arms keep them paired. A draw
    without any image of a class averages over the classes it has.
    """
    cells = design.patients * design.num_classes + design.labels
    shape = (design.num_patients, design.num_classes)

    def add_up(row: np.ndarray) -> np.ndarray:
        return np.bincount(cells, row, minlength=shape[0] * shape[1]).reshape(shape)

    images = counts @ add_up(np.ones(len(cells)))
    flat = values.reshape(-1, values.shape[-1])
    sums = np.stack([counts @ add_up(row) for row in flat])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nanmean(sums / images, axis=-1)
    return means.reshape(*values.shape[:-1], len(counts))


def estimate_by_patient(paired: np.ndarray, design: Design, draws: np.ndarray) -> Estimate:
    """Test D of `paired` [num_seeds, num_images] with the spread of its bootstrap `draws`."""
    estimate = float((paired.mean(axis=0) * design.compute_weights()).sum())
    num = design.num_patients
    if num < 2:
        return _create_estimate(estimate, math.inf, 0)
    spread = float(draws.std(ddof=1)) * math.sqrt(num / (num - 1))
    return _create_estimate(estimate, max(spread, design.compute_step(len(paired))), num - 1)


def _create_estimate(estimate: float, standard_error: float, degrees: int) -> Estimate:
    if degrees < 1:
        return Estimate(estimate, math.inf, 0, 1.0, None)
    half = float(stdtrit(degrees, 1 - ALPHA / 2)) * standard_error
    p_value = 2 * float(stdtr(degrees, -abs(estimate) / standard_error))
    return Estimate(estimate, standard_error, degrees, p_value, (estimate - half, estimate + half))


def compare(
    arm: str,
    control: str,
    *,
    right: Mapping[str, np.ndarray],
    design: Design,
    counts: np.ndarray,
) -> Comparison:
    """Compare two arms of `right`, each bool [num_seeds, num_images] in the order of `design`."""
    paired = right[arm].astype(np.float64) - right[control].astype(np.float64)
    folds = compute_fold_differences(paired, design)
    draws = bootstrap_balanced(paired.mean(axis=0), design, counts)
    return Comparison(
        arm,
        control,
        estimate_by_training(folds, step=design.compute_step(len(paired))),
        estimate_by_patient(paired, design, draws),
        folds,
        draws,
        compute_film_variance(paired, design),
    )


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


# Power -----------------------------------------------------------------------------------------


def compute_smallest_difference(
    comparisons: Sequence[Comparison],
    *,
    num_arms: int,
    shared_variance: float = 0.0,
) -> float | None:
    """Return the smallest true difference that the rule finds in a share `POWER` of such studies.

    `comparisons` are those of one arm with all of its controls. Holm divides the 5 % among
    `num_arms` arms. Studies are simulated from the spread in this study: over patients, over
    seeds, and `shared_variance` over folds (`estimate_fold_variance`). None where even a
    difference of 1 would not be found.
    """
    studies = _PowerNoise.draw(comparisons, shared_variance).simulate()
    level = ALPHA / num_arms  # Holm's first step: one arm stands out, the others do not

    def is_found(difference: float) -> bool:
        return studies.compute_power(difference, level) >= POWER

    return _find_least(is_found, _LARGEST, num_halvings=24)


def _find_least(is_enough: Callable[[float], bool], most: float, num_halvings: int) -> float | None:
    """Return about the least number from 0 to `most` that is enough, or None."""
    low, high = 0.0, most
    if not is_enough(high):
        return None
    for _ in range(num_halvings):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def estimate_fold_variance(comparisons: Sequence[Comparison]) -> float:
    """Return the variance of whole folds that patients do not explain, averaged over comparisons.

    One comparison has only one difference per fold. The mean over all of them is more stable.
    """
    excess = [_compute_excess(c) for c in comparisons if len(c.folds) > 1]
    return max(0.0, float(np.mean(excess))) if excess else 0.0


def _compute_excess(comparison: Comparison) -> float:
    num_folds, num_seeds = comparison.folds.shape
    found = float(comparison.folds.mean(axis=1).var(ddof=1))
    by_patient = num_folds * comparison.by_patient.standard_error**2
    return found - max(by_patient, _compute_seed_variance(comparison.folds) / num_seeds)


def estimate_training_variances(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """Return the variances of folds and of trainings, which more patients do not reduce.

    Unlike in `estimate_fold_variance`, the first does not include the second. Only their sum is
    limited to 0 or more: otherwise each would be above 0 in half of the studies without it.
    """
    several = [c for c in comparisons if len(c.folds) > 1]
    if not several:
        return 0.0, 0.0
    seeds = float(np.mean([_compute_seed_variance(c.folds) - c.film_variance for c in several]))
    folds = float(np.mean([_compute_excess(c) for c in several]))
    total = max(0.0, folds - seeds / several[0].folds.shape[1] + seeds)
    by_training = min(max(seeds, 0.0), total)
    return total - by_training, by_training


def compute_needed_patients(
    difference: float,
    comparisons: Sequence[Comparison],
    *,
    num_arms: int,
    shared_variance: float = 0.0,
    training_variances: tuple[float, float] = (0.0, 0.0),
) -> int | None:
    """Return how many patients would show `difference` to be true in a share `POWER` of studies.

    The studies are those of `compute_smallest_difference`, with more patients. The spread gets
    smaller, except for `training_variances` (`estimate_training_variances`). None where there is
    nothing to show, or where no number of patients is enough with these folds and seeds. The
    result is rounded up to two digits, because more digits would not be exact.
    """
    if not _is_worth_showing(difference):
        return None
    noise = _PowerNoise.draw(comparisons, shared_variance, training_variances)
    num_patients = comparisons[0].by_patient.degrees + 1
    level = ALPHA / num_arms

    def is_shown(log_growth: float) -> bool:
        studies = noise.simulate(math.exp(log_growth))
        return studies.compute_power(abs(difference), level) >= POWER

    if is_shown(0.0):
        return num_patients
    most = math.log(_MOST_PATIENTS / num_patients)
    log_growth = _find_least(is_shown, most, num_halvings=12)  # to less than the rounding
    if log_growth is None:
        return None
    needed = math.ceil(num_patients * math.exp(log_growth))
    unit = 10 ** max(len(str(needed)) - 2, 0)
    return math.ceil(needed / unit) * unit


def _is_worth_showing(difference: float) -> bool:
    return abs(difference) >= 1e-3


@dataclass(frozen=True)
class _PowerNoise:
    """What makes studies without a difference vary: by fold and by training, for each control.

    `by_fold` [draws, folds, 1, controls] and `by_seed` [draws, folds, seeds, controls] are of
    variance 1. Of their variances [controls], `patient_variances` are for the present number of
    patients and get smaller with more. `training_variances` do not.
    """

    by_fold: np.ndarray
    by_seed: np.ndarray
    patient_variances: tuple[np.ndarray, np.ndarray]
    training_variances: tuple[np.ndarray, np.ndarray]
    patient_errors: np.ndarray  # [controls]
    num_patients: int

    @classmethod
    def draw(
        cls,
        comparisons: Sequence[Comparison],
        shared_variance: float,
        training_variances: tuple[float, float] = (0.0, 0.0),
    ) -> "_PowerNoise":
        rng = np.random.default_rng(0)
        num_folds, num_seeds = comparisons[0].folds.shape
        errors = np.array([c.by_patient.standard_error for c in comparisons])
        seeds = np.array([_compute_seed_variance(c.folds) for c in comparisons])
        folds = np.maximum(num_folds * errors**2 - seeds / num_seeds, 0.0) + shared_variance
        whole_folds = np.minimum(folds, training_variances[0])
        whole_seeds = np.minimum(seeds, training_variances[1])
        root = _compute_root(np.stack([c.draws for c in comparisons]))
        shape = (_POWER_DRAWS, num_folds, num_seeds, len(comparisons))
        return cls(
            rng.standard_normal((shape[0], num_folds, 1, shape[3])) @ root.T,
            rng.standard_normal(shape) @ root.T,
            (folds - whole_folds, seeds - whole_seeds),
            (whole_folds, whole_seeds),
            errors,
            comparisons[0].by_patient.degrees + 1,
        )

    def simulate(self, growth: float = 1.0) -> "_PowerStudies":
        """Return such studies with `growth` times as many patients."""
        _, num_folds, num_seeds, _ = self.by_seed.shape
        num = num_folds * num_seeds
        if num < _FEWEST_TRAININGS or num_folds < 2:
            return _PowerStudies(np.zeros((1, 1)), math.inf, 1, math.inf, 1.0)
        folds, seeds = (
            np.sqrt(patients / growth + trainings)
            for patients, trainings in zip(
                self.patient_variances, self.training_variances, strict=True
            )
        )
        differences = self.by_fold * folds + self.by_seed * seeds
        correction = 1 / num + 1 / (num_folds - 1)
        return _PowerStudies(
            differences.mean(axis=(1, 2)),
            np.sqrt(correction * differences.var(axis=(1, 2), ddof=1)),
            num - 1,
            self.patient_errors / math.sqrt(growth),
            growth * self.num_patients - 1,
        )


@dataclass(frozen=True)
class _PowerStudies:
    """Simulated differences [draws, controls] and standard errors, with degrees of freedom."""

    means: np.ndarray
    training_errors: np.ndarray | float  # [draws, controls]
    training_degrees: int
    patient_errors: np.ndarray | float  # [controls]
    patient_degrees: float

    def compute_power(self, difference: float, level: float) -> float:
        """Return the share of studies in which both tests of every control find `difference`."""
        needed = np.maximum(
            stdtrit(self.training_degrees, 1 - level / 2) * self.training_errors,
            stdtrit(self.patient_degrees, 1 - level / 2) * self.patient_errors,
        )
        return float(np.mean((self.means + difference > needed).all(axis=1)))


def _compute_seed_variance(folds: np.ndarray) -> float:
    """Return the variance between the seeds of a fold, 0 where there is one seed."""
    return float(folds.var(axis=1, ddof=1).mean()) if folds.shape[1] > 1 else 0.0


def _compute_root(draws: np.ndarray) -> np.ndarray:
    """Return a root of the correlation of the controls' bootstrap draws [controls, num_draws]."""
    if len(draws) == 1 or (draws.std(axis=1) < 1e-12).any():
        return np.eye(len(draws))
    values, vectors = np.linalg.eigh(np.corrcoef(draws))
    return vectors * np.sqrt(np.maximum(values, 0.0))


# The verdict -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmResult:
    """The result of one GAN arm.

    `p_helps` is for being above every control, `p_hurts` for being below the first; `smallest` is
    the smallest difference that such a study finds in it with 80 % power.
    """

    arm: str
    comparisons: tuple[Comparison, ...]
    p_helps: float
    p_hurts: float
    smallest: float | None
    needed_patients: int | None

    @property
    def against_real(self) -> Comparison:
        """The comparison with the first control."""
        return self.comparisons[0]


@dataclass(frozen=True)
class Verdict:
    """`verdict` is `helps`, `no_evidence` or `hurts`; `arms` are all arms in it.

    `arm` is the arm that the sentence is about; None where there are no arms.
    """

    verdict: str
    sentence: str
    arms: tuple[ArmResult, ...]
    arm: ArmResult | None


def find_verdict(
    arms: Mapping[str, Sequence[str]],
    *,
    right: Mapping[str, np.ndarray],
    design: Design,
    counts: np.ndarray,
    describe: bool = True,
) -> Verdict:
    """Compare each arm with its controls (the first is usually `real`) and return the verdict.

    `helps`: an arm is above *every* one of its controls by both tests, p <= 5 % after Holm's
    adjustment over the arms. `hurts`: no arm helps, and an arm is below its first control by the
    same rule. Otherwise `no_evidence`. Without `describe` the power, the slowest part, is left out.
    """
    compared = {
        arm: tuple(
            compare(arm, control, right=right, design=design, counts=counts) for control in controls
        )
        for arm, controls in arms.items()
    }
    above = _adjust(list(compared.values()), sign=1)
    below = _adjust([group[:1] for group in compared.values()], sign=-1)
    everything = [c for group in compared.values() for c in group]
    shared = estimate_fold_variance(everything)
    training = estimate_training_variances(everything)
    results = []
    for (arm, group), helps, hurts in zip(compared.items(), above, below, strict=True):
        smallest = needed = None
        if describe:
            smallest = compute_smallest_difference(
                group, num_arms=len(compared), shared_variance=shared
            )
            needed = compute_needed_patients(
                group[0].estimate,
                group,
                num_arms=len(compared),
                shared_variance=shared,
                training_variances=training,
            )
        results.append(ArmResult(arm, group, helps, hurts, smallest, needed))
    return _decide(tuple(results))


def _adjust(groups: Sequence[Sequence[Comparison]], *, sign: int) -> list[float]:
    """Return each arm's p for differing by `sign` from all its controls, by both tests, Holm's."""
    return adjust_holm([max(c.get_p_value(sign) for c in group) for group in groups])


def _decide(arms: tuple[ArmResult, ...]) -> Verdict:
    if not arms:
        return Verdict("no_evidence", "No arm with generated images has a verdict.", arms, None)
    helping = [arm for arm in arms if arm.p_helps <= ALPHA]
    if helping:
        best = max(helping, key=lambda arm: arm.against_real.estimate)
        sentence = _describe_helps(best, len(helping), len(arms))
        return Verdict("helps", sentence, arms, best)
    hurting = [arm for arm in arms if arm.p_hurts <= ALPHA]
    if hurting:
        worst = min(hurting, key=lambda arm: arm.against_real.estimate)
        sentence = _describe_hurts(worst, len(hurting), len(arms))
        return Verdict("hurts", sentence, arms, worst)
    best = max(arms, key=lambda arm: arm.against_real.estimate)
    return Verdict("no_evidence", _describe_no_evidence(best), arms, best)


def _describe_helps(arm: ArmResult, num: int, num_judged: int) -> str:
    controls = " and ".join(c.control for c in arm.comparisons)
    return (
        f"GAN augmentation helps: arm {arm.arm} changes balanced accuracy by "
        f"{_format(arm.against_real)} against {arm.against_real.control}. It is above {controls} "
        f"by both tests (Holm-adjusted p = {arm.p_helps:.2g}). {num} of the {num_judged} "
        "arms in the verdict are above all their controls."
    )


def _describe_hurts(arm: ArmResult, num: int, num_judged: int) -> str:
    return (
        f"GAN augmentation hurts: arm {arm.arm} changes balanced accuracy by "
        f"{_format(arm.against_real)} against {arm.against_real.control}, by both tests "
        f"(Holm-adjusted p = {arm.p_hurts:.2g}). None of the {num_judged} arms helps, and "
        f"{num} of them can be shown to hurt."
    )


def _describe_no_evidence(arm: ArmResult) -> str:
    sentence = (
        "There is no evidence that GAN augmentation helps or hurts: the best arm, "
        f"{arm.arm}, changes balanced accuracy by {_format(arm.against_real)} against "
        f"{arm.against_real.control}.{_describe_doubt(arm.against_real)}"
    )
    if arm.smallest is None:
        sentence += " So few patients and trainings cannot show even the largest difference"
    else:
        sentence += (
            f" This study would have shown a difference of {100 * arm.smallest:.1f} points in 80 "
            "of 100 cases"
        )
    if arm.needed_patients is not None:
        return sentence + (
            f". To show the observed difference takes about {arm.needed_patients:,} test patients."
        )
    if _is_worth_showing(arm.against_real.estimate):
        return sentence + (
            ". More patients alone would not show the observed difference: more folds or seeds are "
            "needed."
        )
    return sentence + "."


def _describe_doubt(comparison: Comparison) -> str:
    """Say why a difference is not shown although its interval over patients excludes 0."""
    if not _leaves_out_zero(comparison.by_patient.interval):
        return ""
    if _leaves_out_zero(comparison.by_training.interval):
        short = "above all its controls" if comparison.estimate > 0 else "below its first control"
        return f" Both of its intervals exclude 0, but it is not {short} by Holm's adjusted p."
    if comparison.by_training.interval is None:
        return " That interval is over patients. An interval over trainings needs more trainings."
    low, high = comparison.by_training.interval
    return (
        f" That interval is over patients. Over trainings it is [{100 * low:+z.1f}, "
        f"{100 * high:+z.1f}]: with other seeds or folds the sign may change."
    )


def _leaves_out_zero(interval: tuple[float, float] | None) -> bool:
    return interval is not None and not interval[0] <= 0.0 <= interval[1]


def _format(comparison: Comparison) -> str:
    low, high = comparison.by_patient.interval or (math.nan, math.nan)
    return f"{100 * comparison.estimate:+z.1f} points [{100 * low:+z.1f}, {100 * high:+z.1f}]"
