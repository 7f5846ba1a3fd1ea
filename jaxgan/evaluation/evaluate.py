"""How good, how diverse and how new generated images are: every metric, in one report."""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import write_json
from jaxgan.core.untrusted import printable
from jaxgan.data import guard
from jaxgan.data.copies import (
    MAX_SEARCHED,
    choose_searched,
    describe_search,
    find_copies_among,
    find_copies_between,
    join_groups,
)
from jaxgan.data.images import decode_many
from jaxgan.data.loose import LooseImages, read_folders
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.data.values import AS_STORED, View
from jaxgan.evaluation.encoder import SIDE, train_classifier
from jaxgan.evaluation.features import (
    ExportedFeatures,
    Features,
    PixelFeatures,
    choose_spare,
    create_encoder_features,
    draw_thumbnails,
    set_aside,
    shrink,
)
from jaxgan.metrics.diversity import MAX_IMAGES, create_diversity_comparison
from jaxgan.metrics.frechet_distance import create_frechet_comparison
from jaxgan.metrics.gan_train import Labelled, measure_gan_train_test
from jaxgan.metrics.kernel_distance import create_kernel_comparison
from jaxgan.metrics.measure import LEVEL, MIN_IMAGES, Compare, Groups, Measure, measure
from jaxgan.metrics.memorisation import (
    compute_aligned_distances,
    find_nearest,
    measure_memorisation,
)
from jaxgan.metrics.neighbours import create_neighbour_comparison
from jaxgan.metrics.sliced_wasserstein import create_sliced_wasserstein_comparison, describe_levels
from jaxgan.reports import figures
from jaxgan.reports.tables import format_evaluation
from jaxgan.sampling.runs import draw_from_run, has_checkpoints
from jaxgan.training.run_folder import read_data

MAX_COMPARED = 1000  # images of a kind: the tables of distances grow with the square
SHOWN_PAIRS = 8
MIN_SIDE = 16  # pixels: with fewer there is nothing to tell a film by, nor a window of MS-SSIM

_LISTED = 3
_OTHER_SIDES = ("--against", "--held_out")

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
    """Images uint8 [num, h, w, c] and what they are called in the report.

    `patients` says whose each one is; None where that is unknown, and each counts as its own.
    """

    name: str
    images: np.ndarray
    patients: tuple[str, ...] | None = None

    def limit(self, most: int) -> "Named":
        """Return at most so many, see `limit`."""
        patients = self.patients and tuple(limit(np.asarray(self.patients), most).tolist())
        return Named(self.name, limit(self.images, most), patients)

    def describe(self) -> dict[str, Any]:
        """Return what the report says of them."""
        return {"name": self.name, "num_images": len(self.images)}


@dataclass(frozen=True)
class Subjects:
    """What is compared with what.

    `encoder_set` is what the own encoder is trained on, images and labels; `spare` are the training
    images that it has not seen, for the floor (of no use where nothing is held out); `classes` are
    labelled generated, training and held-out images of all classes, where there are several, and
    `no_classes` says why there are none. `comparison` tells this comparison from others, and
    `notices` are sentences that come before its numbers.
    """

    generated: Named
    real: Named
    held_out: Named | None
    encoder_set: Labelled
    spare: Named
    classes: tuple[Labelled, Labelled, Labelled] | None = None
    no_classes: str = _NO_CLASSES
    comparison: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


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
    generated: Path,
    against: Path,
    held_out: Path | None,
    *,
    image_size: int = 0,
    fit: str = "crop",
    view: View = AS_STORED,
) -> Subjects:
    """Return the images of two or three folders, all scaled alike (see `read_folders`).

    The same folder or the same images on both sides are among its notices. Raises `UserError` where
    there are too few or too small ones, or held-out images are copies of those of `against`. A
    folder knows no patients.
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
        spare=Named(str(against), sets[1].images[choose_spare(aside, sum(num_held_out))]),
        classes=_pair_classes(sets, names) if several and held_out else None,
        comparison={
            "folders": [str(root.resolve()) for root in roots],
            "image_size": image_size,
            "look": {"fit": fit, "range": list(view.asked or ())},
        },
        notices=(*_describe_same(roots, sets), *(n for images in sets for n in images.notices)),
    )


def _describe_same(roots: Sequence[Path], sets: Sequence[LooseImages]) -> Iterator[str]:
    """Say where the generated images are, by folder or pixel by pixel, those of another side."""
    both = zip(sets[0].images[::-1], sets[0].files[::-1], strict=True)  # so the first of equals
    mine = {image.tobytes(): file for image, file in both}
    if len(mine) < len(sets[0]):
        yield (
            f"Of the {len(sets[0])} images of --generated ({roots[0]}) only {len(mine)} differ: "
            "the others are repeated, pixel by pixel."
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
                f"{num} of the {len(sets[0])} images of --generated are, pixel by pixel, images of "
                f"{flag} ({printable(', '.join(same[:_LISTED]))}{more}): every number below is of "
                "these copies too."
            )


def _raise_too_small(roots: Sequence[Path], sets: Sequence[LooseImages]) -> NoReturn:
    """Name the smallest image of all, to whose size the others have been scaled."""
    paths = [root / file for root, images in zip(roots, sets, strict=True) for file in images.files]
    sizes = decode_many(paths, channels=1, use=lambda image: image.size)
    (width, height), path = min(zip(sizes, paths, strict=True), key=lambda pair: min(pair[0]))
    raise UserError(
        f"{path} is {width}x{height} pixels, and all images are scaled to the smallest: expected "
        f"at least {MIN_SIDE} a side. Remove it, or give --image_size={MIN_SIDE} or more."
    )


def _check_held_out(
    against: Path, train: LooseImages, held_out: Path, control: LooseImages
) -> None:
    """Raise where held-out images are copies of training images: they would excuse any copying."""
    pairs = find_copies_between(control.images, train.images).pairs
    if len(pairs):
        named = [f"{held_out / control.files[i]} of {against / train.files[j]}" for i, j in pairs]
        raise UserError(
            f"{len(set(pairs[:, 0]))} of the {len(control)} images of --held_out are copies of "
            f"those of --against (such as {', '.join(named[:_LISTED])}): memorisation is found by "
            "what held-out images are not. Remove them, or give images of other patients."
        )


def _describe_real(
    root: Path, images: LooseImages, labels: np.ndarray, names: Sequence[str]
) -> list[str]:
    """Return what has to be said of the training images of a folder that show the same film."""
    copies = find_copies_among(images.images)
    numbers = join_groups(np.arange(len(images)), copies.pairs)
    films = guard.Films(numbers, images.files, labels, [str(root)] * len(images))
    unsearched = copies.describe_search()
    said = guard.describe(films, names, is_split_here=False)
    return [*said, *([unsearched] if unsearched else [])]


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

    `num` 0 draws as many as there are training images. Where every class has a run in `workdir`
    that can be drawn from, all are, for GAN-train and GAN-test; else the report says why not.
    """
    check_class(dataset, class_name)
    label = dataset.class_names.index(class_name)
    train, val = dataset.train.of_class(label), dataset.val.of_class(label)
    check_real(class_name, train, val)

    def draw(name: str, num: int) -> np.ndarray:
        check_same_data(workdir / name, dataset)
        return draw_from_run(workdir / name, num=num, checkpoint=checkpoint, seed=seed).images

    num = num or len(train)
    check_count("--num: the generated images", num)
    drawn = {class_name: draw(class_name, num)}
    try:
        drawn |= _draw_others(workdir, class_name, dataset, draw)
        no_classes = _NO_CLASSES
    except UserError as error:
        no_classes = f"{_NO_CLASSES} Not here: {error}"
    aside = choose_unseen(dataset)
    encoder_set = dataset.train.take(np.flatnonzero(~aside))
    return Subjects(
        generated=Named(str(workdir / class_name), drawn[class_name]),
        real=Named(f"{dataset.name}, {class_name}, train", train.images, train.patients),
        held_out=Named(f"{dataset.name}, {class_name}, val", val.images, val.patients),
        encoder_set=(encoder_set.images, encoder_set.labels),
        spare=take_spare(train, aside[dataset.train.labels == label], len(val)),
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
    """Return images of all other classes, as many as these have; raise where one has none.

    What is wrong with another class's run is no reason not to measure this one.
    """
    others = [name for name in dataset.class_names if name != class_name]
    absent = [name for name in others if not has_checkpoints(workdir / name)]
    if absent:
        raise UserError(f"there is no run of {list_some(absent)} in {workdir}.")
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    drawn = {name: draw(name, int(counts[dataset.class_names.index(name)])) for name in others}
    shape = dataset.train.images.shape[1:]
    for name, images in drawn.items():
        if images.shape[1:] != shape:
            raise UserError(
                f"the run of {name} in {workdir} makes images of {list(images.shape[1:])}, that of "
                f"{class_name} of {list(shape)}."
            )
    return drawn


def choose_unseen(dataset: Dataset) -> np.ndarray:
    """Return which training images [n] of a data set its encoder does not see: see `set_aside`."""
    counts = np.bincount(dataset.val.labels, minlength=len(dataset.class_names))
    counts[counts < MIN_IMAGES] = 0  # they will not judge
    return set_aside(dataset.train.labels, dataset.train.patients, counts.tolist())


def take_spare(train: ImageSet, aside: np.ndarray, num: int) -> Named:
    """Return the training images of a class that make the floor, see `choose_spare`."""
    spare = train.take(choose_spare(aside, num))
    return Named("training images for the floor", spare.images, spare.patients)


def _join_classes(
    drawn: Mapping[str, np.ndarray], dataset: Dataset
) -> tuple[Labelled, Labelled, Labelled] | None:
    """Return the sets of all classes with labels, None where there is one class alone."""
    names = dataset.class_names
    if len(names) < 2:
        return None
    images = np.concatenate([drawn[name] for name in names])
    labels = np.concatenate([np.full(len(drawn[n]), i, np.int32) for i, n in enumerate(names)])
    train, val = dataset.train, dataset.val
    return (images, labels), (train.images, train.labels), (val.images, val.labels)


def check_class(dataset: Dataset, class_name: str) -> None:
    """Raise where there is no such class."""
    if class_name not in dataset.class_names:
        raise UserError(
            f"There is no class {class_name!r} in {dataset.name}: "
            f"the classes are {list_some(dataset.class_names)}."
        )


def check_same_data(run: Path, dataset: Dataset) -> None:
    """Raise where the run in folder `run` was trained on other data than these."""
    trained_on = read_data(run)
    if trained_on["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"{run} was trained on other data or another split ({trained_on['name']}) than those "
            f"here ({dataset.name}): give the --data_dir or --dataset of its training."
        )


def check_real(class_name: str, train: ImageSet, held_out: ImageSet) -> None:
    """Raise where a class has too few training images, or they or what judges are one patient's."""
    check_count(f"the training images of {class_name}", len(train))
    _check_patients(f"the training images of {class_name}", train.patients)
    if len(held_out) >= MIN_IMAGES:
        _check_patients(f"the held-out images of {class_name}", held_out.patients)


def _check_patients(name: str, patients: Sequence[str]) -> None:
    """Raise where one patient has so many images that sets of other patients can not be dealt."""
    names, counts = np.unique(np.asarray(patients), return_counts=True)
    if counts.max() > len(patients) / 3:
        raise UserError(
            f"{name}: found {counts.max()} of {len(patients)} of one patient "
            f"({names[counts.argmax()]}), expected at most a third. Every number here would be "
            "about that patient: add images of others, or correct the patient column."
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
    same in pixels beside them. `json_path` is where the JSON goes as well. Another comparison in
    `out` is left alone, see `choose_out`.
    """
    exported = ExportedFeatures(features_file) if features_file else None
    features_name = str(features_file.resolve()) if features_file else None
    comparison = {**subjects.comparison, "features": features_name}
    out = choose_out(out, "evaluation.json", comparison)
    side = subjects.real.images.shape[1]
    say(
        f"Comparing {len(subjects.generated.images)} generated images of {subjects.generated.name} "
        f"with {len(subjects.real.images)} real ones of {subjects.real.name}, at {side} x {side} "
        "pixels."
    )
    for notice in subjects.notices:
        say(notice)
    own = create_encoder_features(*subjects.encoder_set, cache_dir=cache_dir)
    result = _measure_all(subjects, exported or own, own) | {"comparison": comparison}
    _draw_pairs(subjects, out / "nearest_pairs.png")
    write_result(result, out / "evaluation.json", json_path)
    say(format_evaluation(result))
    say(f"Wrote {json_path or out / 'evaluation.json'} and {out / 'nearest_pairs.png'}.")
    return result


def choose_out(out: Path, file: str, comparison: Mapping[str, Any]) -> Path:
    """Return `out`, or the first of `out`-2, `out`-3, ... without another comparison in `file`."""
    named = out.resolve() if out.name in ("", "..") else out  # a dot has no name to add to
    for number in itertools.count(1):
        folder = out if number == 1 else named.parent / f"{named.name}-{number}"
        path = folder / file
        if not path.exists() or _read_comparison(path) == comparison:
            if number > 1:
                say(f"{out} holds another comparison, which stays: this one goes to {folder}.")
            return folder
    raise AssertionError("there is always another number")


def _read_comparison(path: Path) -> Any:
    try:
        return dict(json.loads(path.read_bytes())).get("comparison")
    except (OSError, ValueError, TypeError):
        return None


def write_result(result: Mapping[str, Any], path: Path, copy: Path | None) -> None:
    """Write what was measured as JSON, and a copy of it where one is asked for."""
    for file in (path, copy):
        if file is not None:
            write_json(file, result)


def _measure_all(subjects: Subjects, features: Features, own: Features) -> dict[str, Any]:
    """Return the report as it goes to JSON."""
    sets = (subjects.generated, subjects.real, _get_held_out(subjects), subjects.spare)
    generated, real, held_out, spare = (images.limit(MAX_COMPARED) for images in sets)
    has_held_out = len(held_out.images) >= MIN_IMAGES
    judge, spare = (held_out, spare) if has_held_out else (real, held_out)
    notes = [*subjects.notices, *_READING]
    if max(len(images.images) for images in sets) > MAX_COMPARED:
        notes.append(f"Compared: {MAX_COMPARED} images of a kind, drawn at random.")
    sides = {
        "train": subjects.real.describe(),
        "held_out": subjects.held_out.describe() if subjects.held_out else None,
    }
    result: dict[str, Any] = {
        "generated": subjects.generated.describe(),
        "against": sides["held_out" if has_held_out else "train"],
        **sides,
        "image_size": int(generated.images.shape[1]),
        "channels": int(generated.images.shape[3]),
        "level": LEVEL,
        "features": features.name,
        **_measure_named(features, generated, judge, spare),
        **_measure_pixels(generated, judge, spare),
        "memorisation": None,
        "gan_train": None,
        "gan_test": None,
        "pixels": _measure_named(PixelFeatures(), generated, judge, spare),
    }
    if own is not features:
        result["encoder"] = _measure_named(own, generated, judge, spare)
    if has_held_out:
        searched = subjects.real.limit(MAX_SEARCHED)
        result["memorisation"] = copies = measure_copies(generated.images, searched, held_out)
        notes.append(_describe_copies(copies, num_train=len(subjects.real.images)))
        result["against_train"] = {
            **_measure_named(features, generated, real, held_out),
            **_measure_pixels(generated, real, held_out),
        }
    else:
        notes.append(_NO_HELD_OUT)
        num_searched = len(subjects.real.limit(MAX_SEARCHED).images)  # for the nearest pairs
        notes += describe_unsearched(num_searched, len(subjects.real.images))
    if subjects.classes:
        result |= measure_classes(subjects.classes)
    else:
        notes.append(subjects.no_classes)
    return result | {"notes": notes}


def _describe_copies(copies: Mapping[str, Any], *, num_train: int) -> str:
    """Say what memorisation was looked for in, and what its floor holds for."""
    note = (
        f"Memorisation: {copies['features']}. Its floor is that of {copies['floor_n']} real images "
        "as the generated ones; fewer images stray further."
    )
    return " ".join([note, *describe_unsearched(copies["num_train"], num_train)])


def describe_unsearched(num_searched: int, num_train: int) -> list[str]:
    """Return a sentence where copies were not looked for among all training images."""
    sentence = describe_search(num_searched, num_train, what="training images")
    return [sentence] if sentence else []


def _get_held_out(subjects: Subjects) -> Named:
    if subjects.held_out is None:
        return Named("held-out images", subjects.real.images[:0], subjects.real.patients and ())
    return subjects.held_out


def limit(images: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many items [n, ...], drawn at random but always the same."""
    if len(images) <= most:
        return images
    return images[choose_searched(len(images), most)]


def join_patients(first: Named, second: Named) -> tuple[str, ...] | None:
    """Return the patient of each image of both sets, None where that is unknown."""
    if first.patients is None or second.patients is None:
        return None
    return first.patients + second.patients


def _measure_named(
    features: Features, generated: Named, real: Named, spare: Named
) -> dict[str, Any]:
    sets = (generated.images, real.images, spare.images)
    return measure_space(features, *sets, patients=join_patients(real, spare))


def measure_space(
    features: Features,
    generated: np.ndarray,
    real: np.ndarray,
    spare: np.ndarray,
    *,
    patients: Groups | None = None,
) -> dict[str, Any]:
    """Measure distances and scores in one feature space.

    `patients` are those of `real` and then of `spare`: see `measure`.
    """
    pool = np.concatenate([features(images) for images in (generated, real, spare) if len(images)])
    parts = [
        create_kernel_comparison(pool),
        create_frechet_comparison(pool),
        create_neighbour_comparison(pool),
    ]
    sizes = [len(images) for images in (generated, real, spare)]
    return _measure_pool(parts, sizes, patients, features.name)


def _measure_pixels(generated: Named, real: Named, spare: Named) -> dict[str, Any]:
    """Measure what needs no features."""
    sets = (generated, real, spare)
    few = [images.limit(MAX_IMAGES) for images in sets]
    pool = np.concatenate([images.images for images in sets])
    pyramids = [create_sliced_wasserstein_comparison(pool)]
    diversity = [create_diversity_comparison(np.concatenate([images.images for images in few]))]
    return {
        **_measure_pool(
            pyramids,
            [len(images.images) for images in sets],
            join_patients(real, spare),
            f"Laplacian pyramid {describe_levels(pool.shape)}",
        ),
        **_measure_pool(
            diversity,
            [len(images.images) for images in few],
            join_patients(few[1], few[2]),
            "MS-SSIM",
        ),
    }


def _measure_pool(
    parts: Sequence[Compare],
    sizes: Sequence[int],
    patients: Groups | None,
    features: str,
) -> dict[str, Any]:
    """Measure what `parts` compare, in a pool of so many generated, real and spare images."""

    def compare(a: np.ndarray, b: np.ndarray) -> Mapping[str, float]:
        return {name: value for part in parts for name, value in part(a, b).items()}

    generated, real, spare = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    measures = measure(
        compare,
        generated=generated,
        real=real,
        spare=spare,
        groups=patients,
        features=features,
    )
    return _to_json(measures)


def measure_copies(generated: np.ndarray, train: Named, held_out: Named) -> dict[str, Any]:
    """Measure memorisation in thumbnails, whatever their brightness, contrast and a small shift."""
    thumbnails = [draw_thumbnails(images) for images in (generated, train.images, held_out.images)]
    side = thumbnails[0].shape[1]
    return measure_memorisation(
        *thumbnails,
        features=f"pixels {side}x{side}, brightness, contrast and small shifts taken out",
        groups=join_patients(train, held_out),
        distance_fn=compute_aligned_distances,
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
    train = limit(subjects.real.images, MAX_SEARCHED)
    known = draw_thumbnails(train)
    rows = []
    for label, images in (
        ("generated", limit(subjects.generated.images, MAX_COMPARED)),
        ("held-out", limit(_get_held_out(subjects).images, MAX_COMPARED)),
    ):
        if len(images):
            ours, theirs, gaps = find_nearest(
                draw_thumbnails(images),
                known,
                num=SHOWN_PAIRS,
                distance_fn=compute_aligned_distances,
            )
            text = (
                f"{label} images, above the training images nearest to them, and the difference "
                "(0: a copy, but for brightness, contrast and a small shift; 1.41: unlike)"
            )
            rows.append((text, images[ours], train[theirs], gaps))
    title = f"{subjects.generated.name}: the nearest pairs"
    figures.plot_nearest_pairs(rows, path, title=title)
