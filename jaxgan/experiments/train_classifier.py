"""Train GMD on real images, with or without kept generated ones, and report it honestly."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxgan.classifiers import step as classifier
from jaxgan.classifiers.gmd import Gmd
from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import write_json
from jaxgan.core.seeds import wrap_seed
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Key, Params
from jaxgan.data.images import as_pixels, decode_many, resize_square
from jaxgan.data.sets import Dataset, ImageSet, check_classes, join_sets
from jaxgan.devices.distributed import check_alike, leads, share
from jaxgan.devices.parallel import Dispatcher, StepFn, check_batch_size, choose_devices
from jaxgan.metrics.classification import compute_classification_report
from jaxgan.networks.layers import DTYPES
from jaxgan.reports import figures
from jaxgan.reports.tables import ARMS, format_gmd_reports, read_report
from jaxgan.sampling import kept
from jaxgan.sampling.runs import find_model, read_run_settings
from jaxgan.settings import GmdSettings
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from jaxgan.training.loop import Hook, Moment, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.record import drop_notes
from jaxgan.training.run_folder import RunFolder, open_run_folder, read_data, read_metrics

_BEST_NOTE = (
    "the epoch was chosen by these very validation images, so its validation figures are optimistic"
)


@dataclass(frozen=True)
class Keys:
    """The run's keys, each for one purpose."""

    init: Key
    data: Key
    steps: Key


class Evaluator:
    """Predict whole splits, every image exactly once, in batches of one compiled size."""

    def __init__(self, model: Gmd, batch_size: int):
        self._predict = jax.jit(functools.partial(classifier.predict, model=model))
        self._batch_size = batch_size

    def predict(self, params: Params, images: np.ndarray) -> np.ndarray:
        """Return probabilities [num, num_outputs] of uint8 images [num, h, w, c]."""
        parts = []
        for begin in range(0, len(images), self._batch_size):
            part = images[begin : begin + self._batch_size]
            padding = [(0, self._batch_size - len(part))] + [(0, 0)] * (part.ndim - 1)
            parts.append(np.asarray(self._predict(params, np.pad(part, padding)))[: len(part)])
        return np.concatenate(parts)


def create_keys(seed: int) -> Keys:
    """Derive the run's keys from its seed."""
    return Keys(*jax.random.split(jax.random.key(wrap_seed(seed)), 3))


def create_optimizer(settings: GmdSettings) -> optax.GradientTransformation:
    """Return the paper's SGD (section 4.2: constant rate, no momentum) or Adam."""
    if settings.optimizer == "adam":
        return optax.adam(settings.learning_rate)
    return optax.sgd(settings.learning_rate, momentum=settings.momentum or None)


def create_model(settings: GmdSettings, num_classes: int) -> Gmd:
    """Return GMD with an output a class, or as many as the paper's configuration asks for."""
    num_outputs = settings.num_outputs or num_classes
    if num_outputs < num_classes:
        raise UserError(
            f"config.num_outputs is {num_outputs} and the data have {num_classes} classes: "
            "expected at least one output a class, or 0 for exactly that."
        )
    return Gmd(
        num_outputs=num_outputs,
        width=settings.width,
        padding=settings.padding,
        dtype=DTYPES[settings.dtype],
    )


def load_synthetic(
    synthetic_dir: Path,
    dataset: Dataset,
    settings: GmdSettings,
    classes: Sequence[str] = (),
) -> dict[str, ImageSet]:
    """Return the kept images of every class's DCGAN run, scaled to the classifier's input.

    Of `classes` alone where these are named: the others then have none, on purpose. Raises
    `UserError` where a class has no run or has kept nothing, and where a run was trained on other
    data or another split (its images could then carry validation images in).
    """
    unknown = [name for name in classes if name not in dataset.class_names]
    if unknown:
        raise UserError(
            f"--augment_classes names {list_some(unknown)}: the classes of {dataset.name} are "
            f"{list_some(dataset.class_names)}."
        )
    wanted = [name for name in dataset.class_names if name in classes or not classes]
    missing = [name for name in wanted if not _has_run(synthetic_dir / name)]
    if missing:
        raise UserError(
            f"There are no kept images of {list_some(missing)} in {synthetic_dir}. Make them "
            f"with: python launch/train_dcgan.py --class=all --workdir={synthetic_dir} "
            "(and the --data_dir or --dataset of this command)."
        )
    sets = {
        name: _load_kept(synthetic_dir / name, label, dataset, settings)
        if name in wanted
        else _create_empty(settings)
        for label, name in enumerate(dataset.class_names)
    }
    _check_kept(synthetic_dir, {name: len(sets[name]) for name in wanted})
    return sets


def _has_run(path: Path) -> bool:
    return (path / "config.json").exists() and (path / kept.TABLE).exists()


def _check_kept(synthetic_dir: Path, counts: Mapping[str, int]) -> None:
    """Refuse classes without a generated image; say which have only those of a stopped run."""
    empty = [name for name, num in counts.items() if not num]
    stopped = [name for name in counts if _was_stopped(synthetic_dir / name)]
    drawable = [name for name in stopped if _can_draw(synthetic_dir / name)]
    keep = (
        f"python launch/sample.py --class=CLASS --keep --workdir={synthetic_dir} (and the "
        "--data_dir or --dataset of this command)"
    )
    if empty and set(empty) <= set(stopped):
        raise UserError(
            f"The runs of {list_some(empty)} in {synthetic_dir} were stopped before their end and "
            "have kept no image. Let them go on"
            + (f", or draw the images now with: {keep}. " if set(empty) <= set(drawable) else ". ")
            + "--augment_classes=CLASS,... adds images to some classes only, on purpose."
        )
    if len(empty) == len(counts):
        raise UserError(
            f"The runs in {synthetic_dir} have kept no image at all: train longer, or make some "
            f"with python launch/train_dcgan.py --class=all --accept=none "
            f"--workdir=ANOTHER_FOLDER (and name it here as --synthetic_dir)."
        )
    if empty:
        raise UserError(
            f"The runs of {list_some(empty)} in {synthetic_dir} have kept no image, those of "
            f"{list_some([name for name in counts if name not in empty])} have: make some with "
            "python launch/train_dcgan.py --class=CLASS --accept=none --workdir=ANOTHER_FOLDER, or "
            "give --augment_classes=CLASS,... to add images to some classes only, on purpose."
        )
    for name in stopped:
        remedy = f"draw them with: {keep}" if name in drawable else "let it go on."
        say(
            f"The run of class {name} in {synthetic_dir} was stopped before its end: the "
            f"{counts[name]} images that it had kept are added. For more, {remedy}"
        )


def _was_stopped(run: Path) -> bool:
    """Whether a run has neither come to its end nor had its images drawn by `experiments.keep`."""
    drawn = any(row.is_final for row in kept.read_table(run))
    return not drawn and not (find_model(run) / "finished.json").exists()


def _can_draw(run: Path) -> bool:
    """Whether `jaxgan.experiments.keep` can draw the images that a stopped run has not kept."""
    return read_run_settings(run).selection.rule != kept.ONLY_WHILE_TRAINING


def _load_kept(path: Path, label: int, dataset: Dataset, settings: GmdSettings) -> ImageSet:
    trained_on = read_data(path)
    if trained_on["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"The images in {path} were generated from other data or another split "
            f"({trained_on['name']}) than this classifier is trained on ({dataset.name}): its "
            "validation images could be among those the generator learned from. Train the DCGANs "
            "on the same --data_dir, --dataset, --fit, --value_range, --window and split settings."
        )
    rows = kept.read_table(path)
    lost = kept.find_lost(path)
    if lost:
        raise UserError(
            f"{path / kept.TABLE} names {len(lost)} image(s) that are not in {path / kept.FOLDER} "
            f"({list_some(lost)}): put them back, take their lines out of the table, or start the "
            "training's own command again, which draws others in their place (by rule "
            f"{kept.ONLY_WHILE_TRAINING} it can not, and takes their lines out)."
        )
    images = decode_many(
        [path / kept.FOLDER / row.file for row in rows],
        channels=settings.channels,
        use=lambda image: as_pixels(resize_square(image, settings.image_size)),
    )
    files = tuple(row.file for row in rows)
    pixels = np.stack(images) if images else _create_empty(settings).images
    return create_generated_set(pixels, label, files)


def _create_empty(settings: GmdSettings) -> ImageSet:
    shape = (0, settings.image_size, settings.image_size, settings.channels)
    return ImageSet(np.zeros(shape, np.uint8), np.zeros(0, np.int32), (), ())


def describe_run(
    settings: GmdSettings, dataset: Dataset, synthetic: Mapping[str, ImageSet]
) -> dict[str, Any]:
    """Return what defines a run, as its `config.json` records it. Raises `UserError`."""
    check_classes(dataset, "a classifier tells classes apart")
    pixels = hashlib.sha256()
    for images in synthetic.values():
        pixels.update(images.images.tobytes())
    return {
        "kind": "gmd",
        "arm": ARMS[bool(synthetic)],
        "data": dataset.describe(),
        "synthetic": {
            "images": {name: len(images) for name, images in synthetic.items()},
            "sha256": pixels.hexdigest() if synthetic else None,
        },
        "settings": to_dict(settings),
    }


def train_gmd(
    settings: GmdSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    synthetic_dir: Path | None = None,
    augment_classes: Sequence[str] = (),
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Train one arm in `workdir`/real or, with `synthetic_dir`, `workdir`/augmented.

    Generated images join the training images alone, of `augment_classes` where these are named.
    Continues where an earlier call stopped; prints the arm's report beside the other arm's where
    that exists. `notes` see `RunFolder`.
    """
    synthetic = {}
    if synthetic_dir:
        synthetic = load_synthetic(synthetic_dir, dataset, settings, augment_classes)
    model = create_model(settings, len(dataset.class_names))
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, synthetic)
    check_alike(drop_notes(record))
    with open_run_folder(workdir / ARMS[bool(synthetic)], record, notes) as folder:
        if share(folder.is_finished(settings.num_epochs)):
            say(folder.describe_finished(settings.num_epochs))
        else:
            _train(settings, dataset, synthetic, model, folder, devices)
    if leads():
        say(_format_arms(workdir))


def _train(
    settings: GmdSettings,
    dataset: Dataset,
    synthetic: Mapping[str, ImageSet],
    model: Gmd,
    folder: RunFolder,
    devices: Sequence[jax.Device],
) -> None:
    arm = ARMS[bool(synthetic)]
    train_images = join_sets([dataset.train, *synthetic.values()]) if synthetic else dataset.train
    plan = EpochPlan(
        num_examples=len(train_images),
        batch_size=settings.batch_size,
        num_epochs=settings.num_epochs,
        max_steps=settings.max_steps_per_dispatch,
        epochs_per_dispatch=settings.epochs_per_dispatch,
    )
    say(
        f"Training GMD on {len(dataset.train)} real and "
        f"{len(train_images) - len(dataset.train)} generated images: {settings.num_epochs} epochs, "
        f"{plan.num_steps} steps of {settings.batch_size} on {len(devices)} "
        f"{devices[0].platform} device(s), in {folder.path}."
    )
    keys = create_keys(settings.seed)
    optimizer = create_optimizer(settings)
    image_shape = (settings.image_size, settings.image_size, settings.channels)

    def make_step(axis_name: str | None) -> StepFn:
        return functools.partial(
            classifier.train_step, model=model, optimizer=optimizer, axis_name=axis_name
        )

    dispatcher = Dispatcher(
        make_step,
        create_feed(
            train_images, keys.data, plan, devices, resident_bytes=settings.data.resident_bytes
        ),
        keys.steps,
        devices=devices,
        max_steps=plan.max_steps,
    )
    evaluator = Evaluator(model, settings.eval_batch_size)
    # A checkpoint follows every validation: the best of those validated is kept, not the best of
    # those that happened to be saved.
    validate = Hook(
        settings.evaluate_every_epochs,
        functools.partial(_validate, evaluator, dataset.val),
        saves=True,
    )
    with Checkpoints(
        folder.path / "checkpoints", best_metric="val_accuracy", record=folder.record
    ) as checkpoints:
        with Progress(arm, plan) as progress:
            template = classifier.create_classifier_state(
                keys.init, model=model, optimizer=optimizer, image_shape=image_shape
            )
            step, state = share(checkpoints.resume(template))
            folder.rewind(step)
            progress.start(step)
            state = run_loop(
                state,
                start_step=step,
                plan=plan,
                dispatcher=dispatcher,
                hooks=[validate] if leads() else [],
                folder=folder,
                checkpoints=checkpoints,
                checkpoint_every_epochs=settings.checkpoint_every_epochs,
                checkpoint_every_seconds=settings.checkpoint_every_seconds,
                progress=progress,
            )
        if not leads():
            return
        checkpoints.wait()
        best_step = checkpoints.best_step or plan.num_steps
        best = checkpoints.restore(best_step, template)
    report = {
        "arm": arm,
        "data": dataset.describe(),
        "epochs": settings.num_epochs,
        "synthetic_images": {name: len(synthetic.get(name, ())) for name in dataset.class_names},
        "last": _report_splits(evaluator, state.params, dataset),
        "best": {
            "epoch": plan.compute_epoch(best_step),
            "note": _BEST_NOTE,
            **_report_splits(evaluator, best.params, dataset),
        },
    }
    write_json(folder.path / "report.json", report)
    _draw_figures(folder, report, len(dataset.val))
    folder.finish(settings.num_epochs)


def _validate(evaluator: Evaluator, images: ImageSet, moment: Moment) -> Mapping[str, float]:
    probabilities = evaluator.predict(moment.state.params, images.images)
    chosen = probabilities[np.arange(len(images)), images.labels]
    return {
        "val_accuracy": float(np.mean(np.argmax(probabilities, axis=1) == images.labels)),
        "val_loss": float(np.mean(-np.log(np.maximum(chosen, 1e-30)))),
    }


def _report_splits(evaluator: Evaluator, params: Params, dataset: Dataset) -> dict[str, Any]:
    """Return a classification report of every split: real images only."""
    return {
        name: compute_classification_report(
            probabilities=evaluator.predict(params, images.images),
            labels=images.labels,
            class_names=dataset.class_names,
        )
        for name, images in dataset.splits.items()
    }


def _draw_figures(folder: RunFolder, report: Mapping[str, Any], val_count: int) -> None:
    path = folder.get_folder("figures")
    figures.plot_accuracy(
        read_metrics(folder.path),
        path / "accuracy.png",
        title=f"GMD, arm {report['arm']}",
        val_count=val_count,
    )
    figures.plot_confusion_matrix(
        report["last"]["val"],
        path / "confusion_matrix.png",
        title=f"GMD, arm {report['arm']}: validation after the last epoch",
    )


def _format_arms(workdir: Path) -> str:
    """Return the table of the arms in `workdir` that have a report; say which one is damaged."""
    reports = {}
    for arm in ARMS:
        path = workdir / arm / "report.json"
        if path.exists() and (report := read_report(path)) is not None:
            reports[arm] = report
    return format_gmd_reports(reports) if reports else ""
