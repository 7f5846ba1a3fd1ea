"""Write report.html, report.json, summary.md and one model card per generator."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from jaxgan.core.console import say
from jaxgan.core.files import write_bytes, write_json, write_text
from jaxgan.core.untrusted import markdown_text
from jaxgan.reports import drawing, study_figures
from jaxgan.study import fidelity
from jaxgan.study.analysis import analyse
from jaxgan.study.generators import describe_generator
from jaxgan.study.heat import draw_heat
from jaxgan.study.memory import join_generated
from jaxgan.study.results import StudyResults
from jaxgan.study.settings import SEED_STRIDE

_SHOWN = 8  # images in a row
MOST_CLASSES = 12  # in a table, and with pictures of their own
MOST_LISTED = 20  # failures, and confusions of so many classes
_LONGEST = 40  # letters of a class's name in a file's
_GAN_CURVES = {"loss_d": "D", "loss_g": "G"}
WORDS = {
    "incomplete": "Incomplete: no verdict on all arms",
    "helps": "GAN augmentation helps",
    "no_evidence": "No evidence either way",
    "hurts": "GAN augmentation hurts",
}


def write_study(results: StudyResults, workdir: Path, *, command: str) -> dict[str, Any]:
    """Write the results of the study to `workdir`, and the verdict to standard output.

    Returns what is in `report.json`.
    """
    report = analyse(results)
    report["command"] = command
    write_json(workdir / "report.json", report)
    pictures = draw_pictures(results, report, workdir / "figures")
    environment, classes = create_environment(), choose_classes(report)
    words = {
        "report": report,
        "title": WORDS[report["verdict"]],
        "most_listed": MOST_LISTED,
        "qualities": choose_qualities(report, classes),
    }
    page = environment.get_template("report.html.j2").render(
        **words,
        pictures=pictures,
        forest=lay_out_forest(report),
        classes=classes,
        has_matrices=len(report["data"]["classes"]) <= MOST_CLASSES,
        data=_shorten_data(report["data"]),
    )
    write_text(workdir / "report.html", page)
    write_text(workdir / "summary.md", environment.get_template("summary.md.j2").render(**words))
    _write_cards(results, report, workdir / "generators", environment)
    for sentence in (*report["leaks"]["sentences"], report["sentence"]):
        say(sentence)
    if report["fidelity"]:
        say(report["fidelity"]["sentence"])
    for failure in report["failures"][:MOST_LISTED]:
        say(f"Not done: {failure['name']}: {failure['reason']}")
    if len(report["failures"]) > MOST_LISTED:
        say(f"Not done: {len(report['failures']) - MOST_LISTED} more: see report.json.")
    for arm in report["not_judged"]:
        say(f"Not in the verdict: {arm['arm']}: {arm['reason']}")
    say(f"The page: {workdir / 'report.html'}")
    return report


def choose_classes(report: Mapping[str, Any]) -> list[str]:
    """Return the classes of the page's table: all, or the weakest ones of the first arm."""
    names = list(report["data"]["classes"])
    found = [arm["report"]["per_class"] for arm in report["arms"].values() if arm["report"]]
    if len(names) <= MOST_CLASSES or not found:
        return names[:MOST_CLASSES]
    rates = {name: found[0][name]["sensitivity"]["value"] for name in names}
    worst = sorted(names, key=lambda name: 1.0 if rates[name] is None else rates[name])
    return sorted(worst[:MOST_CLASSES], key=names.index)


def choose_qualities(report: Mapping[str, Any], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of the table of generators: those of the classes that the page shows."""
    rows = report["fidelity"]["classes"] if report["fidelity"] else []
    return [row for row in rows if row["class"] in classes]


def _shorten_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of the data: the first of many classes."""
    classes = dict(list(data["classes"].items())[:MOST_CLASSES])
    if len(data["classes"]) > MOST_CLASSES:
        classes["..."] = f"{len(data['classes'])} classes, see report.json"
    return {**data, "classes": classes}


def create_environment() -> jinja2.Environment:
    """Return the templates of pages and cards, with the filters that they use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxgan.study"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": _format_percent,
        "points": _format_points,
        "interval": _format_interval,
        "p": _format_p,
        "spread": _format_spread,
        "added": _format_added,
        "count": lambda value: "-" if value is None else f"{value:,}",
        "plain": markdown_text,
        "json": lambda value: json.dumps(value, indent=2),
    }
    return environment


def _format_percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _format_points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+z.1f}".replace("-", "\N{MINUS SIGN}")


def _format_interval(interval: Sequence[float] | None, kind: str = "percent") -> str:
    if interval is None:
        return "-"
    if kind == "points":
        return f"{_format_points(interval[0])} to {_format_points(interval[1])}"
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _format_added(by_class: Mapping[str, float]) -> str:
    counts = [round(count) for count in by_class.values()]
    if len(counts) <= MOST_CLASSES:
        return " / ".join(map(str, counts))
    return f"{sum(counts):,}, {min(counts)} to {max(counts)} per class"


def _format_spread(found: Mapping[str, Any] | None) -> str:
    """Return mean, least and most of what `fidelity.summarise` found, of a blur with its limit."""
    if found is None:
        return "-"
    amount = fidelity.AMOUNTS[found.get("relation", "as")]
    return f"{amount}{found['mean']:.1f} ({found['min']:.1f} to {found['max']:.1f})"


def _format_p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


# Pictures --------------------------------------------------------------------------------------


def lay_out_forest(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the forest plot of all differences: rows with positions in percent of the width."""
    rows = report["comparisons"]
    ends = [abs(end) for row in rows for end in row["by_patient"]["interval"] or ()]
    ends += [abs(row["difference"]) for row in rows]
    reach = max([0.05, *ends]) * 1.08

    def place(value: float) -> float:
        return round(50 + 50 * min(max(value / reach, -1.0), 1.0), 3)

    def span(interval: Sequence[float] | None) -> tuple[float, float] | None:
        return (place(interval[0]), place(interval[1])) if interval else None

    placed = [
        {
            **row,
            "at": place(row["difference"]),
            "narrow": span(row["by_patient"]["interval"]),
            "wide": span(row["by_training"]["interval"]),
        }
        for row in rows
    ]
    groups = {
        control: [row for row in placed if row["control"].partition("@")[0] == control]
        for control in ("real", "duplicates", "classic")
    }
    return {"reach": reach, "groups": {name: group for name, group in groups.items() if group}}


def draw_pictures(
    results: StudyResults, report: Mapping[str, Any], folder: Path
) -> list[dict[str, str]]:
    """Draw the page's pictures to `folder`; return the section, text and data URI of each.

    A class without a generator has text and no URI.
    """
    pictures = [*_draw_generated(results, folder), *_draw_pairs(results, report, folder)]
    pictures += _draw_classifier_curves(results, folder)
    pictures += _draw_reliability(report, folder)
    pictures += _draw_heat(results, report, folder / "heatmaps.png")
    return pictures


def _picture(section: str, path: Path, caption: str, alt: str) -> dict[str, str]:
    uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return {"section": section, "path": str(path), "caption": caption, "alt": alt, "uri": uri}


def _say_instead(section: str, words: str) -> dict[str, str]:
    """Return words where a section has no picture."""
    return {"section": section, "caption": words, "uri": ""}


def _draw_generated(results: StudyResults, folder: Path) -> list[dict[str, str]]:
    """Draw images and curves of the first generator of each class, or say that there is none."""
    pictures: list[dict[str, str]] = []
    if not results.generators:
        return pictures
    names = results.dataset.class_names
    for label, name in enumerate(names[:MOST_CLASSES]):
        found = [(fold, seed) for fold, seed, of_label in results.generators if of_label == label]
        if found:
            pictures.append(_draw_images(results, label, *min(found), folder))
            pictures.append(_draw_gan_curves(results, label, *min(found), folder))
        else:
            words = f"Class {name}: all of its generators failed, so there is nothing to show."
            pictures += [_say_instead(section, words) for section in ("images", "curves")]
    if len(names) > MOST_CLASSES:
        words = f"The first {MOST_CLASSES} of {len(names)} classes; the folder generators/ has all."
        pictures += [_say_instead(section, words) for section in ("images", "curves")]
    return pictures


def _draw_images(
    results: StudyResults, label: int, fold: int, gan_seed: int, folder: Path
) -> dict[str, str]:
    """Draw real images of a class and fold above generated ones."""
    name = results.dataset.class_names[label]
    real = results.gan_folds.get_train(fold).of_class(label).images[:_SHOWN]
    made = results.generators[fold, gan_seed, label]["images"][: len(real)]
    path = folder / f"images_{name_file(label, name)}.png"
    drawing.write_grid(np.concatenate([real, made]), path, columns=len(real))
    caption = (
        f"Class {name}: real above, generated (unchosen) below; fold {fold + 1}, GAN seed "
        f"{gan_seed}."
    )
    alt = f"{len(real)} real images of class {name} in the first row, generated ones below."
    return _picture("images", path, caption, alt)


def _draw_pairs(
    results: StudyResults, report: Mapping[str, Any], folder: Path
) -> list[dict[str, str]]:
    """Draw, for each class, the generated images nearest to a training image.

    Of many classes, only those with the nearest pairs are drawn.
    """
    pictures: list[dict[str, str]] = []
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for pair in sorted(report["nearest_pairs"], key=lambda pair: pair["distance"]):
        by_class.setdefault(pair["class"], []).append(pair)
    names = results.dataset.class_names
    for name in sorted(list(by_class)[:MOST_CLASSES], key=names.index):
        label, pairs = names.index(name), by_class[name][:_SHOWN]
        generated = [
            join_generated(results.generators[p["fold"], p["gan_seed"], label])[p["generated"]]
            for p in pairs
        ]
        trains = {p["fold"]: results.gan_folds.get_train(p["fold"]).of_class(label) for p in pairs}
        real = [trains[p["fold"]].images[p["train_index"]] for p in pairs]
        path = folder / f"nearest_{name_file(label, name)}.png"
        drawing.write_grid(np.stack([*generated, *real]), path, columns=len(pairs))
        distances = ", ".join(f"{pair['distance']:.3f}" for pair in pairs)
        caption = (
            f"Class {name}: the generated images nearest to a training image (above) and "
            f"that image (below). Root mean square difference of gray, 0 to 1: {distances}."
        )
        alt = f"{len(pairs)} generated images of class {name} above their nearest training images."
        pictures.append(_picture("nearest", path, caption, alt))
    if len(by_class) > MOST_CLASSES:
        words = f"The {MOST_CLASSES} of {len(by_class)} classes with the nearest pairs are shown."
        pictures.append(_say_instead("nearest", words))
    return pictures


def _draw_gan_curves(
    results: StudyResults, label: int, fold: int, gan_seed: int, folder: Path
) -> dict[str, str]:
    name, made = results.dataset.class_names[label], results.generators[fold, gan_seed, label]
    series = {
        f"{network} loss": (made["curve_step"], made[f"curve_{key}"])
        for key, network in _GAN_CURVES.items()
    }
    path = folder / f"gan_{name_file(label, name)}.png"
    # Without the class: the font of the plot has not the letters of every language.
    title = f"GAN, fold {fold + 1}, seed {gan_seed}"
    study_figures.plot_lines(series, path, title=title, xlabel="update", ylabel="loss")
    ends = ", ".join(f"{key} ends at {y[-1]:.2f}" for key, (_, y) in series.items())
    caption = f"GAN of class {name}, fold {fold + 1}, seed {gan_seed}: {ends}."
    return _picture("curves", path, caption, f"Loss curves. {caption}")


def _draw_classifier_curves(results: StudyResults, folder: Path) -> list[dict[str, str]]:
    pictures = []
    for key, words in (("loss", "training loss"), ("accuracy", "training accuracy")):
        series = {}
        for arm in results.arms:
            done = list(results.classifiers.get(arm.name, {}).values())
            if done:
                mean = np.mean([result[f"curve_{key}"] for result in done], axis=0)
                series[arm.name] = (done[0]["curve_step"], mean)
        if not series:
            continue
        path = folder / f"classifier_{key}.png"
        study_figures.plot_lines(
            series, path, title=f"Classifier, {words}", xlabel="update", ylabel=words
        )
        ends = ", ".join(f"{name} {y[-1]:.2f}" for name, (_, y) in series.items())
        caption = f"Mean {words} of each arm's classifiers, on what the arm trains on."
        pictures.append(_picture("curves", path, caption, f"{caption} At the end: {ends}."))
    return pictures


def _draw_reliability(report: Mapping[str, Any], folder: Path) -> list[dict[str, str]]:
    series = {}
    for name, arm in report["arms"].items():
        if arm["report"]:
            bins = arm["report"]["reliability"]
            series[name] = (
                np.array([b["confidence"] for b in bins]),
                np.array([b["accuracy"] for b in bins]),
            )
    if not series:
        return []
    path = folder / "reliability.png"
    study_figures.plot_lines(
        series,
        path,
        title="Reliability",
        xlabel="confidence",
        ylabel="accuracy",
        diagonal=True,
    )
    caption = (
        "How often a classifier is right, by its confidence. Below the diagonal it is too "
        "confident."
    )
    worst = {
        n: a["report"]["calibration_error"]["value"]
        for n, a in report["arms"].items()
        if a["report"]
    }
    errors = ", ".join(f"{name} {100 * value:.0f} points" for name, value in worst.items())
    alt = f"{caption} Mean distance from the diagonal: {errors}."
    return [_picture("reliability", path, caption, alt)]


def _draw_heat(
    results: StudyResults, report: Mapping[str, Any], path: Path
) -> list[dict[str, str]]:
    caption = draw_heat(results, path)
    if caption is None:
        return []
    return [_picture("heat", path, caption, f"{caption} {report['audit']['heat']['sentence']}")]


def name_file(label: int, name: str) -> str:
    """Return a file name for a class: safe on any disk, and different for every class."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()[:_LONGEST]
    return f"{label}-{plain or 'class'}"


# Model cards -----------------------------------------------------------------------------------


def _write_cards(
    results: StudyResults,
    report: Mapping[str, Any],
    folder: Path,
    environment: jinja2.Environment,
) -> None:
    """Write the variables of each generator with a model card, so that it can be shared."""
    template = environment.get_template("card.md.j2")
    gan = results.settings.gan.create(results.settings.gan_epochs)
    for (fold, gan_seed, label), made in results.generators.items():
        name = results.dataset.class_names[label]
        place = folder / f"fold{fold + 1}_seed{gan_seed}" / name_file(label, name)
        write_bytes(place / "generator.msgpack", made["variables"].tobytes())
        described = describe_generator(results.settings, gan_seed * SEED_STRIDE + fold)
        write_json(place / "settings.json", described)
        card = template.render(
            report=report,
            class_name=name,
            fold=fold,
            gan_seed=gan_seed,
            settings=results.settings,
            num_learned=int(made["num_learned"]),
            num_steps=int(made["num_steps"]),
            mean_score=float(made["scores"].mean()),
            score_meaning=gan.meaning,
        )
        write_text(place / "card.md", card)
