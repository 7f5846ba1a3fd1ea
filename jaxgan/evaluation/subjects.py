"""Load the images to compare: those of two or three folders, or of a run and its data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.untrusted import printable
from jaxgan.data import guard
from jaxgan.data.copies import (
    find_copies_among,
    find_copies_between,
    join_groups,
)
from jaxgan.data.images import decode_many
from jaxgan.data.loose import LooseImages, read_folders
from jaxgan.data.sets import Dataset
from jaxgan.data.values import AS_STORED, View
from jaxgan.evaluation.features import choose_remaining, hold_out_for_floor
from jaxgan.evaluation.real_images import NamedImages, RealImages, check_count, choose_real
from jaxgan.metrics.gan_train import Labelled, label_classes
from jaxgan.sampling.runs import draw_from_run, has_checkpoints
from jaxgan.training.run_folder import read_data

MIN_SIDE = 16  # pixels: fewer show too little of a film; a window of MS-SSIM needs 11

_LISTED = 3
_OTHER_SIDES = ("--against", "--held_out")
_NO_CLASSES = (
    "GAN-train and GAN-test: not measured. They need generated, real and held-out images of two or "
    "more classes: train a run for each class, or give folders with the same subfolders."
)


@dataclass(frozen=True)
class EvaluationSets:
    """The generated and the real images of one comparison.

    `classes` are labelled generated, training and held-out images of all classes, if there are
    several; otherwise `no_classes` says why not. `comparison` distinguishes this comparison from
    others. `notices` are sentences that come before its numbers.
    """

    generated: NamedImages
    real: RealImages
    classes: tuple[Labelled, Labelled, Labelled] | None = None
    no_classes: str = _NO_CLASSES
    comparison: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def check_subjects(
    class_name: str | None,
    generated: str | None,
    against: str | None,
    held_out: str | None,
    *,
    has_several_runs: bool,
) -> None:
    """Raise unless exactly one run or two folders are given."""
    if has_several_runs:
        raise UserError(
            "Found several --workdir without --selection, expected one: give one, or --selection."
        )
    folders = (generated, against)
    is_either = bool(class_name) != any(folders) and any(folders) == all(folders)
    if not is_either or (class_name and held_out):
        raise UserError(
            "Expected either --class=NAME (of --workdir), or --generated=DIR and --against=DIR "
            "(and --held_out=DIR if there is one): give one of these."
        )


# Folders ----------------------------------------------------------------------------------------


def load_folders(
    generated: Path,
    against: Path,
    held_out: Path | None,
    *,
    image_size: int = 0,
    fit: str = "crop",
    view: View = AS_STORED,
) -> EvaluationSets:
    """Return the images of two or three folders, all with the same size (see `read_folders`).

    Notices name a folder or images that are on both sides. Raises `UserError` if there are too few
    images, if they are too small, or if held-out images are copies of images in `against`. The
    patients are unknown.
    """
    roots = [generated, against, *([held_out] if held_out else [])]
    if 0 < image_size < MIN_SIDE:
        raise UserError(f"--image_size is {image_size}, expected at least {MIN_SIDE}, or 0.")
    sets = read_folders(roots, image_size=image_size, fit=fit, view=view)
    for root, images in zip(roots, sets, strict=True):
        check_count(str(root), len(images))
    if sets[0].images.shape[1] < MIN_SIDE:
        _raise_too_small(roots, sets)
    for root, images in zip(roots[1:], sets[1:], strict=True):
        guard.check_none_generated(root, images.files)
    if held_out:
        _check_held_out(against, sets[1], held_out, sets[2])
    names = sorted(set(sets[1].folders))
    several = len(names) > 1
    labels = _label(sets[1], names) if several else np.zeros(len(sets[1]), np.int32)
    for sentence in _describe_real(against, sets[1], labels, names):
        say(sentence)
    named = [NamedImages(str(root), s.images) for root, s in zip(roots, sets, strict=True)]
    return EvaluationSets(
        generated=named[0],
        real=_choose_real_of_folder(sets[1], labels, named[1], named[2] if held_out else None),
        classes=_pair_classes(sets, names) if several and held_out else None,
        comparison={
            "folders": [str(root.resolve()) for root in roots],
            "image_size": image_size,
            "look": {"fit": fit, "range": list(view.asked or ())},
        },
        notices=(*_describe_same(roots, sets), *(n for images in sets for n in images.notices)),
    )


def _choose_real_of_folder(
    train: LooseImages, labels: np.ndarray, named: NamedImages, held_out: NamedImages | None
) -> RealImages:
    """Return the training images of a folder, and the held-out images if there are any."""
    counts = np.bincount(labels)
    num = len(held_out) if held_out else 0
    num_held_out = [int(n) for n in np.ceil(num * counts / counts.sum())]  # in proportion
    unseen = hold_out_for_floor(labels, train.files, num_held_out)
    remaining = train.images[choose_remaining(unseen, sum(num_held_out))]
    return RealImages(
        train=named,
        held_out=held_out or NamedImages("held-out images", train.images[:0]),
        remaining=NamedImages(named.name, remaining),
        encoder_set=(train.images[~unseen], labels[~unseen]),
    )


def _describe_same(roots: Sequence[Path], sets: Sequence[LooseImages]) -> Iterator[str]:
    """Give a sentence for each folder or image that is on the generated and another side."""
    # Reversed: of equal images the first stays.
    both = zip(sets[0].images[::-1], sets[0].files[::-1], strict=True)
    mine = {image.tobytes(): file for image, file in both}
    if len(mine) < len(sets[0]):
        yield (
            f"--generated ({roots[0]}) has {len(sets[0])} images, but only {len(mine)} different "
            "ones: the others repeat these, pixel by pixel."
        )
    for flag, root, images in zip(_OTHER_SIDES, roots[1:], sets[1:], strict=False):
        if root.resolve() == roots[0].resolve():
            yield f"--generated and {flag} are the same folder: {root}."
        theirs = {i.tobytes(): file for i, file in zip(images.images, images.files, strict=True)}
        same = [f"{mine[pixels]} is {theirs[pixels]}" for pixels in mine if pixels in theirs]
        if same:
            num = sum(image.tobytes() in theirs for image in sets[0].images)
            more = ", ..." if len(same) > _LISTED else ""
            yield (
                f"{num} of the {len(sets[0])} images of --generated are copies, pixel by pixel, of "
                f"images of {flag} ({printable(', '.join(same[:_LISTED]))}{more}). Every number "
                "below includes these copies."
            )


def _raise_too_small(roots: Sequence[Path], sets: Sequence[LooseImages]) -> NoReturn:
    """Name the smallest image: the others have been scaled to its size."""
    paths = [root / file for root, images in zip(roots, sets, strict=True) for file in images.files]
    sizes = decode_many(paths, channels=1, use=lambda image: image.size)
    (width, height), path = min(zip(sizes, paths, strict=True), key=lambda pair: min(pair[0]))
    raise UserError(
        f"{path} is {width}x{height} pixels, and all images are scaled to the smallest: expected "
        f"at least {MIN_SIDE} per side. Remove it, or give --image_size={MIN_SIDE} or more."
    )


def _check_held_out(
    against: Path, train: LooseImages, held_out: Path, control: LooseImages
) -> None:
    """Raise if held-out images are copies of training images: they would hide memorisation."""
    pairs = find_copies_between(control.images, train.images).pairs
    if len(pairs):
        named = [f"{held_out / control.files[i]} of {against / train.files[j]}" for i, j in pairs]
        raise UserError(
            f"{len(set(pairs[:, 0]))} of the {len(control)} images of --held_out are copies of "
            f"those of --against (such as {', '.join(named[:_LISTED])}), expected none: "
            "with copies, memorisation can not be found. Remove them, or give images of other "
            "patients."
        )


def _describe_real(
    root: Path, images: LooseImages, labels: np.ndarray, names: Sequence[str]
) -> list[str]:
    """Return sentences about training images of a folder that show the same film."""
    copies = find_copies_among(images.images)
    numbers = join_groups(np.arange(len(images)), copies.pairs)
    films = guard.Films(numbers, images.files, labels, [str(root)] * len(images))
    unsearched = copies.describe_search()
    said = guard.describe(films, names, is_split_here=False)
    return [*said, *([unsearched] if unsearched else [])]


def _pair_classes(
    sets: Sequence[LooseImages], names: Sequence[str]
) -> tuple[Labelled, Labelled, Labelled] | None:
    """Return the sets with labels; None if they do not have the same classes."""
    if any(sorted(set(images.folders)) != list(names) for images in sets):
        return None
    one, two, three = ((images.images, _label(images, names)) for images in sets)
    return one, two, three


def _label(images: LooseImages, names: Sequence[str]) -> np.ndarray:
    return np.array([names.index(folder) for folder in images.folders], np.int32)


# Runs -------------------------------------------------------------------------------------------


def load_run(
    workdir: Path,
    class_name: str,
    dataset: Dataset,
    *,
    num: int = 0,
    checkpoint: str | None = None,
    seed: int = 0,
) -> EvaluationSets:
    """Draw from the generator of a class, and return the images with the class's real ones.

    `num` 0 draws as many as there are training images. GAN-train and GAN-test need a usable run of
    every class in `workdir`. If there is one, all are drawn from; otherwise the report says why
    not. Raises `UserError` if the run does not fit `dataset`, or if there are too few images.
    """
    real = choose_real(dataset, class_name)

    def draw(name: str, num: int) -> np.ndarray:
        check_same_data(workdir / name, dataset)
        return draw_from_run(workdir / name, num=num, checkpoint=checkpoint, seed=seed)

    num = num or len(real.train)
    check_count("--num: the generated images", num)
    drawn = {class_name: draw(class_name, num)}
    try:
        drawn |= _draw_others(workdir, class_name, dataset, draw)
        no_classes = _NO_CLASSES
    except UserError as error:
        no_classes = f"{_NO_CLASSES} Reason: {error}"
    return EvaluationSets(
        generated=NamedImages(str(workdir / class_name), drawn[class_name]),
        real=real,
        classes=_join_classes(drawn, dataset) if len(drawn) == len(dataset.class_names) else None,
        no_classes=no_classes,
        comparison={
            "run": str((workdir / class_name).resolve()),
            "data": dataset.fingerprint,
            "num": num,
            "checkpoint": checkpoint,
            "seed": seed,
        },
    )


def _draw_others(
    workdir: Path,
    class_name: str,
    dataset: Dataset,
    draw: Callable[[str, int], np.ndarray],
) -> dict[str, np.ndarray]:
    """Return images of all other classes, as many as each has for training.

    Raises `UserError` if one class has no usable run. The caller then measures without them.
    """
    others = [name for name in dataset.class_names if name != class_name]
    absent = [name for name in others if not has_checkpoints(workdir / name)]
    if absent:
        raise UserError(f"{workdir} has no run of {list_some(absent)}: train it.")
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    drawn = {name: draw(name, int(counts[dataset.class_names.index(name)])) for name in others}
    shape = dataset.train.images.shape[1:]
    for name, images in drawn.items():
        if images.shape[1:] != shape:
            raise UserError(
                f"the run of {name} in {workdir} makes images of {list(images.shape[1:])}, and the "
                f"run of {class_name} makes images of {list(shape)}."
            )
    return drawn


def _join_classes(
    drawn: Mapping[str, np.ndarray], dataset: Dataset
) -> tuple[Labelled, Labelled, Labelled] | None:
    """Return the sets of all classes with labels; None if there is only one class."""
    names = dataset.class_names
    if len(names) < 2:
        return None
    train, val = dataset.train, dataset.val
    generated = label_classes([drawn[name] for name in names])
    return generated, (train.images, train.labels), (val.images, val.labels)


def check_same_data(run: Path, dataset: Dataset) -> None:
    """Raise if the run in folder `run` was trained on data other than these."""
    trained_on = read_data(run)
    if trained_on["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"{run} was trained on other data or another split ({trained_on['name']}) than the "
            f"data given ({dataset.name}): give the --data_dir or --dataset of its training."
        )
