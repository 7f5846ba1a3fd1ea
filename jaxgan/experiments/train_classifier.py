"""Train a classifier on real images, with or without kept generated ones, and report it."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxgan.classifiers import families
from jaxgan.classifiers.kept_maps import KeptMaps, keep_maps
from jaxgan.classifiers.predict import Predict, create_predict
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.step import (
    ClassifierState,
    create_classifier_state,
    train_step,
    train_step_classic,
)
from jaxgan.classifiers.transfer import NO_TRANSFER, TransferSettings, begin, create_optimizer
from jaxgan.classifiers.weights import Start, read_start
from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json
from jaxgan.core.settings import check, check_choice, to_dict
from jaxgan.core.types import Key, Params
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset, ImageSet, check_classes, join_sets
from jaxgan.data.split import split_by_patient
from jaxgan.devices.distributed import check_alike, leads, share
from jaxgan.devices.parallel import Dispatcher, StepFn, check_batch_size, choose_devices
from jaxgan.metrics.classification import compute_classification_report
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.networks.schedules import Pace
from jaxgan.reports import classifier_figures, html
from jaxgan.reports.tables import ARMS, format_arms, read_arm
from jaxgan.sampling.synthetic import load_synthetic
from jaxgan.training.balanced import create_balanced_feed
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Hook, Loop, LoopStage, StepInfo, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.record import drop_notes, is_number
from jaxgan.training.run_folder import RunFolder, open_run_folder, read_metrics, read_report
from jaxgan.training.settings import RunSettings

_BEST_NOTE = (
    "the epoch was chosen by the same validation images, so its validation figures are optimistic"
)
_STOPPING_NOTE = "the epoch was chosen by a part of the training images, not by validation"
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, kw_only=True)
class TrainClassifierSettings(RunSettings):
    """One run of a classifier: see configs/gmd.py for what each field means."""

    classifier: "families.ClassifierSettings"
    optimizer: OptimizerSettings
    eval_batch_size: int
    evaluate_every_epochs: int
    classic_augmentation: bool = False
    class_weights: str = "none"
    balanced_batches: bool = False
    stopping_share: float = 0.0
    stopping_patience: int = 10
    transfer: TransferSettings = NO_TRANSFER  # runs of earlier versions do not record it

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("eval_batch_size", "evaluate_every_epochs", "stopping_patience"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        self.optimizer.schedule.check_length(self.num_epochs, "optimizer.schedule")
        check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        good = self.class_weights == "none" or not self.balanced_batches
        expected = "none with config.balanced_batches: both do the same"
        check("class_weights", self.class_weights, good, expected)
        share = self.stopping_share
        check("stopping_share", share, 0.0 <= share <= 0.5, "0 (off) to 0.5")

    @property
    def best_rule(self) -> Mapping[str, Any]:
        """What makes a checkpoint the best, as arguments of `Checkpoints`."""
        if self.stopping_share:
            return {"best_metric": "stopping_loss", "lowest_is_best": True}
        return {"best_metric": "val_accuracy"}

    def create_classifier(self, num_classes: int) -> Classifier:
        """Return the classifier of `num_classes` classes, with the frozen layers of `transfer`."""
        return self.transfer.apply(self.classifier.create(num_classes))


@dataclass(frozen=True)
class TrainedClassifier:
    """The results that the training of a classifier left in its folder.

    `report` has the figures of every split, `metrics` one line per dispatch.
    """

    folder: Path
    report: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, float]]
    figures: Sequence[Path]

    def __repr__(self) -> str:
        if self.report is None:
            return f"<TrainedClassifier in {self.folder}: no report>"
        accuracy = html.format_measure(self.report["last"]["val"]["accuracy"])
        epochs = self.report["epochs"]
        return (
            f"<TrainedClassifier in {self.folder}: {epochs} epochs, validation accuracy {accuracy}>"
        )

    def _repr_html_(self) -> str:
        if self.report is None:
            return html.show_box(repr(self)[1:-1])
        val = self.report["last"]["val"]
        matrix = val["confusion_matrix"]
        counts = zip(matrix["rows"], matrix["counts"], strict=True)
        return html.show_box(
            f"Classifier in {self.folder}: {self.report['epochs']} epochs",
            html.show_sentences(
                [
                    f"Accuracy on {val['count']} validation images: "
                    f"{html.format_measure(val['accuracy'])}, 95 % interval in brackets. Balanced "
                    f"accuracy: {100 * val['balanced_accuracy']:.1f} %.",
                    "Rows: the true class. Columns: the predicted class.",
                ]
            ),
            html.show_table([["", *matrix["columns"]], *([name, *row] for name, row in counts)]),
        )


def describe_run(
    settings: TrainClassifierSettings,
    dataset: Dataset,
    synthetic: Mapping[str, ImageSet],
    start: Start | None = None,
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
        **({} if start is None else {"weights": start.describe()}),
    }


@dataclass(frozen=True)
class _Training:
    """A training in `folder`, on the real images `learned` and the generated ones of each class.

    `stopping` are the other real training images. Their loss decides when the training stops; None:
    it never stops early. If `learner` learns from maps, all sets have maps in place of images.
    """

    settings: TrainClassifierSettings
    classifier: Classifier
    learner: Classifier
    start: Start | None
    dataset: Dataset
    learned: ImageSet
    stopping: ImageSet | None
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
        return join_sets([self.learned, *self.synthetic.values()])

    @functools.cached_property
    def plan(self) -> EpochPlan:
        """The plan of epochs, steps and dispatches."""
        return self.settings.create_plan(len(self.images))

    @functools.cached_property
    def class_weights(self) -> tuple[float, ...] | None:
        """The weight of an image of each class, 1 on average over the images; None: all are 1."""
        if self.settings.class_weights == "none":
            return None
        counts = np.bincount(self.images.labels, minlength=len(self.dataset.class_names))
        return tuple(float(weight) for weight in len(self.images) / (len(counts) * counts))

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer, with the learning rate of each part of the classifier."""
        optimizer, transfer = self.settings.optimizer.create(), self.settings.transfer
        return create_optimizer(optimizer, self.classifier, transfer)

    def create_state(self, key: Key) -> ClassifierState:
        """Return the state at the begin of the training."""
        state = create_classifier_state(key, classifier=self.classifier, optimizer=self.optimizer)
        return begin(state, self.start)

    @functools.cached_property
    def predict(self) -> Predict:
        """The compiled classifier."""
        return create_predict(self.learner, self.settings.eval_batch_size)


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
    classifier = settings.create_classifier(len(dataset.class_names))
    start = read_start(settings.transfer.weights, classifier)
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, synthetic, start)
    check_alike(drop_notes(record))
    learned, stopping = _divide(settings, dataset)
    path = workdir / ARMS[bool(synthetic)]
    with open_run_folder(path, record, notes) as folder:
        if share(folder.is_finished(settings.num_epochs)):
            say(_describe_finished(settings, folder))
        else:
            kept = _keep_maps(settings, classifier, start, [dataset.splits, synthetic])
            if kept is not None:
                dataset = replace(dataset, splits=_replace(kept, dataset.splits))
                synthetic = _replace(kept, synthetic)
                learned, stopping = _divide(settings, dataset)
            learner = classifier if kept is None else kept.learner
            training = _Training(
                settings, classifier, learner, start, dataset, learned, stopping, synthetic, folder
            )
            _train(training, devices)
    if leads():
        say(_format_arms(workdir))
    drawn = sorted(path.glob("figures/*.png"))
    return TrainedClassifier(path, read_report(path), read_metrics(path), drawn)


def _describe_finished(settings: TrainClassifierSettings, folder: RunFolder) -> str:
    """Return the sentence for a user who starts a finished run again."""
    num_trained = (read_report(folder.path) or {}).get("epochs")
    if not is_number(num_trained) or not settings.stopping_share:
        return folder.describe_finished(settings.num_epochs)
    if num_trained < settings.num_epochs:
        return (
            f"{folder.path} is finished: it stopped early, after epoch {num_trained}. Nothing to "
            "do; more epochs would change nothing."
        )
    return folder.describe_finished(settings.num_epochs)


def _keep_maps(
    settings: TrainClassifierSettings,
    classifier: Classifier,
    start: Start | None,
    groups: Sequence[Mapping[str, ImageSet]],
) -> KeptMaps | None:
    """Return what computes the maps of all images once, None if they are not kept."""
    if settings.classic_augmentation:  # every step sees changed images
        return None
    num = sum(len(images) for group in groups for images in group.values())
    size = settings.eval_batch_size
    return keep_maps(classifier, start, num_images=num, batch_size=size)


def _replace(kept: KeptMaps, group: Mapping[str, ImageSet]) -> dict[str, ImageSet]:
    """Return sets of images with their maps in place of the images."""
    return {name: kept.replace(images) for name, images in group.items()}


def _divide(
    settings: TrainClassifierSettings, dataset: Dataset
) -> tuple[ImageSet, ImageSet | None]:
    """Return the real training images to learn from, and those that decide when to stop."""
    share, train = settings.stopping_share, dataset.train
    if not share:
        return train, None
    fractions = {"learning": 1.0 - share, "early stopping": share}
    try:
        parts = split_by_patient(
            train.labels, train.patients, fractions, settings.seed, class_names=dataset.class_names
        )
    except UserError as error:
        raise UserError(
            f"config.stopping_share is {share} but the training images cannot be divided: {error} "
            "Or set config.stopping_share to 0."
        ) from None
    learned, stopping = (train.take(indices) for indices in parts.values())
    return learned, stopping


def _train(training: _Training, devices: Sequence[jax.Device]) -> None:
    dataset, plan, folder = training.dataset, training.plan, training.folder
    num_epochs, num_generated = plan.num_epochs, len(training.images) - len(training.learned)
    say(
        f"Training {training.name} on {len(training.learned)} real and {num_generated} generated "
        f"images: {num_epochs} epochs, {plan.num_steps} steps of {plan.batch_size} on "
        f"{len(devices)} {devices[0].platform} device(s), in {folder.path}."
    )
    found = _fit(training, devices)
    if found is None:
        return
    last, best, best_epoch = found
    num_trained = plan.compute_epoch(int(last.step))
    if num_trained < num_epochs:
        say(f"Stopped early, after epoch {num_trained}: no epoch since {best_epoch} was better.")
    report = {
        "arm": training.arm,
        "data": dataset.describe(),
        "epochs": num_trained,
        "synthetic_images": {
            name: len(training.synthetic.get(name, ())) for name in dataset.class_names
        },
        "last": _report_splits(training, last.variables),
        "best": {
            "epoch": best_epoch,
            "note": _BEST_NOTE if training.stopping is None else _STOPPING_NOTE,
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
    create = create_balanced_feed if settings.balanced_batches else create_feed
    feed = create(training.images, keys.data, plan, devices, resident_bytes=resident_bytes)
    dispatcher = Dispatcher(
        functools.partial(_create_step, training),
        feed,
        keys.steps,
        devices=devices,
        max_steps=plan.max_steps,
    )
    create_state = functools.partial(training.create_state, keys.init)
    with Checkpoints(
        folder.path / "checkpoints",
        record=folder.record,
        **settings.best_rule,
    ) as checkpoints:
        with Progress(training.arm, plan) as progress:
            step, state = share(checkpoints.resume(create_state))
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
                None
                if training.stopping is None
                else functools.partial(_is_over, settings, plan, checkpoints),
            )
            stage = LoopStage(0, plan.num_steps, dispatcher)
            state = run_loop(loop, [stage], state, start_step=step)
        if not leads():
            return None
        checkpoints.wait()
        best_step = checkpoints.best_step or plan.num_steps
        return state, checkpoints.restore(best_step, state), plan.compute_epoch(best_step)


def _is_over(
    settings: TrainClassifierSettings, plan: EpochPlan, checkpoints: Checkpoints, step: int
) -> bool:
    """Whether the best epoch is too long ago. It depends only on the step and the checkpoints."""
    checkpoints.wait()
    if checkpoints.best_step is None:
        return False
    every = settings.evaluate_every_epochs
    measured = plan.compute_epoch(step) // every * every
    return measured - plan.compute_epoch(checkpoints.best_step) >= settings.stopping_patience


def _create_step(training: _Training, axis_name: str | None) -> StepFn:
    plan, optimizer = training.plan, training.settings.optimizer
    step = functools.partial(
        train_step_classic if training.settings.classic_augmentation else train_step,
        classifier=training.learner,
        optimizer=training.optimizer,
        class_weights=training.class_weights,
        axis_name=axis_name,
    )
    return optimizer.pace_step(step, Pace(plan.list_ends(), plan.num_steps))


def _create_validation(training: _Training) -> Hook:
    """Return the hook that validates; a checkpoint follows each validation.

    So the best of all validated states is kept, not only the best of those saved for other reasons.
    """
    parts = {"val": training.dataset.val}
    if training.stopping is not None:
        parts["stopping"] = training.stopping
    validate = functools.partial(_validate, training.predict, parts)
    return Hook(training.settings.evaluate_every_epochs, validate, saves=True)


def _validate(
    predict: Predict, parts: Mapping[str, ImageSet], info: StepInfo
) -> Mapping[str, float]:
    found = [_measure(predict, name, images, info) for name, images in parts.items()]
    return {name: value for measured in found for name, value in measured.items()}


def _measure(predict: Predict, part: str, images: ImageSet, info: StepInfo) -> Mapping[str, float]:
    probabilities = predict(info.state.variables, images.images)
    chosen = probabilities[np.arange(len(images)), images.labels]
    return {
        f"{part}_accuracy": float(np.mean(np.argmax(probabilities, axis=1) == images.labels)),
        f"{part}_loss": float(np.mean(-np.log(np.maximum(chosen, 1e-30)))),
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
