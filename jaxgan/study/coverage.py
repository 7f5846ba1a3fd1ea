"""Do a study's intervals hold the truth? Small phantom studies, tested on 10,000 new patients.

Every study draws its own patients, divides them into folds and trains its classifiers as
`launch/study.py` does. Ten thousand new patients, with one film each, then show how good these
trainings are. The interval over patients should hold that value in 19 of 20 studies. The interval
over trainings should hold the mean over all studies: how good such trainings are on average.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jaxgan.classifiers.weights import Start, read_start
from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.data.phantom import FINDINGS, PhantomFilm, draw_film, plan_films
from jaxgan.data.sets import Dataset, ImageSet, join_sets
from jaxgan.devices.parallel import check_batch_size, choose_devices
from jaxgan.metrics.classification import compute_balanced_accuracy, compute_wilson_interval
from jaxgan.reports.tables import format_markdown
from jaxgan.study.added import DUPLICATES, duplicate
from jaxgan.study.arms import ARMS
from jaxgan.study.classifiers import ClassifierLab, describe_classifier
from jaxgan.study.folds import Folds, create_folds
from jaxgan.study.settings import StudySettings
from jaxgan.study.statistics import (
    NUM_BOOTSTRAP,
    Design,
    compare,
    draw_patients,
)
from jaxgan.training.jobs import Job, JobRunner, Result, describe_data

NUM_FRESH = 10_000  # patients, one film each
CONTROL = "real"
_FRESH_SEED = 1_000_000  # a population that no study draws from
_MOST_FILMS = 10_000  # per class
# Fields without effect in the records of earlier jobs: with them, these jobs keep their names.
_EARLIER_FIELDS = {
    "seed": 0,
    "num_epochs": 30,
    "evaluate_every_epochs": 1,
    "checkpoint_every_epochs": 1,
    "epochs_per_dispatch": 1,
}
_LABELS = {"duplicates": "real images twice", "classic": "classic augmentation"}


def run_coverage(
    settings: StudySettings,
    *,
    num_studies: int,
    films_per_class: int,
    folder: Path,
    num_fresh: int = NUM_FRESH,
    num_devices: int = 1,
) -> dict[str, Any]:
    """Return the truth for each arm against `real`, and how often each interval held it.

    Folds, seeds, updates and the classifier come from `settings`. Its arms are not used. Each
    study writes a file in `folder`. Studies with a file are not done again.

    Raises:
        UserError: no study could be done, or a number is out of its range.

    """
    _check_counts(num_studies, films_per_class)
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    lab = ClassifierLab(
        settings,
        num_classes=len(FINDINGS),
        capacity=2 * len(FINDINGS) * films_per_class,
        devices=devices,
    )
    classifier = settings.transfer.apply(settings.classifier.create(len(FINDINGS)))
    start = read_start(settings.transfer.weights, classifier)
    work = _Work(settings, lab, start, films_per_class, num_fresh)
    runner = JobRunner(folder, {"study": num_studies})
    results = [runner.run(work.create_job(study)) for study in range(num_studies)]
    done = [result for result in results if result is not None]
    if not done:
        reason = runner.failures[0].reason.rstrip(".")
        raise UserError(f"No study could be done. The first one failed: {reason}.")
    return {
        "num_studies": len(done),
        "num_failed": len(runner.failures),
        "failures": [vars(failure) for failure in runner.failures],
        **work.describe(),
        "arms": {arm: _summarise(np.stack([result[arm] for result in done])) for arm in _LABELS},
    }


def _check_counts(num_studies: int, films_per_class: int) -> None:
    for name, value, most in (
        ("num_studies", num_studies, _FRESH_SEED),
        ("films_per_class", films_per_class, _MOST_FILMS),
    ):
        if not 1 <= value <= most:
            raise UserError(f"--{name} is {value}, expected 1 to {most}.")


@dataclass(frozen=True)
class _Work:
    """What all studies share."""

    settings: StudySettings
    lab: ClassifierLab
    start: Start | None
    films_per_class: int
    num_fresh: int

    def describe(self) -> dict[str, int]:
        """Return the size of the studies."""
        return {
            "films_per_class": self.films_per_class,
            "num_folds": self.settings.num_folds,
            "num_seeds": self.settings.num_seeds,
            "num_updates": self.settings.num_updates,
            "num_fresh": self.num_fresh,
        }

    def create_job(self, study: int) -> Job:
        """Return the job of one study."""
        record = {
            "gmd": _describe_classifier(self.settings, self.start),
            "phantom_subtlety": self.settings.data.phantom_subtlety,
            **self.describe(),
            "study": study,
        }
        return Job("study", f"study {study}", record, functools.partial(self._compute, study))

    def _compute(self, study: int, partial: Path) -> Result:
        del partial  # an unfinished study begins again
        counts = dict.fromkeys(FINDINGS, self.films_per_class)
        films = plan_films(counts=counts, first_patient=0, seed=study)
        splits = {"train": _draw(films, seed=study, settings=self.settings)}
        dataset = Dataset(f"phantom {study}", FINDINGS, splits, fingerprint=str(study))
        folds = create_folds(dataset, self.settings.num_folds, seed=study)
        return _evaluate_study(
            self.lab, folds, self._fresh, num_seeds=self.settings.num_seeds, seed=study
        )

    @functools.cached_property  # drawing takes minutes, and finished studies do not need it
    def _fresh(self) -> ImageSet:
        say(f"Drawing {self.num_fresh} new patients.")
        films = [PhantomFilm(FINDINGS[i % len(FINDINGS)], i, 0) for i in range(self.num_fresh)]
        return _draw(films, seed=_FRESH_SEED, settings=self.settings)


def _describe_classifier(settings: StudySettings, start: Start | None) -> dict[str, Any]:
    """Return the classifier's settings for a job's record: in one level, as in earlier jobs."""
    return {
        **_EARLIER_FIELDS,
        **describe_classifier(settings, start),
        "eval_batch_size": settings.eval_batch_size,
        "max_steps_per_dispatch": settings.max_steps_per_dispatch,
        "checkpoint_every_seconds": settings.checkpoint_every_seconds,
        "data": describe_data(settings.data),
    }


def _draw(films: Sequence[PhantomFilm], *, seed: int, settings: StudySettings) -> ImageSet:
    images = [
        draw_film(
            seed=seed,
            patient=film.patient,
            film=film.film,
            finding=film.finding,
            size=settings.classifier.image_size,
            subtlety=settings.data.phantom_subtlety,
        )
        for film in films
    ]
    return ImageSet(
        np.stack(images)[..., None].repeat(settings.classifier.channels, axis=-1),
        np.array([FINDINGS.index(film.finding) for film in films], np.int32),
        tuple(f"{seed}-{film.patient_id}-{film.film}" for film in films),
        tuple(f"{seed}-{film.patient_id}" for film in films),
    )


def _evaluate_study(
    lab: ClassifierLab, folds: Folds, fresh: ImageSet, *, num_seeds: int, seed: int
) -> Result:
    """Return a row [6] per arm for `_summarise`: the truth, the estimate, both intervals."""
    num = len(folds.images)
    right = {arm: np.zeros((num_seeds, num), bool) for arm in (CONTROL, *_LABELS)}
    accuracies: dict[str, list[float]] = {arm: [] for arm in right}
    for arm in right:
        for s in range(num_seeds):
            for fold in range(folds.num):
                test = folds.get_test(fold)
                train = folds.get_train(fold)
                if ARMS[arm].source == DUPLICATES:
                    train = join_sets([train, duplicate(train, len(train), seed)])
                job = lab.create_job(
                    name=f"{arm}, fold {fold + 1}, seed {s}",
                    train=train,
                    test=join_sets([test, fresh]),
                    record={},
                    is_classic=ARMS[arm].is_classic,
                    seed=1000 * seed + s,
                )
                with TemporaryDirectory() as folder:
                    made = job.compute(Path(folder) / "partial")
                guesses = made["probabilities"].argmax(axis=1)
                right[arm][s, folds.fold_of == fold] = guesses[: len(test)] == test.labels
                accuracies[arm].append(
                    compute_balanced_accuracy(fresh.labels, guesses[len(test) :])
                )
    design = Design(folds.images.labels.astype(np.int64), folds.groups, folds.fold_of)
    counts = draw_patients(design, np.random.default_rng(seed), NUM_BOOTSTRAP)
    found = {}
    for arm in _LABELS:
        compared = compare(arm, CONTROL, right=right, design=design, counts=counts)
        truth = np.mean(accuracies[arm]) - np.mean(accuracies[CONTROL])
        intervals = (compared.by_patient.interval, compared.by_training.interval)
        bounds = [interval or (np.nan, np.nan) for interval in intervals]
        found[arm] = np.array([truth, compared.estimate, *bounds[0], *bounds[1]])
    return found


def _summarise(rows: np.ndarray) -> dict[str, Any]:
    """Return the shares of studies with intervals that hold the truth, from `rows` [studies, 6]."""
    truth, estimate, patients_low, patients_high, trainings_low, trainings_high = rows.T
    return {
        "mean_truth": float(truth.mean()),
        "spread_of_truths": float(truth.std(ddof=1)) if len(truth) > 1 else None,
        "mean_estimate": float(estimate.mean()),
        "patients_hold": _count(_hold(patients_low, patients_high, truth)),
        "trainings_hold": _count(_hold(trainings_low, trainings_high, truth.mean())),
    }


def _hold(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> np.ndarray:
    # The tolerance is for rounding errors, as an interval can have no width. NaN (no interval)
    # holds nothing.
    return (low - 1e-9 <= truth) & (truth <= high + 1e-9)


def _count(held: np.ndarray) -> dict[str, Any]:
    low, high = compute_wilson_interval(int(held.sum()), len(held))
    return {"share": float(held.mean()), "interval": [float(low), float(high)], "n": len(held)}


def format_coverage(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    differences = ("true difference, mean (spread over studies)", "estimated, mean")
    held = [f"interval over {what} holds" for what in ("patients", "trainings")]
    rows = [["arm, against `real`", *differences, *held]]
    for arm, row in result["arms"].items():
        truth, spread = row["mean_truth"], row["spread_of_truths"]
        cells = [
            f"{_LABELS[arm]} (`{arm}`)",
            f"{100 * truth:+z.1f} points" + (f" ({100 * spread:.1f})" if spread else ""),
            f"{100 * row['mean_estimate']:+z.1f} points",
            *(_format_share(row[name]) for name in ("patients_hold", "trainings_hold")),
        ]
        rows.append(cells)
    return "\n".join(format_markdown(rows)) + "\n"


def _format_share(count: Mapping[str, Any]) -> str:
    low, high = count["interval"]
    return f"{count['share']:.1%} of {count['n']} [{low:.1%}, {high:.1%}]"
