"""The classifiers of a study: one an arm, fold and seed, all for the same number of updates."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.step import ClassifierState, create_classifier_state, train_step
from jaxgan.classifiers.transfer import NO_TRANSFER, begin, create_optimizer
from jaxgan.classifiers.weights import Start, read_start
from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Batch, Key, Metrics
from jaxgan.data.sets import ImageSet
from jaxgan.ops.augment_classic import augment_classic
from jaxgan.study.settings import StudySettings
from jaxgan.training.jobs import Job, Result, describe_family
from jaxgan.training.loop import LoopStage
from jaxgan.training.many import Curves, Trainer


class ClassifierLab:
    """Train and test the classifiers of all arms, folds and seeds with one compiled program.

    Two, to be exact: with and without classic augmentation. `capacity` is the number of images in
    the largest training set.
    """

    def __init__(
        self,
        settings: StudySettings,
        *,
        num_classes: int,
        capacity: int,
        devices: Sequence[jax.Device],
    ):
        self._settings = settings
        classifier = settings.transfer.apply(settings.classifier.create(num_classes))
        optimizer = create_optimizer(settings.optimizer.create(), classifier, settings.transfer)
        self._start = start = read_start(settings.transfer.weights, classifier)
        bound: dict[str, Any] = {"classifier": classifier, "optimizer": optimizer}
        self._predict = create_predict(classifier, settings.eval_batch_size)
        self._create_state = lambda key: begin(
            create_classifier_state(key, classifier=classifier, optimizer=optimizer), start
        )

        def create_trainer(step: Callable[..., Any]) -> tuple[Trainer, LoopStage]:
            trainer = Trainer(
                capacity=capacity,
                batch_size=settings.batch_size,
                max_steps=settings.max_steps_per_dispatch,
                devices=devices,
            )
            dispatcher = trainer.create_dispatcher(
                lambda axis_name: functools.partial(step, **bound, axis_name=axis_name)
            )
            return trainer, LoopStage(0, settings.num_updates, dispatcher)

        self._trainers = {
            False: create_trainer(train_step),
            True: create_trainer(_train_step_classic),
        }

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
    ) -> Job:
        """Return the job that trains on `train` and predicts `test`; `record` says what these are.

        Training stops after the study's number of updates: nothing is chosen by the test images.
        """
        full = {
            "settings": describe_classifier(self._settings, self._start),
            "num_updates": self._settings.num_updates,
            "classic": is_classic,
            "seed": seed,
            **record,
        }
        run = functools.partial(self._train, train, test, is_classic=is_classic, seed=seed)
        return Job(kind, name, full, run)

    def _train(
        self, train: ImageSet, test: ImageSet, partial: Path, *, is_classic: bool, seed: int
    ) -> Result:
        curves = Curves()
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
        probabilities = self._predict(state.variables, test.images)
        if not np.isfinite(probabilities).all():
            raise UserError(
                "the classifier has diverged: a lower config.optimizer.learning_rate helps"
            )
        return {
            **curves.to_arrays(),
            "probabilities": probabilities,
            "test_files": np.array(json.dumps(list(test.files))),
            "num_train": np.array(len(train)),
        }


def describe_classifier(settings: StudySettings, start: Start | None = None) -> dict[str, Any]:
    """Return what decides how a study's classifiers learn, as a job's record has it.

    The names are those of before there were families: so the jobs of old studies are found again.
    """
    optimizer = to_dict(settings.optimizer)
    rule = {"optimizer": optimizer.pop("name"), "batch_size": settings.batch_size}
    transfer = {} if settings.transfer == NO_TRANSFER else to_dict(settings.transfer)
    if start is not None:
        transfer["weights"] = start.file.sha256  # not where it lies
    return {**describe_family(settings.classifier, "gmd"), **optimizer, **rule, **transfer}


def _train_step_classic(
    state: ClassifierState, batch: Batch, key: Key, **bound: Any
) -> tuple[ClassifierState, Metrics]:
    """Augment every image of the batch anew, then do the usual step."""
    num = len(batch.images)
    images = augment_classic(batch.images, jax.random.split(key, num))
    # The key behind those of the images.
    return train_step(state, Batch(images, batch.labels), jax.random.fold_in(key, num), **bound)
