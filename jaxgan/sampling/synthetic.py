"""Load the images that GANs have kept, to train a classifier on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxgan.core.commands import name_command
from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.data.images import as_pixels, decode_many, resize_square
from jaxgan.data.sets import Dataset, ImageSet, create_generated_set
from jaxgan.sampling import kept
from jaxgan.sampling.runs import find_model, read_run_settings
from jaxgan.training.run_folder import read_data


def load_synthetic(
    synthetic_dir: Path, dataset: Dataset, classes: Sequence[str] = ()
) -> dict[str, ImageSet]:
    """Return the kept images of every class's GAN, in the size and the channels of `dataset`.

    If `classes` are given, only these have images; the others have none, on purpose. Raises
    `UserError` if a class has no run or no kept image, or if a run was trained on other data or
    another split (its images could then contain information from validation images).
    """
    unknown = [name for name in classes if name not in dataset.class_names]
    if unknown:
        raise UserError(
            f"--augment_classes names {list_some(unknown)}: the classes of {dataset.name} are "
            f"{list_some(dataset.class_names)}."
        )
    wanted = [name for name in dataset.class_names if name in classes or not classes]
    needed = ("config.json", kept.TABLE)
    missing = [n for n in wanted if not all((synthetic_dir / n / file).exists() for file in needed)]
    if missing:
        raise UserError(
            f"There are no kept images of {list_some(missing)} in {synthetic_dir}. Make them "
            f"with: {name_command('train_dcgan')} --class=all --workdir={synthetic_dir} "
            "(and the --data_dir or --dataset of this command)."
        )
    sets = {
        name: _load_kept(synthetic_dir / name, label, dataset)
        if name in wanted
        else _create_empty(dataset)
        for label, name in enumerate(dataset.class_names)
    }
    _check_kept(synthetic_dir, {name: len(sets[name]) for name in wanted})
    return sets


def _check_kept(synthetic_dir: Path, counts: Mapping[str, int]) -> None:
    """Refuse classes without a generated image; say which have only those of a stopped run."""
    empty = [name for name, num in counts.items() if not num]
    stopped = [name for name in counts if _was_stopped(synthetic_dir / name)]
    drawable = [name for name in stopped if _can_draw(synthetic_dir / name)]
    keep = (
        f"{name_command('sample')} --class=CLASS --keep --workdir={synthetic_dir} (and the "
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
            f"with {name_command('train_dcgan')} --class=all --accept=none "
            f"--workdir=ANOTHER_FOLDER (and name it here as --synthetic_dir)."
        )
    if empty:
        raise UserError(
            f"The runs of {list_some(empty)} in {synthetic_dir} have kept no image, but those of "
            f"{list_some([name for name in counts if name not in empty])} have: make some with "
            f"{name_command('train_dcgan')} --class=CLASS --accept=none "
            "--workdir=ANOTHER_FOLDER, or give --augment_classes=CLASS,... to add images to some "
            "classes only, on purpose."
        )
    for name in stopped:
        remedy = f"draw them with: {keep}" if name in drawable else "let it go on."
        say(
            f"The run of class {name} in {synthetic_dir} was stopped before its end: the "
            f"{counts[name]} images that it had kept are added. For more, {remedy}"
        )


def _was_stopped(run: Path) -> bool:
    """Whether a run did not reach its end, and `experiments.keep` has not drawn its images."""
    drawn = any(row.is_final for row in kept.read_table(run))
    return not drawn and not (find_model(run) / "finished.json").exists()


def _can_draw(run: Path) -> bool:
    """Whether `jaxgan.experiments.keep` can draw the images that a stopped run has not kept."""
    return not read_run_settings(run).selection.how.keeps_batches


def _load_kept(path: Path, label: int, dataset: Dataset) -> ImageSet:
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
            f"({list_some(lost)}): restore them, remove their lines from the table, or start the "
            "training's own command again, which draws others in their place (with rule "
            f"{kept.ONLY_WHILE_TRAINING} it only removes their lines)."
        )
    size, _, channels = dataset.train.images.shape[1:]
    images = decode_many(
        [path / kept.FOLDER / row.file for row in rows],
        channels=channels,
        use=lambda image: as_pixels(resize_square(image, size)),
    )
    files = tuple(row.file for row in rows)
    pixels = np.stack(images) if images else _create_empty(dataset).images
    return create_generated_set(pixels, label, files)


def _create_empty(dataset: Dataset) -> ImageSet:
    shape = (0, *dataset.train.images.shape[1:])
    return ImageSet(np.zeros(shape, np.uint8), np.zeros(0, np.int32), (), ())
