"""The results of a study's jobs, for the analysis and the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxgan.data.sets import Dataset
from jaxgan.study.arms import Arm
from jaxgan.study.fidelity import Measured
from jaxgan.study.folds import Folds
from jaxgan.study.kept import Kept
from jaxgan.study.settings import StudySettings
from jaxgan.training.jobs import Failure, Result


@dataclass
class StudyResults:
    """The results: by arm and (seed, fold), by (fold, GAN seed, class), by view and fold.

    `fidelity` has a key for each ruler that is installed.
    """

    settings: StudySettings
    dataset: Dataset
    folds: Folds
    gan_folds: Folds
    arms: list[Arm]
    classifiers: dict[str, dict[tuple[int, int], Result]] = field(default_factory=dict)
    generators: dict[tuple[int, int, int], Result] = field(default_factory=dict)
    fidelity: dict[str, dict[tuple[int, int, int], Measured]] = field(default_factory=dict)
    audit_classifiers: dict[str, dict[int, Result]] = field(default_factory=dict)
    added: dict[str, dict[tuple[int, int], list[int]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    kept: list[Kept] = field(default_factory=list)
    weights: Mapping[str, Any] | None = None  # initial ones of the classifiers; None: random

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.dataset.class_names

    def find_failures(self, arm: Arm) -> list[Failure]:
        """Return the failures that explain the missing trainings of an arm."""
        seeds, folds = range(self.settings.num_seeds), range(self.settings.num_folds)
        names = {name_training(arm, fold, seed) for seed in seeds for fold in folds}
        return [f for f in self.failures if f.kind == "classifier" and f.name in names]

    def get_probabilities(self, arm: str) -> np.ndarray | None:
        """Return [num_seeds, num_images, outputs] of an arm; None if a training is missing."""
        done = self.classifiers.get(arm, {})
        seeds, folds = range(self.settings.num_seeds), range(self.settings.num_folds)
        if any((seed, fold) not in done for seed in seeds for fold in folds):
            return None
        num_outputs = done[0, 0]["probabilities"].shape[1]
        joined = np.zeros((len(seeds), len(self.folds.images), num_outputs), np.float32)
        for (seed, fold), result in done.items():
            joined[seed, self.folds.fold_of == fold] = result["probabilities"]
        return joined


def name_training(arm: Arm, fold: int, seed: int) -> str:
    """Return the name of the job of one classifier."""
    return f"{arm.name}, fold {fold + 1}, seed {seed}"
