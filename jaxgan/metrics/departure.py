"""Measure how far new images are from those of a training, and decide by a fixed rule.

There are two kinds of distance: of the gray values, and in features. Each is measured twice. The
yardstick is the validation images of the training: the network has not learned from them either.

**Image by image.** Each image has a distance from the training images. 95 of 100 validation images
are within the limit, so 5 of 100 images of the same kind are beyond it.

**As a whole.** A scanner that makes every image a little darker moves none of them beyond the limit
but still changes what the network sees. So the distance of all images together is measured too. Its
limit is the distance between two classes of the training, the mean over all pairs. A set that
differs by more can be mistaken for another class. Fewer than `FEWEST` images are not measured as a
whole.

The rule: if more than `MOST_BEYOND` of the images are beyond the limit, or if the whole is, in
either kind, every number about these images is doubtful.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison

LIMIT = 0.95  # share of the validation images within the limit
MOST_BEYOND = 0.2  # share of the new images beyond it, at most: four times what chance gives
FEWEST = 20  # images that are measured as a whole
NUM_NEIGHBOURS = 5  # training images whose mean distance counts, in features
_NUM_GRAYS = 256
_BLOCK = 256  # images whose distances are in memory at once


@dataclass(frozen=True)
class Departure:
    """How far new images are from training images, in one kind of distance.

    `median` and `yardstick_median` are the median distances of the new images and of the
    validation images. `share_beyond` is the share of the new images beyond `limit`. `whole` is the
    distance of all together (None for too few images), `whole_limit` the distance between classes
    of the training.
    """

    median: float
    yardstick_median: float
    limit: float
    share_beyond: float
    whole: float | None
    whole_limit: float

    @property
    def has_many_beyond(self) -> bool:
        """Whether more images than the rule allows are beyond the limit."""
        return self.share_beyond > MOST_BEYOND

    @property
    def is_whole_beyond(self) -> bool:
        """Whether the images together are farther away than classes are from one another."""
        return self.whole is not None and self.whole > self.whole_limit

    @property
    def is_far(self) -> bool:
        """Whether the rule calls every number doubtful."""
        return self.has_many_beyond or self.is_whole_beyond

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and what the rule says, for strict JSON."""
        return {**asdict(self), "is_far": self.is_far}


def measure_departure(
    distances: np.ndarray, yardstick: np.ndarray, whole: float | None, whole_limit: float
) -> Departure:
    """Return the departure for distances [num] of new images and [m] of validation images."""
    limit = compute_limit(yardstick)
    return Departure(
        float(np.median(distances)),
        float(np.median(yardstick)),
        limit,
        float((distances > limit).mean()),
        whole,
        whole_limit,
    )


def compare_classes(
    items: np.ndarray, labels: np.ndarray, compare: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """Return the distance between two classes of `items` [num, d], the mean over all pairs."""
    parts = [items[labels == label] for label in np.unique(labels)]
    return float(np.mean([compare(a, b) for a, b in itertools.combinations(parts, 2)]))


def compare_histograms(histograms: np.ndarray, others: np.ndarray) -> float:
    """Return the distance between the means of histograms [num, 256] and others, in grays."""
    return float(compute_gray_distances(histograms.mean(axis=0)[None], others.mean(axis=0))[0])


def compare_features(features: np.ndarray, others: np.ndarray) -> float:
    """Return the kernel distance (`jaxgan.metrics.kernel_distance`) of features [num, d]."""
    compare = create_kernel_comparison(np.concatenate([features, others]))
    num = len(features)
    return float(compare(np.arange(num), np.arange(num, num + len(others)))[METRIC])


def compute_limit(yardstick: np.ndarray) -> float:
    """Return the distance that a new image of the same kind exceeds in 5 of 100 cases at most.

    It is the k-th smallest of m distances with k = ceil(0.95 (m + 1)), as in conformal prediction.
    With fewer than 19 it is the largest.
    """
    rank = int(np.ceil(LIMIT * (len(yardstick) + 1)))
    return float(np.sort(yardstick)[min(rank, len(yardstick)) - 1])


def compute_histograms(images: np.ndarray) -> np.ndarray:
    """Return the share of each of 256 grays in uint8 images [num, h, w, channels]: [num, 256].

    In colour, the mean of the channels counts.
    """
    grays = np.rint(images.mean(axis=-1)).astype(np.uint8).reshape(len(images), -1)
    counts = [np.bincount(gray, minlength=_NUM_GRAYS) for gray in grays]
    return np.stack(counts) / grays.shape[1]


def compute_gray_distances(histograms: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the distances of histograms [num, 256] from the training's mean [256], in grays.

    It is the Wasserstein distance of order 1: how far, on average, the pixels have to move.
    """
    return np.abs(np.cumsum(histograms - training, axis=1)).sum(axis=1)


def compute_feature_distances(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the mean distance [num] of features [num, d] to the nearest of the training's [n, d].

    `NUM_NEIGHBOURS` of them count.
    """
    num = min(NUM_NEIGHBOURS, len(training))
    lengths = (training**2).sum(axis=1)
    found = []
    for start in range(0, len(features), _BLOCK):
        block = features[start : start + _BLOCK]
        squares = (block**2).sum(axis=1)[:, None] + lengths - 2.0 * block @ training.T
        nearest = np.partition(squares, num - 1, axis=1)[:, :num]
        found.append(np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1))
    return np.concatenate(found)
