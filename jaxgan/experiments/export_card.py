"""The model card of an exported network, and the short programs that load it.

A card names no file, patient or path. The data have the name of their folder, without the folders
above it. The rest is what the run's record and report say.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgan.classifiers.weight_packages import IMAGENET
from jaxgan.core.settings import to_dict
from jaxgan.data.forms import Form
from jaxgan.experiments.classifier_runs import RestoredClassifier
from jaxgan.metrics.kernel_distance import METRIC
from jaxgan.sampling.runs import RestoredRun, find_model
from jaxgan.study.page import create_environment
from jaxgan.training.run_folder import read_data, read_metrics, read_record, read_report

_FITS = {
    "crop": "Cut out the central square",
    "pad": "Add black margins that make it square",
    "stretch": "Compress the longer side so that it is square",
}


def render_card(what: str, words: Mapping[str, Any]) -> str:
    """Return the card of a "classifier" or a "generator" as Markdown."""
    return create_environment().get_template(f"export_{what}.md.j2").render(**words) + "\n"


def render_loader(what: str, name: str, words: Mapping[str, Any]) -> str:
    """Return the program that loads the format `name` without jaxgan."""
    template = create_environment().get_template(f"load_{what}.py.j2")
    return template.render(**words, format=name) + "\n"


# A classifier ------------------------------------------------------------------------------------


def describe_classifier(
    restored: RestoredClassifier, num_outputs: int, checkpoint: str
) -> dict[str, Any]:
    """Return what the card of a classifier says, apart from what is said of every export."""
    record, settings = read_record(restored.run), restored.settings
    report = read_report(restored.run) or {}
    values = to_dict(settings)
    is_file = settings.transfer.weights not in ("", IMAGENET)
    if is_file:  # a path may name a person
        values["transfer"]["weights"] = "FILE"
    weights = record.get("weights")
    return {
        "family": settings.classifier.family,
        "outputs": [*restored.class_names, *_name_outside(restored, num_outputs)],
        "preparation": describe_preparation(restored.form),
        "data": read_data(restored.run),
        "training": read_measures(report, "last", "train"),
        "validation": read_measures(report, "best" if checkpoint == "best" else "last", "val"),
        "num_generated": _sum_counts(record.get("synthetic", {}).get("images")),
        "weights": weights if isinstance(weights, dict) else None,
        "is_imagenet": settings.transfer.weights == IMAGENET,
        "package": restored.classifier.package,
        "settings": values,
    }


def _name_outside(restored: RestoredClassifier, num_outputs: int) -> list[str]:
    """Return names for the outputs that are no class, as in predictions.csv."""
    return [f"outside_{i + 1}" for i in range(num_outputs - len(restored.class_names))]


def _sum_counts(counts: Any) -> int:
    values = counts.values() if isinstance(counts, dict) else ()
    return sum(value for value in values if isinstance(value, int))


def describe_preparation(form: Form) -> list[str]:
    """Return the steps that turn an image into the program's input, as sentences."""
    gray = "gray" if form.channels == 1 else "RGB"
    size = f"{form.size}x{form.size}"
    steps = [
        f"{_FITS[form.fit]}.",
        f"Scale it to {size} pixels: the mean of an area down, bilinear up.",
        f"Give {gray} values as uint8: 0 is black, 255 is white.",
    ]
    shown = [
        f"Images of {kind}: {low:g} is 0 and {high:g} is 255."
        for kind, (low, high) in sorted(form.view.ranges.items())
    ]
    if form.view.asked is not None:
        low, high = form.view.asked
        shown = [f"Images of more than 8 bits: {low:g} is 0 and {high:g} is 255."]
    return [*steps, *shown]


def read_measures(report: Mapping[str, Any], which: str, part: str) -> dict[str, Any] | None:
    """Return the measures of a classifier's report: None if it has none, or was edited."""
    try:
        found = report[which][part]
        return {
            "count": int(found["count"]),
            "accuracy": _read_measure(found["accuracy"]),
            "balanced_accuracy": float(found["balanced_accuracy"]),
            "per_class": {
                str(name): {
                    "count": int(row["count"]),
                    **{key: _read_measure(row[key]) for key in ("sensitivity", "specificity")},
                    "auc": _read_measure(row["auc"]),
                }
                for name, row in found["per_class"].items()
            },
        }
    except (TypeError, LookupError, ValueError, AttributeError):
        return None


def _read_measure(measure: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measure's value and interval, each None if it is not defined."""
    value, interval = measure["value"], measure["interval"]
    return {
        "value": None if value is None else float(value),
        "interval": None if interval is None else [float(end) for end in interval],
    }


# A generator -------------------------------------------------------------------------------------


def describe_generator(
    run: Path, restored: RestoredRun, image_shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return what the card of a generator says, apart from what is said of every export."""
    settings, record = restored.settings, read_record(run)
    model, report = find_model(run), read_report(run) or {}
    lines = [line for line in read_metrics(model) if METRIC in line]
    measured = [line for line in lines if line["step"] <= restored.step]
    collapse = report.get("collapse")
    has_all = bool(settings.gan.num_classes) and restored.label is None
    return {
        "family": settings.gan.family,
        "class_name": None if has_all else str(record.get("class", "unknown")),
        "image_shape": image_shape,
        "data": read_data(run),
        "batch_size": settings.batch_size,
        "distance": measured[-1] if measured else None,
        "metric": METRIC,
        "floor": report.get("floor"),
        "collapse": collapse if isinstance(collapse, str) else None,
        "settings": to_dict(settings),
    }
