"""Restore the kept classifiers of a study from its folder: those of an arm predict together."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.classifiers.heatmaps import count_places, create_explain
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.protocol import Classifier
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Params
from jaxgan.data.forms import Form
from jaxgan.evaluation.reference import Reference
from jaxgan.experiments.classifier_runs import describe_form, find_reference
from jaxgan.study.kept import FOLDER, Kept, read_index, read_variables
from jaxgan.study.settings import StudySettings
from jaxgan.training.run_folder import find_record, read_data


@dataclass(frozen=True)
class RestoredArm:
    """The kept classifiers of an arm, of all folds and seeds; their predictions are averaged."""

    run: Path
    arm: str
    settings: StudySettings
    class_names: tuple[str, ...]
    classifier: Classifier
    members: tuple[Params, ...]
    form: Form

    @functools.cached_property
    def _compute(self) -> Any:
        return create_predict(self.classifier, self.settings.eval_batch_size)

    def describe(self) -> dict[str, Any]:
        """Return the origin of the predictions, for reports.

        `wanted` is the number of classifiers that the study trains for the arm.
        """
        settings = self.settings
        return {
            "folder": str(self.run),
            "step": settings.num_updates,
            "arm": self.arm,
            "classifiers": len(self.members),
            "wanted": settings.num_folds * settings.num_seeds,
        }

    def compute_members(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of each classifier [classifiers, num, outputs].

        `images` are uint8 [num, size, size, channels] in the form of the study.
        """
        return np.stack([self._compute(variables, images) for variables in self.members])

    def compute_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the mean over the classifiers of the probabilities [num, outputs]."""
        return np.asarray(self.compute_members(images).mean(axis=0))

    @functools.cached_property
    def _explain(self) -> Any:
        return create_explain(self.classifier, self.settings.eval_batch_size)

    def compute_heatmaps(self, images: np.ndarray) -> np.ndarray:
        """Return the mean heat of the classifiers, each for its own prediction [num, size, size].

        The highest value of an image is 1, as for one classifier; see
        `jaxgan.classifiers.heatmaps`.
        """
        heat = np.mean([self._explain(variables, images) for variables in self.members], axis=0)
        highest = heat.max(axis=(1, 2), keepdims=True)
        return np.asarray(heat / np.where(highest > 0, highest, 1), np.float32)

    @property
    def places(self) -> tuple[int, int]:
        """The rows and columns of places that heat can have."""
        return count_places(self.members[0], self.classifier)

    def find_reference(self, cache_dir: Path, training_dir: Path | None) -> Reference:
        """Return the reference of the study's images. Each is a training image in some fold."""
        found = find_reference(
            self.run, self.settings, cache_dir=cache_dir, training_dir=training_dir
        )
        return replace(found, splits=("train",) * len(found.splits))


def is_study(run: Path) -> bool:
    """Whether the folder `run` holds a study."""
    record = find_record(run)
    return record is not None and record["kind"] == "study"


def restore_arm(run: Path, arm: str) -> RestoredArm:
    """Return the kept classifiers of an arm of the study in folder `run`. Raises `UserError`."""
    study, class_names, kept = read_index(run)
    chosen = _choose(run, arm, kept)
    if study["data"]["fingerprint"] != read_data(run)["fingerprint"]:
        raise UserError(
            f"The images of {run} have changed since the study kept its classifiers: run the study "
            "to its end with --config.keep_classifiers."
        )
    settings = read_settings(StudySettings, study["settings"])
    classifier = settings.transfer.apply(settings.classifier.create(len(class_names)))
    members = tuple(read_variables(run / FOLDER / k.file, classifier) for k in chosen)
    form = describe_form(run, settings)
    return RestoredArm(run, arm, settings, class_names, classifier, members, form)


def _choose(run: Path, arm: str, kept: Sequence[Kept]) -> list[Kept]:
    """Return the kept classifiers of an arm. Raises `UserError` if there are none."""
    chosen = [k for k in kept if k.arm == arm]
    if not chosen:
        known = (
            ", ".join(dict.fromkeys(k.arm for k in kept)) or "none, because all were trained before"
        )
        what = f"has kept no classifiers of arm {arm!r}" if arm else "is a study"
        raise UserError(f"{run} {what}: give --arm=NAME, one of its kept arms ({known}).")
    return chosen
