"""How near do generated images come to real ones, and in how much processor time?

Example, for the phantom and for a folder of your own:

    python docs/compare_trainings.py --training="dcgan:quick num_epochs=600" --out=runs/trainings
    python docs/compare_trainings.py --data_dir=DIR --class_name=CLASS --training=dcgan:recommended

Every --training is a config of a GAN and changes of its fields. Each is trained with every seed of
--seeds, and measured --looks times on the way. A line of OUT/NAME-SEED.jsonl is one look: the
epoch, the images seen, the processor seconds of the training alone (from the end of its first
epoch, so without compiling), and the distances. A training that has its file is not repeated.

`pyramid` is what `select_checkpoint="best"` compares: 256 images and the training images, in the
pixel pyramid; `pyramid_1024` is the same with 1024 images. `outside_train` is the kernel distance
to the training images in the outside ruler, with 512 images. `outside`, `outside_again` (with other
latents) and `recall` are of held-out images (validation). Those report, and must choose nothing.
"""

import argparse
import ast
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.api.settings import load_gan_settings
from jaxgan.core.errors import UserError
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import Dataset, find_label
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.imagenet import fit_imagenet_features, load_activations
from jaxgan.evaluation.quality import FIRST_SEED, NUM_IMAGES, QualityMeter
from jaxgan.evaluation.real_images import check_count
from jaxgan.experiments.train_gan import check_class, create_stages
from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison
from jaxgan.metrics.neighbours import create_neighbour_comparison
from jaxgan.sampling.runs import create_sampler, open_checkpoints
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Hook, Loop, StepInfo, run_loop
from jaxgan.training.progress import Progress
from jaxgan.training.run_folder import open_run_folder

CACHE = Path.home() / ".cache" / "jaxgan"
NUM_DRAWN = 1024
NUM_OUTSIDE = 512

Measure = Callable[[np.ndarray], Mapping[str, float]]


def main() -> None:
    """Train what has no file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--class_name", default="pneumonia")
    parser.add_argument("--training", action="append", required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/trainings"))
    options = parser.parse_args()
    print(get_versions())
    load_activations()  # where the outside ruler is not installed, this says so at once
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        for training in options.training:
            name = training.replace(":", "-").replace(" ", "_").replace("/", "-")
            file = options.out / f"{options.class_name}_{name}-{seed}.jsonl"
            if file.exists():
                continue
            settings = read_training(training, seed)
            lines = train(settings, load(settings, options.data_dir), options)
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
            print(file.name, json.dumps(lines[-1]), flush=True)


def read_training(text: str, seed: int) -> TrainGanSettings:
    """Return the settings that `text` describes: a config, then FIELD=VALUE for each change."""
    config, *changes = text.split()
    values: dict[str, Any] = {"seed": seed}
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--training has {change!r}, expected FIELD=VALUE after the config.")
        try:
            values[field] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            values[field] = value
    return load_gan_settings(config, values)


def load(settings: TrainGanSettings, data_dir: Path | None) -> Dataset:
    """Return the images at the size of a GAN."""
    size, channels = settings.gan.image_size, settings.gan.channels
    spec = DataSpec(data_dir=data_dir)
    return load_dataset(spec, image_size=size, channels=channels, cache_dir=CACHE)


def train(
    settings: TrainGanSettings, dataset: Dataset, options: argparse.Namespace
) -> list[dict[str, float]]:
    """Train one GAN and return its looks."""
    images = check_class(dataset, options.class_name)
    measure = create_measure(dataset, options.class_name)
    gan = settings.create_gan()
    plan = settings.create_plan(len(images), gan.borders)
    sampler, key = create_sampler(settings, gan), create_keys(settings.seed).init
    every = max(settings.num_epochs // options.looks, 1)
    lines: list[dict[str, float]] = []
    began = away = 0.0

    def look(info: StepInfo) -> Mapping[str, float]:
        nonlocal began, away
        paused = time.process_time()
        began = began or paused  # what came before is compiling, and the first epoch
        if info.epoch % every:
            return {}
        drawn = sampler.draw(gan.get_networks(info.state), FIRST_SEED, NUM_DRAWN)
        line = {"epoch": info.epoch, "images": info.step * settings.batch_size}
        lines.append(line | {"seconds": paused - began - away, **measure(drawn)})
        away += time.process_time() - paused
        return {}

    with tempfile.TemporaryDirectory() as scratch, Progress(options.class_name, plan) as progress:
        path = Path(scratch) / "run"
        record = {"kind": "gan"}
        with open_run_folder(path, record, None) as folder, open_checkpoints(path, record) as saved:
            stages = list(create_stages(settings, gan, plan, images, jax.devices()[:1]))
            progress.start(0)
            never = settings.num_epochs + 1
            loop = Loop(plan, [Hook(1, look)], folder, saved, never, 0.0, progress)
            run_loop(loop, stages, gan.create_state(key), start_step=0)
    return lines


def create_measure(dataset: Dataset, class_name: str) -> Measure:
    """Return the function that measures `NUM_DRAWN` generated images."""
    label = find_label(dataset, class_name)
    real, held_out = dataset.train.of_class(label).images, dataset.val.of_class(label).images
    check_count(f"the held-out images of class {class_name}", len(held_out))
    meter, space = QualityMeter(real), fit_imagenet_features(dataset.train.images)
    known = np.concatenate([space(real), space(held_out)])

    def measure(drawn: np.ndarray) -> dict[str, float]:
        pool = np.concatenate([space(drawn), known])
        of_drawn, of_real, of_held_out = np.split(
            np.arange(len(pool)), [len(drawn), len(drawn) + len(real)]
        )
        compare, halves = create_kernel_comparison(pool), np.split(of_drawn, [NUM_OUTSIDE])
        neighbours = create_neighbour_comparison(pool)(halves[0], of_held_out)
        return {
            "pyramid": meter.measure(drawn[:NUM_IMAGES])[METRIC],
            "pyramid_1024": meter.measure(drawn)[METRIC],
            "outside_train": compare(halves[0], of_real)[METRIC],
            "outside": compare(halves[0], of_held_out)[METRIC],
            "outside_again": compare(halves[1], of_held_out)[METRIC],
            "recall": neighbours["recall"],
        }

    return measure


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
