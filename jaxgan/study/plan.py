"""The number of images that each arm of a study adds, and the number of jobs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxgan.evaluation.fidelity import list_rulers
from jaxgan.study.arms import Arm
from jaxgan.study.audit import CLASSIFIER_VIEWS
from jaxgan.study.folds import Folds
from jaxgan.study.settings import StudySettings


@dataclass(frozen=True)
class StudyPlan:
    """What follows from settings and folds alone, before any training."""

    settings: StudySettings
    arms: Sequence[Arm]
    class_names: Sequence[str]
    folds: Folds

    def count_added(self, arm: Arm, fold: int) -> list[int]:
        """Return the number of images that an arm adds per class; there may be fewer."""
        labels = self.folds.get_train(fold).labels
        num_real = np.bincount(labels, minlength=len(self.class_names)).tolist()
        return arm.count_added(self.class_names, num_real, self.settings.targets)

    def count_candidates(self, arm: Arm, fold: int) -> list[int]:
        """Return the number of generated images per class that an arm chooses from.

        It must not depend on other arms and amounts: these must not change what the arm chooses.
        """
        share = self.settings.pool if arm.chooses else 1.0
        return [math.ceil(share * num) for num in self.count_added(arm, fold)]

    def count_drawn(self, fold: int) -> list[int]:
        """Return the number of images to draw per class: the most that any arm needs."""
        arms = [arm for arm in self.arms if arm.needs_generator]
        needed = [self.count_candidates(arm, fold) for arm in arms]
        return [max(1, *counts) for counts in zip(*needed, strict=True)]

    def compute_classifier_capacity(self) -> int:
        """Return the number of images in the largest training set of a classifier."""
        return max(
            len(self.folds.get_train(fold)) + sum(self.count_added(arm, fold))
            for fold in range(self.settings.num_folds)
            for arm in self.arms
        )

    def count_real(self) -> int:
        """Return the number of real images in the largest training set."""
        return max(len(self.folds.get_train(fold)) for fold in range(self.settings.num_folds))

    def compute_gan_capacity(self) -> int:
        """Return the number of images in the largest training set of a GAN."""
        counts = [
            np.bincount(self.folds.get_train(fold).labels).max()
            for fold in range(self.settings.num_folds)
        ]
        return int(max(counts))

    def count_jobs(self) -> dict[str, int]:
        """Return the number of jobs of each kind."""
        settings, num_folds = self.settings, self.settings.num_folds
        gans = num_folds * settings.num_gan_seeds * len(self.class_names)
        gans = gans if settings.needs_generators else 0
        return {
            "generator": gans,
            "images": gans,
            "classifier": len(self.arms) * num_folds * settings.num_seeds,
            "audit": len(CLASSIFIER_VIEWS) * num_folds if settings.audit else 0,
            **dict.fromkeys(list_rulers(), gans),
        }
