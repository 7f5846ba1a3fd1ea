"""Train a classifier on real images, with or without kept generated ones, and report it."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.classifiers import families
from jaxgan.classifiers.predict import Predict, create_predict
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.step import ClassifierState, create_classifier_state, train_step
from jaxgan.core.console import say
from jaxgan.core.files import write_json
from jaxgan.core.settings import check, to_dict
from jaxgan.core.types import Params
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset, ImageSet, check_classes, join_sets
from jaxgan.devices.distributed import check_alike, leads, share
from jaxgan.devices.parallel import Dispatcher, StepFn, check_batch_size, choose_devices
from jaxgan.metrics.classification import compute_classification_report
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.reports import classifier_figures
from jaxgan.reports.tables import ARMS, format_arms, read_arm
from jaxgan.sampling.synthetic import load_synthetic
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Hook, Loop, LoopStage, StepInfo, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.record import drop_notes
from jaxgan.training.run_folder import RunFolder, open_run_folder, read_metrics, read_report
from jaxgan.training.settings import RunSettings

_BEST_NOTE = (
    "the epoch was chosen by these very validation images, so its validation figures are optimistic"
)


@dataclass(frozen=True, kw_only=True)
class TrainClassifierSettings(RunSettings):
    """One run of a classifier: see configs/gmd.py for what each field means."""

    classifier: "families.ClassifierSettings"
    optimizer: OptimizerSettings
    eval_batch_size: int
    evaluate_every_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("eval_batch_size", "evaluate_every_epochs"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")


@dataclass(frozen=True)
class TrainedClassifier:
    """The results that the training of a classifier left in its folder.

    `report` has the figures of every split, `metrics` one line per dispatch.
    """

    folder: Path
    report: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, float]]
    figures: Sequence[Path]


def describe_run(
    settings: TrainClassifierSettings, dataset: Dataset, synthetic: Mapping[str, ImageSet]
) -> dict[str, Any]:
    """Return what defines a run, as its `config.json` records it. Raises `UserError`."""
    check_classes(dataset, "a classifier distinguishes classes")
    pixels = hashlib.sha256()
    for images in synthetic.values():
        pixels.update(images.images.tobytes())
    return {
        "kind": "classifier",
        "arm": ARMS[bool(synthetic)],
        "data": dataset.describe(),
        "synthetic": {
            "images": {name: len(images) for name, images in synthetic.items()},
            "sha256": pixels.hexdigest() if synthetic else None,
        },
        "settings": to_dict(settings),
    }


@dataclass(frozen=True)
class _Training:
    """A training in `folder`, on the real images and the generated ones of each class."""

    settings: TrainClassifierSettings
    classifier: Classifier
    dataset: Dataset
    synthetic: Mapping[str, ImageSet]
    folder: RunFolder

    @property
    def arm(self) -> str:
        """The name of the arm in reports: with or without generated training images."""
        return ARMS[bool(self.synthetic)]

    @property
    def name(self) -> str:
        """The family's name in messages and figures."""
        return self.settings.classifier.family.upper()

    @functools.cached_property
    def images(self) -> ImageSet:
        """The training images: real and generated."""
        return join_sets([self.dataset.train, *self.synthetic.values()])

    @functools.cached_property
    def plan(self) -> EpochPlan:
        """The plan of epochs, steps and dispatches."""
        return self.settings.create_plan(len(self.images))

    @functools.cached_property
    def predict(self) -> Predict:
        """The compiled classifier."""
        return create_predict(self.classifier, self.settings.eval_batch_size)


def train_classifier(
    settings: TrainClassifierSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    synthetic_dir: Path | None = None,
    augment_classes: Sequence[str] = (),
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> TrainedClassifier:
    """Train one arm in `workdir`/real or, with `synthetic_dir`, `workdir`/augmented.

    Generated images are added only to the training images, and only to `augment_classes` if given.
    Continues where an earlier call stopped. Prints the arm's report next to the other arm's report
    if that exists. For `notes` see `RunFolder`.
    """
    synthetic = {}
    if synthetic_dir:
        synthetic = load_synthetic(synthetic_dir, dataset, augment_classes)
    classifier = settings.classifier.create(len(dataset.class_names))
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, synthetic)
    check_alike(drop_notes(record))
    path = workdir / ARMS[bool(synthetic)]
    with open_run_folder(path, record, notes) as folder:
        if share(folder.is_finished(settings.num_epochs)):
            say(folder.describe_finished(settings.num_epochs))
        else:
            _train(_Training(settings, classifier, dataset, synthetic, folder), devices)
    if leads():
        say(_format_arms(workdir))
    drawn = sorted(path.glob("figures/*.png"))
    return TrainedClassifier(path, read_report(path), read_metrics(path), drawn)


def _train(training: _Training, devices: Sequence[jax.Device]) -> None:
    dataset, plan, folder = training.dataset, training.plan, training.folder
    num_epochs, num_generated = plan.num_epochs, len(training.images) - len(dataset.train)
    say(
        f"Training {training.name} on {len(dataset.train)} real and {num_generated} generated "
        f"images: {num_epochs} epochs, {plan.num_steps} steps of {plan.batch_size} on "
        f"{len(devices)} {devices[0].platform} device(s), in {folder.path}."
    )
    found = _fit(training, devices)
    if found is None:
        return
    last, best, best_epoch = found
    report = {
        "arm": training.arm,
        "data": dataset.describe(),
        "epochs": num_epochs,
        "synthetic_images": {
            name: len(training.synthetic.get(name, ())) for name in dataset.class_names
        },
        "last": _report_splits(training, last.variables),
        "best": {
            "epoch": best_epoch,
            "note": _BEST_NOTE,
            **_report_splits(training, best.variables),
        },
        "versions": get_versions(),
    }
    write_json(folder.path / "report.json", report)
    _draw_figures(training, report)
    folder.finish(num_epochs)


def _fit(
    training: _Training, devices: Sequence[jax.Device]
) -> tuple[ClassifierState, ClassifierState, int] | None:
    """Train from the newest checkpoint to the last epoch.

    Returns the last state, the best state and its epoch, only in the leading process.
    """
    settings, plan, folder = training.settings, training.plan, training.folder
    keys, resident_bytes = create_keys(settings.seed), settings.data.resident_bytes
    feed = create_feed(training.images, keys.data, plan, devices, resident_bytes=resident_bytes)
    dispatcher = Dispatcher(
        functools.partial(_create_step, training),
        feed,
        keys.steps,
        devices=devices,
        max_steps=plan.max_steps,
    )
    create = functools.partial(
        create_classifier_state,
        keys.init,
        classifier=training.classifier,
        optimizer=settings.optimizer.create(),
    )
    with Checkpoints(
        folder.path / "checkpoints", best_metric="val_accuracy", record=folder.record
    ) as checkpoints:
        with Progress(training.arm, plan) as progress:
            step, state = share(checkpoints.resume(create))
            folder.rewind(step)
            progress.start(step)
            loop = Loop(
                plan,
                [_create_validation(training)] if leads() else [],
                folder,
                checkpoints,
                settings.checkpoint_every_epochs,
                settings.checkpoint_every_seconds,
                progress,
            )
            stage = LoopStage(0, plan.num_steps, dispatcher)
            state = run_loop(loop, [stage], state, start_step=step)
        if not leads():
            return None
        checkpoints.wait()
        best_step = checkpoints.best_step or plan.num_steps
        return state, checkpoints.restore(best_step, state), plan.compute_epoch(best_step)


def _create_step(training: _Training, axis_name: str | None) -> StepFn:
    return functools.partial(
        train_step,
        classifier=training.classifier,
        optimizer=training.settings.optimizer.create(),
        axis_name=axis_name,
    )


def _create_validation(training: _Training) -> Hook:
    """Return the hook that validates; a checkpoint follows each validation.

    So the best of all validated states is kept, not only the best of those saved for other reasons.
    """
    validate = functools.partial(_validate, training.predict, training.dataset.val)
    return Hook(training.settings.evaluate_every_epochs, validate, saves=True)


def _validate(predict: Predict, images: ImageSet, info: StepInfo) -> Mapping[str, float]:
    probabilities = predict(info.state.variables, images.images)
    chosen = probabilities[np.arange(len(images)), images.labels]
    return {
        "val_accuracy": float(np.mean(np.argmax(probabilities, axis=1) == images.labels)),
        "val_loss": float(np.mean(-np.log(np.maximum(chosen, 1e-30)))),
    }


def _report_splits(training: _Training, variables: Params) -> dict[str, Any]:
    """Return a classification report of every split: real images only."""
    return {
        name: compute_classification_report(
            probabilities=training.predict(variables, images.images),
            labels=images.labels,
            class_names=training.dataset.class_names,
        )
        for name, images in training.dataset.splits.items()
    }


def _draw_figures(training: _Training, report: Mapping[str, Any]) -> None:
    path, title = training.folder.get_folder("figures"), f"{training.name}, arm {training.arm}"
    classifier_figures.plot_accuracy(
        read_metrics(training.folder.path),
        path / "accuracy.png",
        title=title,
        val_count=len(training.dataset.val),
    )
    classifier_figures.plot_confusion_matrix(
        report["last"]["val"],
        path / "confusion_matrix.png",
        title=f"{title}: validation after the last epoch",
    )


def _format_arms(workdir: Path) -> str:
    """Return the table of the arms in `workdir` with a report; say which report is damaged."""
    reports = {}
    for arm in ARMS:
        path = workdir / arm / "report.json"
        if path.exists() and (report := read_arm(path)) is not None:
            reports[arm] = report
    return format_arms(reports) if reports else ""
