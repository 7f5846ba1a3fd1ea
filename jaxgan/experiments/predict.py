"""Predict the classes of new images with trained classifiers.

`predict_images` is for arrays, `predict_files` for a folder or a file. `prediction_output` writes
the report.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.errors import UserError, list_some, name_some
from jaxgan.core.untrusted import printable
from jaxgan.data.arrays import check_images, match_form
from jaxgan.data.copies import choose_searched, describe_search
from jaxgan.data.fit import WORTH_SAYING, compute_cut
from jaxgan.data.forms import Form, Part, join_thumbnails, read_parts
from jaxgan.data.images import measure_files
from jaxgan.data.limits import ImageError
from jaxgan.data.new_images import Asked, NewImages, find_new_images
from jaxgan.data.values import MIN_GRAYS, Range, View, choose_ranges, describe_ways
from jaxgan.evaluation.reference import MOST_COMPARED, Reference
from jaxgan.experiments.classifier_runs import (
    RestoredClassifier,
    check_same_classes,
    restore_classifier,
)
from jaxgan.experiments.prediction_report import name_output
from jaxgan.experiments.study_runs import RestoredArm, is_study, restore_arm
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
from jaxgan.metrics.regions import create_regions, share_inside
from jaxgan.reports import html

_ASKED = Asked()
Restored = RestoredClassifier | RestoredArm


@dataclass(frozen=True)
class Predictions:
    """The predictions of one classifier: `probabilities` [num, outputs] of the images `files`.

    The first outputs are the classes, in the order of `class_names`. If `probabilities` are a mean
    over several classifiers, `members` [classifiers, num, outputs] has those of each one.
    """

    files: tuple[str, ...]
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    members: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The class with the highest probability, for each image."""
        outputs = self.probabilities.argmax(axis=1)
        return tuple(name_output(self.class_names, int(output)) for output in outputs)

    @property
    def spread(self) -> np.ndarray | None:
        """The standard deviation of the predicted class's probability over the classifiers [num].

        It divides by the number of classifiers minus 1. None if there is only one classifier.
        """
        if self.members is None or len(self.members) < 2:
            return None
        outputs = self.probabilities.argmax(axis=1)
        chosen = np.take_along_axis(self.members, outputs[None, :, None], axis=2)[..., 0]
        return np.asarray(chosen.std(axis=0, ddof=1))

    def __repr__(self) -> str:
        counts = Counter(self.predicted).most_common()
        said = list_some(f"{count} {name}" for name, count in counts)
        return f"<Predictions of {len(self)} images: {said}>"

    def _repr_html_(self) -> str:
        names = [name_output(self.class_names, i) for i in range(self.probabilities.shape[1])]
        rows: list[Sequence[object]] = [["image", "predicted", *names]]
        found = zip(self.files, self.predicted, self.probabilities, strict=True)
        rows += [[file, name, *(f"{100 * p:.1f} %" for p in ps)] for file, name, ps in found]
        return html.show_box(repr(self)[1:-1], html.show_table(rows))


def predict_images(
    classifier: RestoredClassifier, images: np.ndarray, files: Sequence[str] = ()
) -> Predictions:
    """Return the predictions for images uint8 [num, height, width] or [..., 1 or 3].

    Images of another size are cut to the central square and scaled (`resize_all`). If the
    classifier needs it, colours become gray, or gray is repeated three times. `files` are the
    names of the images, by default their numbers. Raises `UserError` for any other array.
    """
    shown = match_form(check_images(images), classifier.form.size, classifier.form.channels)
    names = tuple(files) or tuple(map(str, range(len(shown))))
    if len(names) != len(shown):
        raise UserError(
            f"Found {len(shown)} images and {len(names)} names: expected a name for each image."
        )
    return Predictions(names, classifier.class_names, classifier.compute_probabilities(shown))


def explain_images(classifier: RestoredClassifier, images: np.ndarray) -> np.ndarray:
    """Return heatmaps float32 [num, size, size], 0 to 1: where the classifier looks.

    They are of the images as the classifier sees them: see `jaxgan.classifiers.heatmaps`. `images`
    and `UserError` are those of `predict_images`.
    """
    form = classifier.form
    return classifier.compute_heatmaps(match_form(check_images(images), form.size, form.channels))


# Files ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """New images compared with the training images of a run: copies, and distances.

    `copies` has, for each new image that is a copy, the split and the file of the original.
    `is_far` has, by kind of distance, which images [num] are beyond the limit. `unsearched` is the
    notice if not all images of the training's data were searched for copies.
    """

    departures: Mapping[str, Departure]
    copies: Mapping[int, tuple[str, str]]
    is_far: Mapping[str, np.ndarray]
    grays: Mapping[str, float]
    unsearched: str | None = None


@dataclass(frozen=True)
class Heat:
    """The heatmaps of a classifier for its predictions: `shares` [num] of heat by region.

    The share is NaN for an image without heat. `explain` maps images in the classifier's `form` to
    heatmaps.
    """

    shares: Mapping[str, np.ndarray]
    places: tuple[int, int]
    form: Form
    explain: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FolderPredictions:
    """The predictions of classifiers for the images of a folder: `predictions` by run.

    `comparisons` has, by run, the comparison with its training images, or why there is none.
    `origins` has, by run, its folder and which of its classifiers predict. `is_generated` [num]
    marks the images that jaxgan has made. `heat` is empty without `heatmaps`.
    """

    images: NewImages
    class_names: tuple[str, ...]
    predictions: Mapping[str, Predictions]
    comparisons: Mapping[str, Comparison | str]
    origins: Mapping[str, Mapping[str, Any]]
    is_generated: np.ndarray
    form: Form
    notices: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    heat: Mapping[str, Heat] = field(default_factory=dict)


@dataclass
class _Gathered:
    """The results for images that are read in parts."""

    indices: list[int] = field(default_factory=list)
    members: dict[str, list[np.ndarray]] = field(default_factory=dict)
    features: dict[str, list[np.ndarray]] = field(default_factory=dict)
    histograms: dict[str, list[np.ndarray]] = field(default_factory=dict)
    shares: dict[str, list[dict[str, np.ndarray]]] = field(default_factory=dict)
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
    arms: Sequence[str] = (),
    heatmaps: bool = False,
) -> FolderPredictions:
    """Return the predictions of the runs in folders `runs` for the images in a folder or file.

    All runs see the same images, each in the form of its own training. `training_dir` is where the
    training images are now. If a run is a study, the kept classifiers of each of its `arms`
    predict. `heatmaps` also measures where each classifier looks. Raises `UserError`.
    """
    classifiers = _restore_all(runs, arms, checkpoint, cache_dir, training_dir)
    check_same_classes(list(classifiers.values()))
    names = next(iter(classifiers.values())).class_names
    images = find_new_images(path, names, asked)
    references = _find_references(classifiers, cache_dir, training_dir)
    forms, notices = _find_forms(images, classifiers, references)
    bad: list[tuple[str, ImageError]] = []
    gathered = _Gathered()
    unique = list({id(form): form for form in forms.values()}.values())
    for part in read_parts(images, unique, skip_bad=asked.skip_bad_images, bad=bad):
        shown = {run: part.pixels[unique.index(form)] for run, form in forms.items()}
        _gather(gathered, part, images.files)
        _predict_part(gathered, shown, classifiers, references)
        if heatmaps:
            _explain_part(gathered, shown, classifiers)
    if not gathered.indices:
        file, reason = bad[0]
        raise UserError(
            f"None of the {len(bad)} image(s) in {path} can be used: {printable(file)} {reason}."
        )
    taken = images.take(gathered.indices)
    form = next(iter(forms.values()))
    return FolderPredictions(
        taken,
        names,
        {
            run: _join_members(taken.files, names, np.concatenate(found, axis=1))
            for run, found in gathered.members.items()
        },
        _compare(gathered, references),
        {run: classifier.describe() for run, classifier in classifiers.items()},
        np.array(gathered.is_generated),
        form,
        (*images.notices, *notices, *_describe_images(gathered, unique)),
        tuple((file, str(reason)) for file, reason in bad),
        {
            run: _join_heat(parts, classifiers[run], forms[run])
            for run, parts in gathered.shares.items()
        },
    )


def _restore_all(
    runs: Sequence[Path],
    arms: Sequence[str],
    checkpoint: str,
    cache_dir: Path,
    training_dir: Path | None,
) -> dict[str, Restored]:
    """Return the classifiers by name: the folder of the run, with the arm if it is a study."""
    found: dict[str, Restored] = {}
    for run in runs:
        if is_study(run):
            found |= {f"{run} (arm {arm})": restore_arm(run, arm) for arm in arms or [""]}
        else:
            found[str(run)] = restore_classifier(
                run, checkpoint, cache_dir=cache_dir, training_dir=training_dir
            )
    if arms and not any(is_study(run) for run in runs):
        raise UserError(
            f"--arm={','.join(arms)} is for the folder of a study, and {runs[0]} is no study: "
            "remove --arm, or give the folder of the study with --run."
        )
    return found


def _join_members(
    files: tuple[str, ...], class_names: tuple[str, ...], members: np.ndarray
) -> Predictions:
    """Return the mean predictions of classifiers [classifiers, num, outputs]."""
    is_one = len(members) == 1
    mean = members[0] if is_one else members.mean(axis=0)
    return Predictions(files, class_names, mean, None if is_one else members)


def _find_references(
    classifiers: Mapping[str, Restored], cache_dir: Path, training_dir: Path | None
) -> dict[str, Reference | str]:
    """Return, by run, the reference of its training images, or why there is none."""
    found: dict[str, Reference | str] = {}
    for name, classifier in classifiers.items():
        try:
            found[name] = classifier.find_reference(cache_dir, training_dir)
        except UserError as error:
            found[name] = str(error)
    return found


def _find_forms(
    images: NewImages,
    classifiers: Mapping[str, Restored],
    references: Mapping[str, Reference | str],
) -> tuple[dict[str, Form], list[str]]:
    """Return the form of each run, equal forms as one object, and notices.

    Numbers of more than 8 bits are shown over the range of the training. A kind that the training
    did not have is shown over the range that is found for the new images.
    """
    spreads = measure_files(dict(zip(images.files, images.paths, strict=True)))
    found = choose_ranges(list(spreads.values()))
    forms: list[Form] = []
    by_run, notices = {}, list[str]()
    for run, classifier in classifiers.items():
        own, reference = classifier.form, references[run]
        # A kind of the training without a range is shown over all that its bits can hold.
        known = {*own.view.ranges, *(reference.kinds if isinstance(reference, Reference) else ())}
        added = {kind: ends for kind, ends in found.items() if kind not in known}
        form = replace(own, view=View(own.view.asked, {**added, **own.view.ranges}))
        by_run[run] = next((other for other in forms if other == form), form)
        forms.append(by_run[run])
        if own.view.asked is None:
            notices += _describe_ranges(added)
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
    classifiers: Mapping[str, Restored],
    references: Mapping[str, Reference | str],
) -> None:
    """Add the predictions of each run for some images, and their distances from its training."""
    for run, images in shown.items():
        members = classifiers[run].compute_members(images)
        gathered.members.setdefault(run, []).append(members)
        reference = references[run]
        if isinstance(reference, Reference):
            features = reference.compute_features(images)
            gathered.features.setdefault(run, []).append(features)
            gathered.histograms.setdefault(run, []).append(compute_histograms(images))


def _explain_part(
    gathered: _Gathered,
    shown: Mapping[str, np.ndarray],
    classifiers: Mapping[str, Restored],
) -> None:
    """Add the share of heat in each region, for each run and some images."""
    for run, images in shown.items():
        heat = classifiers[run].compute_heatmaps(images)
        regions = create_regions(images.shape[1])
        shares = {name: share_inside(heat, mask) for name, mask in regions.items()}
        gathered.shares.setdefault(run, []).append(shares)


def _join_heat(parts: Sequence[Mapping[str, np.ndarray]], classifier: Restored, form: Form) -> Heat:
    shares = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Heat(shares, classifier.places, form, classifier.compute_heatmaps)


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
    """Return the comparison with training images; copies of these do not count for distances."""
    is_new = ~is_generated
    is_new[[i for i, (split, _) in copies.items() if split == "train"]] = False
    grays = np.arange(histograms.shape[1])
    means = {"training_mean": float(reference.histogram @ grays)}
    searched = reference.thumbnails
    what = "training and validation images"
    unsearched = describe_search(searched.num_searched, searched.num_images, what=what)
    if not is_new.any():
        return Comparison({}, copies, {}, means, unsearched)
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
    return Comparison(departures, copies, is_far, means, unsearched)


def _describe_images(gathered: _Gathered, forms: Sequence[Form]) -> list[str]:
    """Return the notices on how the images are shown to the classifier."""
    cut = compute_cut([width / height for width, height in gathered.sides])
    size = max(form.size for form in forms)
    small = sum(min(sides) < size for sides in gathered.sides)
    few = [f for f, n in gathered.grays.items() if n is not None and n < MIN_GRAYS]
    said = []
    if any(form.fit == "crop" for form in forms) and (cut > WORTH_SAYING).any():
        said.append(
            f"{int((cut > WORTH_SAYING).sum())} of {len(cut)} images are far from square. The "
            f"classifier sees their central square, as in its training: up to {cut.max():.0%} of "
            "an image is cut off."
        )
    if small:
        said.append(f"{small} image(s) have fewer than {size} pixels a side and are enlarged.")
    if few:
        said.append(
            f"Fewer than {MIN_GRAYS} of 256 grays are in {name_some(sorted(few), 'image')}."
        )
    return [*said, *describe_ways(gathered.ways)]


def _describe_ranges(added: Mapping[str, Range]) -> list[str]:
    """Return a notice for each kind of which the run has no range."""
    return [
        f"Images of {kind}: {low:g} is shown as black and {high:g} as white. This is the range of "
        "the new images: the run has none for this kind."
        for kind, (low, high) in sorted(added.items())
    ]
