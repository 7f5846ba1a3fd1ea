"""The classifiers of a study: one per arm, fold and seed, all with the same number of updates."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.step import ClassifierState, create_classifier_state, train_step
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
    """Train and test the classifiers of all arms, folds and seeds with the same programs.

    Two programs are compiled: with and without classic augmentation. `capacity` is the number of
    images in the largest training set.
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
        classifier, optimizer = settings.classifier.create(num_classes), settings.optimizer.create()
        bound: dict[str, Any] = {"classifier": classifier, "optimizer": optimizer}
        self._predict = create_predict(classifier, settings.eval_batch_size)
        self._create_state = lambda key: create_classifier_state(
            key, classifier=classifier, optimizer=optimizer
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
        """Return the job that trains on `train` and predicts `test`; `record` describes both.

        Training stops after the study's number of updates: nothing is chosen by the test images.
        """
        full = {
            "settings": describe_classifier(self._settings),
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
                "the classifier has diverged: try a lower config.optimizer.learning_rate"
            )
        return {
            **curves.to_arrays(),
            "probabilities": probabilities,
            "test_files": np.array(json.dumps(list(test.files))),
            "num_train": np.array(len(train)),
        }


def describe_classifier(settings: StudySettings) -> dict[str, Any]:
    """Return the settings that decide how a study's classifiers learn, for a job's record.

    The names are older than the families: so the jobs of old studies are found again.
    """
    optimizer = to_dict(settings.optimizer)
    rule = {"optimizer": optimizer.pop("name"), "batch_size": settings.batch_size}
    return {**describe_family(settings.classifier, "gmd"), **optimizer, **rule}


def _train_step_classic(
    state: ClassifierState, batch: Batch, key: Key, **bound: Any
) -> tuple[ClassifierState, Metrics]:
    """Augment every image of the batch at random, then do the usual step."""
    num = len(batch.images)
    images = augment_classic(batch.images, jax.random.split(key, num))
    # The images have the keys 0 to num - 1: this is the next one.
    return train_step(state, Batch(images, batch.labels), jax.random.fold_in(key, num), **bound)
