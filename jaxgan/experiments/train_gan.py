"""Train a GAN on the images of one class, or one class-conditional GAN on those of all classes.

The run of a class is in `workdir`/CLASS: checkpoints, metrics, sample grids, figures, and the
images that a rule keeps.

The run of a class-conditional model is in `workdir`/all. In addition, every class has a folder that
is used like the run of a single class. It holds the kept images and figures of the class, and its
`config.json` names the label for drawing its images. A batch has the classes in the proportions of
the training set. So every image is seen as often as in a run of its own class.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json
from jaxgan.core.settings import to_dict
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset, ImageSet, find_label, join_sets
from jaxgan.devices.distributed import check_alike, leads, share
from jaxgan.devices.parallel import Dispatcher, StepFn, check_batch_size, choose_devices
from jaxgan.evaluation.fidelity import OUTSIDE, list_rulers, measure
from jaxgan.evaluation.quality import (
    FIRST_SEED,
    MEASURES,
    NUM_IMAGES,
    compute_class_share,
    compute_label_effect,
    describe_ignored_label,
    describe_verdict,
    summarise,
)
from jaxgan.experiments.class_run import (
    GRID_IMAGES,
    ClassRun,
    EmptyLooks,
    compile_ahead,
    describe_targets,
    draw_augmented,
    draw_class_figures,
    draw_missing,
    keep_by_code,
    look,
    open_class_run,
)
from jaxgan.gans.protocol import FamilySettings, Gan
from jaxgan.metrics.kernel_distance import METRIC
from jaxgan.networks.schedules import Pace
from jaxgan.reports import drawing, gan_figures, html
from jaxgan.sampling import kept
from jaxgan.sampling.runs import ALL_CLASSES, create_sampler, open_checkpoints
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Hook, Loop, LoopStage, StepInfo, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.record import drop_notes
from jaxgan.training.run_folder import RunFolder, open_run_folder, read_metrics, read_report

_SHOWN_OF_CLASS = 8
_EFFECT_IMAGES = 16 * NUM_IMAGES  # of all classes together
_LISTED_CLASSES = 10
_NEEDED = (METRIC, "variance_ratio")  # a report needs these in a line of metrics


@dataclass(frozen=True)
class TrainedGan:
    """The results that the training of a GAN left in its folder.

    `report` is None if nothing was measured. For a class-conditional model, `classes` are the
    folders of its classes; they hold the kept images.
    """

    folder: Path
    report: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, float]]
    kept: Sequence[Path]
    figures: Sequence[Path]
    classes: Sequence[Path] = ()

    @property
    def num_epochs(self) -> int:
        """The number of epochs that were trained."""
        return max((int(line["epoch"]) for line in self.metrics), default=0)

    def __repr__(self) -> str:
        return f"<TrainedGan in {self.folder}: {self.num_epochs} epochs>"

    def _repr_html_(self) -> str:
        sentences = [] if self.report is None else _list_sentences(self.report)
        return html.show_box(
            f"GAN in {self.folder}: {self.num_epochs} epochs",
            html.show_sentences([*sentences, f"{len(self.kept)} generated images are kept."]),
            html.show_picture(self.folder / "figures" / "samples.png", "Generated images"),
        )


def describe_run(settings: TrainGanSettings, dataset: Dataset, class_name: str) -> dict[str, Any]:
    """Return what defines a run, as its `config.json` records it."""
    weights = settings.gan.describe_weights()
    return {
        "kind": "gan",
        "class": class_name,
        "data": dataset.describe(),
        "settings": to_dict(settings),
        **({"weights": weights} if weights else {}),
    }


def check_class(dataset: Dataset, class_name: str) -> ImageSet:
    """Return the training images of a class."""
    label = find_label(dataset, class_name, remark=" (or all of them: --class=all)")
    return dataset.train.of_class(label)


def list_classes(dataset: Dataset, wanted: str) -> list[str]:
    """Return the class `wanted`, or every class if it is `ALL_CLASSES`."""
    if wanted == ALL_CLASSES:
        return list(dataset.class_names)
    check_class(dataset, wanted)
    return [wanted]


def make_conditional(
    settings: TrainGanSettings, dataset: Dataset, class_name: str
) -> TrainGanSettings:
    """Return the settings of a model of all classes; `class_name` must be `ALL_CLASSES`."""
    if class_name != ALL_CLASSES:
        raise UserError(
            f"--conditional trains one model of all classes, not of {class_name}: give --class=all."
        )
    if not settings.gan.takes_classes:
        raise UserError(
            f"--conditional trains one model of all classes, and config.gan.family "
            f"{settings.gan.family!r} can learn only one class: leave --conditional out."
        )
    if len(dataset.class_names) < 2:
        raise UserError(
            f"{dataset.name} has one class: a class-conditional model needs two or more. Leave "
            "--conditional out."
        )
    if ALL_CLASSES in dataset.class_names:
        raise UserError(
            f"A class of {dataset.name} is called {ALL_CLASSES!r}, but the folder of that name is "
            "for a model of all classes: rename the class, or leave --conditional out."
        )
    if settings.selection.how.keeps_batches:
        raise UserError(
            "config.selection.rule 'paper_code' keeps the first image of a batch of one class, but "
            "a class-conditional model has all classes in a batch: choose another --accept."
        )
    gan = dataclasses.replace(settings.gan, num_classes=len(dataset.class_names))
    return dataclasses.replace(settings, gan=gan)


# Training -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Training:
    """A training in `folder` on the classes of `runs`; `about` is its name in messages."""

    settings: TrainGanSettings
    gan: Gan[Any]
    about: str
    folder: RunFolder
    runs: Sequence[ClassRun]

    @functools.cached_property
    def images(self) -> ImageSet:
        """The training images of all its classes."""
        return join_sets([run.images for run in self.runs])

    @functools.cached_property
    def plan(self) -> EpochPlan:
        """The plan of epochs, steps and dispatches."""
        return self.settings.create_plan(len(self.images), self.gan.borders)


def train_gan(
    settings: TrainGanSettings,
    *,
    dataset: Dataset,
    class_name: str,
    workdir: Path,
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> TrainedGan:
    """Train the GAN of one class in `workdir`/`class_name`, from where an earlier call stopped.

    Writes checkpoints, metrics, sample grids, kept images and figures; see the README's map. For
    `notes` see `RunFolder`.
    """
    images = check_class(dataset, class_name)
    record = describe_run(settings, dataset, class_name)
    gan = settings.create_gan()
    devices = _choose_devices(settings, record, num_devices)
    with open_run_folder(workdir / class_name, record, notes) as folder:
        sampler, names = create_sampler(settings, gan), dataset.class_names
        run = open_class_run(settings, sampler, class_name, images, folder, class_names=names)
        training = _Training(settings, gan, f"class {class_name}", folder, [run])
        _train(training, dataset, devices)
    return read_trained(workdir / class_name)


def train_conditional(
    settings: TrainGanSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> TrainedGan:
    """Train one model of all classes in `workdir`/all, from where an earlier call stopped.

    `settings` come from `make_conditional`. Writes the model's checkpoints, metrics and figures
    there, and the kept images and figures of each class in `workdir`/CLASS. For `notes` see
    `RunFolder`.
    """
    record, names = describe_run(settings, dataset, ALL_CLASSES), dataset.class_names
    gan = settings.create_gan()
    devices = _choose_devices(settings, record, num_devices)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(open_run_folder(workdir / ALL_CLASSES, record, notes))
        runs, sampler = [], create_sampler(settings, gan, label=0)
        for label, name in enumerate(names):
            of_class = {**record, "class": name, "label": label}
            part = stack.enter_context(open_run_folder(workdir / name, of_class, notes))
            images = check_class(dataset, name)
            of_label = sampler.vary(label=label)
            runs.append(open_class_run(settings, of_label, name, images, part, class_names=names))
        _train(_Training(settings, gan, "all classes", folder, runs), dataset, devices)
    return read_trained(workdir / ALL_CLASSES, [workdir / name for name in names])


def _choose_devices(
    settings: TrainGanSettings, record: Mapping[str, Any], num_devices: int
) -> list[jax.Device]:
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    check_alike(drop_notes(record))
    return devices


def read_trained(folder: Path, classes: Sequence[Path] = ()) -> TrainedGan:
    """Return the results of the training in `folder`; `classes` are its classes' folders."""
    folders = classes or [folder]
    return TrainedGan(
        folder,
        read_report(folder),
        read_metrics(folder),
        [f / kept.FOLDER / row.file for f in folders for row in kept.read_table(f)],
        sorted(path for f in {folder, *folders} for path in f.glob("figures/*.png")),
        classes,
    )


def _train(training: _Training, dataset: Dataset, devices: Sequence[jax.Device]) -> None:
    settings, folder, runs = training.settings, training.folder, training.runs
    is_whole = folder.is_finished(settings.num_epochs) and all(
        kept.is_whole(run.folder.path) for run in runs
    )
    if share(is_whole):
        say(folder.describe_finished(settings.num_epochs))
        return
    if notice := describe_targets(settings.selection, dataset.class_names):
        say(notice)
    found = _fit(training, devices)
    if found is None:
        return
    state, epoch = found
    for run in runs:
        draw_missing(run, training.gan.get_networks(state), epoch)
        draw_class_figures(run, state)
    if is_conditional(runs):
        _draw_samples(training, state)
    _draw_curves(training)
    _report_quality(training, epoch, functools.partial(_measure_outside, state, dataset))
    parts = [run.folder for run in runs if run.folder is not folder]
    folder.finish(settings.num_epochs, parts=parts)
    say(f"Done: open {folder.path / 'figures' / 'samples.png'}.")


def is_conditional(runs: Sequence[ClassRun]) -> bool:
    """Whether these runs are the classes of one class-conditional model."""
    return runs[0].sampler.label is not None


def create_stages(
    settings: TrainGanSettings,
    gan: Gan[Any],
    plan: EpochPlan,
    images: ImageSet,
    devices: Sequence[jax.Device],
    meanwhile: Callable[[], None] | None = None,
) -> Iterator[LoopStage]:
    """Yield the stages of a run, each with its steps and a dispatcher; all share one feed."""
    keys, resident_bytes = create_keys(settings.seed), settings.data.resident_bytes
    feed = create_feed(images, keys.data, plan, devices, resident_bytes=resident_bytes)
    epoch, pace = 0, Pace(plan.list_ends(), plan.num_steps)
    for stage in gan.stages:
        first = plan.compute_end_of_epoch(epoch)
        epoch += stage.num_epochs
        dispatcher = Dispatcher(
            functools.partial(_create_step, settings.gan, stage.start_at(first), pace),
            feed,
            keys.steps,
            devices=devices,
            max_steps=plan.max_steps,
            meanwhile=meanwhile,
        )
        yield LoopStage(first, plan.compute_end_of_epoch(epoch), dispatcher, stage.begin)


def _create_step(
    gan: FamilySettings, create: Callable[[str | None], StepFn], pace: Pace, axis_name: str | None
) -> StepFn:
    return gan.pace_step(create(axis_name), pace)


def _fit(training: _Training, devices: Sequence[jax.Device]) -> tuple[Any, int] | None:
    """Train from the newest checkpoint to the last epoch.

    Returns the state to draw from and its epoch, only in the leading process.
    """
    settings, gan, plan, folder = training.settings, training.gan, training.plan, training.folder
    say(
        f"Training of {settings.gan.family.upper()} on the {len(training.images)} training images "
        f"of {training.about}: {settings.num_epochs} epochs, {plan.num_steps} steps of "
        f"{settings.batch_size} on {len(devices)} {devices[0].platform} device(s), in "
        f"{folder.path}."
    )
    with open_checkpoints(folder.path, folder.record) as checkpoints:
        with Progress(training.about.removeprefix("class "), plan) as progress:
            create = functools.partial(gan.create_state, create_keys(settings.seed).init)
            step, state = share(checkpoints.resume(create))
            folder.rewind(step)
            for run in training.runs:
                run.kept.rewind(plan.compute_epoch(step))
            progress.start(step)
            shapes = jax.eval_shape(lambda state: state, state)
            ahead = functools.partial(compile_ahead, training.runs[0], shapes)
            # Only one process draws, and several devices use another program for training.
            meanwhile = ahead if leads() and len(devices) == 1 else None
            stages = list(create_stages(settings, gan, plan, training.images, devices, meanwhile))
            loop = Loop(
                plan,
                _create_hooks(training) if leads() else [],
                folder,
                checkpoints,
                settings.checkpoint_every_epochs,
                settings.checkpoint_every_seconds,
                progress,
            )
            state = run_loop(loop, stages, state, start_step=step)
        if not leads():
            return None
        checkpoints.wait()
        best = checkpoints.best_step if settings.select_checkpoint == "best" else None
        if best is not None:
            state = checkpoints.restore(best, state)
    return state, plan.compute_epoch(plan.num_steps if best is None else best)


# While it trains ----------------------------------------------------------------------------------


def _create_hooks(training: _Training) -> list[Hook]:
    settings, runs = training.settings, training.runs
    sample = Hook(settings.sample_every_epochs, functools.partial(_write_samples, training))
    measure = Hook(settings.measure_every_epochs, _create_measuring(runs), saves=True)
    if settings.selection.how.keeps_batches:
        return [Hook(1, functools.partial(keep_by_code, runs[0], training.plan)), sample, measure]
    threshold = settings.selection.threshold
    looks = [functools.partial(look, run, EmptyLooks(threshold)) for run in runs]

    def look_at_all(info: StepInfo) -> Mapping[str, float]:
        found = [look_at_one(info) for look_at_one in looks]
        mean = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
        return mean | {"num_kept": sum(f["num_kept"] for f in found)}

    return [Hook(settings.look_every_epochs, look_at_all), sample, measure]


def _write_samples(training: _Training, info: StepInfo) -> Mapping[str, float]:
    networks = training.gan.get_networks(info.state)
    shown = drawing.choose_shown(training.runs)
    num = _SHOWN_OF_CLASS if is_conditional(training.runs) else GRID_IMAGES
    images = [run.sampler.draw(networks, 0, num) for run in shown]
    path = training.folder.get_folder("samples") / f"epoch_{info.epoch:05d}.png"
    drawing.write_grid(np.concatenate(images), path, columns=_SHOWN_OF_CLASS)
    # At the end, the figures of every class are drawn, including this one.
    if training.gan.augmentation is not None and info.epoch < training.settings.num_epochs:
        for run, of_class in zip(shown, images, strict=True):
            draw_augmented(run, training.gan.augmentation, info.state, of_class)
    return {}


def _create_measuring(runs: Sequence[ClassRun]) -> Any:
    """Return the hook that measures: for a conditional model each class and the label's effect."""
    if not is_conditional(runs):
        return lambda info: _measure(runs[0], info)[1]
    class_share = compute_class_share(
        np.concatenate([run.images.images for run in runs]),
        np.concatenate([run.images.labels for run in runs]),
    )
    return functools.partial(_measure_classes, runs, class_share)


def _measure(run: ClassRun, info: StepInfo) -> tuple[np.ndarray, dict[str, float]]:
    networks = run.gan.get_networks(info.state)
    images = run.sampler.draw(networks, FIRST_SEED, NUM_IMAGES)
    return images, run.meter.measure(images)


def _measure_classes(
    runs: Sequence[ClassRun], class_share: float, info: StepInfo
) -> Mapping[str, float]:
    """Measure every class; the mean distance selects the checkpoint."""
    # The label's effect is measured on as many images as fit into memory.
    num = min(NUM_IMAGES, max(_EFFECT_IMAGES // len(runs), 2))
    found, images = [], []
    for run in runs:
        drawn, measured = _measure(run, info)
        found.append(measured)
        images.append(drawn[:num])
    result = {
        **{name: min(f[name] for f in found) for name in MEASURES},
        METRIC: float(np.mean([f[METRIC] for f in found])),
        "label_effect": compute_label_effect(images),
        "class_share": class_share,
    }
    for run, of_class in zip(runs, found, strict=True):
        result |= {f"{name}: {run.class_name}": value for name, value in of_class.items()}
    return result


# At the end ---------------------------------------------------------------------------------------


def _draw_samples(training: _Training, state: Any) -> None:
    """Draw one row per class, with the same latents in each row."""
    runs, networks = training.runs, training.gan.get_networks(state)
    shown, title = drawing.choose_shown(runs), "Every column is one latent, every row one class"
    if len(shown) < len(runs):
        title += f" ({len(shown)} of {len(runs)} are shown)"
    num = _SHOWN_OF_CLASS
    rows = [(run.class_name, run.final_sampler.draw(networks, 0, num)) for run in shown]
    path = training.folder.get_folder("figures") / "samples.png"
    drawing.plot_rows(rows, path, title=title)


def _draw_curves(training: _Training) -> None:
    """Draw losses and acceptance over the epochs, from the run's metrics."""
    path, records = training.folder.get_folder("figures"), read_metrics(training.folder.path)
    gan_figures.plot_gan_losses(
        records,
        path / "losses.png",
        title=f"{training.settings.gan.family.upper()}, {training.about}",
        meaning=training.runs[0].meaning,
    )
    selection = training.settings.selection
    gan_figures.plot_acceptance(
        records,
        path / "acceptance.png",
        title=f"Acceptance, {training.about}",
        rule=selection.rule,
        threshold=selection.shown_threshold,
    )


def _report_quality(
    training: _Training,
    selected_epoch: int,
    measure_outside: Callable[[ClassRun], Mapping[str, Any] | None],
) -> None:
    """Write the report of the measurements; say if the run, or a class of it, has collapsed.

    `measure_outside` measures the generator of the selected epoch, for a class, in the outside
    ruler.
    """
    runs, folder = training.runs, training.folder
    records: Sequence[Mapping[str, Any]] = read_metrics(folder.path)
    if not any(METRIC in line for line in records):
        return
    if is_conditional(runs):
        records, report = _summarise_classes(records, runs, selected_epoch, measure_outside)
    else:
        floor = runs[0].meter.compute_floor()
        report = summarise(records, floor=floor, selected_epoch=selected_epoch)
        if report is not None:
            report["outside"] = measure_outside(runs[0])
    if report is None:
        return
    write_json(folder.path / "report.json", {**report, "versions": get_versions()})
    what = "mean over classes" if is_conditional(runs) else training.about
    gan_figures.plot_quality(
        records,
        folder.get_folder("figures") / "metric.png",
        title=f"Distance to the real images, {what}",
        report=report,
    )
    say(
        f"Images are drawn from the generator of epoch {selected_epoch}; the generator closest to "
        f"the real images was that of epoch {report['best']['epoch']}."
    )
    for sentence in _list_sentences(report):
        say(sentence)


def _measure_outside(state: Any, dataset: Dataset, run: ClassRun) -> dict[str, Any] | None:
    """Return what the outside ruler finds of the class of `run`; None if it is not installed."""
    if OUTSIDE not in list_rulers():
        return None
    drawn = run.sampler.draw(run.gan.get_networks(state), FIRST_SEED, NUM_IMAGES)
    return measure(OUTSIDE, drawn, dataset.train, find_label(dataset, run.class_name))


def _list_sentences(report: Mapping[str, Any]) -> list[str]:
    """Return the sentences about a report: which classes have collapsed, and an ignored label."""
    if "classes" not in report:
        outside = (report.get("outside") or {}).get("sentence")
        return [report["collapse"] or describe_verdict(report), *([outside] if outside else [])]
    classes = report["classes"]
    collapses = [f"Class {n}: {p['collapse']}" for n, p in classes.items() if p["collapse"]]
    if len(collapses) > _LISTED_CLASSES:
        more = f"{len(collapses) - _LISTED_CLASSES} more classes have collapsed: see report.json."
        collapses = [*collapses[:_LISTED_CLASSES], more]
    ignored = describe_ignored_label(report["label_effect"], report["class_share"])
    return [*collapses, *([ignored] if ignored else [])]


def _summarise_classes(
    records: Sequence[Mapping[str, Any]],
    runs: Sequence[ClassRun],
    selected_epoch: int,
    measure_outside: Callable[[ClassRun], Mapping[str, Any] | None],
) -> tuple[list[Mapping[str, Any]], dict[str, Any] | None]:
    """Return the complete lines of metrics, and the report of a model of all classes."""
    names = [f"{name}: {run.class_name}" for name in _NEEDED for run in runs]
    needed = {*_NEEDED, "label_effect", "class_share", *names}  # a person may have edited a line
    whole = [line for line in records if needed <= line.keys()]
    if not whole:
        return whole, None
    classes = {
        run.class_name: _summarise_class(whole, run, selected_epoch, measure_outside(run))
        for run in runs
    }
    floor = float(np.mean([part["floor"] for part in classes.values()]))
    report = summarise(whole, floor=floor, selected_epoch=selected_epoch)
    assert report is not None
    report |= {name: whole[-1][name] for name in ("label_effect", "class_share")}
    report["classes"] = classes
    return whole, report | {"collapse": " ".join(_list_sentences(report)) or None}


def _summarise_class(
    records: Sequence[Mapping[str, Any]],
    run: ClassRun,
    selected_epoch: int,
    outside: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return one class's part of the report, and write it to the class's folder."""
    lines = [
        {
            "epoch": record["epoch"],
            **{
                name: record[f"{name}: {run.class_name}"]
                for name in MEASURES
                if f"{name}: {run.class_name}" in record
            },
        }
        for record in records
    ]
    report = summarise(lines, floor=run.meter.compute_floor(), selected_epoch=selected_epoch)
    assert report is not None
    report["outside"] = outside
    write_json(run.folder.path / "report.json", {**report, "versions": get_versions()})
    return report
