"""The classifiers of a study: one per arm, fold and seed, all with the same number of updates."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.classifiers.heatmaps import count_places, create_explain
from jaxgan.classifiers.kept_maps import keep_maps
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.step import create_classifier_state, train_step, train_step_classic
from jaxgan.classifiers.transfer import NO_TRANSFER, begin, create_optimizer
from jaxgan.classifiers.weights import Start, read_start
from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Params
from jaxgan.data.sets import ImageSet
from jaxgan.networks.schedules import Pace
from jaxgan.study.heat import measure_heat
from jaxgan.study.kept import write_variables
from jaxgan.study.settings import StudySettings
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.jobs import Job, Result, describe_family, drop_constant
from jaxgan.training.loop import LoopStage
from jaxgan.training.many import Curves, Trainer


class ClassifierLab:
    """Train and test the classifiers of all arms, folds and seeds with the same programs.

    Two programs are compiled: with and without classic augmentation. `capacity` is the number of
    images in the largest training set. If the learning rate changes by epochs, an epoch has
    `epoch_images` images (None: `capacity`) in every arm: so all arms have the same rate in the
    same update.
    """

    def __init__(
        self,
        settings: StudySettings,
        *,
        num_classes: int,
        capacity: int,
        devices: Sequence[jax.Device],
        epoch_images: int | None = None,
    ):
        self._settings = settings
        self._epoch_images = epoch_images or capacity
        pace = _create_pace(settings, self._epoch_images)
        classifier = settings.transfer.apply(settings.classifier.create(num_classes))
        self._classifier = classifier
        self._compute_heat = create_explain(classifier, settings.eval_batch_size)
        optimizer = create_optimizer(settings.optimizer.create(), classifier, settings.transfer)
        self._start = start = read_start(settings.transfer.weights, classifier)
        size = settings.eval_batch_size
        kept = keep_maps(classifier, start, num_images=capacity, batch_size=size)
        self._kept = None if kept is None else kept.with_cache(size)
        learner = classifier if kept is None else kept.learner
        predict = create_predict(classifier, size)
        self._predict = {False: predict, True: predict}
        if kept is not None:  # with classic augmentation no maps are kept
            self._predict[False] = create_predict(learner, size)
        self._create_state = lambda key: begin(
            create_classifier_state(key, classifier=classifier, optimizer=optimizer), start
        )

        def create_trainer(
            step: Callable[..., Any], learner: Classifier
        ) -> tuple[Trainer, LoopStage]:
            bound = {"classifier": learner, "optimizer": optimizer}
            trainer = Trainer(
                capacity=capacity,
                batch_size=settings.batch_size,
                max_steps=settings.max_steps_per_dispatch,
                devices=devices,
            )
            dispatcher = trainer.create_dispatcher(
                lambda axis_name: settings.optimizer.pace_step(
                    functools.partial(step, **bound, axis_name=axis_name), pace
                )
            )
            return trainer, LoopStage(0, settings.num_updates, dispatcher)

        self._trainers = {
            False: create_trainer(train_step, learner),
            True: create_trainer(train_step_classic, classifier),
        }

    def describe_weights(self) -> dict[str, Any] | None:
        """Return the entry of the initial weights for the report; None if they are random."""
        return None if self._start is None else self._start.describe()

    def create_job(
        self,
        *,
        name: str,
        train: ImageSet,
        test: ImageSet,
        record: dict[str, Any],
        is_classic: bool,
        seed: int,
        kind: str = "classifier",
        explains: bool = False,
        keep_in: Path | None = None,
    ) -> Job:
        """Return the job that trains on `train` and predicts `test`; `record` describes both.

        The trained classifier is written to the folder `keep_in`, to a file with the job's key.

        Training stops after the study's number of updates: nothing is chosen by the test images.
        With `explains`, the result also has the heatmaps of test images.
        """
        constant = self._settings.optimizer.schedule.is_constant
        full = {
            "settings": describe_classifier(self._settings, self._start),
            "num_updates": self._settings.num_updates,
            "classic": is_classic,
            "seed": seed,
            **({} if constant else {"epoch_images": self._epoch_images}),
            **record,
        }
        run = functools.partial(
            self._train,
            train,
            test,
            is_classic=is_classic,
            seed=seed,
            keep_in=keep_in,
            films=test if explains else None,
        )
        return Job(kind, name, full, run)

    def _train(
        self,
        train: ImageSet,
        test: ImageSet,
        partial: Path,
        *,
        is_classic: bool,
        seed: int,
        keep_in: Path | None,
        films: ImageSet | None,
    ) -> Result:
        curves = Curves()
        if self._kept is not None and not is_classic:
            train, test = self._kept.replace(train), self._kept.replace(test)
        trainer, stage = self._trainers[is_classic]
        state = trainer.train(
            self._create_state(jax.random.key(seed)),
            train,
            stages=[stage],
            seed=seed,
            notes=curves,
            partial=partial,
            save_every_seconds=self._settings.checkpoint_every_seconds,
        )
        probabilities = self._predict[is_classic](state.variables, test.images)
        if not np.isfinite(probabilities).all():
            raise UserError(
                "the classifier has diverged: try a lower config.optimizer.learning_rate"
            )
        if keep_in is not None:
            key = partial.stem.rpartition("-")[2]
            write_variables(keep_in / f"{key}.npz", state.variables, self._classifier)
        return {
            **curves.to_arrays(),
            "probabilities": probabilities,
            "test_files": np.array(json.dumps(list(test.files))),
            "num_train": np.array(len(train)),
            **(self._explain(state.variables, films) if films is not None else {}),
        }

    def _explain(self, variables: Params, films: ImageSet) -> Result:
        heat = self._compute_heat(variables, films.images)
        return measure_heat(heat, films.labels, count_places(variables, self._classifier))


def describe_classifier(settings: StudySettings, start: Start | None = None) -> dict[str, Any]:
    """Return the settings that decide how a study's classifiers learn, for a job's record.

    The names are older than the families: so the jobs of old studies are found again.
    """
    optimizer = drop_constant(to_dict(settings.optimizer))
    rule = {"optimizer": optimizer.pop("name"), "batch_size": settings.batch_size}
    transfer = {} if settings.transfer == NO_TRANSFER else to_dict(settings.transfer)
    if start is not None:
        transfer["weights"] = start.file.sha256  # not the path
    return {**describe_family(settings.classifier, "gmd"), **optimizer, **rule, **transfer}


def _create_pace(settings: StudySettings, epoch_images: int) -> Pace:
    batch_size, num_updates = settings.batch_size, settings.num_updates
    num_epochs = -(-num_updates * batch_size // epoch_images)
    plan = EpochPlan(epoch_images, batch_size, num_epochs, settings.max_steps_per_dispatch)
    settings.optimizer.schedule.check_length(num_epochs, "optimizer.schedule")
    return Pace(plan.list_ends(), num_updates)
