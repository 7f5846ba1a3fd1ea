"""Measure each ingredient of a recipe: variants x seeds with an equal number of images seen.

Every variant changes a few fields of a run's settings. All variants are scored in the same way:
against held-out real images of the class, in the features of one encoder, in a pixel pyramid, and
in the outside ruler (`jaxgan.evaluation.imagenet`) if its weights are installed. The encoder is
trained on the real training images of all classes. A variant's checkpoint is selected with training
images only. Colour is not measured: images are compared in gray, and a variant with three channels
learns from repeated gray images.
"""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json, write_text
from jaxgan.core.settings import check, read_settings, to_dict
from jaxgan.core.unused import prefix_unused
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.evaluation import encoder, imagenet
from jaxgan.evaluation.comparisons import measure_copies, measure_space
from jaxgan.evaluation.features import Features, create_encoder_features
from jaxgan.evaluation.imagenet import fit_imagenet_features, is_installed
from jaxgan.evaluation.pyramid import fit_pyramid_features
from jaxgan.evaluation.real_images import (
    RealImages,
    check_count,
    choose_real,
    take_unseen,
)
from jaxgan.experiments.train_gan import train_gan
from jaxgan.metrics.kernel_distance import METRIC
from jaxgan.metrics.measure import HIGHER_IS_BETTER, get_floor_n, summarise_seeds
from jaxgan.metrics.neighbours import NUM_NEIGHBOURS
from jaxgan.reports import drawing, study_figures
from jaxgan.reports.tables import format_markdown
from jaxgan.sampling.runs import create_sampler, restore_run
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.jobs import (
    Job,
    JobRunner,
    Result,
    describe_data,
    describe_family,
    hash_pixels,
)
from jaxgan.training.record import LATER_OF_SELECTION
from jaxgan.training.settings import CHECKPOINTS

OUTSIDE = "outside_kernel_distance"
COLUMNS = {
    "kernel_distance": "kernel distance",
    "pyramid_kernel_distance": "in the pyramid",
    OUTSIDE: "in the outside ruler",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "memorisation": "memorisation",
}
_SHOWN_IMAGES = 8  # of each variant, in the picture


@dataclass(frozen=True)
class AblationSettings:
    """`variants` maps a name to the fields of `train` that differ; every variant has all seeds.

    Fields of a group are nested: {"gan": {"ema_decay": 0.0}}.
    """

    train: TrainGanSettings
    variants: Mapping[str, Mapping[str, Any]]
    class_name: str
    num_seeds: int
    num_images: int

    def __post_init__(self) -> None:
        for name in ("num_seeds", "num_images"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        if not self.variants:
            raise UserError("config.variants is empty, expected one variant or more.")
        for name in self.variants:
            variant = self.create_variant(name, seed=self.seeds[0])
            self.create_variant(name, seed=self.seeds[-1])
            if variant.num_epochs != self.train.num_epochs:
                raise UserError(
                    f"config.variants[{name!r}] changes num_epochs: expected the same number of "
                    "images seen for all variants."
                )

    @property
    def seeds(self) -> range:
        """The seeds of each variant's trainings: consecutive, from the seed of `train`."""
        return range(self.train.seed, self.train.seed + self.num_seeds)

    def create_variant(self, name: str, *, seed: int) -> TrainGanSettings:
        """Return the settings of one training."""
        changed = {**_merge(to_dict(self.train), self.variants[name]), "seed": seed}
        try:
            return read_settings(TrainGanSettings, changed)
        except UserError as error:
            raise UserError(f"Variant {name!r}: {error}") from None


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with `changes` applied; a group of another family is replaced."""
    merged = dict(values)
    for name, new in changes.items():
        merged[name] = _merge(values[name], new) if _is_same_group(values.get(name), new) else new
    return merged


def _is_same_group(old: Any, new: Any) -> bool:
    """Whether both are groups of fields, of the same family if they have families."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    return bool(new.get("family", old.get("family")) == old.get("family"))


def find_unused_by_ablation(settings: AblationSettings) -> dict[str, str]:
    """Return the fields of an ablation's config without effect: its GANs keep and show nothing.

    A field of a recipe (`FamilySettings.find_unused`) is listed if it has no effect in any variant.
    """
    looks = "an ablation draws no images during a training"
    variants = [settings.create_variant(name, seed=0) for name in settings.variants]
    by_variant = [prefix_unused("config.train.gan", v.gan.find_unused()) for v in variants]
    everywhere = set.intersection(*map(set, by_variant))
    return {
        "config.train.selection": "an ablation scores every image and keeps none",
        "config.train.look_every_epochs": looks,
        "config.train.sample_every_epochs": looks,
        **{name: by_variant[0][name] for name in sorted(everywhere)},
    }


@dataclass(frozen=True)
class Ablation:
    """The content of `ablation.json`; scored images uint8 [n, h, w, 1] by variant and seed."""

    report: dict[str, Any]
    images: Mapping[tuple[str, int], np.ndarray]


def run_ablation(
    settings: AblationSettings,
    *,
    dataset: Dataset,
    workdir: Path,
    cache_dir: Path | None = None,
    num_devices: int = 0,
) -> Ablation:
    """Do the jobs left in `workdir`/jobs; write `ablation.json`, `.md` and `.png` to `workdir`.

    `dataset` is gray and has the size of the training images. A training that fails is named and
    left out. A training that was killed continues from its checkpoint.
    """
    evaluator = create_evaluator(dataset, settings.class_name, cache_dir)
    # First, because it may fail: then no hours of training are lost.
    references = evaluator.measure_references(dataset, settings.class_name)
    runs = [(name, seed) for seed in settings.seeds for name in settings.variants]
    runner = JobRunner(workdir / "jobs", {"training": len(runs), "scores": len(runs)})
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in settings.variants}
    drawn: dict[tuple[str, int], np.ndarray] = {}
    for name, seed in runs:
        variant = settings.create_variant(name, seed=seed)
        made = runner.run(
            _create_training(settings, variant, dataset, f"{name}, seed {seed}", num_devices)
        )
        if made is None:
            runner.skip("scores", f"{name}, seed {seed}", "its training failed")
            continue
        images = as_gray(made[f"images_{variant.select_checkpoint}"])
        drawn[name, seed] = images
        record = {"judge": evaluator.record, "images": hash_pixels(images)}
        scoring = functools.partial(evaluator.measure, images)
        scored = runner.run(
            create_scoring("scores", f"{name}, seed {seed}, scored", record, scoring)
        )
        if scored is not None:
            collapsed = bool(made["collapsed"])
            epoch = int(made[f"epoch_{variant.select_checkpoint}"])
            noted = {"seed": seed, "collapsed": collapsed, "epoch": epoch}
            scores[name].append(read_scores(scored) | noted)
    result = {
        "class": settings.class_name,
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "images_seen": settings.train.num_epochs * len(evaluator.real.train),
        "num_epochs": settings.train.num_epochs,
        "features": evaluator.encoder.name,
        "rows": {name: _summarise(found) for name, found in scores.items() if found},
        "references": references,
        "failures": [dataclasses.asdict(failure) for failure in runner.failures],
        "settings": to_dict(settings),
        "versions": get_versions(),
    }
    _write(result, drawn, workdir)
    return Ablation(result, drawn)


# Jobs -------------------------------------------------------------------------------------------


def _create_training(
    settings: AblationSettings,
    variant: TrainGanSettings,
    dataset: Dataset,
    name: str,
    num_devices: int,
) -> Job:
    """Return the job that trains a variant and draws from its best and its newest state.

    The choice between the two is not part of the job: variants that differ only in it share it.
    """
    selection = replace(
        variant.selection, rule="none", num_accept=1, per_epoch=0, targets={}, truncation=1.0
    )  # an ablation does not use the images that a run keeps
    variant = replace(
        variant,
        selection=selection,
        select_checkpoint="newest",
        look_every_epochs=0,
        sample_every_epochs=0,
    )
    repeated = repeat_channels(dataset, variant.gan.channels)
    record = {
        "settings": _describe_training(variant),
        "data": dataset.fingerprint,
        "class": settings.class_name,
        "num_images": settings.num_images,
        **variant.gan.describe_job(),
    }
    run = functools.partial(
        _train,
        variant=variant,
        dataset=repeated,
        class_name=settings.class_name,
        num_images=settings.num_images,
        num_devices=num_devices,
    )
    return Job("training", name, record, run)


def _describe_training(variant: TrainGanSettings) -> dict[str, Any]:
    """Return the settings as a job's record has them: one level, as in earlier jobs."""
    record = to_dict(variant)
    # It draws without truncation, which earlier jobs did not have.
    selection = {n: v for n, v in record["selection"].items() if n not in LATER_OF_SELECTION}
    return {
        **{name: value for name, value in record.items() if name != "gan"},
        "selection": selection,
        **describe_family(variant.gan, "dcgan"),
        "data": describe_data(variant.data),
    }


def _train(
    partial: Path,
    *,
    variant: TrainGanSettings,
    dataset: Dataset,
    class_name: str,
    num_images: int,
    num_devices: int,
) -> Result:
    """Train in the folder `partial`, where a killed training continues, and remove it."""
    trained = train_gan(
        variant, dataset=dataset, class_name=class_name, workdir=partial, num_devices=num_devices
    )
    sampler = create_sampler(variant, variant.create_gan())
    result: dict[str, np.ndarray] = {}
    measured = [line for line in trained.metrics if METRIC in line]
    for checkpoint in CHECKPOINTS:
        networks = restore_run(trained.folder, checkpoint).networks
        result[f"images_{checkpoint}"] = sampler.draw(networks, 0, num_images)
        result[f"epoch_{checkpoint}"] = np.array(variant.num_epochs)
    report = trained.report
    if report is not None:
        result["epoch_best"] = np.array(report["best"]["epoch"])
    result["collapsed"] = np.array(report is not None and report["collapse"] is not None)
    result["epochs"] = np.array([line["epoch"] for line in measured])
    result["distances"] = np.array([line[METRIC] for line in measured])
    shutil.rmtree(partial)
    return result


def create_scoring(
    kind: str, name: str, record: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]
) -> Job:
    """Return the job that saves the result of `measure`, for `read_scores`."""
    return Job(kind, name, record, lambda _: {"scores": np.array(json.dumps(measure()))})


def read_scores(done: Result) -> dict[str, Any]:
    """Return the measurements of a job from `create_scoring`."""
    return dict(json.loads(str(done["scores"])))


# Scoring ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluator:
    """Scores gray images uint8 [n, h, w, 1] against real ones, in two or three feature spaces.

    `record` describes it in a job's record. `outside` is None where its weights are absent.
    """

    real: RealImages
    encoder: Features
    pyramid: Features
    record: Mapping[str, Any]
    outside: Features | None = None

    def measure(self, images: np.ndarray) -> dict[str, Any]:
        """Return every measure of `COLUMNS` (`OUTSIDE` if there is that ruler), ready for JSON."""
        return {
            **self._measure_distances(images),
            "memorisation": measure_copies(images, self.real),
        }

    def _measure_distances(self, images: np.ndarray) -> dict[str, Any]:
        sides = self.real.sides
        scores = measure_space(self.encoder, images, sides)
        pyramid = measure_space(self.pyramid, images, sides)
        scores["pyramid_kernel_distance"] = pyramid["kernel_distance"]
        if self.outside is not None:
            scores[OUTSIDE] = measure_space(self.outside, images, sides)["kernel_distance"]
        return {name: scores[name] for name in COLUMNS if name in scores}

    def measure_references(self, dataset: Dataset, class_name: str) -> dict[str, dict[str, Any]]:
        """Return the scores of real images that the encoder has not seen, per class.

        The class itself uses only unseen training images; every other class also its held-out ones.
        Classes with too few images for neighbours in each half are left out.
        """
        unseen, found = take_unseen(dataset), {}
        for label, name in enumerate(dataset.class_names):
            images = unseen.of_class(label).images
            if name != class_name:
                images = np.concatenate([images, dataset.val.of_class(label).images])
            kind = "the same class" if name == class_name else "another class"
            if len(images) >= 2 * (NUM_NEIGHBOURS + 1):
                found[f"real {name} ({kind})"] = self._measure_distances(images)
        return found


def create_evaluator(dataset: Dataset, class_name: str, cache_dir: Path | None) -> Evaluator:
    """Return what scores images of a class against its held-out real images."""
    real = choose_real(dataset, class_name)
    check_count(f"the held-out images of {class_name}", len(real.held_out))
    has_outside = is_installed()
    return Evaluator(
        real,
        encoder=create_encoder_features(*real.encoder_set, cache_dir=cache_dir),
        pyramid=fit_pyramid_features(real.train.images),
        record={
            "data": dataset.fingerprint,
            "class": class_name,
            "version": 3,
            "encoder": encoder.VERSION,  # scores are valid only for the encoder that made them
            **({"outside": imagenet.VERSION} if has_outside else {}),
        },
        outside=fit_imagenet_features(real.encoder_set[0]) if has_outside else None,
    )


def as_gray(images: np.ndarray) -> np.ndarray:
    """Return the mean of the channels of uint8 images [n, h, w, c], as uint8 [n, h, w, 1]."""
    return images.mean(axis=-1, keepdims=True).round().astype(np.uint8)


def repeat_channels(dataset: Dataset, channels: int) -> Dataset:
    """Return the data set with its gray images repeated over `channels` channels."""

    def repeat(images: ImageSet) -> ImageSet:
        return replace(images, images=np.repeat(images.images, channels, axis=-1))

    if channels == 1:
        return dataset
    return replace(dataset, splits={name: repeat(s) for name, s in dataset.splits.items()})


# What is written --------------------------------------------------------------------------------


def _summarise(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean and the interval over the seeds for every measure."""
    row: dict[str, Any] = {
        name: {
            **summarise_seeds([float(scores[name]["value"]) for scores in found]),
            "floor": float(np.mean([scores[name]["floor"] for scores in found])),
            "n": found[0][name]["n"],
            "floor_n": get_floor_n(found[0][name]),
        }
        for name in COLUMNS
        if name in found[0]
    }
    row["memorisation"]["num_flagged"] = sum(scores["memorisation"]["flag"] for scores in found)
    row["num_collapsed"] = sum(scores["collapsed"] for scores in found)
    row["epochs"] = [scores["epoch"] for scores in found]
    return row | {"seeds": [scores["seed"] for scores in found]}


def _write(
    result: Mapping[str, Any], drawn: Mapping[tuple[str, int], np.ndarray], workdir: Path
) -> None:
    write_json(workdir / "ablation.json", result)
    table = format_ablation(result)
    write_text(workdir / "ablation.md", table)
    if result["rows"]:
        study_figures.plot_ablation(
            result["rows"],
            workdir / "ablation.png",
            title=f"Class {result['class']}: each variant against held-out real images",
        )
        first = [drawn[name, row["seeds"][0]] for name, row in result["rows"].items()]
        sheet = np.concatenate([images[:_SHOWN_IMAGES] for images in first])
        columns = len(sheet) // len(first)
        drawing.write_grid(sheet, workdir / "ablation_images.png", columns=columns)
    say(table)
    say(f"Wrote ablation.json, ablation.md and pictures to {workdir}.")


def format_ablation(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    first = next(iter(result["rows"].values()), None)
    columns = [name for name in COLUMNS if name != OUTSIDE or (first and OUTSIDE in first)]
    head = ["variant", *(COLUMNS[name] for name in columns), "collapsed", "epoch"]
    lines = format_markdown([head, *_list_rows(result, columns)])
    if first is not None:
        floors = ", ".join(f"{COLUMNS[name]} {first[name]['floor']:.3g}" for name in columns)
        lines += [
            "",
            f"Real against real, 19 of 20 divisions at the same n ({first['recall']['n']}; "
            f"memorisation: {first['memorisation']['floor_n']}): {floors}.",
        ]
    better = ", ".join(label for name, label in COLUMNS.items() if name in HIGHER_IS_BETTER)
    lines += [
        "",
        f"Class {result['class']} of {result['data']['name']}; every training saw "
        f"{result['images_seen']} images ({result['num_epochs']} epochs). Mean over seeds and its "
        f"95 % interval; higher is better for {better}. Features: {result['features']}.",
    ]
    for failure in result["failures"]:
        lines += ["", f"Failed: {failure['name']}: {failure['reason']}"]
    return "\n".join(lines) + "\n"


def _list_rows(result: Mapping[str, Any], columns: Sequence[str]) -> Iterator[list[str]]:
    for name, row in result["rows"].items():
        cells = [_format_cell(row[column]) for column in columns]
        collapsed = f"{row['num_collapsed']} of {len(row['seeds'])}"
        epochs = ", ".join(map(str, row["epochs"]))
        yield [name, *cells, collapsed, epochs]
    for name, row in result["references"].items():
        cells = [f"{row[column]['value']:.3g}" if column in row else "" for column in columns]
        yield [f"*{name}*", *cells, "", ""]


def _format_cell(measure: Mapping[str, Any]) -> str:
    flags = measure.get("num_flagged", 0)
    flagged = f" ({flags} flagged)" if flags else ""
    if measure["interval"] is None:
        return f"{measure['value']:.3g}{flagged}"
    low, high = measure["interval"]
    return f"{measure['value']:.3g} [{low:.3g}, {high:.3g}]{flagged}"
