"""Read the run of a classifier from its folder: the network, and the data of its training."""

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from jaxgan.classifiers.heatmaps import count_places, create_explain
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.step import ClassifierState, create_classifier_state
from jaxgan.classifiers.transfer import create_optimizer
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Params
from jaxgan.core.untrusted import printable
from jaxgan.data.forms import Form
from jaxgan.data.sets import Dataset
from jaxgan.data.source import DataSpec, find_kinds, load_dataset, load_thumbnails
from jaxgan.data.values import View, parse_view
from jaxgan.evaluation.reference import (
    Reference,
    load_reference,
    make_reference,
    name_reference,
)
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.reports.tables import ARMS
from jaxgan.study.settings import StudySettings
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.run_folder import read_data, read_notes, read_record, read_report

CHECKPOINTS = ("newest", "best")
LearnerSettings = TrainClassifierSettings | StudySettings
PHANTOM = "the phantom"  # as a run notes it
# The flags of a training's command that say where patients and classes come from.
_DATA_FLAGS = ("patient_column", "patient_pattern", "patients_from", "label_column")


@dataclass(frozen=True)
class RestoredClassifier:
    """A trained classifier: its run, settings, classes and variables.

    `step` is the step of its checkpoint. `form` is how images are prepared for it.
    """

    run: Path
    settings: TrainClassifierSettings
    class_names: tuple[str, ...]
    classifier: Classifier
    variables: Params
    step: int
    form: Form

    def describe(self) -> dict[str, Any]:
        """Return the origin of the predictions, for reports."""
        return {"folder": str(self.run), "step": self.step}

    def compute_members(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of this classifier [1, num, outputs], as of an arm."""
        return self.compute_probabilities(images)[None]

    def find_reference(self, cache_dir: Path, training_dir: Path | None) -> Reference:
        """Return the reference of the training images: see `find_reference`."""
        return find_reference(
            self.run, self.settings, cache_dir=cache_dir, training_dir=training_dir
        )

    @functools.cached_property
    def _compute(self) -> Any:
        return create_predict(self.classifier, self.settings.eval_batch_size)

    def compute_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return [num, outputs] for uint8 images [num, size, size, channels] of its form."""
        return np.asarray(self._compute(self.variables, images))

    @functools.cached_property
    def _explain(self) -> Any:
        return create_explain(self.classifier, self.settings.eval_batch_size)

    def compute_heatmaps(self, images: np.ndarray) -> np.ndarray:
        """Return the heatmaps of the predictions: float32 [num, size, size].

        `images` are those of `compute_probabilities`; see `jaxgan.classifiers.heatmaps`.
        """
        return np.asarray(self._explain(self.variables, images))

    @property
    def places(self) -> tuple[int, int]:
        """The rows and columns of places that heat can have."""
        return count_places(self.variables, self.classifier)


# The network ------------------------------------------------------------------------------------


def read_classifier_settings(run: Path) -> TrainClassifierSettings:
    """Return the settings of the run in folder `run`. Raises `UserError` for other runs."""
    _check_is_run(run)
    record = read_record(run)
    if record["kind"] != "classifier":
        raise UserError(f"{run} is a run of a {record['kind']}: expected one of a classifier.")
    try:
        return read_settings(TrainClassifierSettings, record.get("settings", {}))
    except UserError as error:
        raise UserError(
            f"{printable(str(run / 'config.json'))} was edited, or belongs to another version of "
            f"jaxgan: {error} Put back what was written."
        ) from None


def _check_is_run(run: Path) -> None:
    """Raise `UserError` if a folder is not a run but has runs in it."""
    runs = [run / arm for arm in ARMS if (run / arm / "config.json").is_file()]
    if runs and not (run / "config.json").exists():
        raise UserError(
            f"{run} is not the folder of a run, but has runs in it: give --run="
            f"{' or --run='.join(map(str, runs))}."
        )


def restore_classifier(
    run: Path, checkpoint: str = "newest", *, cache_dir: Path, training_dir: Path | None = None
) -> RestoredClassifier:
    """Return the classifier of the run in folder `run`, at its newest or its best checkpoint.

    Nothing in the folder is changed. The names of the classes are those of its report. If there is
    no report yet, its data are loaded (`load_training_data`). Raises `UserError`.
    """
    settings = read_classifier_settings(run)
    names = _read_class_names(run)
    if names is None:
        names = load_training_data(run, settings, cache_dir, training_dir).class_names
    classifier = settings.create_classifier(len(names))
    step, state = _restore(run, settings, classifier, checkpoint)
    form = describe_form(run, settings)
    return RestoredClassifier(run, settings, names, classifier, state.variables, step, form)


def _restore(
    run: Path, settings: TrainClassifierSettings, classifier: Classifier, checkpoint: str
) -> tuple[int, ClassifierState]:
    if checkpoint not in CHECKPOINTS:
        raise UserError(f"The checkpoint is {checkpoint!r}: expected one of {CHECKPOINTS}.")
    create = functools.partial(
        create_classifier_state,
        classifier=classifier,
        optimizer=create_optimizer(settings.optimizer.create(), classifier, settings.transfer),
    )
    template = jax.eval_shape(create, jax.random.key(0))
    with Checkpoints(
        run / "checkpoints", record=read_record(run), read_only=True, **settings.best_rule
    ) as checkpoints:
        step = checkpoints.newest_step
        if checkpoint == "best":
            step = checkpoints.best_step or step
        if step is None:
            raise UserError(f"{run} has no checkpoint yet: let its training run a while first.")
        return step, checkpoints.restore(step, template)


def _read_class_names(run: Path) -> tuple[str, ...] | None:
    """Return the classes in the order of the outputs; None if no report names them."""
    report: Any = read_report(run)
    try:
        names = report["last"]["val"]["confusion_matrix"]["rows"]
    except (TypeError, LookupError):
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and names else None


def describe_form(run: Path, settings: LearnerSettings) -> Form:
    """Return how images are prepared: as in the training of the run."""
    learner, data = settings.classifier, settings.data
    look = read_record(run).get("data", {}).get("look", {})
    try:
        ranges = {str(k): (float(low), float(high)) for k, (low, high) in _get_ranges(look)}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{run / 'config.json'} was edited: put back what was written.") from None
    view = View(parse_view(data.value_range, data.window).asked, ranges)
    return Form(learner.image_size, learner.channels, data.fit, view)


def _get_ranges(look: Mapping[str, Any]) -> Any:
    return dict(look.get("value_ranges", {})).items()


# The data of its training -----------------------------------------------------------------------


def find_reference(
    run: Path,
    settings: LearnerSettings,
    *,
    cache_dir: Path,
    training_dir: Path | None = None,
) -> Reference:
    """Return the reference of the training images of `run`: from the cache, or made now.

    Raises `UserError` if it is not in the cache and the training images can not be found.
    """
    learner = settings.classifier
    size = {"image_size": learner.image_size, "channels": learner.channels}
    key = name_reference(read_data(run)["fingerprint"], **size)
    kept = load_reference(key, cache_dir)
    if kept is not None:
        return kept
    dataset = load_training_data(run, settings, cache_dir, training_dir)
    spec = describe_training_data(run, settings, training_dir)
    load = functools.partial(load_thumbnails, spec, **size, cache_dir=cache_dir)
    return make_reference(key, dataset, load, cache_dir, find_kinds(spec))


def load_training_data(
    run: Path,
    settings: LearnerSettings,
    cache_dir: Path,
    training_dir: Path | None = None,
) -> Dataset:
    """Return the data that `run` was trained on, from the place in its notes.

    `training_dir` is where they are now. Raises `UserError` if they are not there, or are others.
    """
    learner = settings.classifier
    dataset = load_dataset(
        describe_training_data(run, settings, training_dir),
        image_size=learner.image_size,
        channels=learner.channels,
        cache_dir=cache_dir,
    )
    if dataset.fingerprint != read_data(run)["fingerprint"]:
        raise UserError(
            f"The images in {training_dir or read_notes(run).get('data')} are not those that "
            f"{run} was trained on, or they are split in another way: give --training_dir=DIR, the "
            "folder of the training images."
        )
    return dataset


def describe_training_data(
    run: Path, settings: LearnerSettings, training_dir: Path | None
) -> DataSpec:
    """Return which data `run` was trained on: the folder and the command in its notes.

    Raises `UserError` if it has no notes, or if the folder is gone.
    """
    notes = read_notes(run)
    data = str(training_dir or notes.get("data", ""))
    command = str(notes.get("command", ""))
    if not data:
        raise UserError(
            f"{run} does not say where its training images are: give --training_dir=DIR."
        )
    if data == PHANTOM:
        return DataSpec.of(settings.data)
    flags = read_flags(command)
    if flags.get("dataset") == data:
        return DataSpec.of(settings.data, dataset=data)
    if not Path(data).is_dir():
        raise UserError(
            f"The training images of {run} are no longer in {data}: give --training_dir=DIR, the "
            "folder where they are now."
        )
    return DataSpec.of(
        settings.data,
        data_dir=Path(data),
        patients_from=flags.get("patients_from", "auto"),
        **{name: flags.get(name) for name in _DATA_FLAGS if name != "patients_from"},
        follow_links=flags.get("follow_links", "false").lower() in ("", "true", "t", "1"),
        leave_out=tuple(part.strip() for part in flags.get("leave_out", "").split(",") if part),
        skip_bad_images=flags.get("on_bad_image") == "skip",
    )


def read_flags(command: str) -> dict[str, str]:
    """Return the flags of a command, `--NAME=VALUE`, `--NAME VALUE` or `--NAME`, by name."""
    try:
        words = shlex.split(command)
    except ValueError:  # notes may be edited
        return {}
    flags: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            flags[name] = value if equals else _take_value(following)
    return flags


def _take_value(following: str) -> str:
    return "" if following.startswith("-") else following


class Named(Protocol):
    """A classifier of a run, with the names of its classes."""

    @property
    def run(self) -> Path:
        """The folder of the run."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the outputs."""


def check_same_classes(classifiers: Sequence[Named]) -> None:
    """Raise `UserError` if the classifiers do not all have the same classes, in the same order."""
    first = classifiers[0]
    for other in classifiers[1:]:
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.run} has the classes {', '.join(first.class_names)}, and {other.run} "
                f"{', '.join(other.class_names)}: expected runs with the same classes, in the same "
                "order."
            )
