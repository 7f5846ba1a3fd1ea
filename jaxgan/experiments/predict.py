"""Show new images to trained classifiers: what they say of each, and how right they are.

`predict_images` is for arrays, `predict_folder` for files, with a report in a folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from jaxgan.core.errors import UserError, name_some
from jaxgan.data.copies import choose_searched
from jaxgan.data.fit import WORTH_SAYING, compute_cut
from jaxgan.data.forms import Form, Part, join_thumbnails, read_parts
from jaxgan.data.images import measure_files, resize_all
from jaxgan.data.limits import ImageError
from jaxgan.data.new_images import Asked, NewImages, find_new_images
from jaxgan.data.values import MIN_GRAYS, Spread, View, choose_ranges, describe_ways
from jaxgan.evaluation.reference import MOST_COMPARED, Reference
from jaxgan.experiments.classifier_runs import (
    RestoredClassifier,
    check_same_classes,
    find_reference,
    restore_classifier,
)
from jaxgan.experiments.prediction_report import name_output
from jaxgan.metrics.departure import (
    FEWEST,
    Departure,
    compare_features,
    compare_histograms,
    compute_feature_distances,
    compute_gray_distances,
    compute_histograms,
    measure_departure,
)

_ASKED = Asked()


@dataclass(frozen=True)
class Predictions:
    """What one classifier says of images: `probabilities` [num, outputs], by `files`.

    The first outputs are the classes, in the order of `class_names`.
    """

    files: tuple[str, ...]
    class_names: tuple[str, ...]
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The class of the highest probability, for each image."""
        outputs = self.probabilities.argmax(axis=1)
        return tuple(name_output(self.class_names, int(output)) for output in outputs)


def predict_images(
    classifier: RestoredClassifier, images: np.ndarray, files: Sequence[str] = ()
) -> Predictions:
    """Return what a classifier says of images uint8 [num, height, width] or [..., 1 or 3].

    Images of another size are cut to the central square and scaled, as `resize_all` does; colours
    become gray, and gray is repeated, where the classifier sees it so. `files` are their names, by
    default their numbers. Raises `UserError` for any other array.
    """
    shown = _match_form(_check_images(images), classifier.form)
    names = tuple(files) or tuple(map(str, range(len(shown))))
    return Predictions(names, classifier.class_names, classifier.compute_probabilities(shown))


def _check_images(images: np.ndarray) -> np.ndarray:
    """Return images [num, height, width, channels]; refuse what is no stack of 8-bit images."""
    images = np.asarray(images)
    stack = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or stack.ndim != 4 or stack.shape[-1] not in (1, 3):
        raise UserError(
            f"Found images of {images.dtype} {list(images.shape)}: expected uint8 "
            "[num, height, width] or [num, height, width, 1 or 3]. Of one image, give image[None]. "
            "Of numbers from 0 to 1, give (255 * images).round().astype('uint8')."
        )
    if not stack.size:
        raise UserError(f"Found images of {list(images.shape)}: expected one image or more.")
    return stack


def _match_form(images: np.ndarray, form: Form) -> np.ndarray:
    if images.shape[-1] != form.channels:
        weights = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow turns colour to gray
        is_gray = images.shape[-1] == 1
        gray = np.rint(images @ weights).astype(np.uint8)[..., None] if not is_gray else images
        images = np.repeat(gray, form.channels, axis=-1)
    return resize_all(images, form.size)


# Files ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How new images stand to the training images of a run: copies, and distances.

    `copies` has, for each new image that is a copy, the split and the file of the other one.
    `is_far` has, by kind of distance, which images [num] lie beyond the limit.
    """

    departures: Mapping[str, Departure]
    copies: Mapping[int, tuple[str, str]]
    is_far: Mapping[str, np.ndarray]
    grays: Mapping[str, float]


@dataclass(frozen=True)
class FolderPredictions:
    """What classifiers say of the images of a folder: `predictions` by run.

    `comparisons` say, by run, how the images stand to those of its training, or why that is not
    known. `is_generated` [num]: which images jaxgan has made.
    """

    images: NewImages
    class_names: tuple[str, ...]
    predictions: Mapping[str, Predictions]
    comparisons: Mapping[str, Comparison | str]
    is_generated: np.ndarray
    form: Form
    notices: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass
class _Gathered:
    """What is kept of images that were read some at a time."""

    indices: list[int] = field(default_factory=list)
    probabilities: dict[str, list[np.ndarray]] = field(default_factory=dict)
    features: dict[str, list[np.ndarray]] = field(default_factory=dict)
    histograms: dict[str, list[np.ndarray]] = field(default_factory=dict)
    thumbnails: list[list[np.ndarray]] = field(default_factory=list)
    sides: list[tuple[int, int]] = field(default_factory=list)
    is_generated: list[bool] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    grays: dict[str, int | None] = field(default_factory=dict)


def predict_files(
    runs: Sequence[Path],
    path: Path,
    *,
    cache_dir: Path,
    asked: Asked = _ASKED,
    checkpoint: str = "newest",
    training_dir: Path | None = None,
) -> FolderPredictions:
    """Return what the classifiers in folders `runs` say of the images in `path`, folder or file.

    All see the same images, each in the form of its own training. `training_dir` is where the
    training images lie now. Raises `UserError`.
    """
    classifiers = {
        str(run): restore_classifier(
            run, checkpoint, cache_dir=cache_dir, training_dir=training_dir
        )
        for run in runs
    }
    check_same_classes(list(classifiers.values()))
    names = next(iter(classifiers.values())).class_names
    images = find_new_images(path, names, asked)
    references = _find_references(classifiers, cache_dir, training_dir)
    forms, notices = _find_forms(images, classifiers)
    bad: list[tuple[str, ImageError]] = []
    gathered = _Gathered()
    unique = list({id(form): form for form in forms.values()}.values())
    for part in read_parts(images, unique, skip_bad=asked.skip_bad_images, bad=bad):
        shown = {run: part.pixels[unique.index(form)] for run, form in forms.items()}
        _gather(gathered, part, images.files)
        _predict_part(gathered, shown, classifiers, references)
    if not gathered.indices:
        raise UserError(f"None of the {len(bad)} images in {path} can be used: {bad[0][1]}.")
    taken = images.take(gathered.indices)
    form = next(iter(forms.values()))
    return FolderPredictions(
        taken,
        names,
        {
            run: Predictions(taken.files, names, np.concatenate(found))
            for run, found in gathered.probabilities.items()
        },
        _compare(gathered, references),
        np.array(gathered.is_generated),
        form,
        (*images.notices, *notices, *_describe_images(gathered, form)),
        tuple((file, str(reason)) for file, reason in bad),
    )


def _find_references(
    classifiers: Mapping[str, RestoredClassifier], cache_dir: Path, training_dir: Path | None
) -> dict[str, Reference | str]:
    """Return, by run, what its training images are like, or why that is not known."""
    found: dict[str, Reference | str] = {}
    for name, classifier in classifiers.items():
        try:
            found[name] = find_reference(
                classifier.run, classifier.settings, cache_dir=cache_dir, training_dir=training_dir
            )
        except UserError as error:
            found[name] = str(error)
    return found


def _find_forms(
    images: NewImages, classifiers: Mapping[str, RestoredClassifier]
) -> tuple[dict[str, Form], list[str]]:
    """Return the form of each run, equal ones as one, and notices.

    Numbers of more than 8 bits are shown over the range of the training. Of a kind that it had
    none of, over the one that is found for the new images.
    """
    spreads = measure_files(dict(zip(images.files, images.paths, strict=True)))
    found = choose_ranges(list(spreads.values()))
    forms: list[Form] = []
    by_run, notices = {}, list[str]()
    for run, classifier in classifiers.items():
        own = classifier.form
        view = View(own.view.asked, {**found, **own.view.ranges})
        form = replace(own, view=view)
        known = next((other for other in forms if other == form), form)
        forms.append(known)
        by_run[run] = known
        notices += _describe_ranges(spreads, own)
    return by_run, list(dict.fromkeys(notices))


def _gather(gathered: _Gathered, part: Part, files: Sequence[str]) -> None:
    gathered.indices += part.indices
    for index, image in zip(part.indices, part.prepared, strict=True):
        gathered.thumbnails.append(image.thumbnails)
        gathered.sides.append(image.sides)
        gathered.is_generated.append(image.is_generated)
        gathered.ways.append(image.way)
        gathered.grays[files[index]] = image.num_grays


def _predict_part(
    gathered: _Gathered,
    shown: Mapping[str, np.ndarray],
    classifiers: Mapping[str, RestoredClassifier],
    references: Mapping[str, Reference | str],
) -> None:
    """Add what each run says of some images, and how far they are from its training images."""
    for run, images in shown.items():
        probabilities = classifiers[run].compute_probabilities(images)
        gathered.probabilities.setdefault(run, []).append(probabilities)
        reference = references[run]
        if isinstance(reference, Reference):
            features = reference.compute_features(images)
            gathered.features.setdefault(run, []).append(features)
            gathered.histograms.setdefault(run, []).append(compute_histograms(images))


def _compare(
    gathered: _Gathered, references: Mapping[str, Reference | str]
) -> dict[str, Comparison | str]:
    thumbnails = join_thumbnails(gathered.thumbnails)
    found: dict[str, Comparison | str] = {}
    for run, reference in references.items():
        if isinstance(reference, str):
            found[run] = reference
            continue
        pairs = reference.find_copies(thumbnails)
        copies = {i: (reference.splits[j], reference.files[j]) for i, j in pairs.items()}
        found[run] = _create_comparison(
            reference,
            np.concatenate(gathered.histograms[run]),
            np.concatenate(gathered.features[run]),
            copies,
            np.array(gathered.is_generated),
        )
    return found


def _create_comparison(
    reference: Reference,
    histograms: np.ndarray,
    features: np.ndarray,
    copies: Mapping[int, tuple[str, str]],
    is_generated: np.ndarray,
) -> Comparison:
    """Return how images stand to those of a training; copies do not count for the distances."""
    is_new = ~is_generated
    is_new[[i for i, (split, _) in copies.items() if split == "train"]] = False
    grays = np.arange(histograms.shape[1])
    means = {"training_mean": float(reference.histogram @ grays)}
    if not is_new.any():
        return Comparison({}, copies, {}, means)
    new = np.flatnonzero(is_new)
    some = new[choose_searched(len(new), MOST_COMPARED)]
    is_many = len(new) >= FEWEST
    distances = {
        "grays": compute_gray_distances(histograms, reference.histogram),
        "features": compute_feature_distances(features, reference.features),
    }
    departures = {
        "grays": measure_departure(
            distances["grays"][new],
            reference.gray_yardstick,
            compare_histograms(histograms[new], reference.histogram[None]) if is_many else None,
            reference.gray_contrast,
        ),
        "features": measure_departure(
            distances["features"][new],
            reference.feature_yardstick,
            compare_features(features[some], reference.features) if is_many else None,
            reference.feature_contrast,
        ),
    }
    is_far = {kind: distances[kind] > d.limit for kind, d in departures.items()}
    means["mean"] = float(histograms[new].mean(axis=0) @ grays)
    return Comparison(departures, copies, is_far, means)


def _describe_images(gathered: _Gathered, form: Form) -> list[str]:
    """Return what is to be said of how the images are shown to the classifier."""
    cut = compute_cut([width / height for width, height in gathered.sides])
    small = sum(min(sides) < form.size for sides in gathered.sides)
    few = [f for f, n in gathered.grays.items() if n is not None and n < MIN_GRAYS]
    said = []
    if form.fit == "crop" and (cut > WORTH_SAYING).any():
        said.append(
            f"{int((cut > WORTH_SAYING).sum())} of {len(cut)} images are far from square. The "
            f"classifier sees their central square, as in its training: up to {cut.max():.0%} of "
            "an image is cut off."
        )
    if small:
        said.append(f"{small} image(s) have fewer than {form.size} pixels a side: enlarged.")
    if few:
        said.append(
            f"Fewer than {MIN_GRAYS} of 256 grays are in {name_some(sorted(few), 'image')}."
        )
    return [*said, *describe_ways(gathered.ways)]


def _describe_ranges(spreads: Mapping[str, Spread], form: Form) -> list[str]:
    """Return over which range numbers are shown of which the training has noted none."""
    found = choose_ranges(list(spreads.values()))
    new = [kind for kind in sorted(found) if kind not in form.view.ranges]
    if form.view.asked is not None:
        return []
    return [
        f"Images of {kind}: {found[kind][0]:g} is shown as black and {found[kind][1]:g} as white. "
        "The range is that of the new images: the training has noted none of its own."
        for kind in new
    ]
