"""Measure and draw where classifiers look in new images (`jaxgan.classifiers.heatmaps`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.forms import prepare_image
from jaxgan.data.limits import read_file
from jaxgan.experiments.predict import FolderPredictions, Heat
from jaxgan.experiments.prediction_report import (
    MOST_SOURCES,
    Truth,
    list_confident,
    number,
)
from jaxgan.metrics.clustered import estimate_mean
from jaxgan.metrics.regions import create_regions
from jaxgan.reports.heatmaps import is_too_coarse, plot_heatmaps


def describe_heat(
    found: FolderPredictions,
    run: str,
    indices: np.ndarray,
    mistakes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the report on a run's heat in the images `indices`, and the images to draw.

    The images to draw are the `mistakes`. Without any, they are the predictions with the highest
    probability. Heat with too few places has no shares (`reports.heatmaps.is_too_coarse`).
    """
    heat, probabilities = found.heat[run], found.predictions[run].probabilities
    side = heat.form.size
    regions = create_regions(side)
    confident = list_confident(probabilities[indices], found.class_names)
    shown = list(mistakes) or [{**c, "index": int(indices[c["index"]])} for c in confident]
    coarse, predicted = is_too_coarse(heat.places), found.predictions[run].predicted
    return {
        "places": list(heat.places),
        "area": {name: float(mask.mean()) for name, mask in regions.items()},
        "images": len(indices),
        "without_heat": int(np.isnan(heat.shares["frame"][indices]).sum()),
        **({} if coarse else _measure(found, heat, indices, predicted)),
        "shows_mistakes": bool(mistakes),
        "shown": [{**s, "file": found.images.files[s["index"]]} for s in shown],
    }


def _measure(
    found: FolderPredictions, heat: Heat, indices: np.ndarray, predicted: Sequence[str]
) -> dict[str, Any]:
    """Return the mean shares of heat: in all images, by predicted class and by source."""
    images = found.images
    owners = number([images.patients[i] or f"\0{images.files[i]}" for i in indices])
    counts = Truth(found.class_names, np.zeros(len(indices), np.int64), owners).draw()
    classes = np.array([predicted[i] for i in indices])
    sources = np.array([images.sources[i] for i in indices]) if images.sources else classes[:0]

    def measure(here: np.ndarray) -> dict[str, Any]:
        means = {
            name: estimate_mean(np.where(here, shares[indices], np.nan), owners, counts)
            for name, shares in heat.shares.items()
        }
        return {"count": int(here.sum()), **means}

    report: dict[str, Any] = {
        "all": measure(np.ones(len(indices), bool)),
        "by_predicted": {
            str(name): measure(classes == name) for name, _ in Counter(classes).most_common()
        },
    }
    if len(set(sources)) > 1:
        most = Counter(sources).most_common(MOST_SOURCES)
        report["by_source"] = {str(name): measure(sources == name) for name, _ in most}
    return report


def draw_heat(
    found: FolderPredictions, run: str, report: Mapping[str, Any], out: Path, file: str
) -> dict[str, str]:
    """Draw the images of a report of `describe_heat`; return the file by its title."""
    heat, shown = found.heat[run], report["shown"]
    if not shown:
        return {}
    root, files = found.images.root, found.images.files
    images = np.stack(
        [prepare_image(read_file(root / files[s["index"]]), [heat.form]).pixels[0] for s in shown]
    )
    what = "mistakes" if report["shows_mistakes"] else "predictions"
    words = f"Where it looks: the {what} with the highest probability"
    plot_heatmaps(
        images, heat.explain(images), shown, out / file, title=f"{Path(run).name}: {words}"
    )
    return {words: file}
