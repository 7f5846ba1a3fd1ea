"""How different the images of a set are: 1 minus the mean MS-SSIM of pairs.

MS-SSIM after Wang et al. 2003: Gaussian window of 11, averaging by two between scales, the five
published exponents. An image below 176 pixels is too small for five scales. It uses only the scales
that fit a window: 2 at 32, 3 at 64, 4 at 128 pixels. Their exponents are divided by their sum.
"""

import numpy as np
import scipy  # ndimage is loaded where it is used

from jaxgan.metrics.measure import Compare

MAX_IMAGES = 64  # of each kind: these give thousands of pairs
WINDOW, SIGMA = 11, 1.5
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_GAUSSIAN = np.exp(-(_OFFSETS**2) / (2 * SIGMA**2)) / np.exp(-(_OFFSETS**2) / (2 * SIGMA**2)).sum()


def create_diversity_comparison(images: np.ndarray) -> Compare:
    """Return the diversity of any subset of uint8 images [n, h, w, c]; the second set is unused."""
    similarity = compute_similarities(images)

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        del b  # diversity is a property of one set
        if len(a) < 2:
            raise ValueError(f"expected two or more images, found {len(a)}")
        within = similarity[np.ix_(a, a)]
        mean = (within.sum() - np.trace(within)) / (len(a) * (len(a) - 1))
        return {"diversity": float(1.0 - mean)}

    return compare


def compute_similarities(images: np.ndarray) -> np.ndarray:
    """Return the MS-SSIM [n, n] of every two of the uint8 images [n, h, w, c]."""
    scales = _create_scales(images)
    exponents = np.array(EXPONENTS[: len(scales)])
    exponents /= exponents.sum()
    similarity = np.eye(len(images))
    for i in range(len(images) - 1):
        product = 1.0
        for index, (scale, exponent) in enumerate(zip(scales, exponents, strict=True)):
            whole, structure = _compare_one(scale, i)
            part = whole if index == len(scales) - 1 else structure
            product = product * np.maximum(part, 0.0) ** exponent
        # Each channel is compared separately, then averaged.
        similarity[i, i + 1 :] = similarity[i + 1 :, i] = np.mean(product, axis=-1)
    return similarity


class _Scale:
    """Images [n, h, w, c] of one size, with each one's local mean and variance."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self.mean = _blur(images)
        self.variance = _blur(images * images) - self.mean**2


def _create_scales(images: np.ndarray) -> list[_Scale]:
    current: np.ndarray = np.asarray(images, np.float32)
    if min(current.shape[1:3]) < WINDOW:
        raise ValueError(f"images of {current.shape[1:3]} are smaller than a window of {WINDOW}")
    scales = [_Scale(current)]
    while len(scales) < len(EXPONENTS) and min(current.shape[1:3]) // 2 >= WINDOW:
        height, width = (side // 2 * 2 for side in current.shape[1:3])
        even = current[:, :height, :width]
        current = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2]) / 4
        current += even[:, 1::2, 1::2] / 4
        scales.append(_Scale(current))
    return scales


def _compare_one(scale: _Scale, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean SSIM, and its contrast part, of image i and every later one [later, c]."""
    mean, others = scale.mean[i], scale.mean[i + 1 :]
    covariance = _blur(scale.images[i] * scale.images[i + 1 :]) - mean * others
    variance = scale.variance[i] + scale.variance[i + 1 :]
    structure = (2.0 * covariance + _C2) / (variance + _C2)
    luminance = (2.0 * mean * others + _C1) / (mean**2 + others**2 + _C1)
    return (luminance * structure).mean(axis=(1, 2)), structure.mean(axis=(1, 2))


def _blur(images: np.ndarray) -> np.ndarray:
    """Average over the window, only where all of it fits."""
    for axis in (1, 2):
        images = scipy.ndimage.correlate1d(images, _GAUSSIAN, axis=axis)
    edge = WINDOW // 2
    height, width = images.shape[1:3]
    return images[:, edge : height - edge, edge : width - edge]
