"""Known degradations of images, each in five strengths: a ruler is tested with them.

A ruler that cannot tell blurred real images from sharp ones says nothing about the sharpness of
generated images. All functions take and return uint8 images [n, h, w, c]. The same seed gives the
same noise, copies and mixture at every strength, so that only the strength differs.

Blur is in pixels of an image of 256 x 256: the same blur of the film at every size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # ndimage is loaded where it is used

REFERENCE_SIDE = 256  # pixels, in which the strength of a blur is given


@dataclass(frozen=True)
class Degradation:
    """A kind of degradation, its unit and its strengths.

    `apply` degrades each image by itself. It is None for a degradation of the set: that replaces
    images by others (see `choose_duplicates` and `choose_mixture`).
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float], np.ndarray] | None = None


def blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian with this standard deviation, in pixels of a 256-pixel image."""
    own = sigma * images.shape[1] / REFERENCE_SIDE
    values = images.astype(np.float64)
    return to_bytes(scipy.ndimage.gaussian_filter(values, (0, own, own, 0), mode="nearest"))


def add_noise(images: np.ndarray, spread: float, *, seed: int = 0) -> np.ndarray:
    """Add normal noise with this standard deviation in gray levels (of 255), equal in channels."""
    shape = (*images.shape[:3], 1)
    return to_bytes(images + spread * np.random.default_rng(seed).normal(size=shape))


def lower_contrast(images: np.ndarray, share: float) -> np.ndarray:
    """Bring every value nearer to the mean of its image by this share."""
    means = images.mean(axis=(1, 2, 3), keepdims=True)
    return to_bytes(means + (1.0 - share) * (images - means))


def add_checkerboard(images: np.ndarray, height: float) -> np.ndarray:
    """Make every second pixel brighter and the others darker by this many gray levels.

    Transposed convolutions leave such a pattern.
    """
    board = np.indices(images.shape[1:3]).sum(axis=0) % 2
    return to_bytes(images + height * (2.0 * board[None, :, :, None] - 1.0))


def choose_duplicates(num: int, share: float, *, seed: int = 0) -> np.ndarray:
    """Return indices [num] of a set of `num` images in which a share is copies of the others."""
    order = np.random.default_rng(seed).permutation(num)
    kept = max(num - round(share * num), 1)
    return np.resize(order[:kept], num)


def choose_mixture(num: int, num_others: int, share: float, *, seed: int = 0) -> np.ndarray:
    """Return indices [num] into `num` images and then `num_others` others: a share are others.

    Where there are too few others, these are repeated.
    """
    rng = np.random.default_rng(seed)
    mine, others = rng.permutation(num), num + rng.permutation(num_others)
    replaced = round(share * num)
    return np.concatenate([np.resize(others, replaced), mine[replaced:]])


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round and clip to uint8."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


BLUR = Degradation("blur", "pixels of 256", (2.0, 3.0, 4.0, 6.0, 8.0), blur)
NOISE = Degradation("noise", "gray levels of 255", (3.0, 5.0, 10.0, 20.0, 30.0), add_noise)
CONTRAST = Degradation("contrast", "share lost", (0.1, 0.2, 0.3, 0.5, 0.7), lower_contrast)
CHECKERBOARD = Degradation(
    "checkerboard", "gray levels of 255", (1.0, 2.0, 4.0, 8.0, 16.0), add_checkerboard
)
DUPLICATES = Degradation("duplicates", "share of copies", (0.3, 0.5, 0.7, 0.8, 0.9))
MIXTURE = Degradation("class mix", "share of another class", (0.2, 0.4, 0.6, 0.8, 1.0))
DEGRADATIONS = (BLUR, NOISE, CONTRAST, CHECKERBOARD, DUPLICATES, MIXTURE)
