"""Do a study's intervals hold the truth? Small studies of phantom films, tested on endless ones.

Every study draws patients of its own, deals them into folds and trains its classifiers as
`launch/study.py` does. Ten thousand fresh patients, one film each, then say what these very
trainings are worth: the interval over patients should hold that in 19 of 20 studies. What trainings
of this kind are worth on average, the mean over all studies, is what the interval over trainings
should hold.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jaxgan.console import say
from jaxgan.data.phantom import FINDINGS, PhantomFilm, draw_film, plan_films
from jaxgan.data.sets import Dataset, ImageSet, join_sets
from jaxgan.metrics.classification import compute_wilson_interval
from jaxgan.parallel import choose_devices
from jaxgan.statistics import (
    NUM_BOOTSTRAP,
    Comparison,
    Design,
    compare,
    draw_patients,
)
from jaxgan.study.classifiers import ClassifierLab, duplicate
from jaxgan.study.folds import Folds, create_folds
from jaxgan.study.settings import StudySettings

NUM_FRESH = 10_000  # patients, one film each
CONTROL = "real"
_FRESH_SEED = 1_000_000  # of a population that no study draws from
_LABELS = {"duplicates": "real images twice", "classic": "classic augmentation"}


def run_coverage(
    settings: StudySettings, *, num_studies: int, films_per_class: int, num_fresh: int = NUM_FRESH
) -> dict[str, Any]:
    """Return, of each arm against `real`, the truth and how often each interval held it.

    Folds, seeds, updates and the classifier are those of `settings`, its arms are not used.
    """
    size, subtlety = settings.gmd.image_size, settings.data.phantom_subtlety
    say(f"Drawing {num_fresh} fresh patients.")
    fresh = _draw(
        [PhantomFilm(FINDINGS[i % len(FINDINGS)], i, 0) for i in range(num_fresh)],
        seed=_FRESH_SEED,
        size=size,
        subtlety=subtlety,
    )
    lab = ClassifierLab(
        settings.gmd,
        num_classes=len(FINDINGS),
        num_updates=settings.num_updates,
        capacity=2 * len(FINDINGS) * films_per_class,
        devices=choose_devices(1),
    )
    found: dict[str, list[tuple[Comparison, float]]] = {arm: [] for arm in _LABELS}
    for study in range(num_studies):
        counts = dict.fromkeys(FINDINGS, films_per_class)
        films = plan_films(counts=counts, first_patient=0, seed=study)
        images = _draw(films, seed=study, size=size, subtlety=subtlety)
        dataset = Dataset(f"phantom {study}", FINDINGS, {"train": images}, fingerprint=str(study))
        folds = create_folds(dataset, settings.num_folds, seed=study)
        judged = _judge(lab, folds, fresh, num_seeds=settings.num_seeds, seed=study)
        for arm, pair in judged.items():
            found[arm].append(pair)
        say(f"Study {study + 1} of {num_studies}.")
    return {
        "num_studies": num_studies,
        "films_per_class": films_per_class,
        "num_folds": settings.num_folds,
        "num_seeds": settings.num_seeds,
        "num_updates": settings.num_updates,
        "num_fresh": num_fresh,
        "arms": {arm: _summarise(pairs) for arm, pairs in found.items()},
    }


def _draw(films: Sequence[PhantomFilm], *, seed: int, size: int, subtlety: float) -> ImageSet:
    images = [
        draw_film(
            seed=seed,
            patient=film.patient,
            film=film.film,
            finding=film.finding,
            size=size,
            subtlety=subtlety,
        )
        for film in films
    ]
    return ImageSet(
        np.stack(images)[..., None],
        np.array([FINDINGS.index(film.finding) for film in films], np.int32),
        tuple(f"{seed}-{film.patient_id}-{film.film}" for film in films),
        tuple(f"{seed}-{film.patient_id}" for film in films),
    )


def _judge(
    lab: ClassifierLab, folds: Folds, fresh: ImageSet, *, num_seeds: int, seed: int
) -> dict[str, tuple[Comparison, float]]:
    """Return each arm's comparison with `real`, and the true difference of these trainings."""
    num = len(folds.images)
    right = {arm: np.zeros((num_seeds, num), bool) for arm in (CONTROL, *_LABELS)}
    worth: dict[str, list[float]] = {arm: [] for arm in right}
    for arm in right:
        for s in range(num_seeds):
            for fold in range(folds.num):
                test = folds.get_test(fold)
                train = folds.get_train(fold)
                if arm == "duplicates":
                    train = join_sets([train, duplicate(train, len(train), seed)])
                job = lab.create_job(
                    name=f"{arm}, fold {fold + 1}, seed {s}",
                    train=train,
                    test=join_sets([test, fresh]),
                    record={},
                    is_classic=arm == "classic",
                    seed=1000 * seed + s,
                )
                with TemporaryDirectory() as folder:
                    made = job.compute(Path(folder) / "partial")
                guesses = made["probabilities"].argmax(axis=1)
                right[arm][s, folds.fold_of == fold] = guesses[: len(test)] == test.labels
                worth[arm].append(_compute_balanced(guesses[len(test) :] == fresh.labels, fresh))
    design = Design(folds.images.labels.astype(np.int64), folds.groups, folds.fold_of)
    counts = draw_patients(design, np.random.default_rng(seed), NUM_BOOTSTRAP)
    return {
        arm: (
            compare(arm, CONTROL, right=right, design=design, counts=counts),
            float(np.mean(worth[arm]) - np.mean(worth[CONTROL])),
        )
        for arm in _LABELS
    }


def _compute_balanced(right: np.ndarray, images: ImageSet) -> float:
    return float(np.mean([right[images.labels == label].mean() for label in range(len(FINDINGS))]))


def _summarise(pairs: Sequence[tuple[Comparison, float]]) -> dict[str, Any]:
    truths = np.array([truth for _, truth in pairs])
    by_patient = [_holds(c.by_patient.interval, truth) for c, truth in pairs]
    by_training = [_holds(c.by_training.interval, float(truths.mean())) for c, _ in pairs]
    return {
        "mean_truth": float(truths.mean()),
        "spread_of_truths": float(truths.std(ddof=1)) if len(truths) > 1 else None,
        "mean_estimate": float(np.mean([c.estimate for c, _ in pairs])),
        "patients_hold": _count(by_patient),
        "trainings_hold": _count(by_training),
    }


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    # An interval of no width is as exact as the sums that it comes from.
    return interval is not None and interval[0] - 1e-9 <= truth <= interval[1] + 1e-9


def _count(held: Sequence[bool]) -> dict[str, Any]:
    low, high = compute_wilson_interval(sum(held), len(held))
    return {"share": sum(held) / len(held), "interval": [float(low), float(high)], "n": len(held)}


def format_coverage(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| arm, against `real` | true difference, mean (spread over studies) | estimated, mean | "
        "interval over patients holds | interval over trainings holds |",
        "|---|---|---|---|---|",
    ]
    for arm, row in result["arms"].items():
        truth, spread = row["mean_truth"], row["spread_of_truths"]
        cells = [
            f"{_LABELS[arm]} (`{arm}`)",
            f"{100 * truth:+z.1f} points" + (f" ({100 * spread:.1f})" if spread else ""),
            f"{100 * row['mean_estimate']:+z.1f} points",
            *(_format_share(row[name]) for name in ("patients_hold", "trainings_hold")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _format_share(count: Mapping[str, Any]) -> str:
    low, high = count["interval"]
    return f"{count['share']:.1%} of {count['n']} [{low:.1%}, {high:.1%}]"
