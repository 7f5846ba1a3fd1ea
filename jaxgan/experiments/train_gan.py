"""Train one DCGAN on the images of one class, and keep the images that a rule accepts."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgan.core.console import say
from jaxgan.core.files import write_json
from jaxgan.data.sets import Dataset, ImageSet, find_label, join_sets
from jaxgan.devices.distributed import check_alike, leads, share
from jaxgan.devices.parallel import Dispatcher, check_batch_size, choose_devices
from jaxgan.evaluation.quality import summarise
from jaxgan.experiments.class_run import (
    GRID_IMAGES,
    ClassRun,
    EmptyLooks,
    describe_targets,
    draw_augmented,
    draw_class_figures,
    keep_by_code,
    look,
    open_class_run,
    top_up,
)
from jaxgan.gans import two_player
from jaxgan.gans.recipe import create_keys, create_plan, create_state, create_step
from jaxgan.reports import figures
from jaxgan.sampling import kept
from jaxgan.sampling.sampler import ALL_CLASSES, open_checkpoints
from jaxgan.settings import DcganSettings, to_dict
from jaxgan.training.feed import create_feed
from jaxgan.training.loop import Hook, Moment, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.run_folder import RunFolder, drop_notes, open_run_folder, read_metrics


def describe_run(settings: DcganSettings, dataset: Dataset, class_name: str) -> dict[str, Any]:
    """Return what defines a run, as its `config.json` records it."""
    return {
        "kind": "dcgan",
        "class": class_name,
        "data": dataset.describe(),
        "settings": to_dict(settings),
    }


def check_class(dataset: Dataset, class_name: str) -> ImageSet:
    """Return the training images of a class."""
    label = find_label(dataset, class_name, remark=" (or all of them: --class=all)")
    return dataset.train.of_class(label)


def list_classes(dataset: Dataset, wanted: str) -> list[str]:
    """Return the class `wanted`, or every class where that is `ALL_CLASSES`."""
    if wanted == ALL_CLASSES:
        return list(dataset.class_names)
    check_class(dataset, wanted)
    return [wanted]


def train_dcgan(
    settings: DcganSettings,
    *,
    dataset: Dataset,
    class_name: str,
    workdir: Path,
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Train the DCGAN of one class in `workdir`/`class_name`, from where an earlier call stopped.

    Leaves checkpoints, metrics, sample grids, kept images and figures; see the README's map.
    `notes` see `RunFolder`.
    """
    images = check_class(dataset, class_name)
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, class_name)
    check_alike(drop_notes(record))
    with open_run_folder(workdir / class_name, record, notes) as folder:
        if share(folder.is_finished(settings.num_epochs) and kept.is_whole(folder.path)):
            say(folder.describe_finished(settings.num_epochs))
            return
        names = dataset.class_names
        if notice := describe_targets(settings, names):
            say(notice)
        run = open_class_run(settings, class_name, images, folder, class_names=names)
        found = fit(settings, f"class {class_name}", [run], _create_hooks(run), folder, devices)
        if found is None:
            return
        state, epoch = found
        top_up(run, state, epoch)
        draw_class_figures(run, state)
        draw_curves(run.threshold, settings, f"class {class_name}", folder)
        _report_quality(run, epoch)
        folder.finish(settings.num_epochs)
        say(f"Done: look at {folder.path / 'figures' / 'samples.png'}.")


def fit(
    settings: DcganSettings,
    name: str,
    runs: Sequence[ClassRun],
    hooks: Sequence[Hook],
    folder: RunFolder,
    devices: Sequence[jax.Device],
) -> tuple[two_player.GanState, int] | None:
    """Train on the images of `runs` in `folder`, from its newest checkpoint to the last epoch.

    Returns the state to draw from and its epoch, in the leading process alone.
    """
    images = join_sets([run.images for run in runs]) if len(runs) > 1 else runs[0].images
    keys, plan = create_keys(settings.seed), create_plan(settings, len(images))
    resident_bytes = settings.data.resident_bytes
    dispatcher = Dispatcher(
        functools.partial(create_step, settings),
        create_feed(images, keys.data, plan, devices, resident_bytes=resident_bytes),
        keys.steps,
        devices=devices,
        max_steps=plan.max_steps,
    )
    say(
        f"Training a DCGAN on the {len(images)} training images of {name}: "
        f"{settings.num_epochs} epochs, {plan.num_steps} steps of {settings.batch_size} "
        f"on {len(devices)} {devices[0].platform} device(s), in {folder.path}."
    )
    with open_checkpoints(folder.path, folder.record) as checkpoints:
        with Progress(name.removeprefix("class "), plan) as progress:
            step, state = share(checkpoints.resume(create_state(settings, keys.init)))
            folder.rewind(step)
            for run in runs:
                run.kept.rewind(plan.compute_epoch(step))
            progress.start(step)
            state = run_loop(
                state,
                start_step=step,
                plan=plan,
                dispatcher=dispatcher,
                hooks=hooks if leads() else [],
                folder=folder,
                checkpoints=checkpoints,
                checkpoint_every_epochs=settings.checkpoint_every_epochs,
                checkpoint_every_seconds=settings.checkpoint_every_seconds,
                progress=progress,
            )
        if not leads():
            return None
        checkpoints.wait()
        best = checkpoints.best_step if settings.select_checkpoint == "best" else None
        if best is not None:
            state = checkpoints.restore(best, state)
    return state, plan.compute_epoch(plan.num_steps if best is None else best)


def _create_hooks(run: ClassRun) -> list[Hook]:
    settings = run.settings
    sample = Hook(settings.sample_every_epochs, functools.partial(_write_samples, run))
    measure = Hook(settings.measure_every_epochs, functools.partial(_measure, run), saves=True)
    if settings.selection.rule == "paper_code":
        return [Hook(1, functools.partial(keep_by_code, run)), sample, measure]
    looking = functools.partial(look, run, EmptyLooks(settings))
    return [Hook(settings.look_every_epochs, looking), sample, measure]


def _measure(run: ClassRun, moment: Moment) -> Mapping[str, float]:
    return run.meter.measure(run.meter.draw(moment.state.sampling_variables))


def _write_samples(run: ClassRun, moment: Moment) -> Mapping[str, float]:
    images = run.sampler.draw(moment.state, 0, GRID_IMAGES).images
    figures.write_grid(images, run.folder.get_folder("samples") / f"epoch_{moment.epoch:05d}.png")
    if run.settings.diffaugment:
        draw_augmented(run, moment.state, images)
    return {}


def draw_curves(
    threshold: float | None, settings: DcganSettings, name: str, folder: RunFolder
) -> None:
    """Draw losses and acceptance over the epochs, from what the run has written."""
    path, records = folder.get_folder("figures"), read_metrics(folder.path)
    figures.plot_gan_losses(
        records, path / "losses.png", title=f"DCGAN, {name}", objective=settings.objective
    )
    figures.plot_acceptance(
        records,
        path / "acceptance.png",
        title=f"Acceptance, {name}",
        rule=settings.selection.rule,
        threshold=threshold,
    )


def _report_quality(run: ClassRun, selected_epoch: int) -> None:
    """Write what the measurements say of the run; say where it has collapsed."""
    records = read_metrics(run.folder.path)
    report = summarise(records, floor=run.meter.compute_floor(), selected_epoch=selected_epoch)
    if report is None:
        return
    write_json(run.folder.path / "report.json", report)
    figures.plot_quality(
        records,
        run.folder.get_folder("figures") / "metric.png",
        title=f"Distance to the real images, class {run.class_name}",
        report=report,
    )
    say(
        f"Images are drawn from the generator of epoch {selected_epoch}; the nearest to the real "
        f"images was that of epoch {report['best']['epoch']}."
    )
    if report["collapse"]:
        say(report["collapse"])
