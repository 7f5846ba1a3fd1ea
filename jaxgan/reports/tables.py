"""Plain-text tables of the results of runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan.core.console import say
from jaxgan.core.untrusted import printable
from jaxgan.metrics.classification import compute_smallest_gain

Row = tuple[str, list[str]]

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
ARMS = ("real", "augmented")
_MOST_CLASSES, _SHOWN_CLASSES = 20, 10  # of more than 20 classes, 10 are shown


def format_arms(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the report.json of one or several arms of a classifier, side by side.

    `reports` maps the name of an arm ('real', 'augmented') to its report. The figures are those of
    the last epoch. Brackets hold 95 % intervals. If both arms are there, a last paragraph says what
    the difference between their validation accuracies can show.
    """
    arms = [*(a for a in ARMS if a in reports), *(a for a in reports if a not in ARMS)]
    rows = list(_list_rows([reports[arm] for arm in arms]))
    lines = _align([("", arms), *rows])
    lines += ["", "Brackets: 95 % intervals. Figures of the last epoch."]
    if max(len(r["synthetic_images"]) for r in reports.values()) > _MOST_CLASSES:
        lines.append(
            f"Shown: the {_SHOWN_CLASSES} classes with the lowest sensitivity. report.json has all "
            "classes."
        )
    lines += [_describe_best(arm, reports[arm]["best"]) for arm in arms if "best" in reports[arm]]
    if all(arm in reports for arm in ARMS):
        lines += ["", _describe_difference(reports["real"], reports["augmented"])]
    return "\n".join(lines) + "\n"


def read_arm(path: Path) -> dict[str, Any] | None:
    """Return the report.json of an arm; None, with a sentence, if it is damaged or edited."""
    try:
        report = dict(json.loads(path.read_bytes()))
        format_arms(dict.fromkeys(ARMS, report))  # reads everything that a table needs
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        say(
            f"{printable(str(path))} is damaged or was edited, and is left out of the table. "
            "Remove it, and finished.json in the same folder. Then start the same training command "
            "again: it writes both files."
        )
        return None
    return report


_SCORES = {
    "kernel_distance": "kernel distance",
    "frechet_distance": "Frechet distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "sliced_wasserstein": "sliced Wasserstein",
    "diversity": "diversity",
    "gan_train": "GAN-train",
    "gan_test": "GAN-test",
    "memorisation": "memorisation",
}
_INCEPTION_SIDES = ("against_held_out", "against_train")  # the first that there is comes first


_OUTSIDE = "outside_kernel_distance"  # of `compare_rules`


def format_evaluation(result: Mapping[str, Any]) -> str:
    """Return a table of an evaluation: value, interval, floor and n, one block per comparison."""
    rows: list[Row] = [("", ["value", "95 % interval", "real against real", "n"])]
    rows += _list_scores(result, f"against {result['against']['name']}")
    if "pixels" in result:
        rows += _list_scores(result["pixels"], "in pixels")
    if "encoder" in result:
        rows += _list_scores(result["encoder"], "in the own encoder")
    if "outside" in result:
        rows += _list_scores(result["outside"], f"in {result['outside']['features']}")
    if "against_train" in result:
        rows += _list_scores(result["against_train"], "against the training images")
    for side in _INCEPTION_SIDES:
        rows += _list_inception(result, side)
    lines = _align(rows)
    lines += ["", f"Features: {result['features']}.", *_describe_equivalents(result)]
    lines += result["notes"]
    return "\n".join(lines) + "\n"


def _describe_equivalents(result: Mapping[str, Any]) -> Iterator[str]:
    """Give what each kernel distance looks like, and what its ruler does not see."""
    for block in (result, result.get("outside", {})):
        found = block.get("equivalent")
        if found is None:
            continue
        if found["sentence"] is not None:
            yield f"Kernel distance in {block['features']}: {found['sentence']}."
        if found["not_seen"]:
            yield (
                f"Kernel distance in {block['features']}: it does not see "
                f"{' or '.join(map(_name_degradation, found['not_seen']))} here. Even the "
                "strongest that was tried is within the floor."
            )


def _name_degradation(name: str) -> str:
    return f"a mixture with {name}" if name.startswith("class ") else name


def list_measures(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of a short table: the heading and the first comparison of an evaluation."""
    rows = [["measure", "value", "95 % interval", "real against real", "images"]]
    found = list(_list_scores(result, ""))
    by_inception = (list(_list_inception(result, side)) for side in _INCEPTION_SIDES)
    found += next(filter(None, by_inception), [])
    return rows + [[label.strip(), *cells] for label, cells in found if cells]


def format_rules(result: Mapping[str, Any]) -> str:
    """Return a table of a `compare_rules` result, one line per rule, and its answer."""
    labels = {"kernel_distance": "kernel distance", _OUTSIDE: "in the outside ruler"}
    labels |= {name: _SCORES[name] for name in ("precision", "recall", "memorisation")}
    if not all(_OUTSIDE in found for found in result["rules"].values()):
        del labels[_OUTSIDE]
    names = list(labels)
    rows: list[Row] = [("rule", ["kept", "share", *labels.values()])]
    for rule, found in result["rules"].items():
        cells = [str(found["num_kept"]), _format_score(found["kept_fraction"])]
        rows.append((rule, [*cells, *(_format_score(found[name]) for name in names)]))
    lines = [*_align(rows), "", result["answer"], f"Features: {result['features']}."]
    return "\n".join([*lines, *result["notes"]]) + "\n"


def format_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; the first row is the heading."""
    head, *lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [head, "|---" * len(rows[0]) + "|", *lines]


def _format_score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    flag = " COPIES" if score.get("flag") else ""
    return f"{score['value']:.3g} {_format_range(score['interval'])}{flag}"


def _list_scores(scores: Mapping[str, Any], title: str) -> Iterator[Row]:
    """Give the rows of one comparison."""
    yield "", []
    yield title, []
    for key, label in _SCORES.items():
        score = scores.get(key)
        if score is not None and score["value"] is not None:
            cells = [f"{score['value']:.4g}", _format_range(score["interval"])]
            flag = "  COPIES" if score.get("flag") else ""
            yield f"  {label}", [*cells, f"{score['floor']:.4g}", f"{score['n']}{flag}"]


def _list_inception(result: Mapping[str, Any], side: str) -> Iterator[Row]:
    """Give the rows of one side of the block `inception`, if there is one."""
    block = result.get("inception") or {}
    if not block.get(side):
        return
    known = result[side.removeprefix("against_")]["name"]
    real = block["real_against_real"] if side == "against_held_out" else {}
    yield "", []
    yield f"{block['features']}, against {known}", []
    for key, score in block[side].items():
        label = key.upper() if block["is_published"] else f"{_SCORES[key]} in {block['file']}"
        floor = f"{real[key]['value']:.4g}" if real else "-"
        n = " and ".join(map(str, score["n"]))
        yield f"  {label}", [f"{score['value']:.4g}", "-", floor, n]


def _format_range(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"[{interval[0]:.4g}, {interval[1]:.4g}]"


def _list_rows(reports: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Give the rows of the table, one cell per arm; a row without cells starts a section."""
    yield "data", [r["data"]["name"] for r in reports]
    yield "epochs", [str(r["epochs"]) for r in reports]
    synthetic = [r["synthetic_images"] for r in reports]
    yield "synthetic images", [str(sum(counts.values())) for counts in synthetic]
    names = _merge(synthetic)
    for name in names if len(names) <= _MOST_CLASSES else names[:_SHOWN_CLASSES]:
        yield f"  {name}", [str(counts.get(name, 0)) for counts in synthetic]
    if len(names) > _MOST_CLASSES:
        yield f"  {len(names) - _SHOWN_CLASSES} more", []
    for split in _merge([r["last"] for r in reports]):
        yield "", []
        yield _SPLITS.get(split, split), []
        yield from _list_split_rows([r["last"].get(split) for r in reports])


def _list_split_rows(results: Sequence[Mapping[str, Any] | None]) -> Iterator[Row]:
    """Give the rows of one split; an arm without this split has dashes."""
    yield "  images", ["-" if r is None else str(r["count"]) for r in results]
    yield "  accuracy", ["-" if r is None else _format_accuracy(r) for r in results]
    yield (
        "  balanced accuracy",
        ["-" if r is None else f"{100 * r['balanced_accuracy']:.1f} %" for r in results],
    )
    classes = [{} if r is None else r["per_class"] for r in results]
    names = _merge(classes)
    shown = names if len(names) <= _MOST_CLASSES else _find_weakest(classes, names)
    for name in shown:
        counts = [str(c[name]["count"]) if name in c else "-" for c in classes]
        yield f"  {name}", [f"{count} images" for count in counts]
        for measure in ("sensitivity", "specificity", "auc"):
            label = "AUC" if measure == "auc" else measure
            yield f"    {label}", [_format_measure(c.get(name, {}).get(measure)) for c in classes]
    if len(shown) < len(names):
        yield f"  {len(names) - len(shown)} more", []


def _find_weakest(classes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the classes with the lowest mean sensitivity over arms, in order of appearance."""

    def compute(name: str) -> float:
        found = [c[name]["sensitivity"]["value"] for c in classes if name in c]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else 2.0  # a class without images comes last

    weakest = set(sorted(names, key=compute)[:_SHOWN_CLASSES])
    return [name for name in names if name in weakest]


def _merge(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of all mappings, each once, in order of appearance."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _format_measure(measure: Mapping[str, Any] | None) -> str:
    """Write a share in percent, or an AUC (it counts no images) with three decimals."""
    if measure is None or measure["value"] is None:
        return "-"
    low, high = measure["interval"]
    if "correct" in measure:
        return f"{100 * measure['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{measure['value']:.3f} [{low:.3f}, {high:.3f}]"


def _format_accuracy(result: Mapping[str, Any]) -> str:
    accuracy = result["accuracy"]
    return f"{_format_measure(accuracy)} {accuracy['correct']}/{result['count']}"


def _align(rows: Sequence[Row]) -> list[str]:
    """Pad the label and each column to its widest cell."""
    label_width = max(len(label) for label, _ in rows)
    num_columns = max(len(cells) for _, cells in rows)
    widths = [
        max(len(cells[column]) for _, cells in rows if cells) for column in range(num_columns)
    ]
    return [
        "   ".join(
            [label.ljust(label_width)]
            + [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        ).rstrip()
        for label, cells in rows
    ]


def _describe_best(arm: str, best: Mapping[str, Any]) -> str:
    """Describe the best epoch in one line, and note that this accuracy was used to choose it."""
    splits = [
        f"{_SPLITS[split]} accuracy {_format_accuracy(best[split])}"
        for split in ("val", "test")
        if split in best
    ]
    return f"Best epoch of '{arm}': {best['epoch']}, {', '.join(splits)} ({best['note']})."


def _describe_difference(real: Mapping[str, Any], augmented: Mapping[str, Any]) -> str:
    """Say how the validation accuracies of the arms differ, and what one run per arm can show."""
    before, after = real["last"]["val"], augmented["last"]["val"]
    count = before["count"]
    if real["data"]["fingerprint"] != augmented["data"]["fingerprint"] or count != after["count"]:
        return (
            "The two arms were not run on the same data (name, content or split differ), so their "
            "figures can not be compared. Run the older arm again."
        )
    if real["epochs"] != augmented["epochs"]:
        return (
            f"The arms ran for {real['epochs']} and {augmented['epochs']} epochs, so their "
            "difference is not due to the synthetic images alone. Run both for the same number of "
            "epochs."
        )
    images = after["accuracy"]["correct"] - before["accuracy"]["correct"]
    lower = min(before["accuracy"]["value"], after["accuracy"]["value"])
    difference = (
        f"Validation accuracy, augmented minus real: {100 * images / count:+z.1f} points "
        f"({images:+d} of {count} images). "
    )
    smallest = compute_smallest_gain(accuracy=lower, count=count)
    if smallest is None:
        return difference + (
            f"With {count} images and {100 * lower:.1f} % in the weaker arm, no gain can be shown, "
            "however large (80 % power, unpaired). So this is not a verdict."
        )
    limit = f"a difference smaller than about {100 * smallest:.0f} points"
    if abs(images) / count < smallest:
        return difference + (
            f"One run per arm on {count} images can not show {limit} "
            "(80 % power, two-sided 5 %, unpaired). So this is not a verdict."
        )
    return difference + (
        f"The difference is too large for chance in drawing {count} images ({limit} could not be "
        "shown; 80 % power, two-sided 5 %, unpaired). But one run per arm does not show how much "
        "runs differ between seeds. So this is not a verdict: repeat it with other seeds."
    )
