"""The part of the audit that measures where the classifiers of the arm `real` look."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.metrics.clustered import estimate_mean
from jaxgan.metrics.regions import create_regions, share_inside
from jaxgan.reports.heatmaps import describe_heat, is_too_coarse, plot_heatmaps
from jaxgan.study.results import StudyResults
from jaxgan.study.statistics import Design
from jaxgan.training.jobs import Result

ARM = "real"
_SHOWN = 3  # films of a class
_MOST_CLASSES = 12  # that have films in the picture
_REGIONS = ("centre", "frame")


def measure_heat(heat: np.ndarray, labels: np.ndarray, places: tuple[int, int]) -> Result:
    """Return the part of heatmaps [num, side, side] of test images that a job keeps.

    These are the shares of heat by region, and the heatmaps of the first films of each class.
    """
    regions = create_regions(heat.shape[1])
    first = [np.flatnonzero(labels == label)[:_SHOWN] for label in np.unique(labels)]
    shown = np.concatenate(first[:_MOST_CLASSES])
    return {
        **{f"heat_{name}": share_inside(heat, regions[name]) for name in _REGIONS},
        "heat_places": np.array(places),
        "heat_shown": shown,
        "heat_maps": (255 * heat[shown]).round().astype(np.uint8),
    }


def audit_heat(results: StudyResults, design: Design, counts: np.ndarray) -> dict[str, Any] | None:
    """Return the mean shares of heat over all test images, and by class; None without heat.

    `counts` are the draws of patients for the intervals. Jobs of an earlier version of jaxgan, or
    without `config.audit`, have no heat. Heat with too few places has no shares.
    """
    done = _find_heat(results)
    if not done:
        return None
    side = results.folds.images.images.shape[1]
    shares = {name: _join(results, done, f"heat_{name}") for name in _REGIONS}

    def measure(chosen: np.ndarray) -> dict[str, Any]:
        found = {name: np.where(chosen, values, np.nan) for name, values in shares.items()}
        means = {n: estimate_mean(v, design.patients, counts) for n, v in found.items()}
        return {"count": int(chosen.sum()), **means}

    heat = {
        "places": next(iter(done.values()))["heat_places"].tolist(),
        "area": {name: float(mask.mean()) for name, mask in create_regions(side).items()},
        "trainings": len(done),
        "without_heat": int(np.isnan(shares["frame"][_is_tested(results, done)]).sum()),
    }
    if not is_too_coarse(heat["places"]):
        heat["all"] = measure(np.ones(len(design.labels), bool))
        classes = enumerate(results.class_names)
        heat["per_class"] = {name: measure(design.labels == label) for label, name in classes}
    return {**heat, "sentence": describe_heat(heat)}


def _find_heat(results: StudyResults) -> dict[tuple[int, int], Result]:
    found = results.classifiers.get(ARM, {})
    return {place: result for place, result in found.items() if "heat_maps" in result}


def _is_tested(results: StudyResults, done: Mapping[tuple[int, int], Result]) -> np.ndarray:
    return np.isin(results.folds.fold_of, [fold for _, fold in done])


def _join(results: StudyResults, done: Mapping[tuple[int, int], Result], name: str) -> np.ndarray:
    """Return the mean over seeds of each image's share of heat; NaN for images without heat."""
    seeds = sorted({seed for seed, _ in done})
    shares = np.full((len(seeds), len(results.folds.images)), np.nan)
    for (seed, fold), result in done.items():
        shares[seeds.index(seed), results.folds.fold_of == fold] = result[name]
    known = np.isfinite(shares)
    sums, nums = np.where(known, shares, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, nums, out=np.full(len(sums), np.nan), where=nums > 0)


def draw_heat(results: StudyResults, path: Path) -> str | None:
    """Draw a few test films per class with their heat; return the caption, None without heat."""
    done = _find_heat(results)
    if not done:
        return None
    seed, fold = min(done)
    result, test = done[seed, fold], results.folds.get_test(fold)
    films = test.take(result["heat_shown"])
    names, outputs = _name_classes(results), result["probabilities"][result["heat_shown"]]
    shown = [
        {
            "true": names[label],
            "predicted": names[p.argmax()] if p.argmax() < len(names) else "outside",
            "probability": float(p.max()),
        }
        for label, p in zip(films.labels, outputs, strict=True)
    ]
    where = f"fold {fold + 1}, seed {seed}"
    title = f"Where the classifier looks: {where}"
    plot_heatmaps(films.images, result["heat_maps"] / 255.0, shown, path, title=title)
    numbered = [f"{n} is {c}" for n, c in zip(names, results.class_names, strict=True) if n != c]
    return (
        f"The first test films of each class ({where}, not selected), each without and with the "
        "classifier's heat. Yellow is where it looks most, for the class that it predicts."
        + (f" In the picture, {', '.join(numbered[:_MOST_CLASSES])}." if numbered else "")
    )


def _name_classes(results: StudyResults) -> list[str]:
    """Return the classes, or numbers if the font of figures may not have their letters."""
    return [
        name if name.isascii() else f"class {label + 1}"
        for label, name in enumerate(results.class_names)
    ]
