"""Write the results of a prediction: predictions.csv, report.json, report.md and figures."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import list_some, name_few
from jaxgan.core.files import make_folder, write_json, write_text
from jaxgan.core.untrusted import csv_cell, printable
from jaxgan.core.versions import get_versions
from jaxgan.data.forms import prepare_image
from jaxgan.data.limits import read_file
from jaxgan.experiments.predict import Comparison, FolderPredictions
from jaxgan.experiments.prediction_heat import describe_heat, draw_heat
from jaxgan.experiments.prediction_report import (
    Truth,
    compare_runs,
    list_mistakes,
    measure_members,
    measure_run,
    number,
)
from jaxgan.metrics.departure import Departure
from jaxgan.reports import prediction_figures
from jaxgan.reports.prediction_page import format_difference, format_prediction

_SHOWN_SIDE = 192  # pixels of an image on the sheet of mistakes
_COPY = "copies of training images"
_GENERATED = "made by jaxgan"
_NO_CLASS = "without a true class"
_STRANGE = "of a class that the classifier does not know"


@dataclass(frozen=True)
class Counted:
    """The images that count: their `indices`, and the `truth` of each; None if no image counts.

    `reasons` has, for each image, why it is left out; "" if it counts.
    """

    reasons: tuple[str, ...]
    indices: np.ndarray
    truth: Truth | None


def report_predictions(found: FolderPredictions, out: Path) -> dict[str, Any]:
    """Write the table, the report and the figures to the folder `out`; print the main results.

    Returns the content of `report.json`.
    """
    counted = count_images(found)
    make_folder(out)
    write_text(out / "predictions.csv", format_csv(found, counted))
    report = create_report(found, counted)
    for number_of_run, run in enumerate(found.predictions, start=1):
        suffix = f"_{number_of_run}" if len(found.predictions) > 1 else ""
        report["runs"][run]["figures"] = _draw(found, counted, report, run, out, suffix)
        if run in found.heat:
            _add_heat(found, counted, report["runs"][run], run, out, suffix)
    write_json(out / "report.json", report)
    write_text(out / "report.md", format_prediction(report))
    for sentence in (*report["sentences"], *report["notices"]):
        say(printable(sentence))
    say(f"Each image is in {out / 'predictions.csv'}, the report in {out / 'report.md'}.")
    return report


# Which images count -----------------------------------------------------------------------------


def count_images(found: FolderPredictions) -> Counted:
    """Return the images that count: those of a known class that no training has seen."""
    images, names = found.images, found.class_names
    copied = {
        index
        for comparison in found.comparisons.values()
        if isinstance(comparison, Comparison)
        for index, (split, _) in comparison.copies.items()
        if split == "train"
    }
    reasons = tuple(
        _find_reason(found, index, is_copy=index in copied) for index in range(len(images))
    )
    indices = np.flatnonzero([not reason for reason in reasons])
    if not len(indices):
        return Counted(reasons, indices, None)
    labels = np.array([names.index(images.classes[i] or "") for i in indices], np.int64)
    owners = [images.patients[i] or f"\0{images.files[i]}" for i in indices]
    sources = tuple(images.sources[i] for i in indices) if images.sources else ()
    return Counted(reasons, indices, Truth(names, labels, number(owners), sources))


def _find_reason(found: FolderPredictions, index: int, *, is_copy: bool) -> str:
    word = found.images.classes[index]
    if is_copy:
        return _COPY
    if found.is_generated[index]:
        return _GENERATED
    if word is None:
        return _NO_CLASS
    return "" if word in found.class_names else _STRANGE


# predictions.csv --------------------------------------------------------------------------------


def format_csv(found: FolderPredictions, counted: Counted) -> str:
    """Return the table of all predictions: a line for each image and run.

    A run without an output that another run has leaves its column empty.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    outputs = max(p.probabilities.shape[1] for p in found.predictions.values())
    names = [*found.class_names, *(f"outside_{i + 1}" for i in range(outputs))][:outputs]
    has_sources = bool(found.images.sources)
    head = ["run", "file", "patient", *(["source"] if has_sources else [])]
    has_spread = any(p.spread is not None for p in found.predictions.values())
    spread = ["spread"] if has_spread else []
    head += [
        *(f"p_{name}" for name in names),
        *spread,
        "predicted",
        "true",
        "left_out",
        "unlike_training",
    ]
    writer.writerow([csv_cell(cell) for cell in head])
    for run in found.predictions:
        for row in _list_rows(found, counted, run, outputs, has_spread=has_spread):
            writer.writerow([csv_cell(cell) for cell in row])
    return buffer.getvalue()


def _list_rows(
    found: FolderPredictions, counted: Counted, run: str, outputs: int, *, has_spread: bool
) -> Iterator[list[object]]:
    images, predictions = found.images, found.predictions[run]
    comparison = found.comparisons[run]
    for i, (file, called) in enumerate(zip(images.files, predictions.predicted, strict=True)):
        source = [images.sources[i]] if images.sources else []
        row: list[object] = [run, file, images.patients[i] or "", *source]
        row += [f"{p:.6f}" for p in predictions.probabilities[i]]
        row += [""] * (outputs - predictions.probabilities.shape[1])
        if has_spread:
            row.append("" if predictions.spread is None else f"{predictions.spread[i]:.6f}")
        row += [
            called,
            images.classes[i] or "",
            _describe_reason(counted.reasons[i], comparison, i),
        ]
        yield [*row, _list_far(comparison, i)]


def _describe_reason(reason: str, comparison: Comparison | str, index: int) -> str:
    if reason != _COPY:
        return reason
    if isinstance(comparison, str) or index not in comparison.copies:
        return "a copy of a training image of another run"
    return f"a copy of {comparison.copies[index][1]}"


def _list_far(comparison: Comparison | str, index: int) -> str:
    """Return the kinds of distance in which an image is beyond the limit."""
    if isinstance(comparison, str):
        return "not known"
    return " and ".join(kind for kind, far in comparison.is_far.items() if far[index])


# The report -------------------------------------------------------------------------------------


def create_report(found: FolderPredictions, counted: Counted) -> dict[str, Any]:
    """Return the content of report.json, without the figures."""
    truth, runs = counted.truth, {}
    for run, predictions in found.predictions.items():
        comparison = found.comparisons[run]
        chosen = predictions.probabilities[counted.indices]
        mistakes = list_mistakes(chosen, truth) if truth else []
        runs[run] = {
            "origin": dict(found.origins[run]),
            "predicted": dict(Counter(predictions.predicted).most_common()),
            "departure": _describe_departure(comparison),
            "departure_unknown": comparison if isinstance(comparison, str) else None,
            "measured": measure_run(chosen, truth) if truth else None,
            "single": _measure_single(predictions.members, counted),
            "mistakes": [
                {**m, "index": int(i), "file": found.images.files[i]}
                for m in mistakes
                for i in (counted.indices[m["index"]],)
            ],
        }
    chosen_of = {run: p.probabilities[counted.indices] for run, p in found.predictions.items()}
    comparisons = compare_runs(chosen_of, truth) if truth and len(runs) > 1 else []
    report = {
        "classes": list(found.class_names),
        "num_images": len(found.images),
        "runs": runs,
        "comparisons": comparisons,
        "left_out": _list_left_out(found, counted),
        "skipped": [f"{file} {reason}" for file, reason in found.skipped],
        "versions": get_versions(),
    }
    sentences = [*_describe_results(report), *_describe_distances(found)]
    return {**report, "sentences": sentences, "notices": _list_notices(found, counted)}


def _measure_single(members: np.ndarray | None, counted: Counted) -> dict[str, Any] | None:
    """Return the balanced accuracy of each single classifier; None if there is only one."""
    if members is None or counted.truth is None:
        return None
    return measure_members(members[:, counted.indices], counted.truth)


def _describe_departure(comparison: Comparison | str) -> dict[str, Any]:
    if isinstance(comparison, str):
        return {}
    return {kind: departure.to_json() for kind, departure in comparison.departures.items()}


def _list_left_out(found: FolderPredictions, counted: Counted) -> dict[str, list[str]]:
    if counted.truth is None and set(counted.reasons) == {_NO_CLASS}:
        return {}
    files: dict[str, list[str]] = {}
    for file, reason in zip(found.images.files, counted.reasons, strict=True):
        if reason:
            files.setdefault(reason, []).append(file)
    return files


def _describe_results(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each run, and one for each pair of runs."""
    for run, found in report["runs"].items():
        measured = found["measured"]
        said = _describe_counts(run, found) if measured is None else _describe_run(run, measured)
        yield f"{said}{_describe_single(found['single'])}"
    for c in report["comparisons"]:
        points, ends = format_difference(c)
        is_clear = c["interval"] and not c["interval"][0] <= 0 <= c["interval"][1]
        chance = "more than chance for these patients" if is_clear else "no more than chance"
        yield f"{c['run']} minus {c['less']}: {points} points [{ends}], which is {chance}."


def _describe_counts(run: str, found: Mapping[str, Any]) -> str:
    counts = [f"{count} {name}" for name, count in found["predicted"].items()]
    total = sum(found["predicted"].values())
    return f"{run} predicts {total} image(s): {list_some(counts)}. No true class is known."


def _describe_run(run: str, measured: Mapping[str, Any]) -> str:
    num, accuracy = measured["images"], measured["accuracy"]["value"]
    right = (
        f"{run} is right about {round(num * accuracy)} of {num} image(s) of "
        f"{measured['patients']} patient(s), {_percent(accuracy)} %."
    )
    if measured["chance"] == 1.0:
        return right
    balanced = measured["balanced_accuracy"]
    ends = ""
    if balanced["interval"]:
        low, high = map(_percent, balanced["interval"])
        ends = f", 95 % interval {low} to {high} %"
    return (
        f"{right} Its balanced accuracy is {_percent(balanced['value'])} %{ends}; guessing gives "
        f"{_percent(measured['chance'])} %."
    )


def _describe_single(single: Mapping[str, Any] | None) -> str:
    if single is None:
        return ""
    ends = " to ".join(_percent(single[end]) for end in ("lowest", "highest"))
    num = single["classifiers"]
    return f" This is the mean of {num} classifiers; single classifiers have {ends} %."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _describe_distances(found: FolderPredictions) -> list[str]:
    """Return a sentence on the distance from the training for each run; equal ones once."""
    sentences = [_describe_distance(c) for c in found.comparisons.values()]
    if len(set(sentences)) == 1:
        return sentences[:1]
    runs = found.comparisons
    return [f"{run}: {sentence}" for run, sentence in zip(runs, sentences, strict=True)]


def _describe_distance(comparison: Comparison | str) -> str:
    if isinstance(comparison, str):
        return (
            "It is not known how far these images are from the training images, and which of them "
            f"are copies of these. So the numbers can be too good. {comparison}"
        )
    if not comparison.departures:
        return "All these images are copies of training images, or made by jaxgan."
    reasons = [r for kind, d in comparison.departures.items() for r in _explain(kind, d)]
    if not reasons:
        return (
            "These images are about as near to the training images as the validation images are, "
            "by their grays and by their features."
        )
    grays = comparison.grays
    return (
        f"Beware: these images differ from the training images ({'; '.join(reasons)}; mean gray "
        f"{grays['mean']:.0f}, in training {grays['training_mean']:.0f}), so every number here is "
        "doubtful."
    )


def _explain(kind: str, departure: Departure) -> Iterator[str]:
    """Yield the reasons why a kind of distance makes the numbers doubtful."""
    if departure.is_whole_beyond and departure.whole is not None:
        times = departure.whole / departure.whole_limit
        yield f"their {kind} differ {times:.1f} times as much as those of the training's classes"
    if departure.has_many_beyond:
        yield (
            f"{departure.share_beyond:.0%} are farther away by their {kind} than 95 % of the "
            "validation images"
        )


def _list_notices(found: FolderPredictions, counted: Counted) -> list[str]:
    """Return the notices on the images."""
    notices = [*_describe_left_out(found, counted), *found.notices]
    truth = counted.truth
    if truth is not None:
        present = set(truth.labels.tolist())
        missing = [name for i, name in enumerate(truth.class_names) if i not in present]
        if missing:
            notices.append(
                f"No image that counts is of {list_some(missing)}: this is not measured, and "
                "balanced accuracy is the mean over the other classes."
            )
        unknown = sum(found.images.patients[i] is None for i in counted.indices)
        if unknown:
            notices.append(
                f"The patient of {unknown} of {len(truth)} images is not known: each of these "
                "counts as one patient. If patients have several images, intervals are too narrow."
            )
    if found.skipped:
        named = name_few([f"{file} {reason}" for file, reason in found.skipped])
        notices.append(f"{len(found.skipped)} image(s) can not be used and are skipped: {named}.")
    return notices


def _describe_left_out(found: FolderPredictions, counted: Counted) -> Iterator[str]:
    for reason, files in _list_left_out(found, counted).items():
        words = sorted({w for w in found.images.classes if w and w not in found.class_names})
        which = f" ({list_some(words)})" if reason == _STRANGE else ""
        yield (
            f"{len(files)} image(s) are {reason}{which}, and are predicted but left out of the "
            f"numbers: {name_few(files)}."
        )
    for run, comparison in found.comparisons.items():
        if isinstance(comparison, Comparison):
            seen = [i for i, (split, _) in comparison.copies.items() if split == "val"]
            if seen:
                yield (
                    f"{len(seen)} image(s) are copies of validation images of {run}. They count. "
                    "If settings or a checkpoint were chosen by these, the numbers are too good."
                )
            if comparison.unsearched:
                yield f"{run}: {comparison.unsearched}"


# Figures ----------------------------------------------------------------------------------------


def _draw(
    found: FolderPredictions,
    counted: Counted,
    report: Mapping[str, Any],
    run: str,
    out: Path,
    suffix: str,
) -> dict[str, str]:
    """Draw the figures of a run; return their files by title."""
    truth, measured = counted.truth, report["runs"][run]["measured"]
    if truth is None:
        return {}
    probabilities = found.predictions[run].probabilities[counted.indices]
    mistakes = report["runs"][run]["mistakes"]
    title = f"{Path(run).name}: {measured['images']} new images"

    def draw_curves(path: Path) -> None:
        prediction_figures.plot_curves(probabilities, truth.labels, measured, path, title=title)

    def draw_confusions(path: Path) -> None:
        predicted = probabilities.argmax(axis=1)
        prediction_figures.plot_confusions(truth.labels, predicted, measured, path, title=title)

    def draw_mistakes(path: Path) -> None:
        shown = [_read_shown(found, m["index"]) for m in mistakes]
        words = f"{title}: the mistakes with the highest probability"
        prediction_figures.plot_mistakes(shown, mistakes, path, title=words)

    drawings: dict[str, tuple[str, Callable[[Path], None]]] = {
        "curves": ("ROC, precision-recall and reliability", draw_curves),
        "confusion_matrix": ("Confusion matrix", draw_confusions),
    }
    if mistakes:
        drawings["mistakes"] = ("The mistakes with the highest probability", draw_mistakes)
    figures = {}
    for name, (words, draw) in drawings.items():
        file = f"figures/{name}{suffix}.png"
        draw(out / file)
        figures[words] = file
    return figures


def _add_heat(
    found: FolderPredictions,
    counted: Counted,
    described: dict[str, Any],
    run: str,
    out: Path,
    suffix: str,
) -> None:
    """Add the heat to a run's report; without true classes, that of all new images."""
    is_new = [reason in ("", _NO_CLASS, _STRANGE) for reason in counted.reasons]
    indices = counted.indices if counted.truth else np.flatnonzero(is_new)
    if len(indices):
        described["heat"] = describe_heat(found, run, indices, described["mistakes"])
        file = f"figures/heatmaps{suffix}.png"
        described["figures"] |= draw_heat(found, run, described["heat"], out, file)


def _read_shown(found: FolderPredictions, index: int) -> np.ndarray:
    """Return an image for the sheet of mistakes: uint8 [side, side, 1 or 3]."""
    form = replace(found.form, size=_SHOWN_SIDE)
    content = read_file(found.images.root / found.images.files[index])
    return prepare_image(content, [form]).pixels[0]
