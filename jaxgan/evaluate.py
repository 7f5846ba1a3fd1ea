"""How good, how diverse and how new generated images are: every metric, in one report."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import figures
from jaxgan.console import say
from jaxgan.data.loose import LooseImages, read_folders
from jaxgan.data.sets import Dataset
from jaxgan.encoder import SIDE, train_classifier
from jaxgan.errors import UserError
from jaxgan.features import (
    MEMORISATION_SIDE,
    ExportedFeatures,
    Features,
    PixelFeatures,
    choose_spare,
    create_encoder_features,
    set_aside,
    shrink,
)
from jaxgan.files import write_json
from jaxgan.metrics.diversity import MAX_IMAGES, create_diversity_comparison
from jaxgan.metrics.frechet_distance import create_frechet_comparison
from jaxgan.metrics.gan_train import Labelled, measure_gan_train_test
from jaxgan.metrics.kernel_distance import create_kernel_comparison
from jaxgan.metrics.measure import LEVEL, MIN_IMAGES, Compare, Measure, measure
from jaxgan.metrics.memorisation import find_nearest, measure_memorisation
from jaxgan.metrics.neighbours import create_neighbour_comparison
from jaxgan.metrics.sliced_wasserstein import create_sliced_wasserstein_comparison, describe_levels
from jaxgan.report import format_evaluation
from jaxgan.run_folder import read_record
from jaxgan.sampling import draw_from_run, has_checkpoints

MAX_COMPARED = 1000  # images of a kind: the tables of distances grow with the square
MAX_SEARCHED = 5000  # training images searched for copies
SHOWN_PAIRS = 8

_NO_HELD_OUT = (
    "Memorisation: not measured. Training images can not be their own control, and there are no "
    f"held-out real images, or fewer than {MIN_IMAGES}: give them as --held_out=DIR."
)
_NO_CLASSES = (
    "GAN-train and GAN-test: not measured. They need generated, real and held-out images of two or "
    "more classes: runs of all classes, or folders with the same subfolders."
)
_READING = (
    "Compared with held-out real images where there are any: the encoder has been trained on the "
    "training images, and whatever it has not seen, new real images too, lies further out.",
    "Floor: what 19 of 20 divisions of the real images stay within, at the same n. A value beyond "
    "it differs from real images by more than chance.",
    "Interval: other images from the same sources would give this at this n, in 19 of 20 cases; it "
    "says nothing of another training.",
)


@dataclass(frozen=True)
class Named:
    """Images uint8 [num, h, w, c] and what they are called in the report."""

    name: str
    images: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Return what the report says of them."""
        return {"name": self.name, "num_images": len(self.images)}


@dataclass(frozen=True)
class Subjects:
    """What is compared with what.

    `encoder_set` is what the own encoder is trained on, images and labels; `spare` are the training
    images that it has not seen, for the floor (of no use where nothing is held out); `classes` are
    labelled generated, training and held-out images of all classes, where there are several.
    """

    generated: Named
    real: Named
    held_out: Named | None
    encoder_set: Labelled
    spare: np.ndarray
    classes: tuple[Labelled, Labelled, Labelled] | None = None


# What is compared -------------------------------------------------------------------------------


def check_subjects(
    class_name: str | None,
    generated: str | None,
    against: str | None,
    held_out: str | None,
    *,
    has_several_runs: bool,
) -> None:
    """Raise where neither a run nor two folders are named, or both are, or several runs."""
    if has_several_runs:
        raise UserError("Several --workdir are compared with --selection only: give one of them.")
    folders = (generated, against)
    is_either = bool(class_name) != any(folders) and any(folders) == all(folders)
    if not is_either or (class_name and held_out):
        raise UserError(
            "Expected either --class=NAME (of --workdir) or --generated=DIR and --against=DIR "
            "(and --held_out=DIR where there is one)."
        )


def load_folders(
    generated: Path, against: Path, held_out: Path | None, *, image_size: int = 0
) -> Subjects:
    """Return the images of two or three folders, all scaled alike (see `read_folders`)."""
    roots = [generated, against, *([held_out] if held_out else [])]
    sets = read_folders(roots, image_size=image_size)
    for root, images in zip(roots, sets, strict=True):
        check_count(str(root), len(images))
    names = sorted(set(sets[1].folders))
    several = len(names) > 1
    labels = _label(sets[1], names) if several else np.zeros(len(sets[1]), np.int32)
    named = [Named(str(root), s.images) for root, s in zip(roots, sets, strict=True)]
    num_held_out = [0] * len(names)
    if held_out:
        num_held_out = _share_out(len(sets[2]), np.bincount(labels, minlength=len(names)))
    aside = set_aside(labels, sets[1].files, num_held_out)
    return Subjects(
        generated=named[0],
        real=named[1],
        held_out=named[2] if held_out else None,
        encoder_set=(sets[1].images[~aside], labels[~aside]),
        spare=choose_spare(sets[1].images, aside, sum(num_held_out)),
        classes=_pair_classes(sets, names) if several and held_out else None,
    )


def _share_out(num: int, counts: np.ndarray) -> list[int]:
    """Divide `num` over classes in proportion to `counts` [classes], rounded up."""
    return [int(n) for n in np.ceil(num * counts / max(counts.sum(), 1))]


def _pair_classes(
    sets: Sequence[LooseImages], names: Sequence[str]
) -> tuple[Labelled, Labelled, Labelled] | None:
    """Return the sets with labels, None where they do not have the same classes."""
    if any(sorted(set(images.folders)) != list(names) for images in sets):
        return None
    one, two, three = ((images.images, _label(images, names)) for images in sets)
    return one, two, three


def _label(images: LooseImages, names: Sequence[str]) -> np.ndarray:
    return np.array([names.index(folder) for folder in images.folders], np.int32)


def load_run(
    workdir: Path,
    class_name: str,
    dataset: Dataset,
    *,
    num: int = 0,
    checkpoint: str | None = None,
    seed: int = 0,
) -> Subjects:
    """Draw from the generator of a class, to compare with the class's training and held-out images.

    `num` 0 draws as many as there are training images. Where every class has a run in `workdir`,
    all are drawn from, for GAN-train and GAN-test.
    """
    check_class(dataset, class_name)
    label = dataset.class_names.index(class_name)
    train, val = dataset.train.of_class(label), dataset.val.of_class(label)
    check_count(f"the training images of {class_name}", len(train))

    def draw(name: str, num: int) -> np.ndarray:
        check_same_data(workdir / name, dataset)
        return draw_from_run(workdir / name, num=num, checkpoint=checkpoint, seed=seed).images

    num = num or len(train)
    check_count("--num: the generated images", num)
    drawn = {class_name: draw(class_name, num)}
    others = [name for name in dataset.class_names if name != class_name]
    complete = all(has_checkpoints(workdir / name) for name in others)
    for name in others if complete else []:
        wanted = int((dataset.train.labels == dataset.class_names.index(name)).sum())
        drawn[name] = draw(name, wanted)
    aside = choose_unseen(dataset)
    encoder_set = dataset.train.take(np.flatnonzero(~aside))
    return Subjects(
        generated=Named(str(workdir / class_name), drawn[class_name]),
        real=Named(f"{dataset.name}, {class_name}, train", train.images),
        held_out=Named(f"{dataset.name}, {class_name}, val", val.images),
        encoder_set=(encoder_set.images, encoder_set.labels),
        spare=choose_spare(train.images, aside[dataset.train.labels == label], len(val)),
        classes=_join_classes(drawn, dataset) if complete else None,
    )


def choose_unseen(dataset: Dataset) -> np.ndarray:
    """Return which training images [n] of a data set its encoder does not see: see `set_aside`."""
    counts = np.bincount(dataset.val.labels, minlength=len(dataset.class_names))
    counts[counts < MIN_IMAGES] = 0  # they will not judge
    return set_aside(dataset.train.labels, dataset.train.patients, counts.tolist())


def _join_classes(
    drawn: Mapping[str, np.ndarray], dataset: Dataset
) -> tuple[Labelled, Labelled, Labelled]:
    names = dataset.class_names
    images = np.concatenate([drawn[name] for name in names])
    labels = np.concatenate([np.full(len(drawn[n]), i, np.int32) for i, n in enumerate(names)])
    train, val = dataset.train, dataset.val
    return (images, labels), (train.images, train.labels), (val.images, val.labels)


def check_class(dataset: Dataset, class_name: str) -> None:
    """Raise where there is no such class."""
    if class_name not in dataset.class_names:
        raise UserError(
            f"There is no class {class_name!r} in {dataset.name}: "
            f"the classes are {', '.join(dataset.class_names)}."
        )


def check_same_data(run: Path, dataset: Dataset) -> None:
    """Raise where the run in folder `run` was trained on other data than these."""
    trained_on = read_record(run)["data"]
    if trained_on["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"{run} was trained on other data or another split ({trained_on['name']}) than is to "
            f"be compared with ({dataset.name}): give the --data_dir or --dataset of its training."
        )


def check_count(name: str, count: int) -> None:
    """Raise where there are too few images to measure anything."""
    if count < MIN_IMAGES:
        raise UserError(
            f"{name}: found {count} images, expected at least {MIN_IMAGES}. With fewer, every "
            "number here would be chance: add images."
        )


# What is measured -------------------------------------------------------------------------------


def evaluate(
    subjects: Subjects,
    *,
    out: Path,
    json_path: Path | None = None,
    features_file: Path | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Measure everything; write `evaluation.json` and `nearest_pairs.png` to `out`; print a table.

    The headline numbers are in the features of `features_file` or else of the own encoder, the
    same in pixels beside them. `json_path` is where the JSON goes instead.
    """
    exported = ExportedFeatures(features_file) if features_file else None
    say(
        f"Comparing {len(subjects.generated.images)} generated images of {subjects.generated.name} "
        f"with {len(subjects.real.images)} real ones of {subjects.real.name}."
    )
    own = create_encoder_features(*subjects.encoder_set, cache_dir=cache_dir)
    result = _measure_all(subjects, exported or own, own)
    _draw_pairs(subjects, out / "nearest_pairs.png")
    json_path = json_path or out / "evaluation.json"
    write_json(json_path, result)
    say(format_evaluation(result))
    say(f"Wrote {json_path} and {out / 'nearest_pairs.png'}.")
    return result


def _measure_all(subjects: Subjects, features: Features, own: Features) -> dict[str, Any]:
    """Return the report as it goes to JSON."""
    compared = {
        "generated": limit(subjects.generated.images, MAX_COMPARED),
        "real": limit(subjects.real.images, MAX_COMPARED),
        "held_out": limit(_get_held_out(subjects), MAX_COMPARED),
        "spare": limit(subjects.spare, MAX_COMPARED),
    }
    generated, real, held_out, spare = compared.values()
    has_held_out = len(held_out) >= MIN_IMAGES
    judge, spare = (held_out, spare) if has_held_out else (real, held_out)
    notes = [*_READING]
    if max(len(subjects.generated.images), len(subjects.real.images)) > MAX_COMPARED:
        notes.append(f"Compared: {MAX_COMPARED} images of a kind, drawn at random.")
    sides = {
        "train": subjects.real.describe(),
        "held_out": subjects.held_out.describe() if subjects.held_out else None,
    }
    result: dict[str, Any] = {
        "generated": subjects.generated.describe(),
        "against": sides["held_out" if has_held_out else "train"],
        **sides,
        "image_size": int(generated.shape[1]),
        "channels": int(generated.shape[3]),
        "level": LEVEL,
        "features": features.name,
        **measure_space(features, generated, judge, spare),
        **_measure_pixels(generated, judge, spare),
        "memorisation": None,
        "gan_train": None,
        "gan_test": None,
        "pixels": measure_space(PixelFeatures(), generated, judge, spare),
    }
    if own is not features:
        result["encoder"] = measure_space(own, generated, judge, spare)
    if has_held_out:
        result["memorisation"] = _measure_copies(subjects)
        result["against_train"] = {
            **measure_space(features, generated, real, held_out),
            **_measure_pixels(generated, real, held_out),
        }
    else:
        notes.append(_NO_HELD_OUT)
    if subjects.classes:
        result |= measure_classes(subjects.classes)
    else:
        notes.append(_NO_CLASSES)
    return result | {"notes": notes}


def _get_held_out(subjects: Subjects) -> np.ndarray:
    if subjects.held_out is None:
        return subjects.real.images[:0]
    return subjects.held_out.images


def limit(images: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many images, drawn at random but always the same."""
    if len(images) <= most:
        return images
    return images[np.sort(np.random.default_rng(0).permutation(len(images))[:most])]


def measure_space(
    features: Features, generated: np.ndarray, real: np.ndarray, spare: np.ndarray
) -> dict[str, Any]:
    """Measure distances and scores in one feature space."""
    pool = np.concatenate([features(images) for images in (generated, real, spare) if len(images)])
    parts = [
        create_kernel_comparison(pool),
        create_frechet_comparison(pool),
        create_neighbour_comparison(pool),
    ]
    return _measure_pool(parts, generated, real, spare, features.name)


def _measure_pixels(generated: np.ndarray, real: np.ndarray, spare: np.ndarray) -> dict[str, Any]:
    """Measure what needs no features."""
    pool = np.concatenate([generated, real, spare])
    levels = f"Laplacian pyramid {describe_levels(pool.shape)}"
    parts = [create_sliced_wasserstein_comparison(pool)]
    few = [limit(images, MAX_IMAGES) for images in (generated, real, spare)]
    diversity = [create_diversity_comparison(np.concatenate(few))]
    return _measure_pool(parts, generated, real, spare, levels) | _measure_pool(
        diversity, few[0], few[1], few[2], "MS-SSIM"
    )


def _measure_pool(
    parts: Sequence[Compare],
    generated: np.ndarray,
    real: np.ndarray,
    spare: np.ndarray,
    features: str,
) -> dict[str, Any]:
    """Measure everything that `parts` compare, in a pool that holds these sets in this order."""

    def compare(a: np.ndarray, b: np.ndarray) -> Mapping[str, float]:
        return {name: value for part in parts for name, value in part(a, b).items()}

    first, second = len(generated), len(generated) + len(real)
    indices = np.arange(second + len(spare))
    measures = measure(
        compare,
        generated=indices[:first],
        real=indices[first:second],
        spare=indices[second:],
        features=features,
    )
    return _to_json(measures)


def _measure_copies(subjects: Subjects) -> dict[str, Any]:
    space = PixelFeatures(MEMORISATION_SIDE)
    return measure_memorisation(
        space(limit(subjects.generated.images, MAX_COMPARED)),
        space(limit(subjects.real.images, MAX_SEARCHED)),
        space(limit(_get_held_out(subjects), MAX_COMPARED)),
        features=space.name,
    ).to_json()


def measure_classes(
    classes: tuple[Labelled, Labelled, Labelled], *, seed: int = 0
) -> dict[str, Any]:
    """Measure GAN-train and GAN-test of generated, training and held-out images of all classes."""
    generated, train, held_out = (
        (shrink(images, SIDE), np.asarray(labels)) for images, labels in classes
    )
    measures = measure_gan_train_test(
        functools.partial(train_classifier, seed=seed),
        generated=generated,
        train=train,
        held_out=held_out,
        features="balanced accuracy of a small classifier",
    )
    return _to_json(measures)


def _to_json(measures: Mapping[str, Measure]) -> dict[str, Any]:
    return {name: value.to_json() for name, value in measures.items()}


def _draw_pairs(subjects: Subjects, path: Path) -> None:
    """Draw the generated, and for comparison the held-out, images nearest to a training image."""
    space = PixelFeatures(MEMORISATION_SIDE)
    train = limit(subjects.real.images, MAX_SEARCHED)
    known = space(train)
    rows = []
    for label, images in (
        ("generated", subjects.generated.images),
        ("held-out", _get_held_out(subjects)),
    ):
        if len(images):
            ours, theirs, gaps = find_nearest(space(images), known, num=SHOWN_PAIRS)
            text = (
                f"{label} images, above the training images nearest to them, and the difference "
                "(root mean square, black to white is 1)"
            )
            rows.append((text, images[ours], train[theirs], gaps / np.sqrt(known.shape[1]) / 2))
    title = f"{subjects.generated.name}: the nearest pairs"
    figures.plot_nearest_pairs(rows, path, title=title)
