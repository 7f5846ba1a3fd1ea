"""How good a generator is while it trains, and which epoch of a run was the best.

The kernel distance from a few hundred generated images to the class's *training* images, in the
features of a pixel pyramid: no network, no held-out image. Held-out images evaluate the chosen
checkpoint, so they must not choose it. The latents are the same every time, so that epochs can be
compared.

A run has **collapsed** if one of these holds for the images of its last generator:

- They vary less than a tenth as much as real ones (the sum of the features' variances).
- Each is less than a quarter as far from the nearest other one as real images are. A few images
  that are repeated can vary enough, but do not pass this test.
- They are more than twice as far from the real ones as at the best epoch, and the difference is
  larger than chance between real images.

A class-conditional generator can fail in one more way: it learns to ignore the label. Its images
are made from the same latents for every class. So the effect of the label can be separated from
the effect of the latents.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # spatial is loaded where it is used

from jaxgan.core.commands import name_command
from jaxgan.evaluation.features import Features, create_pixel_features
from jaxgan.evaluation.pyramid import fit_pyramid_features
from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison
from jaxgan.metrics.measure import LEVEL

NUM_IMAGES = 256
MAX_REAL = 1000  # training images compared with
LEAST_VARIANCE = 0.1
# Trainings on a hundred real films end at 0.75 to 0.85 (0.45 with the paper's settings); three of
# the films, each with a little noise of its own, are at 0.1.
LEAST_NEIGHBOUR_DISTANCE = 0.25
LEAST_LABEL_EFFECT = 0.1  # of how much the real images of the classes differ
MEASURES = (METRIC, "variance_ratio", "neighbour_ratio")
FIRST_SEED = 2_000_000_000  # of latents that no image of a run is made from
_NUM_DIVISIONS = 100
_SPACE = create_pixel_features()


class QualityMeter:
    """Measure images against the real ones uint8 [num, h, w, c] of a class.

    Generated ones are those of `NUM_IMAGES` latents from number `FIRST_SEED` on.
    """

    def __init__(self, images: np.ndarray):
        self._images = images

    @functools.cached_property
    def features(self) -> Features:
        """The space of the measurements, fitted at the first use: a finished run has none."""
        return fit_pyramid_features(self._compared)

    @functools.cached_property
    def _real(self) -> np.ndarray:
        return self.features(self._compared)

    @property
    def _compared(self) -> np.ndarray:
        order = np.random.default_rng(0).permutation(len(self._images))
        return self._images[order[:MAX_REAL]]

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """Return the numbers of `MEASURES` for images uint8 [num, h, w, c], two or more."""
        made = self.features(images)
        compare = create_kernel_comparison(np.concatenate([made, self._real]))
        everything = np.arange(len(made) + len(self._real))
        distance = compare(everything[: len(made)], everything[len(made) :])["kernel_distance"]
        ratio = float(made.var(axis=0).sum() / max(self._real.var(axis=0).sum(), 1e-12))
        # At the same n: among more images the nearest is nearer.
        num = min(len(made), len(self._real))
        apart, real_apart = (_average_nearest(x[:num]) for x in (made, self._real))
        values = (distance, ratio, apart / max(real_apart, 1e-12))
        return dict(zip(MEASURES, values, strict=True))

    def compute_floor(self) -> float:
        """Return what 19 of 20 halves of the real images stay within, one against the other."""
        rng, num = np.random.default_rng(0), len(self._real)
        if num < 4:
            return 0.0
        compare = create_kernel_comparison(self._real)
        orders = (rng.permutation(num) for _ in range(_NUM_DIVISIONS))
        values = [compare(o[: num // 2], o[num // 2 :])["kernel_distance"] for o in orders]
        return float(np.quantile(values, LEVEL))


def _average_nearest(features: np.ndarray) -> float:
    """Return the mean distance of features [num, d] to the nearest other of them."""
    distances = scipy.spatial.distance.cdist(features, features)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).mean())


def compute_label_effect(images: Sequence[np.ndarray]) -> float:
    """Return the share of the images' variance, 0 to 1, that the label makes.

    `images` [num, h, w, c] are given for every class, those of one latent at the same place.
    """
    values = np.stack([_SPACE(of_class) for of_class in images])  # [classes, num, d]
    return float(values.var(axis=0).mean() / max(values.var(axis=(0, 1)).mean(), 1e-12))


def compute_class_share(images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the variance of real images [num, h, w, c] that lies between classes.

    0 to 1, less what chance would put there (the adjusted coefficient of determination).
    """
    values = _SPACE(images)
    names, num = np.unique(labels), len(labels)
    within = sum(
        ((values[labels == n] - values[labels == n].mean(axis=0)) ** 2).sum() for n in names
    )
    total = ((values - values.mean(axis=0)) ** 2).sum()
    return float(max(1.0 - within / (num - len(names)) * (num - 1) / max(total, 1e-12), 0.0))


def describe_ignored_label(label_effect: float, class_share: float) -> str | None:
    """Return a sentence where a class-conditional generator's classes do not differ."""
    if label_effect >= LEAST_LABEL_EFFECT * class_share or class_share == 0.0:
        return None
    return (
        f"The generator ignores the class: the class explains {label_effect:.2%} of the variance "
        f"of its images, and {class_share:.2%} of real ones. Train longer, or train one model per "
        "class (without --conditional)."
    )


def summarise(
    records: Sequence[Mapping[str, Any]], *, floor: float, selected_epoch: int
) -> dict[str, Any] | None:
    """Return the best and the last measured epoch of a run, and its collapse; None unmeasured.

    `records` are the lines of `metrics.jsonl`; `collapse` is a sentence, or None.
    """
    measured = [record for record in records if METRIC in record]
    if not measured:
        return None
    points = [
        # Older runs have not recorded every measure.
        {name: record[name] for name in ("epoch", *MEASURES) if name in record}
        for record in measured
    ]
    best, last = min(points, key=lambda point: point[METRIC]), points[-1]
    return {
        "features": "pixel pyramid",
        "floor": floor,
        "best": best,
        "last": last,
        "selected_epoch": selected_epoch,
        "collapse": _describe_collapse(best, last, floor),
    }


def describe_verdict(report: Mapping[str, Any]) -> str:
    """Return two sentences on the best epoch of a run: what was measured, and what to do.

    Not for use: beyond 3 floors of the distance, or with less than a quarter of the variance of
    real images. With care: beyond 1.5 floors, or with less than three quarters. The factors are
    those of `jaxgan.evaluation.verdict`, here on training images alone.
    """
    best, floor = report["best"], max(report["floor"], 1e-12)
    distance, variance = max(best[METRIC], 0.0) / floor, best.get("variance_ratio", 1.0)
    advice = f"{name_command('evaluate')} compares them with held-out images."
    if distance > 3.0 or variance < 0.25:
        advice = "Do not train a classifier on them: train longer, or use another config."
    elif distance > 1.5 or variance < 0.75:
        advice = "Use them only in a study, together with real images."
    return (
        f"These images are {distance:.1f} times as far from the training images as real ones are "
        f"from one another, and vary {variance:.0%} as much. {advice}"
    )


def _describe_collapse(
    best: Mapping[str, float], last: Mapping[str, float], floor: float
) -> str | None:
    if last.get("variance_ratio", 1.0) < LEAST_VARIANCE:
        return (
            f"The run has collapsed, or has hardly begun: at epoch {last['epoch']} the generated "
            f"images vary {last['variance_ratio']:.1%} as much as the real ones."
        )
    if last.get("neighbour_ratio", 1.0) < LEAST_NEIGHBOUR_DISTANCE:
        return (
            f"The generator makes few different images: at epoch {last['epoch']} each is "
            f"{last['neighbour_ratio']:.1%} as far from the nearest other one as real images are."
        )
    if last[METRIC] > 2 * max(best[METRIC], 0.0) and last[METRIC] > best[METRIC] + floor:
        return (
            f"The run has collapsed: its images' distance to the real ones is {last[METRIC]:.3g} "
            f"at epoch {last['epoch']} and was {best[METRIC]:.3g} at epoch {best['epoch']}."
        )
    return None
