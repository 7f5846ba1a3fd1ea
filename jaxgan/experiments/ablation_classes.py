"""An ablation of every class in turn, and what a classifier learns from the images of all classes.

Generated images of one class can be close to real ones and still not help to distinguish the
classes. GAN-train and GAN-test (`jaxgan/metrics/gan_train.py`) need all classes of one recipe.
"""

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json, write_text
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset
from jaxgan.evaluation.comparisons import measure_classes
from jaxgan.evaluation.encoder import VERSION
from jaxgan.experiments.ablation import AblationSettings, create_scoring, read_scores, run_ablation
from jaxgan.metrics.gan_train import Labelled, label_classes
from jaxgan.metrics.measure import summarise_seeds
from jaxgan.reports.tables import format_markdown
from jaxgan.training.jobs import Job, JobRunner, hash_pixels

_MEASURES = {"gan_train": "GAN-train", "gan_test": "GAN-test"}


def run_all_classes(
    settings: AblationSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    cache_dir: Path | None = None,
    num_devices: int = 0,
) -> dict[str, Any]:
    """Run the ablation of every class in `workdir`/CLASS; write `gan_train.json` and `.md`.

    Raises:
        UserError: the data set has one class.

    """
    names = dataset.class_names
    if len(names) < 2:
        raise UserError(
            f"--class=all needs two classes or more, {dataset.name} has only {names[0]}: "
            f"give --class={names[0]}."
        )
    found = {
        name: run_ablation(
            replace(settings, class_name=name),
            dataset=dataset,
            workdir=workdir / name,
            cache_dir=cache_dir,
            num_devices=num_devices,
        )
        for name in names
    }
    runs = [(variant, seed) for variant in settings.variants for seed in settings.seeds]
    complete = [run for run in runs if all(run in ablation.images for ablation in found.values())]
    runner = JobRunner(workdir / "jobs", {"gan_train": len(complete)})
    scores: dict[str, list[dict[str, Any]]] = {}
    missing = [f"{name}, seed {seed}" for name, seed in runs if (name, seed) not in complete]
    for variant, seed in complete:
        generated = label_classes([found[name].images[variant, seed] for name in names])
        name = f"{variant}, seed {seed}, learned from"
        done = runner.run(_create_job(dataset, generated, name=name, seed=seed))
        if done is None:
            missing.append(f"{variant}, seed {seed}")
        else:
            scores.setdefault(variant, []).append(read_scores(done))
    result = {
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "held_out": len(dataset.val),
        "num_epochs": settings.train.num_epochs,
        "rows": {variant: _summarise(rows) for variant, rows in scores.items()},
        "not_measured": missing,
        "failures": [
            *(failure for ablation in found.values() for failure in ablation.report["failures"]),
            *map(vars, runner.failures),
        ],
        "versions": get_versions(),
    }
    write_json(workdir / "gan_train.json", result)
    table = format_gan_train(result)
    write_text(workdir / "gan_train.md", table)
    say(table)
    say(f"Wrote gan_train.json and .md to {workdir}, and a table per class to the class's folder.")
    return result


def _create_job(dataset: Dataset, generated: Labelled, *, name: str, seed: int) -> Job:
    """Return the job that trains classifiers on both kinds; `seed` draws the first parameters."""
    record = {
        "data": dataset.fingerprint,
        "images": hash_pixels(generated[0]),
        "seed": seed,
        "encoder": VERSION,
    }
    train, held_out = ((s.images, s.labels) for s in (dataset.train, dataset.val))
    measure = functools.partial(measure_classes, (generated, train, held_out), seed=seed)
    return create_scoring("gan_train", name, record, measure)


def _summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and interval over the seeds; `real` is for the same number of real images."""
    values = {name: [float(row[name]["value"]) for row in rows] for name in _MEASURES}
    values["real"] = [float(row["gan_train"]["floor"]) for row in rows]
    values["gap"] = [r - g for r, g in zip(values["real"], values["gan_train"], strict=True)]
    return {name: summarise_seeds(found) for name, found in values.items()}


def format_gan_train(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    columns = {**_MEASURES, "real": "trained on real images", "gap": "real less GAN-train"}
    rows = [["variant", *columns.values()]]
    for variant, row in result["rows"].items():
        rows.append([variant, *(_format_cell(row[name]) for name in columns)])
    lines = [
        *format_markdown(rows),
        "",
        f"Balanced accuracy on {result['held_out']} held-out real images of "
        f"{result['data']['name']}, {result['num_epochs']} epochs. Mean over seeds of GANs and "
        "classifier together, and its 95 % interval.",
    ]
    lines += [f"\nNot measured: {name}." for name in result["not_measured"]]
    return "\n".join(lines) + "\n"


def _format_cell(measure: Mapping[str, Any]) -> str:
    if measure["interval"] is None:
        return f"{measure['value']:.3f}"
    low, high = measure["interval"]
    return f"{measure['value']:.3f} [{low:.3f}, {high:.3f}]"
