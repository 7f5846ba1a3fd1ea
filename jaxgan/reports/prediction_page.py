"""Write the page of a prediction: its report.json as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgan.core.untrusted import markdown_text
from jaxgan.reports.heatmaps import describe_heat, is_too_coarse
from jaxgan.reports.tables import format_markdown

Report = Mapping[str, Any]

_MOST_CLASSES = 20  # in a table; report.json has all
_KINDS = {"grays": "gray values, in levels of 256", "features": "encoder features"}


def format_prediction(report: Report) -> str:
    """Return the page of a report of `jaxgan.experiments.prediction_output`."""
    lines = ["# Predictions", "", *_space(report["sentences"])]
    for run, found in report["runs"].items():
        lines += [f"## {markdown_text(run)}", "", *_list_run(found)]
    if report["comparisons"]:
        lines += ["## Differences between the runs", "", *_compare(report["comparisons"])]
    lines += ["## The images", "", *(f"- {markdown_text(said)}" for said in report["notices"])]
    if report["left_out"]:
        lines += ["", "Left out of the numbers:", "", *_list_left_out(report["left_out"])]
    return "\n".join([*lines, "", _ENDING, ""])


_ENDING = (
    "Intervals are 95 % intervals over patients (bootstrap of whole patients). They hold for other "
    "patients like these, not for another training. predictions.csv has each image, report.json "
    "all numbers."
)


def _space(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from (markdown_text(sentence), "")


def _list_run(found: Report) -> Iterator[str]:
    yield from (_describe_origin(found["origin"]), "")
    counts = [f"{markdown_text(name)} {count}" for name, count in found["predicted"].items()]
    yield from (f"Predicted: {', '.join(counts)}.", "")
    if found["departure"]:
        yield from (*format_markdown(list(_list_distances(found["departure"]))), "")
    measured = found["measured"]
    if measured is not None:
        yield from _list_measured(measured)
    if "heat" in found:
        yield from _list_heat(found["heat"])
    for words, file in found["figures"].items():
        yield from (f"![{words}]({file})", "")
    if found["mistakes"]:
        yield from ("The mistakes with the highest probability:", "")
        yield from (*format_markdown(list(_list_mistakes(found["mistakes"]))), "")


def _list_measured(measured: Report) -> Iterator[str]:
    yield from (*format_markdown(list(_list_measures(measured))), "")
    yield from (*format_markdown(list(_list_classes(measured["per_class"]))), "")
    if "by_source" in measured:
        yield from (*format_markdown(list(_list_sources(measured["by_source"]))), "")


def _list_heat(heat: Report) -> Iterator[str]:
    """Yield the lines on where the classifier looks."""
    yield from (describe_heat(heat), "")
    if is_too_coarse(heat["places"]):
        return
    area = heat["area"]
    head = [f"{name}, % (area {100 * area[name]:.0f})" for name in ("centre", "frame")]
    rows = [["heat of", "images", *head], _list_shares("all images", heat["all"])]
    for kind, words in (("by_predicted", "predicted"), ("by_source", "source")):
        for name, found in list(heat.get(kind, {}).items())[:_MOST_CLASSES]:
            rows.append(_list_shares(f"{words} {markdown_text(name)}", found))
    yield from (*format_markdown(rows), "")


def _list_shares(words: str, found: Report) -> list[str]:
    cells = [" ".join(_format_measure(found[name])) for name in ("centre", "frame")]
    return [words, str(found["count"]), *cells]


def _describe_origin(origin: Report) -> str:
    folder = markdown_text(origin["folder"])
    if "arm" not in origin:
        return f"The classifier of step {origin['step']} in {folder}."
    return (
        f"The mean of {origin['classifiers']} of {origin['wanted']} classifiers of the arm "
        f"{markdown_text(origin['arm'])} in {folder}, each after {origin['step']} updates."
    )


def _list_distances(departure: Report) -> Iterator[list[str]]:
    yield [
        "distance from training",
        "new",
        "validation",
        "limit",
        "beyond it",
        "as a whole",
        "limit",
    ]
    for kind, d in departure.items():
        numbers = [f"{d[name]:.3g}" for name in ("median", "yardstick_median", "limit")]
        whole = ["-" if d[name] is None else f"{d[name]:.3g}" for name in ("whole", "whole_limit")]
        yield [_KINDS[kind], *numbers, f"{d['share_beyond']:.0%}", *whole]


def _list_measures(measured: Report) -> Iterator[list[str]]:
    yield ["measure", "value", "95 % interval"]
    for name in ("balanced_accuracy", "accuracy", "macro_f1", "calibration_error"):
        words = name.replace("_", " ").replace("calibration", "expected calibration")
        yield [words, *_format_measure(measured[name])]


def _list_classes(per_class: Report) -> Iterator[list[str]]:
    yield ["class", "images", "sensitivity", "specificity", "AUC", "average precision"]
    for name, found in list(per_class.items())[:_MOST_CLASSES]:
        cells = [" ".join(_format_measure(found[m])) for m in ("sensitivity", "specificity", "auc")]
        precision = found["average_precision"]
        last = "-" if precision is None else f"{100 * precision:.1f}"
        yield [markdown_text(name), str(found["count"]), *cells, last]
    if len(per_class) > _MOST_CLASSES:
        yield [f"{len(per_class) - _MOST_CLASSES} more in report.json", *[""] * 5]


def _list_sources(by_source: Report) -> Iterator[list[str]]:
    yield ["source", "images", "patients", "classes", "accuracy", "balanced accuracy"]
    for name, found in by_source.items():
        classes = sum(c["count"] > 0 for c in found["per_class"].values())
        numbers = [str(found[key]) for key in ("images", "patients")]
        accuracies = [
            " ".join(_format_measure(found[m])) for m in ("accuracy", "balanced_accuracy")
        ]
        yield [markdown_text(name), *numbers, str(classes), *accuracies]


def _list_mistakes(mistakes: Sequence[Report]) -> Iterator[list[str]]:
    yield ["", "file", "is", "predicted", "probability"]
    for number, m in enumerate(mistakes, start=1):
        words = [markdown_text(m[name]) for name in ("file", "true", "predicted")]
        yield [str(number), *words, f"{m['probability']:.0%}"]


def _compare(comparisons: Sequence[Report]) -> Iterator[str]:
    rows = [["run", "minus", "balanced accuracy, points", "95 % interval", "p"]]
    for c in comparisons:
        names = [markdown_text(c[name]) for name in ("run", "less")]
        rows.append([*names, *format_difference(c), f"{c['p']:.3f}"])
    yield from (*format_markdown(rows), "")


def format_difference(comparison: Report) -> tuple[str, str]:
    """Return a difference in points and its interval."""
    interval = comparison["interval"]
    ends = f"{100 * interval[0]:+z.1f} to {100 * interval[1]:+z.1f}" if interval else "-"
    return f"{100 * comparison['difference']:+z.1f}", ends


def _format_measure(measure: Report) -> tuple[str, str]:
    value, interval = measure["value"], measure["interval"]
    ends = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "-"
    return ("-" if value is None else f"{100 * value:.1f}"), f"[{ends}]"


def _list_left_out(left_out: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for reason, files in left_out.items():
        named = ", ".join(markdown_text(file) for file in files[:_MOST_CLASSES])
        more = f" and {len(files) - _MOST_CLASSES} more" if len(files) > _MOST_CLASSES else ""
        yield f"- {len(files)} image(s), {markdown_text(reason)}: {named}{more}."
