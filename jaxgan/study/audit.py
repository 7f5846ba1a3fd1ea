"""The shortcut audit: how far does a classifier come without looking at what matters?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxgan.data.sets import ImageSet

FRAME = 3 / 32  # of the side: the outer frame, where no lung is
CENTRE = 5 / 8  # of the side: the square in the middle, where the lungs are
EXPLAINS_MOST = 0.5  # share of the accuracy above chance that a shortcut may reach
PROBE_SIDE = 32
_RIDGE = 300.0

VIEWS = {
    "whole": "the whole image",
    "frame": f"the outer frame alone ({FRAME:.0%} of the side, all round)",
    "centre_black": f"the centre blackened ({CENTRE:.0%} of the side)",
    "intensities": "nine intensity statistics, no place",
}
CLASSIFIER_VIEWS = ("frame", "centre_black")


def mask_images(images: np.ndarray, view: str) -> np.ndarray:
    """Return uint8 images [num, height, width, channels] with all black but what `view` shows."""
    side = images.shape[1]
    if view == "whole":
        return images
    edge = max(1, round(side * FRAME)) if view == "frame" else round(side * (1 - CENTRE) / 2)
    masked = images.copy()
    masked[:, edge : side - edge, edge : side - edge] = 0
    return masked


def mask_set(images: ImageSet, view: str) -> ImageSet:
    """Return the set as `view` shows it."""
    return ImageSet(mask_images(images.images, view), images.labels, images.files, images.patients)


def compute_features(images: np.ndarray, view: str) -> np.ndarray:
    """Return what the linear probe sees of images [num, h, w, channels]: [num, features]."""
    if view == "intensities":
        return _compute_intensities(images)
    return np.stack([_shrink(image) for image in mask_images(images, view)])


def _compute_intensities(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float64)
    moments = [flat.mean(axis=1), flat.std(axis=1)]
    return np.stack([*moments, *np.percentile(flat, [0, 5, 25, 50, 75, 95, 100], axis=1)], axis=1)


def _shrink(image: np.ndarray) -> np.ndarray:
    gray = Image.fromarray(image.mean(axis=-1).round().astype(np.uint8))
    small = gray.resize((PROBE_SIDE, PROBE_SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64).ravel()


def probe(images: np.ndarray, targets: np.ndarray, fold_of: np.ndarray, view: str) -> np.ndarray:
    """Return a ridge classifier's prediction of `targets` [num], each image by other folds' fit."""
    features = compute_features(images, view)
    predicted = np.zeros_like(targets)
    for fold in np.unique(fold_of):
        test = fold_of == fold
        model = make_pipeline(
            StandardScaler(), RidgeClassifier(alpha=_RIDGE, class_weight="balanced")
        )
        if len(np.unique(targets[~test])) < 2:
            predicted[test] = targets[~test][0]
            continue
        model.fit(features[~test], targets[~test])
        predicted[test] = model.predict(features[test])
    return predicted


@dataclass(frozen=True)
class Audit:
    """Balanced accuracies by view, of the probe and of the study's classifier, and by source."""

    chance: float
    probe: Mapping[str, float]
    classifier: Mapping[str, float]
    sources: Mapping[str, Any]

    @property
    def explained(self) -> tuple[str, float] | None:
        """The shortcut that comes nearest to the whole image, and the share that it reaches.

        A share is of the accuracy above chance, probe against probe and classifier against
        classifier. None where the whole image itself is hardly above chance.
        """
        shares = []
        for name, by_view in (("linear probe", self.probe), ("classifier", self.classifier)):
            above = by_view.get("whole", self.chance) - self.chance
            if above < 0.05:
                continue
            shares += [
                (f"{name} on {VIEWS[view]}", (value - self.chance) / above)
                for view, value in by_view.items()
                if view not in ("whole",)
            ]
        return max(shares, key=lambda share: share[1]) if shares else None

    def describe(self) -> str | None:
        """Return the sentence that goes before the verdict, None where there is no need."""
        found = self.explained
        if found is None or found[1] <= EXPLAINS_MOST:
            return None
        return (
            f"Beware of a shortcut: a {found[0]} reaches {min(found[1], 1.0):.0%} of what the "
            "whole image gives above chance, so most of the accuracy here need not come from the "
            "disease, and a difference between arms need not either."
        )


def run_probes(
    images: ImageSet, fold_of: np.ndarray, classifier: Mapping[str, float], sources: Sequence[str]
) -> Audit:
    """Run the linear probes and join the classifier's balanced accuracies by view.

    `sources` names the hospital or collection of each image, empty where that is not known.
    """
    labels = images.labels
    probes = {
        view: float(balanced_accuracy_score(labels, probe(images.images, labels, fold_of, view)))
        for view in VIEWS
    }
    by_source = _audit_sources(images, fold_of, sources) if sources else {}
    return Audit(1 / len(np.unique(labels)), probes, classifier, by_source)


def _audit_sources(images: ImageSet, fold_of: np.ndarray, sources: Sequence[str]) -> dict[str, Any]:
    """Return how well the source itself can be told, and the class within each source."""
    names, codes = np.unique(np.asarray(sources, str), return_inverse=True)
    told = probe(images.images, codes, fold_of, "frame") if len(names) > 1 else codes
    within = {}
    for code, name in enumerate(names):
        here = codes == code
        labels = images.labels[here]
        counts = np.bincount(labels, minlength=1)
        entry: dict[str, Any] = {"count": int(here.sum()), "num_classes": int((counts > 0).sum())}
        large = np.flatnonzero(counts >= 2 * len(np.unique(fold_of)))
        usable = np.isin(labels, large)
        if len(large) > 1:
            found = probe(
                images.images[here][usable], labels[usable], fold_of[here][usable], "whole"
            )
            entry["balanced_accuracy"] = float(balanced_accuracy_score(labels[usable], found))
            entry["chance"] = 1 / len(large)
        within[str(name)] = entry
    chance = 1 / len(names)
    accuracy = float(balanced_accuracy_score(codes, told)) if len(names) > 1 else None
    return {"told_by_frame": accuracy, "chance": chance, "within": within}
