"""The shortcut audit: how well does a classifier do without the relevant part of the image?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxgan.data.images import shrink_gray, to_gray
from jaxgan.data.sets import ImageSet
from jaxgan.metrics.classification import compute_balanced_accuracy
from jaxgan.metrics.regions import CENTRE, FRAME, measure_edges

EXPLAINS_MOST = 0.5  # share of the accuracy above chance that a shortcut may reach
_LEAST_ABOVE = 0.05  # below that, the whole image is too close to chance for a share of it
_ALPHA = 0.05
PROBE_SIDE = 32
_RIDGE = 300.0

VIEWS = {
    "whole": "the whole image",
    "frame": f"the outer frame alone ({FRAME:.0%} of the side, all around)",
    "centre_black": f"the centre blackened ({CENTRE:.0%} of the side)",
    # The probe sees nine statistics; the classifier the pixels, sorted from dark to bright.
    "intensities": "the intensities alone, no place",
}
CLASSIFIER_VIEWS = tuple(view for view in VIEWS if view != "whole")  # `whole` is the arm `real`
# For padded images the probe gets this view too: proportions can show a device, an age or a
# hospital. It sees only four numbers and nothing of the picture.
PADDED_VIEWS = {**VIEWS, "padding": "the widths of the black margins that --fit=pad leaves"}


def mask_images(images: np.ndarray, view: str) -> np.ndarray:
    """Return uint8 images [num, height, width, channels], black except where `view` shows them.

    The view `intensities` sorts the values of each channel: an image with the same histogram.
    """
    side = images.shape[1]
    if view == "whole":
        return images
    if view == "intensities":
        flat = images.reshape(len(images), -1, images.shape[-1])
        return np.sort(flat, axis=1).reshape(images.shape)
    edge = measure_edges(side)["frame" if view == "frame" else "centre"]
    masked = images.copy()
    masked[:, edge : side - edge, edge : side - edge] = 0
    return masked


def mask_set(images: ImageSet, view: str) -> ImageSet:
    """Return the set as `view` shows it."""
    return replace(images, images=mask_images(images.images, view))


def compute_features(images: np.ndarray, view: str) -> np.ndarray:
    """Return what the linear probe sees of images [num, h, w, channels]: [num, features]."""
    if view == "intensities":
        return _compute_intensities(images)
    if view == "padding":
        return compute_margins(images)
    small = [shrink_gray(to_gray(image), PROBE_SIDE) for image in mask_images(images, view)]
    return np.stack(small).reshape(len(images), -1).astype(np.float64)


def _compute_intensities(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float64)
    moments = [flat.mean(axis=1), flat.std(axis=1)]
    return np.stack([*moments, *np.percentile(flat, [0, 5, 25, 50, 75, 95, 100], axis=1)], axis=1)


def compute_margins(images: np.ndarray) -> np.ndarray:
    """Return how wide the black margins of images [num, h, w, channels] are: [num, 4].

    As shares of the side: at the top, at the bottom, to the left, to the right.
    """
    lit = images.max(axis=-1)
    rows, columns = lit.max(axis=2) > 0, lit.max(axis=1) > 0
    sides = (rows, rows[:, ::-1], columns, columns[:, ::-1])
    widths = [np.where(side.any(axis=1), side.argmax(axis=1), side.shape[1]) for side in sides]
    return np.stack(
        [width / side.shape[1] for width, side in zip(widths, sides, strict=True)], axis=1
    )


def probe(images: np.ndarray, targets: np.ndarray, fold_of: np.ndarray, view: str) -> np.ndarray:
    """Return the predictions of `targets` [num] by a ridge classifier fitted on the other folds."""
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
    """Balanced accuracies by view, of the probe and of the study's classifier, and by source.

    `num_effective` (`count_effective`) gives their noise: how far they may be from the values on
    endless patients. It is infinite where they are exact.
    """

    chance: float
    probe: Mapping[str, float]
    classifier: Mapping[str, float]
    sources: Mapping[str, Any]
    num_effective: float = math.inf

    @property
    def explained(self) -> tuple[str, float] | None:
        """The best shortcut, and its share of the accuracy of the whole image above chance.

        Probes are compared with the probe, classifiers with the classifier. None where the whole
        image is hardly above chance, or no shortcut is above chance.
        """
        shares = []
        for name, by_view in (("linear probe", self.probe), ("classifier", self.classifier)):
            whole = self._compute_whole(by_view)
            if whole is None:
                continue
            shares += [
                (
                    f"{name} on {PADDED_VIEWS[view]}",
                    self._compute_above(value, self._num_tests) / whole,
                )
                for view, value in by_view.items()
                if view != "whole"
            ]
        found = max(shares, key=lambda share: share[1], default=None)
        return found if found and found[1] > 0 else None

    @property
    def explained_by_source(self) -> float | None:
        """The source's share of the (better) accuracy of the whole image above chance."""
        by_source = self.sources.get("class_told_by_source")
        wholes = [self._compute_whole(by_view) for by_view in (self.probe, self.classifier)]
        known = [whole for whole in wholes if whole is not None]
        if by_source is None or not known:
            return None
        return self._compute_above(by_source, self._num_tests) / max(known)

    def describe(self) -> str | None:
        """Return the sentences that go before the verdict, or None."""
        sentences, found, by_source = [], self.explained, self.explained_by_source
        if found is not None and found[1] > EXPLAINS_MOST:
            sentences.append(
                f"Beware of a shortcut: a {found[0]} reaches {min(found[1], 1.0):.0%} of the "
                "accuracy of the whole image above chance. So most of the accuracy here may not "
                "come from the disease. The same is true of a difference between arms."
            )
        if by_source is not None and by_source > EXPLAINS_MOST:
            sentences.append(
                "Beware of the source: the source alone, without the image, reaches "
                f"{min(by_source, 1.0):.0%} of the accuracy of the whole image above chance. So "
                "the classifier may recognise only where an image comes from."
            )
        return " ".join(sentences) or None

    @property
    def _num_tests(self) -> int:
        views = [view for by_view in (self.probe, self.classifier) for view in by_view]
        has_source = self.sources.get("class_told_by_source") is not None
        return len(views) - views.count("whole") + has_source

    def _compute_whole(self, by_view: Mapping[str, float]) -> float | None:
        above = self._compute_above(by_view.get("whole", self.chance))
        return above if above >= _LEAST_ABOVE else None

    def _compute_above(self, value: float, num_tests: int = 1) -> float:
        """Return what `value` is above chance; 0 where chance is in its interval (Wilson score).

        It is the 95 % interval, with Bonferroni's correction for the best of `num_tests`.
        """
        spread = math.sqrt(self.chance * (1 - self.chance) / self.num_effective)
        noise = float(ndtri(1 - _ALPHA / 2 / num_tests)) * spread
        return value - self.chance if value - self.chance > noise else 0.0


def count_effective(labels: np.ndarray, patients: Sequence[str]) -> float:
    """Return how many independent cases a balanced accuracy is worth.

    Its variance at equal recalls r is r (1 - r) sum_k(1 / n_k) / num_classes^2. n_k are patients
    and not films: a patient's films are mostly right or wrong together.
    """
    owners = np.asarray(patients)
    counts = np.array([len(np.unique(owners[labels == label])) for label in np.unique(labels)])
    return float(len(counts) ** 2 / (1 / counts).sum())


def run_probes(
    images: ImageSet,
    fold_of: np.ndarray,
    classifier: Mapping[str, float],
    sources: Sequence[str],
    *,
    is_padded: bool = False,
) -> Audit:
    """Run the linear probes and join the classifier's balanced accuracies by view.

    `sources` names the hospital or collection of each image; it is empty where that is not known.
    With `is_padded` the margins left by padding are audited too.
    """
    labels = images.labels
    probes = {
        view: compute_balanced_accuracy(labels, probe(images.images, labels, fold_of, view))
        for view in (PADDED_VIEWS if is_padded else VIEWS)
    }
    by_source = _audit_sources(images, fold_of, sources) if sources else {}
    if is_padded and len(set(sources)) > 1:
        by_source["told_by_padding"] = _recognise_sources(images, fold_of, sources, "padding")
    num_effective = count_effective(labels, images.patients)
    return Audit(1 / len(np.unique(labels)), probes, classifier, by_source, num_effective)


def _audit_sources(images: ImageSet, fold_of: np.ndarray, sources: Sequence[str]) -> dict[str, Any]:
    """Return how well the source is recognised, what it predicts, and the class within each."""
    names, codes = np.unique(np.asarray(sources, str), return_inverse=True)
    told_by_frame = class_told = None
    if len(names) > 1:
        told_by_frame = _recognise_sources(images, fold_of, sources, "frame")
        guessed = guess_by_source(images.labels, codes, fold_of)
        class_told = compute_balanced_accuracy(images.labels, guessed)
    return {
        "told_by_frame": told_by_frame,
        "chance": 1 / len(names),
        "class_told_by_source": class_told,
        "within": {
            str(name): _audit_source(images.take(here), fold_of[here], len(np.unique(fold_of)))
            for name, here in ((n, np.flatnonzero(codes == code)) for code, n in enumerate(names))
        },
    }


def _recognise_sources(
    images: ImageSet, fold_of: np.ndarray, sources: Sequence[str], view: str
) -> float:
    """Return the balanced accuracy of the probe that recognises the source from a view."""
    codes = np.unique(np.asarray(sources, str), return_inverse=True)[1]
    return compute_balanced_accuracy(codes, probe(images.images, codes, fold_of, view))


def guess_by_source(labels: np.ndarray, sources: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Return the class [num] guessed from the source number of each image, by the other folds.

    That is the class with the largest share of its images in this source. With classes of equal
    size it is the most frequent class of the source. As with the probes, frequent classes have no
    advantage. A source missing in the other folds gets their most frequent class.
    """
    guessed = np.zeros_like(labels)
    for fold in np.unique(fold_of):
        train = fold_of != fold
        table = np.zeros((sources.max() + 1, labels.max() + 1))
        np.add.at(table, (sources[train], labels[train]), 1)
        sizes = table.sum(axis=0)
        by_source = (table / np.maximum(sizes, 1)).argmax(axis=1)
        by_source[table.sum(axis=1) == 0] = sizes.argmax()
        guessed[~train] = by_source[sources[~train]]
    return guessed


def _audit_source(images: ImageSet, fold_of: np.ndarray, num_folds: int) -> dict[str, Any]:
    """Return how well the class is recognised within one source; None with too few images."""
    counts = np.bincount(images.labels)
    entry: dict[str, Any] = {
        "count": len(images),
        "num_classes": int((counts > 0).sum()),
        "balanced_accuracy": None,
        "chance": None,
    }
    large = np.flatnonzero(counts >= 2 * num_folds)
    usable = np.isin(images.labels, large)
    if len(large) < 2 or len(np.unique(fold_of[usable])) < 2:
        return entry
    labels = images.labels[usable]
    found = probe(images.images[usable], labels, fold_of[usable], "whole")
    accuracy = compute_balanced_accuracy(labels, found)
    return {**entry, "balanced_accuracy": accuracy, "chance": 1 / len(large)}
