"""Train one class-conditional DCGAN on the images of all classes.

The model's run is in `workdir`/all. Beside it every class has a folder that is used as if it were
the run of that class alone: its kept images and figures are there, and its `config.json` names the
label that its images are drawn with.

A batch has the classes in the proportions of the training set: every image is seen as often as in
the run of its own class alone.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json
from jaxgan.data.sets import Dataset
from jaxgan.devices.distributed import check_alike, share
from jaxgan.devices.parallel import check_batch_size, choose_devices
from jaxgan.evaluation.quality import (
    MEASURES,
    METRIC,
    NUM_IMAGES,
    compute_class_share,
    compute_label_effect,
    describe_ignored_label,
    summarise,
)
from jaxgan.experiments.class_run import (
    ClassRun,
    EmptyLooks,
    describe_targets,
    draw_augmented,
    draw_class_figures,
    look,
    open_class_run,
    top_up,
)
from jaxgan.experiments.train_gan import check_class, describe_run, draw_curves, fit
from jaxgan.gans import two_player
from jaxgan.reports import figures
from jaxgan.sampling import kept
from jaxgan.sampling.sampler import ALL_CLASSES
from jaxgan.settings import DcganSettings
from jaxgan.training.loop import Hook, Moment
from jaxgan.training.run_folder import RunFolder, drop_notes, open_run_folder, read_metrics

_SHOWN_OF_CLASS = 8
_EFFECT_IMAGES = 16 * NUM_IMAGES  # of all classes together
_TOLD_CLASSES = 10
_ABOUT = "all classes"
_NEEDED = (METRIC, "variance_ratio")  # of a line of metrics that a report is made of


def make_conditional(settings: DcganSettings, dataset: Dataset, class_name: str) -> DcganSettings:
    """Return the settings of a model of all classes of `dataset`, which `class_name` has to say."""
    if class_name != ALL_CLASSES:
        raise UserError(
            f"--conditional trains one model of all classes, not of {class_name}: give --class=all."
        )
    if len(dataset.class_names) < 2:
        raise UserError(
            f"{dataset.name} has one class: a class-conditional model needs two or more. Leave "
            "--conditional out."
        )
    if ALL_CLASSES in dataset.class_names:
        raise UserError(
            f"A class of {dataset.name} is called {ALL_CLASSES!r}, which is where a model of all "
            "classes is kept: rename it, or leave --conditional out."
        )
    if settings.selection.rule == "paper_code":
        raise UserError(
            "config.selection.rule 'paper_code' keeps the first image of a batch of one class, and "
            "the batches of a class-conditional model are of all: choose another --accept."
        )
    return dataclasses.replace(settings, num_classes=len(dataset.class_names))


def train_conditional(
    settings: DcganSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    num_devices: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Train one model of all classes in `workdir`/all, from where an earlier call stopped.

    `settings` are those of `make_conditional`. Leaves the model's checkpoints, metrics and figures
    there, and in `workdir`/CLASS what the run of a class leaves. `notes` see `RunFolder`.
    """
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, ALL_CLASSES)
    check_alike(drop_notes(record))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(open_run_folder(workdir / ALL_CLASSES, record, notes))
        runs = []
        for label, name in enumerate(dataset.class_names):
            of_class = {**record, "class": name, "label": label}
            part = stack.enter_context(open_run_folder(workdir / name, of_class, notes))
            images = check_class(dataset, name)
            names = dataset.class_names
            runs.append(
                open_class_run(settings, name, images, part, class_names=names, label=label)
            )
        if share(
            folder.is_finished(settings.num_epochs)
            and all(kept.is_whole(run.folder.path) for run in runs)
        ):
            say(folder.describe_finished(settings.num_epochs))
            return
        if notice := describe_targets(settings, dataset.class_names):
            say(notice)
        found = fit(settings, _ABOUT, runs, _create_hooks(settings, runs, folder), folder, devices)
        if found is None:
            return
        state, epoch = found
        for run in runs:
            top_up(run, state, epoch)
            draw_class_figures(run, state)
        _draw_samples(runs, state, folder)
        draw_curves(runs[0].threshold, settings, _ABOUT, folder)
        _report_quality(runs, folder, epoch)
        folder.finish(settings.num_epochs, parts=[run.folder for run in runs])
        say(f"Done: look at {folder.path / 'figures' / 'samples.png'}.")


def _create_hooks(
    settings: DcganSettings, runs: Sequence[ClassRun], folder: RunFolder
) -> list[Hook]:
    looks = [functools.partial(look, run, EmptyLooks(settings)) for run in runs]

    def look_at_all(moment: Moment) -> Mapping[str, float]:
        found = [look_at_one(moment) for look_at_one in looks]
        mean = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
        return mean | {"num_kept": sum(f["num_kept"] for f in found)}

    class_share = compute_class_share(
        np.concatenate([run.images.images for run in runs]),
        np.concatenate([run.images.labels for run in runs]),
    )
    return [
        Hook(settings.look_every_epochs, look_at_all),
        Hook(settings.sample_every_epochs, functools.partial(_write_samples, runs, folder)),
        Hook(
            settings.measure_every_epochs,
            functools.partial(_measure, runs, class_share),
            saves=True,
        ),
    ]


def _write_samples(
    runs: Sequence[ClassRun], folder: RunFolder, moment: Moment
) -> Mapping[str, float]:
    shown = figures.choose_shown(runs)
    images = [run.sampler.draw(moment.state, 0, _SHOWN_OF_CLASS).images for run in shown]
    path = folder.get_folder("samples") / f"epoch_{moment.epoch:05d}.png"
    figures.write_grid(np.concatenate(images), path, columns=_SHOWN_OF_CLASS)
    if runs[0].settings.diffaugment:
        for run, of_class in zip(shown, images, strict=True):
            draw_augmented(run, moment.state, of_class)
    return {}


def _draw_samples(runs: Sequence[ClassRun], state: two_player.GanState, folder: RunFolder) -> None:
    shown, title = figures.choose_shown(runs), "Every column is one latent, every row one class"
    if len(shown) < len(runs):
        title += f" ({len(shown)} of {len(runs)} are shown)"
    rows = [(run.class_name, run.sampler.draw(state, 0, _SHOWN_OF_CLASS).images) for run in shown]
    figures.plot_rows(rows, folder.get_folder("figures") / "samples.png", title=title)


def _measure(runs: Sequence[ClassRun], class_share: float, moment: Moment) -> Mapping[str, float]:
    """Measure every class; the distance that chooses a checkpoint is their mean."""
    # What the label does is told from as many images as memory has room for, however many classes.
    num = min(NUM_IMAGES, max(_EFFECT_IMAGES // len(runs), 2))
    found, images = [], []
    for run in runs:
        drawn = run.meter.draw(moment.state.sampling_variables)
        found.append(run.meter.measure(drawn))
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


def _report_quality(runs: Sequence[ClassRun], folder: RunFolder, selected_epoch: int) -> None:
    """Write what the measurements say of every class; say what has collapsed."""
    names = [f"{name}: {run.class_name}" for name in _NEEDED for run in runs]
    needed = {*_NEEDED, "label_effect", "class_share", *names}  # a person may have edited a line
    records = [line for line in read_metrics(folder.path) if needed <= line.keys()]
    if not records:
        return
    classes = {run.class_name: _summarise_class(records, run, selected_epoch) for run in runs}
    floor = float(np.mean([part["floor"] for part in classes.values()]))
    report = summarise(records, floor=floor, selected_epoch=selected_epoch)
    assert report is not None
    last = records[-1]
    ignored = describe_ignored_label(last["label_effect"], last["class_share"])
    collapses = [f"Class {n}: {p['collapse']}" for n, p in classes.items() if p["collapse"]]
    if len(collapses) > _TOLD_CLASSES:
        more = f"{len(collapses) - _TOLD_CLASSES} more classes have collapsed: see report.json."
        collapses = [*collapses[:_TOLD_CLASSES], more]
    sentences = [*collapses, *([ignored] if ignored else [])]
    report |= {
        "collapse": " ".join(sentences) or None,
        "label_effect": last["label_effect"],
        "class_share": last["class_share"],
        "classes": classes,
    }
    write_json(folder.path / "report.json", report)
    figures.plot_quality(
        records,
        folder.get_folder("figures") / "metric.png",
        title="Distance to the real images, mean over classes",
        report=report,
    )
    say(
        f"Images are drawn from the generator of epoch {selected_epoch}; the nearest to the real "
        f"images was that of epoch {report['best']['epoch']}."
    )
    for sentence in sentences:
        say(sentence)


def _summarise_class(
    records: Sequence[Mapping[str, Any]], run: ClassRun, selected_epoch: int
) -> dict[str, Any]:
    """Return one class's part of the report; it is written to the folder of the class as well."""
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
    write_json(run.folder.path / "report.json", report)
    return report
