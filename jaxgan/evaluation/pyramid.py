"""A feature space without a network: what every scale of an image holds, and where.

Of the Laplacian pyramid's coarsest level the gray values; of each finer one how much detail there
is in each of 4 x 4 fields. Cheap enough to look through while a generator trains, and blind to
what a network sees: the order of details within a field.
"""

import numpy as np

from jaxgan.evaluation.features import Features
from jaxgan.metrics.sliced_wasserstein import compute_pyramid

FIELDS = 4  # a side
_FAINT = 0.01  # of the range of [-1, 1]: detail below it is as good as none
_LEAST_SPREAD = 0.1  # of a level's spread: what real images hardly vary in is not blown up


def fit_pyramid_features(images: np.ndarray) -> Features:
    """Return the space in which every level of these uint8 images [n, h, w, c] varies as much."""
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
    """Return a level's features [n, d], one entry a level."""
    *details, coarsest = compute_pyramid(images)
    energies = [_measure_detail(level) for level in details]
    return [*energies, coarsest.reshape(len(images), -1)]


def _measure_detail(level: np.ndarray) -> np.ndarray:
    """Return the log root mean square of images [n, h, w, c] in each field, as [n, d]."""
    num, height, width, channels = level.shape
    fields = level.reshape(num, FIELDS, height // FIELDS, FIELDS, width // FIELDS, channels)
    power = np.mean(np.square(fields, dtype=np.float64), axis=(2, 4))
    return 0.5 * np.log(power + _FAINT**2).reshape(num, -1)
