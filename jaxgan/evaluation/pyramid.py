"""A feature space without a network: how much detail an image has, by scale and place.

The features are those of a Laplacian pyramid: the gray values of its coarsest level, and for each
finer level the amount of detail in each of 4 x 4 fields. They are cheap enough to be computed while
a generator trains. They do not show how details are arranged within a field; a network can.
"""

import numpy as np

from jaxgan.evaluation.features import Features
from jaxgan.metrics.sliced_wasserstein import compute_pyramid

FIELDS = 4  # per side
_FAINT = 0.01  # of the range [-1, 1]: less detail than this counts as none
_LEAST_SPREAD = 0.1  # of a level's spread: limits the scaling of features that hardly vary


def fit_pyramid_features(images: np.ndarray) -> Features:
    """Return the space in which all levels of these uint8 images [n, h, w, c] vary equally."""
    parts = _compute_parts(images)
    total = sum(part.shape[1] for part in parts)
    scales = []
    for part in parts:
        spread = part.std(axis=0)
        spread = np.maximum(spread, _LEAST_SPREAD * max(float(spread.max()), 1e-6))
        scales.append(np.sqrt(total / (len(parts) * part.shape[1])) / spread)
    mean, scale = np.concatenate(parts, axis=1).mean(axis=0), np.concatenate(scales)

    def compute(images: np.ndarray) -> np.ndarray:
        return (np.concatenate(_compute_parts(images), axis=1) - mean) * scale

    return Features("pixel pyramid", compute)


def _compute_parts(images: np.ndarray) -> list[np.ndarray]:
    """Return the features [n, d] of each level, one entry per level."""
    *details, coarsest = compute_pyramid(images)
    energies = [_measure_detail(level) for level in details]
    return [*energies, coarsest.reshape(len(images), -1)]


def _measure_detail(level: np.ndarray) -> np.ndarray:
    """Return the log root mean square of images [n, h, w, c] in each field, as [n, d]."""
    num, height, width, channels = level.shape
    fields = level.reshape(num, FIELDS, height // FIELDS, FIELDS, width // FIELDS, channels)
    power = np.mean(np.square(fields, dtype=np.float64), axis=(2, 4))
    return 0.5 * np.log(power + _FAINT**2).reshape(num, -1)
